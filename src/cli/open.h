/* What subcommands that look at a running relay need first: its config. */
#ifndef MFDRELAY_CLI_OPEN_H
#define MFDRELAY_CLI_OPEN_H

struct config;
struct spool;

/* What file says, however wrong the rest of it may be now, as long as it tells where the spool is; that there are errors is said
 * on stderr. NULL when it cannot be read or parsed: the errors are on stderr, and *status is what to exit with. */
struct config *open_config(const char *file, int *status);

/* Open the config's spool for reading. On an error it goes to stderr and NULL is returned. */
struct spool *open_spool(const struct config *config);

#endif
