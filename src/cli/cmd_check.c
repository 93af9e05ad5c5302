#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "cli/check_online.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "config/config.h"
#include "config/drop_ins.h"
#include "config/files.h"
#include "config/load.h"
#include "config/values.h"

static const char usage[] =
    "usage: mfdrelay check [-c FILE]\n"
    "       mfdrelay check --online [UPSTREAM] [--to ADDRESS] [--from ADDRESS] [--json] [--debug] [-c FILE]\n"
    "\n"
    "Check the config: its syntax, every key and value, and the files it names. Errors and warnings go to "
    "stderr, a\n"
    "summary of what the config says to stdout. Exits 0 when there are no errors, else 1.\n"
    "  -c FILE   the config (default " CONFIG_DEFAULT_FILE ")\n"
    "\n"
    "With --online each upstream (or the one named) is tried as the relay would use it: name, connection, "
    "TLS, "
    "token,\n"
    "login, sender and recipient. Nothing is sent. Exits 0 when all is good, 1 when a step has failed, 78 "
    "when "
    "the\n"
    "config has errors.\n"
    "  --to ADDRESS     the recipient that is tried (default: report_to)\n"
    "  --from ADDRESS   a sender that is tried (default: all that the config names, else report_to)\n"
    "  --json           the findings for a program\n"
    "  --debug          the log of the dialogue on stderr\n";

static void print_problems(const char *file, const struct config_problems *problems)
{
	size_t shown = 0;

	for (size_t i = 0; i < problems->count; i++) {
		const struct config_problem *problem = &problems->items[i];
		size_t place = problem->file_length + 1;
		/* The text is "FILE:LINE: ..." or "FILE: ...": the word goes behind the place, where editors
		 * expect it. */
		place += strcspn(problem->text + place, " ");
		fprintf(stderr, "%.*s %s:%s\n", (int)place, problem->text,
		    problem->is_error ? "error" : "warning", problem->text + place);
		shown += problem->is_error ? 1 : 0;
	}
	if (problems->errors > shown)
		fprintf(stderr, "%s: %zu more errors; correct these first\n", file, problems->errors - shown);
}

static void print_listen(const struct config *config)
{
	for (size_t i = 0; i < config->listen_count; i++) {
		const struct listen_config *listen = &config->listen[i];
		bool is_ipv6 = strchr(listen->address, ':') != NULL;
		printf("%-10s %s%s%s:%u\n", i == 0 ? "listen" : "", is_ipv6 ? "[" : "", listen->address,
		    is_ipv6 ? "]" : "", (unsigned)listen->port);
	}
}

static void print_patterns(const char *what, char *const *patterns, size_t n)
{
	for (size_t i = 0; i < n; i++)
		printf("%s%s", i == 0 ? what : ", ", patterns[i]);
}

/* What its entry says beyond who it is. */
static void print_policy(const struct device *device)
{
	char size[24];

	if (device->user == NULL && device->auth == DEVICE_AUTH_REQUIRED)
		printf("; must log in");
	else if (device->user == NULL && device->auth == DEVICE_AUTH_NONE)
		printf("; never logs in");
	else if (device->user != NULL && device->auth == DEVICE_AUTH_OPTIONAL)
		printf("; need not log in");
	if (device->auth_requires_tls)
		printf("; logs in over TLS only");
	print_patterns("; as ", device->senders, device->sender_count);
	print_patterns("; without a login to ", device->recipients, device->recipient_count);
	if (device->message_size > 0)
		printf("; messages of %s", value_size_text(size, sizeof size, device->message_size));
	if (device->messages_per_hour > 0)
		printf("; %u messages an hour", device->messages_per_hour);
	for (size_t i = 0; quirk_names[i] != NULL; i++)
		if ((device->quirks & 1u << i) != 0)
			printf("; %s", quirk_names[i]);
}

static void print_devices(const struct config *config)
{
	char text[64];

	if (config->device_count == 0)
		printf("%-10s none: nothing will be accepted\n", "devices");
	for (size_t i = 0; i < config->device_count; i++) {
		const struct device *device = &config->devices[i];
		printf("%-10s %s", i == 0 ? "devices" : "", device->name);
		if (device->user != NULL)
			printf(", user %s%s", device->user, device->prefix_count > 0 ? " from" : "");
		else
			printf(", from");
		for (size_t j = 0; j < device->prefix_count; j++)
			printf("%s %s", j == 0 ? "" : ",",
			    value_prefix_text(text, sizeof text, &device->prefixes[j]));
		print_policy(device);
		putchar('\n');
	}
}

static void print_login(const struct upstream_config *upstream)
{
	printf("OAuth as %s", upstream->user != NULL ? upstream->user : upstream->mailbox);
	for (size_t i = 1; i < upstream->mailbox_count; i++)
		printf(", %s", upstream->mailboxes[i]);
	printf(" %s %s", upstream->oauth->tenant != NULL ? "in" : "by",
	    upstream->oauth->tenant != NULL ? upstream->oauth->tenant
					    : oauth_grant_names[upstream->oauth->grant]);
}

static void print_window(const struct window_config *window)
{
	printf(", %u connection%s", window->connections, window->connections == 1 ? "" : "s");
	if (window->messages_per_minute > 0)
		printf(", %u messages a minute", window->messages_per_minute);
	if (window->messages_per_hour > 0)
		printf(", %u messages an hour", window->messages_per_hour);
	if (window->recipients_per_day > 0)
		printf(", %u recipients a day", window->recipients_per_day);
	putchar('\n');
}

