/* Names to addresses, and domains to their mail hosts, with c-ares on the loop: no thread, no blocking call. /etc/hosts is honoured. */
#ifndef MFDRELAY_NET_RESOLVER_H
#define MFDRELAY_NET_RESOLVER_H

#include <stddef.h>
#include <sys/socket.h>
#include "base/err.h"

#define RESOLVER_ADDRESSES_MAX 16

struct event_base;
struct resolver;
struct resolver_query;

struct net_address {
	struct sockaddr_storage address;
	socklen_t length;
};

/* n addresses to be tried in this order (IPv4 before IPv6: Microsoft asks PTR and SPF of IPv6 peers), or n 0 and why
 * says what failed. All borrowed for the time of the call. */
typedef void resolver_fn(void *arg, const struct net_address *addresses, size_t n, const char *why);

/* Returns NULL with err when the system's resolver settings can't be read. */
struct resolver *resolver_new(struct event_base *base, struct err *err);

/* Look host up (a name, or an address literal with or without brackets). fn is called once, later, from the loop,
 * within 20 s, unless resolver_cancel comes first. */
struct resolver_query *resolver_lookup(struct resolver *resolver, const char *host, unsigned short port,
    resolver_fn *fn, void *arg);

/* The mail hosts of a domain. list NULL: no name server says anything at present, and why what is in the way. n 0: the domain
 * has none, and why says how that is. Else why is NULL. Both borrowed for the time of the call. */
struct mx_list;
typedef void resolver_mx_fn(void *arg, const struct mx_list *list, const char *why);

/* Look the MX of domain up; fn is called as resolver_lookup's is. */
struct resolver_query *resolver_mx(struct resolver *resolver, const char *domain, resolver_mx_fn *fn, void *arg);

/* The TXT records of a name, each as one text, its parts joined; those that are no text or too long are left out. n 0: it has
 * none (why NULL), or why says what is in the way. All borrowed for the time of the call. */
#define RESOLVER_TEXTS_MAX 32
#define RESOLVER_TEXT_MAX 4096
typedef void resolver_txt_fn(void *arg, const char *const *texts, size_t n, const char *why);

/* Look the TXT records of name up; fn is called as resolver_lookup's is. */
struct resolver_query *resolver_txt(struct resolver *resolver, const char *name, resolver_txt_fn *fn, void *arg);

void resolver_cancel(struct resolver_query *query);	/* fn will not be called; NULL is fine */

/* Cancels what is under way. NULL is fine. */
void resolver_free(struct resolver *resolver);

/* Ask these name servers ("127.0.0.1:5353,[::1]:53") in place of the system's, and with another limit than 20 s (0: the same),
 * from the next look-up on. */
void resolver_set_servers(struct resolver *resolver, const char *servers, unsigned limit_ms);

#endif
