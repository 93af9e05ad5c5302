#include "online/spf.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "config/config.h"

#define VERSION "v=spf1"

void spf_begin(struct spf *spf, const char *domain, const struct in6_addr *address)
{
	*spf = (struct spf){.address = *address};
	if (str_copy(spf->domains[0], sizeof spf->domains[0], str_of(domain)) && domain[0] != '\0')
		spf->count = 1;
}

const char *spf_next(struct spf *spf)
{
	if (spf->listed || spf->next == spf->count)
		return NULL;
	return spf->domains[spf->next++];
}

bool spf_is_record(const char *text)
{
	size_t n = sizeof VERSION - 1;

	return strncasecmp(text, VERSION, n) == 0 && (text[n] == ' ' || text[n] == '\0');
}

static void add_domain(struct spf *spf, struct str name)
{
	char domain[SPF_NAME_MAX + 1];

	/* A macro hangs on the mail. */
	if (name.n == 0 || memchr(name.p, '%', name.n) != NULL || !str_copy(domain, sizeof domain, name)) {
		spf->unlooked++;
		return;
	}
	for (size_t i = 0; i < spf->count; i++)
		if (strcasecmp(spf->domains[i], domain) == 0)
			return;
	if (spf->count > SPF_DOMAINS_MAX)
		spf->too_many = true;
	else
		memcpy(spf->domains[spf->count++], domain, sizeof domain);
}

/* "10.0.0.0/8", "2001:db8::/32"; without a length it is one address. */
static bool read_prefix(struct str text, bool is_ipv4, struct prefix *out)
{
	const char *slash = memchr(text.p, '/', text.n);
	struct str head = {text.p, slash != NULL ? (size_t)(slash - text.p) : text.n};
	unsigned most = is_ipv4 ? 32 : 128;
	uint64_t bits = most;
	char address[INET6_ADDRSTRLEN];

	if (slash != NULL && !str_u64((struct str){slash + 1, text.n - head.n - 1}, most, &bits))
		return false;
	if (!str_copy(address, sizeof address, head))
		return false;
	*out = (struct prefix){.bits = (unsigned)bits + (is_ipv4 ? 96 : 0)};
	if (!is_ipv4)
		return inet_pton(AF_INET6, address, &out->address) == 1;
	out->address.s6_addr[10] = out->address.s6_addr[11] = 0xff;
	return inet_pton(AF_INET, address, &out->address.s6_addr[12]) == 1;
}

static void set_listed(struct spf *spf, struct str term)
{
	if (!spf->listed)
		snprintf(spf->by, sizeof spf->by, "%.*s", (int)term.n, term.p);
	spf->listed = true;
}

static void look_at_network(struct spf *spf, struct str term, bool is_ipv4)
{
	struct prefix prefix;

	if (is_ipv4 == (IN6_IS_ADDR_V4MAPPED(&spf->address) != 0) &&
	    read_prefix((struct str){term.p + 4, term.n - 4}, is_ipv4, &prefix) &&
	    prefix_holds(&prefix, &spf->address))
		set_listed(spf, term);
}

/* A qualifier other than "+" lists nothing as a sender. */
static void look_at_term(struct spf *spf, struct str term)
{
	if (term.n > 0 && strchr("-~?", term.p[0]) != NULL)
		return;
	if (term.n > 0 && term.p[0] == '+')
		term = (struct str){term.p + 1, term.n - 1};
	if (str_ieq(term, "all"))
		set_listed(spf, term);
	else if (str_istarts(term, "ip4:"))
		look_at_network(spf, term, true);
	else if (str_istarts(term, "ip6:"))
		look_at_network(spf, term, false);
	else if (str_istarts(term, "include:"))
		add_domain(spf, (struct str){term.p + 8, term.n - 8});
	else if (str_istarts(term, "redirect="))
		add_domain(spf, (struct str){term.p + 9, term.n - 9});
	else if (!str_istarts(term, "exp=") && term.n > 0)
		spf->unlooked++;
}

void spf_take(struct spf *spf, const char *record)
{
	const char *at = record + sizeof VERSION - 1;

	while (*at != '\0') {
		at += strspn(at, " ");
		size_t n = strcspn(at, " ");
		look_at_term(spf, (struct str){at, n});
		at += n;
	}
}
