#include "sender/delivery.h"

#include <stdlib.h>
#include <sys/queue.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/timer.h"
#include "sender/attempt.h"
#include "sender/queue.h"
#include "sender/report.h"
#include "sender/suspect.h"
#include "sender/verdict.h"

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
	struct verdict_means means;
	struct spool *spool;
	void (*changed)(void *arg);
	void *arg;
	LIST_HEAD(, settling) settling;
	size_t settling_count, stuck_count;
};

static void settle(struct settling *s);

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
	log_event(LOG_LEVEL_ERR, "spool-trouble", kv_str("id", s->message->id), kv_str("doing", what),
	    kv_str("why", why), kv_u64("retry_s", STUCK_RETRY_S));
	if (s->retry == NULL)
		s->retry = evtimer_new(s->delivery->base, on_stuck_time, s);
	s->message->in_trouble = true;
	s->delivery->stuck_count++;
	timer_set(s->retry, STUCK_RETRY_S * 1000);
	s->delivery->changed(s->delivery->arg);
}

static void on_failed_moved(void *arg, const struct spool_result *result)
{
	struct settling *s = arg;

	if (result->error != NULL) {
		log_event(LOG_LEVEL_ERR, "spool-trouble", kv_str("id", s->message->id),
		    kv_str("doing", "moving it to failed/"), kv_str("why", result->error),
		    kv_str("consequence", "it stays in the queue and is moved later"));
		queue_put_off(s->delivery->means.queue, s->message);
	} else {
		log_event(LOG_LEVEL_WARNING, "kept-in-failed", kv_str("id", s->message->id));
		queue_forget(s->delivery->means.queue, s->message);
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
	queue_plan(s->delivery->means.queue, s->message);
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
	count(&s->delivery->means.counters->reports, 1);
	log_event(LOG_LEVEL_NOTICE, "reported", kv_str("id", s->message->id), kv_str("report", id));
	queue_learn(s->delivery->means.queue, id);
	on_report_stands(s);
}

static void log_nobody(const struct settling *s)
{
	log_event(LOG_LEVEL_ERR, "nobody-to-tell", kv_str("id", s->message->id),
	    kv_str("sender", spool_envelope(s->message->held)->sender),
	    kv_str("remedy", s->delivery->means.config->report_to == NULL
				 ? "set report_to in the config; the message and its reason are in failed/"
				 : "report_to takes no mail, or has been told of it before: the message and "
				   "its reason are in "
				   "failed/"));
}

static void make_report(struct settling *s)
{
	const char *recipient = report_recipient(s->delivery->means.config, s->message->held);
	struct spool_draft *draft;
	struct err err = {""};

	if (recipient == NULL) {
		log_nobody(s);
		on_report_stands(s);
		return;
	}
	draft =
	    report_begin(s->delivery->means.config, s->delivery->spool, s->message->held, recipient, &err);
	if (draft == NULL)
		get_stuck(s, "writing its report", err.text);
	else
		spool_commit(draft, true, on_report_committed, s);
}

static void on_failures_saved(void *arg, const struct spool_result *result)
{
	struct settling *s = arg;

	if (result->error != NULL) {
		get_stuck(s, "writing its state", result->error);
		return;
	}
	suspect_begin(s->message->id);
	make_report(s);
	suspect_end();
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

static void settle_further(struct settling *s)
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
		spool_fail(queue_surrender(s->delivery->means.queue, message), on_failed_moved, s);
	} else {
		spool_retire(queue_surrender(s->delivery->means.queue, message));
		count(&s->delivery->means.counters->messages_delivered, 1);
		queue_forget(s->delivery->means.queue, message);
		end_settling(s);
	}
}

static void settle(struct settling *s)
{
	suspect_begin(s->message->id);
	settle_further(s);
	suspect_end();
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

	queue_unplan(delivery->means.queue, message);
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
	queue_unplan(delivery->means.queue, message);
	queue_plan(delivery->means.queue, message);
	delivery->changed(delivery->arg);
}

void delivery_judge(struct delivery *delivery, struct attempt *attempt)
{
	struct message *message = attempt->owner;
	bool counts = !attempt->not_begun || attempt->own_trouble;

	suspect_begin(message->id);
	bool changed = counts && verdict_apply(&delivery->means, attempt);
	suspect_end();

	/* A wish of a person's outlives a connection that came to nothing. */
	if (counts)
		message->forced = false;
	message->under_way--;
	attempt_free(attempt);
	judge_message(delivery, message, changed);
}

void delivery_set_follow(struct delivery *delivery, struct follow *follow)
{
	delivery->means.follow = follow;
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
	    .means = {.config = config, .queue = queue, .counters = counters},
	    .spool = spool,
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
