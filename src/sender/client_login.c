#include "sender/client_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "sender/token.h"
#include "smtp/sasl.h"

#define COMMAND_LINE_MAX 512 /* RFC 5321 section 4.5.3.1.4, with CRLF */

static void wipe_answers(struct client *c)
{
	secret_free(&c->answers[0]);
	secret_free(&c->answers[1]);
	c->answer_next = 0;
}

void client_wipe_login(struct client *c)
{
	secret_free(&c->token);
	wipe_answers(c);
}

void client_judge(struct client *c, struct failure *why, enum smtp_phase phase)
{
	failure_from_reply(why, &c->reply, upstream_of(c)->kind, phase);
	if (why->cause->outcome != OUTCOME_A || c->token.n == 0 || c->token_is_refused)
		return;
	c->token_is_refused = true;
	c->token_was_stale = !token_refused(c->settings->tokens, &c->token);
}

static void send_secret_line(struct client *c, const char *before, const struct secret *secret)
{
	struct secret line = {xcalloc(1, strlen(before) + secret->n + 3), strlen(before) + secret->n + 2};

	memcpy(line.bytes, before, strlen(before));
	memcpy(line.bytes + strlen(before), secret->bytes, secret->n);
	memcpy(line.bytes + line.n - 2, "\r\n", 2);
	conn_write(c->conn, line.bytes, line.n);
	secret_free(&line);
}

static const char *login_name(const struct client *c)
{
	return upstream_of(c)->user != NULL ? upstream_of(c)->user : c->mailbox;
}

static void on_token(void *arg, const struct secret *token, const struct failure *why)
{
	struct client *c = arg;

	c->token_wait = NULL;
	if (why != NULL) {
		client_refused(c, why);
		return;
	}
	c->login_end_ms = token_end_ms(c->settings->tokens);
	secret_set(&c->token, (struct str){token->bytes, token->n});
	client_proved(c, CLIENT_AUTH);
	sasl_xoauth2(&c->answers[0], login_name(c), token);
	client_enter(c, ST_AUTH);
}

/* Read the fixed credential, and make its answers for the mechanism the upstream has. */
static void begin_password(struct client *c)
{
	const struct upstream_config *upstream = upstream_of(c);
	struct secret password;
	struct err err;

	if (secret_read(&password, upstream->password, &err) < 0) {
		client_fail_trouble(c, ROAD_SECRET, err.text);
		return;
	}
	if (c->ehlo.auth_plain) {
		sasl_plain(&c->answers[0], upstream->user, &password);
	} else {
		sasl_base64(&c->answers[0], str_of(upstream->user));
		sasl_base64(&c->answers[1], (struct str){password.bytes, password.n});
	}
	secret_free(&password);
	client_enter(c, ST_AUTH);
}

void client_begin_login(struct client *c)
{
	const struct ehlo *ehlo = &c->ehlo;

	if (upstream_of(c)->oauth != NULL) {
		if (!ehlo->auth_xoauth2)
			client_fail_trouble(c, ROAD_NO_AUTH, "AUTH XOAUTH2 is not offered");
		else
			client_enter(c, ST_TOKEN);
	} else if (upstream_of(c)->user != NULL) {
		if (!ehlo->auth_plain && !ehlo->auth_login)
			client_fail_trouble(c, ROAD_NO_AUTH, "neither AUTH PLAIN nor AUTH LOGIN is offered");
		else
			begin_password(c);
	} else {
		c->step = CLIENT_MAIL;
		client_enter(c, ST_IDLE);
	}
}

static const char *mechanism(const struct client *c)
{
	if (upstream_of(c)->oauth != NULL)
		return "XOAUTH2";
	return c->ehlo.auth_plain ? "PLAIN" : "LOGIN";
}

/* The first answer goes with the command where the line fits; LOGIN is asked for each. */
void client_send_auth(struct client *c)
{
	char command[32];
	bool is_login = strcmp(mechanism(c), "LOGIN") == 0;

	int n = snprintf(command, sizeof command, "AUTH %s ", mechanism(c));
	if (!is_login && (size_t)n + c->answers[0].n + 2 <= COMMAND_LINE_MAX) {
		c->answer_next = 1;
		send_secret_line(c, command, &c->answers[0]);
	} else {
		client_send_line(c, "AUTH ", mechanism(c));
	}
}

/* A 334 asks for the next answer; one more than there are answers reports an error as JSON, and wants an
 * empty line before the 535 comes. */
void client_on_auth_reply(struct client *c)
{
	if (c->reply.code == 235) {
		wipe_answers(c);
		client_proved(c, CLIENT_MAIL);
		client_enter(c, ST_IDLE);
	} else if (c->reply.code != 334) {
		client_fail_reply(c, upstream_of(c)->oauth != NULL ? PHASE_AUTH : PHASE_PASSWORD);
	} else if (c->answer_next < 2 && c->answers[c->answer_next].n > 0) {
		send_secret_line(c, "", &c->answers[c->answer_next++]);
	} else if (c->challenge[0] == '\0') {
		sasl_challenge_text(c->challenge, sizeof c->challenge, str_of(c->reply.text));
		if (c->challenge[0] == '\0')
			strcpy(c->challenge, "?");
		conn_write(c->conn, "\r\n", 2);
	} else {
		client_fail_trouble(c, ROAD_GARBAGE, "AUTH does not end");
	}
}

void client_begin_token(struct client *c)
{
	c->step = CLIENT_TOKEN;
	c->token_wait = token_get(c->settings->tokens, on_token, c);
}
