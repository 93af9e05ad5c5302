/* The catalogue: real replies and their classes; and the table's own order, row by row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "catalogue/rows.h"
#include "smtp/reply.h"

struct reply_case {
	const char *label;
	int code;
	const char *enhanced;
	const char *text;
	enum smtp_phase phase;
	enum outcome outcome;
	const char *name;
};

#define TAIL " [AM0PR02CA0123.eurprd02.prod.outlook.com 2026-11-20T08:15:30.123Z 08DC2D372B4C3DED]"

static const struct reply_case cases[] = {
    {"security defaults with a curly apostrophe", 535, "5.7.139",
	"Authentication unsuccessful, user is locked by your organization???s security defaults policy. "
	"Contact your administrator." TAIL,
	PHASE_AUTH, OUTCOME_C, "security-defaults"},
    {"basic authentication is off by policy", 535, "5.7.139",
	"Authentication unsuccessful, basic authentication is disabled." TAIL, PHASE_AUTH, OUTCOME_C,
	"basic-auth-disabled"},
    {"Conditional Access refuses", 535, "5.7.139",
	"Authentication unsuccessful, the request did not meet the criteria to be authenticated "
	"successfully. Contact your administrator." TAIL,
	PHASE_AUTH, OUTCOME_C, "conditional-access"},
    {"SMTP AUTH is off for the mailbox", 535, "5.7.139",
	"Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. Visit "
	"https://aka.ms/smtp_auth_disabled for more information." TAIL,
	PHASE_AUTH, OUTCOME_C, "smtp-auth-off-mailbox"},
    {"SMTP AUTH is off for the tenant", 535, "5.7.139",
	"Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit "
	"https://aka.ms/smtp_auth_disabled",
	PHASE_AUTH, OUTCOME_C, "smtp-auth-off-tenant"},
    {"a wrong password", 535, "5.7.139",
	"Authentication unsuccessful, the user credentials were incorrect." TAIL, PHASE_AUTH, OUTCOME_C,
	"wrong-password"},
    {"no AUTH was made, said as 5.7.139", 535, "5.7.139",
	"Client was not authenticated to send anonymous mail during MAIL FROM" TAIL, PHASE_MAIL, OUTCOME_C,
	"not-authenticated"},
    {"an HVE account without basic sign-in", 535, "5.7.139",
	"Authentication unsuccessful, the organization configuration does not allow this authentication "
	"request.",
	PHASE_AUTH, OUTCOME_C, "hve-basic-not-allowed"},
    {"the tenant's AD FS is down: try again", 535, "5.7.139",
	"Authentication unsuccessful, the federated STS service was unreachable.", PHASE_AUTH, OUTCOME_T,
	"federation-down"},
    {"AD FS without HTTPS", 535, "5.7.139",
	"Authentication unsuccessful, federated STS URL does not support HTTPS.", PHASE_AUTH, OUTCOME_C,
	"federation-no-https"},
    {"user or tenant not allowed", 535, "5.7.139", "Authentication unsuccessful, user or tenant not allowed",
	PHASE_AUTH, OUTCOME_C, "not-allowed"},
    {"a second factor is wanted", 535, "5.7.139",
	"Authentication unsuccessful. Contact your administrator." TAIL, PHASE_AUTH, OUTCOME_C,
	"mfa-required"},
    {"5.7.139 with words nobody has seen", 535, "5.7.139", "Authentication unsuccessful, the moon is full",
	PHASE_AUTH, OUTCOME_C, "sign-in-refused"},
    {"5.7.57 in front of a 5.7.139: the latter says why", 535, "5.7.57",
	"Client not authenticated to send mail. Error: 535 5.7.139 Authentication unsuccessful, basic "
	"authentication is disabled.",
	PHASE_MAIL, OUTCOME_C, "basic-auth-disabled"},
    {"the digits of 5.7.139 inside another number are not it", 550, "5.1.10",
	"id 15.7.139 and 5.7.1390, 5.7.139.4", PHASE_RCPT, OUTCOME_P, "recipient-unknown"},

    {"a refused token: a new one, once", 535, "5.7.3", "Authentication unsuccessful" TAIL, PHASE_AUTH,
	OUTCOME_A, "credential-refused"},
    {"a token that will end soon", 535, "5.7.142", "Token will expire soon", PHASE_AUTH, OUTCOME_A,
	"token-stale"},
    {"a token that has ended", 535, "5.7.143", "Token has expired", PHASE_AUTH, OUTCOME_A, "token-stale"},
    {"the app lacks Mail.Send", 535, "5.7.144", "Invalid API permissions", PHASE_AUTH, OUTCOME_C,
	"app-permission-missing"},
    {"XOAUTH2 malformed, lower end", 501, "5.5.121", "Malformed", PHASE_AUTH, OUTCOME_C, "xoauth2-malformed"},
    {"XOAUTH2 malformed, upper end", 501, "5.5.126", "Malformed", PHASE_AUTH, OUTCOME_C, "xoauth2-malformed"},
    {"beyond that range it is an unknown reply to AUTH", 501, "5.5.127", "Malformed", PHASE_AUTH, OUTCOME_C,
	"unlisted-before-mail"},
    {"the HVE mailbox's address is wrong", 501, "5.5.124", "User address provided is not valid", PHASE_AUTH,
	OUTCOME_C, "hve-mailbox-wrong"},
    {"no HVE access for the app", 550, "5.7.240", "App not allowed", PHASE_AUTH, OUTCOME_C,
	"hve-app-not-allowed"},
    {"basic authentication retired", 550, "5.7.30",
	"Basic authentication is not supported for Client Submission." TAIL, PHASE_AUTH, OUTCOME_C,
	"basic-auth-retired"},
    {"530 5.7.57 at MAIL", 530, "5.7.57", "Client not authenticated to send mail." TAIL, PHASE_MAIL,
	OUTCOME_C, "not-authenticated"},
    {"535 5.7.57 at MAIL", 535, "5.7.57", "Client not authenticated to send anonymous mail during MAIL FROM",
	PHASE_MAIL, OUTCOME_C, "not-authenticated"},
    {"530 without an enhanced code", 530, "", "Authentication required", PHASE_MAIL, OUTCOME_C,
	"not-authenticated"},
    {"451 with 5.7.3: the enhanced code, left in the text, wins", 451, "",
	"5.7.3 STARTTLS is required to send mail" TAIL, PHASE_MAIL, OUTCOME_C, "starttls-required"},
    {"451 with 5.7.3, given apart", 451, "5.7.3", "STARTTLS is required to send mail" TAIL, PHASE_MAIL,
	OUTCOME_C, "starttls-required"},
    {"530 5.7.0 must issue STARTTLS", 530, "5.7.0", "Must issue a STARTTLS command first", PHASE_MAIL,
	OUTCOME_C, "starttls-required"},
    {"TLS too old", 421, "4.7.66",
	"TLS 1.0 and 1.1 are not supported. Please upgrade/update your client to support TLS 1.2. Visit "
	"https://aka.ms/smtp_auth_tls.",
	PHASE_MAIL, OUTCOME_C, "tls-too-old"},
    {"an unknown mechanism", 504, "5.7.4", "Unrecognized authentication type" TAIL, PHASE_AUTH, OUTCOME_C,
	"mechanism-unknown"},
    {"Send hello first", 503, "5.5.2", "Send hello first" TAIL, PHASE_MAIL, OUTCOME_C, "out-of-step"},
    {"HVE on a trial tenant", 550, "5.7.59", "Trial tenant is not able to use HVE", PHASE_MAIL, OUTCOME_C,
	"hve-trial"},

    {"not allowed to send as this sender", 550, "5.7.60",
	"SMTP; Client does not have permissions to send as this sender" TAIL, PHASE_CONTENT, OUTCOME_P,
	"send-as-denied"},
    {"SendAsDenied at the end of DATA: never again by itself", 554, "5.2.252",
	"SendAsDenied; scan@contoso.com not allowed to send as old@contoso.com; "
	"STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied" TAIL,
	PHASE_CONTENT, OUTCOME_P, "send-as-denied"},
    {"the other meaning of 5.2.252 names SendAsDenied too", 550, "5.2.252",
	"Sender throttled due to continuous SendAsDenied errors" TAIL, PHASE_CONTENT, OUTCOME_S,
	"throttled-send-as"},
    {"550 5.2.252 without words is the throttle", 550, "5.2.252", "", PHASE_CONTENT, OUTCOME_S,
	"throttled-send-as"},
    {"554 5.2.252 without words is the refusal", 554, "5.2.252", "", PHASE_CONTENT, OUTCOME_P,
	"send-as-denied"},
    {"5.2.0 with SendAsDenied, the older form", 554, "5.2.0",
	"STOREDRV.Submission.Exception:SendAsDeniedException", PHASE_CONTENT, OUTCOME_P, "send-as-denied"},

    {"too many connections", 432, "4.3.2",
	"Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending" TAIL, PHASE_CONTENT,
	OUTCOME_S, "too-many-connections"},
    {"too many connections, older words", 432, "4.3.2",
	"STOREDRV.ClientSubmit; sender thread limit exceeded" TAIL, PHASE_CONTENT, OUTCOME_S,
	"too-many-connections"},
    {"too many messages a minute", 432, "4.3.2",
	"STOREDRV.ClientSubmit; exceeded the message limit per account", PHASE_CONTENT, OUTCOME_S,
	"too-many-messages"},
    {"432 with other words", 432, "4.3.2", "Slow down", PHASE_CONTENT, OUTCOME_S, "throttled"},
    {"421 4.3.2 is only the service", 421, "4.3.2", "Service not available, closing transmission channel",
	PHASE_MAIL, OUTCOME_T, "service-trouble"},
    {"421 4.4.2 for the rate", 421, "4.4.2",
	"Message submission rate for this client has exceeded the configured limit", PHASE_MAIL, OUTCOME_S,
	"submission-rate"},
    {"421 4.4.2 for a time-out", 421, "4.4.2", "Connection dropped due to ConnectionReset", PHASE_MAIL,
	OUTCOME_T, "service-trouble"},
    {"the daily quota is no permanent failure", 550, "5.1.90",
	"Your message can't be sent because you've reached your daily limit for message recipients "
	"(AS:46601)" TAIL,
	PHASE_CONTENT, OUTCOME_S, "daily-recipients"},
    {"the daily quota as an exception", 554, "5.2.0",
	"STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message due to a "
	"permanent exception" TAIL,
	PHASE_CONTENT, OUTCOME_S, "daily-recipients"},
    {"throttled: mailbox full", 550, "5.2.251", "Sender throttled due to continuous mailbox full errors",
	PHASE_CONTENT, OUTCOME_S, "throttled-mailbox-full"},
    {"throttled: licence", 550, "5.2.253", "Sender throttled due to continuous invalid license errors",
	PHASE_CONTENT, OUTCOME_S, "throttled-licence"},
    {"throttled: too many recipients", 550, "5.2.254", "Sender throttled", PHASE_CONTENT, OUTCOME_S,
	"throttled-recipient-count"},
    {"throttled: invalid recipients", 550, "5.2.255", "Sender throttled", PHASE_CONTENT, OUTCOME_S,
	"throttled-recipients-invalid"},
    {"a recipient's hourly limit", 450, "5.2.121", "The recipient has exceeded their limit", PHASE_RCPT,
	OUTCOME_T, "recipient-too-busy"},
    {"tenant's external limit", 550, "5.7.233",
	"Your message can't be sent because your tenant exceeded its daily limit", PHASE_CONTENT, OUTCOME_S,
	"tenant-external-limit"},
    {"trial tenant's external limit", 550, "5.7.232", "trial tenant", PHASE_CONTENT, OUTCOME_S,
	"trial-external-limit"},
    {"onmicrosoft.com sender", 550, "5.7.236", "limit for onmicrosoft", PHASE_CONTENT, OUTCOME_S,
	"onmicrosoft-limit"},
    {"an unknown address is throttled", 451, "4.7.500",
	"Server busy. Please try again later from [203.0.113.7]. (S77719)", PHASE_RCPT, OUTCOME_S,
	"address-throttled"},
    {"an address of low reputation", 451, "4.7.651",
	"The mail server [203.0.113.7] has been temporarily rate limited", PHASE_MAIL, OUTCOME_S,
	"address-throttled"},
    {"the last of that range", 451, "4.7.699", "Access denied, please try again later", PHASE_RCPT, OUTCOME_S,
	"address-throttled"},
    {"one above it is unlisted", 451, "4.7.700", "Access denied", PHASE_RCPT, OUTCOME_T,
	"unlisted-temporary"},
    {"an address that is analysed", 451, "4.7.850", "Access denied, please try again later", PHASE_RCPT,
	OUTCOME_S, "address-analysed"},
    {"ACS: too fast", 450, "4.5.127", "Message rejected. Excessive message rate from sender", PHASE_CONTENT,
	OUTCOME_S, "sending-too-fast"},

    {"a restricted mailbox", 550, "5.1.8", "Access denied, bad outbound sender AS(42004)" TAIL, PHASE_CONTENT,
	OUTCOME_C, "sender-restricted"},
    {"another server's 5.1.8 is about one address", 550, "5.1.8",
	"<a@nowhere>: Sender address rejected: Domain not found", PHASE_RCPT, OUTCOME_P,
	"unlisted-permanent"},
    {"the outbound spam policy", 554, "5.2.0",
	"STOREDRV.Submission.Exception:OutboundSpamException; Failed to process message due to a permanent "
	"exception" TAIL,
	PHASE_CONTENT, OUTCOME_C, "outbound-spam"},
    {"a banned address, lower end", 550, "5.7.606", "Access denied, banned sending IP [203.0.113.7]",
	PHASE_RCPT, OUTCOME_C, "address-banned"},
    {"a banned address, upper end", 550, "5.7.649", "Access denied, banned sending IP [203.0.113.7]",
	PHASE_RCPT, OUTCOME_C, "address-banned"},
    {"5.7.511 is an address too", 550, "5.7.511", "Access denied, banned sender[203.0.113.7]", PHASE_RCPT,
	OUTCOME_C, "address-banned"},
    {"a policy refusal of that range", 550, "5.7.509", "Access denied, sending domain does not pass DMARC",
	PHASE_RCPT, OUTCOME_P, "policy-refused"},
    {"the block list", 550, "5.7.703", "Your message can't be delivered", PHASE_CONTENT, OUTCOME_P,
	"tenant-block-list"},
    {"a tenant that looks compromised", 550, "5.7.705", "Access denied, tenant has exceeded threshold",
	PHASE_CONTENT, OUTCOME_C, "tenant-blocked"},
    {"an address without reputation", 550, "5.7.708", "Access denied, traffic not accepted from this IP",
	PHASE_CONTENT, OUTCOME_C, "address-reputation"},
    {"an unregistered domain", 550, "5.7.750", "Client blocked from sending from unregistered domains",
	PHASE_CONTENT, OUTCOME_C, "domain-not-registered"},

    {"no such recipient", 550, "5.1.10",
	"RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup" TAIL, PHASE_RCPT,
	OUTCOME_P, "recipient-unknown"},
    {"not in the directory", 550, "5.4.1", "Recipient address rejected: Access denied. AS(201806281)" TAIL,
	PHASE_RCPT, OUTCOME_P, "recipient-refused"},
    {"an external recipient without connector", 550, "5.4.1", "Relay Access Denied" TAIL, PHASE_RCPT,
	OUTCOME_N, "relay-denied"},
    {"relay to a foreign domain", 550, "5.7.54", "SMTP; Unable to relay recipient in non-accepted domain",
	PHASE_RCPT, OUTCOME_N, "relay-denied"},
    {"no connector matches", 550, "5.7.64", "TenantAttribution; Relay Access Denied SMTP" TAIL, PHASE_RCPT,
	OUTCOME_C, "connector-no-match"},
    {"Direct Send is rejected", 550, "5.7.68",
	"TenantInboundAttribution; Direct Send not allowed for this organization from unauthorized "
	"sources" TAIL,
	PHASE_RCPT, OUTCOME_C, "direct-send-rejected"},
    {"not in the list of senders", 550, "5.7.124", "Sender not in allowed-senders list", PHASE_RCPT,
	OUTCOME_P, "sender-not-listed"},
    {"a group for signed-in senders", 550, "5.7.133", "RESOLVER.RST.SenderNotAuthenticatedForGroup",
	PHASE_RCPT, OUTCOME_N, "sender-auth-required"},
    {"a public folder for signed-in senders", 550, "5.7.136", "RESOLVER.RST.SenderNotAuthenticated",
	PHASE_RCPT, OUTCOME_N, "sender-auth-required"},
    {"the older form of it", 550, "5.7.1", "RESOLVER.RST.AuthRequired; authentication required", PHASE_RCPT,
	OUTCOME_N, "sender-auth-required"},
    {"5.7.1 unable to relay", 550, "5.7.1", "Unable to relay", PHASE_RCPT, OUTCOME_N, "relay-denied"},
    {"5.7.1 of a policy", 550, "5.7.1", "Message rejected by policy", PHASE_CONTENT, OUTCOME_P,
	"unlisted-permanent"},
    {"IPv6 without SPF: a 4xx that stays until somebody acts", 450, "4.7.26",
	"Service does not accept messages sent over IPv6", PHASE_MAIL, OUTCOME_C, "mail-not-authenticated"},

    {"Sent Items full, said after the content", 554, "5.2.2", "mailbox full" TAIL, PHASE_CONTENT, OUTCOME_C,
	"sender-mailbox-full"},
    {"Sent Items full, by its exception", 550, "5.2.2",
	"mailbox full; STOREDRV.Submission.Exception:QuotaExceededException", PHASE_CONTENT, OUTCOME_C,
	"sender-mailbox-full"},
    {"a recipient's mailbox, by its exception", 554, "5.2.2",
	"mailbox full; STOREDRV.Deliver.Exception:QuotaExceededException", PHASE_CONTENT, OUTCOME_P,
	"recipient-mailbox-full"},
    {"a recipient's mailbox, at RCPT", 554, "5.2.2", "mailbox full", PHASE_RCPT, OUTCOME_P,
	"recipient-mailbox-full"},
    {"a recipient's mailbox, RFC code", 552, "5.2.2", "Mailbox full", PHASE_CONTENT, OUTCOME_P,
	"recipient-mailbox-full"},
    {"a full mailbox with a 4xx is waited for", 452, "4.2.2", "Mailbox full", PHASE_RCPT, OUTCOME_T,
	"unlisted-temporary"},
    {"larger than the mailbox may send", 550, "5.2.3",
	"RESOLVER.RST.SendSizeLimit.Sender; message too large for this sender", PHASE_CONTENT, OUTCOME_P,
	"message-too-large"},
    {"larger than the recipient takes", 550, "5.2.3", "RESOLVER.RST.RecipSizeLimit; message too large",
	PHASE_CONTENT, OUTCOME_P, "message-too-large"},
    {"larger than the server takes", 552, "5.3.4", "Message size exceeds fixed maximum message size",
	PHASE_MAIL, OUTCOME_P, "message-too-large"},
    {"the header's size: the quirk of BDAT", 552, "5.3.4", "Header size exceeds fixed maximum size" TAIL,
	PHASE_CONTENT, OUTCOME_P, "header-too-large"},
    {"too many in one transaction", 452, "4.5.3", "Too many recipients", PHASE_RCPT, OUTCOME_T,
	"transaction-full"},
    {"too many in one message", 550, "5.5.3", "RESOLVER.ADR.RecipLimit; too many recipients", PHASE_CONTENT,
	OUTCOME_P, "too-many-recipients"},
    {"a bare line feed", 550, "5.6.11", "SMTPSEND.BareLinefeedsAreIllegal; message contains bare linefeeds",
	PHASE_CONTENT, OUTCOME_P, "bare-line-feed"},
    {"the wrong region", 451, "4.4.62", "Mail sent to the wrong Office 365 region. ATTR35", PHASE_RCPT,
	OUTCOME_T, "wrong-region"},
    {"550 with 4.4.4 is permanent, and the config's", 550, "",
	"4.4.4 Mail received as unauthenticated, incoming to a recipient domain configured in a hosted "
	"tenant which has no mail-enabled subscriptions. ATTR5",
	PHASE_RCPT, OUTCOME_C, "domain-unknown"},
    {"550 with 4.4.4, given apart", 550, "4.4.4", "unauthenticated ATTR5", PHASE_RCPT, OUTCOME_C,
	"domain-unknown"},

    {"an unlisted 4xx", 450, "", "Try later", PHASE_MAIL, OUTCOME_T, "unlisted-temporary"},
    {"an unlisted 4xx as a banner", 421, "", "Busy", PHASE_BANNER, OUTCOME_T, "unlisted-temporary"},
    {"an unlisted 4xx to AUTH", 454, "4.7.1", "Temporary authentication failure", PHASE_AUTH, OUTCOME_T,
	"unlisted-temporary"},
    {"an unlisted 5xx to MAIL", 550, "5.9.9", "No", PHASE_MAIL, OUTCOME_P, "unlisted-permanent"},
    {"an unlisted 5xx to RCPT", 550, "", "No", PHASE_RCPT, OUTCOME_P, "unlisted-permanent"},
    {"an unlisted 5xx as a banner holds the road", 554, "", "No SMTP service here", PHASE_BANNER, OUTCOME_C,
	"unlisted-before-mail"},
    {"an unlisted 5xx to EHLO", 550, "", "I do not know you", PHASE_EHLO, OUTCOME_C, "unlisted-before-mail"},
    {"an unlisted 5xx to STARTTLS", 502, "", "Not implemented", PHASE_STARTTLS, OUTCOME_C,
	"unlisted-before-mail"},
    {"an unlisted 535 to AUTH", 535, "5.7.8", "Error: authentication failed", PHASE_AUTH, OUTCOME_C,
	"unlisted-before-mail"},
    {"a 4xx with the enhanced code of a permanent row never ends a message", 450, "5.1.1",
	"User unknown, for now", PHASE_RCPT, OUTCOME_T, "unlisted-temporary"},
    {"a 4xx with 5.7.54 never does either", 450, "5.7.54", "Unable to relay", PHASE_RCPT, OUTCOME_T,
	"unlisted-temporary"},
    {"what is no refusal at all is tried again", 250, "2.0.0", "OK", PHASE_RCPT, OUTCOME_T,
	"unlisted-temporary"},
};

static void make_reply(struct reply *reply, int code, const char *enhanced, const char *text)
{
	*reply = (struct reply){.code = code, .lines = 1};
	snprintf(reply->enhanced, sizeof reply->enhanced, "%s", enhanced);
	snprintf(reply->text, sizeof reply->text, "%s", text);
}

static void replies_have_their_class(void **state)
{
	struct failure failure;
	struct reply reply;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct reply_case *c = &cases[i];

		make_reply(&reply, c->code, c->enhanced, c->text);
		failure_from_reply(&failure, &reply, UPSTREAM_SUBMISSION, c->phase);
		if (strcmp(failure.cause->name, c->name) != 0 || failure.cause->outcome != c->outcome)
			fail_msg("%s: got %s %s, want %s %s", c->label, outcome_name(failure.cause->outcome),
			    failure.cause->name, outcome_name(c->outcome), c->name);
		assert_int_equal(failure.retry_after_s, 0);
	}
}

/* The first alternative of a pattern; the lower end of a range. */
static void first_of(char *dst, size_t size, const char *pattern, const char *end_at)
{
	snprintf(dst, size, "%.*s", pattern != NULL ? (int)strcspn(pattern, end_at) : 0,
	    pattern != NULL ? pattern : "");
}

