/* For subcommands that do what the daemon does: they run as its user. */
#ifndef MFDRELAY_CLI_BECOME_H
#define MFDRELAY_CLI_BECOME_H

#include "base/err.h"

struct config;

/* Root becomes, for good, the owner of the config's spool, whom the daemon has run as, or else the user of the config, where it
 * names one: what root left in the spool the daemon could not read. Anybody else stays who he is. Returns 0, or -1 with err: then
 * nothing may be done. */
int become_relay_user(const struct config *config, struct err *err);

#endif
