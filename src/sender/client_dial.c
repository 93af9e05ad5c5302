/* From the config's host or domain to a TCP connection: every mail host of the domain by preference, every address of each. */
#include "sender/client_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "config/kinds.h"
#include "sender/client.h"

/* --- addresses --- */

void client_connect_next(struct client *c)
{
	const struct net_address *address = &c->addresses[c->address_next++];

	c->conn = conn_connect(c->settings->base, (const struct sockaddr *)&address->address, address->length,
	    client_on_conn, c);
	if (c->conn == NULL) {
		client_fail_trouble(c, ROAD_CONNECT, strerror(errno));
		return;
	}
	conn_set_timeout(c->conn, CONNECT_TIMEOUT_MS);
}

/* --- hosts --- */

static void resolve_next_host(struct client *c);

static bool has_next_host(const struct client *c)
{
	return c->host_next < c->hosts.n;
}

static void on_resolved(void *arg, const struct net_address *addresses, size_t n, const char *why)
{
	struct client *c = arg;

	c->query = NULL;
	if (n == 0 && has_next_host(c)) {
		resolve_next_host(c);
		return;
	}
	if (n == 0) {
		client_fail_trouble(c, ROAD_DNS, why);
		return;
	}
	memcpy(c->addresses, addresses, n * sizeof *addresses);
	c->address_count = n;
	c->address_next = 0;
	if (c->step == CLIENT_DNS)
		client_proved(c, CLIENT_TCP);
	client_enter(c, ST_CONNECT);
}

static void resolve_next_host(struct client *c)
{
	c->host = c->hosts.hosts[c->host_next++].name;
	c->query = client_look_up(c, c->host, on_resolved);
}

bool client_dial_on(struct client *c)
{
	if (c->address_next >= c->address_count && !has_next_host(c))
		return false;
	conn_free(c->conn);
	c->conn = NULL;
	if (c->address_next < c->address_count) {
		c->state = ST_CONNECT;
		client_connect_next(c);
	} else {
		c->state = ST_RESOLVE;
		resolve_next_host(c);
	}
	return true;
}

/* --- the domain's MX --- */

/* Where the first host is not Microsoft's the domain's mail goes elsewhere, whatever stands behind it: sent past that, it would
 * miss a filter that the tenant counts on, or be refused. */
static bool take_hosts(struct client *c, const struct mx_list *list)
{
	char text[2 * MX_NAME_MAX];

	if (list->hosts[0].name[0] == '\0') {
		snprintf(text, sizeof text, "%s: its MX record says that it takes no mail",
		    upstream_of(c)->domain);
		client_fail_trouble(c, ROAD_MX_NONE, text);
		return false;
	}
	if (!mx_is_genuine(upstream_of(c), list->hosts[0].name)) {
		snprintf(
		    text, sizeof text, "the MX of %s is %s", upstream_of(c)->domain, list->hosts[0].name);
		client_fail_trouble(c, ROAD_MX_FOREIGN, text);
		return false;
	}
	c->hosts.n = 0;
	for (size_t i = 0; i < list->n; i++)
		if (mx_is_genuine(upstream_of(c), list->hosts[i].name))
			c->hosts.hosts[c->hosts.n++] = list->hosts[i];
	return true;
}

static void on_mx(void *arg, const struct mx_list *list, const char *why)
{
	struct client *c = arg;

	c->query = NULL;
	if (list == NULL) {
		client_fail_trouble(c, ROAD_DNS, why);
	} else if (list->n == 0) {
		client_fail_trouble(c, ROAD_MX_NONE, why);
	} else if (take_hosts(c, list)) {
		client_proved(c, CLIENT_DNS);
		c->settings->mx.list = c->hosts;
		c->settings->mx.until_ms = clock_mono_ms() + (int64_t)list->ttl_s * 1000;
		log_event(LOG_LEVEL_INFO, "mx", kv_str("upstream", upstream_of(c)->name),
		    kv_str("domain", upstream_of(c)->domain), kv_str("host", c->hosts.hosts[0].name),
		    kv_u64("hosts", c->hosts.n), kv_u64("ttl_s", list->ttl_s));
		resolve_next_host(c);
	}
}

void client_begin_dial(struct client *c)
{
	const struct upstream_config *upstream = upstream_of(c);

	c->step = CLIENT_DNS;
	if (upstream->host != NULL) {
		c->query = client_look_up(c, upstream->host, on_resolved);
	} else if (clock_mono_ms() < c->settings->mx.until_ms) {
		c->hosts = c->settings->mx.list;
		resolve_next_host(c);
	} else {
		c->step = CLIENT_MX;
		c->query = resolver_mx(c->settings->resolver, upstream->domain, on_mx, c);
	}
}
