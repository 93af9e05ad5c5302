#include "listener/commands.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/ration.h"
#include "config/config.h"
#include "listener/auth_dialog.h"
#include "listener/policy.h"
#include "listener/say.h"
#include "listener/session_inside.h"
#include "listener/session_tls.h"
#include "listener/storm.h"
#include "listener/strangers.h"
#include "listener/transaction.h"
#include "net/conn.h"
#include "smtp/command.h"
#include "spool/spool.h"

#define UNKNOWN_MAX   10  /* probes by monitors send a few */
#define CHATTER_MAX   20  /* between two messages */
#define REPEATS_MAX   100 /* of a recipient that is there already */
#define RCPT_LIST_MAX 100 /* addresses in one RCPT */

/* How far the transaction is. */
enum { IN_READY = 1, IN_MAIL = 2, IN_RCPT = 4, ANYWHERE = IN_READY | IN_MAIL | IN_RCPT };

enum {
	CHATTER = 1,	     /* brings no mail nearer */
	LOGGED = 2,	     /* a refusal is logged, with the arguments */
	CONTENT_FOLLOWS = 4, /* a device that does not wait for the reply sends content next */
};

struct verb {
	const char *name;
	const char *(*run)(struct session *s, struct str args);
	unsigned allowed, flags;
	const char *otherwise; /* the reply where it is not allowed */
};

static const char content_unasked[] = "421 4.7.0 No command followed the refused DATA, closing";

/* Why the present command is refused, where the log says more than the reply. */
static struct err detail;

/* Whether its refusal was logged so often that it is not any more. */
static bool unlogged;

static void forget_mail(struct session *s)
{
	transaction_drop(s->mail);
	s->mail = NULL;
}

/* --- greeting --- */

/* Devices name themselves as they like, or not at all: it is shown, and decides nothing. */
static void set_helo(struct session *s, struct str name)
{
	size_t n = name.n < HELO_MAX ? name.n : HELO_MAX;

	free(s->helo);
	s->helo = NULL;
	if (n == 0)
		return;
	s->helo = xcalloc(n + 1, 1);
	for (size_t i = 0; i < n; i++)
		s->helo[i] = name.p[i] >= ' ' && name.p[i] <= '~' ? name.p[i] : '?';
}

void commands_forget(struct session *s)
{
	auth_dialog_reset(s);
	forget_mail(s);
	set_helo(s, (struct str){"", 0});
	s->extended = false;
}

static bool offers_starttls(const struct session *s)
{
	return !s->tls && session_tls_context(s) != NULL;
}

static const char *on_starttls(struct session *s, struct str args)
{
	if (!listen_has_tls(s->listen))
		return "502 5.5.1 Not offered here";
	if (args.n > 0)
		return "501 5.5.4 STARTTLS takes no argument";
	if (s->tls)
		return "503 5.5.1 TLS is on already";
	if (!offers_starttls(s))
		return "454 4.7.0 The relay has no certificate at the moment: try again later";
	if (!session_tls_take_turn(s))
		return "454 4.7.0 TLS is begun too often (limits.handshakes_per_second): try again later";
	forget_mail(s);
	s->state = S_TLS;
	return "220 2.0.0 Ready to start TLS";
}

static const char *on_helo(struct session *s, struct str args)
{
	forget_mail(s);
	set_helo(s, args);
	s->extended = false;
	return say("250 %s", s->env->config->hostname);
}

static const char *on_ehlo(struct session *s, struct str args)
{
	const struct config *config = s->env->config;
	bool offers_auth = policy_offers_auth(s);
	/* Outlook Express 4 and Exchange 5.0 look for the second form, from before RFC 2554. */
	bool offers_old_auth = offers_auth && s->tls_min < TLS_MIN_1_2;

	forget_mail(s);
	set_helo(s, args);
	s->extended = true;
	return say("250-%s\r\n250-SIZE %" PRIu64 "\r\n250-8BITMIME\r\n%s250%sENHANCEDSTATUSCODES%s%s",
	    config->hostname, policy_size_limit(s).bytes, offers_starttls(s) ? "250-STARTTLS\r\n" : "",
	    offers_auth ? "-" : " ", offers_old_auth ? "\r\n250-AUTH=LOGIN PLAIN" : "",
	    offers_auth ? "\r\n250 AUTH LOGIN PLAIN" : "");
}

