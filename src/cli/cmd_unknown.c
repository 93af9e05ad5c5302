#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/clock.h"
#include "cli/ask.h"
#include "cli/commands.h"
#include "cli/open.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "config/config.h"
#include "config/values.h"
#include "sender/unknown.h"
#include "spool/spool.h"

static const char usage[] = "usage: mfdrelay unknown [--json] [-c FILE]\n"
			    "\n"
			    "The devices that were refused because the config does not list their address, "
			    "newest first, and what each\n"
			    "tried last. Those that the config lets in by now are left out.\n"
			    "  --json    all of it, for programs\n"
			    "  -c FILE   the config (default " CONFIG_DEFAULT_FILE ")\n";

static const char *text_of(const json_t *peer, const char *key)
{
	const char *text = json_string_value(json_object_get(peer, key));

	return text != NULL ? text : "";
}

static long long number_of(const json_t *peer, const char *key)
{
	return (long long)json_integer_value(json_object_get(peer, key));
}

/* From the daemon, which knows more than it has written; where none runs, from what the last one has left. */
static json_t *read_peers(const struct config *config, struct err *err)
{
	json_t *answer = ask_daemon(config, json_pack("{s:s}", "command", "unknown"), err);
	json_t *peers = json_incref(json_object_get(answer, "peers"));

	if (answer == NULL && (errno == ENOENT || errno == ECONNREFUSED)) {
		struct spool *spool = open_spool(config);
		peers = spool != NULL ? unknown_read(spool, err) : NULL;
		spool_close(spool);
	} else if (answer != NULL && peers == NULL) {
		err_set(err, "%s", text_of(answer, "error"));
	}
	json_decref(answer);
	return peers;
}

static bool is_listed(const struct config *config, const json_t *peer)
{
	struct prefix prefix;

	return value_prefix(text_of(peer, "address"), &prefix) &&
	       config_device_by_address(config, &prefix.address) != NULL;
}

static json_t *without_listed(const struct config *config, const json_t *peers)
{
	json_t *rest = json_array(), *peer;
	size_t i;

	json_array_foreach(peers, i, peer) {
		if (!is_listed(config, peer))
			json_array_append(rest, peer);
	}
	return rest;
}

static void print_peer(const json_t *peer)
{
	char age[24], helo[40], sender[60], recipient[60];
	const char *from = text_of(peer, "sender");

	printf("%-39s %6lld  %9s ago  %-24s %s -> %s\n", text_of(peer, "address"), number_of(peer, "count"),
	    terminal_duration(age, sizeof age, clock_wall_ms() - number_of(peer, "last_ms")),
	    terminal_text(helo, sizeof helo, text_of(peer, "helo"), 24),
	    terminal_text(sender, sizeof sender, from[0] != '\0' ? from : "<>", 40),
	    terminal_text(recipient, sizeof recipient, text_of(peer, "recipient"), 40));
}

static void print_table(const json_t *peers)
{
	size_t i;
	json_t *peer;

	if (json_array_size(peers) == 0) {
		printf("no device was refused that the config does not list now\n");
		return;
	}
	printf("%-39s %6s  %13s  %-24s %s\n", "ADDRESS", "TIMES", "LAST", "NAME", "FROM -> TO");
	json_array_foreach(peers, i, peer) {
		print_peer(peer);
	}
	printf("\nto let one in: mfdrelay allow ADDRESS --name NAME\n");
}

static int show(const struct config *config, bool as_json)
{
	struct err err = {""};
	json_t *all = read_peers(config, &err);

	if (all == NULL)
		return ask_failed(&err);
	json_t *peers = without_listed(config, all);
	if (as_json)
		terminal_json(peers);
	else
		print_table(peers);
	json_decref(all);
	json_decref(peers);
	return 0;
}

int cmd_unknown(int argc, char **argv)
{
	struct options options;
	int status = options_parse(argc, argv, "cj", usage, &options);

	if (status >= 0)
		return status;
	struct config *config = open_config(options.file, &status);
	if (config == NULL)
		return status;
	status = show(config, options.json);
	config_free(config);
	return status;
}
