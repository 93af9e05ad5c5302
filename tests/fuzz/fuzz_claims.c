/* What an access token says of itself: as bytes of a token, and as the payload of one. */
#include <string.h>

#include "fuzz.h"
#include "online/claims.h"

static void read_token(const char *token, size_t n)
{
	struct claims claims;

	if (!claims_read((struct str){token, n}, &claims))
		PROMISE(claims.audience[0] == '\0' && claims.roles[0] == '\0' && claims.expires_s == 0);
	PROMISE(strnlen(claims.audience, sizeof claims.audience) < sizeof claims.audience);
	PROMISE(strnlen(claims.user, sizeof claims.user) < sizeof claims.user);
	PROMISE(strnlen(claims.roles, sizeof claims.roles) < sizeof claims.roles);
	for (const char *at = claims.roles; *at != '\0'; at++)
		PROMISE(*at >= ' ' && *at < 0x7f);
	claims_have(&claims, "SMTP.SendAsApp");
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	static char token[16000];
	size_t at = 0;

	read_token((const char *)bytes, n);
	token[at++] = 'h';
	token[at++] = '.';
	for (size_t bit = 0; bit < 8 * n && at < sizeof token - 2; bit += 6) {
		unsigned value = 0;
		for (size_t i = bit; i < bit + 6; i++)
			value = value << 1 | (i < 8 * n ? (bytes[i / 8] >> (7 - i % 8)) & 1u : 0);
		token[at++] = alphabet[value];
	}
	token[at++] = '.';
	read_token(token, at);
	return 0;
}
