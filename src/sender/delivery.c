#include "sender/delivery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/config.h"
#include "sender/attempt.h"
#include "sender/detour.h"
#include "sender/follow.h"
#include "sender/queue.h"
#include "sender/report.h"
#include "sender/scheduler.h"

/* When a state or a report could not be written: the message waits so long before it is tried again. */
#define STUCK_RETRY_S 10

/* One message on its way from a result to durability. */
struct settling {
	struct delivery *delivery;
	struct message *message;
	struct event *retry; /* while it is stuck */
	LIST_ENTRY(settling) next;
};

struct delivery {
	struct event_base *base;
	const struct config *config;
	struct spool *spool;
	struct queue *queue;
	struct counters *counters;
	struct follow *follow;
	void (*changed)(void *arg);
	void *arg;
	LIST_HEAD(, settling) settling;
	size_t settling_count, stuck_count;
};

static void settle(struct settling *s);

/* --- results of recipients --- */

/* What one recipient's result is applied with. */
struct verdict {
	struct delivery *delivery;
	const struct attempt *attempt;
	const char *upstream;
	const char *to;
	int64_t ms;
	int64_t now_ms; /* wall clock; one for all recipients, and so is the jitter: they stay together */
	unsigned random;
	size_t delivered; /* recipients, by this attempt */
};

static void log_result(const struct verdict *v, enum log_level level, const char *event,
    const struct failure *failure, int64_t next_ms)
{
	if (failure == NULL)
		log_event(level, event, kv_str("id", v->attempt->owner->id), kv_str("to", v->to),
		    kv_str("upstream", v->upstream), kv_str("reply", v->attempt->reply), kv_i64("ms", v->ms));
	else
		log_event(level, event, kv_str("id", v->attempt->owner->id), kv_str("to", v->to),
		    kv_str("upstream", v->upstream), kv_str("class", outcome_name(failure->cause->outcome)),
		    kv_str("reason", failure->cause->name), kv_str("cause", failure->cause->cause),
		    kv_str("who_acts", actor_words(failure->cause->actor)),
		    kv_str("remedy", failure->cause->remedy), kv_str("reply", failure->text),
		    kv_i64("next_ms", next_ms));
	if (v->delivery->follow != NULL)
		follow_result(v->delivery->follow, v->attempt->owner->id, event, v->to, v->upstream,
		    v->attempt->reply, failure, next_ms);
}

static void mark_delivered(const struct verdict *v, struct recipient_state *recipient)
{
	recipient->status = RECIPIENT_DELIVERED;
	state_set_reason(recipient, v->upstream, v->attempt->reply);
	count(&v->delivery->counters->recipients_delivered, 1);
	log_result(v, LOG_LEVEL_INFO, "delivered", NULL, 0);
}

/* The parts of a reason for good, which report.c takes apart again: '|' stands between them alone. The other side's words are cut so
 * that ours have room. */
static void write_reason(char dst[STATE_REASON_MAX], const struct failure *failure)
{
	int n = snprintf(dst, STATE_REASON_MAX, "%.300s", failure->text);

	for (char *bar = dst; (bar = strchr(bar, '|')) != NULL;)
		*bar = '/';
	snprintf(dst + n, STATE_REASON_MAX - (size_t)n, " | %s | %s | %s", failure->cause->cause,
	    actor_words(failure->cause->actor), failure->cause->remedy);
}

static void mark_failed(
    const struct verdict *v, struct recipient_state *recipient, const struct failure *failure)
{
	char reason[STATE_REASON_MAX];

	write_reason(reason, failure);
	recipient->status = RECIPIENT_FAILED;
	state_set_reason(recipient, v->upstream, reason);
	count(&v->delivery->counters->recipients_failed, 1);
	log_result(v, LOG_LEVEL_WARNING, "failed", failure, 0);
}

/* As long as the cause asks, or doubling from try to try; only a wait that the server asked for may be longer
 * than the config allows. */
