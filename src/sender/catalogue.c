#include "sender/catalogue.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smtp/reply.h"

#define PROBE_S	      600  /* C: ten minutes from one look at a held road to the next */
#define RARE_PROBE_S  3600 /* C: each look may bring an account nearer to being locked */
#define HOUR_S	      3600
#define AT(phase)     (1u << (phase))
#define BEFORE_MAIL   (AT(PHASE_BANNER) | AT(PHASE_EHLO) | AT(PHASE_STARTTLS) | AT(PHASE_AUTH))
#define ENHANCED_ROOM 16

/* One case. The first row that fits decides, so what is specific stands above what is general. Alternatives
 * inside a pattern are separated by '|'. */
struct row {
	int code;	      /* an exact code; 4 or 5: any of that class; 0: any */
	unsigned phases;      /* AT() of the phases it is for; 0: all */
	const char *enhanced; /* "5.7.139", "5.7.606-649"; NULL: any, or none */
	const char *fragment; /* lower case, no apostrophes (they come straight and curly); NULL: any text */
	struct cause cause;
};

/* A row that ends a message (N, P) never fits a 4xx: a server that says "try again" is taken at its word.
 * Where 4xx and a 5.x.x stand together in a C row, nothing is lost by believing the enhanced code. */
static const struct row rows[] = {
    /* 535 5.7.139: the tenant's policy, not the message. */
    {0, 0, "5.7.139", "security defaults policy",
	{"security-defaults", OUTCOME_C, PROBE_S,
	    "The tenant's security defaults forbid signing in to SMTP with a user name and password.",
	    "Give this upstream an oauth section instead of user and password; or turn security defaults "
	    "off: Entra admin centre > Overview > Properties > Manage security defaults."}},
    {0, 0, "5.7.139", "basic authentication is disabled",
	{"basic-auth-disabled", OUTCOME_C, PROBE_S,
	    "An authentication policy of the tenant blocks SMTP sign-in with a user name and password.",
	    "Give this upstream an oauth section; or allow it for the account's policy: "
	    "Set-AuthenticationPolicy <policy> -AllowBasicAuthSmtp."}},
    {0, 0, "5.7.139", "did not meet the criteria",
	{"conditional-access", OUTCOME_C, PROBE_S,
	    "A Conditional Access policy refuses this sign-in (multi-factor, location, or legacy "
	    "authentication).",
	    "Use oauth with an app; or exclude the account or trust the relay's public address: Entra admin "
	    "centre > Protection > Conditional Access > Policies. The account's sign-in log names the "
	    "policy."}},
    {0, 0, "5.7.139", "disabled for the mailbox",
	{"smtp-auth-off-mailbox", OUTCOME_C, PROBE_S,
	    "Authenticated SMTP is switched off for this mailbox; that stops OAuth too.",
	    "Set-CASMailbox <mailbox> -SmtpClientAuthenticationDisabled $false, then wait up to an hour."}},
    {0, 0, "5.7.139", "disabled for the tenant",
	{"smtp-auth-off-tenant", OUTCOME_C, PROBE_S,
	    "Authenticated SMTP is off for the whole tenant and the mailbox has no setting of its own; that "
	    "stops OAuth too.",
	    "Switch it on for this one mailbox: Set-CASMailbox <mailbox> -SmtpClientAuthenticationDisabled "
	    "$false. The tenant's setting can stay off."}},
    {0, 0, "5.7.139", "credentials were incorrect",
	{"wrong-password", OUTCOME_C, RARE_PROBE_S,
	    "Microsoft 365 does not accept the user name or the password.",
	    "Correct user (then reload) or the password's file (then: mfdrelay queue retry all). It is tried "
	    "rarely until then, because wrong passwords lock the account."}},
    {0, 0, "5.7.139", "not authenticated to send",
	{"not-authenticated", OUTCOME_C, PROBE_S, "The upstream wants a sign-in and none was made.",
	    "Give this upstream oauth, or user and password."}},
    {0, 0, "5.7.139", "organization configuration does not allow",
	{"hve-basic-not-allowed", OUTCOME_C, PROBE_S,
	    "Security defaults, Conditional Access or an authentication policy forbid basic sign-in for this "
	    "account.",
	    "Use oauth for this upstream; or give the account an authentication policy made with "
	    "New-AuthenticationPolicy -AllowBasicAuthSmtp."}},
    {0, 0, "5.7.139", "federated sts service was unreachable",
	{"federation-down", OUTCOME_T, 0,
	    "The tenant's own sign-in server (AD FS) could not be reached by Microsoft.",
	    "Bring AD FS back; an upstream with oauth and an app does not need it."}},
    {0, 0, "5.7.139", "sts url does not support https",
	{"federation-no-https", OUTCOME_C, PROBE_S,
	    "The tenant's own sign-in server (AD FS) is set up without HTTPS.",
	    "Correct the federation's URL; an upstream with oauth and an app does not need it."}},
    {0, 0, "5.7.139", "user or tenant not allowed",
	{"not-allowed", OUTCOME_C, PROBE_S, "The account or the tenant has no right to send this way.",
	    "Check the app's permission and its right on the mailbox: Get-MailboxPermission <mailbox>, "
	    "Test-ServicePrincipalAuthorization <app> -Resource <mailbox>."}},
    {0, 0, "5.7.139", "contact your administrator",
	{"mfa-required", OUTCOME_C, PROBE_S,
	    "A policy of the tenant demands a second factor for this sign-in.",
	    "Use oauth with an app, or exclude the account from the policy: Entra admin centre > Protection "
	    "> Conditional Access."}},
    {0, 0, "5.7.139", NULL,
	{"sign-in-refused", OUTCOME_C, PROBE_S,
	    "A policy of the tenant refuses the sign-in; the reply's own words say which.",
	    "Look at the account's or app's sign-in log: Entra admin centre > Monitoring > Sign-in logs."}},

    /* The token, and what it may do. */
    {535, 0, "5.7.3", NULL,
	{"credential-refused", OUTCOME_A, PROBE_S,
	    "The upstream does not accept who we say we are: token, mailbox and rights do not go together.",
	    "Check: New-ServicePrincipal was given the object id of the ENTERPRISE application (not of the "
	    "app registration); SMTP.SendAsApp has admin consent; Add-MailboxPermission <mailbox> -User "
	    "<object id> -AccessRights FullAccess was run; mailbox is the primary address. New rights can "
	    "take two hours."}},
    {5, 0, "5.7.142-143", NULL,
	{"token-stale", OUTCOME_A, PROBE_S, "The token has ended, or is about to.",
	    "Nothing, a new one is fetched; if it stays, set the relay's clock right (timedatectl)."}},
    {0, 0, "5.7.144", NULL,
	{"app-permission-missing", OUTCOME_C, PROBE_S, "The app lacks the permission that this road needs.",
	    "Entra admin centre > App registrations > API permissions: add Office 365 Exchange Online > "
	    "Mail.Send, then grant admin consent."}},
    {0, 0, "5.5.124", NULL,
	{"hve-mailbox-wrong", OUTCOME_C, PROBE_S,
	    "The address given as mailbox is not a valid High Volume Email account.",
	    "Set mailbox to the primary address of the HVE account (Get-MailUser -HVEAccount)."}},
    {0, 0, "5.5.121-126", NULL,
	{"xoauth2-malformed", OUTCOME_C, PROBE_S, "The upstream finds the sign-in string malformed.",
	    "Check mailbox for stray characters; if it is right, this is a fault of the relay: report it "
	    "with the log line."}},
    {0, 0, "5.7.240", NULL,
	{"hve-app-not-allowed", OUTCOME_C, PROBE_S,
	    "The app has not been given access to this High Volume Email account.",
	    "Add-HVEAppAccess -Identity <mailbox> -AppIds <object id of the enterprise application>; it "
	    "works after some five minutes."}},
    {0, 0, "5.7.30", NULL,
	{"basic-auth-retired", OUTCOME_C, PROBE_S, "Microsoft no longer takes user name and password here.",
	    "Replace user and password of this upstream by an oauth section."}},
    {0, 0, "5.7.57", NULL,
	{"not-authenticated", OUTCOME_C, PROBE_S,
	    "The upstream wants a sign-in before mail, and none succeeded.",
	    "Give this upstream oauth, or user and password."}},
    {0, 0, "5.7.3|5.7.0", "starttls",
	{"starttls-required", OUTCOME_C, PROBE_S,
	    "The upstream takes no mail without TLS, and TLS was not in use.",
	    "Leave tls of this upstream at \"required\"; if it is, a firewall or mail filter between here "
	    "and Microsoft strips STARTTLS: switch off its SMTP inspection."}},
    {0, 0, "4.7.66", NULL,
	{"tls-too-old", OUTCOME_C, PROBE_S, "The upstream saw a TLS version below 1.2.",
	    "Look for a device in between that opens TLS; and for a lowered MinProtocol in "
	    "/etc/ssl/openssl.cnf."}},
    {504, BEFORE_MAIL, "5.7.4", NULL,
	{"mechanism-unknown", OUTCOME_C, PROBE_S, "The upstream does not know the sign-in mechanism.",
	    "Check host and kind of this upstream: smtp.office365.com and HVE take XOAUTH2 and LOGIN."}},
    {0, 0, "5.7.59", NULL,
	{"hve-trial", OUTCOME_C, PROBE_S,
	    "High Volume Email is not open to a tenant that has trial subscriptions only.",
	    "Buy a subscription, or route this mail by another upstream."}},
    {530, 0, NULL, NULL,
	{"not-authenticated", OUTCOME_C, PROBE_S, "The upstream wants a sign-in (or TLS) first.",
	    "Check kind and tls of this upstream, and give it oauth, or user and password."}},
    {503, 0, NULL, NULL,
	{"out-of-step", OUTCOME_C, PROBE_S, "The upstream says that the commands came in the wrong order.",
	    "If it happens again, report it with the log line: it is a fault of the relay, or of a device in "
	    "between."}},

    /* Who may send as whom. 5.2.252 means two things: the throttle's text names the refusal too, so it goes
       first. */
    {5, 0, "5.2.252", "throttled",
	{"throttled-send-as", OUTCOME_S, HOUR_S,
	    "The mailbox is blocked for a while because it kept sending with addresses it has no right to.",
	    "Stop the device that sends with a foreign From, or grant the right (Add-RecipientPermission "
	    "<address> -Trustee <mailbox or app> -AccessRights SendAs). Microsoft lifts the block by "
	    "itself."}},
    {5, 0, "5.2.252|5.2.0|5.7.60", "sendasdenied|not allowed to send as",
	{"send-as-denied", OUTCOME_P, 0,
	    "The mailbox has no right to send with the From address of this message.",
	    "Set the device's From to the mailbox's address, or: Add-RecipientPermission <From address> "
	    "-Trustee <mailbox or app> -AccessRights SendAs."}},
    {550, 0, "5.2.252", NULL,
	{"throttled-send-as", OUTCOME_S, HOUR_S,
	    "The mailbox is blocked for a while because it kept sending with addresses it has no right to.",
	    "Stop the device that sends with a foreign From, or grant it SendAs. Microsoft lifts the block "
	    "by itself."}},
    {5, 0, "5.7.60|5.2.252", NULL,
	{"send-as-denied", OUTCOME_P, 0,
	    "The mailbox has no right to send with the sender address of this message.",
	    "Set the device's From to the mailbox's address, or: Add-RecipientPermission <From address> "
	    "-Trustee <mailbox or app> -AccessRights SendAs."}},
    {5, 0, "5.1.7", "sender domain has not been linked",
	{"sender-domain-not-linked", OUTCOME_P, 0,
	    "The domain of the From address is not linked to the mail service.",
	    "Link the domain (Azure portal > Communication Service > Domains), or correct the device's "
	    "From."}},

    /* Slow down. */
    {0, 0, "4.3.2", "thread limit exceeded|concurrent connections limit",
	{"too-many-connections", OUTCOME_S, 45,
	    "More connections at a time than Microsoft allows a mailbox (three).",
	    "Lower window.connections of this upstream, and see whether another program uses the same "
	    "mailbox."}},
    {0, 0, "4.3.2", "message limit per account",
	{"too-many-messages", OUTCOME_S, 60,
	    "More messages a minute than Microsoft allows a mailbox (thirty).",
	    "Nothing, it goes on by itself; if it is frequent, spread the devices over several mailboxes."}},
    {432, 0, NULL, NULL,
	{"throttled", OUTCOME_S, 60, "The upstream asks to slow down.", "Nothing, it goes on by itself."}},
    {4, 0, "4.5.127", NULL,
	{"sending-too-fast", OUTCOME_S, 60, "More messages than the mail service allows this sender.",
	    "Nothing, it goes on by itself; a higher quota is granted by a support request."}},
    {421, 0, "4.4.2", "rate",
	{"submission-rate", OUTCOME_S, 60, "The upstream closed the connection because mail came too fast.",
	    "Nothing, it goes on by itself."}},
    {5, 0, "5.1.90", NULL,
	{"daily-recipients", OUTCOME_S, HOUR_S,
	    "The mailbox has reached its limit of recipients in 24 hours (10,000).",
	    "Nothing for today, the mail waits; spread the devices over several mailboxes, or send internal "
	    "mail by HVE."}},
    {5, 0, NULL, "submissionquotaexceeded",
	{"daily-recipients", OUTCOME_S, HOUR_S,
	    "The mailbox has reached its limit of recipients in 24 hours (10,000).",
	    "Nothing for today, the mail waits; spread the devices over several mailboxes, or send internal "
	    "mail by HVE."}},
    {5, 0, "5.2.251", NULL,
	{"throttled-mailbox-full", OUTCOME_S, HOUR_S,
	    "The mailbox is blocked for a while because it is full.",
	    "Empty its Sent Items and give it a retention policy; Microsoft lifts the block by itself."}},
    {5, 0, "5.2.253", NULL,
	{"throttled-licence", OUTCOME_S, HOUR_S,
	    "The mailbox is blocked for a while because its licence is not valid.",
	    "Assign a licence: Microsoft 365 admin centre > Users > Active users. Microsoft lifts the block "
	    "by itself."}},
    {5, 0, "5.2.254", NULL,
	{"throttled-recipient-count", OUTCOME_S, HOUR_S,
	    "The mailbox is blocked for a while because its messages had too many recipients.",
	    "Lower limits.recipients, or use a distribution group; Microsoft lifts the block by itself."}},
    {5, 0, "5.2.255", NULL,
	{"throttled-recipients-invalid", OUTCOME_S, HOUR_S,
	    "The mailbox is blocked for a while because it kept writing to addresses that do not exist.",
	    "Clean the devices' address books; Microsoft lifts the block by itself."}},
    {0, 0, "5.2.121-122", NULL,
	{"recipient-too-busy", OUTCOME_T, HOUR_S,
	    "The recipient's mailbox has got more mail this hour than Microsoft allows.",
	    "Nothing, it goes on by itself; find what writes so much to it."}},
    {5, 0, "5.7.233", NULL,
	{"tenant-external-limit", OUTCOME_S, HOUR_S,
	    "The tenant has reached its limit of external recipients in 24 hours; it grows with the number "
	    "of licences.",
	    "See Exchange admin centre > Reports > Mail flow > Tenant outbound external recipients; send "
	    "less outside, or buy licences."}},
    {5, 0, "5.7.232", NULL,
	{"trial-external-limit", OUTCOME_S, HOUR_S,
	    "A trial tenant has reached its limit of external recipients in 24 hours.",
	    "Buy a subscription; until then the mail waits."}},
    {5, 0, "5.7.236", NULL,
	{"onmicrosoft-limit", OUTCOME_S, HOUR_S,
	    "Mail from an onmicrosoft.com address may go to 100 external recipients a day only.",
	    "Send from an address of a domain of your own: Microsoft 365 admin centre > Settings > "
	    "Domains."}},
    {4, 0, "4.7.500-699", NULL,
	{"address-throttled", OUTCOME_S, 900,
	    "Microsoft limits mail from the relay's public address, which it hardly knows.",
	    "Make an inbound connector for that address: Exchange admin centre > Mail flow > Connectors; or "
	    "send by submission."}},
    {4, 0, "4.7.850-899", NULL,
	{"address-analysed", OUTCOME_S, 900,
	    "Microsoft examines mail from the relay's public address and refuses it meanwhile.",
	    "Make an inbound connector for that address: Exchange admin centre > Mail flow > Connectors; or "
	    "send by submission."}},

    /* Blocked. */
    {5, 0, "5.1.8", "outbound sender|access denied|as(42",
	{"sender-restricted", OUTCOME_C, PROBE_S,
	    "Microsoft has restricted this mailbox because spam came from it.",
	    "Find out what sent it, change the password, then unblock: Defender portal > Email & "
	    "collaboration > Review > Restricted entities."}},
    {5, 0, NULL, "outboundspamexception",
	{"outbound-spam", OUTCOME_C, PROBE_S, "The tenant's outbound spam policy stops this mailbox.",
	    "Defender portal > Email & collaboration > Review > Restricted entities: unblock; and look at "
	    "the outbound spam policy's limits."}},
    {5, 0, "5.7.501-503", NULL,
	{"sender-banned", OUTCOME_C, PROBE_S, "Microsoft has banned the sender for spam.",
	    "Find out what sent it, then unblock: Defender portal > Restricted entities, or support."}},
    {5, 0, "5.7.511", NULL,
	{"address-banned", OUTCOME_C, PROBE_S, "Microsoft has banned the relay's public address.",
	    "Ask for its removal: forward the reply to delist@microsoft.com; or send by submission."}},
    {5, 0, "5.7.504-513", "sending ip|client ip",
	{"address-banned", OUTCOME_C, PROBE_S, "Microsoft has banned the relay's public address.",
	    "Ask for its removal at https://sender.office.com, or send by submission."}},
    {5, 0, "5.7.504-513", NULL,
	{"policy-refused", OUTCOME_P, 0,
	    "A policy of the receiving side refuses this message; the reply's words say which.",
	    "Do as the reply says."}},
    {5, 0, "5.7.606-649", NULL,
	{"address-banned", OUTCOME_C, PROBE_S,
	    "The relay's public address is on Microsoft's list of banned senders.",
	    "Take it off at https://sender.office.com, or send by submission."}},
    {5, 0, "5.7.703", NULL,
	{"tenant-block-list", OUTCOME_P, 0,
	    "A sender, recipient or link of the message is on the tenant's block list.",
	    "Defender portal > Policies & rules > Threat policies > Tenant Allow/Block Lists."}},
    {5, 0, "5.7.705", NULL,
	{"tenant-blocked", OUTCOME_C, PROBE_S,
	    "Microsoft has stopped all outgoing mail of the tenant: it looks compromised.",
	    "Find and clean the account that sends the spam (Defender portal > Restricted entities), then "
	    "ask Microsoft support."}},
    {5, 0, "5.7.708", NULL,
	{"address-reputation", OUTCOME_C, PROBE_S,
	    "Microsoft takes no mail from the relay's public address; usual in new and trial tenants.",
	    "Have a paid licence in the tenant, and open a support case."}},
    {5, 0, "5.7.711", NULL,
	{"connector-blocked", OUTCOME_C, PROBE_S, "The inbound connector is blocked as compromised.",
	    "Get-BlockedConnector, then Remove-BlockedConnector -ConnectorId <id>, after the cause is "
	    "found."}},
    {5, 0, "5.7.750", NULL,
	{"domain-not-registered", OUTCOME_C, PROBE_S,
	    "Mail was sent from a domain that is not registered in the tenant.",
	    "Add the domain (Microsoft 365 admin centre > Settings > Domains), or correct the devices' "
	    "From."}},

    /* Recipients. */
    {5, 0, "5.1.10", NULL,
	{"recipient-unknown", OUTCOME_P, 0, "There is no such recipient.",
	    "Correct the address in the device's address book."}},
    {5, 0, "5.1.1|5.1.0|5.1.2|5.1.3|5.1.6", NULL,
	{"recipient-unknown", OUTCOME_P, 0, "The address is unknown or not valid.",
	    "Correct the address in the device's address book."}},
    {5, 0, "5.4.1", "relay access denied",
	{"relay-denied", OUTCOME_N, 0, "This road takes mail for the tenant's own recipients only.",
	    "Route external recipients by an upstream of kind submission."}},
    {5, 0, "5.4.1", NULL,
	{"recipient-refused", OUTCOME_P, 0,
	    "The recipient is not in the tenant's directory, or its domain is not one of the tenant's.",
	    "Check the address, and host of this upstream (Microsoft 365 admin centre > Settings > Domains "
	    "shows the MX)."}},
    {5, 0, "5.7.54", NULL,
	{"relay-denied", OUTCOME_N, 0, "This road takes mail for the tenant's own domains only.",
	    "Route external recipients by an upstream of kind submission."}},
    {5, 0, "5.7.64", NULL,
	{"connector-no-match", OUTCOME_C, PROBE_S,
	    "No connector of the tenant matches: the public address changed, or the certificate or sender "
	    "domain is not the tenant's.",
	    "Exchange admin centre > Mail flow > Connectors: compare address or certificate name; "
	    "Get-InboundConnector | fl."}},
    {5, 0, "5.7.68", NULL,
	{"direct-send-rejected", OUTCOME_C, PROBE_S,
	    "The tenant rejects Direct Send, and no connector matches this relay.",
	    "Make a connector for the relay's public address, or route this mail by submission or HVE; or: "
	    "Set-OrganizationConfig -RejectDirectSend $false."}},
    {5, 0, "5.7.124", NULL,
	{"sender-not-listed", OUTCOME_P, 0, "The group takes mail from listed senders only.",
	    "Set-DistributionGroup <group> -AcceptMessagesOnlyFromSendersOrMembers @{Add=\"<sender>\"}."}},
    {5, 0, "5.7.133-136", NULL,
	{"sender-auth-required", OUTCOME_N, 0,
	    "The recipient takes mail from signed-in senders of the organisation only.",
	    "Route this mail by submission or HVE; or: Set-DistributionGroup (Set-Mailbox) <recipient> "
	    "-RequireSenderAuthenticationEnabled $false."}},
    {5, 0, NULL, "rst.authrequired",
	{"sender-auth-required", OUTCOME_N, 0,
	    "The recipient takes mail from signed-in senders of the organisation only.",
	    "Route this mail by submission or HVE; or: Set-DistributionGroup (Set-Mailbox) <recipient> "
	    "-RequireSenderAuthenticationEnabled $false."}},
    {5, 0, "5.7.1", "relay",
	{"relay-denied", OUTCOME_N, 0, "The upstream does not relay to this recipient.",
	    "Route external recipients by an upstream of kind submission, or let that server relay for this "
	    "one."}},
    {5, 0, "5.7.12", NULL,
	{"sender-not-authenticated", OUTCOME_N, 0,
	    "The recipient's organisation refuses mail that was not signed in.",
	    "Route this mail by submission."}},
    {5, 0, "5.7.23", NULL,
	{"spf-failed", OUTCOME_C, PROBE_S,
	    "The sender domain's SPF record does not list the relay's public address.",
	    "Add it to the domain's TXT record: v=spf1 ip4:<address> include:spf.protection.outlook.com "
	    "~all."}},
    {0, 0, "5.7.25|4.7.25", NULL,
	{"no-reverse-name", OUTCOME_C, PROBE_S, "The relay's public address has no name in reverse DNS.",
	    "Have the Internet provider set a PTR record."}},
    {0, 0, "5.7.26|4.7.26", NULL,
	{"mail-not-authenticated", OUTCOME_C, PROBE_S,
	    "Neither SPF nor DKIM vouches for mail from the relay's public address.",
	    "Set SPF for the sender domain (with the address in use, IPv4 or IPv6) and a PTR record."}},
    {5, 0, "5.7.515", NULL,
	{"domain-authentication-level", OUTCOME_P, 0,
	    "The recipient's provider wants SPF, DKIM and DMARC of the sender domain.",
	    "Publish all three in the sender domain's DNS."}},
    {5, 0, "5.5.3", NULL,
	{"too-many-recipients", OUTCOME_P, 0, "More recipients in one message than the mailbox may write to.",
	    "Lower limits.recipients; or: Set-Mailbox <mailbox> -RecipientLimits <n>; or use a distribution "
	    "group."}},
    {4, 0, "4.5.3", NULL,
	{"transaction-full", OUTCOME_T, REST_AT_ONCE, "No more recipients fit into this transaction.",
	    "Nothing, the others follow in the next."}},

    /* Sizes and full mailboxes. Exchange says 554 5.2.2 after the content when the sender's own Sent Items
       are full. */
    {5, 0, "5.2.2", "storedrv.deliver",
	{"recipient-mailbox-full", OUTCOME_P, 0, "The recipient's mailbox is full.",
	    "The recipient must make room."}},
    {5, 0, "5.2.2", "storedrv.submission|storedrv.clientsubmit",
	{"sender-mailbox-full", OUTCOME_C, PROBE_S,
	    "The sending mailbox is full: it keeps a copy of each scan in Sent Items.",
	    "Empty its Sent Items and give it a retention policy; or: Set-Mailbox <mailbox> "
	    "-ProhibitSendQuota <size>."}},
    {554, AT(PHASE_MAIL) | AT(PHASE_DATA) | AT(PHASE_CONTENT), "5.2.2", NULL,
	{"sender-mailbox-full", OUTCOME_C, PROBE_S,
	    "The sending mailbox is full: it keeps a copy of each scan in Sent Items.",
	    "Empty its Sent Items and give it a retention policy; or: Set-Mailbox <mailbox> "
	    "-ProhibitSendQuota <size>."}},
    {5, 0, "5.2.2", NULL,
	{"recipient-mailbox-full", OUTCOME_P, 0, "The recipient's mailbox is full.",
	    "The recipient must make room."}},
    {5, 0, "5.2.3", "sender",
	{"message-too-large", OUTCOME_P, 0, "The message is larger than the sending mailbox may send.",
	    "Set-Mailbox <mailbox> -MaxSendSize 150MB; or scan at a lower resolution."}},
    {5, 0, "5.2.3", NULL,
	{"message-too-large", OUTCOME_P, 0, "The message is larger than the recipient takes.",
	    "Set-Mailbox <recipient> -MaxReceiveSize 150MB; or scan at a lower resolution."}},
    {5, 0, "5.3.4", "header size",
	{"header-too-large", OUTCOME_P, 0, "The message's header is larger than the upstream takes.",
	    "Shorten what the device writes into the header (the list of recipients, mostly)."}},
    {5, 0, "5.3.4", NULL,
	{"message-too-large", OUTCOME_P, 0, "The message is larger than the upstream takes.",
	    "Scan at a lower resolution, or in several parts."}},

    /* Content. */
    {5, 0, "5.6.11", NULL,
	{"bare-line-feed", OUTCOME_P, 0, "The upstream found a bare line feed in the message.",
	    "Report it: the relay should have repaired that."}},
    {5, 0, "5.6.0", NULL,
	{"content-refused", OUTCOME_P, 0,
	    "The upstream finds the message's header or content malformed (often the From line).",
	    "Correct the sender's name and address in the device's settings."}},
    {5, 0, "5.4.6|5.4.14", NULL,
	{"mail-loop", OUTCOME_P, 0, "The message goes round in a circle.",
	    "Look for a connector or forwarding rule that sends this recipient's mail back to the relay."}},

    /* The service. */
    {4, 0, "4.4.62", NULL,
	{"wrong-region", OUTCOME_T, 0, "The mail went to a Microsoft region that does not serve this tenant.",
	    "Compare host of this upstream with the domain's MX (Microsoft 365 admin centre > Settings > "
	    "Domains)."}},
    {5, 0, "4.4.4", NULL,
	{"domain-unknown", OUTCOME_C, PROBE_S, "Microsoft knows no tenant or connector for this mail.",
	    "Check that the domain is an accepted domain of the tenant, and host of this upstream."}},
    {4, 0, "4.3.1|4.3.2|4.4.1|4.4.2|4.4.3|4.7.0", NULL,
	{"service-trouble", OUTCOME_T, 0, "The upstream has trouble of its own, or closed the connection.",
	    "Nothing, it is tried again; if it lasts, look at Microsoft 365 admin centre > Health > Service "
	    "health."}},

    /* What no row above knows. */
    {4, 0, NULL, NULL,
	{"unlisted-temporary", OUTCOME_T, 0, "The upstream asks to try again later.",
	    "Nothing, it is tried again."}},
    {5, BEFORE_MAIL, NULL, NULL,
	{"unlisted-before-mail", OUTCOME_C, PROBE_S, "The upstream refuses the connection or the sign-in.",
	    "Do as its reply says; check host, kind and credential of this upstream."}},
    {5, 0, NULL, NULL,
	{"unlisted-permanent", OUTCOME_P, 0, "The upstream refuses the message.", "Do as its reply says."}},
};

