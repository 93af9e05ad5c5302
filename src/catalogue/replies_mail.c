/* Recipients, roads, content; what the service itself says; and what no row knows. */
#include "catalogue/rows.h"

#include <stddef.h>

static const struct reply_row rows[] = {
    /* Content, whatever number it is given. */
    {{{.code = 5, .enhanced = "5.6.0|5.7.512"}, {.code = 5, .fragment = "from header|from: header"}},
	{"content-refused", OUTCOME_P, ACTOR_DEVICE, BY_RETRY,
	    "The upstream finds the message's header or content malformed: no From, two of them, or a name "
	    "with an @ in it that is not quoted.",
	    "Correct the sender's name and address in the device's settings; leave repairs of the relay at "
	    "\"all\"."}},

    /* Recipients. */
    {{{.code = 5, .enhanced = "5.1.10"}, {.code = 5, .fragment = "recipientnotfound"}},
	{"recipient-not-found", OUTCOME_P, ACTOR_DEVICE, BY_RETRY, "There is no such recipient.",
	    "Correct the address in the device's address book."}},
    {{{.code = 5, .enhanced = "5.1.1|5.1.0|5.1.2|5.1.3|5.1.6"}},
	{"recipient-unknown", OUTCOME_P, ACTOR_DEVICE, BY_RETRY,
	    "The address is unknown or not valid, or a rule of the other side refuses it.",
	    "Correct the address in the device's address book."}},
    {{{.code = 5, .from = HVE, .enhanced = "5.7.54"},
	 {.code = 5, .from = HVE, .enhanced = "5.4.1", .fragment = "relay access denied"}},
	{"hve-internal-only", OUTCOME_N, ACTOR_RELAY, BY_RETRY,
	    "High Volume Email takes mail for the tenant's own recipients only.",
	    "Route external recipients by an upstream of kind submission."}},
    {{{.code = 5, .enhanced = "5.4.1", .fragment = "relay access denied"}, {.code = 5, .enhanced = "5.7.54"},
	 {.code = 5, .enhanced = "5.7.1", .fragment = "relay"}},
	{"relay-denied", OUTCOME_N, ACTOR_RELAY, BY_RETRY,
	    "This upstream takes mail for its own recipients only, and this one is outside.",
	    "Route external recipients by an upstream of kind submission, or make a relay connector: "
	    "Exchange admin centre > Mail flow > Connectors."}},
    {{{.code = 5, .enhanced = "5.4.1"}},
	{"recipient-refused", OUTCOME_P, ACTOR_DEVICE, BY_RETRY,
	    "The recipient is not in the tenant's directory, or its domain is not one of the tenant's.",
	    "Check the address, and host of this upstream (Microsoft 365 admin centre > Settings > Domains "
	    "shows the MX)."}},
    {{{.code = 5, .from = MX | OTHER, .enhanced = "5.7.64"}},
	{"connector-no-match", OUTCOME_C, ACTOR_EXCHANGE, PROBE,
	    "No connector of the tenant matches: the public address changed, the certificate's name or the "
	    "sender's domain is not an accepted domain, or the certificate came without its chain.",
	    "Exchange admin centre > Mail flow > Connectors: compare address or certificate name, type "
	    "\"Your organization's email server\" (Get-InboundConnector lists them). To outside recipients "
	    "the certificate's name or MAIL FROM must be of an accepted domain."}},
    {{{.code = 5, .from = MX | OTHER, .enhanced = "5.7.68"}},
	{"direct-send-rejected", OUTCOME_C, ACTOR_EXCHANGE, PROBE,
	    "The tenant rejects Direct Send, and no connector matches this relay.",
	    "Make a connector for the relay's public address, or route this mail by submission or HVE; or: "
	    "Set-OrganizationConfig -RejectDirectSend $false."}},
    {{{.code = 5, .enhanced = "5.7.124"}},
	{"sender-not-listed", OUTCOME_P, ACTOR_EXCHANGE, BY_RETRY,
	    "The group takes mail from listed senders only.",
	    "Set-DistributionGroup <group> -AcceptMessagesOnlyFromSendersOrMembers @{Add=\"<sender>\"}."}},
    {{{.code = 5, .enhanced = "5.7.133-136"}, {.code = 5, .fragment = "rst.authrequired"},
	 {.code = 5, .phases = AT(PHASE_RCPT) | AT(PHASE_CONTENT), .enhanced = "5.7.13"}},
	{"sender-auth-required", OUTCOME_N, ACTOR_EXCHANGE, BY_RETRY,
	    "The recipient takes mail from signed-in senders of the organisation only.",
	    "Route this mail by submission or HVE; or: Set-DistributionGroup (Set-Mailbox) <recipient> "
	    "-RequireSenderAuthenticationEnabled $false."}},
    {{{.code = 5, .enhanced = "5.7.12"}},
	{"sender-not-authenticated", OUTCOME_N, ACTOR_RELAY, BY_RETRY,
	    "The recipient's organisation refuses mail that was not signed in.",
	    "Route this mail by submission."}},
    {{{.code = 5, .phases = AT(PHASE_BANNER) | AT(PHASE_EHLO) | AT(PHASE_STARTTLS), .enhanced = "5.7.1"}},
	{"relay-refused", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "The upstream refuses this relay as such, before any message.",
	    "Do as the reply says: mostly the relay's public address is blocked there, or not let in. Check "
	    "host of this upstream."}},
    {{{.code = 5, .phases = AT(PHASE_EHLO), .enhanced = "5.5.4"}, {.code = 501, .phases = AT(PHASE_EHLO)}},
	{"ehlo-name-refused", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "The upstream does not take the name that this relay gives itself in EHLO.",
	    "Set hostname in the config to a full name such as relay.contoso.local: letters, digits, inner "
	    "'-' and dots between."}},
    {{{.code = 5, .enhanced = "5.7.1"}},
	{"refused-by-rule", OUTCOME_P, ACTOR_RECIPIENT, BY_RETRY,
	    "A rule or a right of the receiving side refuses this message; the reply's words say which.",
	    "Do as the reply says; the recipient's administrator can see the rule."}},
    {{{.code = 5, .from = MX | OTHER, .enhanced = "5.7.23"}},
	{"spf-failed", OUTCOME_C, ACTOR_DNS, PROBE,
	    "The sender domain's SPF record does not list the relay's public address.",
	    "Add it to the domain's TXT record: v=spf1 ip4:<address> include:spf.protection.outlook.com "
	    "~all."}},
    {{{.from = MX | OTHER, .enhanced = "5.7.25|4.7.25"}},
	{"no-reverse-name", OUTCOME_C, ACTOR_NETWORK, PROBE,
	    "The relay's public address has no name in reverse DNS.",
	    "Have the Internet provider set a PTR record."}},
    {{{.from = MX | OTHER, .enhanced = "5.7.26|4.7.26"}},
	{"mail-not-authenticated", OUTCOME_C, ACTOR_DNS, PROBE,
	    "Neither SPF nor DKIM vouches for mail from the relay's public address.",
	    "Set SPF for the sender domain (with the address in use, IPv4 or IPv6) and a PTR record."}},
    {{{.code = 5, .enhanced = "5.7.23|5.7.25|5.7.26|5.7.515"}},
	{"domain-authentication-level", OUTCOME_P, ACTOR_DNS, BY_RETRY,
	    "The recipient's provider wants SPF, DKIM and DMARC of the sender domain.",
	    "Publish all three in the sender domain's DNS, with spf.protection.outlook.com in the SPF "
	    "record."}},
    {{{.code = 5, .enhanced = "5.5.3"}},
	{"too-many-recipients", OUTCOME_P, ACTOR_EXCHANGE, HALVES,
	    "More recipients in one message than the mailbox may write to.",
	    "Nothing, the message goes out again in halves; to have it in one: Set-Mailbox <mailbox> "
	    "-RecipientLimits <n>, or use a distribution group."}},
    {{{.code = 4, .enhanced = "4.5.3"},
	 /* RFC 5321 section 4.5.3.1.10: 552 is an old form of 452 here. */
	 {.code = 452, .phases = AT(PHASE_RCPT), .fragment = "recipients"},
	 {.code = 552, .phases = AT(PHASE_RCPT), .fragment = "recipients"}},
	{"transaction-full", OUTCOME_T, ACTOR_NOBODY, REST_FOLLOWS,
	    "No more recipients fit into this transaction.", "Nothing, the others follow in the next."}},

    /* Full mailboxes. Exchange says 554 5.2.2 after the content when the sender's own Sent Items are full. */
    {{{.code = 5, .enhanced = "5.2.2", .fragment = "storedrv.submission|storedrv.clientsubmit"},
	 {.code = 554,
	     .from = SUBMISSION | HVE | OTHER,
	     .phases = AT(PHASE_MAIL) | AT(PHASE_DATA) | AT(PHASE_CONTENT),
	     .enhanced = "5.2.2",
	     .fragment = "!storedrv.deliver"}},
	{"sender-mailbox-full", OUTCOME_C, ACTOR_EXCHANGE, PROBE,
	    "The sending mailbox is full: it keeps a copy of each scan in Sent Items.",
	    "Empty its Sent Items and give it a retention policy; or: Set-Mailbox <mailbox> "
	    "-ProhibitSendQuota <size>."}},
    {{{.code = 5, .enhanced = "5.2.2"}},
	{"recipient-mailbox-full", OUTCOME_P, ACTOR_RECIPIENT, BY_RETRY, "The recipient's mailbox is full.",
	    "The recipient must make room."}},

    /* Sizes. */
    {{{.code = 5, .from = HVE, .enhanced = "5.2.3|5.3.4", .fragment = "!header size"}},
	{"hve-message-too-large", OUTCOME_N, ACTOR_DEVICE, BY_RETRY,
	    "The message is larger than High Volume Email takes (10 MB).",
	    "Scan at a lower resolution, or let an upstream of kind submission stand behind it in the "
	    "route."}},
    {{{.code = 5, .from = ACS, .enhanced = "5.2.3|5.3.4", .fragment = "!header size"}},
	{"acs-message-too-large", OUTCOME_N, ACTOR_DEVICE, BY_RETRY,
	    "The message is larger than Azure Communication Services takes (10 MB).",
	    "Scan at a lower resolution; a limit of 30 MB is granted by a support request in the Azure "
	    "portal."}},
    {{{.code = 5, .enhanced = "5.2.3", .fragment = "sender"}},
	{"larger-than-mailbox-sends", OUTCOME_N, ACTOR_EXCHANGE, BY_RETRY,
	    "The message is larger than the sending mailbox may send.",
	    "Set-Mailbox <mailbox> -MaxSendSize 150MB; or scan at a lower resolution."}},
    {{{.code = 5, .enhanced = "5.2.3"}},
	{"larger-than-recipient-takes", OUTCOME_P, ACTOR_RECIPIENT, BY_RETRY,
	    "The message is larger than the recipient takes.",
	    "Set-Mailbox <recipient> -MaxReceiveSize 150MB; or scan at a lower resolution."}},
    {{{.code = 5, .enhanced = "5.3.4", .fragment = "header size"}},
	{"header-too-large", OUTCOME_P, ACTOR_DEVICE, BY_RETRY,
	    "The message's header is larger than the upstream takes.",
	    "Shorten what the device writes into the header (the list of recipients, mostly)."}},
    {{{.code = 5, .enhanced = "5.3.4"}, {.code = 552, .fragment = "size|too large|too big"}},
	{"larger-than-upstream-takes", OUTCOME_P, ACTOR_DEVICE, BY_RETRY,
	    "The message is larger than the upstream takes.",
	    "Scan at a lower resolution, or in several parts."}},

    /* Content. */
    {{{.code = 5, .enhanced = "5.6.11"}}, {"bare-line-feed", OUTCOME_P, ACTOR_RELAY, BY_RETRY,
					      "The upstream found a bare line feed in the message.",
					      "Report it: the relay should have repaired that."}},
    {{{.code = 5, .enhanced = "5.4.6|5.4.14"},
	 {.code = 5, .fragment = "mail loop|hop count exceeded|too many hops"}},
	{"mail-loop", OUTCOME_P, ACTOR_EXCHANGE, BY_RETRY, "The message goes round in a circle.",
	    "Look for a connector or forwarding rule that sends this recipient's mail back to the relay."}},

    /* Where Microsoft looks for the tenant. */
    {{{.code = 4, .enhanced = "4.4.62"}},
	{"wrong-region", OUTCOME_T, ACTOR_RELAY, BY_RETRY,
	    "The mail went to a Microsoft region that does not serve this tenant.",
	    "Nothing yet, the domain's MX is looked up again; if it lasts, compare host of this upstream "
	    "with "
	    "the MX that Microsoft 365 admin centre > Settings > Domains shows."}},
    {{{.code = 5, .enhanced = "4.4.4"}},
	{"domain-unknown", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "Microsoft knows no tenant or connector for this mail.",
	    "Check that the domain is an accepted domain of the tenant, and host of this upstream."}},

    {{{.code = 4, .enhanced = "4.4.7|4.4.8|4.7.5|4.7.321-325"}},
	{"far-side-not-yet", OUTCOME_T, ACTOR_RECIPIENT, BY_RETRY,
	    "Microsoft cannot reach the recipient's server yet, or not safely: its TLS, certificate, DNS or "
	    "policy does not fit.",
	    "Nothing, it is tried again; if it lasts, the recipient's administrator must mend that."}},

    /* What reports of non-delivery say: Microsoft took the message and could not bring it further. */
    {{{.code = 5, .enhanced = "5.4.300|4.4.7"}},
	{"far-side-expired", OUTCOME_P, ACTOR_RECIPIENT, BY_RETRY,
	    "Microsoft tried for a day to reach the recipient's server, in vain.",
	    "The recipient's administrator must bring that server, or the domain's MX, back; then send "
	    "again."}},
    {{{.code = 5, .enhanced = "4.7.321-325|5.7.321-325"}},
	{"far-side-tls", OUTCOME_P, ACTOR_RECIPIENT, BY_RETRY,
	    "Microsoft found no safe TLS at the recipient's server: 321 it has no STARTTLS, 322 its "
	    "certificate has expired, 323 its TLSA record does not fit, 324 its DNSSEC is broken, 325 the "
	    "certificate is for another name.",
	    "The recipient's administrator must mend that (DANE or MTA-STS of the domain demands it)."}},
    {{{.code = 5, .enhanced = "4.4.8|4.7.5|5.7.5"}},
	{"far-side-dns", OUTCOME_P, ACTOR_RECIPIENT, BY_RETRY,
	    "Microsoft cannot prove the recipient's server: trouble with the domain's MTA-STS, DANE or DNS, "
	    "or its certificate.",
	    "The recipient's administrator must mend the domain's policy, DNS or certificate."}},
    {{{.code = 5, .enhanced = "5.0.350"}},
	{"far-side-generic", OUTCOME_P, ACTOR_RECIPIENT, BY_RETRY,
	    "Microsoft could not deliver the message; the number says no more than that.",
	    "Read the text behind the number: it quotes the recipient's server."}},

    /* The service. */
    {{{.code = 4, .enhanced = "4.3.1"}},
	{"service-short", OUTCOME_T, ACTOR_NOBODY, FIVE_MINUTES,
	    "The upstream's server is short of memory or disk.", "Nothing, it is tried again."}},
    {{{.code = 4, .enhanced = "4.3.2|4.4.1|4.4.2|4.4.3|4.7.0"}},
	{"service-trouble", OUTCOME_T, ACTOR_NOBODY, BY_RETRY,
	    "The upstream has trouble of its own, or closed the connection.",
	    "Nothing, it is tried again; if it lasts, look at Microsoft 365 admin centre > Health > Service "
	    "health."}},

    /* What no row above knows. */
    {{{.code = 4}}, {"unlisted-temporary", OUTCOME_T, ACTOR_NOBODY, BY_RETRY,
			"The upstream asks to try again later; the catalogue does not know this reply.",
			"Nothing, it is tried again; if it lasts, do as its words say."}},
    {{{.code = 5, .phases = BEFORE_MAIL}},
	{"unlisted-before-mail", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "The upstream refuses the connection or the sign-in; the catalogue does not know this reply.",
	    "Do as its reply says; check host, kind and credential of this upstream."}},
    {{{.code = 5}}, {"unlisted-permanent", OUTCOME_P, ACTOR_DEVICE, BY_RETRY,
			"The upstream refuses the message; the catalogue does not know this reply.",
			"Do as its reply says."}},
};

const struct reply_table mail_replies = {
    "Recipients, content and the service", rows, sizeof rows / sizeof rows[0]};
