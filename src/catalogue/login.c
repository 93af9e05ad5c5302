/* What the login host refuses (AADSTS numbers). */
#include "catalogue/rows.h"

const struct cause login_busy = {"login-host-busy", OUTCOME_T, 0,
    "The login host has trouble of its own, or is busy.",
    "Nothing, it is asked again; if it lasts, look at Microsoft 365 admin centre > Health > Service health."};
const struct cause login_refused = {"login-refused", OUTCOME_C, PROBE_S,
    "The login host gives this app no token.",
    "Look the number up at https://login.microsoftonline.com/error, and see the app's sign-in log in the "
    "Entra admin centre."};

const struct login_row login_rows[] = {
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

const size_t login_row_count = sizeof login_rows / sizeof login_rows[0];
