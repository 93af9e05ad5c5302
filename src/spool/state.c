/* The format, version 2; every line ends with LF, and nothing else may stand there:
 *
 *	mfdrelay-state 2
 *	id: 0d2k1p0a3f7ab9c4e
 *	reports: 0
 *	recipients: 1
 *	recipient: a@contoso.com            the envelope's, in its order; from here ten lines each
 *	status: pending                     or "delivered", "failed", "reported"
 *	attempts: 2
 *	wait-ms: 120000
 *	waited-ms: 60000
 *	next-ms: 1795459980123
 *	upstream: submission
 *	reason: 451 4.7.0 Temporary server error
 *	refused-by: internal direct         not in version 1
 *	perhaps-taken-by: submission        not in version 1
 *	end: 1                              the number of recipients again
 */
#include "spool/state.h"

#include <assert.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "smtp/address.h"
#include "spool/envelope.h"
#include "spool/fields.h"

#define VERSION_LINE   "mfdrelay-state 2"
#define VERSION_1_LINE "mfdrelay-state 1"
#define UPSTREAM_MAX   255
/* Far beyond what is ever written, and such that no sum overflows and no message is put off for ever. */
#define WAIT_MAX_MS   (366ULL * DAY_MS)
#define WAITED_MAX_MS (100 * WAIT_MAX_MS)
#define REPORTS_MAX   ((1ULL << 30) - 1) /* six digits of an id */

static const char *const status_names[] = {"pending", "delivered", "failed", "reported"};

const char *recipient_status_name(enum recipient_status status)
{
	return status_names[status];
}

/* Those that have not been set. */
static void fill_texts(struct recipient_state *recipient)
{
	char **const texts[] = {
	    &recipient->upstream, &recipient->reason, &recipient->refused_by, &recipient->perhaps_taken_by};

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		if (*texts[i] == NULL)
			*texts[i] = xstrdup("");
}

void state_init(struct state *state, size_t recipients)
{
	*state =
	    (struct state){.recipients = xcalloc(recipients, sizeof *state->recipients), .count = recipients};
	for (size_t i = 0; i < recipients; i++)
		fill_texts(&state->recipients[i]);
}

