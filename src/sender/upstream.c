#include "sender/upstream.h"

#include <stdlib.h>
#include <sys/queue.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/config.h"
#include "sender/attempt.h"
#include "sender/blame.h"
#include "sender/client.h"
#include "sender/lane.h"
#include "sender/token.h"
#include "sender/windows.h"
#include "smtp/reply.h"
#include "spool/spool.h"

/* So many parts stand ready before no more are read from the disk: what is not read has no share yet. Each takes some 200
 * bytes. */
#define READY_MAX 100000

struct connection {
	struct client *client;
	struct lane *lane;
	unsigned recipients; /* of what it carries now */
	bool has_carried;    /* a message */
	bool is_outdated;    /* somebody has signed in anew since */
	LIST_ENTRY(connection) next;
};

struct upstream {
	const struct upstream_owner *owner;
	const struct upstream_config *config;
	unsigned index;
	struct lane *lanes;
	size_t lane_count;
	struct client_settings settings;
	LIST_HEAD(, connection) connections;
	size_t connection_count;
	unsigned proofs; /* attempts that have shown a lane open, so far */
	bool draining;
};

/* --- the lanes --- */

static void on_lane_open(void *arg)
{
	const struct upstream *u = arg;

	u->owner->changed(u->owner->arg);
	u->owner->open(u->owner->arg);
}

static void on_lane_changed(void *arg)
{
	const struct upstream *u = arg;

	u->owner->changed(u->owner->arg);
}

static const struct lane_owner lane_owner = {.open = on_lane_open, .changed = on_lane_changed};

/* The alarm is raised once for a trouble: at error level, and shown by status until a message has gone
 * through. */
static void log_hold(const struct upstream *u, const struct lane *lane, const struct failure *why, int64_t ms)
{
	const char *mailbox = lane != NULL && lane->mailbox != NULL ? lane->mailbox : "";
	bool is_alarm = road_alarm(lane != NULL ? &lane->road : upstream_road(u), clock_mono_ms());

	log_event(is_alarm ? LOG_LEVEL_ERR : LOG_LEVEL_WARNING, "upstream-held",
	    kv_str("upstream", u->config->name), kv_str("mailbox", mailbox),
	    kv_str("class", outcome_name(why->cause->outcome)), kv_str("reason", why->cause->name),
	    kv_str("cause", why->cause->cause), kv_str("who_acts", actor_words(why->cause->actor)),
	    kv_str("remedy", why->cause->remedy), kv_str("text", why->text), kv_i64("for_ms", ms));
}

/* One lane, or all of them (NULL). */
static void hold(struct upstream *u, struct lane *only, const struct failure *why)
{
	bool were_held = true;
	int64_t ms = 0;

	/* The domain's mail may have moved. */
	u->settings.mx.until_ms = 0;
	for (size_t i = 0; i < u->lane_count; i++) {
		struct lane *lane = &u->lanes[i];
		if (only != NULL && lane != only)
			continue;
		were_held = were_held && lane->road.health == ROAD_HELD;
		ms = lane_hold(lane, why);
	}
	if (!were_held)
		log_hold(u, only, why, ms);
	u->owner->changed(u->owner->arg);
}

static void prove(struct upstream *u, struct lane *lane, const struct attempt *attempt)
{
	if (lane->road.health != ROAD_HELD) {
		lane->last_proof = ++u->proofs;
		lane->token_retried = false;
		blame_proved(lane, attempt, clock_mono_ms());
	}
	if (lane_proved(lane))
		u->owner->changed(u->owner->arg);
}

/* What passes once the DNS is right: the domain's mail may have moved. */
static bool is_about_dns(const struct attempt *attempt)
{
	const struct cause *cause = attempt_shareable(attempt);

	return cause != NULL && cause->outcome == OUTCOME_T;
}

/* A token that was refused for the first time is replaced at once: that holds nothing. So it is where another connection has had it
 * replaced meanwhile. Returns whether either is all there is to why. */
static bool is_mended_by_new_token(
    struct upstream *u, struct lane *lane, const struct client *client, const struct failure *why)
{
	if (why->cause->outcome != OUTCOME_A || u->settings.tokens == NULL)
		return false;
	if (client_token_was_stale(client))
		return true;
	if (lane->token_retried)
		return false;
	lane->token_retried = true;
	log_event(LOG_LEVEL_WARNING, "token-refused", kv_str("upstream", u->config->name),
	    kv_str("text", why->text), kv_str("consequence", "a new token is fetched, once"));
	return true;
}

/* What an attempt has brought back holds the lane it went by, or shows that the road is open. A connection that was lost says
 * nothing of the mailbox, so all are held; an answer within a transaction does. */
