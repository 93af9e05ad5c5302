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
#include "spool/spool.h"

#define STATUS_DOWN  1
#define STATUS_ALARM 2

static const char usage[] =
    "usage: mfdrelay status [--json] [-c FILE]\n"
    "\n"
    "How the relay is: its processes, the queue by age, each upstream up or held and why, alarms.\n"
    "exit status: 0 all is well; 1 the daemon does not run or does not answer; 2 an alarm: somebody must "
    "look\n";

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "";
}

static long long number_of(const json_t *object, const char *key)
{
	return (long long)json_integer_value(json_object_get(object, key));
}

static void print_expiry(const json_t *expiry)
{
	const char *upstream = text_of(expiry, "upstream");

	printf("expires    %s%s%s%s\n", upstream[0] != '\0' ? "upstream " : "", upstream,
	    upstream[0] != '\0' ? ": " : "", text_of(expiry, "text"));
}

static void print_worker(const char *name, const json_t *worker)
{
	printf("%-10s pid %lld, restarted %lld times\n", name, number_of(worker, "pid"),
	    number_of(worker, "restarts"));
}

/* How much of each limit is used, and whether mail waits for one. */
static void print_window(const json_t *window)
{
	static const char *const spans[][2] = {{"minute", "messages this minute"},
	    {"hour", "messages this hour"}, {"day", "recipients in 24 hours"}};
	const char *before = "           window: ";
	char wait[24];

	for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++) {
		const json_t *span = json_object_get(window, spans[i][0]);
		if (span == NULL)
			continue;
		printf("%s%lld of %lld %s", before, number_of(span, "used"), number_of(span, "limit"),
		    spans[i][1]);
		before = ", ";
	}
	if (before[0] == ',')
		putchar('\n');
	if (json_object_get(window, "waits_for") != NULL)
		printf("           waiting for its send window: %s; more leaves in %s\n",
		    text_of(window, "waits_for"),
		    terminal_duration(wait, sizeof wait, number_of(window, "wait_s") * 1000));
}

/* Those that do not go by the first of their upstreams. */
static void print_detour(const json_t *route)
{
	const char *first = json_string_value(json_array_get(json_object_get(route, "via"), 0));
	const char *now = text_of(route, "now");
	char text[400];

	if (first != NULL && strcmp(first, now) != 0)
		printf("route      %s: by %s now, in place of %s\n",
		    terminal_text(text, sizeof text, text_of(route, "title"), sizeof text), now, first);
}

/* Why an upstream, or one of its mailboxes, is held. */
static void print_trouble(const json_t *road)
{
	char text[700], wait[24];

	if (strcmp(text_of(road, "health"), "up") == 0)
		return;
	printf("           cause:  %s\n           acts:   %s\n           remedy: %s\n",
	    text_of(road, "cause"), text_of(road, "who_acts"), text_of(road, "remedy"));
	printf("           answer: %s\n           next try in %s\n",
	    terminal_text(text, sizeof text, text_of(road, "text"), sizeof text),
	    terminal_duration(wait, sizeof wait, number_of(road, "next_try_s") * 1000));
}

static void print_upstream(const json_t *upstream)
{
	const json_t *mailboxes = json_object_get(upstream, "mailboxes");
	json_t *mailbox;
	size_t i;

	printf("upstream   %s (%s, %s:%lld): %s, %lld of %lld connections, %lld ready, %lld waiting\n",
	    text_of(upstream, "name"), text_of(upstream, "kind"), text_of(upstream, "host"),
	    number_of(upstream, "port"), text_of(upstream, "health"), number_of(upstream, "connections"),
	    number_of(upstream, "connections_max"), number_of(upstream, "ready"),
	    number_of(upstream, "waiting"));
	json_array_foreach(mailboxes, i, mailbox) {
		printf("  mailbox  %s: %s\n", text_of(mailbox, "mailbox"), text_of(mailbox, "health"));
		print_window(json_object_get(mailbox, "window"));
		print_trouble(mailbox);
	}
	if (mailboxes != NULL)
		return;
	print_window(json_object_get(upstream, "window"));
	print_trouble(upstream);
}

/* Why what waits has not gone out, as its last attempt found. */
static void print_reasons(const json_t *reasons)
{
	size_t i;
	json_t *reason;

	json_array_foreach(reasons, i, reason) {
		printf(
		    "           %lld because: %s\n", number_of(reason, "messages"), text_of(reason, "cause"));
		if (text_of(reason, "remedy")[0] != '\0')
			printf("             remedy: %s\n", text_of(reason, "remedy"));
	}
}

static void print_queue(const json_t *queue)
{
	long long messages = number_of(queue, "messages");
	char age[24];

	printf("queue      %lld message%s", messages, messages == 1 ? "" : "s");
	if (messages > 0)
		printf(" (%lld up to an hour old, %lld up to a day, %lld older), oldest %s",
		    number_of(queue, "up_to_an_hour"), number_of(queue, "up_to_a_day"),
		    number_of(queue, "older"),
		    terminal_duration(age, sizeof age, number_of(queue, "oldest_s") * 1000));
	printf("; %lld in failed\n", number_of(queue, "failed"));
	if (number_of(queue, "without_route") > 0)
		printf("           %lld have a recipient without a route: add one to routes, then reload\n",
		    number_of(queue, "without_route"));
	print_reasons(json_object_get(queue, "reasons"));
}

