/* A way out by a proxy: where the config says it is, and what is said to it before it hands the connection through. Pure. The
 * proxy is given the host's name, and looks it up itself: HTTP CONNECT (RFC 9110 section 9.3.6), SOCKS5 (RFC 1928, 1929). */
#ifndef MFDRELAY_NET_PROXY_H
#define MFDRELAY_NET_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include "base/secret.h"

enum proxy_kind { PROXY_HTTP, PROXY_SOCKS5 };

struct proxy_place {
	enum proxy_kind kind;
	char host[254];		/* without brackets */
	unsigned short port;
};

/* Read "http://HOST:PORT" or "socks5://HOST:PORT"; an IPv6 address stands in brackets. Returns false on anything else. */
bool proxy_parse(const char *text, struct proxy_place *out);

#define PROXY_LOGIN_MAX	 255	/* octets of a user's name, and of a password by SOCKS5 (RFC 1929) */
#define PROXY_BASIC_MAX	 1024	/* octets of a password by HTTP, which has no limit of its own (RFC 7617) */
#define PROXY_ANSWER_MAX 8192	/* octets of an HTTP proxy's answer before it counts as none */

/* How many octets a password may have for that kind of proxy. */
size_t proxy_password_max(enum proxy_kind kind);

/* What is to be sent; wiped by whoever sends it, as it may hold the password. */
struct proxy_output {
	unsigned char bytes[3072];
	size_t n;
};

struct proxy_talk {
	enum proxy_kind kind;
	const char *host;		/* to whom: a name, or an address without brackets. Borrowed, as all below */
	unsigned short port;
	const char *user;		/* NULL: no login */
	const struct secret *password;	/* NULL exactly where user is; of proxy_password_max() at most */
	int step;			/* from here on its own */
	unsigned char answer[PROXY_ANSWER_MAX];
	size_t answer_n;
};

enum proxy_result {
	PROXY_MORE,	/* out is to be sent, if there is any; the answer is not all there */
	PROXY_OPEN,	/* what comes behind *used is the host's own */
	PROXY_LOGIN,	/* it refuses the login, or wants one */
	PROXY_REFUSED,	/* it does not connect to the host, or is no such proxy */
};

/* Begin: out is to be sent. The first six members are set. */
void proxy_begin(struct proxy_talk *talk, struct proxy_output *out);

/* Something has come in: *used of it has been read. why says what is wrong in the last two cases (200 octets are enough). */
enum proxy_result proxy_feed(struct proxy_talk *talk, struct str in, size_t *used, struct proxy_output *out, char *why,
    size_t size);

#endif