/* What is not a reply, in the order of enum road_trouble. */
static const struct cause troubles[] = {
    [ROAD_DNS] = {"name-not-resolved", OUTCOME_T, 0, "The upstream's host name can not be resolved.",
	"Check host of this upstream, and this machine's DNS (resolvectl query <host>)."},
    [ROAD_CONNECT] = {"connect-failed", OUTCOME_T, 0, "No connection to the upstream can be made.",
	"Check that firewall and Internet provider let this machine out to the upstream's port (587, for "
	"direct-send 25)."},
    [ROAD_TLS] = {"tls-failed", OUTCOME_T, 0, "TLS with the upstream could not be set up.",
	"Look for a firewall that inspects SMTP; the upstream must speak TLS 1.2 or later."},
    [ROAD_CERTIFICATE] = {"certificate-not-verified", OUTCOME_C, PROBE_S,
	"The upstream's certificate does not prove that it is the host the config names.",
	"Where this upstream names ca, that file must hold the CA of the certificate; else install the "
	"ca-certificates package. Set the clock; look for a firewall that opens TLS (name its "
	"CA with ca of this upstream if that is wanted); check host."},
    [ROAD_NO_STARTTLS] = {"starttls-not-offered", OUTCOME_C, PROBE_S, "The upstream does not offer STARTTLS.",
	"Microsoft always does: switch off the SMTP inspection of the firewall or mail filter in between; "
	"check host and port."},
    [ROAD_NO_AUTH] = {"mechanism-not-offered", OUTCOME_C, PROBE_S,
	"The upstream does not offer the sign-in that this credential needs.",
	"Check host and kind of this upstream; Microsoft offers XOAUTH2 and LOGIN at smtp.office365.com, and "
	"none at an MX."},
    [ROAD_CUT] = {"connection-lost", OUTCOME_T, 0, "The connection to the upstream was lost.",
	"Nothing, it is tried again; if it is frequent, look at the firewall's time limits."},
    [ROAD_TIMEOUT] = {"no-answer", OUTCOME_T, 0, "The upstream did not answer in time.",
	"Nothing, it is tried again; if it is frequent, look at the Internet line and the firewall."},
    [ROAD_GARBAGE] = {"not-smtp", OUTCOME_T, 0, "What the upstream answered is not SMTP.",
	"Check host and port of this upstream, and what stands between it and this machine."},
    [ROAD_SECRET] = {"secret-unusable", OUTCOME_C, PROBE_S, "The file of a secret can not be used.",
	"Do as the text says; the file should belong to root, its group be the daemon's, its mode 0640."},
    [ROAD_LOGIN_HOST] = {"login-host-silent", OUTCOME_T, 0,
	"The login host gave no answer, or none it could stand by.",
	"Nothing, it is asked again; if it lasts, check that this machine may reach the host of "
	"oauth.authority (login.microsoftonline.com) on port 443."},
    [ROAD_LOGIN_CERTIFICATE] = {"login-certificate-not-verified", OUTCOME_C, PROBE_S,
	"The login host's certificate does not prove that it is the host of oauth.authority.",
	"Where oauth names ca, that file must hold the CA of the certificate; else install the "
	"ca-certificates package. Set the clock; look for a firewall that opens TLS (name its CA with "
	"oauth.ca if that is wanted)."},
    [ROAD_LOGIN_ANSWER] = {"login-answer-unusable", OUTCOME_C, 300,
	"What the login host answered is not a token answer.",
	"Check authority and tenant of oauth; look for a proxy or a sign-on page that answers in Microsoft's "
	"place."},
    [ROAD_PASSWORD] = {"password-refused", OUTCOME_C, RARE_PROBE_S,
	"The upstream does not accept the user name and the password.",
	"Correct user (then reload) or the password's file (then: mfdrelay queue retry all); see whether the "
	"account may still sign in by password, else give this upstream oauth. It is tried rarely until "
	"then, "
	"because wrong passwords lock the account."},
    [ROAD_TOO_LARGE] = {"message-too-large", OUTCOME_P, 0, "The message is larger than the upstream takes.",
	"Scan at a lower resolution, or in several parts."},
    [ROAD_NO_ROUTE] = {"no-route", OUTCOME_C, PROBE_S, "No route of the config is for this recipient.",
	"Add a route, for example { recipients = [ \"*\" ]; via = [ \"submission\" ]; }, and reload."},
    [ROAD_EXPIRED] = {"expired", OUTCOME_P, 0,
	"It could not be delivered within the time that retry.give_up allows.",
	"See the last reply for what stood in the way; mfdrelay queue retry ID tries again."},
};

