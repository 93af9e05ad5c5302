#include "sender/upstream.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#include <event2/event.h>
#include <openssl/rand.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/timer.h"
#include "config/config.h"
#include "sender/client.h"
#include "sender/attempt.h"
#include "sender/token.h"
#include "sender/windows.h"
#include "smtp/reply.h"

/* So many parts stand ready before no more are read from the disk: what is not read has no share yet. Each takes some 200
 * bytes. */
#define READY_MAX 100000

/* After an answer that asks to slow down, one connection is enough for so long. */
#define SINGLE_MS     300000
#define TELL_EVERY_MS 3600000

struct connection {
	struct client *client;
	unsigned recipients; /* of what it carries now */
	bool has_logged_in;
	LIST_ENTRY(connection) next;
};

struct upstream {
	const struct upstream_owner *owner;
	const struct upstream_config *config;
	unsigned index;
	struct road road;
	struct send_window *window;
	struct event *window_opens;
	int64_t told_full_ms[QUOTA_SPANS]; /* when the log was told of each limit, monotonic; 0: never */
	struct client_settings settings;
	LIST_HEAD(, connection) connections;
	size_t connection_count, busy;
	unsigned proofs;
	struct event *hold_end;
	bool token_retried; /* a refused token has been replaced once; the next refusal is the configuration's
			     */
	bool draining;
};

static unsigned random_number(void)
{
	unsigned number = 0;

	/* Only jitter hangs on it. */
	if (RAND_bytes((unsigned char *)&number, sizeof number) != 1)
		return (unsigned)clock_mono_ms();
	return number;
}

/* --- the road --- */

static void on_hold_end(evutil_socket_t fd, short what, void *cookie)
{
	struct upstream *u = cookie;

	(void)fd;
	(void)what;
	/* libevent counts from the time its round began: a timer may fire some ms before its time by the clock. */
	if (road_usable(&u->road, clock_mono_ms())) {
		u->owner->changed(u->owner->arg);
		u->owner->open(u->owner->arg);
	} else
		timer_set(u->hold_end, u->road.held_until_ms - clock_mono_ms() + 1);
}

/* The alarm is raised once for a trouble: at error level, and shown by status until a message has gone
 * through. */
static void log_hold(const struct upstream *u, const struct failure *why, int64_t now_ms, int64_t ms)
{
	log_event(road_alarm(&u->road, now_ms) ? LOG_LEVEL_ERR : LOG_LEVEL_WARNING, "road-held",
	    kv_str("upstream", u->config->name), kv_str("class", outcome_name(why->cause->outcome)),
	    kv_str("reason", why->cause->name), kv_str("cause", why->cause->cause),
	    kv_str("who_acts", actor_words(why->cause->actor)), kv_str("remedy", why->cause->remedy),
	    kv_str("text", why->text), kv_i64("for_ms", ms));
}

int64_t upstream_hold(struct upstream *u, const struct failure *why)
{
	int64_t now_ms = clock_mono_ms();
	bool was_held = u->road.health == ROAD_HELD;
	int64_t ms = road_hold(&u->road, why, u->owner->config->retry.first_ms,
	    u->owner->config->retry.max_ms, now_ms, random_number());

	/* The domain's mail may have moved. */
	u->settings.mx.until_ms = 0;
	timer_set(u->hold_end, ms);
	if (why->cause->outcome == OUTCOME_S)
		u->window->single_until_ms = now_ms + ms + SINGLE_MS;
	if (!was_held)
		log_hold(u, why, now_ms, ms);
	u->owner->changed(u->owner->arg);
	return ms;
}

void upstream_proved(struct upstream *u)
{
	if (u->road.health != ROAD_HELD)
		u->proofs++;
	if (road_proved(&u->road)) {
		evtimer_del(u->hold_end);
		log_event(LOG_LEVEL_NOTICE, "road-open", kv_str("upstream", u->config->name));
		u->owner->changed(u->owner->arg);
	}
}

unsigned upstream_proofs(const struct upstream *u)
{
	return u->proofs;
}

void upstream_release(struct upstream *u)
{
	if (u->settings.tokens != NULL)
		token_retry_now(u->settings.tokens);
	u->token_retried = false;
	road_release(&u->road);
	u->owner->changed(u->owner->arg);
	upstream_pump(u);
}

/* --- the window --- */

static void on_window_opens(evutil_socket_t fd, short what, void *cookie)
{
	(void)fd;
	(void)what;
	upstream_pump(cookie);
}

