/* Who may use the road: sign-in, tokens, TLS, the right to send as somebody. */
#include "catalogue/rows.h"

#include <stddef.h>

static const struct reply_row rows[] = {
    /* 535 5.7.139: the tenant's policy, not the message. */
    {{{.enhanced = "5.7.139", .fragment = "security defaults policy"}},
	{"security-defaults", OUTCOME_C, ACTOR_ENTRA, PROBE,
	    "The tenant's security defaults forbid signing in to SMTP with a user name and password.",
	    "Give this upstream an oauth section instead of user and password; or turn security defaults "
	    "off: Entra admin centre > Overview > Properties > Manage security defaults."}},
    {{{.enhanced = "5.7.139", .fragment = "basic authentication is disabled"}},
	{"basic-auth-disabled", OUTCOME_C, ACTOR_EXCHANGE, PROBE,
	    "An authentication policy of the tenant blocks SMTP sign-in with a user name and password.",
	    "Give this upstream an oauth section; or allow it for the account's policy: "
	    "Set-AuthenticationPolicy <policy> -AllowBasicAuthSmtp."}},
    {{{.enhanced = "5.7.139", .fragment = "did not meet the criteria"}},
	{"conditional-access", OUTCOME_C, ACTOR_ENTRA, PROBE,
	    "A Conditional Access policy refuses this sign-in (multi-factor, location, or legacy "
	    "authentication).",
	    "Use oauth with an app; or exclude the account or trust the relay's public address: Entra admin "
	    "centre > Protection > Conditional Access > Policies. The account's sign-in log names the "
	    "policy."}},
    {{{.enhanced = "5.7.139", .fragment = "disabled for the mailbox"}},
	{"smtp-auth-off-mailbox", OUTCOME_C, ACTOR_EXCHANGE, PROBE,
	    "Authenticated SMTP is switched off for this mailbox; that stops OAuth too.",
	    "Set-CASMailbox <mailbox> -SmtpClientAuthenticationDisabled $false, then wait up to an hour."}},
    {{{.enhanced = "5.7.139", .fragment = "disabled for the tenant"}},
	{"smtp-auth-off-tenant", OUTCOME_C, ACTOR_EXCHANGE, PROBE,
	    "Authenticated SMTP is off for the whole tenant and the mailbox has no setting of its own; that "
	    "stops OAuth too.",
	    "Switch it on for this one mailbox: Set-CASMailbox <mailbox> -SmtpClientAuthenticationDisabled "
	    "$false. The tenant's setting can stay off."}},
    {{{.enhanced = "5.7.139", .fragment = "credentials were incorrect"}},
	{"wrong-password", OUTCOME_C, ACTOR_RELAY, RARE_PROBE,
	    "Microsoft 365 does not accept the user name or the password.",
	    "Correct user (then reload) or the password's file (then: mfdrelay queue retry all). It is tried "
	    "rarely until then, because wrong passwords lock the account."}},
    {{{.enhanced = "5.7.139", .fragment = "not authenticated to send"}, {.enhanced = "5.7.57"}},
	{"not-authenticated", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "The upstream wants a sign-in before mail, and none was made or none succeeded.",
	    "Give this upstream oauth, or user and password; kinds that need neither are direct-send "
	    "and connector."}},
    {{{.enhanced = "5.7.139", .fragment = "organization configuration does not allow"}},
	{"hve-basic-not-allowed", OUTCOME_C, ACTOR_EXCHANGE, PROBE,
	    "Security defaults, Conditional Access or an authentication policy forbid basic sign-in for this "
	    "account.",
	    "Use oauth for this upstream; or give the account an authentication policy made with "
	    "New-AuthenticationPolicy -AllowBasicAuthSmtp."}},
    {{{.enhanced = "5.7.139", .fragment = "federated sts service was unreachable"}},
	{"federation-down", OUTCOME_T, ACTOR_ENTRA, BY_RETRY,
	    "The tenant's own sign-in server (AD FS) could not be reached by Microsoft.",
	    "Bring AD FS back; an upstream with oauth and an app does not need it."}},
    {{{.enhanced = "5.7.139", .fragment = "sts url does not support https"}},
	{"federation-no-https", OUTCOME_C, ACTOR_ENTRA, PROBE,
	    "The tenant's own sign-in server (AD FS) is set up without HTTPS.",
	    "Correct the federation's URL; an upstream with oauth and an app does not need it."}},
    {{{.enhanced = "5.7.139", .fragment = "user or tenant not allowed"}},
	{"not-allowed", OUTCOME_C, ACTOR_EXCHANGE, PROBE,
	    "The account or the tenant has no right to send this way.",
	    "Check the app's permission and its right on the mailbox: Get-MailboxPermission <mailbox>, "
	    "Test-ServicePrincipalAuthorization <app> -Resource <mailbox>."}},
    {{{.enhanced = "5.7.139", .fragment = "contact your administrator"}},
	{"mfa-required", OUTCOME_C, ACTOR_ENTRA, PROBE,
	    "A policy of the tenant demands a second factor for this sign-in.",
	    "Use oauth with an app, or exclude the account from the policy: Entra admin centre > Protection "
	    "> Conditional Access."}},
    {{{.enhanced = "5.7.139"}},
	{"sign-in-refused", OUTCOME_C, ACTOR_ENTRA, PROBE,
	    "A policy of the tenant refuses the sign-in; the reply's own words say which.",
	    "Look at the account's or app's sign-in log: Entra admin centre > Monitoring > Sign-in logs."}},

    /* The token, where the code says more than that it was refused. */
    {{{.code = 5, .enhanced = "5.7.142-143"}, {.code = 5, .fragment = "token has expired|token will expire"}},
	{"token-stale", OUTCOME_A, ACTOR_RELAY, PROBE, "The token has ended, or is about to.",
	    "Nothing, a new one is fetched; if it stays, set the relay's clock right (timedatectl)."}},
    {{{.enhanced = "5.7.144"}}, {"app-permission-missing", OUTCOME_C, ACTOR_ENTRA, PROBE,
				    "The app lacks the permission that this kind of upstream needs.",
				    "Entra admin centre > App registrations > API permissions: add Office "
				    "365 Exchange Online > Mail.Send, then grant admin consent."}},

    /* A refused user and password. */
    {{{.code = 535, .from = HVE, .phases = AT(PHASE_PASSWORD), .enhanced = "5.7.3"}},
	{"hve-password-refused", OUTCOME_C, ACTOR_EXCHANGE, RARE_PROBE,
	    "High Volume Email does not accept the account's name and password, or security defaults forbid "
	    "passwords.",
	    "Correct user and the password's file; see whether security defaults are on (Entra admin centre "
	    "> Overview > Properties); best give this upstream oauth. It is tried rarely until then, because "
	    "wrong passwords lock the account."}},
    {{{.code = 535, .from = ACS, .phases = AT(PHASE_PASSWORD)}},
	{"acs-login-refused", OUTCOME_C, ACTOR_AZURE, PROBE,
	    "Azure Communication Services refuses the sign-in: user name in the wrong form, secret expired, "
	    "or role missing; all three look the same.",
	    "user is an SMTP Username of the resource, or <resource>|<client id>|<tenant id>; the password "
	    "is the app's client secret (its value); the app needs the role Communication and Email Service "
	    "Owner on the resource (Azure portal > the Communication Service > Access control)."}},
    {{{.code = 535, .phases = AT(PHASE_PASSWORD)}},
	{"password-refused", OUTCOME_C, ACTOR_RELAY, RARE_PROBE,
	    "The upstream does not accept the user name and the password.",
	    "Correct user (then reload) or the password's file (then: mfdrelay queue retry all); see whether "
	    "the account may still sign in by password, else give this upstream oauth. It is tried rarely "
	    "until then, because wrong passwords lock the account."}},

    /* A refused token, and what it may do. */
    {{{.code = 535, .from = HVE, .enhanced = "5.7.3"}},
	{"hve-token-refused", OUTCOME_A, ACTOR_EXCHANGE, PROBE,
	    "High Volume Email does not accept token and account together.",
	    "Check: mailbox is the primary address of the HVE account; the app has Office 365 Exchange "
	    "Online > Mail.Send with admin consent; Add-HVEAppAccess -Identity <mailbox> -AppIds <object id "
	    "of the enterprise application> was run."}},
    {{{.code = 535, .from = ACS, .enhanced = "5.7.3"}},
	{"acs-token-refused", OUTCOME_A, ACTOR_AZURE, PROBE,
	    "Azure Communication Services does not accept token and user name together.",
	    "Check: mailbox is the SMTP Username of the resource; oauth.scope is "
	    "https://communication.azure.com/.default; the app has the role Communication and Email Service "
	    "Owner on the resource."}},
    {{{.code = 535, .enhanced = "5.7.3"},
	 /* The error form of a 334, plain and in base64. */
	 {.fragment = "\"schemes\":\"bearer|eyjzdgf0dxmioi"}},
	{"credential-refused", OUTCOME_A, ACTOR_EXCHANGE, PROBE,
	    "The upstream does not accept who we say we are: token, mailbox and rights do not go together.",
	    "Check: New-ServicePrincipal was given the object id of the ENTERPRISE application (not of the "
	    "app registration); SMTP.SendAsApp has admin consent; Add-MailboxPermission <mailbox> -User "
	    "<object id> -AccessRights FullAccess was run; mailbox is the primary address. New rights can "
	    "take two hours."}},
    {{{.enhanced = "5.5.124"}},
	{"hve-mailbox-wrong", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "The address given as mailbox is not a valid High Volume Email account.",
	    "Set mailbox to the primary address of the HVE account (Get-MailUser -HVEAccount)."}},
    {{{.enhanced = "5.5.121-126"}}, {"xoauth2-malformed", OUTCOME_C, ACTOR_RELAY, PROBE,
					"The upstream finds the sign-in string malformed.",
					"Check mailbox for stray characters; if it is right, this is a fault "
					"of the relay: report it with the log line."}},
    {{{.enhanced = "5.7.240"}},
	{"hve-app-not-allowed", OUTCOME_C, ACTOR_EXCHANGE, PROBE,
	    "The app has not been given access to this High Volume Email account.",
	    "Add-HVEAppAccess -Identity <mailbox> -AppIds <object id of the enterprise application>; it "
	    "works after some five minutes. An account takes ten apps."}},
    {{{.enhanced = "5.7.30"}, {.fragment = "basic authentication is not supported"}},
	{"basic-auth-retired", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "Microsoft no longer takes user name and password here.",
	    "Replace user and password of this upstream by an oauth section."}},

    /* Before there is anything to sign in to. */
    {{{.enhanced = "5.7.3|5.7.0", .fragment = "starttls is required|starttls"}},
	{"starttls-required", OUTCOME_C, ACTOR_NETWORK, PROBE,
	    "The upstream takes no mail without TLS, and TLS was not in use.",
	    "Leave tls of this upstream at \"required\"; if it is, a firewall or mail filter between here "
	    "and Microsoft strips STARTTLS: switch off its SMTP inspection."}},
    {{{.enhanced = "4.7.66"}},
	{"tls-too-old", OUTCOME_C, ACTOR_NETWORK, PROBE, "The upstream saw a TLS version below 1.2.",
	    "Look for a device in between that opens TLS; and for a lowered MinProtocol in "
	    "/etc/ssl/openssl.cnf."}},
    {{{.code = 504, .phases = BEFORE_MAIL, .enhanced = "5.7.4"}},
	{"mechanism-unknown", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "The upstream does not know the sign-in mechanism.",
	    "Check host and kind of this upstream: smtp.office365.com and HVE take XOAUTH2 and LOGIN."}},
    {{{.enhanced = "5.7.59"}, {.fragment = "trial tenant is not able to use hve"}},
	{"hve-trial", OUTCOME_C, ACTOR_TENANT, PROBE,
	    "High Volume Email is not open to a tenant that has trial subscriptions only.",
	    "Buy a subscription, or route this mail by another upstream."}},
    {{{.fragment = "noproperbillingpolicystored|billingpolicynotfound|billingpolicymismatched|"
		   "noconnectedbillingpolicyfound|subscriptionisnotactive|nospolicensefound"}},
	{"hve-billing", OUTCOME_C, ACTOR_TENANT, PROBE,
	    "The High Volume Email account has no valid billing policy, so it cannot send.",
	    "Connect High Volume Email to a billing policy with an active Azure subscription in the "
	    "Microsoft 365 admin centre; until then route this mail by another upstream."}},
    {{{.code = 530}},
	{"sign-in-first", OUTCOME_C, ACTOR_RELAY, PROBE, "The upstream wants a sign-in (or TLS) first.",
	    "Check kind and tls of this upstream, and give it oauth, or user and password."}},
    {{{.code = 503}}, {"out-of-step", OUTCOME_C, ACTOR_RELAY, SOON_THEN_PROBE,
			  "The upstream says that the commands came in the wrong order.",
			  "If it happens again, report it with the log line: it is a fault of the relay, or "
			  "of a device in between."}},

    /* Who may send as whom. 5.2.252 means two things: the throttle's text names the refusal too, so it goes
       first. */
    {{{.code = 5, .enhanced = "5.2.252", .fragment = "throttled"}},
	{"throttled-send-as", OUTCOME_S, ACTOR_RELAY, HOURS,
	    "The mailbox is blocked for a while because it kept sending with addresses it has no right to.",
	    "Leave sender of this upstream at \"map\" and the address out of send_as, or grant the right "
	    "(Add-RecipientPermission <address> -Trustee <mailbox or app> -AccessRights SendAs). Microsoft "
	    "lifts the block by itself; support cannot."}},
    {{{.code = 5, .from = HVE, .enhanced = "5.2.252|5.2.0|5.7.60", .fragment = "send as|sendasdenied"}},
	{"hve-sender-foreign", OUTCOME_P, ACTOR_RELAY, BY_RETRY,
	    "High Volume Email sends with the account's own address only, and this message has another From.",
	    "Leave sender of this upstream at \"force\", and sender_address at the account's; where answers "
	    "shall go is set by Set-HVEAccountSettings <mailbox> -ReplyTo <address>."}},
    {{{.code = 5, .enhanced = "5.2.252|5.2.0|5.7.60", .fragment = "sendasdenied|not allowed to send as"},
	 {.code = 5, .enhanced = "5.7.60"}, {.code = 554, .enhanced = "5.2.252"},
	 {.fragment = "errorsendasdenied"}},
	{"send-as-denied", OUTCOME_P, ACTOR_EXCHANGE, BY_RETRY,
	    "The mailbox has no right to send with the sender address of this message.",
	    "Leave sender of this upstream at \"map\" and the address out of send_as, so that the mailbox's "
	    "takes its place; or grant the right: Add-RecipientPermission <From address> -Trustee <mailbox "
	    "or app> -AccessRights SendAs."}},
    {{{.code = 5, .enhanced = "5.1.7", .fragment = "has not been linked"}},
	{"sender-domain-not-linked", OUTCOME_P, ACTOR_AZURE, BY_RETRY,
	    "The domain of the From address is not linked to the mail service.",
	    "Link the domain (Azure portal > Communication Service > Domains), or correct the device's From; "
	    "the address before the @ must be a MailFrom address of that domain."}},
    {{{.code = 5, .enhanced = "5.1.7"}},
	{"sender-not-valid", OUTCOME_P, ACTOR_RELAY, BY_RETRY,
	    "The upstream does not take the message's sender for an address.",
	    "Correct the sender at the device, or set sender_address, for the device or this upstream: then "
	    "its own does not matter."}},
};

const struct reply_table auth_replies = {"Sign-in and the right to send", rows, sizeof rows / sizeof rows[0]};
