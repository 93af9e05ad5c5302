/* What subcommands print with: values from outside made harmless for a terminal, sizes and ages for people. */
#ifndef MFDRELAY_CLI_TERMINAL_H
#define MFDRELAY_CLI_TERMINAL_H

#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

/* Copy text to dst (size bytes), a tab as a blank, every other control character and byte above 126 as '?', cut with "..." where it is longer than
 * width columns. Returns dst. */
const char *terminal_text(char *dst, size_t size, const char *text, size_t width);

/* "820 B", "12.3 KB", "4.0 MB"; "45 s", "12 min", "3 h", "2 d". size is at least 24. Return dst. */
const char *terminal_bytes(char *dst, size_t size, uint64_t bytes);
const char *terminal_duration(char *dst, size_t size, int64_t ms);

/* Print it on stdout, indented, for --json. */
void terminal_json(const json_t *json);

#endif
