/* Who frees a session: the callbacks of the loop (on_event, session_resume, the sessions_ functions), as
 * their last act, in settle(). Everything below them only sets S_ENDED. */
#include "listener/session.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/ration.h"
#include "base/text.h"
#include "base/timer.h"
#include "config/config.h"
#include "listener/auth.h"
#include "listener/auth_dialog.h"
#include "listener/commands.h"
#include "listener/pace.h"
#include "listener/peers.h"
#include "listener/session_inside.h"
#include "listener/session_tls.h"
#include "listener/tls_first.h"
#include "listener/transaction.h"
#include "net/conn.h"
#include "net/listen.h"

#define OUTPUT_MAX    8192 /* octets of replies that wait before nothing more is read */
#define ERRORS_MAX    20
#define DEFERRALS_MAX 1000 /* a long list of recipients meets many 452 */

/* --- state and answers --- */

bool session_is_leaving(const struct session *s)
{
	return s->mail == NULL && (s->env->draining || s->last_message);
}

struct session_quiet *session_quiet(const struct session *s)
{
	return s->place != NULL || s->login != NULL ? &s->env->of_listed : &s->env->of_strangers;
}

static void set_reading(struct session *s, bool on)
{
	if (s->reading == on)
		return;
	s->reading = on;
	conn_set_reading(s->conn, on);
}

static void on_pause_over(evutil_socket_t fd, short what, void *cookie);

/* By a timer of its own: the connection's ends with it. */
static void begin_pause(struct session *s, int64_t ms)
{
	if (s->pause == NULL)
		s->pause = evtimer_new(s->env->base, on_pause_over, s);
	if (!evtimer_pending(s->pause, NULL))
		timer_set(s->pause, ms);
}

/* S_TLS when it is this session's turn, S_TURN until then. */
static enum session_state begin_tls(struct session *s)
{
	int64_t turn_ms = s->turn_ms;

	s->turn_ms = 0;
	if (turn_ms > 0) {
		begin_pause(s, turn_ms);
		return S_TURN;
	}
	return session_tls_begin(s) ? S_TLS : S_ENDED;
}

void session_enter(struct session *s, enum session_state state)
{
	s->state = state;
	if (state == S_PENALTY)
		begin_pause(s, s->auth_ms - clock_mono_ms());
	if (s->broken)
		return;
	if (state == S_TLS)
		s->state = state = begin_tls(s);
	set_reading(s, state < S_CHECK && !s->choked);
	s->since_ms = clock_mono_ms();
	session_set_timer(s, s->since_ms);
}

static void write_reply(struct session *s, const char *reply)
{
	char line[SESSION_REPLY_MAX + 3];
	struct text text = text_in(line, sizeof line);

	text_add(&text, (struct str){reply, strnlen(reply, SESSION_REPLY_MAX)});
	text_join(&text, "\r\n", NULL);
	/* In one write, so in one segment: some devices take a segment for a reply. */
	s->choked = conn_write(s->conn, text.p, text.n) > OUTPUT_MAX;
	s->env->answers++;
}

/* RFC 5321 section 3.8: these two announce the end. */
static bool is_last(const char *reply)
{
	return strncmp(reply, "421", 3) == 0 || strncmp(reply, "221", 3) == 0;
}

/* A limit has ended it, which the reply names. */
static void log_closed(struct session *s, enum log_level level, const char *reply)
{
	uint64_t withheld;

	if (quiet_lets(&session_quiet(s)->closed, &withheld, clock_mono_ms()))
		log_event(level, "session-closed", kv_str("peer", s->peer_text),
		    kv_str("device", s->place != NULL ? s->place->name : ""), kv_str("helo", s->helo),
		    kv_str("reply", reply), kv_u64("withheld", withheld));
}

void session_answer(struct session *s, const char *reply)
{
	if ((reply[0] == '5' && ++s->errors > ERRORS_MAX) ||
	    (reply[0] == '4' && ++s->deferrals > DEFERRALS_MAX))
		reply = "421 4.7.0 Too many errors, closing";
	/* 4.7: what nobody does who means to send mail. */
	if (strncmp(reply, "421 4.7", 7) == 0)
		log_closed(s, LOG_LEVEL_NOTICE, reply);
	write_reply(s, reply);
	session_enter(s, is_last(reply) || s->closes || s->env->closing ? S_ENDED : s->state);
}

const char *session_goodbye(const struct session *s, char *dst, size_t size)
{
	snprintf(dst, size, "421 4.3.2 %s %s", s->env->config->hostname,
	    s->env->retiring ? "has a new configuration, connect again" : "is shutting down, try again");
	return dst;
}

static void answer_shutdown(struct session *s)
{
	char reply[SESSION_REPLY_MAX];

	session_answer(s, session_goodbye(s, reply, sizeof reply));
}

