#include "cli/journey.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "cli/ask.h"
#include "cli/open.h"
#include "cli/terminal.h"
#include "cli/test_message.h"
#include "config/config.h"
#include "spool/spool.h"

#define ASK_EVERY_MS   100
#define LOOK_AFTER_MS  1000 /* without a result: is its upstream held, is it still there? */
#define LINE_MAX_BYTES 1024

struct journey {
	const struct config *config;
	const struct test_message *message;
	int64_t begun_ms, end_ms;
	size_t shown;	     /* results */
	int64_t next_try_ms; /* monotonic: of the message or its upstream; 0: now */
	bool shown_held;     /* that it waits for held upstreams */
	int status;	     /* once it is over, else -1 */
	json_t *report;	     /* NULL: it is printed */
};

static double seconds_since(int64_t begun_ms)
{
	return (double)(clock_mono_ms() - begun_ms) / 1000;
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "";
}

static int64_t next_try_s(const json_t *upstream)
{
	return json_integer_value(json_object_get(upstream, "next_try_s"));
}

static void print_line(const char *what, const char *text)
{
	char safe[LINE_MAX_BYTES];

	if (text[0] != '\0')
		printf("            %-8s%s\n", what, terminal_text(safe, sizeof safe, text, sizeof safe));
}

static void print_cause(const json_t *object, const char *answer_key, int64_t next_ms)
{
	char wait[24];

	print_line("answer:", text_of(object, answer_key));
	print_line("cause:", text_of(object, "cause"));
	print_line("acts:", text_of(object, "who_acts"));
	print_line("remedy:", text_of(object, "remedy"));
	if (next_ms > 0)
		printf("            next try in %s\n", terminal_duration(wait, sizeof wait, next_ms + 999));
}

/* --- results --- */

static void print_result(
    const struct journey *journey, const json_t *result, const char *event, int64_t next_ms)
{
	char reply[LINE_MAX_BYTES];

	printf(
	    "%-11s by %s after %.1f s", event, text_of(result, "upstream"), seconds_since(journey->begun_ms));
	if (strcmp(event, "delivered") == 0) {
		printf(": %s\n", terminal_text(reply, sizeof reply, text_of(result, "reply"), sizeof reply));
		return;
	}
	putchar('\n');
	print_cause(result, "reply", next_ms);
}

static void report_result(const struct journey *journey, const json_t *result)
{
	json_t *copy = json_deep_copy(result);

	json_object_set_new(copy, "after_s", json_real(seconds_since(journey->begun_ms)));
	json_array_append_new(json_object_get(journey->report, "results"), copy);
}

static void show_result(struct journey *journey, const json_t *result)
{
	const char *event = text_of(result, "event");
	int64_t next_ms = json_integer_value(json_object_get(result, "next_ms"));

	/* The upstream is held for that: show_held has more to say of it. */
	if (strcmp(event, "put-off") == 0)
		return;
	if (journey->report != NULL)
		report_result(journey, result);
	else
		print_result(journey, result, event, next_ms);
	journey->next_try_ms = next_ms > 0 ? clock_mono_ms() + next_ms : 0;
	if (strcmp(event, "delivered") == 0)
		journey->status = JOURNEY_DELIVERED;
	if (strcmp(event, "failed") == 0)
		journey->status = JOURNEY_FAILED;
}

static json_t *ask(const struct journey *journey, json_t *request)
{
	struct err err = {""};

	return ask_daemon(journey->config, request, &err);
}

static json_t *request_results(const struct journey *journey, bool go)
{
	return json_pack("{s:s, s:s, s:b}", "command", "follow", "id", journey->message->id, "go", go);
}

/* Returns whether there was something new. The sender after a reload knows nothing of before. */
static bool show_results(struct journey *journey, bool go)
{
	json_t *answer = ask(journey, request_results(journey, go));
	const json_t *results = json_object_get(answer, "results");
	size_t count = json_array_size(results), before = journey->shown;

	if (count < journey->shown)
		journey->shown = before = 0;
	while (journey->shown < count && journey->status < 0)
		show_result(journey, json_array_get(results, journey->shown++));
	json_decref(answer);
	return journey->shown > before;
}

/* --- where it waits --- */

static const json_t *find_upstream(const json_t *upstreams, const char *name)
{
	size_t i;
	json_t *upstream;

	json_array_foreach(upstreams, i, upstream)
		if (strcmp(text_of(upstream, "name"), name) == 0)
			return upstream;
	return NULL;
}

/* The upstream of the route that is tried first, as status has it, where all of them are held; else NULL. */
static const json_t *first_to_be_tried(
    const struct config *config, const struct route *route, const json_t *upstreams)
{
	const json_t *first = NULL;

	for (size_t i = 0; i < route->via_count; i++) {
		const json_t *upstream = find_upstream(upstreams, config->upstreams[route->via[i]].name);
		if (upstream == NULL || strcmp(text_of(upstream, "health"), "held") != 0)
			return NULL;
		if (first == NULL || next_try_s(upstream) < next_try_s(first))
			first = upstream;
	}
	return first;
}