/* Login: the answer's error decides T or C, the AADSTS number which words are said. */
static const struct cause login_busy = {"login-host-busy", OUTCOME_T, 0,
    "The login host has trouble of its own, or is busy.",
    "Nothing, it is asked again; if it lasts, look at Microsoft 365 admin centre > Health > Service health."};
static const struct cause login_refused = {"login-refused", OUTCOME_C, PROBE_S,
    "The login host gives this app no token.",
    "Look the number up at https://login.microsoftonline.com/error, and see the app's sign-in log in the "
    "Entra admin centre."};

#define LOGIN_NUMBERS 8

struct login_row {
	long numbers[LOGIN_NUMBERS]; /* AADSTS; 0 ends */
	struct cause cause;
};

static const struct login_row login_rows[] = {
    {{7000215}, {"client-secret-wrong", OUTCOME_C, PROBE_S,
		    "The client secret is wrong; often its id was pasted instead of its value.",
		    "Put the secret's value into the file of client_secret (Entra admin centre > App "
		    "registrations > Certificates & secrets shows it once, when it is made)."}},
    {{7000222}, {"client-secret-expired", OUTCOME_C, PROBE_S, "The client secret has expired.",
		    "Make a new one (Entra admin centre > App registrations > Certificates & secrets) and "
		    "put its value into the file of client_secret."}},
    {{7000218, 700025}, {"client-type-wrong", OUTCOME_C, PROBE_S,
			    "The app is registered as a public client, or came without a secret.",
			    "Entra admin centre > App registrations > Authentication: set Allow public "
			    "client flows to No; give client_secret."}},
    {{700016}, {"app-unknown", OUTCOME_C, PROBE_S, "The tenant has no app with this client id.",
		   "Compare oauth.client_id and oauth.tenant with Entra admin centre > App registrations > "
		   "Overview."}},
    {{90002}, {"tenant-unknown", OUTCOME_C, PROBE_S, "The login host knows no such tenant.",
		  "Correct oauth.tenant (its GUID or a verified domain); for a national cloud set "
		  "oauth.authority."}},
    {{90038, 900382, 900432},
	{"wrong-cloud", OUTCOME_C, PROBE_S, "The tenant lives in another national cloud.",
	    "Set oauth.authority and oauth.scope of that cloud, such as https://login.microsoftonline.us."}},
    {{7000112, 70001}, {"app-disabled", OUTCOME_C, PROBE_S, "The app is disabled in this tenant.",
			   "Entra admin centre > Enterprise applications > the app > Properties: Enabled for "
			   "users to sign in = Yes."}},
    {{7000229},
	{"app-not-in-tenant", OUTCOME_C, PROBE_S, "The tenant has no enterprise application for this app.",
	    "Grant admin consent for the app in this tenant; that makes its enterprise application."}},
    {{500011}, {"resource-unknown", OUTCOME_C, PROBE_S,
		   "The tenant does not know the resource that the scope names.",
		   "Check oauth.scope; the tenant needs an Exchange Online licence."}},
    {{70011, 28002, 1002012, 28000},
	{"scope-wrong", OUTCOME_C, PROBE_S, "The scope is not one that an app can ask for.",
	    "Leave oauth.scope out, or set https://outlook.office365.com/.default (one resource, ending in "
	    "/.default)."}},
    {{65001, 65005, 650056, 650057}, {"consent-missing", OUTCOME_C, PROBE_S,
					 "The app has no permission for mail, or nobody has consented to it.",
					 "Entra admin centre > App registrations > API permissions: Office "
					 "365 Exchange Online > SMTP.SendAsApp, then Grant admin consent."}},
    {{50105}, {"assignment-required", OUTCOME_C, PROBE_S,
		  "The enterprise application lets assigned users and apps in only.",
		  "Entra admin centre > Enterprise applications > Properties: Assignment required = No, or "
		  "assign it."}},
    {{50194, 9001023},
	{"tenant-missing", OUTCOME_C, PROBE_S, "The login host wants the tenant by name for this app.",
	    "Set oauth.tenant to the tenant's GUID or a verified domain; common and organizations do not "
	    "work."}},
    {{9002313, 90014, 900144},
	{"login-request-malformed", OUTCOME_C, PROBE_S, "The login host finds the request malformed.",
	    "Look for stray characters in tenant, client_id and scope of oauth."}},
    {{53003, 53000, 53001, 53002, 530032, 530034, 530035},
	{"conditional-access", OUTCOME_C, PROBE_S, "A security policy of the tenant refuses the app a token.",
	    "Exclude the app, or allow the relay's public address: Entra admin centre > Protection > "
	    "Conditional Access; the service principal's sign-in log names the policy."}},
    {{50196},
	{"login-loop", OUTCOME_C, PROBE_S, "The login host thinks that the same request comes over and over.",
	    "Wait; if it stays, see what else uses this app's client id."}},
};

