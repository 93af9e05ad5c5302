#include "config/check_upstream.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "config/check_oauth.h"
#include "config/check_identity.h"
#include "config/check_microsoft.h"
#include "config/check_proxy.h"
#include "config/config.h"
#include "config/files.h"
#include "config/kinds.h"
#include "config/source.h"
#include "config/values.h"

/* One upstream under check, and where it stands in the file. */
struct subject {
	const struct config *config;
	const struct source *source;
	const struct reader *reader;
	const struct upstream_config *upstream;
	size_t index;
	bool kind_known;
	bool has_oauth, has_user, has_password; /* in the file, whatever their worth */
};

static const config_setting_t *at(const struct subject *s, const char *key)
{
	return source_at(s->source, "upstreams.[%zu].%s", s->index, key);
}

static bool has(const struct subject *s, const char *key)
{
	char path[64];

	snprintf(path, sizeof path, "upstreams.[%zu].%s", s->index, key);
	return config_lookup(&s->source->tree, path) != NULL;
}

static bool is_absent(const struct subject *s)
{
	return s->kind_known && (kind_of(s->upstream->kind)->absent & (1u << s->upstream->cloud)) != 0;
}

static void check_name(const struct subject *s)
{
	const char *name = s->upstream->name;

	if (name == NULL)
		return;
	if (!value_is_name(name)) {
		source_error(s->source, at(s, "name"),
		    "upstreams.name = \"%.64s\": a name is up to 64 letters, digits, '.', '_' and '-'; "
		    "choose another",
		    name);
		return;
	}
	for (size_t i = 0; i < s->index; i++) {
		const char *other = s->config->upstreams[i].name;
		if (other == NULL || strcmp(name, other) != 0)
			continue;
		source_error(s->source, at(s, "name"),
		    "upstreams.name = \"%s\" is taken by an upstream above; choose another", name);
		return;
	}
}

/* Where no default is known: what to write. */
static void check_host_missing(const struct subject *s)
{
	enum upstream_kind kind = s->upstream->kind;

	if (kind_of(kind)->by_mx)
		source_error(s->source, at(s, "host"),
		    "kind \"%s\" needs to know your tenant's MX; add domain = \"contoso.com\"; to have it "
		    "looked up, or host",
		    upstream_kind_names[kind]);
	else if (kind == UPSTREAM_SMTP)
		source_error(s->source, at(s, "host"),
		    "upstreams.host is missing: kind \"smtp\" has no default; add host = "
		    "\"mail.contoso.com\";");
	else
		source_error(s->source, at(s, "host"),
		    "upstreams.host is missing: no host of kind \"%s\" is known in cloud \"%s\"; add the one "
		    "that "
		    "Microsoft names",
		    upstream_kind_names[kind], cloud_names[s->upstream->cloud]);
}

static void check_domain(const struct subject *s)
{
	const char *domain = s->upstream->domain;

	if (s->kind_known && !kind_of(s->upstream->kind)->by_mx)
		source_error(s->source, at(s, "domain"),
		    "upstreams.domain is for kinds \"direct-send\" and \"connector\"; remove it");
	else if (has(s, "host"))
		source_error(s->source, at(s, "domain"),
		    "domain and host exclude each other: the MX of domain is looked up only without host; "
		    "remove one");
	else if (!value_is_host(domain) || strchr(domain, '.') == NULL ||
		 strspn(domain, "0123456789.:") == strlen(domain))
		source_error(s->source, at(s, "domain"),
		    "upstreams.domain = \"%.64s\": no domain; write the tenant's mail domain as "
		    "\"contoso.com\"",
		    domain);
}

static void check_mx_suffixes(const struct subject *s)
{
	for (size_t i = 0; i < s->upstream->mx_suffix_count; i++) {
		const char *suffix = s->upstream->mx_suffixes[i], *name = suffix + (suffix[0] == '.');
		if (!value_is_host(name) || strchr(name, '.') == NULL)
			source_error(s->source, at(s, "mx_suffixes"),
			    "upstreams.mx_suffixes = \"%.64s\": write what names of MX hosts end in, two "
			    "labels or more, as "
			    "\".mx.example.com\"",
			    suffix);
	}
	if (has(s, "mx_suffixes") && !has(s, "domain"))
		source_warn(s->source, at(s, "mx_suffixes"),
		    "upstreams.mx_suffixes has no effect without domain; remove it");
}

