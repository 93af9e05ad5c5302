/* Character sets, by their names, as the system's iconv(3) knows them. */
#ifndef MFDRELAY_BASE_CHARSET_H
#define MFDRELAY_BASE_CHARSET_H

#include <stdbool.h>
#include <stddef.h>

/* Whether the system has it. One that is known stays open until the process ends, and is open in what is forked from it: its
 * converter may be a shared object, which no sandboxed process could load. Not thread-safe. */
bool charset_is_known(const char *charset);

/* Convert in (n bytes in charset) into UTF-8 in out (room bytes). Returns the length, 0 where it cannot: a charset that
 * charset_is_known was not asked about, bytes that are none of it, no room. arg is not used (struct repair_facts takes this). Not
 * thread-safe. */
size_t charset_to_utf8(void *arg, const char *charset, const char *in, size_t n, char *out, size_t room);

#endif
