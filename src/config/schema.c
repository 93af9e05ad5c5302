#include "config/schema.h"

#include <string.h>

#include "config/config.h"
#include "config/values.h"

#define SECOND 1000ULL
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define KB     1024ULL
#define MB     (1024 * KB)
#define GB     (1024 * MB)

#define AT(type, member)     .offset = offsetof(type, member), .size = sizeof(((type *)NULL)->member)
#define BEHIND(type, member) .offset = offsetof(type, member), .size = sizeof *((type *)NULL)->member
#define MANY(type, member, count)                                                                            \
	.offset = offsetof(type, member), .size = sizeof *((type *)NULL)->member,                            \
	.count_offset = offsetof(type, count)

#define TEXT_MAX     1024
#define PATH_MAX_LEN 4000

static const char *const auto_word[] = {"auto", NULL};

/* clang-format off */
const struct key schema[] = {
{"hostname", KEY_TEXT, .fallback = "(the machine's host name)", .max = 253, AT(struct config, hostname),
	.help = "what the relay calls itself, to devices and to upstreams"},
{"spool", KEY_TEXT, .fallback = "/var/spool/mfdrelay", .max = PATH_MAX_LEN, AT(struct config, spool),
	.help = "the folder of accepted messages"},
{"user", KEY_TEXT, .max = 255, AT(struct config, user),
	.help = "whom the workers run as when the daemon is started as root"},
{"report_to", KEY_TEXT, .max = 320, AT(struct config, report_to),
	.help = "who hears of what cannot be delivered where the sender cannot be told"},
{"name_servers", KEY_TEXTS, .max = 8, MANY(struct config, name_servers, name_server_count),
	.help = "whom to ask for names, in place of the system's name servers"},
{"sandbox", KEY_WORD, .fallback = "on", .words = sandbox_names, AT(struct config, sandbox),
	.help = "whether the workers give up what they do not need"},

{"listen", KEY_LIST, .fallback = "( { } )", .max = 64, MANY(struct config, listen, listen_count),
	.help = "where devices connect to"},
{"listen.address", KEY_TEXT, .fallback = "*", .max = 64, AT(struct listen_config, address),
	.help = "\"*\" for every address of the machine, or an IPv4 or IPv6 address"},
{"listen.port", KEY_NUMBER, .fallback = "25", .max = 65535, AT(struct listen_config, port),
	.help = "the TCP port; 0 takes any free one"},
{"listen.tls", KEY_WORD, .fallback = "(offered where there is a certificate)", .min = LISTEN_TLS_NONE,
	.words = listen_tls_names, AT(struct listen_config, tls),
	.help = "STARTTLS offered or required, TLS from the first octet, or none"},
{"listen.tls_min", KEY_WORD, .fallback = "1.2", .min = TLS_MIN_1_0, .words = tls_min_names,
	AT(struct listen_config, tls_min), .help = "the oldest version of TLS that devices may speak there"},
{"listen.repairs", KEY_WORD, .fallback = "(as repairs)", .min = REPAIRS_ALL, .words = repairs_names,
	AT(struct listen_config, repairs), .help = "whether messages that come in there are repaired"},
{"listen.bare_newlines", KEY_WORD, .fallback = "repair", .words = bare_newlines_names,
	AT(struct listen_config, bare_newlines), .help = "what becomes of content with a CR or LF that stands alone"},

{"tls", KEY_GROUP,
	.help = "the relay's certificate, for devices"},
{"tls.certificate", KEY_TEXT, .fallback = "(one that the relay makes)", .max = PATH_MAX_LEN,
	AT(struct config, tls.certificate), .help = "a file with the certificate and its chain (PEM)"},
{"tls.key", KEY_TEXT, .max = PATH_MAX_LEN, AT(struct config, tls.key),
	.help = "a file with its private key (PEM)"},
{"tls.ecdsa_certificate", KEY_TEXT, .max = PATH_MAX_LEN, AT(struct config, tls.ecdsa_certificate),
	.help = "a second certificate, for devices that know elliptic curves"},
{"tls.ecdsa_key", KEY_TEXT, .max = PATH_MAX_LEN, AT(struct config, tls.ecdsa_key),
	.help = "a file with its private key (PEM)"},

{"devices", KEY_LIST, .max = 5000, MANY(struct config, devices, device_count),
	.help = "who may send; all others are refused"},
{"devices.name", KEY_TEXT, .required = true, .max = TEXT_MAX, AT(struct device, name),
	.help = "its name in logs and the queue"},
{"devices.address", KEY_PREFIXES, .max = 256, MANY(struct device, prefixes, prefix_count),
	.help = "addresses and networks it may send from"},
{"devices.user", KEY_TEXT, .max = 255, AT(struct device, user),
	.help = "the user name it logs in with"},
{"devices.password", KEY_TEXT, .max = TEXT_MAX, AT(struct device, password_hash),
	.help = "the hash of its password, as `mfdrelay passwd` makes it"},
{"devices.tls_min", KEY_WORD, .fallback = "(that of the listener)", .min = TLS_MIN_1_0, .words = tls_min_names,
	AT(struct device, tls_min), .help = "the oldest version of TLS that it may speak"},
{"devices.auth", KEY_WORD, .fallback = "(required with user, else optional)", .min = DEVICE_AUTH_NONE,
	.words = device_auth_names, AT(struct device, auth),
	.help = "whether what comes from its addresses must log in, may, or never does"},
{"devices.auth_requires_tls", KEY_SWITCH, .fallback = "false", AT(struct device, auth_requires_tls),
	.help = "whether it may log in over TLS 1.2 or later only"},
{"devices.senders", KEY_TEXTS, .max = 1000, MANY(struct device, senders, sender_count),
	.help = "patterns of the addresses that it may send as"},
{"devices.recipients", KEY_TEXTS, .max = 1000, MANY(struct device, recipients, recipient_count),
	.help = "patterns of the addresses that it may send to without a login"},
{"devices.message_size", KEY_SIZE, .fallback = "(that of limits)", .min = 64 * KB, .max = GB,
	AT(struct device, message_size), .help = "octets of a message"},
{"devices.messages_per_hour", KEY_NUMBER, .fallback = "0", .max = 1000000, AT(struct device, messages_per_hour),
	.help = "more get a warning, three times as many are deferred; 0 for any number"},
{"devices.quirks", KEY_WORDS, .max = 8, .words = quirk_names, AT(struct device, quirks),
	.help = "what it does that others may not"},

{"devices.sender", KEY_WORD, .fallback = "keep", .min = SENDER_KEEP, .words = sender_rule_names,
	AT(struct device, identity.rule), .help = "whether its mail keeps its sender"},
{"devices.sender_address", KEY_TEXT, .max = 320, AT(struct device, identity.address),
	.help = "the sender that takes the place of others"},
{"devices.send_as", KEY_TEXTS, .max = 1000, MANY(struct device, identity.send_as, identity.send_as_count),
	.help = "patterns of senders that stay"},
{"devices.display_name", KEY_TEXT, .max = 255, AT(struct device, identity.display_name),
	.help = "the name in a From that is rewritten"},
{"devices.repairs", KEY_WORD, .fallback = "(that of the listener)", .min = REPAIRS_ALL, .words = repairs_names,
	AT(struct device, repairs), .help = "whether its messages are repaired"},
{"devices.charset", KEY_TEXT, .fallback = "(charset)", .max = 60, AT(struct device, charset),
	.help = "the character set of its headers"},
{"devices.subject", KEY_TEXT, .max = 255, AT(struct device, subject),
	.help = "the subject of its messages that have none"},

{"upstreams", KEY_LIST, .required = true, .max = 64, MANY(struct config, upstreams, upstream_count),
	.help = "the servers that mail is sent to"},
{"upstreams.name", KEY_TEXT, .required = true, .max = TEXT_MAX, AT(struct upstream_config, name),
	.help = "its name in routes and logs"},
{"upstreams.kind", KEY_WORD, .required = true, .words = upstream_kind_names,
	AT(struct upstream_config, kind), .help = "which of Microsoft's ways in it is"},
{"upstreams.cloud", KEY_WORD, .fallback = "worldwide", .words = cloud_names, AT(struct upstream_config, cloud),
	.help = "the cloud that the tenant lives in", .hint = "GCC is in \"worldwide\""},
{"upstreams.host", KEY_TEXT, .fallback = "(by kind)", .max = 253, AT(struct upstream_config, host),
	.help = "the server's name, which its certificate must hold"},
{"upstreams.domain", KEY_TEXT, .max = 253, AT(struct upstream_config, domain),
	.help = "the tenant's domain, whose MX is the server"},
{"upstreams.mx_suffixes", KEY_TEXTS, .max = 32, MANY(struct upstream_config, mx_suffixes, mx_suffix_count),
	.help = "what names of genuine MX hosts may end in, beside those known to be Microsoft's"},
{"upstreams.port", KEY_NUMBER, .fallback = "(by kind)", .min = 1, .max = 65535, AT(struct upstream_config, port),
	.help = "its TCP port"},
{"upstreams.tls", KEY_WORD, .fallback = "required", .words = upstream_tls_names, AT(struct upstream_config, tls),
	.help = "STARTTLS, TLS from the first octet, or none"},
{"upstreams.ca", KEY_TEXT, .max = PATH_MAX_LEN, AT(struct upstream_config, ca),
	.help = "a file of CA certificates (PEM) to trust for it, in place of the system's"},
{"upstreams.proxy", KEY_TEXT, .max = TEXT_MAX, AT(struct upstream_config, proxy),
	.help = "a proxy on the way to it: \"http://HOST:PORT\" or \"socks5://HOST:PORT\""},
{"upstreams.proxy_user", KEY_TEXT, .max = 255, AT(struct upstream_config, proxy_user),
	.help = "the user that the proxy wants"},
{"upstreams.proxy_password", KEY_TEXT, .max = PATH_MAX_LEN, AT(struct upstream_config, proxy_password),
	.help = "where its password is: \"file:PATH\" or \"credential:NAME\""},
{"upstreams.mailbox", KEY_TEXT, .max = 320, AT(struct upstream_config, mailbox),
	.help = "the mailbox that OAuth logs in to"},
{"upstreams.mailboxes", KEY_TEXTS, .max = 64, MANY(struct upstream_config, mailboxes, mailbox_count),
	.help = "mailboxes that share its load, in place of mailbox"},
{"upstreams.sender", KEY_WORD, .fallback = "(by kind)", .min = SENDER_KEEP, .words = sender_rule_names,
	AT(struct upstream_config, identity.rule), .help = "whether its mail keeps its sender"},
{"upstreams.sender_address", KEY_TEXT, .fallback = "(the mailbox)", .max = 320, AT(struct upstream_config, identity.address),
	.help = "the sender that takes the place of others"},
{"upstreams.send_as", KEY_TEXTS, .max = 1000, MANY(struct upstream_config, identity.send_as, identity.send_as_count),
	.help = "patterns of senders that stay"},
{"upstreams.display_name", KEY_TEXT, .max = 255, AT(struct upstream_config, identity.display_name),
	.help = "the name in a From that is rewritten"},
{"upstreams.user", KEY_TEXT, .max = 320, AT(struct upstream_config, user),
	.help = "the user name of a fixed credential"},
{"upstreams.password", KEY_TEXT, .max = PATH_MAX_LEN, AT(struct upstream_config, password),
	.help = "where its password is: \"file:PATH\" or \"credential:NAME\""},
{"upstreams.certificate", KEY_TEXT, .max = PATH_MAX_LEN, AT(struct upstream_config, certificate),
	.help = "a file with the certificate (PEM, with its chain) that the relay shows to a connector"},
{"upstreams.key", KEY_TEXT, .max = PATH_MAX_LEN, AT(struct upstream_config, key),
	.help = "a file with its private key (PEM)"},
{"upstreams.oauth", KEY_GROUP, BEHIND(struct upstream_config, oauth),
	.help = "the app registration whose token it logs in with"},
{"upstreams.oauth.grant", KEY_WORD, .fallback = "client_credentials", .words = oauth_grant_names,
	AT(struct oauth_config, grant), .help = "how a token is had: by the app itself, or for a person who signs in"},
{"upstreams.oauth.tenant", KEY_TEXT, .max = 253, AT(struct oauth_config, tenant),
	.help = "the tenant: a domain of it, or its GUID"},
{"upstreams.oauth.client_id", KEY_TEXT, .max = 253, AT(struct oauth_config, client_id),
	.help = "the application (client) id"},
{"upstreams.oauth.client_secret", KEY_TEXT, .max = PATH_MAX_LEN, AT(struct oauth_config, credential.client_secret),
	.help = "where the secret's value is: \"file:PATH\" or \"credential:NAME\""},
{"upstreams.oauth.certificate", KEY_TEXT, .max = PATH_MAX_LEN, AT(struct oauth_config, credential.certificate),
	.help = "a file with the certificate (PEM) that the app registration has, in place of a secret"},
{"upstreams.oauth.key", KEY_TEXT, .max = PATH_MAX_LEN, AT(struct oauth_config, credential.key),
	.help = "its private key (RSA): a PEM file, \"credential:NAME\", or the URI of an OpenSSL provider"},
{"upstreams.oauth.assertion_alg", KEY_WORD, .fallback = "PS256", .words = assertion_alg_names,
	AT(struct oauth_config, credential.assertion_alg), .help = "how the key signs"},
{"upstreams.oauth.federated_token", KEY_TEXT, .max = PATH_MAX_LEN, AT(struct oauth_config, credential.federated_token),
	.help = "where a token of another issuer is that the app registration trusts: \"file:PATH\""},
{"upstreams.oauth.secret_expires", KEY_DATE, AT(struct oauth_config, credential.secret_expires_s),
	.help = "the day on which the client secret ends"},
{"upstreams.oauth.next", KEY_GROUP, BEHIND(struct oauth_config, next),
	.help = "what the app proves itself by when the first is refused"},
{"upstreams.oauth.next.client_secret", KEY_TEXT, .max = PATH_MAX_LEN, AT(struct app_credential, client_secret),
	.help = "as oauth.client_secret"},
{"upstreams.oauth.next.certificate", KEY_TEXT, .max = PATH_MAX_LEN, AT(struct app_credential, certificate),
	.help = "as oauth.certificate"},
{"upstreams.oauth.next.key", KEY_TEXT, .max = PATH_MAX_LEN, AT(struct app_credential, key),
	.help = "as oauth.key"},
{"upstreams.oauth.next.assertion_alg", KEY_WORD, .fallback = "PS256", .words = assertion_alg_names,
	AT(struct app_credential, assertion_alg), .help = "as oauth.assertion_alg"},
{"upstreams.oauth.next.federated_token", KEY_TEXT, .max = PATH_MAX_LEN, AT(struct app_credential, federated_token),
	.help = "as oauth.federated_token"},
{"upstreams.oauth.next.secret_expires", KEY_DATE, AT(struct app_credential, secret_expires_s),
	.help = "as oauth.secret_expires"},
{"upstreams.oauth.scope", KEY_TEXT, .fallback = "(by kind and cloud)", .max = TEXT_MAX,
	AT(struct oauth_config, scope), .help = "what the token is for"},
{"upstreams.oauth.authority", KEY_TEXT, .fallback = "(by cloud)", .max = TEXT_MAX,
	AT(struct oauth_config, authority), .help = "the login host's base URL"},
{"upstreams.oauth.ca", KEY_TEXT, .max = PATH_MAX_LEN, AT(struct oauth_config, ca),
	.help = "a file of CA certificates (PEM) to trust for the login host, in place of the system's"},
{"upstreams.oauth.proxy", KEY_TEXT, .max = TEXT_MAX, AT(struct oauth_config, proxy),
	.help = "an HTTP proxy to the login host: \"http://HOST:PORT\""},
{"upstreams.oauth.proxy_user", KEY_TEXT, .max = 255, AT(struct oauth_config, proxy_user),
	.help = "the user that the proxy wants"},
{"upstreams.oauth.proxy_password", KEY_TEXT, .max = PATH_MAX_LEN, AT(struct oauth_config, proxy_password),
	.help = "where its password is: \"file:PATH\" or \"credential:NAME\""},
{"upstreams.window", KEY_GROUP,
	.help = "how much it is sent at a time"},
{"upstreams.window.connections", KEY_NUMBER, .fallback = "(by kind)", .min = 1, .max = 100,
	AT(struct upstream_config, window.connections), .help = "connections at a time"},
{"upstreams.window.messages_per_minute", KEY_NUMBER, .fallback = "(by kind)", .max = 1000000,
	AT(struct upstream_config, window.messages_per_minute), .help = "messages within any minute; 0: no limit"},
{"upstreams.window.messages_per_hour", KEY_NUMBER, .fallback = "(by kind)", .max = 1000000,
	AT(struct upstream_config, window.messages_per_hour), .help = "messages within any hour; 0: no limit"},
{"upstreams.window.recipients_per_day", KEY_NUMBER, .fallback = "(by kind)", .max = 100000000,
	AT(struct upstream_config, window.recipients_per_day), .help = "recipients within any 24 hours; 0: no limit"},
{"upstreams.limits", KEY_GROUP,
	.help = "what it takes in one message"},
{"upstreams.limits.message_size", KEY_SIZE, .fallback = "(by kind)", .min = 64 * KB, .max = GB,
	AT(struct upstream_config, limits.message_size), .help = "octets of a message"},
{"upstreams.limits.recipients", KEY_NUMBER, .fallback = "(by kind)", .min = 1, .max = 10000,
	AT(struct upstream_config, limits.recipients), .help = "recipients of a message"},

{"routes", KEY_LIST, .required = true, .max = 1000, MANY(struct config, routes, route_count),
	.help = "whose mail to whom goes by which upstream; the first that matches counts"},
{"routes.recipients", KEY_TEXTS, .fallback = "(every recipient)", .max = 1000, MANY(struct route, recipients, recipient_count),
	.help = "patterns of addresses"},
{"routes.devices", KEY_TEXTS, .fallback = "(every device)", .max = 1000, MANY(struct route, devices, device_count),
	.help = "names of devices, or patterns of names"},
{"routes.via", KEY_UPSTREAMS, .required = true, .max = 64, MANY(struct route, via, via_count),
	.help = "names of upstreams"},

{"retry", KEY_GROUP,
	.help = "when a delivery is tried again"},
{"retry.first", KEY_DURATION, .fallback = "1m", .min = SECOND, .max = DAY, AT(struct config, retry.first_ms),
	.help = "the first wait; each next one is twice as long"},
{"retry.max", KEY_DURATION, .fallback = "1h", .min = SECOND, .max = 7 * DAY, AT(struct config, retry.max_ms),
	.help = "the longest wait"},
{"retry.give_up", KEY_DURATION, .fallback = "5d", .min = SECOND, .max = 60 * DAY, AT(struct config, retry.give_up_ms),
	.help = "how long in all until the sender is told that it failed"},

{"limits", KEY_GROUP,
	.help = "what devices may ask of the relay"},
{"limits.message_size", KEY_SIZE, .fallback = "35M", .min = 64 * KB, .max = GB, AT(struct config, limits.message_size),
	.help = "octets of a message"},
{"limits.sessions", KEY_NUMBER, .fallback = "512", .min = 1, .max = 10000, AT(struct config, limits.sessions),
	.help = "connections of devices at a time"},
{"limits.sessions_per_address", KEY_NUMBER, .fallback = "32", .min = 1, .max = 10000,
	AT(struct config, limits.sessions_per_address), .help = "the same from one address"},
{"limits.recipients", KEY_NUMBER, .fallback = "100", .min = 1, .max = 10000, AT(struct config, limits.recipients),
	.help = "recipients of a message"},
{"limits.free_space", KEY_SIZE, .fallback = "auto", .min = MB, .max = 16384 * GB, .words = auto_word,
	AT(struct config, limits.free_space), .help = "what is kept free on the spool's file system"},
{"limits.idle", KEY_DURATION, .fallback = "5m", .min = SECOND, .max = HOUR, AT(struct config, limits.idle_ms),
	.help = "how long a device may be silent"},
{"limits.message_time", KEY_DURATION, .fallback = "60m", .min = SECOND, .max = DAY,
	AT(struct config, limits.message_time_ms), .help = "how long a message may take from DATA to its end"},
{"limits.min_data_rate", KEY_NUMBER, .fallback = "100", .max = 1000000, AT(struct config, limits.min_data_rate),
	.help = "octets a second that must come inside DATA, over five minutes; 0 for any"},
{"limits.handshakes_per_second", KEY_NUMBER, .fallback = "200", .max = 100000,
	AT(struct config, limits.handshakes_per_second),
	.help = "how often TLS is begun, by all who are not listed by address; one address has a quarter; 0 for no limit"},

{"repairs", KEY_WORD, .fallback = "all", .min = REPAIRS_ALL, .words = repairs_names, AT(struct config, repairs),
	.help = "whether broken messages are repaired as they go out"},
{"charset", KEY_TEXT, .fallback = "windows-1252", .max = 60, AT(struct config, charset),
	.help = "the character set of headers that name none"},
};
/* clang-format on */

