/* The way to an upstream by a proxy. The proxy gets the host's name and looks it up itself; here only the proxy's is looked up. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "net/proxy.h"
#include "sender/client_private.h"

struct proxy_conversation {
	struct proxy_talk talk;
	struct secret password;
};

struct resolver_query *client_look_up(struct client *c, const char *host, resolver_fn *fn)
{
	const struct upstream_config *upstream = upstream_of(c);
	struct proxy_place place;

	if (upstream->proxy != NULL && proxy_parse(upstream->proxy, &place))
		return resolver_lookup(c->settings->resolver, place.host, place.port, fn, c);
	return resolver_lookup(c->settings->resolver, host, upstream->port, fn, c);
}

static void send_out(struct client *c, struct proxy_output *out)
{
	if (out->n > 0)
		conn_write(c->conn, out->bytes, out->n);
	explicit_bzero(out, sizeof *out);
}

static int read_password(struct secret *password, const char *where, enum proxy_kind kind, struct err *err)
{
	size_t max = proxy_password_max(kind);

	if (secret_read(password, where, err) < 0)
		return -1;
	if (password->n > max)
		return err_set(err,
		    "%s: longer than the %zu octets that a password for this kind of proxy can have", where,
		    max);
	return 0;
}

void client_begin_proxy(struct client *c)
{
	const struct upstream_config *upstream = upstream_of(c);
	struct proxy_conversation *proxy = xcalloc(1, sizeof *proxy);
	struct proxy_place place;
	struct proxy_output out;
	struct err err;

	c->proxy = proxy;
	proxy_parse(upstream->proxy, &place);
	if (upstream->proxy_password != NULL &&
	    read_password(&proxy->password, upstream->proxy_password, place.kind, &err) < 0) {
		client_fail_trouble(c, ROAD_SECRET, err.text);
		return;
	}
	proxy->talk.kind = place.kind;
	proxy->talk.host = c->host;
	proxy->talk.port = upstream->port;
	if (upstream->proxy_password != NULL) {
		proxy->talk.user = upstream->proxy_user;
		proxy->talk.password = &proxy->password;
	}
	proxy_begin(&proxy->talk, &out);
	send_out(c, &out);
}

static void fail(struct client *c, enum proxy_result result, const char *why)
{
	char text[1400];

	snprintf(text, sizeof text, "%s: %s", upstream_of(c)->proxy, why);
	client_fail_trouble(c, result == PROXY_LOGIN ? ROAD_PROXY_LOGIN : ROAD_PROXY, text);
}

void client_on_proxy_input(struct client *c)
{
	enum proxy_result result = PROXY_MORE;
	struct proxy_output out;
	char why[400] = "";
	struct str in;
	size_t used;

	while (result == PROXY_MORE && (in = conn_peek(c->conn)).n > 0) {
		result = proxy_feed(&c->proxy->talk, in, &used, &out, why, sizeof why);
		conn_consume(c->conn, used);
		send_out(c, &out);
	}
	if (result == PROXY_MORE)
		return;
	if (result != PROXY_OPEN) {
		fail(c, result, why);
		return;
	}
	client_end_proxy(c);
	client_on_connected(c);
}

void client_end_proxy(struct client *c)
{
	if (c->proxy != NULL)
		secret_free(&c->proxy->password);
	free(c->proxy);
	c->proxy = NULL;
}