/* --- who may send, and where to --- */

static const char *refuse_args(enum args_result result, const char *what, const char *bad_address)
{
	switch (result) {
	case ARGS_OK:
		return NULL;
	case ARGS_SYNTAX:
		return say("501 5.5.4 Syntax: %s:<address>", what);
	case ARGS_ADDRESS:
		return bad_address;
	case ARGS_NOT_ASCII: /* RFC 6531 section 3.5, where SMTPUTF8 is not offered */
		return "553 5.6.7 An address with letters beyond ASCII: SMTPUTF8 is not offered, correct the "
		       "address";
	case ARGS_TOO_MANY:
		return say("452 4.5.3 More than %d recipients in one RCPT: the others in further ones",
		    RCPT_LIST_MAX);
	case ARGS_RELAYED:
		return "550 5.7.1 Addresses with % or ! in the local part are not relayed";
	}
	return NULL;
}

static const char *refuse_size(uint64_t announced, struct size_limit limit)
{
	if (announced <= limit.bytes)
		return NULL;
	return say("552 5.3.4 Message of %" PRIu64 " bytes is larger than %s%s (%" PRIu64 " bytes)",
	    announced, limit.key, limit.of, limit.bytes);
}

static const char *refuse_disk(int error)
{
	char *reply = transaction_disk_reply(error);
	const char *said = say("%s", reply);

	free(reply);
	return said;
}

static const char *refuse_no_room(const struct session *s, uint64_t bytes)
{
	if (spool_has_room(s->env->spool, bytes, &detail))
		return NULL;
	return refuse_disk(errno);
}

/* One that goes on trying would fill the log with it. */
static const char *refuse_storm(const struct session *s)
{
	const struct device *device = policy_device(s);
	int64_t left_ms;
	bool first;

	if (device == NULL || !storm_stops(s->env->storms, device, clock_mono_ms(), &left_ms, &first))
		return NULL;
	unlogged = !first;
	count(&s->env->counters->storm_deferrals, 1);
	return say("452 4.3.1 %s has sent %d times its devices.messages_per_hour (%u): try again in %u "
		   "minutes",
	    device->name, STORM_STOP_FACTOR, device->messages_per_hour,
	    (unsigned)((left_ms + 59999) / 60000));
}

/* Some devices go on without a login when theirs fails, and nobody sees it. */
static void note_downgrade(struct session *s)
{
	const struct device *device = policy_device(s);

	if (!s->login_missed || s->login != NULL || device == NULL)
		return;
	s->login_missed = false;
	log_event(LOG_LEVEL_WARNING, "login-skipped", kv_str("peer", s->peer_text),
	    kv_str("device", device->name),
	    kv_str("why", "its AUTH has failed, and it sends without a login, as its entry allows"),
	    kv_str("remedy",
		"correct user and password in the device; or auth = \"required\" in its entry of devices"));
}

/* What a device does that finds no AUTH it knows (Canon), or that nobody has set up for one. */
static void explain_missing_login(const struct session *s)
{
	if (!policy_offers_auth(s))
		err_set(&detail, "it cannot log in: %s", policy_refuse_auth(s));
	else if (s->login_missed)
		err_set(&detail, "its AUTH has failed, and it goes on without a login");
	else
		err_set(&detail, "AUTH LOGIN PLAIN is offered, and the device has not used it: it is not set "
				 "up to log in, "
				 "or knows neither");
}

/* A device need not have said HELO: some never do. */
static const char *on_mail(struct session *s, struct str args)
{
	struct mail_args mail;
	const char *refusal = session_needs_tls(s) ? session_tls_needed : NULL;

	if (refusal == NULL)
		refusal = refuse_args(
		    command_mail(args, &mail), "MAIL FROM", "501 5.1.7 That is no sender's address");
	if (refusal == NULL)
		refusal = policy_refuse_sender(s, &mail.sender);
	if (refusal == NULL)
		refusal = refuse_storm(s);
	if (refusal == NULL)
		refusal = refuse_size(mail.has_size ? mail.size : 0, policy_size_limit(s));
	if (refusal == NULL)
		refusal = refuse_no_room(s, mail.has_size ? mail.size : 0);
	if (refusal != NULL)
		return refusal;
	note_downgrade(s);
	s->stored[0] = '\0';
	s->mail = transaction_new(s->env, &mail.sender, mail.has_size ? mail.size : 0, policy_size_limit(s));
	s->last_message = s->env->retiring;
	return "250 2.1.0 Ok";
}

