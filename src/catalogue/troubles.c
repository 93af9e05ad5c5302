/* What goes wrong without a reply: names, connections, TLS, secrets, routes. */
#include "catalogue/rows.h"

const struct cause trouble_causes[] = {
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
    [ROAD_TOO_LARGE] = {"message-too-large", OUTCOME_P, 0, "The message is larger than the upstream takes.",
	"Scan at a lower resolution, or in several parts."},
    [ROAD_NO_ROUTE] = {"no-route", OUTCOME_C, PROBE_S, "No route of the config is for this recipient.",
	"Add a route, for example { recipients = [ \"*\" ]; via = [ \"submission\" ]; }, and reload."},
    [ROAD_EXPIRED] = {"expired", OUTCOME_P, 0,
	"It could not be delivered within the time that retry.give_up allows.",
	"See the last reply for what stood in the way; mfdrelay queue retry ID tries again."},
};