static void learn_from(struct upstream *u, const struct client *client, struct attempt *attempt)
{
	struct lane *lane = &u->lanes[attempt->lane];
	bool was_of_all = lane->streak.is_roads;

	if (is_about_dns(attempt))
		u->settings.mx.until_ms = 0;
	const struct failure *why = blame_road(lane, attempt, u->proofs, clock_mono_ms());
	if (lane->streak.is_roads != was_of_all)
		u->owner->streak(u->owner->arg);
	if (why != NULL && is_mended_by_new_token(u, lane, client, why))
		return;
	if (why != NULL)
		hold(u, why->cause->outcome == OUTCOME_T ? NULL : lane, why);
	else if (attempt_proves_road(attempt))
		prove(u, lane, attempt);
}

void upstream_release(struct upstream *u)
{
	if (u->settings.tokens != NULL)
		token_retry_now(u->settings.tokens);
	for (size_t i = 0; i < u->lane_count; i++)
		lane_release(&u->lanes[i]);
	u->owner->changed(u->owner->arg);
	upstream_pump(u);
}

void upstream_signed_in(struct upstream *u)
{
	struct connection *connection;

	LIST_FOREACH(connection, &u->connections, next)
		connection->is_outdated = true;
	if (u->settings.tokens != NULL)
		token_forget(u->settings.tokens);
	upstream_release(u);
}

