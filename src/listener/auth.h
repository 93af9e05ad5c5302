/* Passwords of devices, checked against the config's hashes (crypt(5)) on threads: a check takes
 * milliseconds of processor and megabytes of memory. */
#ifndef MFDRELAY_LISTENER_AUTH_H
#define MFDRELAY_LISTENER_AUTH_H

#include <netinet/in.h>
#include <stdbool.h>

struct auth;
struct auth_check;
struct config;
struct device;
struct event_base;
struct sasl_login;

/* device is the entry whose user and password were given; NULL: one of the two is wrong, or that user may
 * not come from there; or, where error is an errno and not 0, nobody knows: libcrypt could not compute the hash, for want of
 * memory or because it is of a method that this system's does not have. */
typedef void auth_fn(void *arg, const struct device *device, int error);

/* Starts two threads. Returns NULL when no device of config has a user: AUTH is not offered then. config
 * must outlive it. */
struct auth *auth_new(struct event_base *base, const struct config *config);

/* Check login, which is copied. An unknown user takes the same way and time as a wrong password. fn is
 * called once, later, from the loop, unless auth_cancel comes first. */
struct auth_check *auth_check(struct auth *auth, const struct sasl_login *login, const struct in6_addr *peer,
    auth_fn *fn, void *arg);
void auth_cancel(struct auth_check *check);	/* fn will not be called; NULL is fine */

/* Waits for the checks under way, and calls back. NULL is fine. */
void auth_free(struct auth *auth);

#endif
