/* One HTTPS request on the loop (libcurl's multi interface): what a token request needs, no more. */
#ifndef MFDRELAY_NET_HTTP_H
#define MFDRELAY_NET_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include "base/err.h"
#include "base/secret.h"
#include "net/resolver.h"

#define HTTP_BODY_MAX (256 * 1024)	/* octets of an answer; more is an error */
#define HTTP_TIMEOUT_MS 30000		/* for all of one request */

struct http;
struct http_request;

struct http_answer {
	int status;			/* HTTP status; 0: no answer was had */
	struct str body;		/* at most HTTP_BODY_MAX; may hold a token: never logged */
	long retry_after_s;		/* of the Retry-After header; 0 without */
	const char *challenge;		/* of the WWW-Authenticate header; NULL without */
	const char *why;		/* status 0: what failed (DNS, connect, TLS, timeout, too large), in words, and with whom: it
					   begins with or goes on to "the proxy" where that is the proxy */
	bool unproved;			/* status 0: the host's certificate is not accepted, or the CA file can't be used */
};

/* The answer is borrowed for the time of the call, and wiped after it. */
typedef void http_fn(void *arg, const struct http_answer *answer);

/* The resolver is used for every host (libcurl's own would start threads); it must outlive this. */
struct http *http_new(struct event_base *base, struct resolver *resolver, struct err *err);

/* An HTTP proxy that is asked for a tunnel (CONNECT): it sees the host's name and port, and looks the name up. */
struct http_proxy {
	const char *host;
	unsigned short port;
	const char *user;		/* NULL: it wants no login */
	const struct secret *password;	/* NULL exactly where user is */
};

struct http_call {
	const char *url;
	const char *ca_file;			/* NULL: the system's store */
	const struct secret *form;		/* POSTed as application/x-www-form-urlencoded; NULL: it is a GET */
	const char *header;			/* one more, "Metadata: true"; NULL: none */
	const struct secret *secret_header;	/* likewise */
	const struct http_proxy *proxy;		/* NULL: none, whatever the environment says */
	bool local;				/* plain HTTP, to a service of this machine: nobody but it has a loopback or
						   link-local address, and no other is connected to. Else https */
};

/* The certificate is verified against ca_file and the host's name; redirects are not followed. fn is called once, from the
 * loop, never from inside this call, unless http_cancel comes first. All of call is copied. */
struct http_request *http_send(struct http *http, const struct http_call *call, http_fn *fn, void *arg);
void http_cancel(struct http_request *request);		/* NULL is fine */

void http_free(struct http *http);			/* cancels what is under way; NULL is fine */

#endif
