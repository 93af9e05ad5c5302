/* Who frees a session: the callbacks of the loop (on_event, session_resume, the sessions_ functions), as
 * their last act, in settle(). Everything below them only sets S_ENDED. */
#include "listener/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/timer.h"
#include "config/config.h"
#include "listener/auth.h"
#include "listener/commands.h"
#include "listener/handshake.h"
#include "listener/auth_dialog.h"
#include "listener/policy.h"
#include "listener/say.h"
#include "listener/session_inside.h"
#include "listener/storm.h"
#include "listener/transaction.h"
#include "net/conn.h"
#include "net/listen.h"
#include "net/tls.h"
#include "smtp/sasl.h"

#define FIRST_COMMAND_MS 60000 /* scanners connect first and talk later; RFC 5321 would give 5 minutes */
#define HANDSHAKE_MS	 30000 /* an old processor takes seconds for RSA */
#define TLS_FIRST_MS	 500   /* for a device that is known to begin with TLS to do so again */
#define LEAVE_MS	 2000  /* for QUIT, while draining */
#define COMMAND_MAX	 4096  /* octets of a command line; RFC 5321 4.5.3.1.4 says 512 */
#define OVERLONG_MAX	 (1024 * 1024) /* octets dropped of a line that is longer */
#define OUTPUT_MAX	 8192	       /* octets of replies that wait before nothing more is read */
#define ERRORS_MAX	 20
#define DEFERRALS_MAX	 1000 /* a long list of recipients meets many 452 */

/* --- state and answers --- */

static unsigned data_timeout(const struct session *s)
{
	int64_t left = transaction_deadline_ms(s->mail) - clock_mono_ms();
	unsigned idle = s->env->config->limits.idle_ms;

	if (left < 1)
		return 1;
	return left < idle ? (unsigned)left : idle;
}

bool session_is_leaving(const struct session *s)
{
	return s->mail == NULL && (s->env->draining || s->last_message);
}

static unsigned timeout_of(const struct session *s)
{
	unsigned idle = s->env->config->limits.idle_ms;

	if (s->state == S_FIRST)
		return TLS_FIRST_MS;
	if (s->state == S_TLS)
		return HANDSHAKE_MS;
	if (s->state == S_DATA)
		return data_timeout(s);
	if (s->state >= S_CHECK)
		return 0;
	if (session_is_leaving(s))
		return LEAVE_MS;
	return s->commands == 0 && idle > FIRST_COMMAND_MS ? FIRST_COMMAND_MS : idle;
}

static void set_reading(struct session *s, bool on)
{
	if (s->reading == on)
		return;
	s->reading = on;
	conn_set_reading(s->conn, on);
}

static void on_penalty_over(evutil_socket_t fd, short what, void *cookie);

/* By a timer of its own: the connection's ends with it. */
static void begin_penalty(struct session *s)
{
	int64_t left_ms = s->auth_ms - clock_mono_ms();

	if (s->penalty == NULL)
		s->penalty = evtimer_new(s->env->base, on_penalty_over, s);
	if (s->penalty == NULL)
		abort();
	if (!evtimer_pending(s->penalty, NULL))
		timer_set(s->penalty, left_ms > 0 ? (unsigned)left_ms : 0);
}

SSL_CTX *session_tls_context(const struct session *s)
{
	return listen_has_tls(s->listen) ? handshakes_context(s->env->tls, s->tls_min) : NULL;
}

const char session_tls_needed[] = "530 5.7.0 Must issue a STARTTLS command first";

bool session_needs_tls(const struct session *s)
{
	return !s->tls && s->listen->tls == LISTEN_TLS_REQUIRED;
}

/* When our reply has left. What has come behind STARTTLS in plain text is refused here: it was said by anybody
 * (CVE-2011-0411). Returns false when the session is at its end. */
