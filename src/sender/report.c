#include "sender/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "config/config.h"
#include "sender/identity.h"
#include "smtp/address.h"
#include "smtp/reply.h"
#include "spool/spool.h"

#define QUOTED_MAX 4096 /* bytes of the message that the report quotes: its head; all of a report */

/* Of a report's own id, which nobody could know who wrote what the report quotes. */
#define BOUNDARY "mfdrelay.%s"

struct text {
	char *bytes;
	size_t n, room;
};

/* One line of the report, CRLF added. */
static void put(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(struct text *text, const char *format, ...)
{
	char line[2048];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof line - 2, format, args);
	va_end(args);
	strcat(line, "\r\n");
	size_t n = strlen(line);
	if (text->n + n > text->room) {
		text->room = (text->n + n) * 2;
		text->bytes = xrealloc(text->bytes, text->room);
	}
	memcpy(text->bytes + text->n, line, n);
	text->n += n;
}

static bool can_be_told(const struct config *config, const char *address)
{
	struct address parsed;

	return address_parse(str_of(address), &parsed) && !address_is_useless(address) &&
	       config_route(config, "", address) >= 0;
}

/* Whether it is an address that the relay itself sends as: a mailbox that nobody reads, mostly. */
static bool is_ours(const struct config *config, const char *address)
{
	for (size_t i = 0; i < config->upstream_count; i++) {
		const struct upstream_config *upstream = &config->upstreams[i];

		if (upstream->mailbox != NULL && strcasecmp(upstream->mailbox, address) == 0)
			return true;
		for (size_t k = 0; k < upstream->mailbox_count; k++)
			if (strcasecmp(upstream->mailboxes[k], address) == 0)
				return true;
	}
	return false;
}

const char *report_recipient(const struct config *config, struct spool_message *message)
{
	const struct envelope *envelope = spool_envelope(message);
	const char *report_to = config->report_to;
	char id[SPOOL_ID_MAX + 1];

	if (!spool_report_id(id, envelope->id, spool_state(message)->reports))
		return NULL;
	if (report_to != NULL && !can_be_told(config, report_to))
		report_to = NULL;
	if (envelope->is_report)
		return report_to != NULL && strcasecmp(report_to, envelope->recipients[0]) != 0 ? report_to
												: NULL;
	if (can_be_told(config, envelope->sender) &&
	    (report_to == NULL || !is_ours(config, envelope->sender)))
		return envelope->sender;
	return report_to;
}

/* What the upstream lets us be: the address of the road that the report takes. */
static void put_from(struct text *text, const struct config *config, const char *recipient)
{
	int route = config_route(config, "", recipient);
	const struct upstream_config *upstream = &config->upstreams[config->routes[route].via[0]];

	if (upstream->identity.address != NULL)
		put(text, "From: \"Mail relay %s\" <%s>", config->hostname, upstream->identity.address);
	else
		put(text, "From: \"Mail relay\" <postmaster@%s>", config->hostname);
}

static void put_head(struct text *text, const struct config *config, const struct envelope *envelope,
    const char *id, const char *recipient)
{
	char date[40];

	put_from(text, config, recipient);
	put(text, "To: <%s>", recipient);
	if (envelope->is_report)
		put(text, "Subject: Not delivered: a message, and the report to its sender");
	else
		put(text, "Subject: Not delivered: your message from %s",
		    envelope->device[0] != '\0' ? envelope->device : "a device");
	put(text, "Date: %s", clock_rfc5322(date, sizeof date, clock_wall_ms()));
	put(text, "Message-ID: <%s@%s>", id, config->hostname);
	put(text, "Auto-Submitted: auto-replied");
	put(text, "X-Auto-Response-Suppress: All");
	put(text, "MIME-Version: 1.0");
	put(text, "Content-Type: multipart/report; report-type=delivery-status; boundary=\"" BOUNDARY "\"",
	    id);
	put(text, "Content-Transfer-Encoding: 8bit");
	put(text, "%s", "");
}

static void put_part(struct text *text, const char *id, const char *type, const char *encoding)
{
	put(text, "--" BOUNDARY, id);
	put(text, "Content-Type: %s", type);
	put(text, "Content-Transfer-Encoding: %s", encoding);
	put(text, "%s", "");
}

/* The reason as verdict.c wrote it: reply | cause | who acts | remedy. */
static void put_reason(struct text *text, const char *reason)
{
	static const char *const labels[] = {"Answer", "Cause", "Who acts", "Remedy"};
	const char *end;

	for (int i = 0; i < 4; i++, reason = end + 3) {
		end = strstr(reason, " | ");
		int n = end != NULL ? (int)(end - reason) : (int)strlen(reason);
		if (n > 0)
			put(text, "      %s: %.*s", labels[i], n > 800 ? 800 : n, reason);
		if (end == NULL)
			return;
	}
}

static void put_recipients(struct text *text, struct spool_message *message)
{
	const struct envelope *envelope = spool_envelope(message);
	const struct state *state = spool_state(message);

	put(text, "%s could not be delivered to:", envelope->is_report ? "The report" : "It");
	for (size_t i = 0; i < state->count; i++) {
		if (state->recipients[i].status != RECIPIENT_FAILED)
			continue;
		put(text, "%s", "");
		put(text, "  <%s>", envelope->recipients[i]);
		put(text, "      By way of: %s, after %u temporary failure(s)", state->recipients[i].upstream,
		    state->recipients[i].attempts);
		put_reason(text, state->recipients[i].reason);
	}
}

