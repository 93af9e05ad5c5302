/* A reload of the running daemon, and what came of it. */
#ifndef MFDRELAY_CLI_RELOAD_H
#define MFDRELAY_CLI_RELOAD_H

struct config;

/* Have the daemon of config's spool read its config again, wait until it has, and say so on stdout. Where none runs that is said,
 * and fine. Returns the exit status: 0, or 1 with the reason and the remedy on stderr. */
int reload_daemon(const struct config *config);

#endif
