#include "online/spf_check.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include <event2/event.h>

#include "config/config.h"
#include "config/values.h"
#include "net/resolver.h"
#include "online/findings.h"
#include "online/spf.h"

struct look {
	struct event_base *base;
	struct resolver *resolver;
	struct spf spf;
	const char *asked; /* the domain whose records are awaited */
	bool has_record;   /* the sender's domain itself has one */
	char why[200];	   /* what could not be looked up */
};

static bool is_public(const struct in6_addr *address)
{
	static const char *const inside[] = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10",
	    "127.0.0.0/8", "169.254.0.0/16", "fc00::/7", "fe80::/10", "::1"};
	struct prefix prefix;

	for (size_t i = 0; i < sizeof inside / sizeof inside[0]; i++)
		if (value_prefix(inside[i], &prefix) && prefix_holds(&prefix, address))
			return false;
	return true;
}

static bool read_address(const char *text, struct in6_addr *out)
{
	struct prefix prefix;

	if (strchr(text, '/') != NULL || !value_prefix(text, &prefix))
		return false;
	*out = prefix.address;
	return is_public(out);
}

static void ask_next(struct look *look);

static void on_texts(void *arg, const char *const *texts, size_t n, const char *why)
{
	struct look *look = arg;

	if (why != NULL)
		snprintf(look->why, sizeof look->why, "%s", why);
	for (size_t i = 0; i < n; i++) {
		if (!spf_is_record(texts[i]))
			continue;
		look->has_record = look->has_record || look->asked == look->spf.domains[0];
		spf_take(&look->spf, texts[i]);
	}
	ask_next(look);
}

static void ask_next(struct look *look)
{
	look->asked = spf_next(&look->spf);
	if (look->asked != NULL)
		resolver_txt(look->resolver, look->asked, on_texts, look);
	else
		event_base_loopbreak(look->base);
}

static void judge(struct step *step, const struct look *look, const char *domain, const char *address)
{
	const struct spf *spf = &look->spf;

	json_object_set_new(step->facts, "listed", json_boolean(spf->listed));
	step->status = STEP_PROVED;
	if (spf->listed) {
		snprintf(step->text, sizeof step->text,
		    "SPF of %s lists %s, the public address of this machine (%s)", domain, address, spf->by);
		return;
	}
	snprintf(step->text, sizeof step->text,
	    "SPF of %s does not list %s, the public address of this machine%s", domain, address,
	    look->has_record || look->why[0] != '\0' ? "" : ": it has no such record");
	if (look->why[0] != '\0')
		step_warn(step, "it could not be looked up as a whole: %s", look->why);
	else if (spf->too_many)
		step_warn(step,
		    "it includes more domains than the 10 that RFC 7208 allows: receivers give up on it");
	else if (spf->unlooked > 0)
		step_warn(step,
		    "%u of its terms (a, mx, exists, macros) were not looked at; where none of them means "
		    "this "
		    "machine, add ip4:%s to the TXT record of %s",
		    spf->unlooked, address, domain);
	else
		step_warn(step,
		    "Microsoft refuses such mail or takes it for junk: add %s:%s to the TXT record of %s",
		    strchr(address, ':') != NULL ? "ip6" : "ip4", address, domain);
}

void spf_check(struct step *step, struct event_base *base, struct resolver *resolver, const char *domain,
    const char *address)
{
	struct look look = {.base = base, .resolver = resolver};
	struct in6_addr binary;

	if (!read_address(address, &binary)) {
		step->status = STEP_LEFT_OUT;
		snprintf(step->text, sizeof step->text,
		    "neither the upstream nor this machine's own interface (%s) tells the public address "
		    "that it "
		    "sends from: compare the TXT record of %s with it",
		    address[0] != '\0' ? address : "?", domain);
		return;
	}
	json_object_set_new(step->facts, "domain", json_string(domain));
	json_object_set_new(step->facts, "address", json_string(address));
	spf_begin(&look.spf, domain, &binary);
	ask_next(&look);
	event_base_dispatch(base);
	judge(step, &look, domain, address);
}
