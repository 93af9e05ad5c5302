#include "throttle.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "smtp_session.h"
#include "stats.h"
#include "text.h"

#define MINUTE_US INT64_C(60000000)
#define DAY_US	  (1440 * MINUTE_US)

struct sent {
	int64_t time_us;
	size_t recipients;
	char user[321];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct sent *all; /* of the last day, the oldest first */
static size_t count, room;

static void forget_old(int64_t now_us)
{
	size_t old = 0;

	while (old < count && all[old].time_us <= now_us - DAY_US)
		old++;
	if (old == 0)
		return;
	count -= old;
	if (old > 0)
		memmove(all, all + old, count * sizeof(*all));
}

/* What the user has sent since then: messages, or recipients. */
static size_t sent_since(const char *user, int64_t since_us, bool recipients)
{
	size_t n = 0, i;

	for (i = 0; i < count; i++)
		if (all[i].time_us > since_us && !strcasecmp(all[i].user, user))
			n += recipients ? all[i].recipients : 1;
	return n;
}

static void remember(const char *user, int64_t now_us, size_t recipients)
{
	if (count == room) {
		room = room ? 2 * room : 256;
		all = realloc(all, room * sizeof(*all));
		if (!all)
			abort();
	}
	all[count] = (struct sent){.time_us = now_us, .recipients = recipients};
	snprintf(all[count++].user, sizeof(all->user), "%s", user);
}

static bool limit_of(const struct session *session, enum action action, size_t *limit)
{
	struct fault fault;

	if (!faults_take(
		session->connection->front, STAGE_THROTTLE, session->user, ACTION_BIT(action), &fault))
		return false;
	*limit = (size_t)fault.number;
	return true;
}

static const char *refusal_by_rate(const struct session *session)
{
	size_t limit, recipients = json_array_size(session->recipients);
	int64_t now_us = text_now_us();

	forget_old(now_us);
	if (limit_of(session, ACTION_PER_MINUTE, &limit) &&
	    sent_since(session->user, now_us - MINUTE_US, false) >= limit)
		return "432 4.3.2 STOREDRV.ClientSubmit; exceeded the message limit per account";
	if (limit_of(session, ACTION_PER_DAY, &limit) &&
	    sent_since(session->user, now_us - DAY_US, true) + recipients > limit)
		return "550 5.1.90 Your message can't be sent because you've reached your daily limit for "
		       "message recipients";
	remember(session->user, now_us, recipients);
	return NULL;
}

const char *throttle_refusal(const struct session *session)
{
	const char *refusal;
	size_t limit;

	if (session->mechanism && limit_of(session, ACTION_CONNECTIONS, &limit) &&
	    smtp_auth_rank(session) >= limit) {
		refusal = "432 4.3.2 Concurrent connections limit exceeded. Visit "
			  "https://aka.ms/concurrent_sending for more information.";
	} else {
		pthread_mutex_lock(&lock);
		refusal = refusal_by_rate(session);
		pthread_mutex_unlock(&lock);
	}
	stats_add(STAT_throttled, refusal != NULL);
	return refusal;
}
