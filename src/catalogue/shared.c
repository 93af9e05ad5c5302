/* What is the configuration's fault where all mail meets it. Sources: for 5.7.60 Microsoft's article on non-delivery reports and
 * for 5.1.7 that on SMTP of Azure Communication Services, which blame the message's sender; yet with a mailbox or a domain that is
 * set up wrongly no message goes through. So it is with 5.7.509 (DMARC), which is about the domain in From: of one message that
 * may be anybody's, of all it is one's own. For 4.4.62 protocol logs: it passes once DNS is right, and else never. */
#include "catalogue/rows.h"

#include <string.h>

const struct shared_row shared_rows[] = {
    {"send-as-denied",
	{"send-as-denied-to-all", OUTCOME_C, ACTOR_EXCHANGE, PROBE,
	    "Every message of late was refused as the mailbox has no right to send with its sender address.",
	    "Compare sender, sender_address and send_as of this upstream with the mailbox's own addresses; "
	    "or "
	    "grant the right: Add-RecipientPermission <From address> -Trustee <mailbox or app> -AccessRights "
	    "SendAs."}},
    {"hve-sender-foreign",
	{"hve-sender-foreign-to-all", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "Every message of late was refused as High Volume Email sends with the account's own address "
	    "only.",
	    "Leave sender of this upstream at \"force\", and set sender_address to the account's address."}},
    {"sender-domain-not-linked",
	{"sender-domain-not-linked-to-all", OUTCOME_C, ACTOR_AZURE, PROBE,
	    "Every message of late was refused as the domain of its From address is not linked to the mail "
	    "service.",
	    "Link the domain (Azure portal > Communication Service > Domains), or set sender_address of this "
	    "upstream to a MailFrom address of a domain that is linked."}},
    {"dmarc-failed",
	{"dmarc-failed-to-all", OUTCOME_C, ACTOR_DNS, PROBE,
	    "Every message of late was refused as neither SPF nor DKIM vouches for the relay, and the "
	    "domain in From has such mail rejected (DMARC).",
	    "Add the relay's public address to the domain's TXT record: v=spf1 ip4:<address> "
	    "include:spf.protection.outlook.com ~all; or send by submission."}},
    {"wrong-region",
	{"wrong-region-for-long", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "For an hour all mail has gone to a Microsoft region that does not serve this tenant.",
	    "Compare host of this upstream, or the domain's MX in DNS, with what Microsoft 365 admin centre "
	    "> "
	    "Settings > Domains shows."}},
};

const size_t shared_row_count = sizeof shared_rows / sizeof shared_rows[0];

const struct cause *cause_of_all(const struct cause *cause)
{
	for (size_t i = 0; i < shared_row_count; i++)
		if (strcmp(shared_rows[i].name, cause->name) == 0)
			return &shared_rows[i].cause;
	return NULL;
}

const struct cause *cause_of_all_named(const char *name)
{
	for (size_t i = 0; i < shared_row_count; i++)
		if (strcmp(shared_rows[i].cause.name, name) == 0)
			return &shared_rows[i].cause;
	return NULL;
}
