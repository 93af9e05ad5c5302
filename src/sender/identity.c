#include "sender/identity.h"

#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/mem.h"
#include "config/config.h"
#include "config/kinds.h"
#include "smtp/address.h"

#define PLACE "{device}"

static const struct identity_config *device_rule(const struct identity *identity)
{
	return identity->device != NULL ? &identity->device->identity : NULL;
}

const char *identity_own_address(const struct identity *identity)
{
	const struct identity_config *rule = &identity->upstream->identity;

	return rule->is_any_mailbox && identity->mailbox != NULL ? identity->mailbox : rule->address;
}

static bool may_stay(const struct identity_config *rule, const char *own, const char *address)
{
	if (strcasecmp(address, own) == 0)
		return true;
	for (size_t i = 0; i < rule->send_as_count; i++)
		if (address_matches(address, rule->send_as[i]))
			return true;
	return false;
}

/* own: the address that takes the place of others, or NULL. */
static const char *apply(const struct identity_config *rule, const char *own, const char *address)
{
	if (own == NULL)
		return address;
	if (rule->rule == SENDER_KEEP)
		return address[0] != '\0' && address_is_useless(address) ? own : address;
	if (rule->rule == SENDER_MAP && !address_is_useless(address) && may_stay(rule, own, address))
		return address;
	return own;
}

const char *identity_address(const struct identity *identity, const char *address)
{
	const struct identity_config *device = device_rule(identity);

	if (device != NULL)
		address = apply(device, device->address, address);
	return apply(&identity->upstream->identity, identity_own_address(identity), address);
}

const char *identity_sender(const struct identity *identity, const char *sender)
{
	const char *own = identity_own_address(identity);

	if (sender[0] != '\0')
		return identity_address(identity, sender);
	return kind_of(identity->upstream->kind)->refuses_null && own != NULL ? own : sender;
}

bool identity_has_rule(const struct identity *identity)
{
	const struct identity_config *device = device_rule(identity);

	return identity->upstream->identity.address != NULL || (device != NULL && device->address != NULL);
}

char *identity_display_name(const struct identity *identity)
{
	const struct identity_config *device = device_rule(identity);
	const char *template = identity->upstream->identity.display_name;
	struct buf name = {0};

	if (device == NULL)
		return NULL;
	if (device->display_name != NULL)
		template = device->display_name;
	if (template == NULL)
		return NULL;
	for (const char *place; (place = strstr(template, PLACE)) != NULL; template = place + strlen(PLACE)) {
		buf_add(&name, template, (size_t)(place - template));
		buf_add_text(&name, identity->device->name);
	}
	buf_add_text(&name, template);
	char *text = xstrndup(name.n > 0 ? name.p : "", name.n);
	buf_free(&name);
	return text;
}