static unsigned last_bit(unsigned mask, unsigned otherwise)
{
	return mask == 0 ? otherwise : 31 - (unsigned)__builtin_clz(mask);
}

static void check_reach(const struct reply_row *row, const struct reply_match *match)
{
	char enhanced[12], fragment[200];
	struct failure failure;
	struct reply reply;
	int code = match->code >= 100 ? match->code : match->code == 4 ? 450 : 550;

	first_of(enhanced, sizeof enhanced, match->enhanced, "|-");
	first_of(fragment, sizeof fragment, match->fragment, "|");
	make_reply(&reply, code, enhanced, fragment);
	failure_from_reply(&failure, &reply, (enum upstream_kind)last_bit(match->from, UPSTREAM_SUBMISSION),
	    (enum smtp_phase)last_bit(match->phases, PHASE_CONTENT));
	if (failure.cause != &row->cause)
		fail_msg("%s (%d %s \"%s\") is hidden by %s", row->cause.name, code, enhanced, fragment,
		    failure.cause->name);
}

static void every_row_can_be_reached(void **state)
{
	(void)state;
	for (size_t i = 0; i < reply_row_count; i++)
		for (size_t k = 0; k < REPLY_MATCHES; k++) {
			const struct reply_match *match = &reply_rows[i].matches[k];
			if (match->code != 0 || match->enhanced != NULL || match->fragment != NULL)
				check_reach(&reply_rows[i], match);
		}
}

