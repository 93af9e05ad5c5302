/* What the login host refuses. Its numbers and texts may change (Microsoft says so), hence the last rows go by the word in
 * "error" alone. */
#include "catalogue/rows.h"

#include <stddef.h>

const struct login_row login_rows[] = {
    /* The app and its credential. */
    {{7000215}, NULL,
	{"client-secret-wrong", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "The client secret is wrong; often its id was pasted instead of its value.",
	    "Put the secret's value into the file of client_secret, on one line (Entra admin centre > App "
	    "registrations > Certificates & secrets shows it once, when it is made)."}},
    {{7000222}, NULL,
	{"client-secret-expired", OUTCOME_C, ACTOR_ENTRA, PROBE, "The client secret has expired.",
	    "Make a new one (Entra admin centre > App registrations > Certificates & secrets) and put its "
	    "value into the file of client_secret."}},
    {{700016}, NULL,
	{"app-unknown", OUTCOME_C, ACTOR_RELAY, PROBE, "The tenant has no app with this client id.",
	    "Compare oauth.client_id and oauth.tenant with Entra admin centre > App registrations > "
	    "Overview; an app of another tenant needs admin consent in this one."}},
    {{90002}, NULL,
	{"tenant-unknown", OUTCOME_C, ACTOR_RELAY, PROBE, "The login host knows no such tenant.",
	    "Correct oauth.tenant (its GUID or a verified domain); for a national cloud set cloud of this "
	    "upstream."}},
    {{700027}, NULL,
	{"certificate-not-registered", OUTCOME_C, ACTOR_ENTRA, PROBE,
	    "The app does not know the certificate that the request was signed with.",
	    "Upload the certificate (not the key) that belongs to oauth.key: Entra admin centre > App "
	    "registrations > Certificates & secrets > Certificates."}},
    {{700024}, NULL,
	{"clock-wrong", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "The signed request is outside its time: the relay's clock is wrong.",
	    "Set the clock right and keep it so: timedatectl set-ntp true."}},
    {{700030}, NULL,
	{"certificate-subject-refused", OUTCOME_C, ACTOR_ENTRA, PROBE,
	    "The subject of the certificate is not authorised for this app.",
	    "Use the certificate that was uploaded for the app, or upload the one in use."}},
    {{70021}, NULL,
	{"federation-not-yet-there", OUTCOME_C, ACTOR_ENTRA, MINUTES_THEN_PROBE,
	    "The app has no federated credential that fits the token it was shown.",
	    "If it has just been made, wait ten minutes; else compare issuer, subject and audience: Entra "
	    "admin centre > App registrations > Certificates & secrets > Federated credentials."}},
    {{700021, 700023, 700211, 700212, 700213}, NULL,
	{"federation-mismatch", OUTCOME_C, ACTOR_ENTRA, PROBE,
	    "Issuer, subject or audience of the federated token does not fit the app's federated credential.",
	    "Correct it: Entra admin centre > App registrations > Certificates & secrets > Federated "
	    "credentials; the three must be equal to the letter."}},
    {{7000218, 700025}, NULL,
	{"client-type-wrong", OUTCOME_C, ACTOR_ENTRA, PROBE,
	    "The app is registered as a public client and was shown a secret, or it came without one.",
	    "Entra admin centre > App registrations > Authentication: Allow public client flows is No for a "
	    "secret or certificate, Yes for a sign-in by device code."}},
    {{50012, 50013, 50027}, NULL,
	{"assertion-unusable", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "The login host cannot use the signed request: signature, form or time.",
	    "Check that certificate and key of oauth belong together, and the relay's clock (timedatectl)."}},
    {{7000112, 70001}, NULL,
	{"app-disabled", OUTCOME_C, ACTOR_ENTRA, PROBE, "The app is disabled in this tenant.",
	    "Entra admin centre > Enterprise applications > the app > Properties: Enabled for users to sign "
	    "in = Yes."}},
    {{7000229}, NULL,
	{"app-not-in-tenant", OUTCOME_C, ACTOR_ENTRA, PROBE,
	    "The tenant has no enterprise application for this app.",
	    "Grant admin consent for the app in this tenant; that makes its enterprise application."}},

    /* What is asked for. */
    {{500011}, NULL,
	{"resource-unknown", OUTCOME_C, ACTOR_TENANT, PROBE,
	    "The tenant does not know the resource that the scope names.",
	    "Check oauth.scope and the cloud; the tenant needs an Exchange Online licence."}},
    {{50105}, NULL,
	{"assignment-required", OUTCOME_C, ACTOR_ENTRA, PROBE,
	    "The enterprise application lets assigned users and apps in only.",
	    "Entra admin centre > Enterprise applications > Properties: Assignment required = No, or assign "
	    "it."}},
    {{65001}, "consent_required",
	{"consent-missing", OUTCOME_C, ACTOR_ENTRA, PROBE,
	    "Nobody has consented to the permission that the app asks for.",
	    "Entra admin centre > App registrations > API permissions > Grant admin consent."}},
    {{65005, 650056, 650057}, "invalid_resource",
	{"permission-missing", OUTCOME_C, ACTOR_ENTRA, PROBE,
	    "The app registration lacks the permission for mail, or is set up wrongly.",
	    "Entra admin centre > App registrations > API permissions: add Office 365 Exchange Online > "
	    "SMTP.SendAsApp, then Grant admin consent."}},
    {{70011, 28002, 1002012}, "invalid_scope",
	{"scope-wrong", OUTCOME_C, ACTOR_RELAY, PROBE, "The scope is not one that an app can ask for.",
	    "Leave oauth.scope out, or set https://outlook.office365.com/.default (one resource, ending in "
	    "/.default)."}},
    {{28000}, NULL,
	{"scope-of-two", OUTCOME_C, ACTOR_RELAY, PROBE, "The scope names more than one resource.",
	    "Leave oauth.scope out, or name one resource."}},
    {{9002313, 90014, 900144}, NULL,
	{"login-request-malformed", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "The login host finds the request malformed.",
	    "Look for stray characters in tenant, client_id and scope of oauth."}},
    {{50194, 9001023}, NULL,
	{"tenant-missing", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "The login host wants the tenant by name for this app.",
	    "Set oauth.tenant to the tenant's GUID or a verified domain; common and organizations do not "
	    "work."}},
    {{90038, 900382, 900432}, NULL,
	{"wrong-cloud", OUTCOME_C, ACTOR_RELAY, PROBE, "The tenant lives in another national cloud.",
	    "Set cloud of this upstream (\"gcc-high\", \"dod\", \"china\"), and leave oauth.authority and "
	    "oauth.scope out; the app must be registered in that cloud's portal."}},

    /* The account, where one signs in. */
    {{50034}, NULL,
	{"account-unknown", OUTCOME_C, ACTOR_ENTRA, PROBE, "The directory has no such account.",
	    "Check the account's name, and oauth.tenant."}},
    {{50126}, NULL,
	{"account-password-wrong", OUTCOME_C, ACTOR_ENTRA, RARE_PROBE,
	    "User name or password of the account is wrong.",
	    "Do not use passwords: give the app a secret or certificate. It is tried rarely, because wrong "
	    "passwords lock the account."}},
    {{50053}, NULL,
	{"account-locked", OUTCOME_C, ACTOR_ENTRA, PROBE,
	    "The account is locked, or the relay's public address has a bad name with Microsoft.",
	    "Wait ten minutes, or unlock it; the account's sign-in log tells which of the two."}},
    {{50055}, NULL,
	{"account-password-expired", OUTCOME_C, ACTOR_ENTRA, PROBE, "The account's password has expired.",
	    "Set a new one and sign in again; better, let an app send (client_secret or certificate)."}},
    {{50057}, NULL,
	{"account-disabled", OUTCOME_C, ACTOR_ENTRA, PROBE, "The account is disabled.",
	    "Microsoft 365 admin centre > Users > Active users: allow it to sign in."}},
    {{50072, 50074, 50076, 50079}, "interaction_required",
	{"second-factor-required", OUTCOME_C, ACTOR_ENTRA, PROBE,
	    "The tenant demands a second factor for this account.",
	    "Sign in again with the second factor, or let an app send (client_secret or certificate), which "
	    "needs none."}},
    {{53000, 53001, 53002}, NULL,
	{"device-not-compliant", OUTCOME_C, ACTOR_ENTRA, PROBE,
	    "A Conditional Access policy wants a managed device or an approved app.",
	    "Exclude the account or the app from that policy: Entra admin centre > Protection > Conditional "
	    "Access."}},
    {{53003}, NULL,
	{"login-blocked-by-policy", OUTCOME_C, ACTOR_ENTRA, PROBE,
	    "A Conditional Access policy blocks the sign-in; device codes are blocked by default in many "
	    "tenants.",
	    "Exclude the account or the app, or allow the relay's public address: Entra admin centre > "
	    "Protection > Conditional Access; the sign-in log names the policy."}},
    {{530032, 530034, 530035}, "access_denied",
	{"security-policy", OUTCOME_C, ACTOR_ENTRA, PROBE,
	    "The tenant's security policy or security defaults refuse the sign-in.",
	    "The sign-in log names the policy: Entra admin centre > Monitoring > Sign-in logs."}},

    /* A sign-in that has come to its end: a person must sign in again. */
    {{50173}, NULL,
	{"grant-revoked", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "The sign-in was revoked, mostly because the account's password was changed.",
	    "Sign in again: mfdrelay login UPSTREAM."}},
    {{50089, 50133}, NULL,
	{"session-expired", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "The session has expired, or the password was changed meanwhile.",
	    "Sign in again: mfdrelay login UPSTREAM."}},
    {{70000, 70008}, NULL,
	{"refresh-token-invalid", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "The refresh token is not valid, expired or revoked.",
	    "Sign in again: mfdrelay login UPSTREAM."}},
    {{700082}, NULL,
	{"refresh-token-unused", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "The refresh token has not been used for 90 days.",
	    "Sign in again: mfdrelay login UPSTREAM; the relay keeps it alive while it runs."}},
    {{700084}, NULL,
	{"refresh-token-of-a-web-page", OUTCOME_C, ACTOR_ENTRA, PROBE,
	    "The app is registered as a single-page application, whose refresh tokens live for a day.",
	    "Entra admin centre > App registrations > Authentication: remove the single-page platform, add "
	    "Mobile and desktop applications; then sign in again."}},
    {{70043}, NULL,
	{"sign-in-frequency", OUTCOME_C, ACTOR_ENTRA, PROBE,
	    "A policy on how often one must sign in has ended the refresh token.",
	    "Exclude the account from the sign-in frequency (Entra admin centre > Protection > Conditional "
	    "Access) and sign in again; or let an app send."}},
    {{70016}, "authorization_pending|slow_down",
	{"sign-in-pending", OUTCOME_T, ACTOR_RELAY, BY_RETRY, "Nobody has typed the device code in yet.",
	    "Open the page that was shown and type the code."}},
    {{70018, 70019}, "expired_token|bad_verification_code",
	{"device-code-over", OUTCOME_C, ACTOR_RELAY, PROBE, "The device code is wrong or has expired.",
	    "Start the sign-in again (mfdrelay login UPSTREAM), and type the code within a quarter of an "
	    "hour."}},

    {{0}, "authorization_declined",
	{"sign-in-declined", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "The person who typed the device code in has declined the sign-in.",
	    "Start it again (mfdrelay login UPSTREAM), and accept what the page asks."}},

    /* The login host itself. */
    {{50196}, NULL,
	{"login-loop", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "The login host thinks that the same request comes over and over.",
	    "Wait; if it stays, see what else uses this app's client id."}},
    {{90055}, "Too Many Requests",
	{"login-throttled", OUTCOME_T, ACTOR_NOBODY, BY_RETRY,
	    "The login host gets too many requests of this tenant.",
	    "Nothing, it is asked again; if it lasts, find what asks for tokens so often: Entra admin centre "
	    "> Monitoring > Sign-in logs."}},
    {{50000}, NULL,
	{"login-signing-trouble", OUTCOME_T, ACTOR_NOBODY, BY_RETRY,
	    "The login host has trouble signing tokens.",
	    "Nothing, it is asked again; if it lasts for hours, open a case with Microsoft support."}},
    {{90006, 90012, 90024, 90033, 50033, 50087, 90090, 90091}, "temporarily_unavailable|server_error",
	{"login-host-busy", OUTCOME_T, ACTOR_NOBODY, BY_RETRY,
	    "The login host has trouble of its own, or is busy.",
	    "Nothing, it is asked again; if it lasts, look at Microsoft 365 admin centre > Health > Service "
	    "health."}},

    /* No number that is known. */
    {{0}, "invalid_grant",
	{"grant-refused", OUTCOME_C, ACTOR_ENTRA, PROBE,
	    "The login host no longer honours the sign-in or the consent that this app works with.",
	    "See the sign-in log (Entra admin centre > Monitoring > Sign-in logs); where a person signed in "
	    "by device code, sign in again."}},
    {{0}, "",
	{"login-refused", OUTCOME_C, ACTOR_ENTRA, PROBE, "The login host gives this app no token.",
	    "Look the number up at https://login.microsoftonline.com/error, and see the app's sign-in log in "
	    "the Entra admin centre."}},
};

const size_t login_row_count = sizeof login_rows / sizeof login_rows[0];