static bool is_among(const struct address *address, const struct address *others, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (address_is(address, others[i].text))
			return true;
	return false;
}

/* All or none: a device that puts several addresses into one command understands one answer. */
static const char *refuse_recipients(
    const struct session *s, const struct address *found, size_t n, struct size_limit *limit)
{
	const struct config *config = s->env->config;
	size_t total = transaction_recipients(s->mail);

	for (size_t i = 0; i < n; i++) {
		const char *refusal = policy_refuse_recipient(s, &found[i]);
		if (refusal != NULL)
			return refusal;
		if (config_route(config, policy_device_name(s), found[i].text) < 0)
			return say("550 5.7.1 No route for %s (see routes in mfdrelay.conf)", found[i].text);
		*limit = policy_size_limit_for(s, found[i].text, *limit);
		if (!transaction_has(s->mail, &found[i]) && !is_among(&found[i], found, i))
			total++;
	}
	if (total > config->limits.recipients)
		return say(
		    "452 4.5.3 More recipients than limits.recipients (%u)", config->limits.recipients);
	return refuse_size(transaction_announced(s->mail), *limit);
}

/* RFC 5321 section 4.5.1: whoever looks after the relay. Returns the refusal where nobody is known to do so. */
static const char *name_postmaster(const struct session *s, struct address *found, size_t n)
{
	const char *report_to = s->env->config->report_to;

	for (size_t i = 0; i < n; i++) {
		if (address_domain(&found[i])[0] != '\0')
			continue;
		if (report_to == NULL || !address_parse(str_of(report_to), &found[i]))
			return "550 5.1.1 postmaster is nobody here: set report_to in mfdrelay.conf";
	}
	return NULL;
}

static void note_stranger(const struct session *s, struct str args)
{
	static struct address found[RCPT_LIST_MAX];
	size_t n = 0;
	bool is_address = command_rcpt(args, found, RCPT_LIST_MAX, &n) == ARGS_OK && n > 0;

	err_set(&detail, "to let it in: mfdrelay allow %s --name NAME", s->peer_text);
	strangers_note(s->env->strangers, &s->peer, s->helo, transaction_sender(s->mail),
	    is_address ? found[0].text : "");
}

static const char *on_rcpt(struct session *s, struct str args)
{
	static struct address found[RCPT_LIST_MAX];
	size_t n = 0;
	struct size_limit limit = transaction_limit(s->mail);
	const char *refusal = policy_refuse_peer(s);

	if (refusal != NULL && s->place != NULL)
		explain_missing_login(s);
	else if (refusal != NULL)
		note_stranger(s, args);

	if (refusal == NULL)
		refusal = refuse_args(command_rcpt(args, found, RCPT_LIST_MAX, &n), "RCPT TO",
		    "501 5.1.3 That is no recipient's address");
	if (refusal == NULL)
		refusal = name_postmaster(s, found, n);
	if (refusal == NULL)
		refusal = refuse_recipients(s, found, n, &limit);
	if (refusal != NULL) {
		count(&s->env->counters->recipients_refused, 1);
		return refusal;
	}
	transaction_set_limit(s->mail, limit);
	for (size_t i = 0; i < n; i++) {
		if (!transaction_has(s->mail, &found[i]))
			transaction_add(s->mail, &found[i]);
		else if (++s->repeats > REPEATS_MAX)
			return "421 4.7.0 The same recipients over and over, closing";
	}
	return "250 2.1.5 Ok";
}

static const char *on_data(struct session *s, struct str args)
{
	struct origin origin = {
	    .device = policy_device(s),
	    .listen = s->listen,
	    .user = s->login != NULL ? s->login->user : "",
	    .peer = s->peer_text,
	    .helo = s->helo != NULL ? s->helo : "",
	    .extended = s->extended,
	    .tls_version = conn_tls_version(s->conn),
	    .tls_cipher = conn_tls_cipher(s->conn),
	    .bare_newlines = s->listen->bare_newlines,
	};
	const char *refusal = refuse_no_room(s, transaction_announced(s->mail));

	(void)args;
	if (refusal != NULL)
		return refusal;
	if (transaction_begin(s->mail, &origin, &detail) < 0)
		return refuse_disk(errno);
	s->state = S_DATA;
	return "354 End with <CR><LF>.<CR><LF>";
}

