#include "cli/options.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "config/config.h"
#include "config/values.h"

static void set(struct options *out, int option)
{
	switch (option) {
	case 'c':
		out->file = optarg;
		break;
	case 'j':
		out->json = true;
		break;
	case 'd':
		out->debug = true;
		break;
	case 'l':
		out->list = true;
		break;
	case 'g':
		out->generate = true;
		break;
	case 'o':
		out->online = true;
		break;
	case 't':
		out->to = optarg;
		break;
	case 'f':
		out->from = optarg;
		break;
	case 'n':
		out->device = optarg;
		break;
	case 'a':
		out->name = optarg;
		break;
	case 'w':
		out->timeout = optarg;
		break;
	}
}

static bool is_address(const char *command, const char *option, const char *text)
{
	if (text == NULL || value_is_mail_address(text))
		return true;
	fprintf(stderr, "mfdrelay: %s: %s \"%s\" is no mail address; write it as it@contoso.com\n", command,
	    option, text);
	return false;
}

static bool are_values_good(const char *command, struct options *options)
{
	if (!is_address(command, "--to", options->to) || !is_address(command, "--from", options->from))
		return false;
	if (options->timeout == NULL || value_duration(options->timeout, &options->timeout_ms))
		return true;
	fprintf(stderr, "mfdrelay: %s: --timeout \"%s\" is no duration; write it as 30s or 5m\n", command,
	    options->timeout);
	return false;
}

static const struct option known[] = {
    {"config", required_argument, NULL, 'c'},
    {"json", no_argument, NULL, 'j'},
    {"debug", no_argument, NULL, 'd'},
    {"list", no_argument, NULL, 'l'},
    {"generate", no_argument, NULL, 'g'},
    {"online", no_argument, NULL, 'o'},
    {"to", required_argument, NULL, 't'},
    {"from", required_argument, NULL, 'f'},
    {"device", required_argument, NULL, 'n'},
    {"name", required_argument, NULL, 'a'},
    {"timeout", required_argument, NULL, 'w'},
    {"help", no_argument, NULL, 'h'},
    {0},
};

/* index is its place in known, or -1 for the one letter. */
static void complain_of_option(const char *command, int option, int index)
{
	const char letter[] = {(char)option, '\0'};

	fprintf(stderr, "mfdrelay: %s does not take the option %s%s\n", command, index >= 0 ? "--" : "-",
	    index >= 0 ? known[index].name : letter);
}

int options_parse(int argc, char **argv, const char *allowed, const char *usage, struct options *out)
{
	int option, index = -1;

	*out = (struct options){.file = CONFIG_DEFAULT_FILE};
	while ((option = getopt_long(argc, argv, "c:h", known, &index)) != -1) {
		if (option == 'h') {
			fputs(usage, stdout);
			return 0;
		}
		/* What is unknown getopt has said. */
		if (option != '?' && strchr(allowed, option) == NULL)
			complain_of_option(argv[0], option, index);
		if (option == '?' || strchr(allowed, option) == NULL) {
			fputs(usage, stderr);
			return EX_USAGE;
		}
		set(out, option);
		index = -1;
	}
	if (!are_values_good(argv[0], out))
		return EX_USAGE;
	out->argc = argc - optind;
	out->argv = argv + optind;
	if (out->argc > 0 && strchr(allowed, '+') == NULL) {
		fprintf(stderr, "mfdrelay: %s does not take \"%s\"\n", argv[0], out->argv[0]);
		fputs(usage, stderr);
		return EX_USAGE;
	}
	return -1;
}
