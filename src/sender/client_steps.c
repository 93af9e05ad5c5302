#include "sender/client_private.h"

static void tell(struct client *c, const struct failure *why)
{
	const struct client_view view = {
	    .host = c->host,
	    .hosts = &c->hosts,
	    .addresses = c->addresses,
	    .address_count = c->address_count,
	    .address = c->address_next > 0 ? &c->addresses[c->address_next - 1] : NULL,
	    .conn = c->conn,
	    .ehlo = &c->ehlo,
	    .reply = &c->reply,
	    .token = &c->token,
	    .mailbox = c->mailbox,
	};

	if (c->settings->step != NULL)
		c->settings->step(c->settings->step_arg, c->step, why, &view);
}

void client_proved(struct client *c, enum client_step next)
{
	tell(c, NULL);
	c->step = next;
}

void client_not_proved(struct client *c, const struct failure *why)
{
	tell(c, why);
}
