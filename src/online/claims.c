#include "online/claims.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/mem.h"

#define PAYLOAD_MAX 16384

/* Base64url without padding (RFC 7515, section 2), or -1. */
static int value_of(char c)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	const char *at = c != '\0' ? strchr(alphabet, c) : NULL;

	return at != NULL ? (int)(at - alphabet) : -1;
}

/* dst has room for three quarters of s. Returns the number of octets, or -1. */
static long decode(struct str s, char *dst)
{
	unsigned bits = 0, have = 0;
	long n = 0;

	if (s.n % 4 == 1)
		return -1;
	for (size_t i = 0; i < s.n; i++) {
		int value = value_of(s.p[i]);
		if (value < 0)
			return -1;
		bits = (bits << 6 | (unsigned)value) & 0xffff;
		have += 6;
		if (have >= 8) {
			have -= 8;
			dst[n++] = (char)(bits >> have);
		}
	}
	return n;
}

/* The part between the two dots. */
static bool find_payload(struct str token, struct str *payload)
{
	const char *end = token.p + token.n;
	const char *first = memchr(token.p, '.', token.n);
	const char *second = first != NULL ? memchr(first + 1, '.', (size_t)(end - first - 1)) : NULL;

	if (second == NULL)
		return false;
	*payload = (struct str){first + 1, (size_t)(second - first - 1)};
	return payload->n > 0 && payload->n <= PAYLOAD_MAX;
}

/* Visible ASCII; the rest as '?'. Returns the number of characters. */
static size_t copy(char *dst, size_t size, const char *text)
{
	size_t n = 0;

	for (; text[n] != '\0' && n + 1 < size; n++)
		dst[n] = text[n] >= ' ' && text[n] < 0x7f ? text[n] : '?';
	dst[n] = '\0';
	return n;
}

static void take(char *dst, size_t size, const json_t *object, const char *key, const char *other_key)
{
	const char *text = json_string_value(json_object_get(object, key));

	if (text == NULL)
		text = json_string_value(json_object_get(object, other_key));
	copy(dst, size, text != NULL ? text : "");
}

/* roles is a list (some make it one word), scp words parted by blanks. */
static void take_roles(struct claims *out, const json_t *object)
{
	const json_t *roles = json_object_get(object, "roles");
	size_t n = 0;

	take(out->roles, sizeof out->roles, object, "scp", "roles");
	for (size_t i = 0; i < json_array_size(roles); i++) {
		const char *role = json_string_value(json_array_get(roles, i));
		if (role == NULL)
			continue;
		if (n > 0)
			n += copy(out->roles + n, sizeof out->roles - n, " ");
		n += copy(out->roles + n, sizeof out->roles - n, role);
	}
}

bool claims_read(struct str token, struct claims *out)
{
	struct str payload;
	json_t *object = NULL;

	*out = (struct claims){.expires_s = 0};
	if (!find_payload(token, &payload))
		return false;
	char *text = xcalloc(1, payload.n + 1);
	long n = decode(payload, text);
	if (n > 0)
		object = json_loadb(text, (size_t)n, JSON_REJECT_DUPLICATES, NULL);
	free(text);
	if (json_is_object(object)) {
		take(out->audience, sizeof out->audience, object, "aud", "aud");
		take(out->tenant, sizeof out->tenant, object, "tid", "tid");
		take(out->app, sizeof out->app, object, "appid", "azp");
		take(out->user, sizeof out->user, object, "upn", "unique_name");
		take_roles(out, object);
		out->expires_s = json_integer_value(json_object_get(object, "exp"));
	}
	bool good = json_is_object(object);
	json_decref(object);
	return good;
}

bool claims_have(const struct claims *claims, const char *role)
{
	size_t n = strlen(role);

	for (const char *at = claims->roles; (at = strstr(at, role)) != NULL; at += n)
		if ((at == claims->roles || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0'))
			return true;
	return false;
}
