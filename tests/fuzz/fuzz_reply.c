/* What an upstream says, line by line (CRLF parts them), and all that is made of it. */
#include <string.h>

#include "fuzz.h"
#include "catalogue/catalogue.h"
#include "smtp/reply.h"

static void check_line(const char *text, size_t room)
{
	PROMISE(strnlen(text, room) < room);
	for (; *text != '\0'; text++)
		PROMISE(*text >= ' ' && *text <= '~');
}

static void check_reply(const struct reply *reply)
{
	char small[16], large[REPLY_TEXT_MAX + 64];
	struct failure failure;
	struct ehlo ehlo;

	PROMISE(reply->code >= 200 && reply->code <= 599 && reply->lines <= REPLY_LINES_MAX);
	PROMISE(strnlen(reply->text, sizeof reply->text) < sizeof reply->text);
	PROMISE(reply->enhanced[0] == '\0' || reply->enhanced[0] == '0' + reply->code / 100);
	check_line(reply->enhanced, sizeof reply->enhanced);
	check_line(reply_format(small, sizeof small, reply), sizeof small);
	check_line(reply_format(large, sizeof large, reply), sizeof large);
	ehlo_parse(reply, &ehlo);
	PROMISE(ehlo.has_size || ehlo.size == 0);
	for (int phase = PHASE_BANNER; phase <= PHASE_CONTENT; phase++) {
		failure_from_reply(&failure, reply, (enum upstream_kind)(reply->lines % (UPSTREAM_SMTP + 1)),
		    (enum smtp_phase)phase);
		PROMISE(failure.cause != NULL && failure.cause->name[0] != '\0' &&
			outcome_name(failure.cause->outcome));
		check_line(failure.text, sizeof failure.text);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	const char *rest = (const char *)bytes, *end = rest + n;
	struct reply reply = {0};

	while (rest < end) {
		const char *crlf = memmem(rest, (size_t)(end - rest), "\r\n", 2);
		size_t length = (size_t)((crlf != NULL ? crlf : end) - rest);
		enum reply_result result = reply_feed(&reply, (struct str){rest, length});
		if (result == REPLY_GARBAGE)
			break;
		check_reply(&reply);
		if (result == REPLY_DONE)
			reply = (struct reply){0};
		rest += crlf != NULL ? length + 2 : length;
	}
	return 0;
}
