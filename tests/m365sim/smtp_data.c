/* DATA and BDAT: content to the store, and the reply at its end. */
#include "smtp_session.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "log.h"
#include "play.h"
#include "sim_tls.h"
#include "stats.h"
#include "stop.h"
#include "store.h"
#include "text.h"
#include "throttle.h"

#define UNKNOWN_SIZE 100000 /* what per cents are taken of when the client announced nothing */

/* The verdict first, the content afterwards and for nothing. */
static void answer_early(struct session *session, const char *text)
{
	stats_add(STAT_messages_refused, 1);
	session->has_content_fault = false;
	session->answered = true;
	session_reply(session, "%s", text);
	stream_flush(session->stream);
}

static void begin_content(struct session *session, bool stuffed)
{
	const uint64_t actions = ACTION_BIT(ACTION_CUT_AFTER) | ACTION_BIT(ACTION_STALL_AFTER) |
				 ACTION_BIT(ACTION_SLOW) | ACTION_BIT(ACTION_DELAY) | ACTION_BIT(ACTION_CUT) |
				 ACTION_BIT(ACTION_RESET) | ACTION_BIT(ACTION_STALL) |
				 ACTION_BIT(ACTION_REPLY);
	struct fault *fault = &session->content_fault;

	content_init(&session->content, stuffed);
	session->received = 0;
	session->chunks = 0;
	session->incoming = store_begin();
	if (!session->incoming)
		log_event(front_name(session->connection->front), session->connection->number,
		    "can't write to DIR/mail");
	session->has_content_fault =
	    faults_take(session->connection->front, STAGE_CONTENT, session->sender, actions, fault);
	if (!session->has_content_fault)
		return;
	stream_flush(session->stream);
	faults_wait(fault);
	if (fault->action == ACTION_REPLY) {
		answer_early(session, fault->text);
		return;
	}
	if (fault->action == ACTION_CUT || fault->action == ACTION_RESET || fault->action == ACTION_STALL)
		fault->number = 0;
	if (fault->percent) {
		unsigned long long size = session->declared_size ? session->declared_size : UNKNOWN_SIZE;

		fault->number = (long)(size * (unsigned long long)fault->number / 100);
	}
}

/* How much of n bytes may be taken now; the fault has its way when it is none. */
static size_t allowed(struct session *session, size_t n)
{
	const struct fault *fault = &session->content_fault;
	unsigned long long limit = (unsigned long long)fault->number;

	if (!session->has_content_fault || fault->action == ACTION_DELAY)
		return n;
	if (fault->action == ACTION_SLOW) {
		size_t part = limit / 10 ? (size_t)(limit / 10) : 1;

		stop_wait(100, -1, 0);
		return n < part ? n : part;
	}
	if (session->received < limit)
		return n < limit - session->received ? n : (size_t)(limit - session->received);
	log_event(front_name(session->connection->front), session->connection->number,
	    "content stopped after %llu bytes", session->received);
	if (fault->action == ACTION_STALL || fault->action == ACTION_STALL_AFTER)
		session_stall(session);
	else
		session_cut(session, fault->action == ACTION_RESET);
	return 0;
}

static void keep(struct session *session, const char *bytes, size_t n)
{
	session->received += n;
	if (session->received > play_of(session)->size || !session->incoming)
		return;
	if (store_write(session->incoming, bytes, n) < 0) {
		store_abort(session->incoming);
		session->incoming = NULL;
	}
}

/* Read content: of DATA up to its end, of BDAT n bytes. Returns false when the connection ended. */
static bool read_content(struct session *session, unsigned long long n)
{
	char *out = text_alloc(STREAM_BUFFER + 1);
	bool ended = false;

	while (!ended && !session->over && (session->content.stuffed || n > 0)) {
		size_t some = stream_fill(session->stream), out_n, taken;

		if (some == 0) {
			session_cut(session, false);
			break;
		}
		if (!session->content.stuffed && some > n)
			some = (size_t)n;
		some = allowed(session, some);
		if (some == 0)
			break;
		taken =
		    content_take(&session->content, stream_bytes(session->stream), some, out, &out_n, &ended);
		stream_take(session->stream, taken);
		keep(session, out, out_n);
		n -= taken;
	}
	free(out);
	return !session->over;
}

