#include "sender/attempt.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"

struct attempt *attempt_new(struct message *owner, unsigned road, struct spool_message *message, size_t room)
{
	struct attempt *attempt = xcalloc(1, sizeof *attempt);

	attempt->owner = owner;
	attempt->road = road;
	attempt->message = message;
	attempt->recipients = xcalloc(room, sizeof *attempt->recipients);
	attempt->begun_ms = clock_mono_ms();
	return attempt;
}

void attempt_reset(struct attempt *attempt)
{
	for (size_t i = 0; i < attempt->count; i++) {
		free(attempt->recipients[i].failure);
		attempt->recipients[i].failure = NULL;
		attempt->recipients[i].accepted = false;
	}
}

void attempt_fail_one(struct recipient_result *recipient, const struct failure *failure)
{
	if (recipient->failure != NULL)
		return;
	recipient->failure = xcalloc(1, sizeof *recipient->failure);
	*recipient->failure = *failure;
}

void attempt_fail(struct attempt *attempt, const struct failure *failure, bool only_accepted)
{
	for (size_t i = 0; i < attempt->count; i++)
		if (!only_accepted || attempt->recipients[i].accepted)
			attempt_fail_one(&attempt->recipients[i], failure);
}

static bool is_about_road(const struct failure *failure)
{
	enum outcome outcome = failure->cause->outcome;

	return (outcome == OUTCOME_S && !failure->cause->hold.of_recipient) || outcome == OUTCOME_C ||
	       outcome == OUTCOME_A;
}

const struct failure *attempt_road_failure(const struct attempt *attempt)
{
	for (size_t i = 0; i < attempt->count; i++) {
		const struct failure *failure = attempt->recipients[i].failure;
		if (failure != NULL && (attempt->dropped || is_about_road(failure)))
			return failure;
	}
	return NULL;
}

bool attempt_proves_road(const struct attempt *attempt)
{
	if (attempt->unseen)
		return false;
	for (size_t i = 0; i < attempt->count; i++) {
		const struct failure *failure = attempt->recipients[i].failure;
		if (failure == NULL || failure->cause->outcome == OUTCOME_P ||
		    failure->cause->outcome == OUTCOME_N)
			return true;
	}
	return false;
}

bool attempt_delivered(const struct attempt *attempt)
{
	for (size_t i = 0; i < attempt->count; i++)
		if (attempt->recipients[i].failure == NULL)
			return true;
	return false;
}

const struct cause *attempt_shareable(const struct attempt *attempt)
{
	for (size_t i = 0; i < attempt->count; i++) {
		const struct failure *failure = attempt->recipients[i].failure;
		if (failure != NULL && cause_of_all(failure->cause) != NULL)
			return failure->cause;
	}
	return NULL;
}

void attempt_share(struct attempt *attempt, const struct cause *cause)
{
	for (size_t i = 0; i < attempt->count; i++) {
		struct failure *failure = attempt->recipients[i].failure;
		if (failure != NULL && failure->cause == cause)
			failure->cause = cause_of_all(cause);
	}
}

void attempt_free(struct attempt *attempt)
{
	if (attempt == NULL)
		return;
	for (size_t i = 0; i < attempt->count; i++)
		free(attempt->recipients[i].failure);
	free(attempt->recipients);
	free(attempt);
}