/* --- the rest --- */

static const char *on_rset(struct session *s, struct str args)
{
	(void)args;
	forget_mail(s);
	return "250 2.0.0 Ok";
}

static const char *on_noop(struct session *s, struct str args)
{
	(void)s;
	(void)args;
	return "250 2.0.0 Ok";
}

static const char *on_quit(struct session *s, struct str args)
{
	(void)s;
	(void)args;
	return "221 2.0.0 Bye";
}

static const char *on_vrfy(struct session *s, struct str args)
{
	(void)s;
	(void)args;
	return "252 2.0.0 Send mail to find out";
}

static const char *on_help(struct session *s, struct str args)
{
	(void)s;
	(void)args;
	return "214 2.0.0 Commands: HELO EHLO STARTTLS AUTH MAIL RCPT DATA RSET NOOP VRFY QUIT; the rest is "
	       "in "
	       "mfdrelay(8)";
}

static const char *on_not_offered(struct session *s, struct str args)
{
	(void)s;
	(void)args;
	return "502 5.5.1 Not offered here";
}

static const struct verb verbs[] = {
    {"EHLO", on_ehlo, ANYWHERE, CHATTER, NULL},
    {"HELO", on_helo, ANYWHERE, CHATTER, NULL},
    {"MAIL", on_mail, IN_READY, LOGGED, "503 5.5.1 A message has been begun: RSET to begin anew"},
    {"RCPT", on_rcpt, IN_MAIL | IN_RCPT, LOGGED, "503 5.5.1 MAIL first"},
    {"DATA", on_data, IN_RCPT, LOGGED | CONTENT_FOLLOWS, "503 5.5.1 No recipient has been accepted"},
    {"AUTH", auth_dialog_begin, IN_READY, 0, "503 5.5.1 Not within a message"},
    {"RSET", on_rset, ANYWHERE, CHATTER, NULL},
    {"NOOP", on_noop, ANYWHERE, CHATTER, NULL},
    {"QUIT", on_quit, ANYWHERE, 0, NULL},
    {"VRFY", on_vrfy, ANYWHERE, CHATTER, NULL},
    {"HELP", on_help, ANYWHERE, CHATTER, NULL},
    {"STARTTLS", on_starttls, ANYWHERE, 0, NULL},
    {"BDAT", on_not_offered, ANYWHERE, CONTENT_FOLLOWS, NULL},
    {"EXPN", on_not_offered, ANYWHERE, 0, NULL},
    {"ETRN", on_not_offered, ANYWHERE, 0, NULL},
    {"TURN", on_not_offered, ANYWHERE, 0, NULL},
    {"SEND", on_not_offered, ANYWHERE, 0, NULL},
    {"SOML", on_not_offered, ANYWHERE, 0, NULL},
    {"SAML", on_not_offered, ANYWHERE, 0, NULL},
    {"XEXCH50", on_not_offered, ANYWHERE, CONTENT_FOLLOWS, NULL},
};

static const struct verb *verb_find(struct str name)
{
	for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
		if (str_ieq(name, verbs[i].name))
			return &verbs[i];
	}
	return NULL;
}

static unsigned phase_of(const struct session *s)
{
	if (s->mail == NULL)
		return IN_READY;
	return transaction_recipients(s->mail) == 0 ? IN_MAIL : IN_RCPT;
}

/* A web page that makes a browser talk to port 25 (the cross-protocol attack), or a lost health check. */
static bool is_http(struct str verb)
{
	static const char *const methods[] = {
	    "GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "CONNECT", "PATCH", "TRACE", "PRI"};

	for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
		if (str_ieq(verb, methods[i]))
			return true;
	}
	return false;
}