/* "5.7.139", or "5.7.606-649" for a range of its last part. */
static bool enhanced_fits_one(struct str pattern, const char *enhanced)
{
	const char *dot = memrchr(pattern.p, '.', pattern.n);
	size_t head = (size_t)(dot - pattern.p) + 1;
	char *end;

	if (strncmp(pattern.p, enhanced, head) != 0)
		return false;
	long detail = strtol(enhanced + head, NULL, 10);
	long first = strtol(dot + 1, &end, 10);
	long last = *end == '-' ? strtol(end + 1, NULL, 10) : first;
	return detail >= first && detail <= last;
}

static bool next_alternative(const char **rest, struct str *out)
{
	if (*rest == NULL)
		return false;
	const char *bar = strchr(*rest, '|');
	*out = (struct str){*rest, bar != NULL ? (size_t)(bar - *rest) : strlen(*rest)};
	*rest = bar != NULL ? bar + 1 : NULL;
	return true;
}

static bool enhanced_fits(const char *patterns, const char *enhanced)
{
	struct str pattern;

	if (patterns == NULL)
		return true;
	if (enhanced[0] == '\0')
		return false;
	while (next_alternative(&patterns, &pattern))
		if (enhanced_fits_one(pattern, enhanced))
			return true;
	return false;
}

