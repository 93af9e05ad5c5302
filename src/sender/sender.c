/* The sender process: looks for what is in the spool, gives it to the upstreams, answers the control socket.
 * It holds the tenant's secrets and never sees a connection from the LAN. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/timer.h"
#include "config/config.h"
#include "net/http.h"
#include "net/resolver.h"
#include "sender/config_resolver.h"
#include "sender/control.h"
#include "sender/delivery.h"
#include "sender/failover.h"
#include "sender/expiries.h"
#include "sender/follow.h"
#include "sender/queue.h"
#include "sender/scheduler.h"
#include "sender/sizes.h"
#include "sender/status.h"
#include "sender/streaks.h"
#include "sender/suspect.h"
#include "sender/turns.h"
#include "sender/unknown.h"
#include "sender/upstream.h"
#include "sender/windows.h"
#include "spool/spool.h"
#include "supervisor/handover.h"
#include "supervisor/sandbox.h"
#include "supervisor/worker.h"

#define RESCAN_S       30   /* a wake-up that was lost costs no more than this */
#define READ_PER_ROUND 64   /* messages read from the disk before the loop looks at its connections again */
#define STUCK_LOOK_MS  1000 /* between two looks whether the spool lets go of what is delivered */

union packet {
	char kind;
	struct handover_messages messages;
	struct handover_stranger stranger;
};

struct sender {
	struct worker *worker;
	const struct config *config;
	struct counters *counters;
	struct spool *spool;
	struct scheduler *scheduler;
	struct queue *queue;
	struct delivery *delivery;
	struct failover *failover;
	struct sizes *sizes;
	struct streaks *streaks;
	struct unknown *unknown;
	struct follow *follow;
	struct resolver *resolver;
	struct http *http;
	struct upstream_owner owner;
	struct windows *windows;
	struct upstream **upstreams;
	struct turns *turns;
	struct control *control;
	struct event *wake, *rescan, *pump, *due, *daily;
	bool draining, done;
};

/* By a timer, not by activation: between two rounds the loop looks at its connections. */
static void pump_soon(struct sender *s)
{
	if (!evtimer_pending(s->pump, NULL))
		timer_set(s->pump, 0);
}

static void set_due_timer(struct sender *s)
{
	int64_t due_ms = scheduler_next_ms(s->scheduler);

	if (due_ms >= 0)
		timer_set(s->due, due_ms - clock_mono_ms());
}

static void finish_if_done(struct sender *s)
{
	if (!s->draining || s->done || delivery_settling(s->delivery) > 0)
		return;
	for (size_t i = 0; i < s->config->upstream_count; i++)
		if (upstream_connections(s->upstreams[i]) > 0)
			return;
	s->done = true;
	worker_finished(s->worker);
}

/* --- the upstreams' side --- */

/* Nothing, while too much of what is delivered stays in the spool. */
static size_t ready_on(void *arg, unsigned road)
{
	const struct sender *s = arg;

	return spool_can_retire(s->spool, NULL) ? scheduler_ready(s->scheduler, road) : 0;
}

static struct attempt *take_for(void *arg, unsigned road, size_t recipients)
{
	struct sender *s = arg;
	struct attempt *attempt = queue_take(s->queue, road, recipients);

	/* The line has become shorter, so more may be read; or a part was put off, or has gone to the line of another road. */
	if (attempt != NULL)
		turns_used(s->turns, road);
	pump_soon(s);
	return attempt;
}

static void on_attempt_done(void *arg, struct attempt *attempt)
{
	struct sender *s = arg;

	delivery_judge(s->delivery, attempt);
}

static void on_upstream_idle(void *arg, unsigned road)
{
	(void)road;
	finish_if_done(arg);
}

static void on_upstream_size(void *arg, unsigned road, uint64_t bytes)
{
	struct sender *s = arg;

	sizes_learn(s->sizes, road, bytes);
}

/* Before what an attempt has brought back is judged: it is planned anew then. */
static void on_upstream_changed(void *arg)
{
	struct sender *s = arg;

	failover_note(s->failover);
	pump_soon(s);
}

static void on_upstream_streak(void *arg)
{
	struct sender *s = arg;

	streaks_changed(s->streaks);
}

static void on_upstream_open(void *arg)
{
	pump_soon(arg);
}

static void on_delivery_changed(void *arg)
{
	struct sender *s = arg;

	pump_soon(s);
	finish_if_done(s);
}

/* --- the pump --- */

static bool any_hungry(struct sender *s)
{
	for (size_t i = 0; i < s->config->upstream_count; i++)
		if (upstream_hungry(s->upstreams[i]))
			return true;
	return false;
}

