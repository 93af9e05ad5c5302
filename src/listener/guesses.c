#include "listener/guesses.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "listener/peers.h"

#define ADDRESSES    256 /* remembered; those with the oldest failures make room */
#define HALF_LIFE_MS (600 * 1000LL)
#define PER_ADDRESS  10 /* failures until it slows: doubled from so many on, again from twice as many ... */
#define IN_TOTAL     100

/* A number that halves by itself. */
struct tally {
	uint64_t failures;
	int64_t since_ms; /* up to when it has been halved */
};

struct guesser {
	struct in6_addr network;
	struct tally tally; /* failures 0: free */
	int64_t last_ms;
};

struct guesses {
	struct guesser guessers[ADDRESSES];
	struct tally total;
	unsigned total_doubled; /* as last logged */
};

struct guesses *guesses_new(void)
{
	return xcalloc(1, sizeof(struct guesses));
}

void guesses_free(struct guesses *guesses)
{
	free(guesses);
}

static uint64_t add_one(struct tally *tally, int64_t now_ms)
{
	int64_t halvings = (now_ms - tally->since_ms) / HALF_LIFE_MS;

	if (tally->failures == 0)
		tally->since_ms = now_ms;
	else if (halvings > 0) {
		tally->failures = halvings < 64 ? tally->failures >> halvings : 0;
		tally->since_ms += halvings * HALF_LIFE_MS;
	}
	return ++tally->failures;
}

static struct guesser *guesser_of(struct guesses *guesses, const struct in6_addr *address)
{
	struct in6_addr network = peer_network(address);
	struct guesser *oldest = &guesses->guessers[0];

	for (size_t i = 0; i < ADDRESSES; i++) {
		struct guesser *guesser = &guesses->guessers[i];
		if (guesser->tally.failures > 0 && IN6_ARE_ADDR_EQUAL(&guesser->network, &network))
			return guesser;
		if (guesser->tally.failures == 0 ||
		    (oldest->tally.failures > 0 && guesser->last_ms < oldest->last_ms))
			oldest = guesser;
	}
	*oldest = (struct guesser){.network = network};
	return oldest;
}

static unsigned doubled(uint64_t failures, uint64_t figure)
{
	unsigned n = 0;

	while (n < GUESSES_DOUBLED_MAX && failures >= figure << n)
		n++;
	return n;
}

unsigned guesses_failed(
    struct guesses *guesses, const struct in6_addr *address, int64_t now_ms, uint64_t *failures)
{
	struct guesser *guesser = guesser_of(guesses, address);
	uint64_t total = add_one(&guesses->total, now_ms);
	unsigned by_total = doubled(total, IN_TOTAL);

	guesser->last_ms = now_ms;
	*failures = add_one(&guesser->tally, now_ms);
	unsigned by_address = doubled(*failures, PER_ADDRESS);
	if (by_total > guesses->total_doubled)
		log_event(LOG_LEVEL_WARNING, "logins-slowed", kv_u64("failures", total),
		    kv_str("why", "many logins fail, from all addresses together: somebody may be guessing"),
		    kv_str("remedy",
			"see peer= in the lines login-failed; give users in devices the addresses they come "
			"from"));
	guesses->total_doubled = by_total;
	return by_address > by_total ? by_address : by_total;
}