static int64_t wait_after(
    const struct config *config, const struct failure *failure, int64_t last_ms, unsigned random)
{
	int64_t wait_ms = retry_wait_ms(config->retry.first_ms, config->retry.max_ms, last_ms, random);
	int64_t asked_ms =
	    failure->cause->hold.first_s == REST_AT_ONCE ? 0 : (int64_t)failure->cause->hold.first_s * 1000;

	if ((failure->cause->outcome == OUTCOME_T || failure->cause->hold.of_recipient) && asked_ms > wait_ms)
		wait_ms = asked_ms < config->retry.max_ms ? asked_ms : config->retry.max_ms;
	if (failure->retry_after_s * 1000 > wait_ms)
		wait_ms = failure->retry_after_s * 1000;
	return wait_ms;
}

/* Only waits of the message's own are counted against give_up, and only once they are over. */
static void mark_deferred(
    const struct verdict *v, struct recipient_state *recipient, const struct failure *failure)
{
	const struct config *config = v->delivery->config;
	struct failure expired;

	if (!v->attempt->owner->forced)
		recipient->waited_ms += recipient->wait_ms;
	recipient->attempts++;
	if (recipient->waited_ms >= config->retry.give_up_ms) {
		failure_from_trouble(&expired, ROAD_EXPIRED, failure->text);
		mark_failed(v, recipient, &expired);
		return;
	}
	recipient->wait_ms = wait_after(config, failure, recipient->wait_ms, v->random);
	recipient->next_ms = v->now_ms + recipient->wait_ms;
	state_set_reason(recipient, v->upstream, failure->text);
	count(&v->delivery->counters->deferrals, 1);
	log_result(v, LOG_LEVEL_WARNING, "deferred", failure, recipient->wait_ms);
}

/* More recipients than the mailbox may write to: half as many at a time from now on, or as many as it has just
 * taken. Returns false where there is nothing left to halve. */
static bool try_in_halves(const struct verdict *v, const struct failure *failure)
{
	size_t limit = v->delivered > 0 ? v->delivered : v->attempt->count / 2;

	if (limit == 0)
		return false;
	if (queue_limit_recipients(v->delivery->queue, v->attempt->road, limit))
		log_event(LOG_LEVEL_WARNING, "recipients-limited", kv_str("upstream", v->upstream),
		    kv_u64("recipients", limit), kv_str("cause", failure->cause->cause),
		    kv_str("remedy", failure->cause->remedy), kv_str("reply", failure->text));
	return true;
}

static const struct route *route_of(const struct verdict *v)
{
	int route = config_route(v->delivery->config, spool_envelope(v->attempt->message)->device, v->to);

	return route < 0 ? NULL : &v->delivery->config->routes[route];
}

/* Another upstream of the route may take it, and has it at once. Returns false where there is none left. */
static bool pass_on(const struct verdict *v, struct recipient_state *recipient, const struct failure *failure)
{
	const struct config *config = v->delivery->config;
	const struct route *route = route_of(v);

	if (route == NULL || !detour_has_other(config, route, recipient, v->attempt->road))
		return false;
	state_add_refusal(recipient, v->upstream);
	recipient->waited_ms += v->attempt->owner->forced ? 0 : recipient->wait_ms;
	recipient->wait_ms = recipient->next_ms = 0;
	state_set_reason(recipient, v->upstream, failure->text);
	log_result(v, LOG_LEVEL_WARNING, "passed-on", failure, 0);
	return true;
}

