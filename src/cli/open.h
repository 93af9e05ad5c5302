/* What subcommands need first: the config, and the spool of the relay that runs. */
#ifndef MFDRELAY_CLI_OPEN_H
#define MFDRELAY_CLI_OPEN_H

struct config;
struct spool;

/* What file says where it has no error; the warnings that begin with about, a file's name, are on stderr (NULL: none). Else NULL:
 * the errors are there, and *status is what to exit with: EX_NOPERM where it may not be read, or EX_CONFIG. */
struct config *load_or_tell(const char *file, const char *about, int *status);

/* What file says, however wrong the rest of it may be now, as long as it tells where the spool is; that there are errors is said
 * on stderr. NULL when it cannot be read or parsed: the errors are on stderr, and *status is what to exit with. */
struct config *open_config(const char *file, int *status);

/* Open the config's spool for reading. On an error it goes to stderr and NULL is returned. */
struct spool *open_spool(const struct config *config);

#endif
