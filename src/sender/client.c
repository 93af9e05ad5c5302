#include "sender/client.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "sender/attempt.h"
#include "sender/client_private.h"
#include "sender/suspect.h"
#include "sender/token.h"
#include "spool/spool.h"

/* Until login, where nothing is at stake, much less than RFC 5321's five minutes. */
#define LOGIN_TIMEOUT_MS 60000

#define FINAL_TIMEOUT_MS 600000
#define IDLE_TIMEOUT_MS	 20000
#define QUIT_TIMEOUT_MS	 2000

static const char *const state_names[] = {"RESOLVE", "CONNECT", "PROXY", "TLS", "BANNER", "EHLO", "STARTTLS",
    "TLS", "EHLO", "TOKEN", "AUTH", "IDLE", "PREPARE", "ENVELOPE", "CONTENT", "FINAL", "RSET", "QUIT",
    "OVER"};

void client_conclude(struct client *c)
{
	struct attempt *attempt = c->attempt;

	c->attempt = NULL;
	client_forget_outgoing(c);
	c->fn(c->arg, c, CLIENT_DONE, attempt);
}

static void on_ended(evutil_socket_t fd, short what, void *cookie)
{
	struct client *c = cookie;

	(void)fd;
	(void)what;
	c->fn(c->arg, c, CLIENT_ENDED, NULL);
}

/* RFC 5321 section 4.1.1.10 wants a QUIT behind a refusal too; its answer decides nothing, so nobody waits for it. */
static void hang_up(struct client *c)
{
	if (c->conn != NULL && c->in_step) {
		client_send_line(c, "QUIT", "");
		conn_finish(c->conn);
	} else {
		conn_free(c->conn);
	}
	c->conn = NULL;
}

/* The connection is over. Idempotent; the owner hears of it from the loop. */
void client_end(struct client *c)
{
	if (c->state == ST_OVER)
		return;
	c->state = ST_OVER;
	hang_up(c);
	resolver_cancel(c->query);
	c->query = NULL;
	token_cancel(c->token_wait);
	c->token_wait = NULL;
	client_wipe_login(c);
	client_end_proxy(c);
	event_active(c->ended, EV_TIMEOUT, 0);
}

/* Trouble with an attempt under way is the attempt's, before that the road's. */
void client_fail(struct client *c, const struct failure *why)
{
	if (c->attempt != NULL) {
		/* An idle connection that the upstream had closed as we began to use it proves nothing; a new
		 * one that it drops at the first command says that it takes no mail now. */
		c->attempt->not_begun =
		    c->state == ST_PREPARE || (c->state == ST_ENVELOPE && c->answered == 0);
		c->attempt->perhaps_taken = c->state == ST_FINAL;
		c->attempt->dropped = c->attempt->not_begun && c->attempts == 1;
		client_not_proved(c, why);
		attempt_fail(c->attempt, why, false);
		c->state = ST_ENVELOPE;
		client_conclude(c);
	} else if (c->state != ST_IDLE && c->state != ST_QUIT && c->state != ST_RSET) {
		client_not_proved(c, why);
		c->failure = *why;
		c->has_failure = true;
	}
	client_end(c);
}

void client_refused(struct client *c, const struct failure *why)
{
	c->in_step = c->reply.code != 421;
	client_fail(c, why);
}

void client_break_off(struct client *c, const char *text)
{
	struct failure why;

	if (c->attempt != NULL) {
		failure_from_trouble(&why, ROAD_CUT, text);
		attempt_fail(c->attempt, &why, false);
		c->attempt->not_begun = true;
		client_conclude(c);
	}
	client_end(c);
}

/* Whether it is about the way to the proxy, if there is one. */
static bool is_about_proxy(const struct client *c)
{
	return upstream_of(c)->proxy != NULL && c->step != CLIENT_MX &&
	       (c->state == ST_RESOLVE || c->state == ST_CONNECT);
}

static void describe_trouble(
    const struct client *c, struct failure *why, enum road_trouble trouble, const char *text)
{
	char line[FAILURE_TEXT_MAX];
	bool by_proxy = is_about_proxy(c);

	snprintf(line, sizeof line, "%s:%u: %s%s%s: %s", c->host, upstream_of(c)->port, state_names[c->state],
	    by_proxy ? " of " : "", by_proxy ? upstream_of(c)->proxy : "", text);
	failure_from_trouble(why, trouble, line);
}

