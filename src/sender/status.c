#include "sender/status.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/counters.h"
#include "config/config.h"
#include "sender/expiries.h"
#include "sender/detour.h"
#include "sender/lane.h"
#include "sender/queue_count.h"
#include "sender/scheduler.h"
#include "sender/upstream.h"
#include "spool/spool.h"

#define ENDING_ALARM_MS 60000

static json_t *time_json(int64_t wall_ms)
{
	char text[40];

	return json_string(clock_rfc3339(text, sizeof text, wall_ms));
}

static json_t *counters_json(const struct counters *c)
{
	const struct {
		const char *name;
		const _Atomic uint64_t *counter;
	} rows[] = {
	    {"sessions", &c->sessions},
	    {"sessions_refused", &c->sessions_refused},
	    {"tls_sessions", &c->tls_sessions},
	    {"tls_failures", &c->tls_failures},
	    {"messages_accepted", &c->messages_accepted},
	    {"bytes_accepted", &c->bytes_accepted},
	    {"messages_refused", &c->messages_refused},
	    {"recipients_refused", &c->recipients_refused},
	    {"auth_failures", &c->auth_failures},
	    {"auth_slowed", &c->auth_slowed},
	    {"logins", &c->logins},
	    {"storm_deferrals", &c->storm_deferrals},
	    {"messages_delivered", &c->messages_delivered},
	    {"recipients_delivered", &c->recipients_delivered},
	    {"recipients_failed", &c->recipients_failed},
	    {"reports", &c->reports},
	    {"deferrals", &c->deferrals},
	    {"upstream_connections", &c->upstream_connections},
	    {"tokens_fetched", &c->tokens_fetched},
	};
	json_t *object = json_object();

	json_object_set_new(object, "sessions_now",
	    json_integer((json_int_t)counted_all(c->sessions_now, COUNTERS_LISTENERS)));
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		json_object_set_new(object, rows[i].name, json_integer((json_int_t)counted(rows[i].counter)));
	return object;
}

static json_t *workers_json(const struct counters *c)
{
	return json_pack("{s:{s:i, s:I}, s:{s:i, s:I}}", "listener", "pid",
	    (int)atomic_load(&c->listener_pid), "restarts", (json_int_t)counted(&c->listener_restarts),
	    "sender", "pid", (int)atomic_load(&c->sender_pid), "restarts",
	    (json_int_t)counted(&c->sender_restarts));
}

static json_t *reasons_json(const struct queue_counts *counts)
{
	json_t *reasons = json_array();

	for (size_t i = 0; i < counts->reason_count; i++) {
		const struct cause *cause = counts->reasons[i].cause;
		json_array_append_new(
		    reasons, json_pack("{s:I, s:s, s:s, s:s, s:s, s:s}", "messages",
				 (json_int_t)counts->reasons[i].messages, "reason", cause->name, "class",
				 outcome_name(cause->outcome), "cause", cause->cause, "who_acts",
				 actor_words(cause->actor), "remedy", cause->remedy));
	}
	return reasons;
}

static json_t *queue_json(const struct queue_counts *counts, struct spool *spool)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "messages",
	    (json_int_t)counts->messages, "unread", (json_int_t)counts->unread, "in_trouble",
	    (json_int_t)counts->in_trouble, "up_to_an_hour", (json_int_t)counts->hour, "up_to_a_day",
	    (json_int_t)counts->day, "older", (json_int_t)counts->older, "oldest_s",
	    (json_int_t)(counts->oldest_ms / 1000), "without_route", (json_int_t)counts->without_route,
	    "failed", (json_int_t)spool_failed_count(spool), "reasons", reasons_json(counts));
}

static const char *health_name(const struct road *road)
{
	return road->health == ROAD_OPEN ? "up" : road->health == ROAD_HELD ? "held" : "probing";
}

/* "waits_for" where mail waits for the window alone. */
static json_t *window_json(struct send_window *shared, const struct road *road, size_t ready)
{
	static const char *const names[QUOTA_SPANS] = {"minute", "hour", "day"};
	struct window *window = &shared->window;
	int64_t now_ms = clock_mono_ms(), wait_ms;
	json_t *object = json_pack("{s:s, s:i, s:i}", "name", shared->name, "connections",
	    (int)shared->connections, "connections_max", (int)send_window_connections(shared, now_ms));
	char text[WINDOW_TEXT_MAX];

	for (enum quota_span span = 0; span < QUOTA_SPANS; span++)
		if (window->limits.of[span] != 0)
			json_object_set_new(object, names[span],
			    json_pack("{s:I, s:I}", "used", (json_int_t)window_used(window, span, now_ms),
				"limit", (json_int_t)window->limits.of[span]));
	if (ready == 0 || road->health == ROAD_HELD || window_room(window, now_ms) > 0)
		return object;
	enum quota_span full = window_full(window, now_ms, &wait_ms);
	json_object_set_new(object, "waits_for", json_string(window_limit_text(text, window, full)));
	json_object_set_new(object, "wait_s", json_integer((wait_ms + 999) / 1000));
	return object;
}

