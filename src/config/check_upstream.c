#include "config/check_upstream.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "config/check_oauth.h"
#include "config/config.h"
#include "config/files.h"
#include "config/source.h"
#include "config/values.h"
#include "smtp/address.h"

#define MICROSOFT_CONNECTIONS 3 /* at a time and mailbox; more get 432 4.3.2 */

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
	const config_setting_t *upstream = source_at(s->source, "upstreams.[%zu]", s->index);

	return config_setting_get_member(upstream, key) != NULL;
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

static void check_host(const struct subject *s)
{
	const char *host = s->upstream->host;
	const char *kind = upstream_kind_names[s->upstream->kind];

	if (host == NULL) {
		if (s->kind_known && !has(s, "host"))
			source_error(s->source, at(s, "host"),
			    "upstreams.host is missing: kind \"%s\" has no default; add host = \"%s\";", kind,
			    s->upstream->kind == UPSTREAM_DIRECT_SEND
				? "contoso-com.mail.protection.outlook.com"
				: "mail.contoso.com");
		return;
	}
	if (!value_is_host(host))
		source_error(s->source, at(s, "host"),
		    "upstreams.host = \"%.64s\": no host name; write the name or address alone, the port has "
		    "its own key",
		    host);
	if (strcasecmp(host, "smtp-hve.office365.com") == 0)
		source_warn(s->source, at(s, "host"),
		    "upstreams.host: Microsoft is going to end smtp-hve.office365.com; use "
		    "\"smtp.hve.mx.microsoft\"");
}

/* Kinds that reach outside want one; direct-send has none to give; smtp may have user and password. */
static void check_credential_fits_kind(const struct subject *s)
{
	const char *kind = upstream_kind_names[s->upstream->kind];
	bool has_any = s->has_oauth || s->has_user || s->has_password;

	switch (s->upstream->kind) {
	case UPSTREAM_SUBMISSION:
	case UPSTREAM_HVE:
		if (!has_any)
			source_error(s->source, at(s, "kind"),
			    "kind \"%s\" needs a credential; add mailbox and oauth = { tenant, client_id, "
			    "client_secret }",
			    kind);
		break;
	case UPSTREAM_DIRECT_SEND:
		if (has_any)
			source_error(s->source,
			    at(s, s->has_oauth	? "oauth"
				  : s->has_user ? "user"
						: "password"),
			    "kind \"direct-send\" takes no credential; remove it, or use kind "
			    "\"submission\"");
		break;
	case UPSTREAM_SMTP:
		if (s->has_oauth)
			source_error(s->source, at(s, "oauth"),
			    "kind \"smtp\" takes user and password, no oauth; use kind \"submission\" or "
			    "\"hve\" with host and port");
		break;
	}
}

static void check_fixed_credential(const struct subject *s)
{
	if (s->has_user && !s->has_password)
		source_error(s->source, at(s, "user"),
		    "upstreams.user needs a password; add password = \"file:/PATH\";");
	if (s->has_password && !s->has_user)
		source_error(s->source, at(s, "password"),
		    "upstreams.password needs the user it belongs to; add user");
	if (s->has_oauth && (s->has_user || s->has_password))
		source_error(s->source, at(s, s->has_user ? "user" : "password"),
		    "oauth and user/password exclude each other; remove user and password");
	else if (s->has_user && s->kind_known && s->upstream->kind == UPSTREAM_SUBMISSION)
		source_warn(s->source, at(s, "user"),
		    "Microsoft turns passwords (basic authentication) off for submission at the end of "
		    "December 2026, "
		    "unless the tenant's admin turns them on again; use oauth");
	check_secret(s->source, at(s, "password"), "upstreams.password", s->upstream->password, s->reader);
}

static void check_mailbox(const struct subject *s)
{
	const char *mailbox = s->upstream->mailbox;
	struct address address;

	if (s->has_oauth && !has(s, "mailbox"))
		source_error(s->source, at(s, "oauth"),
		    "oauth needs the mailbox it logs in to; add mailbox = \"scanner@contoso.com\"; beside "
		    "it");
	if (!s->has_oauth && has(s, "mailbox"))
		source_error(s->source, at(s, "mailbox"),
		    "upstreams.mailbox goes with oauth only; add oauth, or remove mailbox");
	if (mailbox != NULL &&
	    (!address_parse(str_of(mailbox), &address) || address_domain(&address)[0] == '\0'))
		source_error(s->source, at(s, "mailbox"),
		    "upstreams.mailbox = \"%.64s\": no mail address; write it as \"scanner@contoso.com\"",
		    mailbox);
}

static void check_tls(const struct subject *s)
{
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

/* Upstreams of one mailbox share what Microsoft allows it. */
static void check_connections(const struct subject *s)
{
	const char *mailbox = s->upstream->mailbox;
	unsigned sum = 0;

	if (!s->kind_known || s->upstream->kind != UPSTREAM_SUBMISSION)
		return;
	for (size_t i = 0; i <= s->index; i++) {
		const struct upstream_config *other = &s->config->upstreams[i];
		bool is_shared = other->kind == UPSTREAM_SUBMISSION && mailbox != NULL &&
				 other->mailbox != NULL && strcasecmp(mailbox, other->mailbox) == 0;
		if (is_shared || i == s->index)
			sum += other->connections;
	}
	if (sum > MICROSOFT_CONNECTIONS)
		source_warn(s->source, at(s, "window.connections"),
		    "%u connections to one mailbox: Microsoft allows %d and refuses more; lower "
		    "window.connections",
		    sum, MICROSOFT_CONNECTIONS);
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

static void check_one(struct subject *s)
{
	s->kind_known = knows_kind(s->source, s->index);
	s->has_oauth = has(s, "oauth");
	s->has_user = has(s, "user");
	s->has_password = has(s, "password");
	check_name(s);
	check_host(s);
	if (s->kind_known)
		check_credential_fits_kind(s);
	check_fixed_credential(s);
	check_mailbox(s);
	if (s->upstream->oauth != NULL)
		check_oauth(s->source, s->upstream->oauth, s->index, s->reader);
	check_tls(s);
	check_connections(s);
	check_ca(s->source, at(s, "ca"), "upstreams.ca", s->upstream->ca, s->reader);
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