static bool begin_handshake(struct session *s)
{
	if (s->handshaking || conn_pending(s->conn) > 0)
		return true;
	s->handshaking = conn_tls_accept(s->conn, session_tls_context(s), handshake_min_version(s->tls_min));
	if (!s->handshaking)
		log_event(LOG_LEVEL_WARNING, "starttls-refused", kv_str("peer", s->peer_text),
		    kv_str("why",
			"plain text came behind STARTTLS; somebody between the device and us may have put it "
			"there"));
	return s->handshaking;
}

/* The state with all that it implies. A handler only names the next state; this follows before anything is
 * read. */
static void enter(struct session *s, enum session_state state)
{
	s->state = state;
	if (state == S_PENALTY)
		begin_penalty(s);
	if (s->broken)
		return;
	if (state == S_TLS && !begin_handshake(s))
		s->state = state = S_ENDED;
	set_reading(s, state < S_CHECK && !s->choked);
	conn_set_timeout(s->conn, timeout_of(s));
}

static void write_reply(struct session *s, const char *reply)
{
	char line[SESSION_REPLY_MAX + 3];
	int n = snprintf(line, sizeof line, "%.*s\r\n", SESSION_REPLY_MAX, reply);

	/* In one write, so in one segment: some devices take a segment for a reply. */
	s->choked = conn_write(s->conn, line, (size_t)n) > OUTPUT_MAX;
}

/* RFC 5321 section 3.8: these two announce the end. */
static bool is_last(const char *reply)
{
	return strncmp(reply, "421", 3) == 0 || strncmp(reply, "221", 3) == 0;
}

/* The one place where a reply is counted and sent, and where the session ends after it. */
static void answer(struct session *s, const char *reply)
{
	if ((reply[0] == '5' && ++s->errors > ERRORS_MAX) ||
	    (reply[0] == '4' && ++s->deferrals > DEFERRALS_MAX))
		reply = "421 4.7.0 Too many errors, closing";
	write_reply(s, reply);
	enter(s, is_last(reply) || s->env->closing ? S_ENDED : s->state);
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

	answer(s, session_goodbye(s, reply, sizeof reply));
}

/* The session ends without a message that was begun. */
static void lost(struct session *s, const char *reason)
{
	if (s->state == S_DATA)
		transaction_log_lost(s->mail, reason);
	else
		log_event(
		    LOG_LEVEL_DEBUG, "session-lost", kv_str("peer", s->peer_text), kv_str("reason", reason));
}

/* --- reading --- */

static void greet(struct session *s)
{
	char banner[SESSION_REPLY_MAX];

	snprintf(banner, sizeof banner, "220 %s ESMTP mfdrelay", s->env->config->hostname);
	s->state = S_COMMAND;
	answer(s, banner);
}

static bool begins_with_tls(const struct session_env *env, const struct in6_addr *peer)
{
	size_t room = sizeof env->tls_first / sizeof env->tls_first[0];

	for (size_t i = 0; i < room && i < env->tls_first_count; i++)
		if (IN6_ARE_ADDR_EQUAL(&env->tls_first[i], peer))
			return true;
	return false;
}

/* It takes our greeting for a broken ServerHello; the next time it is not greeted first. */
static void remember_tls_first(struct session_env *env, const struct in6_addr *peer)
{
	size_t room = sizeof env->tls_first / sizeof env->tls_first[0];

	if (!begins_with_tls(env, peer))
		env->tls_first[env->tls_first_count++ % room] = *peer;
}

static void refuse_tls(struct session *s)
{
	const char *remedy = listen_has_tls(s->listen)
				 ? "the certificate is being made: try again"
				 : "switch TLS (SSL) off in the device, or set tls = \"offered\"; in listen";

	log_event(LOG_LEVEL_WARNING, "tls-unexpected", kv_str("peer", s->peer_text),
	    kv_str("why", "the device begins with TLS, and there is none"), kv_str("remedy", remedy));
	enter(s, S_ENDED);
}

static void begin_implicit(struct session *s)
{
	s->greets = true;
	if (session_tls_context(s) == NULL)
		refuse_tls(s);
	else
		enter(s, S_TLS);
}