static void count_defects(const struct session *session)
{
	const struct content *content = &session->content;

	stats_add(STAT_bare_lf, content->bare_lf > 0);
	stats_add(STAT_bare_cr, content->bare_cr > 0 || content->state == AFTER_CR);
	stats_add(STAT_nul_bytes, content->nul > 0);
	stats_add(STAT_undeclared_8bit, content->eight_bit > 0 && !session->eight_bit);
	stats_add(STAT_unstuffed_dots, content->unstuffed_dots > 0);
	stats_add(STAT_long_content_lines, content->long_lines > 0);
}

static bool has_bare_ends(const struct session *session)
{
	const struct content *content = &session->content;

	return !session->binary && (content->bare_lf || content->bare_cr || content->state == AFTER_CR);
}

/* A refusal of the message as such, perhaps put together in dst, or NULL. */
static const char *refusal(struct session *session, char *dst, size_t size)
{
	const char *no;

	if (!session->incoming && session->received <= play_of(session)->size)
		return "452 4.3.1 Insufficient system resources";
	if (session->received > play_of(session)->size)
		return "552 5.3.4 Message size exceeds fixed maximum message size";
	if (has_bare_ends(session))
		return "550 5.6.11 SMTPSEND.BareLinefeedsAreIllegal; message contains bare linefeeds, which "
		       "cannot be sent via DATA and receiving system does not support BDAT";
	no = play_message_refusal(session, dst, size);
	return no ? no : throttle_refusal(session);
}

static json_t *text_or_null(const char *text)
{
	json_t *value = text ? json_string(text) : NULL;

	return value ? value : json_null();
}

static json_t *make_envelope(struct session *session, const char *reply)
{
	SSL *ssl = session->stream->ssl;
	char now[TEXT_TIME];
	json_t *envelope = json_object();

	json_object_set_new(envelope, "connection", json_integer((json_int_t)session->connection->number));
	json_object_set_new(envelope, "front", json_string(front_name(session->connection->front)));
	json_object_set_new(envelope, "tls", text_or_null(ssl ? SSL_get_version(ssl) : NULL));
	json_object_set_new(envelope, "cipher", text_or_null(ssl ? SSL_get_cipher(ssl) : NULL));
	json_object_set_new(envelope, "client", text_or_null(ssl ? sim_tls_client_name(ssl) : NULL));
	json_object_set_new(envelope, "helo", text_or_null(session->helo));
	json_object_set_new(envelope, "user", text_or_null(session->mechanism ? session->user : NULL));
	json_object_set_new(envelope, "mechanism", text_or_null(session->mechanism));
	json_object_set_new(envelope, "mail_from", text_or_null(session->sender));
	json_object_set(envelope, "mail_params", session->mail_parameters);
	json_object_set(envelope, "rcpt", session->recipients);
	json_object_set(envelope, "rcpt_params", session->recipient_parameters);
	json_object_set_new(envelope, "verb", json_string(session->content.stuffed ? "DATA" : "BDAT"));
	json_object_set_new(envelope, "chunks", json_integer(session->chunks));
	json_object_set_new(envelope, "received", json_string(text_time_iso(now, text_now_us())));
	json_object_set_new(envelope, "reply", text_or_null(reply));
	return envelope;
}

static void store(struct session *session, const char *reply)
{
	json_t *envelope = make_envelope(session, reply);
	unsigned long long size = session->received;
	unsigned long number = store_commit(session->incoming, envelope);

	session->incoming = NULL;
	json_decref(envelope);
	stats_add(STAT_messages, 1);
	stats_add(STAT_bytes, (long)size);
	log_event(front_name(session->connection->front), session->connection->number,
	    "message %06lu, %llu bytes", number, size);
}

static void queued_reply(struct session *session, char *dst, size_t size)
{
	char id[400], guid[TEXT_GUID];

	if (!content_message_id(&session->content, id, sizeof(id)))
		snprintf(id, sizeof(id), "<%s@SIM>", text_guid(guid));
	if (session->connection->front == FRONT_MX)
		snprintf(dst, size,
		    "250 2.6.0 %s [InternalId=%lu, Hostname=SIM] %llu bytes in 0.100, %llu KB/sec Queued "
		    "mail for delivery",
		    id, session->connection->number, session->received, session->received / 102);
	else
		snprintf(dst, size, "250 2.0.0 OK %s [Hostname=SIM] Queued mail for delivery", id);
}