static void check_words(const struct cause *cause)
{
	assert_non_null(cause->name);
	assert_true(strlen(cause->name) > 2);
	assert_true(strspn(cause->name, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(cause->name));
	assert_true(strlen(cause->cause) > 15);
	assert_true(cause->cause[strlen(cause->cause) - 1] == '.');
	assert_true(strlen(cause->remedy) > 10);
	if (cause->outcome == OUTCOME_C || cause->outcome == OUTCOME_S || cause->outcome == OUTCOME_A)
		assert_true(cause->hold_s >= 30);
	else if (cause->outcome != OUTCOME_T)
		assert_int_equal(cause->hold_s, 0);
}

static void check_fragment(const char *name, const char *fragment)
{
	for (const char *p = fragment; p != NULL && *p != '\0'; p++)
		if (isupper((unsigned char)*p) || *p == '\'')
			fail_msg("row %s: fragment \"%s\" can never fit", name, fragment);
}

static void every_row_says_cause_and_remedy(void **state)
{
	(void)state;
	for (size_t i = 0; i < reply_row_count; i++) {
		check_words(&reply_rows[i].cause);
		for (size_t k = 0; k < REPLY_MATCHES; k++)
			check_fragment(reply_rows[i].cause.name, reply_rows[i].matches[k].fragment);
	}
	for (size_t i = 0; i <= ROAD_EXPIRED; i++)
		check_words(&trouble_causes[i]);
	for (size_t i = 0; i < login_row_count; i++) {
		check_words(&login_rows[i].cause);
		assert_int_equal(login_rows[i].cause.outcome, OUTCOME_C);
	}
}

static void troubles_have_their_class(void **state)
{
	static const struct {
		enum road_trouble trouble;
		enum outcome outcome;
	} want[] = {{ROAD_DNS, OUTCOME_T}, {ROAD_CONNECT, OUTCOME_T}, {ROAD_TLS, OUTCOME_T},
	    {ROAD_CERTIFICATE, OUTCOME_C}, {ROAD_NO_STARTTLS, OUTCOME_C}, {ROAD_NO_AUTH, OUTCOME_C},
	    {ROAD_CUT, OUTCOME_T}, {ROAD_TIMEOUT, OUTCOME_T}, {ROAD_GARBAGE, OUTCOME_T},
	    {ROAD_SECRET, OUTCOME_C}, {ROAD_LOGIN_HOST, OUTCOME_T}, {ROAD_LOGIN_ANSWER, OUTCOME_C},
	    {ROAD_LOGIN_CERTIFICATE, OUTCOME_C}, {ROAD_TOO_LARGE, OUTCOME_P}, {ROAD_NO_ROUTE, OUTCOME_C},
	    {ROAD_EXPIRED, OUTCOME_P}};
	struct failure failure;

	(void)state;
	for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
		failure_from_trouble(&failure, want[i].trouble, "line one\r\nline two");
		assert_int_equal(failure.cause->outcome, want[i].outcome);
		assert_string_equal(failure.text, "line one  line two");
	}
	failure_from_trouble(&failure, ROAD_DNS, NULL);
	assert_string_equal(failure.text, "");
}