static void pump_upstreams(struct sender *s)
{
	size_t place = 0;

	for (size_t i = 0; i < s->config->upstream_count; i++) {
		unsigned road = turns_at(s->turns, place);
		upstream_pump(s->upstreams[road]);
		/* One that has begun a message stands last now, and the next has moved up. */
		if (turns_at(s->turns, place) == road)
			place++;
	}
}

/* Bring due parts to their lines, read from the disk what the roads can take, give it to them. */
static void on_pump(evutil_socket_t fd, short what, void *cookie)
{
	struct sender *s = cookie;
	bool more = true;

	(void)fd;
	(void)what;
	if (s->draining)
		return;
	if (!spool_can_retire(s->spool, NULL)) {
		timer_set(s->due, STUCK_LOOK_MS);
		return;
	}
	bool any_due = scheduler_advance(s->scheduler, clock_mono_ms());
	failover_move(s->failover, any_due);
	queue_revisit(s->queue);
	for (int i = 0; i < READ_PER_ROUND && more && any_hungry(s); i++)
		more = queue_read_one(s->queue);
	pump_upstreams(s);
	if (more && any_hungry(s))
		pump_soon(s);
	set_due_timer(s);
}

static void on_rescan(evutil_socket_t fd, short what, void *cookie)
{
	struct sender *s = cookie;

	(void)fd;
	(void)what;
	queue_scan(s->queue);
	timer_set(s->rescan, RESCAN_S * 1000);
	pump_soon(s);
}

/* At start, and once a day. */
static void on_daily(evutil_socket_t fd, short what, void *cookie)
{
	struct sender *s = cookie;

	(void)fd;
	(void)what;
	expiries_log(s->config);
	sizes_forget_old(s->sizes);
	for (size_t i = 0; i < s->config->upstream_count; i++)
		upstream_keep_alive(s->upstreams[i]);
	timer_set(s->daily, DAY_MS);
}

/* The listener and the supervisor are on the other end; a form that is not its own is dropped, as one that got lost would be. */
static void take_packet(struct sender *s, union packet *packet, size_t n)
{
	size_t ids = n - offsetof(struct handover_messages, ids);

	if (packet->kind == HANDOVER_STRANGER && n == sizeof packet->stranger)
		unknown_learn(s->unknown, &packet->stranger, clock_wall_ms());
	if (packet->kind == HANDOVER_LOOK)
		timer_set(s->rescan, 0);
	if (packet->kind != HANDOVER_MESSAGES)
		return;
	for (size_t i = 0; i < ids / sizeof packet->messages.ids[0]; i++) {
		packet->messages.ids[i][SPOOL_ID_MAX] = '\0';
		queue_learn(s->queue, packet->messages.ids[i]);
	}
}

static void on_wake(evutil_socket_t fd, short what, void *cookie)
{
	static union packet packet;
	struct sender *s = cookie;
	ssize_t n;

	(void)what;
	while ((n = recv((int)fd, &packet, sizeof packet, MSG_DONTWAIT)) > 0)
		take_packet(s, &packet, (size_t)n);
	/* The supervisor keeps both ends open: an end of file would come for ever. */
	if (n == 0)
		event_del(s->wake);
	pump_soon(s);
}

/* --- control --- */

static json_t *refuse(const char *error)
{
	return json_pack("{s:b, s:s}", "ok", 0, "error", error);
}

static void release_all(struct sender *s)
{
	for (size_t i = 0; i < s->config->upstream_count; i++)
		upstream_release(s->upstreams[i]);
	pump_soon(s);
}

/* Whether it is in the queue, where it may have been put by hand since the last scan. */
static bool force(struct sender *s, const char *id)
{
	if (queue_force(s->queue, id))
		return true;
	queue_scan(s->queue);
	return queue_force(s->queue, id);
}

static json_t *retry(struct sender *s, const char *id)
{
	struct err err = {""};
	size_t messages = 1;

	if (id == NULL)
		return refuse("retry needs an id, or \"all\"");
	if (s->draining)
		return refuse("after the reload the sender finishes its last transaction before the new one "
			      "starts (see "
			      "mfdrelay status); try again then");
	if (strcmp(id, "all") == 0) {
		messages = queue_force_all(s->queue);
	} else if (!spool_id_valid(id)) {
		return refuse("that is not a queue id; see: mfdrelay queue list");
	} else if (!force(s, id)) {
		if (spool_requeue(s->spool, id, &err) < 0)
			return refuse(err.text);
		queue_learn(s->queue, id);
	}
	release_all(s);
	return json_pack("{s:b, s:I}", "ok", 1, "messages", (json_int_t)messages);
}