static void accept_message(struct session *session)
{
	char reply[SMTP_REPLY_MAX];

	queued_reply(session, reply, sizeof(reply));
	if (session->override[0])
		snprintf(reply, sizeof(reply), "%s", session->override);
	/* In its place before the reply: who has seen the 250 finds the message. */
	store(session, reply);
	session_reply(session, "%s", reply);
}

static void finish_message(struct session *session)
{
	enum front front = session->connection->front;
	char text[SMTP_REPLY_MAX / 2];
	const char *no = refusal(session, text, sizeof(text));
	struct fault fault;

	count_defects(session);
	if (no) {
		stats_add(STAT_messages_refused, 1);
		session_reply(session, "%s [Hostname=SIM]", no);
	} else if (faults_take(
		       front, STAGE_FINAL_DOT, session->sender, ACTION_BIT(ACTION_KEEP_CUT), &fault)) {
		store(session, NULL);
		session_cut(session, false);
	} else if (session_step(session, STAGE_FINAL_DOT, session->sender)) {
		accept_message(session);
	} else {
		stats_add(STAT_messages_refused, 1);
	}
	session_reset(session);
}

/* Whether content may come now; else it has been answered. */
static bool ready_for_content(struct session *session)
{
	if (session->has_sender && json_array_size(session->recipients) > 0 && !session->content_failed)
		return true;
	stats_add(STAT_protocol_errors, !session->refused);
	session_reply(session, session->has_sender ? "503 5.5.2 Need rcpt command [Hostname=SIM]"
						   : "503 5.5.2 Need mail command [Hostname=SIM]");
	return false;
}

void smtp_data(struct session *session, char *arguments)
{
	(void)arguments;
	if (stream_buffered(session->stream) > 0)
		stats_add(STAT_early_content, 1);
	if (!ready_for_content(session) || !session_step(session, STAGE_DATA, session->sender))
		return;
	session_reply(session, "354 Start mail input; end with <CRLF>.<CRLF>");
	if (session->over)
		return;
	begin_content(session, true);
	if (!read_content(session, 0))
		return;
	if (session->answered)
		session_reset(session);
	else
		finish_message(session);
}

static bool skip(struct session *session, unsigned long long n)
{
	while (n > 0) {
		size_t some = stream_fill(session->stream);

		if (some == 0) {
			session_cut(session, false);
			return false;
		}
		some = some < n ? some : (size_t)n;
		stream_take(session->stream, some);
		n -= some;
	}
	return true;
}

static bool read_chunk(struct session *session, unsigned long long n)
{
	if (session->has_sender && json_array_size(session->recipients) > 0 && !session->content_failed) {
		if (session->chunks == 0)
			begin_content(session, false);
		session->chunks++;
		return read_content(session, n);
	}
	return skip(session, n);
}

void smtp_bdat(struct session *session, char *arguments)
{
	char *end;
	unsigned long long n = strtoull(arguments, &end, 10);
	bool last = !strcasecmp(end, " LAST"), first = session->chunks == 0;

	if (!session_offers(session, "CHUNKING") || end == arguments || (*end && !last)) {
		stats_add(STAT_protocol_errors, 1);
		session_reply(session, "501 5.5.4 Invalid arguments [Hostname=SIM]");
		/* What follows can't be told from commands any more. */
		session->over = true;
		return;
	}
	if (!read_chunk(session, n))
		return;
	if (session->answered) {
		session_reset(session);
		return;
	}
	if (!ready_for_content(session))
		return;
	if (!session_step(session, STAGE_BDAT, session->sender) ||
	    (first && !session_step(session, STAGE_DATA, session->sender))) {
		stats_add(STAT_messages_refused, 1);
		store_abort(session->incoming);
		session->incoming = NULL;
		session->content_failed = true;
	} else if (last) {
		finish_message(session);
	} else {
		session_reply(session, "250 2.0.0 %llu octets received", n);
	}
}
