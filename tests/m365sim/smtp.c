/* The session: greeting, commands, replies, and the faults between them. */
#include "smtp.h"
#include "smtp_session.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "log.h"
#include "options.h"
#include "play.h"
#include "sim_tls.h"
#include "stats.h"
#include "stop.h"
#include "store.h"
#include "text.h"

#define HOST_NAME "SIM.outlook.office365.com"
#define HUGE_LINE 100000
#define ENDLESS	  (64L * 1024 * 1024)

static const char *who(const struct session *session)
{
	return front_name(session->connection->front);
}

/* --- what the other files use --- */

static void send_huge_line(struct session *session, const char *reply)
{
	char *line = text_alloc(HUGE_LINE + 1);

	memset(line, 'x', HUGE_LINE);
	memcpy(line, reply, 4);
	memcpy(line + HUGE_LINE - 2, "\r\n", 2);
	stream_write(session->stream, line, HUGE_LINE);
	log_event(
	    who(session), session->connection->number, "> %.4s... (%d bytes in one line)", reply, HUGE_LINE);
	free(line);
}

static void log_reply(const struct session *session)
{
	const char *line = session->replied;

	while (*line) {
		size_t n = strcspn(line, "\r");

		log_wire(who(session), session->connection->number, '>', line, n);
		line += n;
		line += *line ? 2 : 0;
	}
}

void session_reply(struct session *session, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(session->replied, sizeof(session->replied), format, args);
	va_end(args);
	if (session->huge_line) {
		session->huge_line = false;
		send_huge_line(session, session->replied);
		return;
	}
	if (session->override[0]) {
		snprintf(session->replied, sizeof(session->replied), "%s", session->override);
		session->override[0] = '\0';
	}
	if (session->half) {
		session->half = false;
		session->replied[strlen(session->replied) / 2] = '\0';
		log_reply(session);
		stream_write(session->stream, session->replied, strlen(session->replied));
		session_cut(session, false);
		return;
	}
	log_reply(session);
	stream_write(session->stream, session->replied, strlen(session->replied));
	stream_write(session->stream, "\r\n", 2);
	if (session->extra[0]) {
		log_wire(
		    who(session), session->connection->number, '>', session->extra, strlen(session->extra));
		stream_write(session->stream, session->extra, strlen(session->extra));
		stream_write(session->stream, "\r\n", 2);
		session->extra[0] = '\0';
	}
}

const char *session_trailer(const struct session *session, char *dst, size_t size)
{
	char now[TEXT_TIME], id[17];

	(void)session;
	snprintf(dst, size, "[SIM.eurprd05.prod.outlook.com %s %s]", text_time_iso(now, text_now_us()),
	    text_random_hex(id, 16));
	return dst;
}

void session_cut(struct session *session, bool reset)
{
	session->over = true;
	session->polite = false;
	session->connection->reset = reset;
	stream_flush(session->stream);
}

void session_stall(struct session *session)
{
	stream_flush(session->stream);
	stop_wait(-1, session->connection->fd, POLLRDHUP);
	session_cut(session, false);
}

/* Until the client has had enough. */
static void reply_endlessly(struct session *session)
{
	static const char line[] = "250-and there is more to say\r\n";
	long sent;

	for (sent = 0; sent < ENDLESS && !session->stream->broken; sent += (long)sizeof(line) - 1)
		stream_write(session->stream, line, sizeof(line) - 1);
	session_cut(session, false);
}

static bool step_reply(struct session *session, const char *text)
{
	snprintf(session->override, sizeof(session->override), "%s", text);
	if (text[0] == '2' || text[0] == '3')
		return true;
	session_reply(session, "%s", "");
	if (!strncmp(text, "421", 3))
		session->over = true;
	return false;
}