static bool fragment_fits(const char *fragments, const char *text)
{
	struct str fragment;

	if (fragments == NULL)
		return true;
	while (next_alternative(&fragments, &fragment))
		if (memmem(text, strlen(text), fragment.p, fragment.n) != NULL)
			return true;
	return false;
}

static bool code_fits(const struct row *row, int code)
{
	if (row->cause.outcome == OUTCOME_N || row->cause.outcome == OUTCOME_P)
		if (code < 500)
			return false;
	return row->code == 0 || row->code == code || row->code == code / 100;
}

static bool row_fits(
    const struct row *row, int code, enum smtp_phase phase, const char *enhanced, const char *text)
{
	return code_fits(row, code) && (row->phases == 0 || (row->phases & AT(phase)) != 0) &&
	       enhanced_fits(row->enhanced, enhanced) && fragment_fits(row->fragment, text);
}

/* The length of an enhanced status code at s, which ends there: "5.7.139". 0: none. */
static size_t enhanced_length(const char *s)
{
	size_t n = 1;

	if (s[0] != '4' && s[0] != '5')
		return 0;
	for (int part = 0; part < 2; part++) {
		size_t digits = 0;
		if (s[n++] != '.')
			return 0;
		while (isdigit((unsigned char)s[n + digits]))
			digits++;
		if (digits < 1 || digits > 3)
			return 0;
		n += digits;
	}
	return s[n] == '.' || isalnum((unsigned char)s[n]) ? 0 : n;
}