/* Returns whether the state has changed. */
static bool apply_failure(
    const struct verdict *v, struct recipient_state *recipient, const struct failure *failure)
{
	enum outcome outcome = failure->cause->outcome;
	bool is_roads = outcome == OUTCOME_S || outcome == OUTCOME_A || outcome == OUTCOME_C;

	bool is_own = (is_roads && v->attempt->own_trouble) || failure->cause->hold.of_recipient;

	/* What would be the road's trouble, were it not this message's alone, need not be another road's. */
	if (is_roads && v->attempt->own_trouble && pass_on(v, recipient, failure))
		return true;
	switch (is_own ? OUTCOME_T : outcome) {
	case OUTCOME_T:
		/* The rest of a long list goes in the next transaction, at once. */
		if (v->delivered > 0 && failure->cause->hold.first_s == REST_AT_ONCE)
			return false;
		mark_deferred(v, recipient, failure);
		return true;
	case OUTCOME_N:
		if (pass_on(v, recipient, failure))
			return true;
		mark_failed(v, recipient, failure);
		return true;
	case OUTCOME_P:
		if (failure->cause->hold.first_s == IN_HALVES && try_in_halves(v, failure))
			return false;
		mark_failed(v, recipient, failure);
		return true;
	case OUTCOME_S:
	case OUTCOME_A:
	case OUTCOME_C:
		log_result(v, LOG_LEVEL_WARNING, "put-off", failure, 0);
		return false;
	}
	return false;
}

static size_t count_delivered(const struct attempt *attempt)
{
	size_t n = 0;

	for (size_t i = 0; i < attempt->count; i++)
		n += attempt->recipients[i].failure == NULL;
	return n;
}

static bool apply(struct delivery *delivery, struct attempt *attempt)
{
	const struct envelope *envelope = spool_envelope(attempt->message);
	struct state *state = spool_state(attempt->message);
	struct verdict verdict = {
	    .delivery = delivery,
	    .attempt = attempt,
	    .upstream = delivery->config->upstreams[attempt->road].name,
	    .ms = clock_mono_ms() - attempt->begun_ms,
	    .now_ms = clock_wall_ms(),
	    .random = (unsigned)rand(),
	    .delivered = count_delivered(attempt),
	};
	bool changed = false;

	for (size_t i = 0; i < attempt->count; i++) {
		struct recipient_result *result = &attempt->recipients[i];
		verdict.to = envelope->recipients[result->index];
		if (result->failure != NULL) {
			attempt->owner->cause = result->failure->cause;
			if (attempt->perhaps_taken && result->accepted) {
				state_set_perhaps_taken(&state->recipients[result->index], verdict.upstream);
				changed = true;
			}
			changed =
			    apply_failure(&verdict, &state->recipients[result->index], result->failure) ||
			    changed;
		} else {
			mark_delivered(&verdict, &state->recipients[result->index]);
			changed = true;
		}
	}
	return changed;
}

/* --- settling --- */

static bool has_status(const struct state *state, enum recipient_status status)
{
	for (size_t i = 0; i < state->count; i++)
		if (state->recipients[i].status == status)
			return true;
	return false;
}

static void end_settling(struct settling *s)
{
	struct delivery *delivery = s->delivery;

	LIST_REMOVE(s, next);
	delivery->settling_count--;
	if (s->retry != NULL)
		event_free(s->retry);
	free(s);
	delivery->changed(delivery->arg);
}

static void on_stuck_time(evutil_socket_t fd, short what, void *cookie)
{
	struct settling *s = cookie;

	(void)fd;
	(void)what;
	s->message->in_trouble = false;
	s->delivery->stuck_count--;
	settle(s);
}

/* The disk refuses what must be durable. The message stays owned, and what is known of it in memory: nothing
 * is sent twice. */
static void get_stuck(struct settling *s, const char *what, const char *why)
{
	struct timeval time = {.tv_sec = STUCK_RETRY_S};

	log_event(LOG_LEVEL_ERR, "spool-trouble", kv_str("id", s->message->id), kv_str("doing", what),
	    kv_str("why", why), kv_u64("retry_s", STUCK_RETRY_S));
	if (s->retry == NULL)
		s->retry = evtimer_new(s->delivery->base, on_stuck_time, s);
	s->message->in_trouble = true;
	s->delivery->stuck_count++;
	evtimer_add(s->retry, &time);
	s->delivery->changed(s->delivery->arg);
}

