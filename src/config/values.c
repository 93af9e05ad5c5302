#include "config/values.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/ascii.h"
#include "base/civil.h"
#include "base/clock.h"
#include "base/str.h"
#include "config/config.h"
#include "smtp/address.h"

#define DIGITS	     "0123456789"
#define LETTERS	     "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define WORD_MAX     64
#define IPV4_BITS    96 /* of ::ffff:0:0/96, where the IPv4 addresses lie */
#define HOST_MAX     253
#define LABEL_MAX    63
#define NAME_MAX_LEN 64

struct unit {
	const char *suffix;
	uint64_t factor;
};

/* The largest last, so that the way back finds the shortest text from the end. */
static const struct unit size_units[] = {{"", 1}, {"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}};
static const struct unit duration_units[] = {
    {"", 1000}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static bool parse_with_unit(const char *text, const struct unit *units, size_t count, uint64_t *out)
{
	size_t digits = strspn(text, DIGITS);
	uint64_t value;

	if (!str_u64((struct str){text, digits}, UINT64_MAX, &value))
		return false;
	for (size_t i = 0; i < count; i++) {
		if (!str_ieq(str_of(text + digits), units[i].suffix))
			continue;
		if (value > (uint64_t)INT64_MAX / units[i].factor)
			return false;
		*out = value * units[i].factor;
		return true;
	}
	return false;
}

bool value_number(const char *text, uint64_t *out)
{
	return str_u64(str_of(text), INT64_MAX, out);
}

bool value_size(const char *text, uint64_t *out)
{
	return parse_with_unit(text, size_units, COUNT(size_units), out);
}

bool value_duration(const char *text, uint64_t *out_ms)
{
	return parse_with_unit(text, duration_units, COUNT(duration_units), out_ms);
}

bool value_date(const char *text, int64_t *out_s)
{
	uint64_t year, month, day;

	if (strlen(text) != 10 || text[4] != '-' || text[7] != '-' ||
	    !str_u64((struct str){text, 4}, 9999, &year) || !str_u64((struct str){text + 5, 2}, 12, &month) ||
	    !str_u64((struct str){text + 8, 2}, 31, &day))
		return false;
	int64_t at_s = civil_days((int64_t)year, (int)month, (int)day) * DAY_S;
	struct tm tm;
	civil_parts(at_s, &tm);
	/* The 31st of June is the 1st of July. */
	if (tm.tm_mon != (int)month - 1 || tm.tm_mday != (int)day)
		return false;
	*out_s = at_s;
	return true;
}

static const char *text_with_unit(
    char *dst, size_t size, uint64_t value, const struct unit *units, size_t count)
{
	size_t i = count - 1;

	while (i > 0 && (value == 0 || value % units[i].factor != 0))
		i--;
	snprintf(dst, size, "%" PRIu64 "%s", value / units[i].factor, units[i].suffix);
	return dst;
}

const char *value_size_text(char *dst, size_t size, uint64_t octets)
{
	return text_with_unit(dst, size, octets, size_units, COUNT(size_units));
}

const char *value_duration_text(char *dst, size_t size, uint64_t ms)
{
	return text_with_unit(dst, size, ms, duration_units + 1, COUNT(duration_units) - 1);
}

static bool parse_address(const char *text, struct in6_addr *out, bool *is_ipv4)
{
	struct in_addr ipv4;

	*is_ipv4 = inet_pton(AF_INET, text, &ipv4) == 1;
	if (!*is_ipv4)
		return inet_pton(AF_INET6, text, out) == 1;
	*out = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
	memcpy(&out->s6_addr[12], &ipv4, sizeof ipv4);
	return true;
}

bool value_is_address(const char *text)
{
	struct in6_addr address;
	bool is_ipv4;

	return parse_address(text, &address, &is_ipv4);
}

bool value_prefix(const char *text, struct prefix *out)
{
	char address[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	size_t n = slash != NULL ? (size_t)(slash - text) : strlen(text);
	struct prefix prefix;
	uint64_t bits;
	bool is_ipv4;

	if (!str_copy(address, sizeof address, (struct str){text, n}) ||
	    !parse_address(address, &prefix.address, &is_ipv4))
		return false;
	bits = is_ipv4 ? 32 : 128;
	if (slash != NULL && !str_u64(str_of(slash + 1), bits, &bits))
		return false;
	prefix.bits = (unsigned)bits + (is_ipv4 ? IPV4_BITS : 0);
	*out = prefix;
	return true;
}

bool prefix_is_ipv4(const struct prefix *prefix)
{
	return prefix->bits >= IPV4_BITS && IN6_IS_ADDR_V4MAPPED(&prefix->address);
}

bool prefix_has_host_bits(const struct prefix *prefix)
{
	for (unsigned bit = prefix->bits; bit < 128; bit++)
		if ((prefix->address.s6_addr[bit / 8] & (0x80 >> bit % 8)) != 0)
			return true;
	return false;
}

const char *value_prefix_text(char *dst, size_t size, const struct prefix *prefix)
{
	bool is_ipv4 = prefix_is_ipv4(prefix);
	char address[INET6_ADDRSTRLEN] = "";
	unsigned bits = is_ipv4 ? prefix->bits - IPV4_BITS : prefix->bits;

	if (is_ipv4)
		inet_ntop(AF_INET, &prefix->address.s6_addr[12], address, sizeof address);
	else
		inet_ntop(AF_INET6, &prefix->address, address, sizeof address);
	if (prefix->bits == 128)
		snprintf(dst, size, "%s", address);
	else
		snprintf(dst, size, "%s/%u", address, bits);
	return dst;
}

bool value_is_name(const char *text)
{
	size_t n = strspn(text, LETTERS DIGITS "._-");

	return n > 0 && n <= NAME_MAX_LEN && text[n] == '\0';
}

static bool is_host_name(const char *text)
{
	size_t n = strspn(text, LETTERS DIGITS "-_.");

	if (n == 0 || n > HOST_MAX || text[n] != '\0' || strstr(text, "..") != NULL)
		return false;
	/* All digits and dots is an IPv4 literal with a mistake in it. */
	return text[0] != '.' && text[0] != '-' && strspn(text, DIGITS ".") < n;
}

bool value_is_host(const char *text)
{
	return value_is_address(text) || is_host_name(text);
}

static bool is_label(struct str label)
{
	return label.n > 0 && label.n <= LABEL_MAX && label.p[0] != '-' && label.p[label.n - 1] != '-';
}

bool value_is_ehlo_name(const char *text)
{
	size_t n = strspn(text, LETTERS DIGITS "-.");

	if (n > HOST_MAX || text[n] != '\0' || strspn(text, DIGITS ".") == n)
		return false;
	while (true) {
		n = strcspn(text, ".");
		if (!is_label((struct str){text, n}))
			return false;
		if (text[n] == '\0')
			return true;
		text += n + 1;
	}
}

/* The label that text begins with, as far as it fits; returns its length, 0 where nothing is left of it. */
static size_t fit_label(char label[LABEL_MAX], const char *text, size_t n)
{
	size_t used = 0;

	for (size_t i = 0; i < n && used < LABEL_MAX; i++)
		if (ascii_is_alnum(text[i]))
			label[used++] = text[i];
		else if (used > 0)
			label[used++] = '-';
	while (used > 0 && label[used - 1] == '-')
		used--;
	return used;
}

bool value_ehlo_name(char *dst, size_t size, const char *text)
{
	char label[LABEL_MAX];
	size_t used = 0;

	for (size_t n; *text != '\0'; text += n + (text[n] == '.')) {
		n = strcspn(text, ".");
		size_t length = fit_label(label, text, n);
		if (length == 0)
			continue;
		if (used + length + 2 > size)
			return false;
		if (used > 0)
			dst[used++] = '.';
		memcpy(dst + used, label, length);
		used += length;
	}
	dst[used] = '\0';
	return value_is_ehlo_name(dst);
}

bool value_is_mail_address(const char *text)
{
	struct address address;

	return address_parse(str_of(text), &address) && address_domain(&address)[0] != '\0' &&
	       strcmp(address.text, text) == 0;
}

bool value_is_guid(const char *text)
{
	static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

	if (strlen(text) != sizeof shape - 1)
		return false;
	for (size_t i = 0; i < sizeof shape - 1; i++)
		if (shape[i] == '-' ? text[i] != '-' : strchr("0123456789abcdefABCDEF", text[i]) == NULL)
			return false;
	return true;
}

static char folded(char c)
{
	if (c == '-')
		return '_';
	return ascii_lower(c);
}

static size_t smallest(size_t a, size_t b, size_t c)
{
	size_t least = a < b ? a : b;

	return least < c ? least : c;
}

/* Insertions, removals, changes and swaps of neighbours that turn a into b; "-" and "_" and both cases are
 * alike. */
static size_t edit_distance(const char *a, const char *b)
{
	size_t rows[3][WORD_MAX + 1];
	size_t na = strlen(a), nb = strlen(b);
	size_t *before = rows[0], *last = rows[1], *now = rows[2];

	for (size_t j = 0; j <= nb; j++)
		last[j] = before[j] = j;
	for (size_t i = 1; i <= na; i++) {
		now[0] = i;
		for (size_t j = 1; j <= nb; j++) {
			size_t change = folded(a[i - 1]) == folded(b[j - 1]) ? 0 : 1;
			now[j] = smallest(last[j] + 1, now[j - 1] + 1, last[j - 1] + change);
			if (i > 1 && j > 1 && folded(a[i - 1]) == folded(b[j - 2]) &&
			    folded(a[i - 2]) == folded(b[j - 1]))
				now[j] = smallest(now[j], before[j - 2] + 1, now[j]);
		}
		size_t *free_row = before;
		before = last;
		last = now;
		now = free_row;
	}
	return last[nb];
}

void nearest_offer(struct nearest *nearest, const char *candidate)
{
	size_t n = strlen(nearest->word);
	size_t limit = n / 4 + 1;

	if (n < 2 || n > WORD_MAX || strlen(candidate) > WORD_MAX)
		return;
	size_t distance = edit_distance(nearest->word, candidate);
	if (distance > limit || distance >= n || (nearest->best != NULL && distance >= nearest->distance))
		return;
	nearest->best = candidate;
	nearest->distance = distance;
}