void session_lost(struct session *s, const char *reason)
{
	if (s->state == S_DATA)
		transaction_log_lost(s->mail, reason);
	else
		log_event(
		    LOG_LEVEL_DEBUG, "session-lost", kv_str("peer", s->peer_text), kv_str("reason", reason));
}

/* --- reading --- */

void session_greet(struct session *s)
{
	char banner[SESSION_REPLY_MAX];
	struct text text = text_in(banner, sizeof banner);

	text_join(&text, "220 ", s->env->config->hostname, " ESMTP mfdrelay", NULL);
	s->state = S_COMMAND;
	session_answer(s, banner);
}

void session_begin_implicit(struct session *s)
{
	s->greets = true;
	if (session_tls_context(s) == NULL) {
		session_tls_log_unexpected(s);
		session_enter(s, S_ENDED);
	} else {
		session_enter(s, session_tls_take_turn(s) ? S_TLS : S_ENDED);
	}
}

/* Once the peer has closed, no CONN_DRAINED comes: then the little input that is left is answered all the
 * same. */
static void run(struct session *s)
{
	while ((!s->choked || s->peer_closed) && session_step(s))
		;
	if (s->peer_closed && s->state < S_CHECK) {
		session_lost(s, "closed by the device before its end");
		session_enter(s, S_ENDED);
	}
}

/* Unless it is fast enough, or has come to its end. */
static void look_at_content(struct session *s)
{
	static const struct {
		const char *key, *reply;
	} faults[] = {
	    [PACE_IDLE] = {"limits.idle", "421 4.4.2 No more content for too long (limits.idle), closing"},
	    [PACE_SLOW] = {"limits.min_data_rate",
		"421 4.4.2 The content comes too slowly (limits.min_data_rate), closing"},
	    [PACE_LONG] = {"limits.message_time",
		"421 4.4.2 The content took too long (limits.message_time), closing"},
	};
	enum pace_fault fault = transaction_judge_pace(s->mail);

	/* One message a connection: whatever follows was not meant as commands. */
	if (conn_available(s->conn) == 0 && transaction_ended_silently(s->mail)) {
		s->closes = true;
		session_end_message(s);
		return;
	}
	if (fault == PACE_FINE) {
		session_enter(s, S_DATA);
		return;
	}
	assert(faults[fault].reply != NULL);
	session_lost(s, faults[fault].key);
	session_answer(s, faults[fault].reply);
}

/* Content may pause between any two pieces; a command line has the time of one line. */
static void go_on(struct session *s)
{
	run(s);
	if (s->state == S_DATA)
		look_at_content(s);
}

static void session_free(struct session *s)
{
	struct session_env *env = s->env;
	struct in6_addr counted = s->counted;

	LIST_REMOVE(s, entry);
	env->session_count--;
	env->stranger_count -= s->place == NULL ? 1 : 0;
	atomic_fetch_sub_explicit(env->sessions_now, 1, memory_order_relaxed);
	auth_cancel(s->check);
	if (s->pause != NULL)
		event_free(s->pause);
	auth_dialog_reset(s);
	transaction_drop(s->mail);
	/* While closing, the loop does not run any more: what is written has left, or will not. */
	if (s->broken)
		conn_free(s->conn);
	else if (env->closing)
		conn_close(s->conn);
	else
		conn_finish(s->conn);
	free(s->helo);
	free(s);
	session_look_for_crowd(env);
	env->ended(env->arg, &counted);
}

static void settle(struct session *s)
{
	if (s->state == S_ENDED)
		session_free(s);
}

void session_resume(struct session *s, const char *reply)
{
	if (s->broken && s->state != S_PENALTY)
		s->state = S_ENDED;
	else if (reply != NULL)
		session_answer(s, reply);
	else
		session_enter(s, s->state);
	go_on(s);
	settle(s);
}

/* --- events --- */

static void end_penalty(struct session *s)
{
	s->state = auth_dialog_is_over(s) ? S_ENDED : S_COMMAND;
	session_resume(s, auth_dialog_refused(s));
}

static void on_pause_over(evutil_socket_t fd, short what, void *cookie)
{
	struct session *s = cookie;

	(void)fd;
	(void)what;
	if (s->state == S_PENALTY) {
		end_penalty(s);
		return;
	}
	s->state = S_TLS;
	session_resume(s, NULL);
}

static void handshake_failed(struct session *s, const char *why)
{
	if (!session_tls_failed(s, why))
		session_lost(s, why != NULL ? why : conn_error(s->conn));
}

/* RFC 3207 section 4.2: what was said before was said by anybody. Faults are counted on. */
static void on_tls_ready(struct session *s)
{
	count(&s->env->counters->tls_sessions, 1);
	s->handshaking = false;
	s->tls = true;
	s->secure = s->tls_min >= TLS_MIN_1_2;
	s->login = NULL;
	s->content_refused = false;
	s->stored[0] = '\0';
	commands_forget(s);
	if (s->greets)
		session_greet(s);
	else
		session_enter(s, S_COMMAND);
}