static void login_errors_have_class_and_remedy(void **state)
{
	static const struct {
		const char *label, *error;
		long aadsts;
		int status;
		enum outcome outcome;
		const char *name;
	} want[] = {
	    {"a wrong secret", "invalid_client", 7000215, 401, OUTCOME_C, "client-secret-wrong"},
	    {"an expired secret", "invalid_client", 7000222, 401, OUTCOME_C, "client-secret-expired"},
	    {"an unknown app", "unauthorized_client", 700016, 400, OUTCOME_C, "app-unknown"},
	    {"an unknown tenant", "invalid_request", 90002, 400, OUTCOME_C, "tenant-unknown"},
	    {"another cloud", "invalid_request", 900432, 400, OUTCOME_C, "wrong-cloud"},
	    {"a scope without /.default", "invalid_scope", 1002012, 400, OUTCOME_C, "scope-wrong"},
	    {"no consent", "invalid_grant", 65001, 400, OUTCOME_C, "consent-missing"},
	    {"Conditional Access", "access_denied", 53003, 400, OUTCOME_C, "conditional-access"},
	    {"a number nobody knows", "invalid_client", 123456, 400, OUTCOME_C, "login-refused"},
	    {"no number at all", "invalid_client", 0, 400, OUTCOME_C, "login-refused"},
	    {"a fault inside the login host", "temporarily_unavailable", 90055, 400, OUTCOME_T,
		"login-host-busy"},
	    {"signing trouble", "server_error", 50000, 400, OUTCOME_T, "login-host-busy"},
	    {"429 wins over the error", "invalid_client", 7000215, 429, OUTCOME_T, "login-host-busy"},
	    {"5xx wins over the error", "invalid_client", 7000215, 503, OUTCOME_T, "login-host-busy"},
	};
	struct failure failure;

	(void)state;
	for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
		failure_from_login(&failure, want[i].error, "AADSTS1: words.\r\nTrace ID: 1", want[i].aadsts,
		    want[i].status);
		if (failure.cause->outcome != want[i].outcome ||
		    strcmp(failure.cause->name, want[i].name) != 0)
			fail_msg("%s: got %s", want[i].label, failure.cause->name);
		assert_non_null(strstr(failure.text, "AADSTS1: words.  Trace ID: 1"));
	}
	failure_from_login(&failure, NULL, NULL, 0, 400);
	assert_string_equal(failure.text, "HTTP 400 : ");
}