static void print_upstream(const struct upstream_config *upstream, const char *title)
{
	static const char *const tls[] = {"STARTTLS", "TLS", "no TLS"};

	printf("%-10s %s (%s), %s%s:%u, %s, ", title, upstream->name, upstream_kind_names[upstream->kind],
	    upstream->host == NULL ? "MX of " : "", upstream_name(upstream), (unsigned)upstream->port,
	    tls[upstream->tls]);
	if (upstream->oauth != NULL)
		print_login(upstream);
	else if (upstream->certificate != NULL)
		printf("certificate %s", upstream->certificate);
	else if (upstream->user != NULL)
		printf("password of %s", upstream->user);
	else
		printf("no login");
	print_window(&upstream->window);
}

static void print_routes(const struct config *config)
{
	for (size_t i = 0; i < config->route_count; i++) {
		const struct route *route = &config->routes[i];
		printf("%-10s ", i == 0 ? "routes" : "");
		print_patterns("of ", route->devices, route->device_count);
		printf("%s%s", route->device_count > 0 ? ": " : "", route->recipient_count == 0 ? "*" : "");
		print_patterns("", route->recipients, route->recipient_count);
		for (size_t j = 0; j < route->via_count; j++)
			printf("%s%s", j == 0 ? " -> " : ", else ", config->upstreams[route->via[j]].name);
		putchar('\n');
	}
}

static void print_numbers(const struct config *config)
{
	char a[24], b[24], c[24];

	printf("%-10s after %s, then twice as long each time up to %s, given up after %s\n", "retry",
	    value_duration_text(a, sizeof a, (uint64_t)config->retry.first_ms),
	    value_duration_text(b, sizeof b, (uint64_t)config->retry.max_ms),
	    value_duration_text(c, sizeof c, (uint64_t)config->retry.give_up_ms));
	printf("%-10s messages of %s with %u recipients, %u sessions, %u from one address; %s silent, %s a "
	       "message\n",
	    "limits", value_size_text(a, sizeof a, config->limits.message_size), config->limits.recipients,
	    config->limits.sessions, config->limits.sessions_per_address,
	    value_duration_text(b, sizeof b, config->limits.idle_ms),
	    value_duration_text(c, sizeof c, config->limits.message_time_ms));
}

static void print_summary(const struct config *config, size_t warnings)
{
	printf("%s is good", config->file);
	if (warnings > 0)
		printf(", with %zu warning%s", warnings, warnings == 1 ? "" : "s");
	printf("\n%-10s %s\n%-10s %s\n", "hostname", config->hostname, "spool", config->spool);
	if (config->user != NULL)
		printf("%-10s %s\n", "user", config->user);
	if (config->report_to != NULL)
		printf("%-10s %s\n", "report_to", config->report_to);
	print_listen(config);
	print_devices(config);
	for (size_t i = 0; i < config->upstream_count; i++)
		print_upstream(&config->upstreams[i], i == 0 ? "upstreams" : "");
	print_routes(config);
	print_numbers(config);
}

/* Returns whether the reader can open path; else says how to let it: bits are those that its group needs. */
static bool is_readable(const struct reader *reader, const char *path, const char *bits)
{
	char number[READER_GROUP_ROOM];
	int error = reader_try(reader, path);

	if (error != 0)
		fprintf(stderr,
		    "%s: warning: user %s cannot read this: %s; mfdrelay.service starts the relay as that "
		    "user: chgrp %s %s && chmod g+%s %s, and let it enter the folders on the way\n",
		    path, reader->name, strerror(error), reader_group(reader, number), path, bits, path);
	return error == 0;
}

/* The config of a relay that is started as root is read as root; the unit starts it as the config's user. Returns the number of
 * warnings. */
static size_t warn_of_rights(const struct config *config, const char *file)
{
	const struct reader reader = reader_of(config);
	char *folder = drop_ins_folder(file), **drop_ins = NULL;
	size_t warnings = 0;

	if (reader.is_other) {
		int n = drop_ins_list(folder, &drop_ins);
		warnings += !is_readable(&reader, file, "r");
		bool is_open = n < 0 || is_readable(&reader, folder, "rx");
		warnings += !is_open;
		for (int i = 0; i < n; i++) {
			warnings += is_open && !is_readable(&reader, drop_ins[i], "r");
			free(drop_ins[i]);
		}
	}
	free(drop_ins);
	free(folder);
	return warnings;
}

static int check(const struct options *options)
{
	struct config_problems problems = {NULL, 0, 0};
	struct config *config = config_load(options->file, &problems);
	int result = config != NULL ? 0 : options->online ? EX_CONFIG : 1;

	print_problems(options->file, &problems);
	size_t warnings = problems.count + (config != NULL ? warn_of_rights(config, options->file) : 0);
	if (config != NULL && options->online)
		result = check_online(config, options);
	else if (config != NULL)
		print_summary(config, warnings);
	else if (options->json)
		puts("{\"ok\": false, \"error\": \"the config has errors: see stderr\"}");
	config_free(config);
	config_problems_free(&problems);
	return result;
}

int cmd_check(int argc, char **argv)
{
	struct options options;
	int status = options_parse(argc, argv, "cjdotf+", usage, &options);

	if (status >= 0)
		return status;
	bool is_asked_more = options.json || options.debug || options.to != NULL || options.from != NULL;
	if (options.argc > 1 || (!options.online && (options.argc > 0 || is_asked_more))) {
		fputs("mfdrelay: only check --online takes an upstream and those options\n\n", stderr);
		fputs(usage, stderr);
		return EX_USAGE;
	}
	return check(&options);
}