void client_fail_trouble(struct client *c, enum road_trouble trouble, const char *text)
{
	struct failure why;

	if (c->has_passed_by && (c->state == ST_RESOLVE || c->state == ST_CONNECT)) {
		client_fail(c, &c->passed_by);
		return;
	}
	describe_trouble(c, &why, trouble, text);
	c->in_step = trouble == ROAD_NO_STARTTLS || trouble == ROAD_NO_AUTH ||
		     (trouble == ROAD_SECRET && c->state != ST_PROXY);
	client_fail(c, &why);
}

void client_fail_reply(struct client *c, enum smtp_phase phase)
{
	struct failure why;

	client_judge(c, &why, phase);
	if (c->challenge[0] != '\0')
		log_event(LOG_LEVEL_WARNING, "auth-challenge", kv_str("upstream", upstream_of(c)->name),
		    kv_str("text", c->challenge));
	client_refused(c, &why);
}

void client_send_line(struct client *c, const char *command, const char *argument)
{
	struct buf line = {0};

	buf_join(&line, command, argument, "\r\n", NULL);
	conn_write(c->conn, line.p, line.n);
	buf_free(&line);
}

/* --- the states --- */

static void on_lost(struct client *c, enum road_trouble trouble, const char *text);

static void begin_tls(struct client *c)
{
	switch (conn_tls_connect(c->conn, c->settings->tls, c->host)) {
	case CONN_TLS_BEGUN:
		break;
	case CONN_TLS_PLAIN_TEXT:
		client_fail_trouble(c, ROAD_GARBAGE,
		    "text was sent before the TLS handshake (an attack, or a broken server)");
		break;
	case CONN_TLS_GONE:
		on_lost(c, ROAD_TLS, "the connection was closed before the TLS handshake");
		break;
	}
}

/* How long each state waits for what it waits for. ST_RESOLVE has the resolver's own limit, ST_CONNECT one
 * for each address, and ST_CONTENT one for each block. */
static const unsigned state_timeout_ms[] = {
    [ST_PROXY] = CONNECT_TIMEOUT_MS,
    [ST_TLS_IMPLICIT] = CONNECT_TIMEOUT_MS,
    [ST_BANNER] = LOGIN_TIMEOUT_MS,
    [ST_EHLO] = LOGIN_TIMEOUT_MS,
    [ST_STARTTLS] = LOGIN_TIMEOUT_MS,
    [ST_TLS] = CONNECT_TIMEOUT_MS,
    [ST_EHLO_TLS] = LOGIN_TIMEOUT_MS,
    [ST_TOKEN] = LOGIN_TIMEOUT_MS,
    [ST_AUTH] = LOGIN_TIMEOUT_MS,
    [ST_IDLE] = IDLE_TIMEOUT_MS,
    [ST_PREPARE] = COMMAND_TIMEOUT_MS,
    [ST_ENVELOPE] = COMMAND_TIMEOUT_MS,
    [ST_FINAL] = FINAL_TIMEOUT_MS,
    [ST_RSET] = COMMAND_TIMEOUT_MS,
    [ST_QUIT] = QUIT_TIMEOUT_MS,
    [ST_OVER] = 0,
};

/* What a state does as it is entered. */
static void begin(struct client *c)
{
	switch (c->state) {
	case ST_RESOLVE:
		client_begin_dial(c);
		break;
	case ST_CONNECT:
		client_connect_next(c);
		break;
	case ST_PROXY:
		client_begin_proxy(c);
		break;
	case ST_TLS_IMPLICIT:
	case ST_TLS:
		begin_tls(c);
		break;
	case ST_EHLO:
	case ST_EHLO_TLS:
		client_send_line(c, c->says_helo ? "HELO " : "EHLO ", c->settings->config->hostname);
		break;
	case ST_STARTTLS:
		client_send_line(c, "STARTTLS", "");
		break;
	case ST_TOKEN:
		client_begin_token(c);
		break;
	case ST_AUTH:
		client_send_auth(c);
		break;
	case ST_IDLE:
		c->fn(c->arg, c, CLIENT_IDLE, NULL);
		break;
	case ST_PREPARE:
		client_begin_prepare(c);
		break;
	case ST_ENVELOPE:
		client_begin_envelope(c);
		break;
	case ST_CONTENT:
		client_begin_content(c);
		break;
	case ST_RSET:
		client_send_line(c, "RSET", "");
		break;
	case ST_QUIT:
		client_send_line(c, "QUIT", "");
		break;
	case ST_BANNER:
	case ST_FINAL:
	case ST_OVER:
		break;
	}
}

