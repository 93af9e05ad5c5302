/* The format, version 2; every line ends with LF, and nothing else may stand there:
 *
 *	mfdrelay-envelope 2
 *	id: 0d2k1p0a3f7ab9c4e
 *	accepted-ms: 1795459740123
 *	kind: message                       or "report"
 *	device: mfd-floor-2                 may be empty, as the next five
 *	peer: 10.1.2.17
 *	helo: MFD0815
 *	user:
 *	listener: *:25                      not in version 1, which is read as if it were empty
 *	sender: scanner@contoso.com
 *	recipients: 2
 *	recipient: a@contoso.com
 *	recipient: b@contoso.com
 *	has-8bit: 0                         the tail: always 48 bytes, written again at the end of the content
 *	content-bytes: 00000000000012345678
 *	                                    an empty line, then the content
 */
#include "spool/envelope.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "smtp/address.h"
#include "spool/fields.h"
#include "spool/spool_private.h"
#include "spool/spool.h"

#define VERSION_LINE "mfdrelay-envelope 2"
#define EARLIER_LINE "mfdrelay-envelope 1"
#define TEXT_MAX     16384 /* octets of device, peer, helo, user, listener: more than a command line can bring */
#define BYTES_DIGITS 20

static void put_texts(struct field_writer *writer, const struct envelope *envelope)
{
	const struct {
		const char *name, *value;
		size_t max;
	} texts[] = {
	    {"device", envelope->device, TEXT_MAX},
	    {"peer", envelope->peer, TEXT_MAX},
	    {"helo", envelope->helo, TEXT_MAX},
	    {"user", envelope->user, TEXT_MAX},
	    {"listener", envelope->listener, TEXT_MAX},
	    {"sender", envelope->sender, ADDRESS_MAX},
	};

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		assert(strlen(texts[i].value) <= texts[i].max);
		field_put_text(writer, texts[i].name, texts[i].value);
	}
}

static void put_recipients(struct field_writer *writer, const struct envelope *envelope)
{
	assert(envelope->recipient_count > 0 && envelope->recipient_count <= ENVELOPE_RECIPIENTS_MAX);
	field_put_number(writer, "recipients", envelope->recipient_count);
	for (size_t i = 0; i < envelope->recipient_count; i++) {
		assert(envelope->recipients[i][0] != '\0' && strlen(envelope->recipients[i]) <= ADDRESS_MAX);
		field_put_text(writer, "recipient", envelope->recipients[i]);
	}
}

char *envelope_format(const struct envelope *envelope, size_t *n, size_t *tail_offset)
{
	struct field_writer writer = {NULL, 0, 0};
	char tail[ENVELOPE_TAIL_BYTES];

	field_put(&writer, VERSION_LINE "\n", sizeof VERSION_LINE);
	field_put_text(&writer, "id", envelope->id);
	field_put_number(
	    &writer, "accepted-ms", envelope->accepted_ms < 0 ? 0 : (uint64_t)envelope->accepted_ms);
	field_put_text(&writer, "kind", envelope->is_report ? "report" : "message");
	put_texts(&writer, envelope);
	put_recipients(&writer, envelope);
	*tail_offset = writer.n;
	envelope_format_tail(tail, envelope->has_8bit, envelope->content_bytes);
	field_put(&writer, tail, sizeof tail);
	field_put(&writer, "\n", 1);
	*n = writer.n;
	return writer.bytes;
}

void envelope_format_tail(char out[ENVELOPE_TAIL_BYTES], bool has_8bit, uint64_t content_bytes)
{
	char tail[ENVELOPE_TAIL_BYTES + 1];
	struct text text = text_in(tail, sizeof tail);

	text_join(&text, "has-8bit: ", has_8bit ? "1" : "0", "\ncontent-bytes: ", NULL);
	text_number(&text, content_bytes, BYTES_DIGITS);
	text_join(&text, "\n", NULL);
	assert(text.n == ENVELOPE_TAIL_BYTES);
	memcpy(out, tail, ENVELOPE_TAIL_BYTES);
}

static void read_id(struct field_reader *reader, struct envelope *out)
{
	struct str id;

	if (field_text(reader, "id", 1, SPOOL_ID_MAX, &id) &&
	    (!str_copy(out->id, sizeof out->id, id) || !spool_id_valid(out->id)))
		field_wrong(reader, "not a message id");
}