/* The code that counts: a 5.7.139 anywhere goes first, because clients and servers glue it behind a 5.7.57;
 * then the reply's own; then one of another class than the reply's (451 5.7.3, 550 4.4.4), which stands at
 * the start of a line of the text. */
static void pick_enhanced(char *dst, const struct reply *reply)
{
	dst[0] = '\0';
	for (const char *at = reply->text; (at = strstr(at, "5.7.139")) != NULL; at++)
		if ((at == reply->text || (!isdigit((unsigned char)at[-1]) && at[-1] != '.')) &&
		    enhanced_length(at) == 7) {
			strcpy(dst, "5.7.139");
			return;
		}
	if (reply->enhanced[0] != '\0') {
		snprintf(dst, ENHANCED_ROOM, "%s", reply->enhanced);
		return;
	}
	for (const char *line = reply->text; line != NULL; line = strchr(line, '\n')) {
		line += *line == '\n';
		size_t n = enhanced_length(line);
		if (n != 0) {
			snprintf(dst, ENHANCED_ROOM, "%.*s", (int)n, line);
			return;
		}
	}
}

/* For comparing: lower case, one line, without the "[HOST date id]" that Exchange appends. */
static void comparable(char *dst, size_t size, const char *text)
{
	size_t n = strnlen(text, size - 1);

	for (size_t i = 0; i < n; i++)
		dst[i] = text[i] == '\n' ? ' ' : (char)tolower((unsigned char)text[i]);
	dst[n] = '\0';
	while (n > 0 && dst[n - 1] == ' ')
		dst[--n] = '\0';
	char *bracket = n > 0 && dst[n - 1] == ']' ? strrchr(dst, '[') : NULL;
	if (bracket != NULL)
		*bracket = '\0';
}