static void check_host(const struct subject *s)
{
	const char *host = s->upstream->host;

	if (s->upstream->domain != NULL)
		check_domain(s);
	check_mx_suffixes(s);
	if (host == NULL) {
		if (s->kind_known && !has(s, "host") && !has(s, "domain") && !is_absent(s))
			check_host_missing(s);
		return;
	}
	if (!value_is_host(host))
		source_error(s->source, at(s, "host"),
		    "upstreams.host = \"%.64s\": no host name; write the name or address alone, the port has "
		    "its own key",
		    host);
}

static void check_cloud(const struct subject *s)
{
	enum cloud cloud = s->upstream->cloud;

	if (is_absent(s))
		source_error(s->source, at(s, "cloud"),
		    "kind \"%s\" does not exist in cloud \"%s\"; use another kind",
		    upstream_kind_names[s->upstream->kind], cloud_names[cloud]);
	else if ((kind_of(s->upstream->kind)->proofs & PROOF_OAUTH) != 0 && s->upstream->oauth != NULL &&
		 s->upstream->oauth->scope == NULL && !has(s, "oauth.scope"))
		source_error(s->source, at(s, "oauth"),
		    "upstreams.oauth.scope is missing: none is known for kind \"%s\" in cloud \"%s\"; add "
		    "the one that "
		    "Microsoft names",
		    upstream_kind_names[s->upstream->kind], cloud_names[cloud]);
}

static void check_proof(const struct subject *s, unsigned proof, const char *key, const char *use)
{
	enum upstream_kind kind = s->upstream->kind;
	unsigned taken = kind_of(kind)->proofs;

	if (!has(s, key) || (taken & proof) != 0)
		return;
	source_error(s->source, at(s, key), "kind \"%s\" takes %s; remove %s, or use kind %s",
	    upstream_kind_names[kind],
	    (taken & PROOF_CERTIFICATE) != 0 ? "certificate and key at most"
	    : (taken & PROOF_OAUTH) != 0     ? "oauth, or user and password"
	    : (taken & PROOF_PASSWORD) != 0  ? "user and password at most"
					     : "no credential",
	    key, use);
}

static void check_credential_fits_kind(const struct subject *s)
{
	enum upstream_kind kind = s->upstream->kind;

	check_proof(s, PROOF_OAUTH, "oauth", "\"submission\" (with host and port)");
	check_proof(s, PROOF_PASSWORD, s->has_user ? "user" : "password", "\"submission\" or \"smtp\"");
	check_proof(s, PROOF_CERTIFICATE, has(s, "certificate") ? "certificate" : "key", "\"connector\"");
	if (!kind_of(kind)->needs_proof || s->has_oauth || s->has_user || s->has_password)
		return;
	source_error(s->source, at(s, "kind"), "kind \"%s\" needs a credential; add %s",
	    upstream_kind_names[kind],
	    kind == UPSTREAM_ACS ? "user (the SMTP username) and password = \"file:/PATH\""
				 : "mailbox and oauth = { tenant, client_id, client_secret }");
}

/* Azure Communication Services tell the login's name apart from the address that mail comes from. */
static bool logs_in_by_name(const struct subject *s)
{
	return s->kind_known && s->upstream->kind == UPSTREAM_ACS;
}

static void check_fixed_credential(const struct subject *s)
{
	bool excludes_user = s->has_oauth && !logs_in_by_name(s);

	if (s->has_user && !s->has_password && !s->has_oauth)
		source_error(s->source, at(s, "user"),
		    "upstreams.user needs a password; add password = \"file:/PATH\";");
	if (s->has_password && !s->has_user)
		source_error(s->source, at(s, "password"),
		    "upstreams.password needs the user it belongs to; add user");
	if ((excludes_user && s->has_user) || (s->has_oauth && s->has_password))
		source_error(s->source, at(s, excludes_user && s->has_user ? "user" : "password"),
		    "oauth and user/password exclude each other; remove %s",
		    excludes_user ? "user and password" : "password");
	else if (s->has_user && s->kind_known && s->upstream->kind == UPSTREAM_SUBMISSION)
		source_warn(s->source, at(s, "user"),
		    "Microsoft turns passwords (basic authentication) off for submission at the end of "
		    "December 2026, "
		    "unless the tenant's admin turns them on again; use oauth");
	check_secret(s->source, at(s, "password"), "upstreams.password", s->upstream->password, s->reader);
}

