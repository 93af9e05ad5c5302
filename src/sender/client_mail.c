#include "sender/client_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/text.h"
#include "sender/attempt.h"
#include "sender/outgoing.h"
#include "spool/spool.h"

/* RFC 5321 section 4.5.3.2. */
#define BLOCK_TIMEOUT_MS 180000

#define CHUNK_BYTES	  32768
#define PIECE_EDGE	  40 /* BDAT's line before it, or the dot's behind it */
#define OUTPUT_HIGH_WATER 65536
#define PIECES_MAX	  32 /* in one round of the loop */

static const struct envelope *envelope_of(const struct client *c)
{
	const struct attempt *attempt = c->attempt;

	return attempt->rehearsal != NULL ? attempt->rehearsal : spool_envelope(attempt->message);
}

static bool is_rehearsal(const struct client *c)
{
	return c->attempt->rehearsal != NULL;
}

static size_t envelope_commands(const struct client *c)
{
	/* BDAT goes out when the recipients are known, DATA with them. */
	return c->attempt->count + 1 + (c->bdat || is_rehearsal(c) ? 0 : 1);
}

/* A rehearsal tries the sender that it names. */
static const char *sender_of(const struct client *c)
{
	return is_rehearsal(c) ? envelope_of(c)->sender : outgoing_sender(c->outgoing);
}

static uint64_t bytes_of(const struct client *c)
{
	return is_rehearsal(c) ? envelope_of(c)->content_bytes : outgoing_bytes(c->outgoing);
}

static void add_mail(struct client *c, struct buf *lines)
{
	const struct envelope *envelope = envelope_of(c);
	const struct ehlo *ehlo = &c->ehlo;
	char digits[TEXT_NUMBER_SIZE];

	buf_join(lines, "MAIL FROM:<", sender_of(c), ">", NULL);
	if (ehlo->has_size && !is_rehearsal(c))
		buf_join(lines, " SIZE=", text_of_number(digits, bytes_of(c)), NULL);
	buf_join(lines, envelope->has_8bit && ehlo->eightbitmime ? " BODY=8BITMIME" : "", "\r\n", NULL);
}

static void add_envelope_command(struct client *c, size_t i, struct buf *lines)
{
	const struct attempt *t = c->attempt;

	if (i == 0)
		add_mail(c, lines);
	else if (i <= t->count)
		buf_join(lines, "RCPT TO:<", envelope_of(c)->recipients[t->recipients[i - 1].index], ">\r\n",
		    NULL);
	else
		buf_join(lines, "DATA\r\n", NULL);
}

/* With PIPELINING everything at once (RFC 2920), in one write; else one after the other. */
static void send_envelope(struct client *c)
{
	size_t until = c->ehlo.pipelining ? envelope_commands(c) : c->answered + 1;
	struct buf lines = {0};

	while (c->sent < until)
		add_envelope_command(c, c->sent++, &lines);
	conn_write(c->conn, lines.p, lines.n);
	buf_free(&lines);
	conn_set_timeout(c->conn, COMMAND_TIMEOUT_MS);
}

/* The smaller of what the server says and what its kind is known for, or the config gives. 0: none. */
static uint64_t size_limit(const struct client *c)
{
	uint64_t offered = c->ehlo.has_size ? c->ehlo.size : 0, known = upstream_of(c)->limits.message_size;

	if (offered == 0 || known == 0)
		return offered + known;
	return offered < known ? offered : known;
}

void client_refuse(struct client *c, enum road_trouble trouble, const char *text)
{
	struct failure why;

	failure_from_trouble(&why, trouble, text);
	attempt_fail(c->attempt, &why, false);
	c->attempt->unseen = true;
	client_conclude(c);
	/* A round trip, not a recursion: a line of such messages may be long. */
	client_enter(c, ST_RSET);
}

void client_begin_envelope(struct client *c)
{
	uint64_t bytes = bytes_of(c), limit = size_limit(c);
	char text[120];

	c->sent = c->answered = c->accepted = 0;
	/* Each reply is the answer to one command: with one too many, a RCPT's 250 would pass for the content's. */
	if (conn_available(c->conn) > 0) {
		client_fail_trouble(c, ROAD_GARBAGE, "a reply that nothing asked for");
		return;
	}
	if (limit > 0 && bytes > limit) {
		snprintf(text, sizeof text, "the message has %" PRIu64 " bytes, the upstream takes %" PRIu64,
		    bytes, limit);
		client_refuse(c, ROAD_TOO_LARGE, text);
		return;
	}
	c->bdat = c->ehlo.chunking && !c->settings->no_bdat;
	c->mail_refused = false;
	c->step = CLIENT_MAIL;
	c->stuffer = (struct data_stuffer){false, false};
	attempt_reset(c->attempt);
	c->state = ST_ENVELOPE;
	send_envelope(c);
}

