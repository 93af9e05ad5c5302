/* Single values of the config file: text to value and back, each as people write them. No file, no list of errors. */
#ifndef MFDRELAY_CONFIG_VALUES_H
#define MFDRELAY_CONFIG_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prefix;

/* A decimal number; octets with K, M or G (1024) behind it; milliseconds from a number with s, m, h or d, or seconds
 * where it has none. Each returns false, *out untouched, on anything else and on what does not fit. */
bool value_number(const char *text, uint64_t *out);
bool value_size(const char *text, uint64_t *out);
bool value_duration(const char *text, uint64_t *out_ms);

/* A day as "2027-05-01", in seconds from 1970 to its beginning (UTC). Returns false, *out untouched, on anything else. */
bool value_date(const char *text, int64_t *out_s);

/* Back to the shortest such text that is exact. size is at least 24. Return dst. */
const char *value_size_text(char *dst, size_t size, uint64_t octets);
const char *value_duration_text(char *dst, size_t size, uint64_t ms);

/* "10.1.2.17", "10.1.3.0/24", "fd00:3::/64". A network within ::ffff:0:0/96 is taken as the IPv4 one it is. */
bool value_prefix(const char *text, struct prefix *out);
bool prefix_is_ipv4(const struct prefix *prefix);
bool prefix_has_host_bits(const struct prefix *prefix);		/* "10.1.2.17/24": bits set beyond the network's */
const char *value_prefix_text(char *dst, size_t size, const struct prefix *prefix);	/* size is at least 64; returns dst */

/* A name for logs and files: letters, digits, '.', '_' and '-', at most 64. */
bool value_is_name(const char *text);

/* A host name (letters, digits, '-', '_', dots between, at most 253), or an IPv4 or IPv6 literal. */
bool value_is_host(const char *text);

/* A name that servers take in EHLO (RFC 5321 section 4.1.2, Domain): labels of at most 63 letters, digits and inner '-', dots
 * between, at most 253 in all, and no address. */
bool value_is_ehlo_name(const char *text);

/* Put into dst what of text makes such a name: any other character becomes '-', and what may not begin or end a label is left
 * out. Returns false where nothing is left, or too much for size. */
bool value_ehlo_name(char *dst, size_t size, const char *text);

/* An IPv4 or IPv6 literal. */
bool value_is_address(const char *text);

/* A whole mail address, written as a server is to be told it: nothing around it, no dot behind it, no quotes without need. */
bool value_is_mail_address(const char *text);

/* A GUID as Entra shows it: 8-4-4-4-12 hexadecimal digits. */
bool value_is_guid(const char *text);

/* The candidate that word was most likely meant to be. Start with NEAREST(word), offer each, then take best: NULL
 * where none is near enough to be worth a question. */
struct nearest {
	const char *word;
	const char *best;
	size_t distance;
};
#define NEAREST(w) ((struct nearest){.word = (w), .best = NULL, .distance = 0})
void nearest_offer(struct nearest *nearest, const char *candidate);

#endif
