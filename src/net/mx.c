#include "net/mx.h"

#include <ares.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

#include "base/clock.h"
#include "base/octets.h"

#define HEADER_BYTES  12
#define TYPE_MX	      15
#define CLASS_IN      1
#define TTL_MAX	      (7u * DAY_S) /* RFC 2181 allows 68 years */
#define PREFERENCE    2		   /* octets of it, before the name */
#define RECORD_FIXED  10	   /* type, class, TTL, length */
#define QUESTION_TAIL 4		   /* type, class */

/* What is left to be read of an answer. */
struct answer {
	const unsigned char *start;
	size_t n, at;
};

static bool is_host_name(const char *name)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");

	return name[n] == '\0' && n <= MX_NAME_MAX;
}

/* Reads the name at the answer's place into dst, unless dst is NULL; one that is no host's comes as NULL's would, with *good
 * false. */
static bool read_name(struct answer *answer, char *dst, bool *good)
{
	char *name;
	long length;

	if (answer->n > INT_MAX || answer->at >= answer->n ||
	    ares_expand_name(answer->start + answer->at, answer->start, (int)answer->n, &name, &length) !=
		ARES_SUCCESS)
		return false;
	answer->at += (size_t)length;
	if (dst != NULL) {
		*good = is_host_name(name);
		if (*good)
			memcpy(dst, name, strlen(name) + 1);
	}
	ares_free_string(name);
	return true;
}

/* By preference; those of the same stay as they came. */
static void insert(struct mx_list *out, const struct mx_host *host)
{
	size_t i = out->n;

	if (out->n == MX_HOSTS_MAX) {
		if (out->hosts[MX_HOSTS_MAX - 1].preference <= host->preference)
			return;
		i--;
	} else {
		out->n++;
	}
	for (; i > 0 && out->hosts[i - 1].preference > host->preference; i--)
		out->hosts[i] = out->hosts[i - 1];
	out->hosts[i] = *host;
}

static bool read_record(struct answer *answer, struct mx_list *out)
{
	struct mx_host host;
	bool good;

	if (!read_name(answer, NULL, NULL) || answer->n - answer->at < RECORD_FIXED)
		return false;
	const unsigned char *fixed = answer->start + answer->at;
	unsigned type = octets_16(fixed), class = octets_16(fixed + 2), length = octets_16(fixed + 8);
	uint32_t ttl_s = (uint32_t)octets_16(fixed + 4) << 16 | octets_16(fixed + 6);
	answer->at += RECORD_FIXED;
	size_t end = answer->at + length;
	if (end > answer->n)
		return false;
	if (type == TYPE_MX && class == CLASS_IN && length > PREFERENCE) {
		host.preference = (unsigned short)octets_16(answer->start + answer->at);
		answer->at += PREFERENCE;
		if (!read_name(answer, host.name, &good) || answer->at != end)
			return false;
		if (good)
			insert(out, &host);
		if (ttl_s < out->ttl_s)
			out->ttl_s = ttl_s;
	}
	answer->at = end;
	return true;
}

bool mx_parse(const unsigned char *bytes, size_t n, struct mx_list *out)
{
	struct answer answer = {.start = bytes, .n = n, .at = HEADER_BYTES};

	*out = (struct mx_list){.ttl_s = TTL_MAX};
	if (n < HEADER_BYTES)
		return false;
	unsigned questions = octets_16(bytes + 4), records = octets_16(bytes + 6);
	for (; questions > 0; questions--) {
		if (!read_name(&answer, NULL, NULL) || n - answer.at < QUESTION_TAIL)
			return false;
		answer.at += QUESTION_TAIL;
	}
	for (; records > 0; records--)
		if (!read_record(&answer, out))
			return false;
	return true;
}