/* Watch a message that is about to be queued; with "go" it has been, and a person waits for it. */
static json_t *follow(struct sender *s, const json_t *request)
{
	const char *id = json_string_value(json_object_get(request, "id"));

	if (id == NULL || !spool_id_valid(id))
		return refuse("follow needs the id of a message");
	follow_begin(s->follow, id);
	if (json_is_true(json_object_get(request, "go")) && !s->draining) {
		queue_learn(s->queue, id);
		release_all(s);
	}
	return json_pack("{s:b, s:o}", "ok", 1, "results", follow_results(s->follow, id));
}

/* Somebody has signed in for it. */
static json_t *sign_in(struct sender *s, const char *name)
{
	for (size_t i = 0; name != NULL && i < s->config->upstream_count; i++)
		if (strcmp(s->config->upstreams[i].name, name) == 0) {
			upstream_signed_in(s->upstreams[i]);
			pump_soon(s);
			return json_pack("{s:b}", "ok", 1);
		}
	return refuse("the running daemon has no upstream of that name; reload it");
}

static json_t *status_of(const struct sender *s)
{
	const struct status_view view = {
	    .config = s->config,
	    .counters = s->counters,
	    .queue = s->queue,
	    .scheduler = s->scheduler,
	    .upstreams = s->upstreams,
	    .spool = s->spool,
	    .detours = failover_detours(s->failover),
	    .drain_left_ms = worker_drain_left_ms(s->worker),
	    .drained_ms = worker_drained_ms(s->worker),
	};

	return status_json(&view);
}

static json_t *on_control(void *arg, const char *command, const json_t *request)
{
	struct sender *s = arg;

	if (strcmp(command, "status") == 0)
		return status_of(s);
	if (strcmp(command, "signed-in") == 0)
		return sign_in(s, json_string_value(json_object_get(request, "upstream")));
	if (strcmp(command, "retry") == 0)
		return retry(s, json_string_value(json_object_get(request, "id")));
	if (strcmp(command, "follow") == 0)
		return follow(s, request);
	if (strcmp(command, "unknown") == 0)
		return json_pack("{s:b, s:o}", "ok", 1, "peers", unknown_json(s->unknown));
	return refuse("this daemon does not know that command; is it older than the mfdrelay you typed?");
}

/* --- the role --- */

static int start_upstreams(struct sender *s, struct err *err)
{
	s->owner = (struct upstream_owner){
	    .base = worker_base(s->worker),
	    .config = s->config,
	    .counters = s->counters,
	    .http = s->http,
	    .resolver = s->resolver,
	    .windows = s->windows,
	    .arg = s,
	    .ready = ready_on,
	    .take = take_for,
	    .done = on_attempt_done,
	    .idle = on_upstream_idle,
	    .size = on_upstream_size,
	    .changed = on_upstream_changed,
	    .streak = on_upstream_streak,
	    .open = on_upstream_open,
	};
	s->upstreams = xcalloc(s->config->upstream_count, sizeof(struct upstream *));
	for (unsigned i = 0; i < s->config->upstream_count; i++) {
		s->upstreams[i] = upstream_new(&s->owner, i, err);
		if (s->upstreams[i] == NULL)
			return -1;
	}
	return 0;
}

/* Secrets and CA files are read when they are needed, so it reads what its user may; it writes to the spool
 * alone, and can listen on nothing beside its control socket. */
