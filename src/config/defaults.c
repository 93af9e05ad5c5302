#include "config/defaults.h"

#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "config/config.h"
#include "config/kinds.h"
#include "config/values.h"

#define IMPLICIT_TLS_PORT 465

static void fill_text(char **text, const char *fallback)
{
	if (*text == NULL && fallback != NULL)
		*text = xstrdup(fallback);
}

static void fill_number(unsigned *number, unsigned unset, unsigned fallback)
{
	if (*number == unset)
		*number = fallback;
}

static void fill_window(struct window_config *window, const struct window_config *fallback)
{
	fill_number(&window->connections, 0, fallback->connections);
	fill_number(&window->messages_per_minute, CONFIG_UNSET, fallback->messages_per_minute);
	fill_number(&window->messages_per_hour, CONFIG_UNSET, fallback->messages_per_hour);
	fill_number(&window->recipients_per_day, CONFIG_UNSET, fallback->recipients_per_day);
}

/* Who logs in is whom it sends as. */
static void fill_identity(struct upstream_config *upstream)
{
	const struct kind *kind = kind_of(upstream->kind);
	struct identity_config *identity = &upstream->identity;
	const char *login = upstream->mailbox;

	if (login == NULL && kind->sender != SENDER_UNSET)
		login = upstream->user;
	if (login != NULL && value_is_mail_address(login)) {
		identity->is_any_mailbox = identity->address == NULL && upstream->mailbox_count > 0;
		fill_text(&identity->address, login);
	}
	if (identity->rule == SENDER_UNSET)
		identity->rule =
		    identity->address != NULL && kind->sender != SENDER_UNSET ? kind->sender : SENDER_KEEP;
}

static void fill_upstream(struct upstream_config *upstream)
{
	const struct kind *kind = kind_of(upstream->kind);
	struct oauth_config *oauth = upstream->oauth;

	if (upstream->mailbox_count > 0)
		fill_text(&upstream->mailbox, upstream->mailboxes[0]);
	fill_text(&upstream->host, kind->host[upstream->cloud]);
	if (upstream->port == 0)
		upstream->port = upstream->tls == UPSTREAM_TLS_IMPLICIT ? IMPLICIT_TLS_PORT : kind->port;
	fill_window(&upstream->window, &kind->window);
	if (upstream->limits.recipients == 0)
		upstream->limits.recipients = kind->recipients;
	if (upstream->limits.message_size == 0)
		upstream->limits.message_size = kind->message_size;
	fill_identity(upstream);
	if (oauth == NULL)
		return;
	fill_text(&oauth->authority, grant_authority(oauth->grant, upstream->cloud));
	fill_text(&oauth->scope, oauth->grant == GRANT_DEVICE_CODE ? kind->user_scope[upstream->cloud]
								   : kind->scope[upstream->cloud]);
	size_t n = strlen(oauth->authority);
	while (n > 0 && oauth->authority[n - 1] == '/')
		oauth->authority[--n] = '\0';
}

static void fill_hostname(struct config *config)
{
	char name[256] = "", fit[256];

	if (config->hostname != NULL)
		return;
	if (gethostname(name, sizeof name - 1) == 0 && value_ehlo_name(fit, sizeof fit, name))
		config->hostname = xstrdup(fit);
}

/* One that asks for TLS brings a certificate into being, which the others then have too. */
static void fill_listeners(struct config *config)
{
	bool has_certificate = config->tls.certificate != NULL || config_makes_certificate(config);

	for (size_t i = 0; i < config->listen_count; i++)
		if (config->listen[i].tls == LISTEN_TLS_UNSET)
			config->listen[i].tls = has_certificate ? LISTEN_TLS_OFFERED : LISTEN_TLS_NONE;
}

static void fill_devices(struct config *config)
{
	for (size_t i = 0; i < config->device_count; i++) {
		struct device *device = &config->devices[i];
		if (device->auth == DEVICE_AUTH_UNSET)
			device->auth = device->user != NULL ? DEVICE_AUTH_REQUIRED : DEVICE_AUTH_OPTIONAL;
	}
}

void defaults_fill(struct config *config)
{
	for (size_t i = 0; i < config->upstream_count; i++)
		fill_upstream(&config->upstreams[i]);
	fill_hostname(config);
	fill_listeners(config);
	fill_devices(config);
}
