#include "listener/policy.h"

#include "config/config.h"
#include "config/upstream_size.h"
#include "listener/say.h"
#include "listener/session_inside.h"
#include "listener/session_tls.h"
#include "smtp/address.h"

const struct device *policy_device(const struct session *s)
{
	if (s->login != NULL)
		return s->login;
	return s->place != NULL && s->place->auth != DEVICE_AUTH_REQUIRED ? s->place : NULL;
}

const char *policy_device_name(const struct session *s)
{
	const struct device *device = policy_device(s);

	return device != NULL ? device->name : "";
}

/* Without the threads that check passwords there is no user either. */
bool policy_offers_auth(const struct session *s)
{
	return s->env->auth != NULL && !session_needs_tls(s) &&
	       config_may_log_in(s->env->config, s->place, &s->peer, s->secure);
}

const char *policy_tls_needed(const struct session *s)
{
	return s->tls ? "a port or address whose tls_min is 1.2 or later" : "TLS 1.2 or later";
}

const char *policy_refuse_auth(const struct session *s)
{
	if (s->env->auth == NULL)
		return "502 5.5.1 AUTH is not offered: no entry in devices has a user (see mfdrelay.conf)";
	if (session_needs_tls(s))
		return session_tls_needed;
	if (!s->secure && config_may_log_in(s->env->config, s->place, &s->peer, true))
		return say("538 5.7.11 %s: %s is needed for a login (devices.auth_requires_tls)",
		    s->place != NULL ? s->place->name : s->peer_text, policy_tls_needed(s));
	if (s->place != NULL && s->place->auth == DEVICE_AUTH_NONE)
		return say("502 5.5.1 AUTH is not offered to %s (devices.auth is \"none\")", s->place->name);
	return say(
	    "502 5.5.1 AUTH is not offered to %s: no user in devices may come from there", s->peer_text);
}

static struct size_limit configured_limit(const struct session *s)
{
	const struct device *device = policy_device(s);
	struct size_limit all = {s->env->config->limits.message_size, "limits.message_size", ""};

	if (device == NULL || device->message_size == 0 || device->message_size > all.bytes)
		return all;
	return (struct size_limit){device->message_size, "devices.message_size", ""};
}

/* What is too large for one of them goes by another, so the largest counts; one of which nothing is known takes all. */
static struct size_limit route_limit(
    const struct session *s, const struct route *route, struct size_limit limit)
{
	struct size_limit most = {0};

	for (size_t i = 0; i < route->via_count; i++) {
		const struct upstream_config *upstream = &s->env->config->upstreams[route->via[i]];
		uint64_t bytes = upstream_size(upstream, s->env->counters);
		if (bytes == 0)
			return limit;
		if (bytes > most.bytes)
			most = (struct size_limit){bytes, "the SIZE of upstream ", upstream->name};
	}
	return most.bytes > 0 && most.bytes < limit.bytes ? most : limit;
}

/* The recipient is not known yet, so the route that takes most counts; what is too large for another is refused at RCPT. */
struct size_limit policy_size_limit(const struct session *s)
{
	const struct config *config = s->env->config;
	struct size_limit configured = configured_limit(s), most = {0};

	for (size_t i = 0; i < config->route_count; i++) {
		if (!route_is_for(&config->routes[i], policy_device_name(s)))
			continue;
		struct size_limit one = route_limit(s, &config->routes[i], configured);
		if (one.bytes > most.bytes)
			most = one;
	}
	return most.bytes > 0 ? most : configured;
}

struct size_limit policy_size_limit_for(
    const struct session *s, const char *recipient, struct size_limit limit)
{
	int route = config_route(s->env->config, policy_device_name(s), recipient);

	return route < 0 ? limit : route_limit(s, &s->env->config->routes[route], limit);
}

const char *policy_refuse_sender(const struct session *s, const struct address *sender)
{
	const struct device *device = policy_device(s);
	const char *text = sender->text[0] != '\0' ? sender->text : "<>";

	if (device == NULL || address_matches_any(text, device->senders, device->sender_count))
		return NULL;
	return say("550 5.7.1 %s may not send as %s (devices.senders)", device->name, text);
}

const char *policy_refuse_peer(const struct session *s)
{
	if (policy_device(s) != NULL)
		return NULL;
	if (s->place != NULL)
		return "530 5.7.0 Authentication required";
	return say("550 5.7.1 %s is not listed in devices of this relay (see mfdrelay.conf)%s", s->peer_text,
	    policy_offers_auth(s) ? ", and has not logged in" : "");
}

const char *policy_refuse_recipient(const struct session *s, const struct address *recipient)
{
	const struct device *device = policy_device(s);

	if (s->login != NULL ||
	    address_matches_any(recipient->text, device->recipients, device->recipient_count))
		return NULL;
	return say("550 5.7.1 %s may not send to %s without a login (devices.recipients)", device->name,
	    recipient->text);
}