static void report_held(const struct journey *journey, const json_t *upstream)
{
	static const char *const keys[] = {
	    "name", "class", "reason", "cause", "who_acts", "remedy", "text", "next_try_s"};
	json_t *held = json_object();

	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
		json_object_set(held, keys[i], json_object_get(upstream, keys[i]));
	json_object_set_new(journey->report, "held", held);
}

static void show_held(struct journey *journey, const json_t *upstream)
{
	int64_t next_ms = next_try_s(upstream) * 1000;

	journey->next_try_ms = clock_mono_ms() + next_ms;
	if (journey->shown_held)
		return;
	journey->shown_held = true;
	if (journey->report != NULL) {
		report_held(journey, upstream);
		return;
	}
	printf("%-11s the upstream %s is held after %.1f s\n", "waits", text_of(upstream, "name"),
	    seconds_since(journey->begun_ms));
	print_cause(upstream, "text", next_ms);
}

static void look_at_upstreams(struct journey *journey)
{
	int route =
	    config_route(journey->config, test_message_device(journey->message), journey->message->to);
	json_t *status = ask(journey, json_pack("{s:s}", "command", "status"));
	const json_t *held = route < 0 ? NULL
				       : first_to_be_tried(journey->config, &journey->config->routes[route],
					     json_object_get(status, "upstreams"));

	if (held != NULL)
		show_held(journey, held);
	else if (journey->shown_held) {
		journey->shown_held = false;
		journey->next_try_ms = 0;
		if (journey->report != NULL)
			json_object_del(journey->report, "held");
	}
	json_decref(status);
}

static bool is_in(const struct journey *journey, struct spool *spool, enum spool_folder folder)
{
	struct envelope envelope;
	struct state state;
	struct err err = {""};

	if (spool_inspect(spool, folder, journey->message->id, &envelope, &state, NULL, NULL, &err) < 0)
		return errno != ENOENT;
	envelope_free(&envelope);
	state_free(&state);
	return true;
}

/* What nobody has told us, the spool knows: it leaves the queue delivered, or for failed/. */
static void look_at_spool(struct journey *journey)
{
	struct spool *spool = open_spool(journey->config);

	if (spool == NULL)
		return;
	/* What had become of it before it left may have been told meanwhile. */
	if (!is_in(journey, spool, SPOOL_QUEUE) && (!show_results(journey, false) || journey->status < 0)) {
		bool failed = is_in(journey, spool, SPOOL_FAILED);
		if (journey->report == NULL)
			printf("%-11s %s\n", failed ? "failed" : "delivered",
			    failed ? "see: mfdrelay queue show"
				   : "it has left the queue; the log has the upstream's reply");
		journey->status = failed ? JOURNEY_FAILED : JOURNEY_DELIVERED;
	}
	spool_close(spool);
}

/* --- the end --- */

static void print_end(const struct journey *journey, bool is_daemon_up)
{
	switch (journey->status) {
	case JOURNEY_DELIVERED:
		puts("The upstream has taken it. Where it does not appear: mfdrelay explain nothing arrives");
		break;
	case JOURNEY_FAILED:
		printf("It was given up: a report is sent, and a copy is in failed/ of the spool.\n"
		       "The cause removed, it goes again with: mfdrelay queue retry %s\n",
		    journey->message->id);
		break;
	default:
		printf(
		    "It stays in the queue and is tried %s; see: mfdrelay status, mfdrelay queue show %s\n",
		    is_daemon_up ? "again by itself" : "when the daemon runs", journey->message->id);
	}
}

static void report_end(const struct journey *journey, int status)
{
	static const char *const outcomes[] = {
	    [JOURNEY_DELIVERED] = "delivered", [JOURNEY_FAILED] = "failed", [JOURNEY_WAITS] = "waits"};

	json_object_set_new(journey->report, "outcome", json_string(outcomes[status]));
	json_object_set_new(journey->report, "after_s", json_real(seconds_since(journey->begun_ms)));
}

static bool is_beyond(const struct journey *journey)
{
	int64_t now_ms = clock_mono_ms();

	return now_ms >= journey->end_ms || journey->next_try_ms >= journey->end_ms;
}

int journey_follow(const struct config *config, const struct test_message *message, int64_t begun_ms,
    int64_t timeout_ms, json_t *report)
{
	struct journey journey = {.config = config,
	    .message = message,
	    .begun_ms = begun_ms,
	    .end_ms = begun_ms + timeout_ms,
	    .status = -1,
	    .report = report};
	int64_t look_ms = clock_mono_ms() + LOOK_AFTER_MS;

	if (report != NULL)
		json_object_set_new(report, "results", json_array());
	show_results(&journey, true);
	while (journey.status < 0 && !is_beyond(&journey)) {
		clock_rest_us(ASK_EVERY_MS * 1000);
		if (show_results(&journey, false) || clock_mono_ms() < look_ms)
			continue;
		look_ms = clock_mono_ms() + LOOK_AFTER_MS;
		look_at_upstreams(&journey);
		if (journey.status < 0)
			look_at_spool(&journey);
		fflush(stdout);
	}
	int status = journey.status >= 0 ? journey.status : JOURNEY_WAITS;
	if (report != NULL)
		report_end(&journey, status);
	else
		print_end(&journey, spool_is_locked(config->spool));
	return status;
}