static void read_kind(struct field_reader *reader, struct envelope *out)
{
	struct str kind;

	if (!field_text(reader, "kind", 1, 16, &kind))
		return;
	out->is_report = str_eq(kind, "report");
	if (!out->is_report && !str_eq(kind, "message"))
		field_wrong(reader, "the field \"kind\" is neither message nor report");
}

static void read_recipients(struct field_reader *reader, struct envelope *out)
{
	uint64_t count;

	if (!field_number(reader, "recipients", ENVELOPE_RECIPIENTS_MAX, &count))
		return;
	if (count == 0) {
		field_wrong(reader, "a message without recipients");
		return;
	}
	out->recipients = xcalloc((size_t)count, sizeof *out->recipients);
	while (out->recipient_count < count) {
		if (!field_string(
			reader, "recipient", 1, ADDRESS_MAX, &out->recipients[out->recipient_count]))
			return;
		out->recipient_count++;
	}
}

static void read_tail(struct field_reader *reader, struct envelope *out)
{
	struct str digits;
	uint64_t has_8bit;

	if (!field_number(reader, "has-8bit", 1, &has_8bit) ||
	    !field_text(reader, "content-bytes", BYTES_DIGITS, BYTES_DIGITS, &digits))
		return;
	out->has_8bit = has_8bit == 1;
	if (!str_u64(digits, INT64_MAX, &out->content_bytes))
		field_wrong(reader, "the field \"content-bytes\" is not a number of bytes");
}

int envelope_parse(struct str text, struct envelope *out, size_t *n, struct err *err)
{
	struct field_reader reader = {.rest = text, .err = err};
	uint64_t accepted_ms;

	*out = (struct envelope){.id = ""};
	if (reader.rest.n > ENVELOPE_MAX)
		reader.rest.n = ENVELOPE_MAX;
	size_t given = reader.rest.n;
	bool is_earlier =
	    given >= sizeof EARLIER_LINE && memcmp(text.p, EARLIER_LINE "\n", sizeof EARLIER_LINE) == 0;
	if (!field_line(&reader, is_earlier ? EARLIER_LINE : VERSION_LINE) && reader.status == FIELDS_BAD)
		err_set(err,
		    "line 1: not \"" VERSION_LINE "\": damaged, or written by a later version of mfdrelay");
	read_id(&reader, out);
	field_number(&reader, "accepted-ms", INT64_MAX, &accepted_ms);
	out->accepted_ms = (int64_t)accepted_ms;
	read_kind(&reader, out);
	if (reader.status == FIELDS_GOOD && out->is_report != id_is_report(out->id))
		field_wrong(&reader, "the kind does not fit the id");
	field_string(&reader, "device", 0, TEXT_MAX, &out->device);
	field_string(&reader, "peer", 0, TEXT_MAX, &out->peer);
	field_string(&reader, "helo", 0, TEXT_MAX, &out->helo);
	field_string(&reader, "user", 0, TEXT_MAX, &out->user);
	if (is_earlier)
		out->listener = xstrdup("");
	else
		field_string(&reader, "listener", 0, TEXT_MAX, &out->listener);
	field_string(&reader, "sender", 0, ADDRESS_MAX, &out->sender);
	read_recipients(&reader, out);
	read_tail(&reader, out);
	field_line(&reader, "");
	if (reader.status == FIELDS_CUT && given == ENVELOPE_MAX)
		field_wrong(&reader, "an envelope larger than any can be");
	*n = given - reader.rest.n;
	if (reader.status == FIELDS_GOOD)
		return 0;
	envelope_free(out);
	return reader.status == FIELDS_CUT ? 1 : -1;
}

void envelope_free(struct envelope *envelope)
{
	free(envelope->device);
	free(envelope->peer);
	free(envelope->helo);
	free(envelope->user);
	free(envelope->listener);
	free(envelope->sender);
	for (size_t i = 0; i < envelope->recipient_count; i++)
		free(envelope->recipients[i]);
	free(envelope->recipients);
	*envelope = (struct envelope){.id = ""};
}
