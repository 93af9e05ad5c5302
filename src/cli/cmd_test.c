#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/log.h"
#include "cli/ask.h"
#include "cli/become.h"
#include "cli/commands.h"
#include "cli/journey.h"
#include "cli/open.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "cli/test_message.h"
#include "config/config.h"
#include "spool/spool.h"

#define TIMEOUT_MS 120000

static const char usage[] =
    "usage: mfdrelay test --to ADDRESS [--from ADDRESS] [--device NAME] [--timeout DURATION]\n"
    "                     [--json] [-c FILE]\n"
    "\n"
    "Put one real, small message into the queue of the running daemon, and follow it to the upstream's 250.\n"
    "  --to ADDRESS         who gets it\n"
    "  --from ADDRESS       its sender (default: mailbox of the upstream, else report_to)\n"
    "  --device NAME        as if that entry of devices had sent it\n"
    "  --timeout DURATION   how long it is followed (default 2m); it stays in the queue after that\n"
    "  --json               one JSON object at its end, for programs\n"
    "exit status: 0 the upstream has taken it; 1 it was refused, or could not be queued; 2 it waits still\n";

static const char *default_sender(const struct config *config, const struct test_message *message)
{
	int index = config_route(config, test_message_device(message), message->to);
	const struct route *route = index >= 0 ? &config->routes[index] : NULL;
	const struct upstream_config *upstream =
	    route != NULL && route->via_count > 0 ? &config->upstreams[route->via[0]] : NULL;

	if (upstream != NULL && upstream->identity.address != NULL)
		return upstream->identity.address;
	return upstream != NULL && upstream->mailbox != NULL ? upstream->mailbox : config->report_to;
}

/* What is wrong with the question, before anything is written: EX_USAGE or 1 with err; or 0. */
static int look_at(const struct config *config, const struct test_message *message, struct err *err)
{
	int status = EX_USAGE;

	if (message->device != NULL && config_device_by_name(config, message->device) == NULL) {
		err_set(err, "no entry of devices has the name \"%s\"; see: mfdrelay check", message->device);
	} else if (message->from == NULL) {
		err_set(err, "no sender is known for it: give --from ADDRESS, or report_to in the config");
	} else if (config_route(config, test_message_device(message), message->to) < 0) {
		err_set(err, "no route of the config is for %s: add one to routes, then reload", message->to);
		status = 1;
	} else {
		status = 0;
	}
	if (status != 0)
		fprintf(stderr, "mfdrelay: %s\n", err->text);
	return status;
}

/* Once it is watched, nothing that becomes of it is missed. */
static bool watch(void *arg, const char *id, struct err *err)
{
	const struct config *config = arg;
	json_t *answer = ask_daemon(config, json_pack("{s:s, s:s}", "command", "follow", "id", id), err);
	bool is_watched = json_is_true(json_object_get(answer, "ok"));

	if (answer != NULL && !is_watched)
		err_set(err, "%s", json_string_value(json_object_get(answer, "error")));
	json_decref(answer);
	return is_watched;
}

static int refuse(const struct config *config, struct err *err)
{
	const struct err why = *err;
	int saved_errno = errno;

	if (!ask_may_not() && !spool_is_locked(config->spool))
		err_set(err, "%.400s; the daemon must run for a test: systemctl start mfdrelay", why.text);
	errno = saved_errno;
	int status = ask_failed(err);
	fputs("Nothing was queued.\n", stderr);
	return status;
}

/* Queue it and follow it; report is NULL, or gets what is known of it. Returns the exit status, with err where it was not
 * queued. */
static int run(const struct config *config, const struct options *options, json_t *report, struct err *err)
{
	struct test_message message = {.to = options->to, .from = options->from, .device = options->device};
	int64_t begun_ms = clock_mono_ms();

	if (message.from == NULL)
		message.from = default_sender(config, &message);
	int status = look_at(config, &message, err);
	if (status != 0)
		return status;
	if (become_relay_user(config, err) < 0 ||
	    test_message_queue(&message, config, watch, (void *)(uintptr_t)config, err) < 0)
		return refuse(config, err);
	if (report != NULL)
		json_object_update_new(report,
		    json_pack("{s:s, s:s, s:s}", "id", message.id, "from", message.from, "to", message.to));
	else
		printf("queued      %s, from %s to %s\n", message.id, message.from, message.to);
	fflush(stdout);
	return journey_follow(config, &message, begun_ms,
	    options->timeout_ms > 0 ? (int64_t)options->timeout_ms : TIMEOUT_MS, report);
}

static int test(const struct config *config, const struct options *options)
{
	json_t *report = options->json ? json_object() : NULL;
	struct err err = {""};
	int status = run(config, options, report, &err);

	if (report == NULL)
		return status;
	json_object_set_new(report, "ok", json_boolean(status == JOURNEY_DELIVERED));
	if (json_object_get(report, "outcome") == NULL)
		json_object_update_new(
		    report, json_pack("{s:s, s:s}", "outcome", "not-queued", "error", err.text));
	terminal_json(report);
	json_decref(report);
	return status;
}

int cmd_test(int argc, char **argv)
{
	struct options options;
	int status = options_parse(argc, argv, "cjtfnw", usage, &options);

	if (status >= 0)
		return status;
	if (options.to == NULL) {
		fputs("mfdrelay: test needs --to ADDRESS\n\n", stderr);
		fputs(usage, stderr);
		return EX_USAGE;
	}
	signal(SIGPIPE, SIG_IGN);
	log_init("test");
	log_set_level(LOG_LEVEL_ERR);
	struct config *config = open_config(options.file, &status);
	if (config == NULL)
		return status;
	status = test(config, &options);
	config_free(config);
	return status;
}