static void print_head(const json_t *status)
{
	const json_t *config = json_object_get(status, "config");
	const json_t *ends = json_object_get(status, "ends_within_s");
	char age[24];

	printf("mfdrelay   %s, running since %s, config %s of %s\n", text_of(status, "version"),
	    text_of(status, "started"), text_of(config, "file"), text_of(config, "loaded"));
	if (number_of(config, "refused_ms") > number_of(config, "loaded_ms"))
		printf("           a reload was refused %s ago, the old config goes on; why: journalctl -u "
		       "mfdrelay\n",
		    terminal_duration(age, sizeof age, clock_wall_ms() - number_of(config, "refused_ms")));
	if (ends != NULL)
		printf("           after a reload the old sender finishes its last transaction, for %s at "
		       "most; until "
		       "then no other mail leaves\n",
		    terminal_duration(age, sizeof age, json_integer_value(ends) * 1000));
}

static void print_status(const json_t *status)
{
	const json_t *counters = json_object_get(status, "counters");
	const json_t *workers = json_object_get(status, "workers");
	size_t i;
	json_t *item;

	print_head(status);
	print_worker("listener", json_object_get(workers, "listener"));
	print_worker("sender", json_object_get(workers, "sender"));
	printf("sessions   %lld now, %lld in all, %lld refused; %lld over TLS, %lld handshakes failed\n",
	    number_of(counters, "sessions_now"), number_of(counters, "sessions"),
	    number_of(counters, "sessions_refused"), number_of(counters, "tls_sessions"),
	    number_of(counters, "tls_failures"));
	printf("logins     %lld, %lld failed, of which %lld slowed; %lld messages deferred by "
	       "messages_per_hour\n",
	    number_of(counters, "logins"), number_of(counters, "auth_failures"),
	    number_of(counters, "auth_slowed"), number_of(counters, "storm_deferrals"));
	printf("messages   %lld accepted, %lld refused, %lld recipients refused; %lld delivered, %lld "
	       "recipients "
	       "failed, %lld deferrals\n",
	    number_of(counters, "messages_accepted"), number_of(counters, "messages_refused"),
	    number_of(counters, "recipients_refused"), number_of(counters, "messages_delivered"),
	    number_of(counters, "recipients_failed"), number_of(counters, "deferrals"));
	print_queue(json_object_get(status, "queue"));
	json_array_foreach(json_object_get(status, "upstreams"), i, item)
		print_upstream(item);
	json_array_foreach(json_object_get(status, "routes"), i, item)
		print_detour(item);
	json_array_foreach(json_object_get(status, "expiries"), i, item)
		print_expiry(item);
	json_array_foreach(json_object_get(status, "alarms"), i, item)
		printf("ALARM      %s\n", json_string_value(item));
}

static void count_one(void *arg, const char *id)
{
	(void)id;
	++*(size_t *)arg;
}

/* The queue of a daemon that does not answer, as the spool has it. */
struct counted {
	bool known;
	size_t queued, failed;
};

static struct counted count_spool(const struct config *config)
{
	struct counted counted = {false, 0, 0};
	struct err err = {""};
	struct spool *spool = open_spool(config);

	if (spool == NULL)
		return counted;
	counted.known = spool_list(spool, SPOOL_QUEUE, count_one, &counted.queued, &err) == 0 &&
			spool_list(spool, SPOOL_FAILED, count_one, &counted.failed, &err) == 0;
	if (!counted.known)
		fprintf(stderr, "mfdrelay: %s\n", err.text);
	spool_close(spool);
	return counted;
}

static void print_down(const char *why, bool running, const struct counted *counted)
{
	if (running)
		printf("mfdrelay   runs, but its sender does not answer (%s)\n"
		       "           it is started again by itself; why it ended or hangs: journalctl -u "
		       "mfdrelay\n",
		    why);
	else
		printf(
		    "mfdrelay   does not run (%s)\n"
		    "           start it: systemctl start mfdrelay; why it ended: journalctl -u mfdrelay\n",
		    why);
	if (counted->known)
		printf("queue      %zu messages, %zu in failed\n", counted->queued, counted->failed);
	else
		puts("spool      cannot be looked at; where the daemon has run before, it may have been "
		     "moved: put "
		     "it back");
}

static void print_down_json(bool running, const struct counted *counted)
{
	printf("{\"ok\": false, \"running\": %s, \"queue\": ", running ? "true" : "false");
	if (counted->known)
		printf("{\"messages\": %zu, \"failed\": %zu}}\n", counted->queued, counted->failed);
	else
		puts("null}");
}

/* The daemon does not answer; the spool may still. */
static int report_down(const struct config *config, const char *why, bool as_json)
{
	bool running = spool_is_locked(config->spool);
	struct counted counted = count_spool(config);

	if (as_json)
		print_down_json(running, &counted);
	else
		print_down(why, running, &counted);
	return STATUS_DOWN;
}

static int show(const struct config *config, bool as_json)
{
	struct err err = {""};
	json_t *status = ask_daemon(config, json_pack("{s:s}", "command", "status"), &err);

	if (status == NULL && ask_may_not())
		return ask_failed(&err);
	if (status == NULL)
		return report_down(config, err.text, as_json);
	if (as_json) {
		terminal_json(status);
	} else {
		print_status(status);
	}
	int result = json_array_size(json_object_get(status, "alarms")) > 0 ? STATUS_ALARM : 0;
	json_decref(status);
	return result;
}

int cmd_status(int argc, char **argv)
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
