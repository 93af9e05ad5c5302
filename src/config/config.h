/* The configuration as the program sees it: built once from the file, const for everyone from then on. A new one
 * arrives with new workers, never by edits. The file's syntax and every key: mfdrelay.conf(5). */
#ifndef MFDRELAY_CONFIG_CONFIG_H
#define MFDRELAY_CONFIG_CONFIG_H

#include <limits.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_DEFAULT_FILE "/etc/mfdrelay/mfdrelay.conf"

/* UNSET is for the time of loading only, but for a device's tls_min: it then has its listener's. */
enum listen_tls { LISTEN_TLS_UNSET, LISTEN_TLS_NONE, LISTEN_TLS_OFFERED, LISTEN_TLS_REQUIRED, LISTEN_TLS_IMPLICIT };
enum bare_newlines { BARE_REPAIR, BARE_REJECT };
/* Whether what comes from an entry's addresses logs in. Never UNSET once loaded. */
enum device_auth { DEVICE_AUTH_UNSET, DEVICE_AUTH_NONE, DEVICE_AUTH_OPTIONAL, DEVICE_AUTH_REQUIRED };
enum tls_min { TLS_MIN_UNSET, TLS_MIN_1_0, TLS_MIN_1_1, TLS_MIN_1_2, TLS_MIN_1_3 };

/* What is done about broken messages as they go out. UNSET: what is asked next says. */
enum repairs { REPAIRS_UNSET, REPAIRS_ALL, REPAIRS_NONE };

/* Who a message is from as it goes out, in the envelope and in From. UNSET is for the time of loading only. */
enum sender_rule {
	SENDER_UNSET,
	SENDER_KEEP,	/* as it is; address stands in for one that is of no use */
	SENDER_MAP,	/* address, but for those that send_as lists */
	SENDER_FORCE,	/* address, always */
};
struct identity_config {
	enum sender_rule rule;
	char *address;		/* NULL with SENDER_KEEP only: none */
	bool is_any_mailbox;	/* not given: it is that one of the upstream's mailboxes that logs in */
	char **send_as;		/* patterns for address_matches() */
	size_t send_as_count;
	char *display_name;	/* of a From that is rewritten, "{device}" stands for the device's name; NULL: its own */
};

struct listen_config {
	char *address;		/* "*", or an IPv4 or IPv6 literal */
	unsigned short port;	/* 0: any free one (tests) */
	enum listen_tls tls;
	enum tls_min tls_min;
	enum bare_newlines bare_newlines;	/* what becomes of a CR or LF in content that stands alone */
	enum repairs repairs;	/* UNSET: the config's */
};

/* An address with its network's length. IPv4 is held as v4-mapped IPv6, so that one comparison serves both. */
struct prefix {
	struct in6_addr address;
	unsigned bits;		/* 0 to 128; an IPv4 /24 is 120 */
};

struct device {
	char *name;
	struct prefix *prefixes;
	size_t prefix_count;
	char *user;		/* NULL: known by address alone */
	char *password_hash;	/* crypt(5) string; NULL exactly where user is */
	enum tls_min tls_min;
	enum device_auth auth;
	bool auth_requires_tls;
	char **senders;		/* patterns for address_matches(), "<>" for the null sender; none: any */
	size_t sender_count;
	char **recipients;	/* likewise: where to without a login; with one, anywhere. None: any */
	size_t recipient_count;
	uint64_t message_size;	/* octets of content; 0: limits.message_size alone counts */
	unsigned messages_per_hour;	/* 0: any number */
	unsigned quirks;	/* 1 << enum quirk */
	struct identity_config identity;
	enum repairs repairs;	/* UNSET: its listener's */
	char *charset;		/* of raw bytes in headers; NULL: the config's */
	char *subject;		/* of a message that has none or a blank one; NULL: it stays so */
};

/* What a device does that no other may. */
enum quirk { QUIRK_EOD_LF };	/* ends its content with LF . LF */

enum upstream_kind {
	UPSTREAM_SUBMISSION, UPSTREAM_HVE, UPSTREAM_DIRECT_SEND, UPSTREAM_CONNECTOR, UPSTREAM_ACS, UPSTREAM_SMTP,
};
enum cloud { CLOUD_WORLDWIDE, CLOUD_GCC_HIGH, CLOUD_DOD, CLOUD_CHINA };
enum upstream_tls { UPSTREAM_TLS_REQUIRED, UPSTREAM_TLS_IMPLICIT, UPSTREAM_TLS_NONE };