/* The scan may be cut short, and its 250 was given already: somebody must hear of it. */
static void log_garbage(const struct session *s)
{
	log_event(LOG_LEVEL_WARNING, "garbage-after-message", kv_str("id", s->stored),
	    kv_str("peer", s->peer_text),
	    kv_str("cause",
		"what came after the message is no command: a device that does not double a dot at "
		"the beginning of a line ends its message at a line of one dot, and the rest is lost"),
	    kv_str("remedy",
		"look whether the message is complete; if it is not, the device needs other firmware, "
		"or must send the text base64 encoded"));
}

/* Whether a line is logged that strangers can bring about as often as they like. Who is listed, or has logged in, is
 * always heard. */
static bool is_heard(const struct session *s, uint64_t *withheld)
{
	*withheld = 0;
	if (s->place != NULL || s->login != NULL)
		return true;
	return quiet_lets(&session_quiet(s)->refused, withheld, clock_mono_ms());
}

static const char *on_unknown(struct session *s, struct str verb)
{
	uint64_t withheld;

	if (s->commands == 1 && is_http(verb)) {
		if (is_heard(s, &withheld))
			log_event(LOG_LEVEL_NOTICE, "not-smtp", kv_str("peer", s->peer_text),
			    kv_bytes("request", verb), kv_u64("withheld", withheld));
		s->state = S_ENDED;
		return NULL;
	}
	if (s->content_refused)
		return content_unasked;
	if (s->stored[0] != '\0') {
		log_garbage(s);
		return "421 4.7.0 No command followed the message, closing";
	}
	if (++s->unknown > UNKNOWN_MAX)
		return "421 4.7.0 Too many unknown commands, closing";
	return "500 5.5.2 Unknown command";
}

static void log_refusal(const struct session *s, const struct verb *verb, struct str args, const char *reply)
{
	const struct device *device = policy_device(s);
	const struct kv none = {0};
	const struct kv why = detail.text[0] != '\0' ? kv_str("why", detail.text) : none;
	uint64_t withheld;

	if (!is_heard(s, &withheld))
		return;
	log_event(LOG_LEVEL_WARNING, "refused", kv_str("peer", s->peer_text),
	    kv_str("device", device != NULL ? device->name : ""), kv_str("helo", s->helo),
	    kv_str("from", s->mail != NULL ? transaction_sender(s->mail) : ""), kv_str("command", verb->name),
	    kv_bytes("args", args), kv_str("reply", reply), withheld > 0 ? kv_u64("withheld", withheld) : why,
	    withheld > 0 ? why : none);
}

static bool is_refusal(const char *reply)
{
	return reply != NULL && (reply[0] == '4' || reply[0] == '5');
}

/* What came before the refusal could be read was said by somebody who does not wait for replies: it is content,
 * even where it looks like commands. */
static const char *close_on_content(struct session *s, const char *refusal)
{
	char first[SESSION_REPLY_MAX];

	snprintf(first, sizeof first, "%s", refusal);
	s->state = S_ENDED;
	return say("%s\r\n%s", first, content_unasked);
}

static const char *run_verb(struct session *s, const struct verb *verb, struct str args)
{
	bool allowed = (verb->allowed & phase_of(s)) != 0;
	const char *reply;

	if ((verb->flags & CHATTER) && ++s->chatter > CHATTER_MAX)
		return "421 4.7.0 Too many commands without a message, closing";
	detail.text[0] = '\0';
	unlogged = false;
	reply = allowed ? verb->run(s, args) : verb->otherwise;
	if (allowed && is_refusal(reply) && (verb->flags & LOGGED) && !unlogged)
		log_refusal(s, verb, args, reply);
	s->content_refused = is_refusal(reply) && (verb->flags & CONTENT_FOLLOWS);
	return s->content_refused && conn_available(s->conn) > 0 ? close_on_content(s, reply) : reply;
}

const char *commands_run(struct session *s, struct str line)
{
	struct command command = command_split(line);
	const struct verb *verb = verb_find(command.verb);
	static char goodbye[SESSION_REPLY_MAX];

	if (command.verb.n == 0)
		return ++s->chatter > CHATTER_MAX ? "421 4.7.0 Too many empty lines, closing" : NULL;
	s->commands++;
	if (session_is_leaving(s) && (verb == NULL || verb->run != on_quit))
		return session_goodbye(s, goodbye, sizeof goodbye);
	return verb != NULL ? run_verb(s, verb, command.args) : on_unknown(s, command.verb);
}