static void on_failed_moved(void *arg, const struct spool_result *result)
{
	struct settling *s = arg;

	if (result->error != NULL) {
		log_event(LOG_LEVEL_ERR, "spool-trouble", kv_str("id", s->message->id),
		    kv_str("doing", "moving it to failed/"), kv_str("why", result->error),
		    kv_str("consequence", "it stays in the queue and is moved later"));
		queue_put_off(s->delivery->queue, s->message);
	} else {
		log_event(LOG_LEVEL_WARNING, "kept-in-failed", kv_str("id", s->message->id));
		queue_forget(s->delivery->queue, s->message);
	}
	end_settling(s);
}

static void on_pending_saved(void *arg, const struct spool_result *result)
{
	struct settling *s = arg;

	/* A full disk must drain: what is due goes out, with the state in memory, and is saved after that. */
	s->message->unsaved = s->message->in_trouble = result->error != NULL;
	if (result->error != NULL && !queue_is_due(s->message, STUCK_RETRY_S * 1000)) {
		get_stuck(s, "writing its state", result->error);
		return;
	}
	if (result->error != NULL)
		log_event(LOG_LEVEL_ERR, "spool-trouble", kv_str("id", s->message->id),
		    kv_str("doing", "writing its state"), kv_str("why", result->error),
		    kv_str("consequence", "it is tried all the same, and its state is written after that"));
	queue_plan(s->delivery->queue, s->message);
	end_settling(s);
}

static void on_report_stands(struct settling *s)
{
	struct state *state = spool_state(s->message->held);

	for (size_t i = 0; i < state->count; i++)
		if (state->recipients[i].status == RECIPIENT_FAILED)
			state->recipients[i].status = RECIPIENT_REPORTED;
	s->message->unsaved = true;
	settle(s);
}

static void on_report_committed(void *arg, const struct spool_result *result)
{
	struct settling *s = arg;
	struct state *state = spool_state(s->message->held);
	char id[SPOOL_ID_MAX + 1];

	/* exists: made before a crash. */
	if (result->error != NULL && !result->exists) {
		get_stuck(s, "writing its report", result->error);
		return;
	}
	spool_report_id(id, s->message->id, state->reports++);
	count(&s->delivery->counters->reports, 1);
	log_event(LOG_LEVEL_NOTICE, "reported", kv_str("id", s->message->id), kv_str("report", id));
	queue_learn(s->delivery->queue, id);
	on_report_stands(s);
}

static void make_report(struct settling *s)
{
	const char *recipient = report_recipient(s->delivery->config, s->message->held);
	struct spool_draft *draft;
	struct err err = {""};

	if (recipient == NULL) {
		log_event(LOG_LEVEL_ERR, "nobody-to-tell", kv_str("id", s->message->id),
		    kv_str("sender", spool_envelope(s->message->held)->sender),
		    kv_str(
			"remedy", "set report_to in the config; the message and its reason are in failed/"));
		on_report_stands(s);
		return;
	}
	draft = report_begin(s->delivery->config, s->delivery->spool, s->message->held, recipient, &err);
	if (draft == NULL)
		get_stuck(s, "writing its report", err.text);
	else
		spool_commit(draft, true, on_report_committed, s);
}

static void on_failures_saved(void *arg, const struct spool_result *result)
{
	struct settling *s = arg;

	if (result->error != NULL)
		get_stuck(s, "writing its state", result->error);
	else
		make_report(s);
}

/* That a person has been told is on disk before the message moves: or it would be told again. */
static void on_reports_saved(void *arg, const struct spool_result *result)
{
	struct settling *s = arg;

	if (result->error != NULL) {
		get_stuck(s, "writing its state", result->error);
		return;
	}
	s->message->unsaved = false;
	settle(s);
}