/* What an app registration proves itself by: one of client_secret, certificate with key, and federated_token. */
enum assertion_alg { ASSERTION_PS256, ASSERTION_RS256 };
struct app_credential {
	char *client_secret;	/* where it is to be read: "file:PATH" or "credential:NAME" */
	char *certificate;	/* PEM file */
	char *key;		/* of the certificate: as net/key.h takes it */
	enum assertion_alg assertion_alg;
	char *federated_token;	/* where a JWT of another issuer is to be read, as client_secret */
	int64_t secret_expires_s;	/* when client_secret ends, since 1970; 0: not said */
};

/* A number that the file does not give and whose 0 means something: until the defaults are filled in. */
#define CONFIG_UNSET UINT_MAX

/* How a token is had: by the app itself, for a person who has signed in, or from the machine it runs on. */
enum oauth_grant { GRANT_CLIENT_CREDENTIALS, GRANT_DEVICE_CODE, GRANT_MANAGED_IDENTITY, GRANT_AZURE_ARC };

struct oauth_config {
	enum oauth_grant grant;
	char *authority;	/* base URL without a trailing slash: https, the login host's; or http, this machine's identity service */
	char *tenant;		/* NULL with an identity of the machine */
	char *client_id;	/* may be NULL with one */
	struct app_credential credential;	/* of client_credentials */
	struct app_credential *next;	/* tried where the first is refused; NULL: none */
	char *scope;
	char *ca;		/* PEM file for the login host; NULL: the system's store */
	char *proxy;		/* to it: as net/proxy.h reads it; NULL: none */
	char *proxy_user, *proxy_password;	/* both NULL: no login; the password as client_secret */
};

/* A send window. */
struct window_config {
	unsigned connections;	/* at a time, over all generations of workers */
	unsigned messages_per_minute, messages_per_hour, recipients_per_day;	/* 0: any number */
};

struct upstream_config {
	char *name;
	enum upstream_kind kind;
	enum cloud cloud;
	char *host;		/* NULL: the MX of domain */
	char *domain;		/* exactly one of the two */
	char **mx_suffixes;	/* what names of MX hosts may end in, beside Microsoft's */
	size_t mx_suffix_count;
	unsigned short port;
	enum upstream_tls tls;
	char *ca;		/* PEM file; NULL: the system's store */
	char *proxy;		/* on the way to it: as net/proxy.h reads it; NULL: none */
	char *proxy_user, *proxy_password;	/* both NULL: no login; the password as client_secret */
	char *certificate, *key;	/* PEM files, shown to the server in the TLS handshake; both NULL: none */
	char **mailboxes;	/* those that share its load; none: mailbox alone */
	size_t mailbox_count;
	char *mailbox;		/* the first of them; whom mail without a sender is sent as, and the login's name without user; NULL: none */
	struct oauth_config *oauth;	/* NULL: no OAuth */
	char *user;		/* the login's name; NULL: none, or mailbox. With oauth for kind acs only */
	char *password;		/* where it is to be read, as client_secret; NULL exactly where there is oauth or no login */
	struct window_config window;	/* of its mailbox: others of the kind submission with the same one share it */
	struct identity_config identity;
	struct {
		unsigned recipients;	/* of a message; a longer list goes in several transactions. 0: any number */
		uint64_t message_size;	/* octets of content; 0: as the server's EHLO says */
	} limits;
};

struct route {
	char **recipients;	/* patterns for address_matches(); none: every recipient */
	size_t recipient_count;
	char **devices;		/* likewise, of devices' names; none: mail of every device, and the relay's own */
	size_t device_count;
	size_t *via;		/* indexes into upstreams; the first is used */
	size_t via_count;
};

enum sandbox_switch { SANDBOX_ON, SANDBOX_OFF };

struct config {
	char *file;
	char *hostname;
	char *spool;
	char *user;		/* workers drop to it; NULL: none given */
	char *report_to;	/* NULL: none given */
	char **name_servers;	/* "ADDRESS:PORT"; none: the system's */
	size_t name_server_count;
	enum sandbox_switch sandbox;
	struct listen_config *listen;
	size_t listen_count;
	struct {
		char *certificate, *key;		/* PEM files; both NULL: made where a listener has TLS */
		char *ecdsa_certificate, *ecdsa_key;	/* a second pair; NULL: none */
	} tls;
	struct device *devices;
	size_t device_count;
	struct upstream_config *upstreams;
	size_t upstream_count;
	struct route *routes;
	size_t route_count;
	enum repairs repairs;
	char *charset;		/* of raw bytes in headers that are no UTF-8, as iconv(3) names it */
	struct {
		int64_t first_ms, max_ms, give_up_ms;
	} retry;
	struct {
		uint64_t message_size;		/* octets of content */
		unsigned sessions, sessions_per_address, recipients;
		uint64_t free_space;		/* octets; 0: the smaller of 5 % of the file system and 64M */
		unsigned idle_ms;		/* between commands and inside DATA; RFC 5321 4.5.3.2: 5 minutes */
		unsigned message_time_ms;	/* from DATA to its end */
		unsigned min_data_rate;		/* octets a second inside DATA, over 5 minutes; 0: any */
		unsigned handshakes_per_second;	/* of TLS, all strangers together; an address has a quarter of it. 0: any number */
	} limits;
};

