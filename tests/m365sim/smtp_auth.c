/* AUTH: XOAUTH2 with and without initial response, and LOGIN. */
#include "smtp_session.h"

#include <fnmatch.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "log.h"
#include "options.h"
#include "play.h"
#include "stats.h"
#include "text.h"
#include "tokens.h"

#define FAILURES_MAX 3 /* then the connection is closed */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct session *authenticated; /* the youngest first */

static void remember(struct session *session)
{
	long now = 0;
	struct session *other;

	pthread_mutex_lock(&lock);
	session->next_authenticated = authenticated;
	authenticated = session;
	for (other = authenticated; other; other = other->next_authenticated)
		now++;
	pthread_mutex_unlock(&lock);
	stats_add(STAT_authenticated_now, 1);
	stats_raise(STAT_authenticated_peak, now);
}

void smtp_auth_forget(struct session *session)
{
	struct session **at;
	bool found;

	pthread_mutex_lock(&lock);
	for (at = &authenticated; *at && *at != session; at = &(*at)->next_authenticated)
		;
	found = *at != NULL;
	if (found)
		*at = session->next_authenticated;
	pthread_mutex_unlock(&lock);
	if (found)
		stats_add(STAT_authenticated_now, -1);
}

unsigned smtp_auth_rank(const struct session *session)
{
	const struct session *other;
	unsigned older = 0;

	pthread_mutex_lock(&lock);
	for (other = session->next_authenticated; other; other = other->next_authenticated)
		older += !strcasecmp(other->user, session->user);
	pthread_mutex_unlock(&lock);
	return older;
}

/* Google's form of saying no; Exchange is not known for it, clients must bear it. */
static void say_no_in_json(struct session *session)
{
	static const char json[] = "{\"status\":\"400\",\"schemes\":\"Bearer\","
				   "\"scope\":\"https://outlook.office365.com/.default\"}";
	char encoded[sizeof(json) * 2], line[SMTP_AUTH_LINE + 1];
	size_t n;

	text_base64(encoded, json, sizeof(json) - 1, false);
	session_reply(session, "334 %s", encoded);
	session_line(session, line, sizeof(line), &n, true);
}

/* Before a 535: count it, and by a switch the JSON. */
static void before_refusal(struct session *session, const char *user)
{
	struct fault fault;

	stats_add(STAT_auth_failed, 1);
	if (++session->auth_failures >= FAILURES_MAX)
		session->over = true;
	if (faults_take(session->connection->front, STAGE_AUTH, user, ACTION_BIT(ACTION_JSON_334), &fault))
		say_no_in_json(session);
}

static void accept_user(struct session *session, const char *user, const char *mechanism)
{
	struct fault fault;

	if (faults_take(session->connection->front, STAGE_AUTH, user, ACTION_STEPS, &fault)) {
		if (fault.action == ACTION_REPLY && fault.text[0] > '3')
			before_refusal(session, user);
		if (!session_apply(session, &fault))
			return;
	}
	snprintf(session->user, sizeof(session->user), "%s", user);
	session->mechanism = mechanism;
	stats_add(STAT_auth_ok, 1);
	remember(session);
	session_reply(session, "235 2.7.0 Authentication successful");
}

static void refuse_user(struct session *session, const char *user, const char *sentence, const char *why)
{
	char trailer[SESSION_TRAILER];

	log_event(front_name(session->connection->front), session->connection->number, "refused '%.200s': %s",
	    user, why);
	before_refusal(session, user);
	if (session_step(session, STAGE_AUTH, user))
		session_reply(
		    session, "535 %s %s", sentence, session_trailer(session, trailer, sizeof(trailer)));
}

/* Send a challenge and read the answer's base64. Returns the decoded, NUL-terminated bytes, to be freed, or
 * NULL: answered. */
static char *ask(struct session *session, const char *challenge, size_t *n)
{
	char *line = text_alloc(SMTP_AUTH_LINE + 1), *value = NULL;
	long length;

	session_reply(session, "334 %s", challenge);
	switch (session_line(session, line, SMTP_AUTH_LINE + 1, n, true)) {
	case LINE_END:
		break;
	case LINE_TOO_LONG:
		stats_add(STAT_command_too_long, 1);
		session_reply(session, "500 5.5.2 line too long");
		break;
	case LINE_OK:
		value = text_alloc(*n + 1);
		length = strcmp(line, "*") ? text_base64_decode(value, line, *n, false) : -1;
		if (length >= 0) {
			*n = (size_t)length;
			break;
		}
		free(value);
		value = NULL;
		stats_add(STAT_auth_failed, 1);
		session_reply(session, strcmp(line, "*") ? "501 5.5.2 Cannot decode response"
							 : "501 5.7.0 Authentication cancelled");
	}
	free(line);
	return value;
}