bool session_apply(struct session *session, const struct fault *fault)
{
	stream_flush(session->stream);
	faults_wait(fault);
	switch (fault->action) {
	case ACTION_REPLY:
		return step_reply(session, fault->text);
	case ACTION_HUGE_LINE:
		session->huge_line = true;
		return true;
	case ACTION_EXTRA:
		snprintf(session->extra, sizeof(session->extra), "%s", fault->text);
		return true;
	case ACTION_HALF:
		session->half = true;
		return true;
	case ACTION_ENDLESS:
		reply_endlessly(session);
		return false;
	case ACTION_GARBAGE:
		stream_write(session->stream, "\x00\xff\xfe\x13\x37garbage\x80\x81\r\n", 16);
		return false;
	case ACTION_STALL:
		session_stall(session);
		return false;
	case ACTION_CUT:
	case ACTION_RESET:
		session_cut(session, fault->action == ACTION_RESET);
		return false;
	default:
		return true;
	}
}

bool session_step(struct session *session, enum stage stage, const char *subject)
{
	struct fault fault;

	return !faults_take(session->connection->front, stage, subject, ACTION_STEPS, &fault) ||
	       session_apply(session, &fault);
}

enum line session_line(struct session *session, char *dst, size_t size, size_t *n, bool secret)
{
	bool lf_only;
	enum line line = stream_line(session->stream, dst, size, n, &lf_only);

	if (line == LINE_END) {
		session_cut(session, false);
		return line;
	}
	stats_add(STAT_lf_commands, lf_only && line == LINE_OK);
	if (line == LINE_TOO_LONG)
		log_event(
		    who(session), session->connection->number, "< (a line of more than %zu bytes)", size - 1);
	else if (secret)
		log_event(who(session), session->connection->number, "< <%zu bytes>", *n);
	return line;
}

void session_reset(struct session *session)
{
	store_abort(session->incoming);
	session->incoming = NULL;
	json_array_clear(session->mail_parameters);
	json_array_clear(session->recipients);
	json_array_clear(session->recipient_parameters);
	session->has_sender = session->binary = session->eight_bit = session->content_failed = false;
	session->refused = session->answered = false;
	session->sender[0] = '\0';
	session->declared_size = 0;
	session->chunks = 0;
}

bool session_offers(const struct session *session, const char *keyword)
{
	char wanted[64];

	snprintf(wanted, sizeof(wanted), " %.60s ", keyword);
	return strcasestr(session->offered, wanted) != NULL;
}

static void refuse_command(struct session *session, const char *text)
{
	char trailer[SESSION_TRAILER];

	stats_add(STAT_protocol_errors, 1);
	session_reply(session, "%s %s", text, session_trailer(session, trailer, sizeof(trailer)));
}

/* --- hello --- */

