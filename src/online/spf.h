/* Whether a domain's SPF (RFC 7208) lists an address, as far as its records say it themselves: ip4, ip6, include, redirect.
 * Pure. What hangs on other look-ups (a, mx, ptr, exists, macros) is only counted: this tells an admin what to look at, and
 * judges no mail. */
#ifndef MFDRELAY_ONLINE_SPF_H
#define MFDRELAY_ONLINE_SPF_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#define SPF_DOMAINS_MAX 10	/* RFC 7208 section 4.6.4: so many look-ups in all */
#define SPF_NAME_MAX 253

struct spf {
	struct in6_addr address;	/* the one in question; IPv4 as v4-mapped */
	bool listed;			/* it is */
	char by[80];			/* listed: the term that says so */
	bool too_many;			/* more domains than RFC 7208 allows: receivers give up */
	unsigned unlooked;		/* terms that were not looked at */
	size_t count, next;		/* of domains; those from next on have not been asked for yet */
	char domains[SPF_DOMAINS_MAX + 1][SPF_NAME_MAX + 1];	/* the domain itself, and what its records include */
};

/* Begin with the domain (at most SPF_NAME_MAX octets; longer: nothing is to be asked for). */
void spf_begin(struct spf *spf, const char *domain, const struct in6_addr *address);

/* The next domain whose TXT records are wanted, or NULL: it is over. */
const char *spf_next(struct spf *spf);

/* Whether a TXT record is one of SPF. */
bool spf_is_record(const char *text);

/* Take such a record of the last spf_next into account. */
void spf_take(struct spf *spf, const char *record);

#endif