/* The words of the file for the enums, in their order. */
extern const char *const upstream_kind_names[];
extern const char *const cloud_names[];
extern const char *const upstream_tls_names[];
extern const char *const oauth_grant_names[];
extern const char *const assertion_alg_names[];
extern const char *const sandbox_names[];
extern const char *const repairs_names[];	/* from REPAIRS_ALL on */
extern const char *const sender_rule_names[];	/* from SENDER_KEEP on */
extern const char *const listen_tls_names[];	/* from LISTEN_TLS_NONE on */
extern const char *const bare_newlines_names[];
extern const char *const tls_min_names[];	/* from TLS_MIN_1_0 on */
extern const char *const device_auth_names[];	/* from DEVICE_AUTH_NONE on */
extern const char *const quirk_names[];

/* Whether two sockets want the same port of the same address, so that the second could not be bound. Port 0 overlaps nothing. */
bool listen_overlaps(const struct listen_config *a, const struct listen_config *b);

/* "address:port" as the config has them, by which an envelope knows its listener; "" for an entry without an address. Cut at size.
 * Returns dst. And the entry of that name, or NULL. */
#define LISTEN_NAME_MAX 80
const char *listen_name(char *dst, size_t size, const struct listen_config *listen);
const struct listen_config *config_listen_by_name(const struct config *config, const char *name);

/* The route of a recipient, for mail of the device of that name (""; the relay's own): its index, or -1 where no route matches.
 * The first match in the file's order counts. */
int config_route(const struct config *config, const char *device, const char *recipient);

/* Whether the route is for mail of that device. */
bool route_is_for(const struct route *route, const char *device);

/* The first of its patterns, for people. */
const char *route_title(const struct route *route);

/* The entry that decides on a peer's address (IPv4 as v4-mapped): the longest prefix wins; on a tie one without a user, then
 * the earlier. Its auth says whether the address is enough. NULL: not listed. */
const struct device *config_device_by_address(const struct config *config, const struct in6_addr *address);

/* The entry with that user whose addresses, if it has any, hold address. ASCII case is ignored; where no entry has user as it
 * stands, "DOMAIN\\USER" and "USER@DOMAIN" are taken as USER. NULL: none. */
const struct device *config_device_by_user(const struct config *config, const char *user, const struct in6_addr *address);

/* Whether the user of device may log in from address, for which place is what config_device_by_address has: an entry that has a
 * user, and asks for a login, takes no others than those whose entries hold the address as closely. place may be NULL. */
bool config_may_log_in_as(
    const struct device *place, const struct device *device, const struct in6_addr *address);

/* Whether anybody may log in from address, whose connection is safe from listeners or not. place is what
 * config_device_by_address has for it. */
bool config_may_log_in(
    const struct config *config, const struct device *place, const struct in6_addr *address, bool secure);

/* The entry of that name, or NULL. */
const struct device *config_device_by_name(const struct config *config, const char *name);

/* Whether a listener has TLS of any kind. */
bool listen_has_tls(const struct listen_config *listen);

/* The oldest version that address may speak on listen: that of the entry of devices with the longest prefix that holds it,
 * with a user or not (the handshake comes before the login), or the listener's. Never UNSET. */
enum tls_min config_tls_min(
    const struct config *config, const struct listen_config *listen, const struct in6_addr *address);

/* Whether it lets in TLS 1.0 or 1.1: all sessions there count as plain text where something asks for TLS. */
bool tls_min_is_legacy(enum tls_min tls_min);

/* Whether the relay makes a certificate of its own, and whether anybody may speak TLS 1.0 or 1.1 to it. */
bool config_makes_certificate(const struct config *config);
bool config_has_legacy(const struct config *config);

/* The host, or the domain whose MX it is: for people. */
const char *upstream_name(const struct upstream_config *upstream);

/* Whether an address lies in a prefix. */
bool prefix_holds(const struct prefix *prefix, const struct in6_addr *address);

/* Free all of it; NULL is fine. */
void config_free(struct config *config);

#endif
