/* The mail hosts of a domain, as a DNS answer lists them. Pure; the bytes come from outside and are not to be trusted. */
#ifndef MFDRELAY_NET_MX_H
#define MFDRELAY_NET_MX_H

#include <stdbool.h>
#include <stddef.h>

#define MX_HOSTS_MAX 8	/* Microsoft names one; what is beyond is left out */
#define MX_NAME_MAX  253	/* RFC 1035: the longest name */

struct mx_host {
	char name[MX_NAME_MAX + 1];	/* without a dot at the end; "" says that the domain takes no mail (RFC 7505) */
	unsigned short preference;
};

struct mx_list {
	struct mx_host hosts[MX_HOSTS_MAX];	/* the lowest preference first */
	size_t n;
	unsigned ttl_s;			/* the shortest of the records; at most a week */
};

/* Read the MX records of an answer; names that are none are passed over. Returns false where it is no DNS answer, or is
 * damaged; n is 0 where it holds no MX record. */
bool mx_parse(const unsigned char *answer, size_t n, struct mx_list *out);

#endif
