/* What Microsoft Graph says of sendMail. The relay does not speak to it; other programs do, and people paste what they say. */
#include "catalogue/rows.h"

#include <stddef.h>

static const struct reply_row rows[] = {
    {{{.fragment = "invalidauthenticationtoken"}},
	{"graph-token-refused", OUTCOME_A, ACTOR_ENTRA, PROBE, "Microsoft Graph does not accept the token.",
	    "The token must be for https://graph.microsoft.com/.default, not for Exchange, and not "
	    "expired."}},
    {{{.fragment = "erroraccessdenied"}},
	{"graph-access-denied", OUTCOME_C, ACTOR_ENTRA, PROBE,
	    "The app may not send from this mailbox by Microsoft Graph.",
	    "Entra admin centre > App registrations > API permissions: Microsoft Graph > Mail.Send "
	    "(Application), then grant admin consent; where a scope limits the app (Application Mail.Send), "
	    "add the mailbox to it."}},
    {{{.fragment = "errorinvaliduser|mailboxnotenabledforrestapi"}},
	{"graph-mailbox-missing", OUTCOME_C, ACTOR_TENANT, PROBE,
	    "Microsoft Graph finds no mailbox of Exchange Online for this user.",
	    "Check the address; the user needs a licence with a mailbox (Microsoft 365 admin centre > Users "
	    "> Active users)."}},
    {{{.fragment = "errormessagesizeexceeded|request entity too large"}},
	{"graph-message-too-large", OUTCOME_N, ACTOR_DEVICE, BY_RETRY,
	    "Microsoft Graph takes 4 MB in one request, which is a message of about 3 MB.",
	    "Scan at a lower resolution, or send by SMTP, which takes up to 150 MB."}},
    {{{.fragment = "applicationthrottled|mailboxconcurrency"}},
	{"graph-throttled", OUTCOME_S, ACTOR_NOBODY, PACE(60),
	    "More than Microsoft Graph takes of one app for one mailbox: 4 requests at a time, 10,000 in ten "
	    "minutes.",
	    "Nothing, it is to be tried again after the time that Retry-After says."}},
    {{{.fragment = "errormimecontentinvalidbase64string|errorinvalidrecipients"}},
	{"graph-request-bad", OUTCOME_P, ACTOR_DEVICE, BY_RETRY,
	    "Microsoft Graph cannot read the message or its recipients.",
	    "Correct what the program sends: the message in base64, addresses in To, Cc and Bcc."}},
};

const struct reply_table graph_replies = {"Microsoft Graph", rows, sizeof rows / sizeof rows[0]};