void client_enter(struct client *c, enum client_state state)
{
	log_event(LOG_LEVEL_DEBUG, "client", kv_str("upstream", upstream_of(c)->name),
	    kv_str("from", state_names[c->state]), kv_str("to", state_names[state]));
	c->state = state;
	reply_clear(&c->reply);
	if (c->conn != NULL && state_timeout_ms[state] != 0)
		conn_set_timeout(c->conn, state_timeout_ms[state]);
	begin(c);
}

/* RFC 5321 section 3.2: a server that does not know EHLO. It has nothing to offer, TLS and AUTH above all. */
static bool is_before_ehlo(const struct client *c)
{
	return c->reply.code / 100 == 5 && !c->says_helo && upstream_of(c)->tls == UPSTREAM_TLS_NONE;
}

static void on_ehlo_reply(struct client *c)
{
	bool in_clear = c->state == ST_EHLO;

	if (is_before_ehlo(c)) {
		c->says_helo = true;
		client_enter(c, ST_EHLO);
		return;
	}
	if (c->reply.code != 250) {
		client_fail_reply(c, PHASE_EHLO);
		return;
	}
	ehlo_parse(&c->reply, &c->ehlo);
	if (!in_clear || upstream_of(c)->tls == UPSTREAM_TLS_NONE) {
		client_proved(c, CLIENT_AUTH);
		client_begin_login(c);
	} else if (!c->ehlo.starttls)
		client_fail_trouble(c, ROAD_NO_STARTTLS, "STARTTLS is not offered");
	else
		client_enter(c, ST_STARTTLS);
}

/* RFC 5321 section 5.1: a server that does not come to its greeting, or says 421 in its place, hides none of those behind it.
 * Returns whether there is a next address that is tried. What is said of the first counts where no other can be reached. */
static bool pass_by(struct client *c, const struct failure *why)
{
	if (!client_dial_on(c))
		return false;
	if (!c->has_passed_by)
		c->passed_by = *why;
	c->has_passed_by = true;
	log_event(LOG_LEVEL_NOTICE, "server-out-of-service", kv_str("upstream", upstream_of(c)->name),
	    kv_str("text", why->text));
	return true;
}

/* A 421 that is about this server, not about us (one that slows us down has another outcome): Microsoft says it while it puts a new
 * version there. */
static void on_refusing_banner(struct client *c)
{
	struct failure why;

	client_judge(c, &why, PHASE_BANNER);
	if (c->reply.code != 421 || why.cause->outcome != OUTCOME_T || !pass_by(c, &why))
		client_refused(c, &why);
}

static void on_banner(struct client *c)
{
	enum upstream_tls tls = upstream_of(c)->tls;

	if (c->reply.code != 220) {
		on_refusing_banner(c);
		return;
	}
	client_proved(c, tls == UPSTREAM_TLS_REQUIRED ? CLIENT_TLS : CLIENT_EHLO);
	client_enter(c, tls == UPSTREAM_TLS_IMPLICIT ? ST_EHLO_TLS : ST_EHLO);
}

static void on_rset_reply(struct client *c)
{
	c->step = CLIENT_RSET;
	if (c->reply.code != 250) {
		c->in_step = c->reply.code != 421;
		client_end(c);
		return;
	}
	client_proved(c, CLIENT_MAIL);
	client_enter(c, ST_IDLE);
}