/* "RESOURCE|APP ID|TENANT ID" is the older form of an SMTP username, with '.' for '|' allowed; the newer is free text. */
static void check_acs_user(const struct subject *s)
{
	const char *user = s->upstream->user;

	if (s->has_oauth && !s->has_user)
		source_error(s->source, at(s, "oauth"),
		    "kind \"acs\" logs in with the SMTP username of the resource; add user = \"...\"; beside "
		    "oauth");
	if (user != NULL && strchr(user, '|') != NULL) {
		const char *app = strchr(user, '|') + 1, *tenant = strchr(app, '|');
		char id[37] = "";
		if (tenant != NULL && tenant - app == 36)
			memcpy(id, app, 36);
		if (!value_is_guid(id) || !value_is_guid(tenant + 1))
			source_warn(s->source, at(s, "user"),
			    "upstreams.user: an SMTP username with '|' has the form \"RESOURCE|APP ID|TENANT "
			    "ID\", both ids "
			    "GUIDs; correct it");
	}
	if (s->upstream->mailbox == NULL)
		source_warn(s->source, at(s, "kind"),
		    "kind \"acs\" refuses mail without a sender, reports above all; add mailbox = "
		    "\"donotreply@contoso.com\", an address of a domain linked to the resource");
}

static void check_client_certificate(const struct subject *s)
{
	const struct pair_place place = {.certificate_at = at(s, "certificate"),
	    .key_at = at(s, "key"),
	    .certificate_key = "upstreams.certificate",
	    .key_key = "upstreams.key"};

	check_client_pair(s->source, &place, s->upstream->certificate, s->upstream->key, s->reader);
}

static void check_mail_address(const struct subject *s, const char *key, const char *text)
{
	if (!value_is_mail_address(text))
		source_error(s->source, at(s, key),
		    "upstreams.%s = \"%.64s\": no mail address; write it as \"scanner@contoso.com\"", key,
		    text);
}

static void check_mailboxes(const struct subject *s)
{
	char *const *mailboxes = s->upstream->mailboxes;

	if (has(s, "mailbox"))
		source_error(s->source, at(s, "mailboxes"),
		    "upstreams.mailboxes stands in place of mailbox; remove one of them");
	if (!s->has_oauth || logs_in_by_name(s))
		source_error(s->source, at(s, "mailboxes"),
		    "upstreams.mailboxes goes with oauth of kind \"submission\" or \"hve\" only; remove it");
	for (size_t i = 0; i < s->upstream->mailbox_count; i++) {
		check_mail_address(s, "mailboxes", mailboxes[i]);
		for (size_t j = 0; j < i; j++)
			if (strcasecmp(mailboxes[i], mailboxes[j]) == 0)
				source_error(s->source, at(s, "mailboxes"),
				    "upstreams.mailboxes lists \"%.64s\" twice; remove one", mailboxes[i]);
	}
}

static void check_mailbox(const struct subject *s)
{
	if (has(s, "mailboxes")) {
		check_mailboxes(s);
		return;
	}
	if (s->has_oauth && !has(s, "mailbox") && !logs_in_by_name(s))
		source_error(s->source, at(s, "oauth"),
		    "oauth needs the mailbox it logs in to; add mailbox = \"scanner@contoso.com\"; beside "
		    "it");
	if (!s->has_oauth && has(s, "mailbox") && !logs_in_by_name(s))
		source_error(s->source, at(s, "mailbox"),
		    "upstreams.mailbox goes with oauth only; add oauth, or remove mailbox");
	if (s->upstream->mailbox != NULL)
		check_mail_address(s, "mailbox", s->upstream->mailbox);
}

/* The port says how TLS begins (RFC 8314 section 3.3): the other way the two sides wait for each other, or cannot talk. Of
 * Microsoft's ports check_microsoft() knows. */
