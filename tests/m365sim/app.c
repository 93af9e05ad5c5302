#include "app.h"

#include <dirent.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "options.h"
#include "text.h"

#define LINE_MAX_APP 16384
#define WRONG_SECRET 7000215
#define OLD_SECRET   7000222
#define WRONG_PROOF  700027
#define WRONG_TIME   700024
#define NO_JWT	     50027
#define FAR_AHEAD_S  86400 /* nothing that lives a day proves anything */

static FILE *open_file(const struct options *options, const char *name)
{
	char *path = text_format("%s/app/%s", options->dir, name);
	FILE *file = fopen(path, "r");

	free(path);
	return file;
}

long app_check_secret(const struct options *options, const char *secret)
{
	char line[LINE_MAX_APP], expired[LINE_MAX_APP + 10];
	FILE *file = open_file(options, "secrets");
	long result = WRONG_SECRET;

	if (!file)
		return strcmp(secret, options->secret) == 0 ? 0 : WRONG_SECRET;
	snprintf(expired, sizeof(expired), "%.16000s expired", secret);
	while (result == WRONG_SECRET && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		result = !strcmp(line, secret) ? 0 : !strcmp(line, expired) ? OLD_SECRET : WRONG_SECRET;
	}
	fclose(file);
	return result;
}

static bool is_federated(const struct options *options, const char *assertion)
{
	char line[LINE_MAX_APP];
	FILE *file = open_file(options, "federated");
	bool found = false;

	while (file && !found && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		found = !strcmp(line, assertion);
	}
	if (file)
		fclose(file);
	return found;
}

/* One part of a JWT as JSON; NULL: it is none. */
static json_t *open_part(const char *text, size_t n)
{
	char *bytes = text_alloc(n + 4);
	long length = text_base64_decode(bytes, text, n, true);
	json_t *json = length > 0 ? json_loadb(bytes, (size_t)length, 0, NULL) : NULL;

	free(bytes);
	return json;
}

static const char *string_of(const json_t *json, const char *key)
{
	const char *text = json_string_value(json_object_get(json, key));

	return text ? text : "";
}

static bool has_thumbprint(X509 *certificate, const EVP_MD *digest, const char *wanted)
{
	unsigned char bytes[EVP_MAX_MD_SIZE];
	char text[EVP_MAX_MD_SIZE * 2];
	unsigned n;

	if (!X509_digest(certificate, digest, bytes, &n))
		return false;
	text_base64(text, bytes, n, true);
	return !strcmp(text, wanted);
}

/* The uploaded certificate that the header names, by either thumbprint. */
static X509 *find_certificate(const struct options *options, const json_t *header)
{
	char *path = text_format("%s/app", options->dir);
	DIR *dir = opendir(path);
	const struct dirent *entry;
	X509 *found = NULL;

	while (dir && !found && (entry = readdir(dir)) != NULL) {
		FILE *file = strstr(entry->d_name, ".crt") ? open_file(options, entry->d_name) : NULL;

		if (!file)
			continue;
		found = PEM_read_X509(file, NULL, NULL, NULL);
		fclose(file);
		if (found && !has_thumbprint(found, EVP_sha256(), string_of(header, "x5t#S256")) &&
		    !has_thumbprint(found, EVP_sha1(), string_of(header, "x5t"))) {
			X509_free(found);
			found = NULL;
		}
	}
	if (dir)
		closedir(dir);
	free(path);
	return found;
}

static bool set_padding(EVP_PKEY_CTX *key, const char *alg)
{
	if (!strcmp(alg, "RS256"))
		return EVP_PKEY_CTX_set_rsa_padding(key, RSA_PKCS1_PADDING) > 0;
	return !strcmp(alg, "PS256") && EVP_PKEY_CTX_set_rsa_padding(key, RSA_PKCS1_PSS_PADDING) > 0 &&
	       EVP_PKEY_CTX_set_rsa_pss_saltlen(key, 32) > 0;
}

static bool verifies(X509 *certificate, const char *alg, const char *assertion, const char *dot)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY_CTX *key = NULL;
	size_t n = strlen(dot + 1);
	unsigned char *signature = text_alloc(n + 4);
	long length = text_base64_decode(signature, dot + 1, n, true);
	bool good =
	    length > 0 &&
	    EVP_DigestVerifyInit(context, &key, EVP_sha256(), NULL, X509_get0_pubkey(certificate)) == 1 &&
	    set_padding(key, alg) &&
	    EVP_DigestVerify(context, signature, (size_t)length, (const unsigned char *)assertion,
		(size_t)(dot - assertion)) == 1;

	free(signature);
	EVP_MD_CTX_free(context);
	return good;
}

static long check_claims(const struct options *options, const char *tenant, const json_t *claims)
{
	long now = (long)(text_now_us() / 1000000);
	long from = (long)json_integer_value(json_object_get(claims, "nbf"));
	long to = (long)json_integer_value(json_object_get(claims, "exp"));
	const char *audience = string_of(claims, "aud");
	char *end = text_format("/%s/oauth2/v2.0/token", tenant);
	size_t n = strlen(audience), m = strlen(end);
	bool is_ours = n > m && !strncmp(audience, "https://", 8) && !strcmp(audience + n - m, end);

	free(end);
	if (!is_ours || strcmp(string_of(claims, "iss"), options->client_id) != 0 ||
	    strcmp(string_of(claims, "sub"), options->client_id) != 0 ||
	    strlen(string_of(claims, "jti")) != 36)
		return NO_JWT;
	return now + 300 < from || now > to || to > now + FAR_AHEAD_S ? WRONG_TIME : 0;
}

long app_check_assertion(const struct options *options, const char *tenant, const char *assertion)
{
	const char *first = strchr(assertion, '.'), *second = strrchr(assertion, '.');
	json_t *header, *claims;
	X509 *certificate;
	long result = NO_JWT;

	if (is_federated(options, assertion))
		return 0;
	if (!first || first == second)
		return NO_JWT;
	header = open_part(assertion, (size_t)(first - assertion));
	claims = open_part(first + 1, (size_t)(second - first - 1));
	certificate = header ? find_certificate(options, header) : NULL;
	if (header && claims)
		result = certificate && verifies(certificate, string_of(header, "alg"), assertion, second)
			     ? check_claims(options, tenant, claims)
			     : WRONG_PROOF;
	X509_free(certificate);
	json_decref(header);
	json_decref(claims);
	return result;
}
