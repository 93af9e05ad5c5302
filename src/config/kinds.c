#include "config/kinds.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#define MB	  (1024ULL * 1024)
#define IN(cloud) (1u << (cloud))

/* Exchange Online's name as a resource, by cloud. */
#define EXCHANGE                                                                                             \
	{                                                                                                    \
		[CLOUD_WORLDWIDE] = "https://outlook.office365.com/.default",                                \
		[CLOUD_GCC_HIGH] = "https://outlook.office365.us/.default",                                  \
		[CLOUD_DOD] = "https://outlook-dod.office365.us/.default",                                   \
		[CLOUD_CHINA] = "https://partner.outlook.cn/.default"                                        \
	}

/* What a person may let an app do there. HVE's permission is Mail.Send, submission's SMTP.Send. */
#define ON_BEHALF(permission)                                                                                \
	{                                                                                                    \
		[CLOUD_WORLDWIDE] = "https://outlook.office.com/" permission " offline_access",              \
		[CLOUD_GCC_HIGH] = "https://outlook.office365.us/" permission " offline_access",             \
		[CLOUD_DOD] = "https://outlook-dod.office365.us/" permission " offline_access",              \
		[CLOUD_CHINA] = "https://partner.outlook.cn/" permission " offline_access"                   \
	}

/* Hosts and limits as Microsoft publishes them: of recipients in a message submission takes 500, HVE and ACS 50, an MX
 * host 200 in a transaction; HVE and ACS take 10 MB. Submission allows a mailbox 3 connections, 30 messages a minute and
 * 10,000 recipients in 24 hours: some of it is left to others who use the mailbox. ACS takes 30 messages a minute and 100
 * an hour. Where Microsoft says nothing of connections, two are enough. */
static const struct kind kinds[] = {
    [UPSTREAM_SUBMISSION] = {.host = {[CLOUD_WORLDWIDE] = "smtp.office365.com",
				 [CLOUD_GCC_HIGH] = "smtp.office365.us",
				 [CLOUD_DOD] = "outlook-dod.office365.us",
				 [CLOUD_CHINA] = "smtp.partner.outlook.cn"},
	.scope = EXCHANGE,
	.user_scope = ON_BEHALF("SMTP.Send"),
	.port = 587,
	.sender = SENDER_MAP,
	.refuses_null = true,
	.window = {2, 25, 0, 10000},
	.recipients = 500,
	.proofs = PROOF_OAUTH | PROOF_PASSWORD,
	.needs_proof = true},
    [UPSTREAM_HVE] = {.host = {[CLOUD_WORLDWIDE] = "smtp.hve.mx.microsoft"},
	.scope = EXCHANGE,
	.user_scope = ON_BEHALF("Mail.Send"),
	.absent = IN(CLOUD_CHINA),
	.port = 587,
	.sender = SENDER_FORCE,
	.refuses_null = true,
	.window = {2, 0, 0, 0},
	.recipients = 50,
	.message_size = 10 * MB,
	.proofs = PROOF_OAUTH | PROOF_PASSWORD,
	.needs_proof = true,
	.inside_only = true},
    [UPSTREAM_DIRECT_SEND] =
	{.port = 25, .window = {2, 0, 0, 0}, .recipients = 200, .inside_only = true, .by_mx = true},
    [UPSTREAM_CONNECTOR] = {.port = 25,
	.window = {2, 0, 0, 0},
	.refuses_null = true,
	.recipients = 200,
	.proofs = PROOF_CERTIFICATE,
	.by_mx = true},
    [UPSTREAM_ACS] = {.host = {[CLOUD_WORLDWIDE] = "smtp.azurecomm.net"},
	.scope = {[CLOUD_WORLDWIDE] = "https://communication.azure.com/.default"},
	.port = 587,
	.sender = SENDER_MAP,
	.refuses_null = true,
	.window = {2, 30, 100, 0},
	.recipients = 50,
	.message_size = 10 * MB,
	.proofs = PROOF_OAUTH | PROOF_PASSWORD,
	.needs_proof = true},
    [UPSTREAM_SMTP] = {.port = 587, .window = {5, 0, 0, 0}, .proofs = PROOF_PASSWORD},
};

const struct kind *kind_of(enum upstream_kind kind)
{
	return &kinds[kind];
}

/* Names of MX hosts end in these; those of the national clouds are from experience, not from a page of Microsoft's. */
static const char *const mx_suffixes[CLOUD_COUNT][5] = {
    [CLOUD_WORLDWIDE] = {"mail.protection.outlook.com", "mx.microsoft", "mail.eo.outlook.com",
	"mail.protection.outlook.de", NULL},
    [CLOUD_GCC_HIGH] = {"mail.protection.office365.us", "mail.protection.outlook.us", NULL},
    [CLOUD_DOD] = {"protection.apps.mil", "mail.protection.office365.us", NULL},
    [CLOUD_CHINA] = {"mail.protection.partner.outlook.cn", NULL},
};

static bool ends_in(const char *host, const char *suffix)
{
	size_t n = strlen(host), m;

	suffix += suffix[0] == '.';
	m = strlen(suffix);
	return n > m + 1 && host[n - m - 1] == '.' && strcasecmp(host + n - m, suffix) == 0;
}

bool mx_is_genuine(const struct upstream_config *upstream, const char *host)
{
	for (const char *const *known = mx_suffixes[upstream->cloud]; *known != NULL; known++)
		if (ends_in(host, *known))
			return true;
	for (size_t i = 0; i < upstream->mx_suffix_count; i++)
		if (ends_in(host, upstream->mx_suffixes[i]))
			return true;
	return false;
}

const char *grant_authority(enum oauth_grant grant, enum cloud cloud)
{
	static const char *const authorities[CLOUD_COUNT] = {
	    [CLOUD_WORLDWIDE] = "https://login.microsoftonline.com",
	    [CLOUD_GCC_HIGH] = "https://login.microsoftonline.us",
	    [CLOUD_DOD] = "https://login.microsoftonline.us",
	    [CLOUD_CHINA] = "https://login.partner.microsoftonline.cn",
	};

	switch (grant) {
	case GRANT_MANAGED_IDENTITY:
		return "http://169.254.169.254";
	case GRANT_AZURE_ARC:
		return "http://localhost:40342";
	case GRANT_CLIENT_CREDENTIALS:
	case GRANT_DEVICE_CODE:
		break;
	}
	return authorities[cloud];
}