static void long_texts_are_cut(void **state)
{
	static char text[REPLY_TEXT_MAX];
	struct failure failure;
	struct reply reply;

	(void)state;
	memset(text, '[', sizeof text - 2);
	text[sizeof text - 2] = ']';
	make_reply(&reply, 550, "5.1.1", text);
	failure_from_reply(&failure, &reply, UPSTREAM_SUBMISSION, PHASE_RCPT);
	assert_string_equal(failure.cause->name, "recipient-unknown");
	assert_true(strlen(failure.text) < FAILURE_TEXT_MAX);
	failure_from_trouble(&failure, ROAD_CUT, text);
	assert_int_equal(strlen(failure.text), FAILURE_TEXT_MAX - 1);
	failure_from_login(&failure, text, text, 1, 400);
	assert_true(strlen(failure.text) < FAILURE_TEXT_MAX);
}

/* What stands in the bracket is a host and an id, never a reason. */
static void the_trailing_bracket_is_not_matched(void **state)
{
	struct failure failure;
	struct reply reply;

	(void)state;
	make_reply(&reply, 550, "5.4.1",
	    "Recipient address rejected [relay access denied 2026-11-20T08:15:30Z 08DC]\n");
	failure_from_reply(&failure, &reply, UPSTREAM_SUBMISSION, PHASE_RCPT);
	assert_string_equal(failure.cause->name, "recipient-refused");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(replies_have_their_class),
	    cmocka_unit_test(every_row_can_be_reached),
	    cmocka_unit_test(every_row_says_cause_and_remedy),
	    cmocka_unit_test(troubles_have_their_class),
	    cmocka_unit_test(login_errors_have_class_and_remedy),
	    cmocka_unit_test(long_texts_are_cut),
	    cmocka_unit_test(the_trailing_bracket_is_not_matched),
	};

	return cmocka_run_group_tests_name("catalogue", tests, NULL, NULL);
}