static void settle(struct settling *s)
{
	struct message *message = s->message;
	struct spool_message *held = message->held;
	struct state *state = spool_state(held);

	if (has_status(state, RECIPIENT_FAILED)) {
		spool_save(held, on_failures_saved, s);
	} else if (has_status(state, RECIPIENT_PENDING)) {
		spool_save(held, on_pending_saved, s);
	} else if (has_status(state, RECIPIENT_REPORTED) && message->unsaved) {
		spool_save(held, on_reports_saved, s);
	} else if (has_status(state, RECIPIENT_REPORTED)) {
		spool_fail(queue_surrender(s->delivery->queue, message), on_failed_moved, s);
	} else {
		spool_retire(queue_surrender(s->delivery->queue, message));
		count(&s->delivery->counters->messages_delivered, 1);
		queue_forget(s->delivery->queue, message);
		end_settling(s);
	}
}

/* Nothing waits for this save: it narrows the window in which a crash would send twice while other parts are
 * under way. */
static void on_partial_saved(void *arg, const struct spool_result *result)
{
	(void)arg;
	if (result->error != NULL)
		log_event(LOG_LEVEL_ERR, "spool-trouble", kv_str("doing", "writing a state"),
		    kv_str("why", result->error));
}

static void begin_settling(void *arg, struct message *message)
{
	struct delivery *delivery = arg;
	struct settling *s = xcalloc(1, sizeof *s);

	queue_unplan(delivery->queue, message);
	message->stage = MESSAGE_SETTLING;
	s->delivery = delivery;
	s->message = message;
	LIST_INSERT_HEAD(&delivery->settling, s, next);
	delivery->settling_count++;
	settle(s);
}

/* The message as a whole, once none of its attempts is under way. */
static void judge_message(struct delivery *delivery, struct message *message, bool changed)
{
	message->unsaved = message->unsaved || changed;
	if (message->under_way > 0) {
		if (changed)
			spool_save(message->held, on_partial_saved, NULL);
		return;
	}
	if (message->unsaved) {
		begin_settling(delivery, message);
		return;
	}
	queue_unplan(delivery->queue, message);
	queue_plan(delivery->queue, message);
	delivery->changed(delivery->arg);
}

void delivery_judge(struct delivery *delivery, struct attempt *attempt)
{
	struct message *message = attempt->owner;
	bool counts = !attempt->not_begun || attempt->own_trouble;
	bool changed = counts && apply(delivery, attempt);

	/* A wish of a person's outlives a connection that came to nothing. */
	if (counts)
		message->forced = false;
	message->under_way--;
	attempt_free(attempt);
	judge_message(delivery, message, changed);
}

void delivery_set_follow(struct delivery *delivery, struct follow *follow)
{
	delivery->follow = follow;
}

size_t delivery_settling(const struct delivery *delivery)
{
	return delivery->settling_count - delivery->stuck_count;
}

struct delivery *delivery_new(struct event_base *base, const struct config *config, struct spool *spool,
    struct queue *queue, struct counters *counters, void (*changed)(void *arg), void *arg)
{
	struct delivery *delivery = xcalloc(1, sizeof *delivery);

	*delivery = (struct delivery){.base = base,
	    .config = config,
	    .spool = spool,
	    .queue = queue,
	    .counters = counters,
	    .changed = changed,
	    .arg = arg};
	LIST_INIT(&delivery->settling);
	srand((unsigned)clock_wall_us());
	queue_set_settle(queue, begin_settling, delivery);
	return delivery;
}

void delivery_free(struct delivery *delivery)
{
	struct settling *s;

	if (delivery == NULL)
		return;
	while ((s = LIST_FIRST(&delivery->settling)) != NULL) {
		LIST_REMOVE(s, next);
		/* The last chance of what the disk would not take before: the spool carries it out at once
		 * now. */
		if (s->message->held != NULL)
			spool_save(s->message->held, on_partial_saved, NULL);
		if (s->retry != NULL)
			event_free(s->retry);
		free(s);
	}
	free(delivery);
}
