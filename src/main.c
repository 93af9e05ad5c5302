#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "config/values.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} commands[] = {
    {"serve", cmd_serve, "run the relay in the foreground"},
    {"check", cmd_check, "read the config and say all that is wrong with it"},
    {"status", cmd_status, "how the running relay is"},
    {"queue", cmd_queue, "list, show and retry messages"},
    {"test", cmd_test, "send one real message and follow it to the upstream's 250"},
    {"explain", cmd_explain, "say what an error means and what to change"},
    {"unknown", cmd_unknown, "the devices that were refused because the config does not list them"},
    {"allow", cmd_allow, "let a device in: an entry in conf.d, and a reload"},
    {"login", cmd_login, "sign in for an upstream by device code"},
    {"passwd", cmd_passwd, "make a password hash for a device"},
};

#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static void print_usage(FILE *stream)
{
	fputs("usage: mfdrelay COMMAND [-c FILE] ...\n\n", stream);
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		fprintf(stream, "  %-8s %s\n", commands[i].name, commands[i].help);
	fputs("\nmfdrelay COMMAND --help tells more; mfdrelay --version; manual: mfdrelay(8), "
	      "mfdrelay.conf(5)\n",
	    stream);
}

static void complain(const char *name)
{
	struct nearest nearest = NEAREST(name);

	for (size_t i = 0; i < COMMAND_COUNT; i++)
		nearest_offer(&nearest, commands[i].name);
	fprintf(stderr, "mfdrelay: there is no command \"%s\"", name);
	if (nearest.best != NULL)
		fprintf(stderr, "; did you mean \"%s\"?", nearest.best);
	fputs("\n\n", stderr);
}

/* What a full disk or a closed pipe did not take was not said. */
static int flushed(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	fprintf(stderr, "mfdrelay: writing the output: %s\n", strerror(errno));
	return status == 0 ? EX_IOERR : status;
}

int main(int argc, char **argv)
{
	mem_serve_libraries();
	if (argc >= 2 && strcmp(argv[1], "--version") == 0) {
		puts("mfdrelay " MFDRELAY_VERSION);
		return 0;
	}
	if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		print_usage(stdout);
		return 0;
	}
	for (size_t i = 0; argc >= 2 && i < COMMAND_COUNT; i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return flushed(commands[i].run(argc - 1, argv + 1));
	if (argc >= 2)
		complain(argv[1]);
	print_usage(stderr);
	return EX_USAGE;
}