/* Its lines, with a bar before each where it stands within other text. */
static void put_quoted(
    struct text *text, const struct spool_message *message, bool head_only, const char *bar)
{
	char quoted[QUOTED_MAX + 1];
	ssize_t n = spool_read(message, 0, quoted, QUOTED_MAX);

	quoted[n > 0 ? n : 0] = '\0';
	char *end = head_only ? strstr(quoted, "\r\n\r\n") : NULL;
	/* What is cut off ends with a whole line. */
	if (end == NULL && n == QUOTED_MAX)
		end = strrchr(quoted, '\r');
	if (end != NULL)
		*end = '\0';
	char *rest = NULL;
	for (char *line = strtok_r(quoted, "\r\n", &rest); line != NULL; line = strtok_r(NULL, "\r\n", &rest))
		put(text, "%s%.900s", bar, line);
}

static void put_message(struct text *text, const struct config *config, const struct envelope *envelope)
{
	char date[40];

	put(text, "This is the mail relay %s. It had accepted this message, and has given it up:",
	    config->hostname);
	put(text, "%s", "");
	put(text, "  Queue id: %s", envelope->id);
	put(text, "  Accepted: %s", clock_rfc5322(date, sizeof date, envelope->accepted_ms));
	put(text, "  Device:   %s (%s)", envelope->device, envelope->peer);
	put(text, "  Sender:   <%s>", envelope->sender);
	put(text, "%s", "");
}

/* For the person: what happened, and what to do. */
static void put_words(struct text *text, const struct config *config, struct spool_message *message)
{
	const struct envelope *envelope = spool_envelope(message);

	if (envelope->is_report)
		put(text,
		    "This is the mail relay %s. It has given a message up, and could not tell its sender: "
		    "set an "
		    "address that somebody reads as the device's sender.",
		    config->hostname);
	else
		put_message(text, config, envelope);
	put_recipients(text, message);
	put(text, "%s", "");
	if (envelope->is_report) {
		put(text, "The report was:");
		put(text, "%s", "");
		put_quoted(text, message, false, "  | ");
	} else {
		put(text,
		    "The message itself is kept on the relay until somebody removes it. Whoever looks after "
		    "the relay");
		put(text, "can send it again, once the cause is gone, with: mfdrelay queue retry %s",
		    envelope->id);
	}
	put(text, "%s", "");
}

/* The answer that a reason begins with; code 0 where the recipient was given up without one. */
static void read_answer(struct reply *answer, const char *reason)
{
	const char *end = strstr(reason, " | ");
	size_t n = end != NULL ? (size_t)(end - reason) : strlen(reason);

	reply_clear(answer);
	if (reply_feed(answer, (struct str){reason, n}) != REPLY_DONE)
		reply_clear(answer);
}

/* For programs, as RFC 3464 section 2 has it. What was put off until it was given up has the last answer's status. */
static void put_status(struct text *text, const struct config *config, struct spool_message *message)
{
	const struct envelope *envelope = spool_envelope(message);
	const struct state *state = spool_state(message);
	char date[40], line[STATE_REASON_MAX];
	struct reply answer;

	put(text, "Reporting-MTA: dns; %s", config->hostname);
	put(text, "Arrival-Date: %s", clock_rfc5322(date, sizeof date, envelope->accepted_ms));
	for (size_t i = 0; i < state->count; i++) {
		if (state->recipients[i].status != RECIPIENT_FAILED)
			continue;
		read_answer(&answer, state->recipients[i].reason);
		put(text, "%s", "");
		put(text, "Final-Recipient: rfc822; %s", envelope->recipients[i]);
		put(text, "Action: failed");
		put(text, "Status: %s",
		    answer.enhanced[0] != '\0' ? answer.enhanced
		    : answer.code / 100 == 4   ? "4.0.0"
					       : "5.0.0");
		if (answer.code != 0)
			put(text, "Diagnostic-Code: smtp; %.800s", reply_format(line, sizeof line, &answer));
	}
	put(text, "%s", "");
}

/* The three parts of RFC 6522. */
static void compose(struct text *text, const struct config *config, struct spool_message *message,
    const char *id, const char *recipient)
{
	put_head(text, config, spool_envelope(message), id, recipient);
	put_part(text, id, "text/plain; charset=utf-8", "8bit");
	put_words(text, config, message);
	put_part(text, id, "message/delivery-status", "7bit");
	put_status(text, config, message);
	put_part(text, id, "text/rfc822-headers", "8bit");
	put_quoted(text, message, true, "");
	put(text, "%s", "");
	put(text, "--" BOUNDARY "--", id);
}

struct spool_draft *report_begin(const struct config *config, struct spool *spool,
    struct spool_message *message, const char *recipient, struct err *err)
{
	char id[SPOOL_ID_MAX + 1];
	char *recipients[] = {xstrdup(recipient)};
	char empty[] = "";
	struct envelope envelope = {.accepted_ms = clock_wall_ms(),
	    .is_report = true,
	    .device = empty,
	    .peer = empty,
	    .helo = empty,
	    .user = empty,
	    .listener = empty,
	    .sender = empty,
	    .recipients = recipients,
	    .recipient_count = 1};
	struct text text = {NULL, 0, 0};

	spool_report_id(id, spool_envelope(message)->id, spool_state(message)->reports);
	struct spool_draft *draft = spool_begin(spool, &envelope, id, err);
	if (draft != NULL) {
		compose(&text, config, message, id, recipient);
		if (spool_append(draft, text.bytes, text.n, err) < 0) {
			spool_abort(draft);
			draft = NULL;
		}
	}
	free(text.bytes);
	free(recipients[0]);
	return draft;
}