/* Nothing is tried meanwhile, and nothing fails. In the log at most once an hour. */
static void wait_for_window(struct upstream *u, int64_t now_ms)
{
	static const char *const keys[QUOTA_SPANS] = {
	    "messages_per_minute", "messages_per_hour", "recipients_per_day"};
	char limit[WINDOW_TEXT_MAX], key[64];
	int64_t wait_ms;
	enum quota_span span = window_full(&u->window->window, now_ms, &wait_ms);

	timer_set(u->window_opens, wait_ms);
	if (u->told_full_ms[span] != 0 && now_ms - u->told_full_ms[span] < TELL_EVERY_MS)
		return;
	u->told_full_ms[span] = now_ms;
	snprintf(key, sizeof key, "upstreams.window.%s", keys[span]);
	log_event(LOG_LEVEL_NOTICE, "window-full", kv_str("upstream", u->config->name),
	    kv_str("window", u->window->name),
	    kv_str("limit", window_limit_text(limit, &u->window->window, span)), kv_str("key", key),
	    kv_i64("wait_ms", wait_ms),
	    kv_str("consequence", "mail waits in the queue and leaves as the window allows"));
}

/* --- connections --- */

static struct connection *connection_of(struct upstream *u, const struct client *client)
{
	struct connection *connection;

	LIST_FOREACH(connection, &u->connections, next)
		if (connection->client == client)
			return connection;
	return NULL;
}

/* A token that was refused for the first time is replaced at once; everything else holds the road. */
static void judge_end(struct upstream *u, const struct failure *why, bool token_was_stale)
{
	if (why == NULL)
		return;
	/* Another connection has had it replaced meanwhile: the next login uses the new one. */
	if (why->cause->outcome == OUTCOME_A && token_was_stale)
		return;
	if (why->cause->outcome == OUTCOME_A && !u->token_retried) {
		u->token_retried = true;
		log_event(LOG_LEVEL_WARNING, "token-refused", kv_str("upstream", u->config->name),
		    kv_str("text", why->text), kv_str("consequence", "a new token is fetched, once"));
		return;
	}
	upstream_hold(u, why);
}

static void on_client_ended(struct upstream *u, struct client *client)
{
	struct connection *connection = connection_of(u, client);
	const struct failure *failure = client_failure(client);
	bool is_wanted = u->window->wanted_by != NULL && u->window->wanted_by != u;
	bool token_was_stale = client_token_was_stale(client);
	struct failure why;

	if (failure != NULL)
		why = *failure;
	LIST_REMOVE(connection, next);
	u->connection_count--;
	u->window->connections--;
	client_free(client);
	free(connection);
	judge_end(u, failure != NULL ? &why : NULL, token_was_stale);
	if (u->connection_count == 0)
		u->owner->idle(u->owner->arg, u->index);
	if (is_wanted)
		u->owner->open(u->owner->arg);
	upstream_pump(u);
}

/* How many recipients a message may have that is taken now; 0: there is none, or the road or the window is shut. */
static unsigned room(struct upstream *u)
{
	int64_t now_ms = clock_mono_ms();

	if (u->owner->ready(u->owner->arg, u->index) == 0 || !road_usable(&u->road, now_ms))
		return 0;
	/* One message at a time shows whether the road is open again. */
	if (u->road.health == ROAD_PROBING && u->busy > 0)
		return 0;
	unsigned recipients = window_room(&u->window->window, now_ms);
	if (recipients == 0)
		wait_for_window(u, now_ms);
	return recipients;
}

/* Whether another connection has to go: it is one too many, or another upstream of this mailbox has none. */
static bool is_one_too_many(const struct upstream *u)
{
	return u->window->connections > send_window_connections(u->window, clock_mono_ms()) ||
	       (u->window->wanted_by != NULL && u->window->wanted_by != u);
}

static void use_connection(struct upstream *u, struct connection *connection)
{
	struct attempt *attempt = NULL;

	if (u->draining || client_is_stale(connection->client) || is_one_too_many(u)) {
		client_quit(connection->client);
		return;
	}
	unsigned recipients = room(u);
	if (recipients > 0)
		attempt = u->owner->take(u->owner->arg, u->index, recipients);
	if (attempt == NULL)
		return;
	u->busy++;
	connection->recipients = (unsigned)attempt->count;
	window_begin(&u->window->window, connection->recipients);
	client_send(connection->client, attempt);
}

/* What the upstream has taken counts for its recipients; what it has seen, as a message. */
static void count_sent(struct upstream *u, const struct connection *connection, const struct attempt *attempt)
{
	unsigned delivered = 0;

	for (size_t i = 0; i < attempt->count; i++)
		delivered += attempt->recipients[i].failure == NULL;
	window_end(
	    &u->window->window, connection->recipients, delivered, attempt->not_begun, clock_mono_ms());
	windows_changed(u->owner->windows);
}

static void on_client(void *arg, struct client *client, enum client_event event, struct attempt *attempt)
{
	struct upstream *u = arg;
	struct connection *connection;

	switch (event) {
	case CLIENT_IDLE:
		connection = connection_of(u, client);
		if (!connection->has_logged_in) {
			connection->has_logged_in = true;
			u->token_retried = false;
		}
		use_connection(u, connection);
		break;
	case CLIENT_DONE:
		u->busy--;
		count_sent(u, connection_of(u, client), attempt);
		u->owner->done(u->owner->arg, attempt);
		break;
	case CLIENT_ENDED:
		on_client_ended(u, client);
		break;
	}
}