static bool is_word_of(const char *list, const char *word)
{
	size_t n = strlen(word);
	const char *at = list;

	while ((at = strcasestr(at, word)) != NULL) {
		if ((at == list || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0'))
			return true;
		at += n;
	}
	return false;
}

static void offer(struct session *session, char *answer, size_t size, const char *line)
{
	size_t n = strlen(answer), m = strlen(session->offered), keyword = strcspn(line, " ");

	snprintf(answer + n, size - n, "\r\n250-%s", line);
	snprintf(session->offered + m, sizeof(session->offered) - m, "%.*s ", (int)keyword, line);
}

static void offer_auth(struct session *session, char *answer, size_t size, const char *without)
{
	static const char *const mechanisms[] = {"LOGIN", "XOAUTH2"};
	char line[64] = "AUTH";
	size_t i;

	for (i = 0; i < 2; i++) {
		size_t n = strlen(line), m = strlen(session->offered);

		if (is_word_of(without, mechanisms[i]))
			continue;
		snprintf(line + n, sizeof(line) - n, " %s", mechanisms[i]);
		snprintf(session->offered + m, sizeof(session->offered) - m, "AUTH=%s ", mechanisms[i]);
	}
	if (strlen(line) > 4)
		offer(session, answer, size, line);
}

static void offer_extensions(struct session *session, char *answer, size_t size)
{
	static const char *const lines[] = {"SIZE", "PIPELINING", "DSN", "ENHANCEDSTATUSCODES", "STARTTLS",
	    "AUTH", "8BITMIME", "BINARYMIME", "CHUNKING", "SMTPUTF8"};
	bool tls = session->stream->ssl != NULL, submission = session->connection->front == FRONT_SMTP;
	char without[FAULT_TEXT_MAX], with[FAULT_TEXT_MAX], keyword[32];
	size_t i;

	faults_texts(session->connection->front, STAGE_EHLO, ACTION_WITHOUT, without, sizeof(without));
	faults_texts(session->connection->front, STAGE_EHLO, ACTION_WITH, with, sizeof(with));
	snprintf(session->offered, sizeof(session->offered), " ");
	for (i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		snprintf(keyword, sizeof(keyword), "%.*s", (int)strcspn(lines[i], " "), lines[i]);
		if (is_word_of(without, keyword) || (tls && !strcmp(keyword, "STARTTLS")))
			continue;
		if (!strcmp(keyword, "SIZE")) {
			snprintf(keyword, sizeof(keyword), "SIZE %llu", play_of(session)->size);
			offer(session, answer, size, keyword);
		} else if (strcmp(keyword, "AUTH") != 0)
			offer(session, answer, size, lines[i]);
		else if (tls && submission)
			offer_auth(session, answer, size, without);
	}
	if (with[0])
		offer(session, answer, size, with);
}

/* RFC 5321 section 4.1.2, Domain, or in brackets an address. */
static bool is_domain(const char *name)
{
	const char *at;
	size_t n;

	if (name[0] == '[')
		return name[strlen(name) - 1] == ']';
	for (at = name;; at += n + 1) {
		n = strcspn(at, ".");
		if (n == 0 || n > 63 || at[0] == '-' || at[n - 1] == '-')
			return false;
		if (!at[n])
			break;
	}
	return strspn(name, "0123456789.") < strlen(name) && !strpbrk(name, "_:/@ \t");
}

static void greet(struct session *session, char *name, bool extended)
{
	char answer[SMTP_REPLY_MAX], *last, *at;

	if (!is_domain(name)) {
		refuse_command(session, "501 5.5.4 Invalid domain name");
		return;
	}
	if (!session_step(session, STAGE_EHLO, name))
		return;
	session_reset(session);
	session->greeted = true;
	session->extended = extended;
	session->offered[0] = '\0';
	snprintf(session->helo, sizeof(session->helo), "%.255s", name);
	snprintf(answer, sizeof(answer), "250-" HOST_NAME " Hello [127.0.0.1]");
	if (extended)
		offer_extensions(session, answer, sizeof(answer));
	for (last = at = answer; (at = strstr(at, "\r\n")) != NULL; last = at)
		at += 2;
	last[3] = ' ';
	session_reply(session, "%s", answer);
}

static void on_ehlo(struct session *session, char *arguments)
{
	greet(session, arguments, true);
}

static void on_helo(struct session *session, char *arguments)
{
	greet(session, arguments, false);
}

/* --- STARTTLS --- */

static SSL *new_tls(struct session *session)
{
	struct fault cert = {0}, version = {0};
	enum identity identity = IDENTITY_GOOD;
	enum front front = session->connection->front;
	SSL *ssl;

	if (faults_take(front, STAGE_HANDSHAKE, NULL, ACTION_BIT(ACTION_CERT), &cert))
		while (strcmp(identity_names[identity], cert.text) != 0)
			identity++;
	faults_take(front, STAGE_HANDSHAKE, NULL, ACTION_BIT(ACTION_TLS_MAX), &version);
	ssl = sim_tls_new(identity, version.text[0] ? version.text : NULL);
	if (front == FRONT_MX)
		sim_tls_ask_client(ssl);
	return ssl;
}

static void start_tls(struct session *session)
{
	char why[200];

	if (stream_start_tls(session->stream, new_tls(session), why, sizeof(why)) < 0) {
		stats_add(STAT_tls_failures, 1);
		log_event(who(session), session->connection->number, "TLS handshake failed: %s", why);
		session_cut(session, false);
		return;
	}
	stats_add(STAT_tls_handshakes, 1);
	log_event(who(session), session->connection->number, "%s %s", SSL_get_version(session->stream->ssl),
	    SSL_get_cipher(session->stream->ssl));
	session_reset(session);
	session->greeted = session->extended = false;
	session->helo[0] = session->offered[0] = '\0';
}

static void on_starttls(struct session *session, char *arguments)
{
	(void)arguments;
	if (session->stream->ssl || (session->extended && !session_offers(session, "STARTTLS"))) {
		refuse_command(session, "503 5.5.2 STARTTLS is not possible here");
		return;
	}
	if (stream_buffered(session->stream) > 0) {
		/* Commands glued behind STARTTLS: never to be run, neither here nor inside. */
		stats_add(STAT_plaintext_after_starttls, 1);
		session_cut(session, false);
		return;
	}
	if (!session_step(session, STAGE_STARTTLS, NULL))
		return;
	session_reply(session, "220 2.0.0 SMTP server ready");
	stream_flush(session->stream);
	if (session->over)
		return;
	if (session_step(session, STAGE_HANDSHAKE, NULL))
		start_tls(session);
	else
		session->over = true;
}

/* --- the transaction --- */

/* Whether mail may be given now; else it has been answered. */
static bool may_send(struct session *session)
{
	if (!session->greeted)
		refuse_command(session, "503 5.5.2 Send hello first");
	else if (session->connection->front == FRONT_MX)
		return true;
	else if (!session->stream->ssl)
		refuse_command(session, "451 5.7.3 STARTTLS is required to send mail");
	else if (!session->mechanism)
		refuse_command(session, "530 5.7.57 Client not authenticated to send mail.");
	else
		return true;
	return false;
}

/* Take "<address>" off *text; what follows are parameters. Returns the address without brackets, or NULL. */
static char *take_path(char **text)
{
	char *start = *text, *end;

	if (*start != '<')
		return NULL;
	end = strchr(start, '>');
	if (!end || (end[1] && end[1] != ' '))
		return NULL;
	*text = end[1] ? end + 2 : end + 1;
	*end = '\0';
	return start + 1;
}

static bool is_mailbox(const char *address)
{
	const char *at = strrchr(address, '@');

	return at && at > address && at[1] && strlen(address) <= 320 && !strchr(address, ' ');
}

/* A parameter is fine only where its keyword was offered. */
static bool take_parameter(struct session *session, const char *parameter, bool of_mail)
{
	static const struct {
		const char *prefix, *keyword;
		bool of_mail;
	} known[] = {{"SIZE=", "SIZE", true}, {"BODY=7BIT", "8BITMIME", true},
	    {"BODY=8BITMIME", "8BITMIME", true}, {"BODY=BINARYMIME", "BINARYMIME", true},
	    {"SMTPUTF8", "SMTPUTF8", true}, {"RET=", "DSN", true}, {"ENVID=", "DSN", true},
	    {"AUTH=", "AUTH", true}, {"NOTIFY=", "DSN", false}, {"ORCPT=", "DSN", false}};
	size_t i;

	for (i = 0; i < sizeof(known) / sizeof(*known); i++) {
		if (known[i].of_mail != of_mail ||
		    strncasecmp(parameter, known[i].prefix, strlen(known[i].prefix)) != 0)
			continue;
		if (!session_offers(session, known[i].keyword))
			stats_add(STAT_unoffered_parameters, 1);
		if (!strncasecmp(parameter, "SIZE=", 5))
			session->declared_size = strtoull(parameter + 5, NULL, 10);
		session->eight_bit |=
		    !strcasecmp(parameter, "BODY=8BITMIME") || !strcasecmp(parameter, "BODY=BINARYMIME");
		session->binary |= !strcasecmp(parameter, "BODY=BINARYMIME");
		return session_offers(session, known[i].keyword);
	}
	return false;
}

/* All parameters into a list; false: one of them is no good. */
static bool take_parameters(struct session *session, char *text, bool of_mail, json_t *list)
{
	char *word, *rest = text;

	while ((word = strsep(&rest, " ")) != NULL) {
		if (!*word)
			continue;
		json_array_append_new(list, json_string(word));
		if (!take_parameter(session, word, of_mail))
			return false;
	}
	return true;
}

static void on_mail(struct session *session, char *arguments)
{
	char *path;

	if (!may_send(session))
		return;
	if (session->has_sender) {
		refuse_command(session, "503 5.5.2 Sender already specified");
		return;
	}
	path = strncasecmp(arguments, "FROM:", 5) ? NULL : arguments + 5;
	arguments = path;
	path = path ? take_path(&arguments) : NULL;
	if (!path || (*path && !is_mailbox(path))) {
		refuse_command(session, "501 5.1.7 Invalid address");
		return;
	}
	if (!take_parameters(session, arguments, true, session->mail_parameters)) {
		session_reset(session);
		refuse_command(session, "501 5.5.4 Invalid arguments");
		return;
	}
	if (session->declared_size > play_of(session)->size) {
		session_reset(session);
		refuse_command(session, "552 5.3.4 Message size exceeds fixed maximum message size");
		return;
	}
	if (!session_step(session, STAGE_MAIL, path)) {
		session_reset(session);
		session->refused = session_offers(session, "PIPELINING");
		return;
	}
	session->has_sender = true;
	snprintf(session->sender, sizeof(session->sender), "%s", path);
	session_reply(session, "250 2.1.0 Sender OK");
}

static void on_rcpt(struct session *session, char *arguments)
{
	char trailer[SESSION_TRAILER];
	const char *refusal;
	json_t *parameters;
	char *path;

	if (!may_send(session))
		return;
	if (!session->has_sender && session->refused) {
		session_reply(session, "503 5.5.2 Need mail command");
		return;
	}
	if (!session->has_sender) {
		refuse_command(session, "503 5.5.2 Need mail command");
		return;
	}
	path = strncasecmp(arguments, "TO:", 3) ? NULL : arguments + 3;
	arguments = path;
	path = path ? take_path(&arguments) : NULL;
	if (!path || !is_mailbox(path)) {
		refuse_command(session, "501 5.1.3 Invalid address");
		return;
	}
	parameters = json_array();
	if (!take_parameters(session, arguments, false, parameters)) {
		refuse_command(session, "501 5.5.4 Invalid arguments");
	} else if ((refusal = play_recipient_refusal(session, path)) != NULL) {
		session->refused = true;
		stats_add(STAT_recipients_refused, 1);
		session_reply(session, "%s %s", refusal, session_trailer(session, trailer, sizeof(trailer)));
	} else if (session_step(session, STAGE_RCPT, path)) {
		json_array_append_new(session->recipients, json_string(path));
		json_array_append(session->recipient_parameters, parameters);
		session_reply(session, "250 2.1.5 Recipient OK");
	} else {
		session->refused = true;
		stats_add(STAT_recipients_refused, 1);
	}
	json_decref(parameters);
}

static void on_rset(struct session *session, char *arguments)
{
	(void)arguments;
	session_reset(session);
	if (session_step(session, STAGE_RSET, NULL))
		session_reply(session, "250 2.0.0 Resetting");
}

static void on_noop(struct session *session, char *arguments)
{
	(void)arguments;
	session_reply(session, "250 2.0.0 OK");
}

static void on_quit(struct session *session, char *arguments)
{
	(void)arguments;
	if (!session_step(session, STAGE_QUIT, NULL))
		return;
	session_reply(session, "221 2.0.0 Service closing transmission channel");
	session->over = true;
}

/* --- the loop --- */

static const struct verb {
	const char *name;
	void (*handle)(struct session *session, char *arguments);
	bool ends_group; /* RFC 2920: nothing may be sent behind it before its reply; DATA and STARTTLS look
			    themselves */
} verbs[] = {
    {"EHLO", on_ehlo, true},
    {"HELO", on_helo, true},
    {"STARTTLS", on_starttls, false},
    {"AUTH", smtp_auth, true},
    {"MAIL", on_mail, false},
    {"RCPT", on_rcpt, false},
    {"DATA", smtp_data, false},
    {"BDAT", smtp_bdat, false},
    {"RSET", on_rset, false},
    {"NOOP", on_noop, true},
    {"QUIT", on_quit, true},
};

static void log_command(const struct session *session, const char *line, size_t n)
{
	if (strncasecmp(line, "AUTH ", 5) == 0) {
		size_t shown = 5 + strcspn(line + 5, " ");

		if (shown < n)
			log_event(who(session), session->connection->number, "< %.*s <%zu bytes>", (int)shown,
			    line, n - shown - 1);
		else
			log_wire(who(session), session->connection->number, '<', line, n);
	} else {
		log_wire(who(session), session->connection->number, '<', line, n);
	}
}

static void check_pipelining(struct session *session, const struct verb *verb)
{
	if (stream_buffered(session->stream) == 0 || verb->handle == smtp_bdat)
		return;
	if (verb->ends_group || !session_offers(session, "PIPELINING"))
		stats_add(STAT_unoffered_pipelining, 1);
}

static void run_command(struct session *session, char *line, size_t n)
{
	char *arguments = line + strcspn(line, " "), unknown[80];
	size_t i;

	log_command(session, line, n);
	if (strlen(line) != n) {
		refuse_command(session, "500 5.3.3 Unrecognized command");
		return;
	}
	if (*arguments)
		*arguments++ = '\0';
	for (i = 0; i < sizeof(verbs) / sizeof(*verbs); i++)
		if (!strcasecmp(line, verbs[i].name)) {
			check_pipelining(session, &verbs[i]);
			verbs[i].handle(session, arguments);
			return;
		}
	snprintf(unknown, sizeof(unknown), "500 5.3.3 Unrecognized command '%.40s'", line);
	refuse_command(session, unknown);
}

static void serve_commands(struct session *session)
{
	char line[SMTP_LINE];
	size_t n;

	while (!session->over) {
		switch (session_line(session, line, sizeof(line), &n, false)) {
		case LINE_END:
			break;
		case LINE_TOO_LONG:
			stats_add(STAT_command_too_long, 1);
			session_reply(session, "500 5.5.2 line too long");
			break;
		case LINE_OK:
			run_command(session, line, n);
		}
	}
}

static void banner(struct session *session)
{
	char now[TEXT_TIME], id[17];

	if (!session_step(session, STAGE_CONNECT, NULL) || !session_step(session, STAGE_BANNER, NULL)) {
		session->over = true;
		return;
	}
	session_reply(session, "220 " HOST_NAME " Microsoft ESMTP MAIL Service ready at %s [%s]",
	    text_time_mail(now, text_now_us()), text_random_hex(id, 16));
}

void smtp_serve(struct connection *connection)
{
	struct session *session = text_alloc(sizeof(*session));

	session->connection = connection;
	session->stream = stream_new(connection->fd);
	session->polite = true;
	session->mail_parameters = json_array();
	session->recipients = json_array();
	session->recipient_parameters = json_array();
	banner(session);
	serve_commands(session);
	smtp_auth_forget(session);
	session_reset(session);
	json_decref(session->mail_parameters);
	json_decref(session->recipients);
	json_decref(session->recipient_parameters);
	stream_free(session->stream, session->polite);
	free(session);
}