/* Some devices begin with TLS on a port that is not for it (HP 477dw). */
static bool take_first(struct session *s)
{
	struct str in = conn_peek(s->conn);

	if (in.n == 0)
		return false;
	s->begun = true;
	if ((unsigned char)in.p[0] == CONN_TLS_FIRST && !s->tls) {
		remember_tls_first(s->env, &s->peer);
		begin_implicit(s);
	} else if (s->state == S_FIRST) {
		greet(s);
	}
	return true;
}

static void begin_overlong(struct session *s)
{
	auth_dialog_reset(s);
	s->dropped = 0;
	s->state = S_OVERLONG;
	answer(s, "500 5.5.2 Line too long");
}

static bool take_line(struct session *s)
{
	size_t max = s->state == S_COMMAND ? COMMAND_MAX : SASL_LINE_MAX;
	struct str line;
	const char *reply;

	switch (conn_read_line(s->conn, max, &line)) {
	case CONN_NO_LINE:
		return false;
	case CONN_LINE_TOO_LONG:
		begin_overlong(s);
		return true;
	case CONN_LINE:
		break;
	}
	reply = s->state == S_COMMAND ? commands_run(s, line) : auth_dialog_line(s, line);
	if (reply != NULL)
		answer(s, reply);
	else
		enter(s, s->state);
	return true;
}

static bool drop_overlong(struct session *s)
{
	struct str in = conn_peek(s->conn);
	const char *lf = in.n > 0 ? memchr(in.p, '\n', in.n) : NULL;
	size_t n = lf != NULL ? (size_t)(lf - in.p) + 1 : in.n;

	if (n == 0)
		return false;
	conn_consume(s->conn, n);
	s->dropped += n;
	if (lf != NULL)
		enter(s, S_COMMAND);
	else if (s->dropped > OVERLONG_MAX)
		answer(s, "421 4.7.0 A line without end, closing");
	return true;
}

static void on_stored(void *arg, const char *reply, const char *id)
{
	struct session *s = arg;

	s->mail = NULL;
	s->state = S_COMMAND;
	if (id != NULL) {
		s->errors = s->deferrals = s->unknown = s->chatter = s->repeats = 0;
		str_copy(s->stored, sizeof s->stored, str_of(id));
	}
	session_resume(s, reply);
}

static void end_message(struct session *s)
{
	struct transaction *mail = s->mail;
	const char *refusal = transaction_end(mail, on_stored, s);

	if (refusal == NULL) {
		storm_count(s->env->storms, policy_device(s), clock_mono_ms());
		enter(s, S_COMMIT);
		return;
	}
	s->mail = NULL;
	s->state = S_COMMAND;
	answer(s, refusal);
	transaction_drop(mail);
}

static bool take_content(struct session *s)
{
	struct str in = conn_peek(s->conn);
	enum feed feed;
	size_t used;

	if (in.n == 0)
		return false;
	feed = transaction_feed(s->mail, in, &used);
	conn_consume(s->conn, used);
	if (feed == FEED_ENDED) {
		end_message(s);
	} else if (feed == FEED_HOPELESS) {
		const char *key = transaction_limit(s->mail).key;
		lost(s, "more than twice as large as it may be");
		answer(s, say("421 4.3.4 Message is far larger than %s, closing", key));
	}
	return true;
}

/* One line or one piece of content. Returns false when there is none, or nothing is to be read now. */
static bool step(struct session *s)
{
	if (!s->begun && s->state <= S_COMMAND && s->state != S_TLS)
		return take_first(s);
	switch (s->state) {
	case S_COMMAND:
	case S_AUTH_PLAIN:
	case S_AUTH_USER:
	case S_AUTH_PASSWORD:
		return take_line(s);
	case S_OVERLONG:
		return drop_overlong(s);
	case S_DATA:
		return take_content(s);
	case S_FIRST:
	case S_TLS:
	case S_CHECK:
	case S_COMMIT:
	case S_PENALTY:
	case S_ENDED:
		return false;
	}
	return false;
}

/* Once the peer has closed, no CONN_DRAINED comes: then the little input that is left is answered all the
 * same. */