/* The attempt has its results. The session is brought back to where the next one can begin, or ends in order where its token was
 * refused. */
static void finish_attempt(struct client *c, enum client_state next)
{
	client_conclude(c);
	c->in_step = c->token_is_refused && c->reply.code != 421;
	if (c->reply.code == 421 || c->token_is_refused)
		client_end(c);
	else
		client_enter(c, next);
}

/* Nobody is left to send to, and no content has been begun. */
static void give_up_envelope(struct client *c)
{
	finish_attempt(c, ST_RSET);
}

static void on_data_reply(struct client *c)
{
	struct failure why;

	if (c->reply.code == 354 && c->accepted > 0) {
		client_enter(c, ST_CONTENT);
	} else if (c->reply.code == 354) {
		/* It wants content for nobody: an empty one ends it (RFC 2920 section 3.1). */
		conn_write(c->conn, ".\r\n", 3);
		client_enter(c, ST_FINAL);
	} else if (c->accepted > 0) {
		client_judge(c, &why, PHASE_DATA);
		attempt_fail(c->attempt, &why, true);
		give_up_envelope(c);
	} else {
		give_up_envelope(c);
	}
}

static void on_recipient_reply(struct client *c, struct recipient_result *recipient)
{
	struct failure why;

	c->step = CLIENT_RCPT;
	/* It says nothing of its own then: an upstream that takes recipients all the same, and a content, must not get one that
	 * is sent again. */
	if (c->mail_refused)
		return;
	if (c->reply.code / 100 == 2) {
		recipient->accepted = true;
		c->accepted++;
		client_proved(c, CLIENT_RCPT);
		return;
	}
	client_judge(c, &why, PHASE_RCPT);
	client_not_proved(c, &why);
	attempt_fail_one(recipient, &why);
}

static void on_mail_reply(struct client *c)
{
	struct failure why;

	if (c->reply.code / 100 == 2) {
		client_proved(c, CLIENT_RCPT);
		return;
	}
	client_judge(c, &why, PHASE_MAIL);
	client_not_proved(c, &why);
	attempt_fail(c->attempt, &why, false);
	c->mail_refused = true;
}

void client_on_envelope_reply(struct client *c)
{
	size_t i = c->answered++;
	size_t count = c->attempt->count;
	struct failure why;

	if (c->reply.code == 421) {
		/* The upstream was closing an idle session as we began to use it. */
		if (i == 0)
			c->answered = 0;
		client_judge(c, &why, i == 0 ? PHASE_MAIL : PHASE_RCPT);
		client_fail(c, &why);
		return;
	}
	if (i == 0)
		on_mail_reply(c);
	else if (i <= count)
		on_recipient_reply(c, &c->attempt->recipients[i - 1]);
	if (i == count + 1)
		on_data_reply(c);
	else if (c->answered < c->sent)
		/* Each has its time (RFC 5321 section 4.5.3.2): a server may take seconds for every recipient. */
		conn_set_timeout(c->conn, COMMAND_TIMEOUT_MS);
	else if (c->mail_refused || (c->answered == count + 1 && (c->accepted == 0 || is_rehearsal(c))))
		give_up_envelope(c);
	else if (c->answered == count + 1 && c->bdat)
		client_enter(c, ST_CONTENT);
	else
		send_envelope(c);
}

/* --- the content --- */

/* The next bytes of the content: how many, 0 only where there is none at all, -1 with errno. What is sent must be what
 * MAIL and BDAT have announced. */
static ssize_t read_content(struct client *c, char *bytes)
{
	if (c->content_left == 0)
		return 0;
	ssize_t n = outgoing_read(c->outgoing, bytes, CHUNK_BYTES);
	if (n == 0 || (n > 0 && (uint64_t)n > c->content_left)) {
		errno = EIO;
		return -1;
	}
	if (n > 0)
		c->content_left -= (uint64_t)n;
	return n;
}

/* A piece is a chunk of the content with the command before the first and the end behind the last: a small message goes
 * out in one write. One process, one loop, one piece at a time: the buffers are shared by all clients. Both return how
 * long the piece is, or -1 with errno. */
static char piece[PIECE_EDGE + 2 * CHUNK_BYTES + PIECE_EDGE];

