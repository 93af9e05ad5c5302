/* Microsoft has taken the mail and nothing arrives: no reply tells why, so the places to look, most likely first. */
#include "catalogue/topics.h"

#include "catalogue/rows.h"

const char topic_taken_fragments[] =
    "nothing arrives|nothing has arrived|never arrives|never arrived|not arrive|nothing received|never "
    "received|not received|does not come|doesnt come|disappear|vanish|mail is lost|lost mail|queued mail for "
    "delivery|accepted but|delivered but|quarantine|junk|where is my";

const struct cause topic_taken_causes[] = {
    {"taken-trace-it", OUTCOME_P, ACTOR_EXCHANGE, BY_RETRY,
	"A 250 after the content means that Microsoft has the message; what became of it is in its trace, "
	"not in the relay.",
	"Exchange admin centre > Mail flow > Message trace, by sender, recipient and time; the reply in the "
	"relay's log (event delivered) holds the message's id. In PowerShell: Get-MessageTraceV2 "
	"-RecipientAddress <recipient>."},
    {"taken-sender-restricted", OUTCOME_P, ACTOR_TENANT, BY_RETRY,
	"The mailbox is restricted for sending spam: Microsoft may go on taking its mail and drop it without "
	"a word.",
	"Defender portal > Email & collaboration > Review > Restricted entities: unblock the mailbox, change "
	"its password, find out what sent the spam."},
    {"taken-quarantine", OUTCOME_P, ACTOR_TENANT, BY_RETRY, "The message is in quarantine.",
	"Defender portal > Email & collaboration > Review > Quarantine: release it, and allow the sender in "
	"the Tenant Allow/Block Lists or by a mail flow rule for the relay's address."},
    {"taken-junk", OUTCOME_P, ACTOR_RECIPIENT, BY_RETRY,
	"The message is in the recipient's Junk Email folder.",
	"Look there and add the sender to the safe senders; mail by direct-send needs the relay's public "
	"address in the SPF record of the sender's domain."},
    {"taken-rule", OUTCOME_P, ACTOR_EXCHANGE, BY_RETRY,
	"A mail flow rule, an inbox rule or a forwarding moved or deleted the message.",
	"Message trace shows mail flow rules (Exchange admin centre > Mail flow > Rules); inbox rules: "
	"Get-InboxRule -Mailbox <recipient>."},
    {"taken-refused-later", OUTCOME_P, ACTOR_EXCHANGE, BY_RETRY,
	"The recipient's server refused the message later, and the report went to the sending mailbox, which "
	"nobody reads.",
	"Look into the inbox of the mailbox that the relay sends from; explain the report with: mfdrelay "
	"explain < report.txt."},
};

const size_t topic_taken_count = sizeof topic_taken_causes / sizeof topic_taken_causes[0];
