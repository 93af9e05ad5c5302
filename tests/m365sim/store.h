/* What was received: DIR/mail/NNNNNN.eml (the content, untouched) and NNNNNN.json (the envelope). Each
 * appears whole, the .json last. Content is streamed to disk; memory does not follow its size. */
#ifndef M365SIM_STORE_H
#define M365SIM_STORE_H

#include <jansson.h>
#include <stddef.h>

struct incoming;

/* Make DIR/mail, clear what a crash left, go on behind the last number. Returns 0, or -1 with errno. */
int store_open(const char *dir);
void store_close(void);

/* A message begins. NULL with errno. Ends with store_commit or store_abort. */
struct incoming *store_begin(void);
int store_write(struct incoming *incoming, const void *bytes, size_t n);	/* 0, or -1 with errno */

/* Give it its number, add "number", "size" and "sha256" to envelope (borrowed) and make both files visible.
 * Returns the number, or 0 with errno. incoming is gone in any case. */
unsigned long store_commit(struct incoming *incoming, json_t *envelope);
void store_abort(struct incoming *incoming);	/* NULL is fine */

/* Replace DIR/name with text as a whole. Returns 0, or -1 with errno. */
int store_file(const char *name, const char *text);
int store_json(const char *name, const json_t *value);

#endif
