#include "tokens.h"

#include <fnmatch.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "options.h"
#include "play.h"
#include "sim_tls.h"
#include "text.h"

#define SIGNATURE 32
#define TOKEN_MAX 16384

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int64_t revoked_until_us;

static void sign(unsigned char *signature, const char *text, size_t n)
{
	unsigned char key[SIM_TLS_SIGNING_KEY];
	unsigned length = SIGNATURE;

	sim_tls_signing_key(key);
	if (!HMAC(EVP_sha256(), key, sizeof(key), (const unsigned char *)text, n, signature, &length))
		abort();
}

/* The claims that a real token of this grant carries; "rh" is what fills it to its length. */
static json_t *make_claims(
    const struct options *options, const char *audience, long lifetime_s, int64_t now_us)
{
	char issuer[200], jti[TEXT_GUID];
	json_int_t now = now_us / 1000000;

	snprintf(issuer, sizeof(issuer), "https://sts.windows.net/%.120s/", options->tenant);
	return json_pack("{s:s, s:s, s:I, s:I, s:I, s:s, s:s, s:s, s:[s], s:s, s:s, s:s, s:I}", "aud",
	    audience, "iss", issuer, "iat", now, "nbf", now, "exp", now + lifetime_s, "appid",
	    options->client_id, "appidacr", "1", "idtyp", "app", "roles",
	    strstr(audience, "graph") ? "Mail.Send" : options->play->role, "tid", options->tenant, "uti",
	    text_guid(jti), "ver", "1.0", "sim_us", (json_int_t)now_us);
}

static char *encode_claims(json_t *claims)
{
	char *text = json_dumps(claims, JSON_COMPACT), *encoded;

	if (!text)
		abort();
	encoded = text_alloc(strlen(text) * 4 / 3 + 8);
	text_base64(encoded, text, strlen(text), true);
	free(text);
	return encoded;
}

/* Short ones do without the claims nobody reads, so that one fits an AUTH line of 512 octets. Takes claims
 * over. */
static json_t *shorten(json_t *claims)
{
	json_t *few = json_pack("{s:O, s:O, s:O}", "aud", json_object_get(claims, "aud"), "exp",
	    json_object_get(claims, "exp"), "sim_us", json_object_get(claims, "sim_us"));

	json_decref(claims);
	return few;
}

/* Make the claims by about n characters of base64 longer. */
static void lengthen(json_t *claims, size_t n)
{
	char *fill = text_alloc(n);

	text_random_hex(fill, (n - 12) * 3 / 4);
	json_object_set_new(claims, "rh", json_string(fill));
	free(fill);
}

char *token_issue(const struct options *options, const char *audience, long lifetime_s, size_t length)
{
	static const char header[] = "{\"typ\":\"JWT\",\"alg\":\"HS256\"}";
	json_t *claims = make_claims(options, audience, lifetime_s, text_now_us());
	char head[64], signature_text[64], *body, *signed_part, *token;
	unsigned char signature[SIGNATURE];
	size_t plain;

	if (length < 500)
		claims = shorten(claims);
	body = encode_claims(claims);
	plain = text_base64(head, header, sizeof(header) - 1, true) + strlen(body) + 2 + SIGNATURE * 4 / 3;
	if (plain + 32 < length && length <= TOKEN_MAX) {
		lengthen(claims, length - plain);
		free(body);
		body = encode_claims(claims);
	}
	json_decref(claims);
	signed_part = text_format("%s.%s", head, body);
	free(body);
	sign(signature, signed_part, strlen(signed_part));
	text_base64(signature_text, signature, sizeof(signature), true);
	token = text_format("%s.%s", signed_part, signature_text);
	free(signed_part);
	return token;
}

static json_t *open_token(const char *token, size_t n)
{
	const char *dot = memchr(token, '.', n), *last = memrchr(token, '.', n);
	unsigned char claimed[SIGNATURE + 16], real[SIGNATURE];
	json_t *claims = NULL;
	char *body;
	long body_n;

	if (!dot || dot == last || n > TOKEN_MAX || n - (size_t)(last + 1 - token) > SIGNATURE * 4 / 3 + 1)
		return NULL;
	if (text_base64_decode(claimed, last + 1, n - (size_t)(last + 1 - token), true) != SIGNATURE)
		return NULL;
	sign(real, token, (size_t)(last - token));
	if (CRYPTO_memcmp(real, claimed, SIGNATURE) != 0)
		return NULL;
	body = text_alloc(n);
	body_n = text_base64_decode(body, dot + 1, (size_t)(last - dot - 1), true);
	if (body_n > 0)
		claims = json_loadb(body, (size_t)body_n, 0, NULL);
	free(body);
	return claims;
}

static bool is_for(const json_t *claims, const char *audience)
{
	const char *its = json_string_value(json_object_get(claims, "aud"));

	return its && !fnmatch(audience, its, FNM_EXTMATCH);
}

static enum token_check check_claims(const json_t *claims, const char *audience, long valid_for_s)
{
	int64_t now_us = text_now_us(), issued_us = json_integer_value(json_object_get(claims, "sim_us"));
	enum token_check result = TOKEN_GOOD;

	if (now_us / 1000000 >= json_integer_value(json_object_get(claims, "exp")))
		result = TOKEN_EXPIRED;
	else if (valid_for_s > 0 && now_us >= issued_us + valid_for_s * 1000000)
		result = TOKEN_EXPIRED;
	else if (!is_for(claims, audience))
		result = TOKEN_AUDIENCE;
	pthread_mutex_lock(&lock);
	if (result == TOKEN_GOOD && issued_us <= revoked_until_us)
		result = TOKEN_REVOKED;
	pthread_mutex_unlock(&lock);
	return result;
}

enum token_check token_check(const char *token, size_t n, const char *audience, long valid_for_s)
{
	json_t *claims = open_token(token, n);
	enum token_check result = claims ? check_claims(claims, audience, valid_for_s) : TOKEN_NOT_OURS;

	json_decref(claims);
	return result;
}

const char *token_check_text(enum token_check result)
{
	static const char *const texts[] = {
	    "good", "not issued here", "expired", "revoked", "for another audience"};

	return texts[result];
}

void token_revoke_all(void)
{
	pthread_mutex_lock(&lock);
	revoked_until_us = text_now_us();
	pthread_mutex_unlock(&lock);
}
