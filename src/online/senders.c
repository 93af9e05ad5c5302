#include "online/senders.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "config/config.h"
#include "sender/identity.h"
#include "smtp/address.h"

static void add(struct senders *out, const char *address)
{
	if (address == NULL || address[0] == '\0')
		return;
	for (size_t i = 0; i < out->count; i++)
		if (strcasecmp(out->addresses[i], address) == 0)
			return;
	if (out->count < SENDERS_MAX)
		out->addresses[out->count++] = address;
	else
		out->left_out++;
}

/* An address, and neither a pattern nor "<>". */
static bool is_address(const char *pattern)
{
	struct address address;

	return strchr(pattern, '*') == NULL && address_parse(str_of(pattern), &address) &&
	       address_domain(&address)[0] != '\0';
}

static void add_as(struct senders *out, const struct identity *identity, char *const *patterns, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (is_address(patterns[i]))
			add(out, identity_address(identity, patterns[i]));
}

void senders_of(const struct config *config, const struct upstream_config *upstream, const char *mailbox,
    struct senders *out)
{
	const struct identity own = {.upstream = upstream, .mailbox = mailbox};

	*out = (struct senders){.count = 0};
	add(out, identity_own_address(&own) != NULL ? identity_own_address(&own) : upstream->mailbox);
	for (size_t i = 0; i < config->device_count; i++) {
		const struct device *device = &config->devices[i];
		const struct identity identity = {.device = device, .upstream = upstream, .mailbox = mailbox};
		if (device->identity.address != NULL)
			add(out, identity_address(&identity, device->identity.address));
		add_as(out, &identity, device->identity.send_as, device->identity.send_as_count);
		add_as(out, &identity, device->senders, device->sender_count);
	}
	add_as(out, &own, upstream->identity.send_as, upstream->identity.send_as_count);
	if (out->count == 0)
		add(out, config->report_to);
}
