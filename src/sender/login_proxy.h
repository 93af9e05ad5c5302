/* The proxy to the login host, as the config has it. */
#ifndef MFDRELAY_SENDER_LOGIN_PROXY_H
#define MFDRELAY_SENDER_LOGIN_PROXY_H

#include "base/err.h"
#include "base/secret.h"
#include "net/http.h"
#include "net/proxy.h"

struct oauth_config;

struct login_proxy {
	struct http_proxy http;		/* host NULL: there is none */
	struct proxy_place place;
	struct secret password;
};

/* Its password is read anew. Returns 0, and login_proxy_free is due; or -1 with err. */
int login_proxy_load(struct login_proxy *out, const struct oauth_config *oauth, struct err *err);

/* For struct http_call. */
const struct http_proxy *login_proxy_http(const struct login_proxy *proxy);

void login_proxy_free(struct login_proxy *proxy);

#endif