static void check_tls_port(const struct subject *s)
{
	unsigned port = s->upstream->port;

	if (!s->kind_known || s->upstream->kind != UPSTREAM_SMTP)
		return;
	if (s->upstream->tls == UPSTREAM_TLS_REQUIRED && port == 465)
		source_warn(s->source, at(s, "port"),
		    "upstreams.port = 465 begins with TLS everywhere; add tls = \"implicit\";");
	if (s->upstream->tls == UPSTREAM_TLS_IMPLICIT && (port == 587 || port == 25))
		source_warn(s->source, at(s, "tls"),
		    "tls = \"implicit\" is for port 465; port %u begins without TLS: remove tls, and "
		    "STARTTLS "
		    "is used",
		    port);
}

static void check_tls(const struct subject *s)
{
	check_tls_port(s);
	if (s->upstream->tls != UPSTREAM_TLS_NONE)
		return;
	if (s->kind_known && s->upstream->kind != UPSTREAM_SMTP)
		source_error(s->source, at(s, "tls"), "tls = \"none\" is for kind \"smtp\" only; remove it");
	else if (s->has_oauth || s->has_user || s->has_password)
		source_error(s->source, at(s, "tls"),
		    "tls = \"none\" would send the password in the clear; remove one of them");
	if (s->upstream->ca != NULL)
		source_warn(s->source, at(s, "ca"),
		    "upstreams.ca has no effect with tls = \"none\"; remove one of them");
}

static void check_way_out(const struct subject *s)
{
	char path[64];
	const struct proxy_keys keys = {.proxy = s->upstream->proxy,
	    .user = s->upstream->proxy_user,
	    .password = s->upstream->proxy_password,
	    .path = path,
	    .name = "upstreams",
	    .takes_socks = true};

	snprintf(path, sizeof path, "upstreams.[%zu]", s->index);
	check_proxy(s->source, &keys, s->reader);
}

static bool knows_kind(const struct source *source, size_t index)
{
	const config_setting_t *upstream = source_at(source, "upstreams.[%zu]", index);
	const config_setting_t *kind = config_setting_get_member(upstream, "kind");
	const char *text = kind != NULL ? config_setting_get_string(kind) : NULL;

	for (size_t i = 0; text != NULL && upstream_kind_names[i] != NULL; i++)
		if (strcmp(text, upstream_kind_names[i]) == 0)
			return true;
	return false;
}

/* Else it refuses all: hve-sender-foreign. */
static void check_hve_sender(const struct subject *s)
{
	const char *account = s->upstream->mailbox != NULL ? s->upstream->mailbox : s->upstream->user;
	const struct identity_config *identity = &s->upstream->identity;

	if (!s->kind_known || s->upstream->kind != UPSTREAM_HVE)
		return;
	if (has(s, "sender") && identity->rule != SENDER_FORCE)
		source_warn(s->source, at(s, "sender"),
		    "upstreams.sender: High Volume Email takes the account's own address only; remove "
		    "sender");
	if (has(s, "sender_address") && identity->address != NULL && account != NULL &&
	    strcasecmp(identity->address, account) != 0)
		source_warn(s->source, at(s, "sender_address"),
		    "upstreams.sender_address: High Volume Email takes the account's own address (%.64s) "
		    "only; remove it",
		    account);
}

static void check_one(struct subject *s)
{
	s->kind_known = knows_kind(s->source, s->index);
	s->has_oauth = has(s, "oauth");
	s->has_user = has(s, "user");
	s->has_password = has(s, "password");
	check_name(s);
	check_cloud(s);
	check_host(s);
	if (s->kind_known)
		check_credential_fits_kind(s);
	if (logs_in_by_name(s))
		check_acs_user(s);
	check_fixed_credential(s);
	check_client_certificate(s);
	check_mailbox(s);
	check_identity(s->source, "upstreams", s->index, &s->upstream->identity);
	check_hve_sender(s);
	if (s->upstream->oauth != NULL)
		check_oauth(s->source, s->upstream, s->index, s->reader);
	check_tls(s);
	if (s->kind_known)
		check_microsoft(s->source, s->upstream, s->index);
	check_ca(s->source, at(s, "ca"), "upstreams.ca", s->upstream->ca, s->reader);
	check_way_out(s);
}

void check_upstreams(const struct config *config, const struct source *source)
{
	struct reader reader = reader_of(config);

	for (size_t i = 0; i < config->upstream_count; i++) {
		struct subject subject = {.config = config,
		    .source = source,
		    .reader = &reader,
		    .upstream = &config->upstreams[i],
		    .index = i};
		check_one(&subject);
	}
}
