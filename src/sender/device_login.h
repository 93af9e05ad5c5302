/* A sign-in by device code: a person is shown a code and where to type it, and the login host is asked until that is done. */
#ifndef MFDRELAY_SENDER_DEVICE_LOGIN_H
#define MFDRELAY_SENDER_DEVICE_LOGIN_H

#include "base/secret.h"
#include "catalogue/catalogue.h"

struct device_code;
struct device_login;
struct event_base;
struct http;
struct oauth_config;

struct device_login_fns {
	void (*show)(void *arg, const struct device_code *code);	/* once, when there is a code */
	/* At the end: the refresh token, or why there is none (the other is NULL). Borrowed. */
	void (*done)(void *arg, const struct secret *refresh_token, const struct failure *why);
	void *arg;
};

/* All borrowed, fns copied. Both functions are called from the loop. The login host being away is waited out, until the code
 * expires. */
struct device_login *device_login_new(struct event_base *base, struct http *http, const struct oauth_config *oauth,
    const struct device_login_fns *fns);
void device_login_free(struct device_login *login);	/* not from inside done; NULL is fine */

#endif