/* While the upstream has nothing to answer (ST_TOKEN, ST_PREPARE) it may say 421 and go (RFC 5321 section 3.8). */
static void on_unasked_reply(struct client *c)
{
	if (c->reply.code == 421)
		client_fail_reply(c, c->state == ST_TOKEN ? PHASE_AUTH : PHASE_MAIL);
	else
		client_fail_trouble(c, ROAD_GARBAGE, "a reply that nothing asked for");
}

/* What a complete reply means in each state. */
static void on_reply(struct client *c)
{
	switch (c->state) {
	case ST_BANNER:
		on_banner(c);
		break;
	case ST_EHLO:
	case ST_EHLO_TLS:
		on_ehlo_reply(c);
		break;
	case ST_STARTTLS:
		if (c->reply.code == 220)
			client_enter(c, ST_TLS);
		else
			client_fail_reply(c, PHASE_STARTTLS);
		break;
	case ST_AUTH:
		client_on_auth_reply(c);
		break;
	case ST_ENVELOPE:
		client_on_envelope_reply(c);
		break;
	case ST_CONTENT:
		client_on_early_reply(c);
		break;
	case ST_FINAL:
		client_on_final_reply(c);
		break;
	case ST_RSET:
		on_rset_reply(c);
		break;
	case ST_IDLE:
		/* 421: the upstream closes an idle connection. Anything else would be taken for the answer to
		 * the next command. */
		client_end(c);
		break;
	case ST_QUIT:
		if (c->reply.code == 421)
			client_end(c);
		break;
	default:
		on_unasked_reply(c);
	}
}

static void on_line(struct client *c, struct str line)
{
	switch (reply_feed(&c->reply, line)) {
	case REPLY_MORE:
		break;
	case REPLY_DONE:
		on_reply(c);
		reply_clear(&c->reply);
		break;
	case REPLY_GARBAGE:
		client_fail_trouble(c, ROAD_GARBAGE, "the answer is not an SMTP reply");
		break;
	}
}

static void on_input(struct client *c)
{
	struct conn *conn = c->conn;
	struct str line;
	enum conn_line got = CONN_NO_LINE;

	if (c->state == ST_PROXY)
		client_on_proxy_input(c);
	/* A TLS handshake and a new address replace or end the dialogue. */
	while (c->state != ST_OVER && c->state != ST_PROXY && c->state != ST_TLS &&
	       c->state != ST_TLS_IMPLICIT && c->conn == conn) {
		got = conn_read_line(conn, REPLY_LINE_MAX, &line);
		if (got != CONN_LINE)
			break;
		on_line(c, line);
	}
	if (got == CONN_LINE_TOO_LONG && c->state != ST_OVER)
		client_fail_trouble(c, ROAD_GARBAGE, "a reply line without an end");
}

/* A certificate that is not the host's is no fault to be passed by; and each silence costs a minute, in which nobody hears of it
 * and no other upstream is tried: once is enough. */
static bool pass_by_lost(struct client *c, enum road_trouble trouble, const char *text)
{
	struct failure why;

	if ((c->state != ST_BANNER && (c->state != ST_TLS_IMPLICIT || trouble == ROAD_CERTIFICATE)) ||
	    (trouble == ROAD_TIMEOUT && c->has_passed_by))
		return false;
	describe_trouble(c, &why, trouble, text);
	return pass_by(c, &why);
}

static void on_lost(struct client *c, enum road_trouble trouble, const char *text)
{
	if (c->state == ST_CONNECT ? !client_dial_on(c) : !pass_by_lost(c, trouble, text))
		client_fail_trouble(c, trouble, text);
}

static enum road_trouble trouble_of(const struct client *c)
{
	if (conn_error_is_tls(c->conn))
		return strncmp(conn_error(c->conn), "certificate", 11) == 0 ? ROAD_CERTIFICATE : ROAD_TLS;
	return c->state == ST_CONNECT				   ? ROAD_CONNECT
	       : c->state == ST_TLS || c->state == ST_TLS_IMPLICIT ? ROAD_TLS
								   : ROAD_CUT;
}

static void on_timeout(struct client *c)
{
	if (c->state == ST_IDLE)
		client_quit(c);
	else if (c->state == ST_QUIT)
		client_end(c);
	else
		on_lost(c, c->state == ST_CONNECT ? ROAD_CONNECT : ROAD_TIMEOUT, "no answer in time");
}

