#include "config/check_microsoft.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <strings.h>

#include "config/config.h"
#include "config/kinds.h"
#include "config/source.h"
#include "config/values.h"

/* What Microsoft takes from a mailbox by submission; more gets 432 4.3.2, or 550 5.1.90. */
#define MAILBOX_CONNECTIONS 3
#define MAILBOX_MESSAGES    30
#define MAILBOX_RECIPIENTS  10000

#define MB (UINT64_C(1024) * 1024)

/* The most that can be had of a message: a mailbox's -RecipientLimits goes to 1000, ACS grants 30 MB by a support request, and
 * what the servers say in SIZE is 150 MB. */
static const struct {
	unsigned recipients;
	uint64_t bytes;
} most[] = {
    [UPSTREAM_SUBMISSION] = {1000, 150 * MB},
    [UPSTREAM_HVE] = {50, 10 * MB},
    [UPSTREAM_DIRECT_SEND] = {200, 150 * MB},
    [UPSTREAM_CONNECTOR] = {200, 150 * MB},
    [UPSTREAM_ACS] = {50, 30 * MB},
};

/* One upstream under check, and where it stands in the file. */
struct subject {
	const struct source *source;
	const struct upstream_config *upstream;
	size_t index;
};

static const config_setting_t *at(const struct subject *s, const char *key)
{
	return source_at(s->source, "upstreams.[%zu].%s", s->index, key);
}

/* --- the host --- */

static void check_old_host(const struct subject *s, const char *host)
{
	if (strcasecmp(host, "smtp-hve.office365.com") == 0)
		source_warn(s->source, at(s, "host"),
		    "upstreams.host: Microsoft is going to end smtp-hve.office365.com; use "
		    "\"smtp.hve.mx.microsoft\"");
	else if (strcasecmp(host, "smtp-legacy.office365.com") == 0)
		source_warn(s->source, at(s, "host"),
		    "upstreams.host: smtp-legacy.office365.com is for programs without TLS 1.2; use "
		    "\"smtp.office365.com\"");
}

/* Of servers that are Microsoft's by their names; elsewhere a port may lead to them. */
static void check_port(const struct subject *s, const char *host)
{
	const struct upstream_config *upstream = s->upstream;
	const char *known = kind_of(upstream->kind)->host[upstream->cloud];
	/* HVE's name ends as those of MX hosts do. */
	bool is_known = known != NULL && strcasecmp(host, known) == 0;
	bool is_mx = !is_known && mx_is_genuine(upstream, host);
	const char *ports = is_mx ? "port 25" : "ports 587 and 25";

	if (!is_known && !is_mx)
		return;
	if (upstream->tls == UPSTREAM_TLS_IMPLICIT)
		source_warn(s->source, at(s, "tls"),
		    "upstreams.tls = \"implicit\": %.64s has STARTTLS only, at %s; remove tls and port", host,
		    ports);
	else if (upstream->port != 25 && (is_mx || upstream->port != 587))
		source_warn(s->source, at(s, "port"),
		    "upstreams.port = %u: %.64s takes mail at %s only; remove port", upstream->port, host,
		    ports);
}

static void check_host(const struct subject *s)
{
	const char *host = s->upstream->host;

	if (host == NULL)
		return;
	check_old_host(s, host);
	check_port(s, host);
	if (value_is_address(host))
		source_warn(s->source, at(s, "host"),
		    "upstreams.host = \"%.64s\": Microsoft's addresses change, and no certificate of theirs "
		    "names one; write the host's name",
		    host);
}

/* --- limits --- */

static void check_window_limit(
    const struct subject *s, const char *key, unsigned value, unsigned microsofts, const char *what)
{
	char path[64];

	if (value != 0 && value <= microsofts)
		return;
	snprintf(path, sizeof path, "window.%s", key);
	if (value == 0)
		source_warn(s->source, at(s, path),
		    "upstreams.%s = 0: Microsoft allows a mailbox %u %s and refuses more; remove it", path,
		    microsofts, what);
	else
		source_warn(s->source, at(s, path),
		    "upstreams.%s = %u: Microsoft allows a mailbox %u %s and refuses more; lower it", path,
		    value, microsofts, what);
}

static void check_window(const struct subject *s)
{
	const struct window_config *window = &s->upstream->window;

	if (s->upstream->kind != UPSTREAM_SUBMISSION)
		return;
	check_window_limit(
	    s, "connections", window->connections, MAILBOX_CONNECTIONS, "connections at a time");
	check_window_limit(
	    s, "messages_per_minute", window->messages_per_minute, MAILBOX_MESSAGES, "messages a minute");
	check_window_limit(s, "recipients_per_day", window->recipients_per_day, MAILBOX_RECIPIENTS,
	    "recipients in 24 hours");
}

static void check_limits(const struct subject *s)
{
	enum upstream_kind kind = s->upstream->kind;
	unsigned recipients = s->upstream->limits.recipients;
	uint64_t bytes = s->upstream->limits.message_size;
	char ours[32], theirs[32];

	if (recipients > most[kind].recipients)
		source_warn(s->source, at(s, "limits.recipients"),
		    "upstreams.limits.recipients = %u: kind \"%s\" takes %u in a message and refuses more; "
		    "lower it",
		    recipients, upstream_kind_names[kind], most[kind].recipients);
	if (bytes > most[kind].bytes)
		source_warn(s->source, at(s, "limits.message_size"),
		    "upstreams.limits.message_size = \"%s\": kind \"%s\" takes %s and refuses more; lower it",
		    value_size_text(ours, sizeof ours, bytes), upstream_kind_names[kind],
		    value_size_text(theirs, sizeof theirs, most[kind].bytes));
}

void check_microsoft(const struct source *source, const struct upstream_config *upstream, size_t index)
{
	const struct subject subject = {source, upstream, index};

	if (upstream->kind == UPSTREAM_SMTP)
		return;
	check_host(&subject);
	check_window(&subject);
	check_limits(&subject);
}
