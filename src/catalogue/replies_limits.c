/* Too fast, too much, or blocked. */
#include "catalogue/rows.h"

#include <stddef.h>

static const struct reply_row rows[] = {
    /* A mailbox's pace. */
    {{{.enhanced = "4.3.2", .fragment = "sender thread limit|concurrent connections limit"}},
	{"too-many-connections", OUTCOME_S, ACTOR_RELAY, PACE(45),
	    "More connections at a time than Microsoft allows a mailbox (three).",
	    "Lower window.connections of this upstream, and see whether another program uses the same "
	    "mailbox."}},
    {{{.enhanced = "4.3.2", .fragment = "recipient thread limit"}},
	{"recipient-at-once", OUTCOME_S, ACTOR_NOBODY, PACE_OF_RECIPIENT(60),
	    "The recipient's mailbox gets more mail at the same moment than Microsoft delivers to one.",
	    "Nothing, it goes on by itself."}},
    {{{.enhanced = "4.3.2", .fragment = "message limit per account"}},
	{"too-many-messages", OUTCOME_S, ACTOR_NOBODY, PACE(60),
	    "More messages a minute than Microsoft allows a mailbox (thirty).",
	    "Nothing, it goes on by itself; if it is frequent, spread the devices over several mailboxes."}},
    {{{.code = 432}}, {"throttled", OUTCOME_S, ACTOR_NOBODY, PACE(60), "The upstream asks to slow down.",
			  "Nothing, it goes on by itself."}},
    {{{.code = 421, .enhanced = "4.4.2", .fragment = "rate"}},
	{"submission-rate", OUTCOME_S, ACTOR_NOBODY, PACE(60),
	    "The upstream closed the connection because mail came too fast.",
	    "Nothing, it goes on by itself."}},
    {{{.code = 4, .enhanced = "4.5.127"}, {.fragment = "excessive message rate from sender"}},
	{"sending-too-fast", OUTCOME_S, ACTOR_AZURE, MINUTE_QUARTER_HOUR,
	    "More messages than Azure Communication Services allows: 30 a minute and 100 an hour (5 and 10 "
	    "from an Azure-managed domain) until a higher quota is granted.",
	    "Nothing, it goes on by itself within an hour; a higher quota is granted by a support request in "
	    "the Azure portal."}},
    {{{.fragment = "subscriptionblocked"}},
	{"acs-subscription-blocked", OUTCOME_C, ACTOR_AZURE, PROBE,
	    "Azure Communication Services has blocked the subscription, for too many failures or complaints.",
	    "Clean the address lists, then open a support request in the Azure portal."}},

    /* A mailbox's day. */
    {{{.code = 5, .enhanced = "5.1.90"}, {.code = 5, .fragment = "submissionquotaexceeded|submission quota"},
	 {.code = 5, .fragment = "daily limit for message recipients|24 hour limit|as:46601"}},
	{"daily-recipients", OUTCOME_S, ACTOR_RELAY, HOURLY,
	    "The mailbox has reached its limit of recipients in 24 hours (10,000).",
	    "Nothing for today, the mail waits; spread the devices over several mailboxes, send internal "
	    "mail by HVE, or bulk mail by a connector or Azure Communication Services."}},

    /* Blocked for continuous errors: the cure is to end the errors. */
    {{{.code = 5, .enhanced = "5.2.251"}},
	{"throttled-mailbox-full", OUTCOME_S, ACTOR_EXCHANGE, HOURS,
	    "The mailbox is blocked for a while because it kept sending while it was full.",
	    "Empty its Sent Items and give it a retention policy; Microsoft lifts the block by itself."}},
    {{{.code = 550, .enhanced = "5.2.252"}},
	{"throttled-sender", OUTCOME_S, ACTOR_RELAY, HOURS,
	    "The mailbox is blocked for a while, most likely because it kept sending with addresses it has "
	    "no right to.",
	    "Leave sender of this upstream at \"map\" and foreign addresses out of send_as, or grant SendAs. "
	    "Microsoft lifts the block by itself."}},
    {{{.code = 5, .enhanced = "5.2.253"}},
	{"throttled-licence", OUTCOME_S, ACTOR_TENANT, HOURS,
	    "The mailbox is blocked for a while because its licence is not valid.",
	    "Assign a licence: Microsoft 365 admin centre > Users > Active users. Microsoft lifts the block "
	    "by itself."}},
    {{{.code = 5, .enhanced = "5.2.254"}},
	{"throttled-recipient-count", OUTCOME_S, ACTOR_RELAY, HOURS,
	    "The mailbox is blocked for a while because its messages had too many recipients.",
	    "Lower limits.recipients of this upstream, or use a distribution group; Microsoft lifts the "
	    "block by itself."}},
    {{{.code = 5, .enhanced = "5.2.255"}},
	{"throttled-recipients-invalid", OUTCOME_S, ACTOR_DEVICE, HOURS,
	    "The mailbox is blocked for a while because it kept writing to addresses that do not exist.",
	    "Clean the devices' address books; Microsoft lifts the block by itself."}},

    /* The tenant's limits, and the recipient's. */
    {{{.enhanced = "5.2.121-122"}},
	{"recipient-too-busy", OUTCOME_S, ACTOR_NOBODY, HOURLY_FOR_RECIPIENT,
	    "The recipient's mailbox has got more mail this hour than Microsoft allows (3,600 messages).",
	    "Nothing, it goes on by itself; find what writes so much to it."}},
    {{{.code = 5, .enhanced = "5.7.233"}},
	{"tenant-external-limit", OUTCOME_S, ACTOR_TENANT, HOURLY_FOR_RECIPIENT,
	    "The tenant has reached its limit of external recipients in 24 hours; it grows with the number "
	    "of licences.",
	    "See Exchange admin centre > Reports > Mail flow > Tenant outbound external recipients; send "
	    "less outside, buy licences, or send bulk mail by Azure Communication Services."}},
    {{{.code = 5, .enhanced = "5.7.232"}},
	{"trial-external-limit", OUTCOME_S, ACTOR_TENANT, HOURLY_FOR_RECIPIENT,
	    "A trial tenant has reached its limit of external recipients in 24 hours.",
	    "Buy a subscription; until then the mail waits."}},
    {{{.code = 5, .enhanced = "5.7.236"}},
	{"onmicrosoft-limit", OUTCOME_S, ACTOR_TENANT, HOURLY_FOR_RECIPIENT,
	    "Mail from an onmicrosoft.com address may go to 100 external recipients a day only.",
	    "Send from an address of a domain of your own: Microsoft 365 admin centre > Settings > "
	    "Domains."}},

    /* The address it comes from. */
    {{{.code = 4, .from = MX | OTHER, .enhanced = "4.7.500-699"},
	 {.code = 4, .from = MX | OTHER, .fragment = "server busy. please try again later from"}},
	{"address-throttled", OUTCOME_S, ACTOR_EXCHANGE, QUARTER_HOURS,
	    "Microsoft limits mail from the relay's public address, which it hardly knows.",
	    "Make an inbound connector for that address: Exchange admin centre > Mail flow > Connectors; or "
	    "send by submission."}},
    {{{.code = 4, .from = MX | OTHER, .enhanced = "4.7.850-899"}},
	{"address-analysed", OUTCOME_S, ACTOR_EXCHANGE, QUARTER_HOURS,
	    "Microsoft examines mail from the relay's public address and refuses it meanwhile.",
	    "Make an inbound connector for that address: Exchange admin centre > Mail flow > Connectors; or "
	    "send by submission."}},
    {{{.code = 5, .from = MX | OTHER, .enhanced = "5.7.606-649"}, {.code = 5,
								      .from = MX | OTHER,
								      .enhanced = "5.7.504-511|5.7.513",
								      .fragment = "sending ip|client ip"}},
	{"address-banned", OUTCOME_C, ACTOR_NETWORK, PROBE,
	    "The relay's public address is on Microsoft's list of banned senders.",
	    "Take it off at https://sender.office.com, or send by submission."}},
    {{{.code = 5, .from = MX | OTHER, .enhanced = "5.7.511"}},
	{"address-banned-by-hand", OUTCOME_C, ACTOR_NETWORK, PROBE,
	    "Microsoft has banned the relay's public address, in a way that the delist portal cannot undo.",
	    "Ask for its removal: forward the reply to delist@microsoft.com; or send by submission."}},
    {{{.code = 5, .from = MX | OTHER, .enhanced = "5.7.1", .fragment = "blocked using|on our block list"}},
	{"address-listed", OUTCOME_C, ACTOR_NETWORK, PROBE,
	    "The relay's public address is on a list of spam sources, as addresses of private and dynamic "
	    "lines are; the reply names the list.",
	    "Have it taken off where the reply says, or send by submission."}},
    {{{.code = 5, .from = MX | OTHER, .enhanced = "5.7.507|5.7.513"}},
	{"address-blocked-by-recipient", OUTCOME_C, ACTOR_TENANT, PROBE,
	    "The recipients' own organisation blocks the relay's public address.",
	    "Take it off: Defender portal > Policies & rules > Threat policies > Anti-spam > Connection "
	    "filter policy."}},
    {{{.code = 5, .from = MX | OTHER, .enhanced = "5.7.508|5.7.510"}},
	{"address-ipv6", OUTCOME_C, ACTOR_NETWORK, PROBE,
	    "The relay sends from an IPv6 address: the recipients' organisation takes no mail from such, or "
	    "too much came from its range.",
	    "Let the relay's machine reach the Internet by IPv4, or send by submission."}},
    {{{.code = 5, .enhanced = "5.7.708"}},
	{"address-reputation", OUTCOME_C, ACTOR_TENANT, PROBE,
	    "Microsoft takes no mail from the relay's public address; usual in new and trial tenants.",
	    "Have a paid licence in the tenant, and open a support case."}},

    /* Blocked senders. */
    {{{.code = 5, .enhanced = "5.1.8", .fragment = "outbound sender|access denied|as(42"}},
	{"sender-restricted", OUTCOME_C, ACTOR_TENANT, PROBE,
	    "Microsoft has restricted this mailbox because spam came from it.",
	    "Find out what sent it, change the password, then unblock: Defender portal > Email & "
	    "collaboration > Review > Restricted entities."}},
    {{{.code = 5, .fragment = "outboundspamexception"}},
	{"outbound-spam", OUTCOME_C, ACTOR_TENANT, PROBE,
	    "The tenant's outbound spam policy stops this mailbox.",
	    "Defender portal > Email & collaboration > Review > Restricted entities: unblock; and look at "
	    "the outbound spam policy's limits."}},
    {{{.code = 5, .enhanced = "5.7.501-503|5.7.800"}},
	{"sender-banned", OUTCOME_C, ACTOR_TENANT, PROBE,
	    "Microsoft has banned the sender for spam, or its whole domain (5.7.800).",
	    "Find out what sent it, then unblock: Defender portal > Restricted entities; a domain: by "
	    "Microsoft support."}},
    {{{.code = 5, .from = MX | OTHER, .enhanced = "5.7.509"}},
	{"dmarc-failed", OUTCOME_P, ACTOR_DNS, BY_RETRY,
	    "The domain in From has mail rejected that fails DMARC: neither SPF nor DKIM vouches for the "
	    "relay.",
	    "Add the relay's public address to the domain's SPF record, where it is one of yours; else set "
	    "sender of this upstream to \"map\", so that From is of your domain; or send by submission."}},
    {{{.code = 5, .enhanced = "5.7.504-511|5.7.513"}},
	{"policy-refused", OUTCOME_P, ACTOR_RECIPIENT, BY_RETRY,
	    "A policy of the receiving side refuses this message; the reply's words say which.",
	    "Do as the reply says."}},
    {{{.code = 5, .enhanced = "5.7.703"}},
	{"tenant-block-list", OUTCOME_P, ACTOR_TENANT, BY_RETRY,
	    "A sender, recipient or link of the message is on the tenant's block list.",
	    "Defender portal > Policies & rules > Threat policies > Tenant Allow/Block Lists."}},
    {{{.code = 5, .enhanced = "5.7.705"}},
	{"tenant-blocked", OUTCOME_C, ACTOR_TENANT, PROBE,
	    "Microsoft has stopped all outgoing mail of the tenant: it looks compromised.",
	    "Find and clean the account that sends the spam (Defender portal > Restricted entities), then "
	    "ask Microsoft support."}},
    {{{.code = 5, .enhanced = "5.7.711"}, {.code = 5, .fragment = "bad inbound connector|as(2204)"}},
	{"connector-blocked", OUTCOME_C, ACTOR_EXCHANGE, PROBE,
	    "The inbound connector is blocked as compromised.",
	    "Get-BlockedConnector, then Remove-BlockedConnector -ConnectorId <id>, after the cause is "
	    "found."}},
    {{{.code = 5, .enhanced = "5.7.750"}},
	{"domain-not-registered", OUTCOME_C, ACTOR_TENANT, PROBE,
	    "Mail was sent from a domain that is not registered in the tenant.",
	    "Add the domain (Microsoft 365 admin centre > Settings > Domains), or correct the devices' "
	    "From."}},
};

const struct reply_table limit_replies = {"Limits and blocked senders", rows, sizeof rows / sizeof rows[0]};