/* One line of at most max bytes, not cut within a character of UTF-8. */
static char *clean(const char *text, size_t max)
{
	size_t n = strlen(text);

	if (n > max) {
		n = max;
		while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
			n--;
	}
	char *out = xstrndup(text, n);
	for (char *p = out; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
	return out;
}

void state_set_reason(struct recipient_state *recipient, const char *upstream, const char *reason)
{
	char *new_upstream = clean(upstream, UPSTREAM_MAX);
	char *new_reason = clean(reason, STATE_REASON_MAX);

	free(recipient->upstream);
	free(recipient->reason);
	recipient->upstream = new_upstream;
	recipient->reason = new_reason;
}

bool state_is_refused_by(const struct recipient_state *recipient, const char *upstream)
{
	size_t n = strlen(upstream);

	for (const char *at = recipient->refused_by; *at != '\0'; at += strspn(at, " ")) {
		size_t length = strcspn(at, " ");
		if (length == n && memcmp(at, upstream, n) == 0)
			return true;
		at += length;
	}
	return false;
}

void state_forget_refusals(struct recipient_state *recipient)
{
	recipient->refused_by[0] = '\0';
}

void state_add_refusal(struct recipient_state *recipient, const char *upstream)
{
	char *all;

	if (state_is_refused_by(recipient, upstream))
		return;
	all =
	    xasprintf("%s%s%s", recipient->refused_by, recipient->refused_by[0] != '\0' ? " " : "", upstream);
	const char *kept = all;
	while (strlen(kept) > STATE_REFUSED_BY_MAX && strchr(kept, ' ') != NULL)
		kept = strchr(kept, ' ') + 1;
	free(recipient->refused_by);
	recipient->refused_by = clean(kept, STATE_REFUSED_BY_MAX);
	free(all);
}

void state_set_perhaps_taken(struct recipient_state *recipient, const char *upstream)
{
	free(recipient->perhaps_taken_by);
	recipient->perhaps_taken_by = clean(upstream, UPSTREAM_MAX);
}

static uint64_t not_negative(int64_t ms)
{
	return ms < 0 ? 0 : (uint64_t)ms;
}

static void put_recipient(
    struct field_writer *writer, const char *address, const struct recipient_state *recipient)
{
	field_put_text(writer, "recipient", address);
	field_put_text(writer, "status", recipient_status_name(recipient->status));
	field_put_number(writer, "attempts", recipient->attempts);
	field_put_number(writer, "wait-ms", not_negative(recipient->wait_ms));
	field_put_number(writer, "waited-ms", not_negative(recipient->waited_ms));
	field_put_number(writer, "next-ms", not_negative(recipient->next_ms));
	field_put_text(writer, "upstream", recipient->upstream);
	field_put_text(writer, "reason", recipient->reason);
	field_put_text(writer, "refused-by", recipient->refused_by);
	field_put_text(writer, "perhaps-taken-by", recipient->perhaps_taken_by);
}

char *state_format(const struct state *state, const struct envelope *envelope, size_t *n)
{
	struct field_writer writer = {NULL, 0, 0};

	assert(state->count == envelope->recipient_count);
	field_put(&writer, VERSION_LINE "\n", sizeof VERSION_LINE);
	field_put_text(&writer, "id", envelope->id);
	field_put_number(&writer, "reports", state->reports);
	field_put_number(&writer, "recipients", state->count);
	for (size_t i = 0; i < state->count; i++)
		put_recipient(&writer, envelope->recipients[i], &state->recipients[i]);
	field_put_number(&writer, "end", state->count);
	*n = writer.n;
	return writer.bytes;
}

static void read_same(struct field_reader *reader, const char *name, size_t max, const char *want)
{
	struct str found;

	if (field_text(reader, name, 1, max, &found) && !str_eq(found, want))
		field_wrong(reader, "belongs to another message than the envelope's");
}

static void read_status(struct field_reader *reader, struct recipient_state *out)
{
	struct str found;

	if (!field_text(reader, "status", 1, 16, &found))
		return;
	for (unsigned i = 0; i < sizeof status_names / sizeof status_names[0]; i++) {
		if (str_eq(found, status_names[i])) {
			out->status = (enum recipient_status)i;
			return;
		}
	}
	field_wrong(reader, "the field \"status\" holds an unknown word");
}

static int64_t read_ms(struct field_reader *reader, const char *name, uint64_t max)
{
	uint64_t ms;

	field_number(reader, name, max, &ms);
	return (int64_t)ms;
}

static unsigned read_count(struct field_reader *reader, const char *name, uint64_t max)
{
	uint64_t count;

	field_number(reader, name, max, &count);
	return (unsigned)count;
}

static void read_recipient(
    struct field_reader *reader, unsigned version, const char *address, struct recipient_state *out)
{
	read_same(reader, "recipient", ADDRESS_MAX, address);
	read_status(reader, out);
	out->attempts = read_count(reader, "attempts", UINT_MAX);
	out->wait_ms = read_ms(reader, "wait-ms", WAIT_MAX_MS);
	out->waited_ms = read_ms(reader, "waited-ms", WAITED_MAX_MS);
	out->next_ms = read_ms(reader, "next-ms", INT64_MAX);
	field_string(reader, "upstream", 0, UPSTREAM_MAX, &out->upstream);
	field_string(reader, "reason", 0, STATE_REASON_MAX, &out->reason);
	if (version >= 2) {
		field_string(reader, "refused-by", 0, STATE_REFUSED_BY_MAX, &out->refused_by);
		field_string(reader, "perhaps-taken-by", 0, UPSTREAM_MAX, &out->perhaps_taken_by);
	}
	fill_texts(out);
}

static void read_recipients(
    struct field_reader *reader, unsigned version, const struct envelope *envelope, struct state *out)
{
	uint64_t count;

	if (!field_number(reader, "recipients", ENVELOPE_RECIPIENTS_MAX, &count))
		return;
	if (count != envelope->recipient_count) {
		field_wrong(reader, "another number of recipients than the envelope's");
		return;
	}
	out->recipients = xcalloc((size_t)count, sizeof *out->recipients);
	while (out->count < count && reader->status == FIELDS_GOOD) {
		read_recipient(
		    reader, version, envelope->recipients[out->count], &out->recipients[out->count]);
		out->count++;
	}
	if (read_count(reader, "end", UINT_MAX) != count)
		field_wrong(reader, "the number at the end is not that of the recipients");
}

static bool starts_with(struct str text, const char *start)
{
	return text.n >= strlen(start) && memcmp(text.p, start, strlen(start)) == 0;
}

int state_parse(struct str text, const struct envelope *envelope, struct state *out, struct err *err)
{
	struct field_reader reader = {.rest = text, .err = err};

	unsigned version = starts_with(text, VERSION_1_LINE "\n") ? 1 : 2;

	*out = (struct state){.reports = 0};
	if (!field_line(&reader, version == 1 ? VERSION_1_LINE : VERSION_LINE) && reader.status == FIELDS_BAD)
		err_set(err,
		    "line 1: not \"" VERSION_LINE "\": damaged, or written by a later version of mfdrelay");
	read_same(&reader, "id", SPOOL_ID_MAX, envelope->id);
	out->reports = read_count(&reader, "reports", REPORTS_MAX);
	read_recipients(&reader, version, envelope, out);
	if (field_end(&reader) == 0)
		return 0;
	state_free(out);
	return -1;
}

void state_free(struct state *state)
{
	for (size_t i = 0; i < state->count; i++) {
		free(state->recipients[i].upstream);
		free(state->recipients[i].reason);
		free(state->recipients[i].refused_by);
		free(state->recipients[i].perhaps_taken_by);
	}
	free(state->recipients);
	*state = (struct state){.reports = 0};
}