void failure_from_reply(struct failure *out, const struct reply *reply, enum smtp_phase phase)
{
	char enhanced[ENHANCED_ROOM], text[REPLY_TEXT_MAX];
	/* Anything else was not a refusal; whoever asks all the same is told "try again". */
	int code = reply->code >= 400 && reply->code <= 599 ? reply->code : 400;
	const struct row *row = rows;

	pick_enhanced(enhanced, reply);
	comparable(text, sizeof text, reply->text);
	while (!row_fits(row, code, phase, enhanced, text)) {
		row++;
		assert(row < rows + sizeof rows / sizeof rows[0]);
	}
	*out = (struct failure){.cause = &row->cause};
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
	*out = (struct failure){.cause = &troubles[trouble]};
	set_text(out, text != NULL ? text : "");
}

static const struct cause *login_cause(const char *error, long aadsts, int http_status)
{
	if (http_status >= 500 || http_status == 429 || strcmp(error, "temporarily_unavailable") == 0 ||
	    strcmp(error, "server_error") == 0)
		return &login_busy;
	for (size_t i = 0; aadsts != 0 && i < sizeof login_rows / sizeof login_rows[0]; i++)
		for (size_t k = 0; k < LOGIN_NUMBERS; k++)
			if (login_rows[i].numbers[k] == aadsts)
				return &login_rows[i].cause;
	return &login_refused;
}

void failure_from_login(
    struct failure *out, const char *error, const char *description, long aadsts, int http_status)
{
	char text[2 * FAILURE_TEXT_MAX];

	error = error != NULL ? error : "";
	snprintf(
	    text, sizeof text, "HTTP %d %s: %s", http_status, error, description != NULL ? description : "");
	*out = (struct failure){.cause = login_cause(error, aadsts, http_status)};
	set_text(out, text);
}

const char *outcome_name(enum outcome outcome)
{
	static const char *const names[] = {"T", "S", "A", "C", "N", "P"};

	return names[outcome];
}
