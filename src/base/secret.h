/* A client secret, password or token: held in one place, wiped when freed, with no print function. */
#ifndef MFDRELAY_BASE_SECRET_H
#define MFDRELAY_BASE_SECRET_H

#include <stddef.h>
#include "base/err.h"
#include "base/str.h"

#define SECRET_MAX 65536	/* bytes; a client secret is 40, a token up to some 4,000 */

struct secret {
	char *bytes;	/* NUL-terminated for the libraries' sake; holds no NUL before that */
	size_t n;
};

/* Read the secret that source names: "file:PATH", or "credential:NAME", which is the file NAME in the folder
 * systemd hands over in CREDENTIALS_DIRECTORY. One trailing newline is dropped. Refused, with the remedy in
 * err: another form of source, a file that others (o+r, o+w) can read or change, not a plain file, empty, larger than
 * SECRET_MAX, or with a NUL or line break inside. Returns 0, and the caller frees with secret_free. */
int secret_read(struct secret *out, const char *source, struct err *err);

/* The path that source stands for, as secret_read would open it, into dst. Returns 0, or -1 with err. */
int secret_path(char *dst, size_t size, const char *source, struct err *err);

/* Take a copy of value. */
void secret_set(struct secret *out, struct str value);

/* Wipe and free; the struct is empty after it and may be set again. Fine on an empty one. */
void secret_free(struct secret *secret);

#endif
