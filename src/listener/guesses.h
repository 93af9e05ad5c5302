/* Failed logins of late, by address and in total, and how much slower the answers to them become. Nobody is shut out: a printer
 * whose password is wrong tries for days, and gets in at once when it is right. */
#ifndef MFDRELAY_LISTENER_GUESSES_H
#define MFDRELAY_LISTENER_GUESSES_H

#include <netinet/in.h>
#include <stdint.h>

struct guesses;

struct guesses *guesses_new(void);
void guesses_free(struct guesses *guesses);	/* NULL is fine */

/* A login from address (IPv4 as v4-mapped; of IPv6 its network of 64 bits counts) has failed at now_ms (monotonic). *failures
 * is how many that address has had, of which half are forgotten every ten minutes. Returns how many times the time that the
 * answer is held back is to be doubled: 0 to GUESSES_DOUBLED_MAX. It is logged when all addresses together bring it up. */
#define GUESSES_DOUBLED_MAX 3
unsigned guesses_failed(
    struct guesses *guesses, const struct in6_addr *address, int64_t now_ms, uint64_t *failures);

#endif
