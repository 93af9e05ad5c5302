#include "listener/session_inside.h"

#include "base/clock.h"
#include "base/log.h"
#include "listener/transaction.h"
#include "net/conn.h"

#define FIRST_COMMAND_MS 60000 /* scanners connect first and talk later; RFC 5321 would give 5 minutes */
#define HANDSHAKE_MS	 30000 /* an old processor takes seconds for RSA */
#define TLS_FIRST_MS	 500   /* for a device that is known to begin with TLS to do so again */
#define CROWDED_IDLE_MS	 30000 /* where most sessions are taken ... */
#define CROWDED_FROM	 80    /* per cent of limits.sessions */
#define CROWDED_UNTIL	 70
#define LEAVE_MS	 2000 /* for QUIT, while draining */

/* Whether it makes room when it is idle. */
static bool is_hurried(const struct session *s)
{
	bool crowded = s->env->crowded || (s->env->strangers_crowded && s->place == NULL && s->login == NULL);

	return crowded && s->env->config->limits.idle_ms > CROWDED_IDLE_MS;
}

/* When the wait for what the state is about ends (monotonic ms); 0: never. */
static int64_t deadline_of(const struct session *s)
{
	unsigned idle_ms = s->env->config->limits.idle_ms;

	if (s->state == S_DATA)
		return transaction_look_ms(s->mail);
	if (s->state >= S_CHECK)
		return 0;
	if (s->state == S_FIRST)
		return s->since_ms + TLS_FIRST_MS;
	if (s->state == S_TLS)
		return s->since_ms + HANDSHAKE_MS;
	if (session_is_leaving(s))
		return s->since_ms + LEAVE_MS;
	if (is_hurried(s))
		return s->since_ms + CROWDED_IDLE_MS;
	if (s->commands == 0 && idle_ms > FIRST_COMMAND_MS)
		return s->since_ms + FIRST_COMMAND_MS;
	return s->since_ms + idle_ms;
}

void session_set_timer(struct session *s, int64_t now_ms)
{
	int64_t deadline_ms = deadline_of(s);

	if (deadline_ms == 0)
		conn_set_timeout(s->conn, 0);
	else
		conn_set_timeout(s->conn, deadline_ms > now_ms ? (unsigned)(deadline_ms - now_ms) : 1);
}

/* Which limit it was: as deadline_of has it. */
const char *session_idle_reply(const struct session *s)
{
	unsigned idle_ms = s->env->config->limits.idle_ms;

	if (is_hurried(s))
		return "421 4.4.2 Idle for 30 seconds while limits.sessions are nearly used up, closing";
	if (s->commands == 0 && idle_ms > FIRST_COMMAND_MS)
		return "421 4.4.2 No command for 60 seconds, closing";
	return "421 4.4.2 Idle for too long (limits.idle), closing";
}

static bool is_crowd(size_t sessions, unsigned places, bool is_one)
{
	return sessions * 100 / places > (is_one ? CROWDED_UNTIL : CROWDED_FROM);
}

static void log_crowded(struct session_env *env, unsigned places, const char *consequence)
{
	uint64_t withheld;

	if (quiet_lets(&env->crowd, &withheld, clock_mono_ms()))
		log_event(LOG_LEVEL_WARNING, "crowded", kv_u64("sessions", env->session_count),
		    kv_str("limit", "limits.sessions"), kv_u64("of", places),
		    kv_str("consequence", consequence), kv_u64("withheld", withheld));
}

void session_look_for_crowd(struct session_env *env)
{
	unsigned all = env->config->limits.sessions, some = env->stranger_places;
	bool crowded = is_crowd(env->session_count, all, env->crowded);
	bool strangers = env->stranger_count > 0 && some > 0 && some < all &&
			 is_crowd(env->session_count, some, env->strangers_crowded);
	int64_t now_ms = clock_mono_ms();
	struct session *s;

	if (crowded == env->crowded && strangers == env->strangers_crowded)
		return;
	if (crowded && !env->crowded)
		log_crowded(env, all, "who is idle for 30 s is closed");
	else if (strangers && !env->strangers_crowded)
		log_crowded(env, some,
		    "who is not listed in devices, has not logged in and is idle for 30 s is closed");
	env->crowded = crowded;
	env->strangers_crowded = strangers;
	LIST_FOREACH(s, &env->sessions, entry)
		if (s->state < S_CHECK && s->state != S_DATA && !s->broken)
			session_set_timer(s, now_ms);
}
