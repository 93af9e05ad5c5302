#include "listener/handshake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "net/conn.h"
#include "net/tls.h"
#include "supervisor/certificate.h"

/* --- contexts --- */

static void log_unavailable(const struct err *err, const char *consequence)
{
	log_event(
	    LOG_LEVEL_ERR, "tls-unavailable", kv_words("why", err->text), kv_str("consequence", consequence));
}

static SSL_CTX *load_configured(const struct config *config, struct err *err)
{
	SSL_CTX *ctx = tls_server_context(config->tls.certificate, config->tls.key, err);

	if (ctx == NULL || config->tls.ecdsa_certificate == NULL ||
	    tls_add_certificate(ctx, config->tls.ecdsa_certificate, config->tls.ecdsa_key, err) == 0)
		return ctx;
	SSL_CTX_free(ctx);
	return NULL;
}

/* NULL without a word while it has not been made: the supervisor starts a new listener when it has. */
static SSL_CTX *load_made(const struct config *config, const char *name,
    SSL_CTX *(*context)(const char *certificate, const char *key, struct err *err), struct err *err)
{
	char *path = certificate_path(config->spool, name);
	SSL_CTX *ctx = access(path, F_OK) == 0 ? context(path, path, err) : NULL;

	free(path);
	return ctx;
}

void handshakes_load(struct handshakes *handshakes, const struct config *config)
{
	struct err err = {""};

	*handshakes = (struct handshakes){NULL, NULL};
	if (config_makes_certificate(config))
		handshakes->modern = load_made(config, CERTIFICATE_SERVER, tls_server_context, &err);
	else if (config->tls.certificate != NULL)
		handshakes->modern = load_configured(config, &err);
	if (err.text[0] != '\0')
		log_unavailable(&err, "no TLS until this is mended; mail in plain text is taken where tls is "
				      "\"offered\"");
	err.text[0] = '\0';
	if (config_has_legacy(config))
		handshakes->legacy = load_made(config, CERTIFICATE_LEGACY, tls_legacy_context, &err);
	if (err.text[0] != '\0')
		log_unavailable(&err, "no TLS for devices with a tls_min below 1.2 until this is mended");
}

void handshakes_free(struct handshakes *handshakes)
{
	SSL_CTX_free(handshakes->modern);
	SSL_CTX_free(handshakes->legacy);
	*handshakes = (struct handshakes){NULL, NULL};
}

SSL_CTX *handshakes_context(const struct handshakes *handshakes, enum tls_min tls_min)
{
	if (handshakes == NULL)
		return NULL;
	return tls_min < TLS_MIN_1_2 ? handshakes->legacy : handshakes->modern;
}

int handshake_min_version(enum tls_min tls_min)
{
	static const int versions[] = {
	    [TLS_MIN_UNSET] = TLS1_2_VERSION,
	    [TLS_MIN_1_0] = TLS1_VERSION,
	    [TLS_MIN_1_1] = TLS1_1_VERSION,
	    [TLS_MIN_1_2] = TLS1_2_VERSION,
	    [TLS_MIN_1_3] = TLS1_3_VERSION,
	};

	return versions[tls_min];
}

/* --- failures --- */

/* Which tls_min would have let hello in; NULL: it is not that. Without signatures that level 2 takes, a device gets in by the
 * legacy context alone, whatever its version. */
static const char *wanted_min(const struct tls_hello *hello, enum tls_min tls_min)
{
	if (hello->version < handshake_min_version(tls_min))
		return hello->version == TLS1_2_VERSION	  ? "1.2"
		       : hello->version == TLS1_1_VERSION ? "1.1"
							  : "1.0";
	if (hello->version == TLS1_2_VERSION && tls_min >= TLS_MIN_1_2 && !hello->signatures)
		return "1.0";
	return NULL;
}

static const char distrusted[] = "import the CA into the device (ca.pem or ca.der in var/tls of the spool, "
				 "where the relay has made the certificate), "
				 "let it use the relay's name, or switch its check of certificates off";

const char *handshake_remedy(char *dst, size_t size, const struct tls_hello *hello, enum tls_min tls_min,
    const char *error, const char *where)
{
	bool can_be_served = hello->version >= TLS1_VERSION && (hello->rsa_suites || hello->ecdsa_suites);
	const char *min = can_be_served ? wanted_min(hello, tls_min) : NULL;
	bool nothing_shared = strstr(error, "no cipher suite in common") != NULL;

	dst[0] = '\0';
	if (!hello->seen)
		snprintf(
		    dst, size, "let the device use a port without tls = \"implicit\", or switch its TLS on");
	else if (strstr(error, "our certificate") != NULL)
		snprintf(dst, size, "%s", distrusted);
	else if (!can_be_served)
		snprintf(dst, size, "this device can only be served without TLS");
	else if (min != NULL)
		snprintf(dst, size, "tls_min = \"%s\"; %s", min, where);
	else if (hello->fallback)
		snprintf(
		    dst, size, "the device had failed with a later version before: see the line of that try");
	else if (nothing_shared && !hello->rsa_suites)
		snprintf(dst, size, "it knows ECDSA only: add ecdsa_certificate and ecdsa_key to tls");
	else if (nothing_shared && !hello->ecdsa_suites)
		snprintf(dst, size, "it knows RSA only: name a certificate with an RSA key in tls");
	else if (strstr(error, HANDSHAKE_GREETED) != NULL)
		snprintf(dst, size,
		    "none is needed: its next try is waited for, and goes without a greeting first");
	else if (strstr(error, "closed the connection") != NULL)
		snprintf(dst, size, "if the device checks certificates: %s", distrusted);
	return dst;
}

static const char *version_name(unsigned version)
{
	static const char *const names[] = {"SSL 3.0", "TLS 1.0", "TLS 1.1", "TLS 1.2", "TLS 1.3"};

	return version >= SSL3_VERSION && version <= TLS1_3_VERSION ? names[version - SSL3_VERSION]
								    : "an unknown version";
}

static void say_where(char *dst, size_t size, const char *peer, const struct device *device)
{
	if (device != NULL)
		snprintf(dst, size, "in the entry of %s in devices", device->name);
	else
		snprintf(dst, size, "in an entry of devices with address = \"%s\"", peer);
}

void handshake_log_failed(const struct conn *conn, const char *peer, const struct device *device,
    enum tls_min tls_min, const char *why, uint64_t withheld)
{
	static const struct tls_hello nothing = {.seen = false};
	const struct tls_hello *hello = conn_tls_hello(conn) != NULL ? conn_tls_hello(conn) : &nothing;
	char offers[64] = "nothing", where[128], remedy[400];

	if (hello->seen)
		snprintf(offers, sizeof offers, "%s, %u suites", version_name(hello->version), hello->suites);
	say_where(where, sizeof where, peer, device);
	log_event(LOG_LEVEL_WARNING, "tls-failed", kv_str("peer", peer),
	    kv_str("device", device != NULL ? device->name : ""), kv_str("offers", offers),
	    kv_str("suites", hello->names), kv_str("sni", hello->sni), kv_str("why", why),
	    kv_str("remedy", handshake_remedy(remedy, sizeof remedy, hello, tls_min, why, where)),
	    kv_u64("withheld", withheld));
}
