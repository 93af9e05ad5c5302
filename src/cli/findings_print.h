/* What `check --online` has found about an upstream, for people and for programs. */
#ifndef MFDRELAY_CLI_FINDINGS_PRINT_H
#define MFDRELAY_CLI_FINDINGS_PRINT_H

#include <jansson.h>

struct findings;

/* On stdout, a line a step. */
void findings_print(const struct findings *findings);

/* As an object, the caller's; its form is promised in mfdrelay(8). */
json_t *findings_json(const struct findings *findings);

#endif
