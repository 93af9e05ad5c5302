/* When what the relay proves itself by, to upstreams and to devices, comes to its end, where that can be known, and how to say
 * so. */
#ifndef MFDRELAY_CONFIG_EXPIRY_H
#define MFDRELAY_CONFIG_EXPIRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config;
struct upstream_config;

struct expiry {
	const char *what;	/* "client secret", "certificate" */
	const char *key;	/* of the config: "oauth.secret_expires", below the upstream, or "tls.certificate" */
	int64_t at_s;		/* since 1970 */
};

/* Call fn for each known end of an upstream's credentials: secret_expires, and the notAfter of certificates, whose files are
 * read (one that can't be read is passed over: it fails by itself). */
typedef void expiry_fn(void *arg, const struct expiry *expiry);
void expiry_each(const struct upstream_config *upstream, expiry_fn *fn, void *arg);

/* The same for the certificates that devices are shown, those that the config names. */
void expiry_each_shown(const struct config *config, expiry_fn *fn, void *arg);

/* How near it is: from 60 days ahead it is worth a word, from 30 a warning, from 7 on, and when it is over, an alarm. What
 * devices are shown is renewed by a program, mostly 30 days ahead: there it is a warning from 14 days ahead on. */
enum nearness { EXPIRY_FAR, EXPIRY_60_DAYS, EXPIRY_30_DAYS, EXPIRY_7_DAYS };
enum nearness expiry_nearness(const struct expiry *expiry, int64_t now_s);

/* "its client secret ends in 29 days, on 2027-05-01; make a new one ...", into dst (300 is enough). Returns dst. */
const char *expiry_text(char *dst, size_t size, const struct expiry *expiry, int64_t now_s);

#endif