void client_on_connected(struct client *c)
{
	bool tls_first = upstream_of(c)->tls == UPSTREAM_TLS_IMPLICIT;

	/* Behind a server that was passed by, what it failed at is still to be proved. */
	if (c->step == CLIENT_TCP)
		client_proved(c, tls_first ? CLIENT_TLS : CLIENT_GREETING);
	client_enter(c, tls_first ? ST_TLS_IMPLICIT : ST_BANNER);
}

static void on_tls_ready(struct client *c)
{
	bool tls_first = c->state == ST_TLS_IMPLICIT;

	if (c->step == CLIENT_TLS)
		client_proved(c, tls_first ? CLIENT_GREETING : CLIENT_EHLO);
	client_enter(c, tls_first ? ST_BANNER : ST_EHLO_TLS);
}

/* A message is in hand with each event of its transaction. */
void client_begin_work(const struct client *c)
{
	if (c->attempt != NULL && c->attempt->rehearsal == NULL)
		suspect_begin(spool_envelope(c->attempt->message)->id);
}

static void take_event(struct client *c, enum conn_event event)
{
	switch (event) {
	case CONN_CONNECTED:
		if (upstream_of(c)->proxy != NULL)
			client_enter(c, ST_PROXY);
		else
			client_on_connected(c);
		break;
	case CONN_TLS_READY:
		on_tls_ready(c);
		break;
	case CONN_DATA:
		on_input(c);
		break;
	case CONN_DRAINED:
		if (c->state == ST_CONTENT)
			client_go_on_with_content(c);
		break;
	case CONN_TIMEOUT:
		on_timeout(c);
		break;
	case CONN_CLOSED:
		on_lost(c, ROAD_CUT, "the upstream closed the connection");
		break;
	case CONN_ERROR:
		on_lost(c, trouble_of(c), conn_error(c->conn));
		break;
	}
}

void client_on_conn(void *arg, enum conn_event event)
{
	client_begin_work(arg);
	take_event(arg, event);
	suspect_end();
}

/* --- for the owner --- */

struct client *client_new(struct client_settings *settings, const char *mailbox, client_fn *fn, void *arg)
{
	struct client *c = xcalloc(1, sizeof *c);

	c->settings = settings;
	c->mailbox = mailbox != NULL ? mailbox : settings->upstream->mailbox;
	c->fn = fn;
	c->arg = arg;
	c->host = upstream_name(settings->upstream);
	c->login_end_ms = INT64_MAX;
	c->ended = evtimer_new(settings->base, on_ended, c);
	client_enter(c, ST_RESOLVE);
	return c;
}

void client_send(struct client *c, struct attempt *attempt)
{
	assert(c->state == ST_IDLE && c->attempt == NULL);
	c->attempt = attempt;
	c->attempts++;
	client_begin_work(c);
	client_enter(c, ST_PREPARE);
	suspect_end();
}

void client_quit(struct client *c)
{
	assert(c->state == ST_IDLE);
	client_enter(c, ST_QUIT);
}

void client_abort(struct client *c)
{
	/* What the upstream has all of it may have taken. */
	if (c->state == ST_FINAL)
		client_fail_trouble(c, ROAD_CUT, "mfdrelay was stopped");
	else
		client_break_off(c, "mfdrelay was stopped");
}

bool client_is_idle(const struct client *c)
{
	return c->state == ST_IDLE;
}

bool client_is_stale(const struct client *c)
{
	return c->login_end_ms != INT64_MAX && clock_mono_ms() >= c->login_end_ms;
}

bool client_came_to_login(const struct client *c)
{
	return c->step >= CLIENT_AUTH;
}

bool client_token_was_stale(const struct client *c)
{
	return c->token_was_stale;
}

bool client_is_connecting(const struct client *c)
{
	return c->state < ST_IDLE;
}

const struct failure *client_failure(const struct client *c)
{
	return c->has_failure ? &c->failure : NULL;
}

void client_free(struct client *c)
{
	if (c == NULL)
		return;
	client_end(c);
	event_free(c->ended);
	if (c->turn != NULL)
		event_free(c->turn);
	free(c);
}
