/* Failures from what was heard or met. */
#include "catalogue/catalogue.h"

#include <stdio.h>
#include <string.h>

#include "catalogue/match.h"
#include "smtp/reply.h"

static unsigned speaker_of(enum upstream_kind kind)
{
	switch (kind) {
	case UPSTREAM_SUBMISSION:
		return SUBMISSION;
	case UPSTREAM_HVE:
		return HVE;
	case UPSTREAM_DIRECT_SEND:
	case UPSTREAM_CONNECTOR:
		return MX;
	case UPSTREAM_ACS:
		return ACS;
	case UPSTREAM_SMTP:
		return OTHER;
	}
	return OTHER;
}

void failure_from_reply(
    struct failure *out, const struct reply *reply, enum upstream_kind kind, enum smtp_phase phase)
{
	char enhanced[ENHANCED_ROOM], text[REPLY_TEXT_MAX];

	pick_enhanced(enhanced, reply->enhanced, reply->text);
	comparable(text, sizeof text, reply->text);
	const struct said said = {
	    /* Anything else was not a refusal; whoever asks all the same is told "try again". */
	    .code = reply->code >= 400 && reply->code <= 599 ? reply->code : 400,
	    .from = speaker_of(kind),
	    .phase = AT(phase),
	    .enhanced = enhanced,
	    .text = text,
	};
	*out = (struct failure){.cause = &match_reply(&said)->cause};
	reply_format(out->text, sizeof out->text, reply);
}

/* One line of what came from outside, cut to fit. */
static void set_text(struct failure *out, const char *text)
{
	size_t n = strnlen(text, sizeof out->text - 1);

	for (size_t i = 0; i < n; i++)
		out->text[i] = text[i] >= 0x20 && text[i] < 0x7f ? text[i] : ' ';
	out->text[n] = '\0';
}

void failure_from_trouble(struct failure *out, enum road_trouble trouble, const char *text)
{
	text = text != NULL ? text : "";
	*out = (struct failure){.cause = match_trouble(AT(trouble), text, true)};
	set_text(out, text);
}

/* A host that is busy says so by status or error, whatever number it adds. */
static bool is_busy(const char *error, int http_status)
{
	return http_status >= 500 || http_status == 429 || strcmp(error, "temporarily_unavailable") == 0 ||
	       strcmp(error, "server_error") == 0;
}

void failure_from_login(
    struct failure *out, const char *error, const char *description, long aadsts, int http_status)
{
	char text[2 * FAILURE_TEXT_MAX];
	bool is_known;

	error = error != NULL ? error : "";
	snprintf(
	    text, sizeof text, "HTTP %d %s: %s", http_status, error, description != NULL ? description : "");
	*out = (struct failure){.cause = match_login(error, aadsts, &is_known)};
	if (is_busy(error, http_status) && out->cause->outcome != OUTCOME_T)
		out->cause = match_login("temporarily_unavailable", 0, &is_known);
	set_text(out, text);
}
