/* The options of the subcommands: the same letters mean the same everywhere. */
#ifndef MFDRELAY_CLI_OPTIONS_H
#define MFDRELAY_CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct options {
	const char *file;	/* -c FILE, else the default */
	bool json;		/* --json */
	bool debug;		/* --debug */
	bool generate;		/* --generate */
	bool list;		/* --list */
	bool online;		/* --online */
	const char *to, *from;	/* --to ADDRESS, --from ADDRESS: addresses of mail; or NULL */
	const char *device;	/* --device NAME, or NULL */
	const char *name;	/* --name NAME, or NULL */
	const char *timeout;	/* --timeout DURATION, or NULL */
	uint64_t timeout_ms;	/* the same */
	int argc;		/* what follows the options */
	char **argv;
};

/* Parse argv (argv[0] is the subcommand). allowed holds the letters of the options it has: 'c' -c, 'j' --json, 'd' --debug,
 * 'g' --generate, 'l' --list, 'o' --online, 't' --to, 'f' --from, 'n' --device, 'a' --name, 'w' --timeout, '+' arguments behind
 * them; --help is always there. Returns -1 to go on; otherwise usage has been printed and the value is the exit status: 0 for
 * --help, EX_USAGE for what is not understood. */
int options_parse(int argc, char **argv, const char *allowed, const char *usage, struct options *out);

#endif
