/* Character sets, by their names, as the system's iconv(3) knows them. */
#ifndef MFDRELAY_BASE_CHARSET_H
#define MFDRELAY_BASE_CHARSET_H

#include <stdbool.h>
#include <stddef.h>

bool charset_is_known(const char *charset);

/* Convert in (n bytes in charset) into UTF-8 in out (room bytes). Returns the length, 0 where it cannot: an unknown charset, bytes
 * that are none of it, no room. arg is not used (struct repair_facts takes this). */
size_t charset_to_utf8(void *arg, const char *charset, const char *in, size_t n, char *out, size_t room);

#endif