static int confine(const struct sender *s, struct err *err)
{
	struct sandbox sandbox = {.reads = true, .connects = true};

	sandbox.writes_fd = open(s->config->spool, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (sandbox.writes_fd < 0)
		return err_sys(err, "%s: opening the spool folder", s->config->spool);
	worker_confine(s->worker, &sandbox);
	close(sandbox.writes_fd);
	return 0;
}

static int start_parts(struct sender *s, struct err *err)
{
	struct event_base *base = worker_base(s->worker);

	s->resolver = config_resolver(base, s->config, err);
	if (s->resolver == NULL)
		return -1;
	s->windows = windows_new(s->config);
	s->http = http_new(base, s->resolver, err);
	if (s->http == NULL || start_upstreams(s, err) < 0)
		return -1;
	s->control = control_new(base, s->config->spool, on_control, s, err);
	if (s->control == NULL)
		return -1;
	s->spool = spool_open(s->config->spool, base, s->config->limits.free_space, err);
	if (s->spool == NULL || confine(s, err) < 0)
		return -1;
	spool_start(s->spool);
	windows_load(s->windows, base, s->spool);
	s->unknown = unknown_new(base, s->spool);
	s->sizes = sizes_new(base, s->spool, s->config, s->counters);
	s->streaks = streaks_new(base, s->spool, s->upstreams, s->config->upstream_count);
	s->scheduler =
	    scheduler_new((unsigned)s->config->upstream_count + 1, (unsigned)s->config->device_count + 1);
	s->queue = queue_new(s->config, s->spool, s->scheduler);
	s->turns = turns_new(s->config->upstream_count);
	s->failover = failover_new(s->config, s->queue, s->upstreams);
	s->delivery = delivery_new(base, s->config, s->spool, s->queue, s->counters, on_delivery_changed, s);
	s->follow = follow_new();
	delivery_set_follow(s->delivery, s->follow);
	return 0;
}

static int start_events(struct sender *s, struct err *err)
{
	struct event_base *base = worker_base(s->worker);

	s->wake = event_new(base, worker_input(s->worker)->peer_fd, EV_READ | EV_PERSIST, on_wake, s);
	s->rescan = evtimer_new(base, on_rescan, s);
	s->pump = evtimer_new(base, on_pump, s);
	s->due = evtimer_new(base, on_pump, s);
	s->daily = evtimer_new(base, on_daily, s);
	if (s->wake == NULL || s->rescan == NULL || s->pump == NULL || s->due == NULL || s->daily == NULL ||
	    event_add(s->wake, NULL) < 0)
		return err_sys(err, "setting up the event loop");
	/* The first look is the loop's first work: a large backlog keeps nobody waiting. */
	timer_set(s->rescan, 0);
	timer_set(s->daily, 0);
	return 0;
}

static void stop(void *state);

static void *start(struct worker *worker, struct err *err)
{
	struct sender *s = xcalloc(1, sizeof *s);

	s->worker = worker;
	s->config = worker_input(worker)->config;
	s->counters = worker_input(worker)->counters;
	suspect_start(s->counters);
	if (start_parts(s, err) < 0 || start_events(s, err) < 0) {
		stop(s);
		return NULL;
	}
	return s;
}

static void drain_upstreams(struct sender *s, bool abort)
{
	for (size_t i = 0; i < s->config->upstream_count; i++)
		upstream_drain(s->upstreams[i], abort);
	finish_if_done(s);
}

static void drain(void *state, enum drain why)
{
	struct sender *s = state;

	(void)why;
	s->draining = true;
	drain_upstreams(s, false);
}

static void deadline(void *state)
{
	struct sender *s = state;

	s->draining = true;
	drain_upstreams(s, true);
	/* What the spool still has to write is waited for when it is closed. */
	worker_finished(s->worker);
}

static void free_event(struct event *event)
{
	if (event != NULL)
		event_free(event);
}

/* What one gives back is looked at together with the health of the others. */
static void free_upstreams(struct sender *s)
{
	size_t count = s->upstreams != NULL ? s->config->upstream_count : 0;

	for (size_t i = 0; i < count; i++)
		if (s->upstreams[i] != NULL)
			upstream_drain(s->upstreams[i], true);
	streaks_free(s->streaks);
	s->streaks = NULL;
	for (size_t i = 0; i < count; i++)
		upstream_free(s->upstreams[i]);
	free(s->upstreams);
}

/* The upstreams go first, for they hold attempts of the queue's messages, and give them back; the spool then
 * finishes what it has begun, which still calls the delivery; the queue releases the rest. */
static void stop(void *state)
{
	struct sender *s = state;

	s->draining = s->done = true;
	control_free(s->control);
	free_upstreams(s);
	http_free(s->http);
	resolver_free(s->resolver);
	if (s->spool != NULL) {
		spool_flush(s->spool);
		windows_finish(s->windows);
	}
	failover_free(s->failover);
	turns_free(s->turns);
	delivery_free(s->delivery);
	follow_free(s->follow);
	queue_free(s->queue);
	sizes_free(s->sizes);
	unknown_free(s->unknown);
	spool_close(s->spool);
	scheduler_free(s->scheduler);
	windows_free(s->windows);
	free_event(s->wake);
	free_event(s->rescan);
	free_event(s->pump);
	free_event(s->due);
	free_event(s->daily);
	free(s);
}

const struct worker_role sender_role = {
    .name = "sender",
    .start = start,
    .drain = drain,
    .deadline = deadline,
    .stop = stop,
};
