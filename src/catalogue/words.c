/* The catalogue's classes and actors in words. */
#include "catalogue/catalogue.h"

const char *outcome_name(enum outcome outcome)
{
	static const char *const names[] = {"T", "S", "A", "C", "N", "P"};

	return names[outcome];
}

const char *outcome_words(enum outcome outcome)
{
	static const char *const words[] = {
	    [OUTCOME_T] = "transient: tried again by itself",
	    [OUTCOME_S] = "slow down: the upstream, or the recipient, is held for a while; the mail waits",
	    [OUTCOME_A] = "token: a new one is fetched, once; refused again, it is configuration",
	    [OUTCOME_C] = "configuration: the upstream is held and an alarm raised, the mail waits",
	    [OUTCOME_N] =
		"this upstream: the next upstream of the route is tried, else it goes back to the sender",
	    [OUTCOME_P] = "permanent: it goes back to the sender, and is not tried again by itself",
	};

	return words[outcome];
}

const char *actor_words(enum actor actor)
{
	static const char *const words[] = {
	    [ACTOR_NOBODY] = "nobody, it mends by itself",
	    [ACTOR_RELAY] = "whoever looks after the relay",
	    [ACTOR_TENANT] = "the tenant's administrator",
	    [ACTOR_EXCHANGE] = "the tenant's Exchange administrator",
	    [ACTOR_ENTRA] = "the tenant's Entra administrator",
	    [ACTOR_AZURE] = "the administrator of the Azure Communication Service",
	    [ACTOR_NETWORK] = "whoever looks after the network and the Internet line",
	    [ACTOR_DNS] = "whoever keeps the sender domain's DNS",
	    [ACTOR_DEVICE] = "whoever set up the device, or stands at it",
	    [ACTOR_RECIPIENT] = "the recipient, or the recipient's administrator",
	};

	return words[actor];
}