static void run(struct session *s)
{
	while ((!s->choked || s->peer_closed) && step(s))
		;
	if (s->peer_closed && s->state < S_CHECK) {
		lost(s, "closed by the device before its end");
		enter(s, S_ENDED);
	}
}

static void session_free(struct session *s)
{
	struct session_env *env = s->env;
	struct in6_addr peer = s->peer;

	LIST_REMOVE(s, entry);
	env->session_count--;
	atomic_fetch_sub_explicit(&env->counters->sessions_now, 1, memory_order_relaxed);
	auth_cancel(s->check);
	if (s->penalty != NULL)
		event_free(s->penalty);
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
	env->ended(env->arg, &peer);
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
		answer(s, reply);
	else
		enter(s, s->state);
	run(s);
	settle(s);
}

/* --- events --- */

static void on_penalty_over(evutil_socket_t fd, short what, void *cookie)
{
	struct session *s = cookie;
	const char *reply = auth_dialog_refused(s);

	(void)fd;
	(void)what;
	s->state = strstr(reply, "421") != NULL ? S_ENDED : S_COMMAND;
	session_resume(s, reply);
}

/* Who closes before a word has tried whether the port is open. */
static void handshake_failed(struct session *s, const char *why)
{
	const struct tls_hello *hello = conn_tls_hello(s->conn);

	if (hello == NULL || (!hello->seen && !conn_error_is_tls(s->conn))) {
		lost(s, why != NULL ? why : conn_error(s->conn));
		return;
	}
	count(&s->env->counters->tls_failures, 1);
	handshake_log_failed(s->conn, s->peer_text, s->place, s->tls_min, why);
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
		greet(s);
	else
		enter(s, S_COMMAND);
}

static void on_timeout(struct session *s)
{
	if (session_is_leaving(s)) {
		answer_shutdown(s);
		return;
	}
	if (s->state == S_FIRST) {
		greet(s);
		return;
	}
	if (s->state == S_TLS) {
		handshake_failed(s, "the handshake took too long");
		enter(s, S_ENDED);
		return;
	}
	lost(s, "too slow");
	answer(s, s->state == S_DATA ? "421 4.4.2 The content took too long, closing"
				     : "421 4.4.2 Idle for too long, closing");
}

static void on_data(struct session *s)
{
	run(s);
	/* Content may pause between any two pieces; a command line has the time of one line. */
	if (s->state != S_DATA)
		return;
	if (clock_mono_ms() >= transaction_deadline_ms(s->mail))
		on_timeout(s);
	else
		enter(s, S_DATA);
}

static void on_event(void *arg, enum conn_event event)
{
	struct session *s = arg;

	switch (event) {
	case CONN_DATA:
		on_data(s);
		break;
	case CONN_DRAINED:
		if (s->state == S_TLS)
			enter(s, S_TLS);
		if (s->choked) {
			s->choked = false;
			enter(s, s->state);
			on_data(s);
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
			lost(s, conn_error(s->conn));
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
	s->listen = listen;
	s->tls_min = config_tls_min(env->config, listen, peer);
	LIST_INSERT_HEAD(&env->sessions, s, entry);
	env->session_count++;
	count(&env->counters->sessions, 1);
	count(&env->counters->sessions_now, 1);
	log_event(LOG_LEVEL_DEBUG, "connect", kv_str("peer", s->peer_text));
	if (listen->tls == LISTEN_TLS_IMPLICIT)
		begin_implicit(s);
	else if (listen_has_tls(listen) && begins_with_tls(env, peer))
		enter(s, S_FIRST);
	else
		greet(s);
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

static void drain_one(struct session *s)
{
	if (s->mail == NULL && s->state < S_CHECK)
		answer_shutdown(s);
}

static void expire_one(struct session *s)
{
	if (s->state == S_COMMIT)
		return;
	lost(s, "shutting down");
	answer_shutdown(s);
}

static void close_one(struct session *s)
{
	if (s->state == S_COMMIT)
		return;
	lost(s, "shutting down");
	enter(s, S_ENDED);
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
