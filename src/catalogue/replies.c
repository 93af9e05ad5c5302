/* What an upstream answers over SMTP. */
#include "catalogue/rows.h"

#include <stddef.h>

const struct reply_row reply_rows[] = {
    /* 535 5.7.139: the tenant's policy, not the message. */
    {{{.enhanced = "5.7.139", .fragment = "security defaults policy"}},
	{"security-defaults", OUTCOME_C, PROBE_S,
	    "The tenant's security defaults forbid signing in to SMTP with a user name and password.",
	    "Give this upstream an oauth section instead of user and password; or turn security defaults "
	    "off: Entra admin centre > Overview > Properties > Manage security defaults."}},
    {{{.enhanced = "5.7.139", .fragment = "basic authentication is disabled"}},
	{"basic-auth-disabled", OUTCOME_C, PROBE_S,
	    "An authentication policy of the tenant blocks SMTP sign-in with a user name and password.",
	    "Give this upstream an oauth section; or allow it for the account's policy: "
	    "Set-AuthenticationPolicy <policy> -AllowBasicAuthSmtp."}},
    {{{.enhanced = "5.7.139", .fragment = "did not meet the criteria"}},
	{"conditional-access", OUTCOME_C, PROBE_S,
	    "A Conditional Access policy refuses this sign-in (multi-factor, location, or legacy "
	    "authentication).",
	    "Use oauth with an app; or exclude the account or trust the relay's public address: Entra admin "
	    "centre > Protection > Conditional Access > Policies. The account's sign-in log names the "
	    "policy."}},
    {{{.enhanced = "5.7.139", .fragment = "disabled for the mailbox"}},
	{"smtp-auth-off-mailbox", OUTCOME_C, PROBE_S,
	    "Authenticated SMTP is switched off for this mailbox; that stops OAuth too.",
	    "Set-CASMailbox <mailbox> -SmtpClientAuthenticationDisabled $false, then wait up to an hour."}},
    {{{.enhanced = "5.7.139", .fragment = "disabled for the tenant"}},
	{"smtp-auth-off-tenant", OUTCOME_C, PROBE_S,
	    "Authenticated SMTP is off for the whole tenant and the mailbox has no setting of its own; that "
	    "stops OAuth too.",
	    "Switch it on for this one mailbox: Set-CASMailbox <mailbox> -SmtpClientAuthenticationDisabled "
	    "$false. The tenant's setting can stay off."}},
    {{{.enhanced = "5.7.139", .fragment = "credentials were incorrect"}},
	{"wrong-password", OUTCOME_C, RARE_PROBE_S,
	    "Microsoft 365 does not accept the user name or the password.",
	    "Correct user (then reload) or the password's file (then: mfdrelay queue retry all). It is tried "
	    "rarely until then, because wrong passwords lock the account."}},
    {{{.enhanced = "5.7.139", .fragment = "not authenticated to send"}},
	{"not-authenticated", OUTCOME_C, PROBE_S, "The upstream wants a sign-in and none was made.",
	    "Give this upstream oauth, or user and password."}},
    {{{.enhanced = "5.7.139", .fragment = "organization configuration does not allow"}},
	{"hve-basic-not-allowed", OUTCOME_C, PROBE_S,
	    "Security defaults, Conditional Access or an authentication policy forbid basic sign-in for this "
	    "account.",
	    "Use oauth for this upstream; or give the account an authentication policy made with "
	    "New-AuthenticationPolicy -AllowBasicAuthSmtp."}},
    {{{.enhanced = "5.7.139", .fragment = "federated sts service was unreachable"}},
	{"federation-down", OUTCOME_T, 0,
	    "The tenant's own sign-in server (AD FS) could not be reached by Microsoft.",
	    "Bring AD FS back; an upstream with oauth and an app does not need it."}},
    {{{.enhanced = "5.7.139", .fragment = "sts url does not support https"}},
	{"federation-no-https", OUTCOME_C, PROBE_S,
	    "The tenant's own sign-in server (AD FS) is set up without HTTPS.",
	    "Correct the federation's URL; an upstream with oauth and an app does not need it."}},
    {{{.enhanced = "5.7.139", .fragment = "user or tenant not allowed"}},
	{"not-allowed", OUTCOME_C, PROBE_S, "The account or the tenant has no right to send this way.",
	    "Check the app's permission and its right on the mailbox: Get-MailboxPermission <mailbox>, "
	    "Test-ServicePrincipalAuthorization <app> -Resource <mailbox>."}},
    {{{.enhanced = "5.7.139", .fragment = "contact your administrator"}},
	{"mfa-required", OUTCOME_C, PROBE_S,
	    "A policy of the tenant demands a second factor for this sign-in.",
	    "Use oauth with an app, or exclude the account from the policy: Entra admin centre > Protection "
	    "> Conditional Access."}},
    {{{.enhanced = "5.7.139"}},
	{"sign-in-refused", OUTCOME_C, PROBE_S,
	    "A policy of the tenant refuses the sign-in; the reply's own words say which.",
	    "Look at the account's or app's sign-in log: Entra admin centre > Monitoring > Sign-in logs."}},

    /* User and password. */
    {{{.code = 535, .phases = AT(PHASE_PASSWORD)}},
	{"password-refused", OUTCOME_C, RARE_PROBE_S,
	    "The upstream does not accept the user name and the password.",
	    "Correct user (then reload) or the password's file (then: mfdrelay queue retry all); see whether "
	    "the account may still sign in by password, else give this upstream oauth. It is tried rarely "
	    "until then, because wrong passwords lock the account."}},

    /* The token, and what it may do. */
    {{{.code = 535, .enhanced = "5.7.3"}},
	{"credential-refused", OUTCOME_A, PROBE_S,
	    "The upstream does not accept who we say we are: token, mailbox and rights do not go together.",
	    "Check: New-ServicePrincipal was given the object id of the ENTERPRISE application (not of the "
	    "app registration); SMTP.SendAsApp has admin consent; Add-MailboxPermission <mailbox> -User "
	    "<object id> -AccessRights FullAccess was run; mailbox is the primary address. New rights can "
	    "take two hours."}},
    {{{.code = 5, .enhanced = "5.7.142-143"}},
	{"token-stale", OUTCOME_A, PROBE_S, "The token has ended, or is about to.",
	    "Nothing, a new one is fetched; if it stays, set the relay's clock right (timedatectl)."}},
    {{{.enhanced = "5.7.144"}},
	{"app-permission-missing", OUTCOME_C, PROBE_S, "The app lacks the permission that this road needs.",
	    "Entra admin centre > App registrations > API permissions: add Office 365 Exchange Online > "
	    "Mail.Send, then grant admin consent."}},
    {{{.enhanced = "5.5.124"}},
	{"hve-mailbox-wrong", OUTCOME_C, PROBE_S,
	    "The address given as mailbox is not a valid High Volume Email account.",
	    "Set mailbox to the primary address of the HVE account (Get-MailUser -HVEAccount)."}},
    {{{.enhanced = "5.5.121-126"}},
	{"xoauth2-malformed", OUTCOME_C, PROBE_S, "The upstream finds the sign-in string malformed.",
	    "Check mailbox for stray characters; if it is right, this is a fault of the relay: report it "
	    "with the log line."}},
    {{{.enhanced = "5.7.240"}},
	{"hve-app-not-allowed", OUTCOME_C, PROBE_S,
	    "The app has not been given access to this High Volume Email account.",
	    "Add-HVEAppAccess -Identity <mailbox> -AppIds <object id of the enterprise application>; it "
	    "works after some five minutes."}},
    {{{.enhanced = "5.7.30"}},
	{"basic-auth-retired", OUTCOME_C, PROBE_S, "Microsoft no longer takes user name and password here.",
	    "Replace user and password of this upstream by an oauth section."}},
    {{{.enhanced = "5.7.57"}}, {"not-authenticated", OUTCOME_C, PROBE_S,
				   "The upstream wants a sign-in before mail, and none succeeded.",
				   "Give this upstream oauth, or user and password."}},
    {{{.enhanced = "5.7.3|5.7.0", .fragment = "starttls"}},
	{"starttls-required", OUTCOME_C, PROBE_S,
	    "The upstream takes no mail without TLS, and TLS was not in use.",
	    "Leave tls of this upstream at \"required\"; if it is, a firewall or mail filter between here "
	    "and Microsoft strips STARTTLS: switch off its SMTP inspection."}},
    {{{.enhanced = "4.7.66"}},
	{"tls-too-old", OUTCOME_C, PROBE_S, "The upstream saw a TLS version below 1.2.",
	    "Look for a device in between that opens TLS; and for a lowered MinProtocol in "
	    "/etc/ssl/openssl.cnf."}},
    {{{.code = 504, .phases = BEFORE_MAIL, .enhanced = "5.7.4"}},
	{"mechanism-unknown", OUTCOME_C, PROBE_S, "The upstream does not know the sign-in mechanism.",
	    "Check host and kind of this upstream: smtp.office365.com and HVE take XOAUTH2 and LOGIN."}},
    {{{.enhanced = "5.7.59"}},
	{"hve-trial", OUTCOME_C, PROBE_S,
	    "High Volume Email is not open to a tenant that has trial subscriptions only.",
	    "Buy a subscription, or route this mail by another upstream."}},
    {{{.code = 530}},
	{"not-authenticated", OUTCOME_C, PROBE_S, "The upstream wants a sign-in (or TLS) first.",
	    "Check kind and tls of this upstream, and give it oauth, or user and password."}},
    {{{.code = 503}},
	{"out-of-step", OUTCOME_C, PROBE_S, "The upstream says that the commands came in the wrong order.",
	    "If it happens again, report it with the log line: it is a fault of the relay, or of a device in "
	    "between."}},

    /* Who may send as whom. 5.2.252 means two things: the throttle's text names the refusal too, so it goes
       first. */
    {{{.code = 5, .enhanced = "5.2.252", .fragment = "throttled"}},
	{"throttled-send-as", OUTCOME_S, HOUR_S,
	    "The mailbox is blocked for a while because it kept sending with addresses it has no right to.",
	    "Stop the device that sends with a foreign From, or grant the right (Add-RecipientPermission "
	    "<address> -Trustee <mailbox or app> -AccessRights SendAs). Microsoft lifts the block by "
	    "itself."}},
    {{{.code = 5, .enhanced = "5.2.252|5.2.0|5.7.60", .fragment = "sendasdenied|not allowed to send as"}},
	{"send-as-denied", OUTCOME_P, 0,
	    "The mailbox has no right to send with the From address of this message.",
	    "Set the device's From to the mailbox's address, or: Add-RecipientPermission <From address> "
	    "-Trustee <mailbox or app> -AccessRights SendAs."}},
    {{{.code = 550, .enhanced = "5.2.252"}},
	{"throttled-send-as", OUTCOME_S, HOUR_S,
	    "The mailbox is blocked for a while because it kept sending with addresses it has no right to.",
	    "Stop the device that sends with a foreign From, or grant it SendAs. Microsoft lifts the block "
	    "by itself."}},
    {{{.code = 5, .enhanced = "5.7.60|5.2.252"}},
	{"send-as-denied", OUTCOME_P, 0,
	    "The mailbox has no right to send with the sender address of this message.",
	    "Set the device's From to the mailbox's address, or: Add-RecipientPermission <From address> "
	    "-Trustee <mailbox or app> -AccessRights SendAs."}},
    {{{.code = 5, .enhanced = "5.1.7", .fragment = "sender domain has not been linked"}},
	{"sender-domain-not-linked", OUTCOME_P, 0,
	    "The domain of the From address is not linked to the mail service.",
	    "Link the domain (Azure portal > Communication Service > Domains), or correct the device's "
	    "From."}},

    /* Slow down. */
    {{{.enhanced = "4.3.2", .fragment = "thread limit exceeded|concurrent connections limit"}},
	{"too-many-connections", OUTCOME_S, 45,
	    "More connections at a time than Microsoft allows a mailbox (three).",
	    "Lower window.connections of this upstream, and see whether another program uses the same "
	    "mailbox."}},
    {{{.enhanced = "4.3.2", .fragment = "message limit per account"}},
	{"too-many-messages", OUTCOME_S, 60,
	    "More messages a minute than Microsoft allows a mailbox (thirty).",
	    "Nothing, it goes on by itself; if it is frequent, spread the devices over several mailboxes."}},
    {{{.code = 432}},
	{"throttled", OUTCOME_S, 60, "The upstream asks to slow down.", "Nothing, it goes on by itself."}},
    {{{.code = 4, .enhanced = "4.5.127"}},
	{"sending-too-fast", OUTCOME_S, 60, "More messages than the mail service allows this sender.",
	    "Nothing, it goes on by itself; a higher quota is granted by a support request."}},
    {{{.code = 421, .enhanced = "4.4.2", .fragment = "rate"}},
	{"submission-rate", OUTCOME_S, 60, "The upstream closed the connection because mail came too fast.",
	    "Nothing, it goes on by itself."}},
    {{{.code = 5, .enhanced = "5.1.90"}},
	{"daily-recipients", OUTCOME_S, HOUR_S,
	    "The mailbox has reached its limit of recipients in 24 hours (10,000).",
	    "Nothing for today, the mail waits; spread the devices over several mailboxes, or send internal "
	    "mail by HVE."}},
    {{{.code = 5, .fragment = "submissionquotaexceeded"}},
	{"daily-recipients", OUTCOME_S, HOUR_S,
	    "The mailbox has reached its limit of recipients in 24 hours (10,000).",
	    "Nothing for today, the mail waits; spread the devices over several mailboxes, or send internal "
	    "mail by HVE."}},
    {{{.code = 5, .enhanced = "5.2.251"}},
	{"throttled-mailbox-full", OUTCOME_S, HOUR_S,
	    "The mailbox is blocked for a while because it is full.",
	    "Empty its Sent Items and give it a retention policy; Microsoft lifts the block by itself."}},
    {{{.code = 5, .enhanced = "5.2.253"}},
	{"throttled-licence", OUTCOME_S, HOUR_S,
	    "The mailbox is blocked for a while because its licence is not valid.",
	    "Assign a licence: Microsoft 365 admin centre > Users > Active users. Microsoft lifts the block "
	    "by itself."}},
    {{{.code = 5, .enhanced = "5.2.254"}},
	{"throttled-recipient-count", OUTCOME_S, HOUR_S,
	    "The mailbox is blocked for a while because its messages had too many recipients.",
	    "Lower limits.recipients, or use a distribution group; Microsoft lifts the block by itself."}},
    {{{.code = 5, .enhanced = "5.2.255"}},
	{"throttled-recipients-invalid", OUTCOME_S, HOUR_S,
	    "The mailbox is blocked for a while because it kept writing to addresses that do not exist.",
	    "Clean the devices' address books; Microsoft lifts the block by itself."}},
    {{{.enhanced = "5.2.121-122"}},
	{"recipient-too-busy", OUTCOME_T, HOUR_S,
	    "The recipient's mailbox has got more mail this hour than Microsoft allows.",
	    "Nothing, it goes on by itself; find what writes so much to it."}},
    {{{.code = 5, .enhanced = "5.7.233"}},
	{"tenant-external-limit", OUTCOME_S, HOUR_S,
	    "The tenant has reached its limit of external recipients in 24 hours; it grows with the number "
	    "of licences.",
	    "See Exchange admin centre > Reports > Mail flow > Tenant outbound external recipients; send "
	    "less outside, or buy licences."}},
    {{{.code = 5, .enhanced = "5.7.232"}},
	{"trial-external-limit", OUTCOME_S, HOUR_S,
	    "A trial tenant has reached its limit of external recipients in 24 hours.",
	    "Buy a subscription; until then the mail waits."}},
    {{{.code = 5, .enhanced = "5.7.236"}},
	{"onmicrosoft-limit", OUTCOME_S, HOUR_S,
	    "Mail from an onmicrosoft.com address may go to 100 external recipients a day only.",
	    "Send from an address of a domain of your own: Microsoft 365 admin centre > Settings > "
	    "Domains."}},
    {{{.code = 4, .enhanced = "4.7.500-699"}},
	{"address-throttled", OUTCOME_S, 900,
	    "Microsoft limits mail from the relay's public address, which it hardly knows.",
	    "Make an inbound connector for that address: Exchange admin centre > Mail flow > Connectors; or "
	    "send by submission."}},
    {{{.code = 4, .enhanced = "4.7.850-899"}},
	{"address-analysed", OUTCOME_S, 900,
	    "Microsoft examines mail from the relay's public address and refuses it meanwhile.",
	    "Make an inbound connector for that address: Exchange admin centre > Mail flow > Connectors; or "
	    "send by submission."}},

    /* Blocked. */
    {{{.code = 5, .enhanced = "5.1.8", .fragment = "outbound sender|access denied|as(42"}},
	{"sender-restricted", OUTCOME_C, PROBE_S,
	    "Microsoft has restricted this mailbox because spam came from it.",
	    "Find out what sent it, change the password, then unblock: Defender portal > Email & "
	    "collaboration > Review > Restricted entities."}},
    {{{.code = 5, .fragment = "outboundspamexception"}},
	{"outbound-spam", OUTCOME_C, PROBE_S, "The tenant's outbound spam policy stops this mailbox.",
	    "Defender portal > Email & collaboration > Review > Restricted entities: unblock; and look at "
	    "the outbound spam policy's limits."}},
    {{{.code = 5, .enhanced = "5.7.501-503"}},
	{"sender-banned", OUTCOME_C, PROBE_S, "Microsoft has banned the sender for spam.",
	    "Find out what sent it, then unblock: Defender portal > Restricted entities, or support."}},
    {{{.code = 5, .enhanced = "5.7.511"}},
	{"address-banned", OUTCOME_C, PROBE_S, "Microsoft has banned the relay's public address.",
	    "Ask for its removal: forward the reply to delist@microsoft.com; or send by submission."}},
    {{{.code = 5, .enhanced = "5.7.504-513", .fragment = "sending ip|client ip"}},
	{"address-banned", OUTCOME_C, PROBE_S, "Microsoft has banned the relay's public address.",
	    "Ask for its removal at https://sender.office.com, or send by submission."}},
    {{{.code = 5, .enhanced = "5.7.504-513"}},
	{"policy-refused", OUTCOME_P, 0,
	    "A policy of the receiving side refuses this message; the reply's words say which.",
	    "Do as the reply says."}},
    {{{.code = 5, .enhanced = "5.7.606-649"}},
	{"address-banned", OUTCOME_C, PROBE_S,
	    "The relay's public address is on Microsoft's list of banned senders.",
	    "Take it off at https://sender.office.com, or send by submission."}},
    {{{.code = 5, .enhanced = "5.7.703"}},
	{"tenant-block-list", OUTCOME_P, 0,
	    "A sender, recipient or link of the message is on the tenant's block list.",
	    "Defender portal > Policies & rules > Threat policies > Tenant Allow/Block Lists."}},
    {{{.code = 5, .enhanced = "5.7.705"}},
	{"tenant-blocked", OUTCOME_C, PROBE_S,
	    "Microsoft has stopped all outgoing mail of the tenant: it looks compromised.",
	    "Find and clean the account that sends the spam (Defender portal > Restricted entities), then "
	    "ask Microsoft support."}},
    {{{.code = 5, .enhanced = "5.7.708"}},
	{"address-reputation", OUTCOME_C, PROBE_S,
	    "Microsoft takes no mail from the relay's public address; usual in new and trial tenants.",
	    "Have a paid licence in the tenant, and open a support case."}},
    {{{.code = 5, .enhanced = "5.7.711"}},
	{"connector-blocked", OUTCOME_C, PROBE_S, "The inbound connector is blocked as compromised.",
	    "Get-BlockedConnector, then Remove-BlockedConnector -ConnectorId <id>, after the cause is "
	    "found."}},
    {{{.code = 5, .enhanced = "5.7.750"}},
	{"domain-not-registered", OUTCOME_C, PROBE_S,
	    "Mail was sent from a domain that is not registered in the tenant.",
	    "Add the domain (Microsoft 365 admin centre > Settings > Domains), or correct the devices' "
	    "From."}},

    /* Recipients. */
    {{{.code = 5, .enhanced = "5.1.10"}}, {"recipient-unknown", OUTCOME_P, 0, "There is no such recipient.",
					      "Correct the address in the device's address book."}},
    {{{.code = 5, .enhanced = "5.1.1|5.1.0|5.1.2|5.1.3|5.1.6"}},
	{"recipient-unknown", OUTCOME_P, 0, "The address is unknown or not valid.",
	    "Correct the address in the device's address book."}},
    {{{.code = 5, .enhanced = "5.4.1", .fragment = "relay access denied"}},
	{"relay-denied", OUTCOME_N, 0, "This road takes mail for the tenant's own recipients only.",
	    "Route external recipients by an upstream of kind submission."}},
    {{{.code = 5, .enhanced = "5.4.1"}},
	{"recipient-refused", OUTCOME_P, 0,
	    "The recipient is not in the tenant's directory, or its domain is not one of the tenant's.",
	    "Check the address, and host of this upstream (Microsoft 365 admin centre > Settings > Domains "
	    "shows the MX)."}},
    {{{.code = 5, .enhanced = "5.7.54"}},
	{"relay-denied", OUTCOME_N, 0, "This road takes mail for the tenant's own domains only.",
	    "Route external recipients by an upstream of kind submission."}},
    {{{.code = 5, .enhanced = "5.7.64"}},
	{"connector-no-match", OUTCOME_C, PROBE_S,
	    "No connector of the tenant matches: the public address changed, or the certificate or sender "
	    "domain is not the tenant's.",
	    "Exchange admin centre > Mail flow > Connectors: compare address or certificate name; "
	    "Get-InboundConnector | fl."}},
    {{{.code = 5, .enhanced = "5.7.68"}},
	{"direct-send-rejected", OUTCOME_C, PROBE_S,
	    "The tenant rejects Direct Send, and no connector matches this relay.",
	    "Make a connector for the relay's public address, or route this mail by submission or HVE; or: "
	    "Set-OrganizationConfig -RejectDirectSend $false."}},
    {{{.code = 5, .enhanced = "5.7.124"}},
	{"sender-not-listed", OUTCOME_P, 0, "The group takes mail from listed senders only.",
	    "Set-DistributionGroup <group> -AcceptMessagesOnlyFromSendersOrMembers @{Add=\"<sender>\"}."}},
    {{{.code = 5, .enhanced = "5.7.133-136"}},
	{"sender-auth-required", OUTCOME_N, 0,
	    "The recipient takes mail from signed-in senders of the organisation only.",
	    "Route this mail by submission or HVE; or: Set-DistributionGroup (Set-Mailbox) <recipient> "
	    "-RequireSenderAuthenticationEnabled $false."}},
    {{{.code = 5, .fragment = "rst.authrequired"}},
	{"sender-auth-required", OUTCOME_N, 0,
	    "The recipient takes mail from signed-in senders of the organisation only.",
	    "Route this mail by submission or HVE; or: Set-DistributionGroup (Set-Mailbox) <recipient> "
	    "-RequireSenderAuthenticationEnabled $false."}},
    {{{.code = 5, .enhanced = "5.7.1", .fragment = "relay"}},
	{"relay-denied", OUTCOME_N, 0, "The upstream does not relay to this recipient.",
	    "Route external recipients by an upstream of kind submission, or let that server relay for this "
	    "one."}},
    {{{.code = 5, .enhanced = "5.7.12"}},
	{"sender-not-authenticated", OUTCOME_N, 0,
	    "The recipient's organisation refuses mail that was not signed in.",
	    "Route this mail by submission."}},
    {{{.code = 5, .enhanced = "5.7.23"}},
	{"spf-failed", OUTCOME_C, PROBE_S,
	    "The sender domain's SPF record does not list the relay's public address.",
	    "Add it to the domain's TXT record: v=spf1 ip4:<address> include:spf.protection.outlook.com "
	    "~all."}},
    {{{.enhanced = "5.7.25|4.7.25"}},
	{"no-reverse-name", OUTCOME_C, PROBE_S, "The relay's public address has no name in reverse DNS.",
	    "Have the Internet provider set a PTR record."}},
    {{{.enhanced = "5.7.26|4.7.26"}},
	{"mail-not-authenticated", OUTCOME_C, PROBE_S,
	    "Neither SPF nor DKIM vouches for mail from the relay's public address.",
	    "Set SPF for the sender domain (with the address in use, IPv4 or IPv6) and a PTR record."}},
    {{{.code = 5, .enhanced = "5.7.515"}},
	{"domain-authentication-level", OUTCOME_P, 0,
	    "The recipient's provider wants SPF, DKIM and DMARC of the sender domain.",
	    "Publish all three in the sender domain's DNS."}},
    {{{.code = 5, .enhanced = "5.5.3"}},
	{"too-many-recipients", OUTCOME_P, 0, "More recipients in one message than the mailbox may write to.",
	    "Lower limits.recipients; or: Set-Mailbox <mailbox> -RecipientLimits <n>; or use a distribution "
	    "group."}},
    {{{.code = 4, .enhanced = "4.5.3"}},
	{"transaction-full", OUTCOME_T, REST_AT_ONCE, "No more recipients fit into this transaction.",
	    "Nothing, the others follow in the next."}},

    /* Sizes and full mailboxes. Exchange says 554 5.2.2 after the content when the sender's own Sent Items
       are full. */
    {{{.code = 5, .enhanced = "5.2.2", .fragment = "storedrv.deliver"}},
	{"recipient-mailbox-full", OUTCOME_P, 0, "The recipient's mailbox is full.",
	    "The recipient must make room."}},
    {{{.code = 5, .enhanced = "5.2.2", .fragment = "storedrv.submission|storedrv.clientsubmit"}},
	{"sender-mailbox-full", OUTCOME_C, PROBE_S,
	    "The sending mailbox is full: it keeps a copy of each scan in Sent Items.",
	    "Empty its Sent Items and give it a retention policy; or: Set-Mailbox <mailbox> "
	    "-ProhibitSendQuota <size>."}},
    {{{.code = 554, .phases = AT(PHASE_MAIL) | AT(PHASE_DATA) | AT(PHASE_CONTENT), .enhanced = "5.2.2"}},
	{"sender-mailbox-full", OUTCOME_C, PROBE_S,
	    "The sending mailbox is full: it keeps a copy of each scan in Sent Items.",
	    "Empty its Sent Items and give it a retention policy; or: Set-Mailbox <mailbox> "
	    "-ProhibitSendQuota <size>."}},
    {{{.code = 5, .enhanced = "5.2.2"}},
	{"recipient-mailbox-full", OUTCOME_P, 0, "The recipient's mailbox is full.",
	    "The recipient must make room."}},
    {{{.code = 5, .enhanced = "5.2.3", .fragment = "sender"}},
	{"message-too-large", OUTCOME_P, 0, "The message is larger than the sending mailbox may send.",
	    "Set-Mailbox <mailbox> -MaxSendSize 150MB; or scan at a lower resolution."}},
    {{{.code = 5, .enhanced = "5.2.3"}},
	{"message-too-large", OUTCOME_P, 0, "The message is larger than the recipient takes.",
	    "Set-Mailbox <recipient> -MaxReceiveSize 150MB; or scan at a lower resolution."}},
    {{{.code = 5, .enhanced = "5.3.4", .fragment = "header size"}},
	{"header-too-large", OUTCOME_P, 0, "The message's header is larger than the upstream takes.",
	    "Shorten what the device writes into the header (the list of recipients, mostly)."}},
    {{{.code = 5, .enhanced = "5.3.4"}},
	{"message-too-large", OUTCOME_P, 0, "The message is larger than the upstream takes.",
	    "Scan at a lower resolution, or in several parts."}},

    /* Content. */
    {{{.code = 5, .enhanced = "5.6.11"}},
	{"bare-line-feed", OUTCOME_P, 0, "The upstream found a bare line feed in the message.",
	    "Report it: the relay should have repaired that."}},
    {{{.code = 5, .enhanced = "5.6.0"}},
	{"content-refused", OUTCOME_P, 0,
	    "The upstream finds the message's header or content malformed (often the From line).",
	    "Correct the sender's name and address in the device's settings."}},
    {{{.code = 5, .enhanced = "5.4.6|5.4.14"}},
	{"mail-loop", OUTCOME_P, 0, "The message goes round in a circle.",
	    "Look for a connector or forwarding rule that sends this recipient's mail back to the relay."}},

    /* The service. */
    {{{.code = 4, .enhanced = "4.4.62"}},
	{"wrong-region", OUTCOME_T, 0, "The mail went to a Microsoft region that does not serve this tenant.",
	    "Compare host of this upstream with the domain's MX (Microsoft 365 admin centre > Settings > "
	    "Domains)."}},
    {{{.code = 5, .enhanced = "4.4.4"}},
	{"domain-unknown", OUTCOME_C, PROBE_S, "Microsoft knows no tenant or connector for this mail.",
	    "Check that the domain is an accepted domain of the tenant, and host of this upstream."}},
    {{{.code = 4, .enhanced = "4.3.1|4.3.2|4.4.1|4.4.2|4.4.3|4.7.0"}},
	{"service-trouble", OUTCOME_T, 0, "The upstream has trouble of its own, or closed the connection.",
	    "Nothing, it is tried again; if it lasts, look at Microsoft 365 admin centre > Health > Service "
	    "health."}},

    /* What no row above knows. */
    {{{.code = 4}}, {"unlisted-temporary", OUTCOME_T, 0, "The upstream asks to try again later.",
			"Nothing, it is tried again."}},
    {{{.code = 5, .phases = BEFORE_MAIL}},
	{"unlisted-before-mail", OUTCOME_C, PROBE_S, "The upstream refuses the connection or the sign-in.",
	    "Do as its reply says; check host, kind and credential of this upstream."}},
    {{{.code = 5}},
	{"unlisted-permanent", OUTCOME_P, 0, "The upstream refuses the message.", "Do as its reply says."}},
};

const size_t reply_row_count = sizeof reply_rows / sizeof reply_rows[0];