/* user=MAILBOX^Aauth=Bearer TOKEN^A^A; cuts it up in place. */
static bool split_xoauth2(char *text, size_t n, char **user, char **token)
{
	char *end;

	if (n < 8 || strncmp(text, "user=", 5) != 0 || memcmp(text + n - 2, "\1\1", 2) != 0)
		return false;
	text[n - 2] = '\0';
	*user = text + 5;
	end = strchr(*user, '\1');
	if (!end || strncasecmp(end + 1, "auth=Bearer ", 12) != 0)
		return false;
	*end = '\0';
	*token = end + 13;
	return true;
}

static void check_xoauth2(struct session *session, char *text, size_t n)
{
	static const char plain_no[] = "5.7.3 Authentication unsuccessful";
	const struct options *options = session->connection->options;
	struct fault valid = {0};
	enum token_check check;
	char *user, *token;

	if (!split_xoauth2(text, n, &user, &token)) {
		refuse_user(session, "", plain_no, "malformed XOAUTH2 string");
		return;
	}
	faults_take(session->connection->front, STAGE_TOKENS, NULL, ACTION_BIT(ACTION_VALID_FOR), &valid);
	check = token_check(token, strlen(token), options->play->audience, valid.number);
	if (check != TOKEN_GOOD)
		refuse_user(session, user, plain_no, token_check_text(check));
	else if (fnmatch(options->mailbox, user, FNM_CASEFOLD) != 0)
		refuse_user(session, user, plain_no, "the app has no rights on this mailbox");
	else
		accept_user(session, user, "XOAUTH2");
}

static void auth_xoauth2(struct session *session, const char *initial)
{
	size_t n = initial ? strlen(initial) : 0;
	char *text;
	long length;

	if (!initial) {
		text = ask(session, "", &n);
		if (text)
			check_xoauth2(session, text, n);
		free(text);
		return;
	}
	text = text_alloc(n + 1);
	length = strcmp(initial, "=") ? text_base64_decode(text, initial, n, false) : 0;
	check_xoauth2(session, text, length > 0 ? (size_t)length : 0);
	free(text);
}

static void check_login(struct session *session, const char *user, const char *password)
{
	const struct options *options = session->connection->options;

	if (!options->basic_user)
		refuse_user(session, user,
		    "5.7.139 Authentication unsuccessful, basic authentication is disabled.",
		    "no basic user");
	else if (strcasecmp(user, options->basic_user) != 0 || strcmp(password, options->basic_password) != 0)
		refuse_user(session, user,
		    "5.7.139 Authentication unsuccessful, the user credentials were incorrect.", "password");
	else
		accept_user(session, user, "LOGIN");
}

static void auth_login(struct session *session, const char *initial)
{
	char *user, *password;
	size_t n;

	if (initial) {
		n = strlen(initial);
		user = text_alloc(n + 1);
		if (text_base64_decode(user, initial, n, false) < 0)
			user[0] = '\0';
	} else {
		user = ask(session, "VXNlcm5hbWU6", &n);
	}
	password = user ? ask(session, "UGFzc3dvcmQ6", &n) : NULL;
	if (password)
		check_login(session, user, password);
	free(user);
	free(password);
}

/* The AUTH line of the EHLO answer is the one keyword with arguments; they are kept as "AUTH=NAME". */
bool smtp_is_mechanism_offered(const struct session *session, const char *mechanism)
{
	char keyword[40];

	snprintf(keyword, sizeof(keyword), "AUTH=%.30s", mechanism);
	return session_offers(session, keyword);
}

void smtp_auth(struct session *session, char *arguments)
{
	char trailer[SESSION_TRAILER], *initial = strchr(arguments, ' ');

	if (initial)
		*initial++ = '\0';
	if (!session->stream->ssl) {
		stats_add(STAT_auth_plaintext, 1);
		session_reply(session, "451 5.7.3 STARTTLS is required to send mail %s",
		    session_trailer(session, trailer, sizeof(trailer)));
	} else if (!session->greeted) {
		session_reply(session, "503 5.5.2 Send hello first %s",
		    session_trailer(session, trailer, sizeof(trailer)));
	} else if (session->mechanism || session->has_sender) {
		session_reply(session, "503 5.5.2 Already authenticated or in a transaction");
	} else if (!smtp_is_mechanism_offered(session, arguments)) {
		session_reply(session, "504 5.7.4 Unrecognized authentication type %s",
		    session_trailer(session, trailer, sizeof(trailer)));
	} else if (!strcasecmp(arguments, "XOAUTH2")) {
		auth_xoauth2(session, initial);
	} else {
		auth_login(session, initial);
	}
}
