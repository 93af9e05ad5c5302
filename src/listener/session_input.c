#include "listener/session_inside.h"

#include <string.h>

#include "base/clock.h"
#include "listener/auth_dialog.h"
#include "listener/commands.h"
#include "listener/policy.h"
#include "listener/say.h"
#include "listener/session_tls.h"
#include "listener/storm.h"
#include "listener/tls_first.h"
#include "listener/transaction.h"
#include "net/conn.h"
#include "smtp/sasl.h"

#define COMMAND_MAX  4096	   /* octets of a command line; RFC 5321 4.5.3.1.4 says 512 */
#define OVERLONG_MAX (1024 * 1024) /* octets dropped of a line that is longer */

/* Some devices begin with TLS on a port that is not for it: listener/tls_first.h. */
static bool take_first(struct session *s)
{
	struct str in = conn_peek(s->conn);

	if (in.n == 0)
		return false;
	s->begun = true;
	if ((unsigned char)in.p[0] == CONN_TLS_FIRST && !s->tls) {
		s->greeted = s->state == S_COMMAND;
		tls_first_note(s->env->counters, &s->peer);
		session_begin_implicit(s);
	} else if (s->state == S_FIRST) {
		session_greet(s);
	}
	return true;
}

static void begin_overlong(struct session *s)
{
	bool is_auth = s->state != S_COMMAND;

	auth_dialog_reset(s);
	s->dropped = 0;
	s->state = S_OVERLONG;
	/* RFC 4954 section 6. */
	session_answer(s, is_auth ? "500 5.5.6 Line of a login too long" : "500 5.5.2 Line too long");
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
		session_answer(s, reply);
	else
		session_enter(s, s->state);
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
		session_enter(s, S_COMMAND);
	else if (s->dropped > OVERLONG_MAX)
		session_answer(s, "421 4.7.0 A line without end, closing");
	return true;
}

static void on_stored(void *arg, const char *reply, const char *id)
{
	struct session *s = arg;

	s->mail = NULL;
	s->state = S_COMMAND;
	if (id != NULL) {
		s->errors = s->deferrals = s->unknown = s->chatter = s->repeats = 0;
		storm_count(s->env->storms, policy_device(s), clock_mono_ms());
		str_copy(s->stored, sizeof s->stored, str_of(id));
	}
	session_resume(s, reply);
}

void session_end_message(struct session *s)
{
	struct transaction *mail = s->mail;
	const char *refusal = transaction_end(mail, on_stored, s);

	if (refusal == NULL) {
		session_enter(s, S_COMMIT);
		return;
	}
	s->mail = NULL;
	s->state = S_COMMAND;
	session_answer(s, refusal);
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
		session_end_message(s);
	} else if (feed == FEED_HOPELESS) {
		struct size_limit limit = transaction_limit(s->mail);
		session_lost(s, "more than twice as large as it may be");
		session_answer(
		    s, say("421 4.3.4 Message is far larger than %s%s, closing", limit.key, limit.of));
	}
	return true;
}

bool session_step(struct session *s)
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
	case S_TURN:
	case S_COMMIT:
	case S_PENALTY:
	case S_ENDED:
		return false;
	}
	return false;
}