static void add_trouble(json_t *object, const struct road *road)
{
	if (road->health == ROAD_OPEN)
		return;
	int64_t left_ms = road->held_until_ms - clock_mono_ms();
	json_object_set_new(object, "class", json_string(outcome_name(road->why.cause->outcome)));
	json_object_set_new(object, "reason", json_string(road->why.cause->name));
	json_object_set_new(object, "cause", json_string(road->why.cause->cause));
	json_object_set_new(object, "who_acts", json_string(actor_words(road->why.cause->actor)));
	json_object_set_new(object, "remedy", json_string(road->why.cause->remedy));
	json_object_set_new(object, "text", json_string(road->why.text));
	json_object_set_new(object, "next_try_s", json_integer(left_ms > 0 ? left_ms / 1000 : 0));
}

/* The window of an upstream, or its mailboxes with one each. */
static void add_lanes(json_t *object, const struct upstream *upstream, size_t ready)
{
	struct lane *lane = upstream_lane(upstream, 0);

	if (lane->mailbox == NULL) {
		json_object_set_new(object, "window", window_json(lane->window, &lane->road, ready));
		return;
	}
	json_t *mailboxes = json_array();
	for (size_t i = 0; (lane = upstream_lane(upstream, i)) != NULL; i++) {
		json_t *mailbox = json_pack("{s:s, s:s, s:o}", "mailbox", lane->mailbox, "health",
		    health_name(&lane->road), "window", window_json(lane->window, &lane->road, ready));
		add_trouble(mailbox, &lane->road);
		json_array_append_new(mailboxes, mailbox);
	}
	json_object_set_new(object, "mailboxes", mailboxes);
}

static json_t *upstream_json(
    const struct upstream *upstream, const struct scheduler *scheduler, unsigned index)
{
	const struct upstream_config *config = upstream_config_of(upstream);
	const struct road *road = upstream_road(upstream);
	json_t *object = json_pack("{s:s, s:s, s:s, s:i, s:s, s:I, s:i, s:I, s:I}", "name", config->name,
	    "kind", upstream_kind_names[config->kind], "host", upstream_name(config), "port",
	    (int)config->port, "health", health_name(road), "connections",
	    (json_int_t)upstream_connections(upstream), "connections_max", (int)config->window.connections,
	    "ready", (json_int_t)scheduler_ready(scheduler, index), "waiting",
	    (json_int_t)scheduler_waiting(scheduler, index));

	add_lanes(object, upstream, scheduler_ready(scheduler, index));
	add_trouble(object, road);
	return object;
}

/* Mail goes on, but the next end of a credential has none behind it. */
static void add_credential_alarm(json_t *alarms, const struct upstream *upstream)
{
	const struct failure *why = upstream_first_refused(upstream);

	if (why != NULL)
		json_array_append_new(alarms,
		    json_sprintf("upstream %s uses oauth.next, as the first credential is refused: %s %s "
				 "Then: mfdrelay queue retry all.",
			upstream_config_of(upstream)->name, why->cause->cause, why->cause->remedy));
}

/* A token that could not be renewed is still used, or none is wanted yet: what holds mail has an alarm of its own. */
static void add_token_alarm(json_t *alarms, const struct upstream *upstream)
{
	const struct failure *why = upstream_token_trouble(upstream);

	if (why != NULL && why->cause->outcome == OUTCOME_C && upstream_road(upstream)->health == ROAD_OPEN)
		json_array_append_new(
		    alarms, json_sprintf("upstream %s gets no token: %s %s",
				upstream_config_of(upstream)->name, why->cause->cause, why->cause->remedy));
}

static json_t *texts_json(char *const *texts, size_t n)
{
	json_t *array = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(array, json_string(texts[i]));
	return array;
}

