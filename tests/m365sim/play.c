#include "play.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "options.h"
#include "sim_tls.h"

#define MB (1024ULL * 1024)

/* Exchange Online as a resource: any of its names, in all clouds; a managed identity's ends in a slash. */
#define EXCHANGE                                                                                             \
	"https://@(outlook.office.com|outlook.office365.com|outlook.office365.us|outlook-dod.office365.us|"  \
	"partner.outlook.cn)?(/)"

static const struct play plays[] = {
    {"submission", 150 * MB, 500, EXCHANGE, "SMTP.SendAsApp", NULL},
    {"hve", 10 * MB, 50, EXCHANGE, "Mail.Send",
	"550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain"},
    {"acs", 10 * MB, 50, "https://communication.azure.com?(/)", "", NULL},
};

/* RejectDirectSend is off; what no connector lets relay may come in, and not go out. */
static const struct play mx = {"mx", 150 * MB, 200, NULL, "", "550 5.4.1 Relay Access Denied"};

const struct play *play_named(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(plays) / sizeof(*plays); i++)
		if (!strcmp(plays[i].name, name))
			return &plays[i];
	return NULL;
}

const struct play *play_of(const struct session *session)
{
	return session->connection->front == FRONT_MX ? &mx : session->connection->options->play;
}

static bool may_send_as(const struct session *session, const char *address)
{
	const char *others = session->connection->options->send_as;

	return !strcasecmp(session->user, address) ||
	       (others && !fnmatch(others, address, FNM_EXTMATCH | FNM_CASEFOLD));
}

/* Neither in the envelope nor in From may stand who has not allowed it. ACS has no mailboxes, but senders linked to it. */
static const char *sender_refusal(const struct session *session, char *dst, size_t size)
{
	char from[1100];
	const char *wrong = NULL;

	if (!may_send_as(session, session->sender))
		wrong = session->sender;
	else if (content_from(&session->content, from, sizeof(from)) && !may_send_as(session, from))
		wrong = from;
	if (!wrong)
		return NULL;
	if (!strcmp(play_of(session)->name, "acs"))
		return "550 5.1.7 The specified sender domain has not been linked";
	snprintf(dst, size,
	    "554 5.2.252 SendAsDenied; %s not allowed to send as %s; "
	    "STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied",
	    session->user, wrong);
	return dst;
}

const char *play_message_refusal(const struct session *session, char *dst, size_t size)
{
	if (session->connection->front == FRONT_MX)
		return NULL;
	if (json_array_size(session->recipients) > play_of(session)->recipients)
		return "550 5.5.3 RESOLVER.ADR.RecipLimit; too many recipients";
	return sender_refusal(session, dst, size);
}

const char *play_recipient_refusal(const struct session *session, const char *recipient)
{
	const struct options *options = session->connection->options;
	const struct play *play = play_of(session);
	const char *domain = strrchr(recipient, '@');

	if (play == &mx && json_array_size(session->recipients) >= play->recipients)
		return "452 4.5.3 Too many recipients";
	if (!options->domain || !play->outside ||
	    (domain && !fnmatch(options->domain, domain + 1, FNM_CASEFOLD)))
		return NULL;
	if (play != &mx || !options->connector_ca)
		return play->outside;
	if (session->stream->ssl && sim_tls_client_name(session->stream->ssl))
		return NULL;
	return "550 5.7.64 TenantAttribution; Relay Access Denied";
}
