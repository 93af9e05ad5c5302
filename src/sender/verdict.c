#include "sender/verdict.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "config/config.h"
#include "sender/attempt.h"
#include "sender/detour.h"
#include "sender/follow.h"
#include "sender/queue.h"
#include "sender/scheduler.h"

/* What one recipient's result is applied with. */
struct verdict {
	const struct verdict_means *means;
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
	if (v->means->follow != NULL)
		follow_result(v->means->follow, v->attempt->owner->id, event, v->to, v->upstream,
		    v->attempt->reply, failure, next_ms);
}

static void mark_delivered(const struct verdict *v, struct recipient_state *recipient)
{
	recipient->status = RECIPIENT_DELIVERED;
	state_set_reason(recipient, v->upstream, v->attempt->reply);
	count(&v->means->counters->recipients_delivered, 1);
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
	count(&v->means->counters->recipients_failed, 1);
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
	const struct config *config = v->means->config;
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
	count(&v->means->counters->deferrals, 1);
	log_result(v, LOG_LEVEL_WARNING, "deferred", failure, recipient->wait_ms);
}

/* More recipients than the mailbox may write to: half as many at a time from now on, or as many as it has just
 * taken. Returns false where there is nothing left to halve. */
static bool try_in_halves(const struct verdict *v, const struct failure *failure)
{
	size_t limit = v->delivered > 0 ? v->delivered : v->attempt->count / 2;

	if (limit == 0)
		return false;
	if (queue_limit_recipients(v->means->queue, v->attempt->road, limit))
		log_event(LOG_LEVEL_WARNING, "recipients-limited", kv_str("upstream", v->upstream),
		    kv_u64("recipients", limit), kv_str("cause", failure->cause->cause),
		    kv_str("remedy", failure->cause->remedy), kv_str("reply", failure->text));
	return true;
}

static const struct route *route_of(const struct verdict *v)
{
	int route = config_route(v->means->config, spool_envelope(v->attempt->message)->device, v->to);

	return route < 0 ? NULL : &v->means->config->routes[route];
}

/* Another upstream of the route may take it, and has it at once. Returns false where there is none left. */
static bool pass_on(const struct verdict *v, struct recipient_state *recipient, const struct failure *failure)
{
	const struct config *config = v->means->config;
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

bool verdict_apply(const struct verdict_means *means, struct attempt *attempt)
{
	const struct envelope *envelope = spool_envelope(attempt->message);
	struct state *state = spool_state(attempt->message);
	struct verdict verdict = {
	    .means = means,
	    .attempt = attempt,
	    .upstream = means->config->upstreams[attempt->road].name,
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