/* Which way the mail of each route takes now. */
static json_t *routes_json(const struct config *config, const struct detours *detours)
{
	json_t *routes = json_array();

	for (size_t i = 0; i < config->route_count; i++) {
		const struct route *route = &config->routes[i];
		json_t *via = json_array();
		for (size_t j = 0; j < route->via_count; j++)
			json_array_append_new(via, json_string(config->upstreams[route->via[j]].name));
		json_array_append_new(routes,
		    json_pack("{s:o, s:o, s:s, s:o, s:s}", "recipients",
			texts_json(route->recipients, route->recipient_count), "devices",
			texts_json(route->devices, route->device_count), "title", route_title(route), "via",
			via, "now", config->upstreams[detour_road(config, route, NULL, detours)].name));
	}
	return routes;
}

static void add_lane_alarm(json_t *alarms, const struct lane *lane)
{
	const struct road *road = &lane->road;

	if (!road_alarm(road, clock_mono_ms()))
		return;
	json_array_append_new(
	    alarms, json_sprintf("upstream %s%s%s is held: %s %s", lane->upstream->name,
			lane->mailbox != NULL ? ", mailbox " : "", lane->mailbox != NULL ? lane->mailbox : "",
			road->why.cause->cause, road->why.cause->remedy));
}

static void add_alarms(json_t *alarms, struct upstream *const *upstreams, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct lane *lane;
		add_credential_alarm(alarms, upstreams[i]);
		add_token_alarm(alarms, upstreams[i]);
		for (size_t j = 0; (lane = upstream_lane(upstreams[i], j)) != NULL; j++)
			add_lane_alarm(alarms, lane);
	}
}

static void add_disk_alarms(
    json_t *alarms, const struct counters *counters, const struct queue_counts *counts, struct spool *spool)
{
	struct err err = {""};
	int error = atomic_load(&counters->storage_error);

	if (!spool_has_room(spool, 0, &err))
		json_array_append_new(alarms, json_sprintf("new mail is refused: %s", err.text));
	else if (error != 0)
		json_array_append_new(alarms,
		    json_sprintf(
			"the last message was refused, the disk did not take it: %s. Look at the disk "
			"and the kernel's log.",
			strerror(error)));
	if (!spool_can_retire(spool, &err))
		json_array_append_new(alarms, json_string(err.text));
	if (counts->in_trouble > 0)
		json_array_append_new(alarms,
		    json_sprintf(
			"%d messages wait for the disk, which cannot be read or written: look at it, at "
			"the kernel's log, and at ours for message-unreadable and spool-trouble",
			(int)counts->in_trouble));
}

/* Nothing new leaves while the old sender ends, so that two never use the same window. Mostly it has only the message in hand to
 * finish, which is no reason to call somebody. */
static void add_ending(json_t *status, json_t *alarms, int64_t left_ms, int64_t drained_ms)
{
	if (left_ms < 0)
		return;
	json_object_set_new(status, "ends_within_s", json_integer(left_ms / 1000));
	if (drained_ms < ENDING_ALARM_MS)
		return;
	json_array_append_new(alarms,
	    json_sprintf(
		"after the reload the sender finishes its last transaction, for %lld s at most; until then "
		"no other mail leaves. To end it now: systemctl restart mfdrelay",
		(long long)(left_ms / 1000)));
}

json_t *status_json(const struct status_view *view)
{
	const struct config *config = view->config;
	const struct counters *counters = view->counters;
	json_t *roads = json_array(), *alarms = json_array();
	struct queue_counts counts;

	queue_count(view->queue, &counts);
	for (unsigned i = 0; i < config->upstream_count; i++)
		json_array_append_new(roads, upstream_json(view->upstreams[i], view->scheduler, i));
	add_alarms(alarms, view->upstreams, config->upstream_count);
	add_disk_alarms(alarms, counters, &counts, view->spool);
	json_t *status = json_pack("{s:b, s:s, s:o, s:{s:s, s:o, s:I, s:I}, s:o, s:o, s:o, s:o, s:o}", "ok",
	    1, "version", MFDRELAY_VERSION, "started", time_json(atomic_load(&counters->started_ms)),
	    "config", "file", config->file, "loaded", time_json(atomic_load(&counters->config_loaded_ms)),
	    "loaded_ms", (json_int_t)atomic_load(&counters->config_loaded_ms), "refused_ms",
	    (json_int_t)atomic_load(&counters->config_refused_ms), "workers", workers_json(counters),
	    "counters", counters_json(counters), "queue", queue_json(&counts, view->spool), "upstreams",
	    roads, "alarms", alarms);
	json_object_set_new(status, "expiries", expiries_json(config, alarms));
	json_object_set_new(status, "routes", routes_json(config, view->detours));
	add_ending(status, alarms, view->drain_left_ms, view->drained_ms);
	return status;
}