static ssize_t make_chunked_piece(struct client *c)
{
	int head = 0;

	if (c->content_left == bytes_of(c))
		head = snprintf(piece, PIECE_EDGE, "BDAT %" PRIu64 " LAST\r\n", c->content_left);
	ssize_t n = read_content(c, piece + head);
	return n < 0 ? -1 : head + n;
}

static ssize_t make_stuffed_piece(struct client *c)
{
	static char chunk[CHUNK_BYTES];
	ssize_t n = read_content(c, chunk);

	if (n < 0)
		return -1;
	size_t used = data_stuff(&c->stuffer, chunk, (size_t)n, piece);
	if (c->content_left > 0)
		return (ssize_t)used;
	const char *end = data_stuff_end(&c->stuffer);
	memcpy(piece + used, end, strlen(end));
	return (ssize_t)(used + strlen(end));
}

/* At most 1 MiB at a time: to a near upstream the kernel takes a whole message as fast as it is made, and nothing else may
 * wait for that. */
void client_go_on_with_content(struct client *c)
{
	size_t waits = conn_pending(c->conn);

	for (int i = 0; i < PIECES_MAX && waits <= OUTPUT_HIGH_WATER; i++) {
		ssize_t n = c->bdat ? make_chunked_piece(c) : make_stuffed_piece(c);
		if (n < 0) {
			/* A half-sent message must not end in order: the connection is cut. */
			client_fail_trouble(c, ROAD_SPOOL, outgoing_trouble(errno));
			return;
		}
		waits = conn_write(c->conn, piece, (size_t)n);
		conn_set_timeout(c->conn, BLOCK_TIMEOUT_MS);
		/* CONN_ERROR follows, and finds the content not sent. */
		if (conn_has_failed(c->conn))
			return;
		if (c->content_left == 0) {
			client_enter(c, ST_FINAL);
			return;
		}
	}
	if (waits <= OUTPUT_HIGH_WATER)
		client_next_turn(c);
}

void client_begin_content(struct client *c)
{
	/* Every command has its answer, so this is one too many, and nobody can tell which of them. */
	if (conn_available(c->conn) > 0) {
		client_fail_trouble(c, ROAD_GARBAGE, "a reply came that nothing asked for");
		return;
	}
	c->content_left = bytes_of(c);
	client_go_on_with_content(c);
}

/* Some servers announce CHUNKING and refuse it (502, 503), or count headers otherwise in it (552 5.3.4 Header
 * size). */
static bool bdat_is_refused(const struct client *c)
{
	int code = c->reply.code;

	if (!c->bdat)
		return false;
	return (code >= 500 && code <= 504) ||
	       (code == 552 && strcasestr(c->reply.text, "header size") != NULL);
}

/* Whether such a server skips the content or takes each of its lines for a command can't be told, so no later
 * reply of this connection can be trusted. */
static void fall_back_to_data(struct client *c)
{
	log_event(LOG_LEVEL_WARNING, "bdat-refused", kv_str("upstream", upstream_of(c)->name),
	    kv_str("reply", c->reply.text), kv_str("consequence", "a new connection, and DATA from now on"));
	c->settings->no_bdat = true;
	client_break_off(c, "BDAT was refused");
}

void client_on_final_reply(struct client *c)
{
	struct failure why;

	if (c->accepted == 0) {
		finish_attempt(c, ST_IDLE);
		return;
	}
	if (bdat_is_refused(c)) {
		fall_back_to_data(c);
		return;
	}
	reply_format(c->attempt->reply, sizeof c->attempt->reply, &c->reply);
	if (c->reply.code / 100 != 2) {
		client_judge(c, &why, PHASE_CONTENT);
		attempt_fail(c->attempt, &why, true);
	}
	/* The dot ends a transaction whatever the answer is; of a refused BDAT that is not said (RFC 3030 section 2). */
	finish_attempt(c, c->bdat && c->reply.code / 100 != 2 ? ST_RSET : ST_IDLE);
}

/* A verdict before the content has gone out: whatever it is, the dialogue cannot be brought in step again. */
void client_on_early_reply(struct client *c)
{
	struct failure why;

	if (c->reply.code / 100 == 2 || c->reply.code / 100 == 3) {
		client_fail_trouble(c, ROAD_GARBAGE, "a reply came before the content had been sent");
		return;
	}
	if (bdat_is_refused(c)) {
		fall_back_to_data(c);
		return;
	}
	client_judge(c, &why, PHASE_CONTENT);
	client_fail(c, &why);
}