static void end_idle(struct session *s)
{
	const char *reply = session_idle_reply(s);

	session_lost(s, "idle");
	log_closed(s, LOG_LEVEL_INFO, reply);
	session_answer(s, reply);
}

static void on_timeout(struct session *s)
{
	if (session_is_leaving(s)) {
		answer_shutdown(s);
		return;
	}
	if (s->state == S_FIRST) {
		session_greet(s);
		return;
	}
	if (s->state == S_TLS) {
		handshake_failed(s, "the handshake took too long");
		session_enter(s, S_ENDED);
		return;
	}
	if (s->state == S_DATA)
		look_at_content(s);
	else
		end_idle(s);
}

static void on_event(void *arg, enum conn_event event)
{
	struct session *s = arg;

	switch (event) {
	case CONN_DATA:
		go_on(s);
		break;
	case CONN_DRAINED:
		if (s->state == S_TLS)
			session_enter(s, S_TLS);
		if (s->choked) {
			s->choked = false;
			session_enter(s, s->state);
			go_on(s);
		}
		break;
	case CONN_TIMEOUT:
		on_timeout(s);
		break;
	case CONN_CLOSED:
		s->peer_closed = true;
		run(s);
		break;
	case CONN_TLS_READY:
		on_tls_ready(s);
		break;
	case CONN_ERROR:
		if (s->state == S_TLS)
			handshake_failed(s, NULL);
		else
			session_lost(s, conn_error(s->conn));
		s->broken = true;
		/* What it waits for goes on without it. So its place stays taken until then: else one address
		 * could have any number of checks and commits under way, and guess without a penalty. */
		if (s->state < S_CHECK)
			s->state = S_ENDED;
		break;
	case CONN_CONNECTED:
		break;
	}
	settle(s);
}

/* --- all sessions --- */

static void set_peer(struct session *s, const struct in6_addr *peer)
{
	struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = *peer};

	s->peer = *peer;
	sockaddr_host(s->peer_text, sizeof s->peer_text, (const struct sockaddr *)&address);
}

bool session_new(
    struct session_env *env, int fd, const struct in6_addr *peer, const struct listen_config *listen)
{
	struct session *s = xcalloc(1, sizeof *s);

	s->env = env;
	s->reading = true;
	s->conn = conn_accept(env->base, fd, on_event, s);
	if (s->conn == NULL) {
		int saved = errno;
		free(s);
		errno = saved;
		return false;
	}
	set_peer(s, peer);
	s->place = config_device_by_address(env->config, peer);
	s->counted = peer_counted(peer, s->place != NULL);
	s->listen = listen;
	s->tls_min = config_tls_min(env->config, listen, peer);
	LIST_INSERT_HEAD(&env->sessions, s, entry);
	env->session_count++;
	env->stranger_count += s->place == NULL ? 1 : 0;
	count(&env->counters->sessions, 1);
	count(env->sessions_now, 1);
	log_event(LOG_LEVEL_DEBUG, "connect", kv_str("peer", s->peer_text));
	session_look_for_crowd(env);
	if (listen->tls == LISTEN_TLS_IMPLICIT)
		session_begin_implicit(s);
	else if (listen_has_tls(listen) && tls_first_has(env->counters, peer))
		session_enter(s, S_FIRST);
	else
		session_greet(s);
	settle(s);
	return true;
}

static void for_each(struct session_env *env, void (*fn)(struct session *s))
{
	struct session *s = LIST_FIRST(&env->sessions);

	while (s != NULL) {
		struct session *next = LIST_NEXT(s, entry);
		fn(s);
		settle(s);
		s = next;
	}
}

/* Nobody can have the end wait for a wrong password's time: no further guess is taken anyway. */
static void drain_one(struct session *s)
{
	if (s->mail == NULL && (s->state < S_CHECK || s->state == S_TURN || s->state == S_PENALTY))
		answer_shutdown(s);
}

static void expire_one(struct session *s)
{
	if (s->state == S_COMMIT)
		return;
	session_lost(s, "shutting down");
	answer_shutdown(s);
}

static void close_one(struct session *s)
{
	if (s->state == S_COMMIT)
		return;
	session_lost(s, "shutting down");
	session_enter(s, S_ENDED);
}

void sessions_retire(struct session_env *env)
{
	env->retiring = true;
}

void sessions_drain(struct session_env *env)
{
	env->retiring = false;
	env->draining = true;
	for_each(env, drain_one);
}

void sessions_expire(struct session_env *env)
{
	env->draining = true;
	for_each(env, expire_one);
}

void sessions_close(struct session_env *env)
{
	env->closing = true;
	for_each(env, close_one);
}