static bool any_usable(const struct upstream *u)
{
	for (size_t i = 0; i < u->lane_count; i++)
		if (road_usable(&u->lanes[i].road, clock_mono_ms()))
			return true;
	return false;
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

/* What ends a connection before a transaction, but for a token to be replaced, holds the road: what was refused to a mailbox its
 * lane, all else every lane. */
static void judge_end(
    struct upstream *u, struct lane *lane, const struct client *client, const struct failure *why)
{
	if (!is_mended_by_new_token(u, lane, client, why))
		hold(u, client_came_to_login(client) && why->cause->outcome != OUTCOME_T ? lane : NULL, why);
}

static void on_client_ended(struct upstream *u, struct client *client)
{
	struct connection *connection = connection_of(u, client);

	LIST_REMOVE(connection, next);
	u->connection_count--;
	lane_closed(connection->lane);
	if (client_failure(client) != NULL)
		judge_end(u, connection->lane, client, client_failure(client));
	client_free(client);
	free(connection);
	if (u->connection_count == 0)
		u->owner->idle(u->owner->arg, u->index);
	upstream_pump(u);
}

/* Its token has ended, or has been replaced by a person; or it is connected to a mail host of the domain before that had to be
 * looked up again. */
static bool is_old(const struct upstream *u, const struct connection *connection)
{
	return client_is_stale(connection->client) || connection->is_outdated ||
	       (u->config->host == NULL && u->settings.mx.until_ms == 0);
}

static void use_connection(struct upstream *u, struct connection *connection)
{
	struct lane *lane = connection->lane;
	struct attempt *attempt = NULL;
	unsigned recipients = 0;

	if (u->draining || is_old(u, connection) || lane_has_one_too_many(lane) ||
	    (connection->has_carried && lane_makes_room(lane))) {
		client_quit(connection->client);
		return;
	}
	if (u->owner->ready(u->owner->arg, u->index) > 0)
		recipients = lane_room(lane);
	if (recipients > 0)
		attempt = u->owner->take(u->owner->arg, u->index, recipients);
	if (attempt == NULL) {
		if (lane_makes_room(lane))
			client_quit(connection->client);
		return;
	}
	connection->has_carried = true;
	lane->busy++;
	attempt->lane = (size_t)(lane - u->lanes);
	connection->recipients = (unsigned)attempt->count;
	window_begin(&lane->window->window, connection->recipients);
	client_send(connection->client, attempt);
}

static bool counts_as_sent(const struct attempt *attempt, const struct recipient_result *recipient)
{
	return recipient->failure == NULL || (attempt->perhaps_taken && recipient->accepted);
}

/* What the upstream has taken, or may have, counts for its recipients; what it has seen, as a message. */
static void count_sent(struct upstream *u, const struct connection *connection, const struct attempt *attempt)
{
	struct lane *lane = connection->lane;
	unsigned sent = 0;

	for (size_t i = 0; i < attempt->count; i++)
		sent += counts_as_sent(attempt, &attempt->recipients[i]);
	lane->busy--;
	window_end(&lane->window->window, connection->recipients, sent, attempt->not_begun || attempt->unseen,
	    clock_mono_ms());
	windows_changed(u->owner->windows);
}

static void on_client(void *arg, struct client *client, enum client_event event, struct attempt *attempt)
{
	struct upstream *u = arg;
	struct connection *connection;

	switch (event) {
	case CLIENT_IDLE:
		connection = connection_of(u, client);
		connection->lane->has_logged_in = true;
		use_connection(u, connection);
		break;
	case CLIENT_DONE:
		count_sent(u, connection_of(u, client), attempt);
		learn_from(u, client, attempt);
		u->owner->done(u->owner->arg, attempt);
		break;
	case CLIENT_ENDED:
		on_client_ended(u, client);
		break;
	}
}

static void open_connection(struct upstream *u, struct lane *lane)
{
	struct connection *connection = xcalloc(1, sizeof *connection);

	LIST_INSERT_HEAD(&u->connections, connection, next);
	u->connection_count++;
	connection->lane = lane;
	lane_opened(lane);
	count(&u->owner->counters->upstream_connections, 1);
	connection->client = client_new(&u->settings, lane->mailbox, on_client, u);
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

/* The lane for the next connection, or NULL: of those that may have one, one with the fewest; of these the one that has sent
 * the least today. */
static struct lane *next_lane(struct upstream *u)
{
	struct lane *best = NULL;
	uint64_t least = 0;

	for (size_t i = 0; i < u->lane_count; i++) {
		struct lane *lane = &u->lanes[i];
		if (lane_room(lane) == 0 || !lane_may_open(lane))
			continue;
		uint64_t sent = window_used(&lane->window->window, QUOTA_DAY, clock_mono_ms());
		if (best != NULL && (lane->connections > best->connections ||
					(lane->connections == best->connections && sent >= least)))
			continue;
		best = lane;
		least = sent;
	}
	return best;
}

/* Whether a connection is wanted that another upstream of the mailbox has. */
static bool has_wish(const struct upstream *u)
{
	for (size_t i = 0; i < u->lane_count; i++)
		if (u->lanes[i].window->wanted_by == &u->lanes[i])
			return true;
	return false;
}

/* A connection is wanted as long as there is use for it. */
static void forget_wishes(struct upstream *u)
{
	for (size_t i = 0; i < u->lane_count; i++)
		if (u->lanes[i].window->wanted_by == &u->lanes[i])
			u->lanes[i].window->wanted_by = NULL;
}

void upstream_pump(struct upstream *u)
{
	struct connection *connection, *following;
	struct lane *lane;
	bool had_wish = has_wish(u);

	forget_wishes(u);
	if (u->draining)
		return;
	for (connection = LIST_FIRST(&u->connections); connection != NULL; connection = following) {
		following = LIST_NEXT(connection, next);
		if (client_is_idle(connection->client) &&
		    road_usable(&connection->lane->road, clock_mono_ms()))
			use_connection(u, connection);
	}
	while (
	    u->owner->ready(u->owner->arg, u->index) > connections_to_be(u) && (lane = next_lane(u)) != NULL)
		open_connection(u, lane);
	/* Upstreams that have been pumped before may have an idle one. */
	if (!had_wish && has_wish(u))
		u->owner->open(u->owner->arg);
}

bool upstream_hungry(struct upstream *u)
{
	return !u->draining && any_usable(u) && u->owner->ready(u->owner->arg, u->index) < READY_MAX;
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

static void make_lanes(struct upstream *u)
{
	u->lane_count = u->config->mailbox_count > 0 ? u->config->mailbox_count : 1;
	u->lanes = xcalloc(u->lane_count, sizeof *u->lanes);
	for (size_t i = 0; i < u->lane_count; i++) {
		const char *mailbox = u->config->mailbox_count > 0 ? u->config->mailboxes[i] : NULL;
		lane_init(&u->lanes[i], u->owner->base, u->owner->config, u->config, mailbox,
		    windows_of(u->owner->windows, u->config, mailbox), &lane_owner, u);
	}
}

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
	make_lanes(u);
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

struct lane *upstream_lane(const struct upstream *u, size_t i)
{
	return i < u->lane_count ? &u->lanes[i] : NULL;
}

/* How far a road is from being open. */
static int64_t badness(const struct road *road)
{
	return road->health == ROAD_OPEN ? -2 : road->health == ROAD_PROBING ? -1 : road->held_until_ms;
}

const struct road *upstream_road(const struct upstream *u)
{
	const struct road *best = &u->lanes[0].road;

	for (size_t i = 1; i < u->lane_count; i++)
		if (badness(&u->lanes[i].road) < badness(best))
			best = &u->lanes[i].road;
	return best;
}

bool upstream_is_full(const struct upstream *u)
{
	int64_t now_ms = clock_mono_ms();
	bool any_full = false;

	for (size_t i = 0; i < u->lane_count; i++) {
		if (!lane_is_shut(&u->lanes[i], now_ms))
			return false;
		any_full = any_full || u->lanes[i].is_full_for_long;
	}
	return any_full;
}

void upstream_keep_alive(struct upstream *u)
{
	if (u->settings.tokens != NULL && !u->draining)
		token_keep_alive(u->settings.tokens);
}

const struct failure *upstream_token_trouble(const struct upstream *u)
{
	return u->settings.tokens != NULL ? token_trouble(u->settings.tokens) : NULL;
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
	for (size_t i = 0; i < u->lane_count; i++)
		lane_stop(&u->lanes[i]);
	free(u->lanes);
	free(u);
}
