#include "sender/assertion.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509.h>

#include "base/mem.h"
#include "net/key.h"
#include "net/tls.h"

#define GUID_SIZE 37

/* RFC 4648 section 5, without padding. The caller frees. */
static char *base64url(const void *bytes, size_t n)
{
	char *text = xcalloc(1, n / 3 * 4 + 5);
	int length = EVP_EncodeBlock((unsigned char *)text, bytes, (int)n);

	while (length > 0 && text[length - 1] == '=')
		text[--length] = '\0';
	for (char *c = text; *c != '\0'; c++)
		*c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
	return text;
}

/* RFC 9562: version 4. */
static int make_guid(char *dst)
{
	unsigned char b[16];

	if (RAND_bytes(b, sizeof b) != 1)
		return -1;
	b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
	b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
	snprintf(dst, GUID_SIZE, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
	    b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
	return 0;
}

static char *thumbprint(const X509 *certificate, const EVP_MD *digest)
{
	unsigned char bytes[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	if (X509_digest(certificate, digest, bytes, &n) != 1)
		n = 0;
	return base64url(bytes, n);
}

/* JSON as one part of the token. Takes json over; the caller frees. */
static char *part(json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT), *encoded;

	json_decref(json);
	if (text == NULL)
		return xstrdup("");
	encoded = base64url(text, strlen(text));
	free(text);
	return encoded;
}

static char *make_header(const struct assertion *what)
{
	char *sha256 = thumbprint(what->pair->certificate, EVP_sha256());
	char *sha1 = thumbprint(what->pair->certificate, EVP_sha1());
	char *header = part(json_pack("{s:s, s:s, s:s, s:s}", "alg", assertion_alg_names[what->alg], "typ",
	    "JWT", "x5t#S256", sha256, "x5t", sha1));

	free(sha256);
	free(sha1);
	return header;
}

static char *make_claims(const struct assertion *what, const char *id)
{
	json_int_t now = (json_int_t)what->now_s;

	return part(json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "aud", what->audience, "iss",
	    what->client_id, "sub", what->client_id, "jti", id, "nbf", now, "iat", now, "exp",
	    now + ASSERTION_LIFETIME_S));
}

int assertion_make(struct secret *out, const struct assertion *what, struct err *err)
{
	char id[GUID_SIZE], *header, *claims, *text, *signature_text, *whole;
	unsigned char signature[KEY_SIGNATURE_MAX];
	size_t n = 0;

	*out = (struct secret){NULL, 0};
	if (make_guid(id) < 0)
		return tls_error(err, "OpenSSL gives no random numbers");
	header = make_header(what);
	claims = make_claims(what, id);
	text = xasprintf("%s.%s", header, claims);
	int result =
	    key_pair_sign(what->pair, what->alg == ASSERTION_PS256, str_of(text), signature, &n, err);
	if (result == 0) {
		signature_text = base64url(signature, n);
		whole = xasprintf("%s.%s", text, signature_text);
		*out = (struct secret){whole, strlen(whole)};
		free(signature_text);
	}
	free(header);
	free(claims);
	free(text);
	return result;
}
