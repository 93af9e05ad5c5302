/* For subcommands that do what the daemon does: they run as its user. */
#ifndef MFDRELAY_CLI_BECOME_H
#define MFDRELAY_CLI_BECOME_H

#include "base/err.h"

struct config;

/* Root becomes the user of the config, for good, where it names one; anybody else stays who he is. Returns 0, or -1 with err:
 * then nothing may be done. */
int become_relay_user(const struct config *config, struct err *err);

#endif