const size_t schema_count = sizeof schema / sizeof *schema;

const char *schema_name(const struct key *key)
{
	const char *dot = strrchr(key->path, '.');

	return dot != NULL ? dot + 1 : key->path;
}

bool schema_is_in(const struct key *key, const char *path)
{
	size_t n = strlen(path);
	const char *name = schema_name(key);

	if (n == 0)
		return name == key->path;
	return strncmp(key->path, path, n) == 0 && name == key->path + n + 1;
}

const struct key *schema_find(const char *path, const char *name)
{
	for (size_t i = 0; i < schema_count; i++)
		if (schema_is_in(&schema[i], path) && strcmp(schema_name(&schema[i]), name) == 0)
			return &schema[i];
	return NULL;
}

/* Less is nearer to the file's top; what holds for all goes before what holds for one of a list. */
static unsigned distance_from_top(const struct key *key)
{
	size_t group = strcspn(key->path, ".");
	unsigned distance = 0;

	for (const char *p = key->path; (p = strchr(p, '.')) != NULL; p++)
		distance += 2;
	for (size_t i = 0; i < schema_count; i++)
		if (schema[i].type == KEY_LIST && strlen(schema[i].path) == group &&
		    strncmp(schema[i].path, key->path, group) == 0)
			distance++;
	return distance;
}

/* Of several the one that is meant most likely. */
static const struct key *find_elsewhere(const char *name)
{
	const struct key *found = NULL;

	for (size_t i = 0; i < schema_count; i++)
		if (strcmp(schema_name(&schema[i]), name) == 0 &&
		    (found == NULL || distance_from_top(&schema[i]) < distance_from_top(found)))
			found = &schema[i];
	return found;
}

const struct key *schema_suggest(const char *path, const char *name)
{
	const struct key *elsewhere = find_elsewhere(name);
	struct nearest nearest = NEAREST(name);

	if (elsewhere != NULL)
		return elsewhere;
	for (size_t i = 0; i < schema_count; i++)
		if (schema_is_in(&schema[i], path))
			nearest_offer(&nearest, schema_name(&schema[i]));
	return nearest.best != NULL ? schema_find(path, nearest.best) : NULL;
}