static void open_connection(struct upstream *u)
{
	struct connection *connection = xcalloc(1, sizeof *connection);

	LIST_INSERT_HEAD(&u->connections, connection, next);
	u->connection_count++;
	u->window->connections++;
	count(&u->owner->counters->upstream_connections, 1);
	connection->client = client_new(&u->settings, on_client, u);
}

static size_t connections_to_be(const struct upstream *u)
{
	const struct connection *connection;
	size_t n = 0;

	LIST_FOREACH(connection, &u->connections, next)
		if (client_is_connecting(connection->client))
			n++;
	return n;
}

/* Whether work waits that no connection is on its way for. */
static bool needs_connection(struct upstream *u)
{
	size_t ready = u->owner->ready(u->owner->arg, u->index), to_be = connections_to_be(u);

	return ready > to_be && room(u) > 0;
}

/* Where the mailbox has no connection left, the next one that ends is for the upstream that has none. */
static bool may_open(struct upstream *u)
{
	struct send_window *window = u->window;

	if (u->road.health == ROAD_PROBING && u->connection_count > 0)
		return false;
	bool is_free = window->connections < send_window_connections(window, clock_mono_ms()) &&
		       u->connection_count < u->config->window.connections &&
		       (window->wanted_by == NULL || window->wanted_by == u);
	if (!is_free && u->connection_count == 0 && window->wanted_by == NULL)
		window->wanted_by = u;
	return is_free;
}

void upstream_pump(struct upstream *u)
{
	struct connection *connection, *following;

	/* It is wanted as long as there is use for it. */
	if (u->window->wanted_by == u)
		u->window->wanted_by = NULL;
	if (u->draining || !road_usable(&u->road, clock_mono_ms()))
		return;
	for (connection = LIST_FIRST(&u->connections); connection != NULL; connection = following) {
		following = LIST_NEXT(connection, next);
		if (client_is_idle(connection->client))
			use_connection(u, connection);
	}
	while (needs_connection(u) && may_open(u))
		open_connection(u);
}

bool upstream_hungry(struct upstream *u)
{
	return !u->draining && road_usable(&u->road, clock_mono_ms()) &&
	       u->owner->ready(u->owner->arg, u->index) < READY_MAX;
}

void upstream_drain(struct upstream *u, bool abort)
{
	struct connection *connection, *following;

	u->draining = true;
	for (connection = LIST_FIRST(&u->connections); connection != NULL; connection = following) {
		following = LIST_NEXT(connection, next);
		if (client_is_idle(connection->client))
			client_quit(connection->client);
		else if (abort || client_is_connecting(connection->client))
			client_abort(connection->client);
	}
}

static void on_step(
    void *arg, enum client_step step, const struct failure *why, const struct client_view *view)
{
	const struct upstream *u = arg;

	if (step == CLIENT_EHLO && why == NULL)
		u->owner->size(u->owner->arg, u->index, view->ehlo->has_size ? view->ehlo->size : 0);
}

/* --- life --- */

struct upstream *upstream_new(const struct upstream_owner *owner, unsigned road, struct err *err)
{
	const struct client_means means = {
	    .base = owner->base,
	    .resolver = owner->resolver,
	    .http = owner->http,
	    .counters = owner->counters,
	    .config = owner->config,
	};
	struct upstream *u = xcalloc(1, sizeof *u);

	u->owner = owner;
	u->config = &owner->config->upstreams[road];
	u->index = road;
	LIST_INIT(&u->connections);
	u->hold_end = evtimer_new(owner->base, on_hold_end, u);
	u->window = windows_of(owner->windows, u->config);
	u->window_opens = evtimer_new(owner->base, on_window_opens, u);
	if (client_settings_init(&u->settings, &means, u->config, err) < 0) {
		upstream_free(u);
		return NULL;
	}
	u->settings.step = on_step;
	u->settings.step_arg = u;
	return u;
}

size_t upstream_connections(const struct upstream *u)
{
	return u->connection_count;
}

struct send_window *upstream_window(const struct upstream *u)
{
	return u->window;
}

const struct road *upstream_road(const struct upstream *u)
{
	return &u->road;
}

void upstream_keep_alive(struct upstream *u)
{
	if (u->settings.tokens != NULL && !u->draining)
		token_keep_alive(u->settings.tokens);
}

const struct failure *upstream_first_refused(const struct upstream *u)
{
	return u->settings.tokens != NULL ? token_first_refused(u->settings.tokens) : NULL;
}

const struct upstream_config *upstream_config_of(const struct upstream *u)
{
	return u->config;
}

void upstream_free(struct upstream *u)
{
	struct connection *connection;

	if (u == NULL)
		return;
	while ((connection = LIST_FIRST(&u->connections)) != NULL) {
		LIST_REMOVE(connection, next);
		client_free(connection->client);
		free(connection);
	}
	client_settings_free(&u->settings);
	event_free(u->hold_end);
	event_free(u->window_opens);
	free(u);
}
