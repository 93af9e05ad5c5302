/* A key takes up to a second of processor, and its files a sync each: so this is a process of its own. */
#include "supervisor/certificate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "base/fsutil.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/config.h"
#include "net/tls.h"

#define FOLDER	    "var/tls"
#define CA_PRIVATE  "ca-private.pem"
#define CA_S	    (3653 * DAY_S)
#define SERVER_S    (825 * DAY_S) /* longer ones are refused by some who check */
#define RENEW_S	    (30 * DAY_S)
#define BACKDATED_S DAY_S /* the clocks of devices are late */
#define RSA_BITS    2048  /* what all of them know */
#define NAMES_MAX   64	  /* addresses in a certificate */

char *certificate_path(const char *spool, const char *name)
{
	return xasprintf("%s/" FOLDER "/%s", spool, name);
}

/* A key and its certificate. */
struct pair {
	EVP_PKEY *key;
	X509 *x509;
};

static void pair_free(struct pair *pair)
{
	EVP_PKEY_free(pair->key);
	X509_free(pair->x509);
	*pair = (struct pair){NULL, NULL};
}

/* --- our names --- */

/* What devices may call us: as OpenSSL's config would have it, "DNS:...,IP:...". */
struct names {
	const char *hostname;
	char addresses[NAMES_MAX][INET6_ADDRSTRLEN];
	size_t count;
};

static void add_address(struct names *names, const char *text)
{
	for (size_t i = 0; i < names->count; i++)
		if (strcmp(names->addresses[i], text) == 0)
			return;
	if (names->count < NAMES_MAX)
		snprintf(names->addresses[names->count++], sizeof names->addresses[0], "%s", text);
}

/* Nobody dials a link-local address. */
static void add_interface(struct names *names, const struct ifaddrs *interface)
{
	const struct sockaddr *address = interface->ifa_addr;
	char text[INET6_ADDRSTRLEN];
	const void *bytes = NULL;

	if (address == NULL || (interface->ifa_flags & IFF_UP) == 0)
		return;
	if (address->sa_family == AF_INET)
		bytes = &((const struct sockaddr_in *)(const void *)address)->sin_addr;
	else if (address->sa_family == AF_INET6 &&
		 !IN6_IS_ADDR_LINKLOCAL(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr))
		bytes = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
	if (bytes != NULL && inet_ntop(address->sa_family, bytes, text, sizeof text) != NULL)
		add_address(names, text);
}

/* Those in `listen` too: one may be on another machine at the moment. */
static void find_names(struct names *names, const struct config *config)
{
	struct ifaddrs *interfaces = NULL;
	struct in6_addr any;

	*names = (struct names){.hostname = config->hostname};
	for (size_t i = 0; i < config->listen_count; i++) {
		const char *text = config->listen[i].address;
		if ((inet_pton(AF_INET, text, &any) == 1 && strcmp(text, "0.0.0.0") != 0) ||
		    (inet_pton(AF_INET6, text, &any) == 1 && !IN6_IS_ADDR_UNSPECIFIED(&any)))
			add_address(names, text);
	}
	if (getifaddrs(&interfaces) < 0) {
		log_event(LOG_LEVEL_WARNING, "addresses-unknown", kv_errno(),
		    kv_str("consequence", "the certificate is for the host name alone"),
		    kv_str("remedy", "let the service ask: AF_NETLINK in RestrictAddressFamilies="));
		return;
	}
	for (const struct ifaddrs *one = interfaces; one != NULL; one = one->ifa_next)
		add_interface(names, one);
	freeifaddrs(interfaces);
}

static char *alternative_names(const struct names *names)
{
	char *all = xasprintf("DNS:%s", names->hostname);

	for (size_t i = 0; i < names->count; i++) {
		char *more = xasprintf("%s,IP:%s", all, names->addresses[i]);
		free(all);
		all = more;
	}
	return all;
}

/* IPv6 addresses come and go by themselves: a new one makes no new certificate. */
static bool holds_names(X509 *x509, const struct names *names)
{
	if (X509_check_host(x509, names->hostname, 0, 0, NULL) != 1)
		return false;
	for (size_t i = 0; i < names->count; i++)
		if (strchr(names->addresses[i], ':') == NULL &&
		    X509_check_ip_asc(x509, names->addresses[i], 0) != 1)
			return false;
	return true;
}

/* --- files --- */

static struct pair read_pair(int dir, const char *name)
{
	struct pair pair = {NULL, NULL};
	size_t n = 0;
	char *text = fs_read_file(dir, name, 65536, &n);
	BIO *bio = text != NULL ? BIO_new_mem_buf(text, (int)n) : NULL;

	if (bio != NULL) {
		pair.key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
		pair.x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	}
	BIO_free(bio);
	if (text != NULL)
		explicit_bzero(text, n);
	free(text);
	ERR_clear_error();
	if (pair.key == NULL || pair.x509 == NULL || X509_check_private_key(pair.x509, pair.key) != 1)
		pair_free(&pair);
	ERR_clear_error();
	return pair;
}

static int write_bio(int dir, const char *name, BIO *bio, struct err *err)
{
	char *bytes, temp[64];
	long n = BIO_get_mem_data(bio, &bytes);
	int result = 0;

	snprintf(temp, sizeof temp, "tmp.%s", name);
	if (fs_replace_file(dir, temp, name, bytes, (size_t)n) < 0)
		result = err_sys(err, "writing " FOLDER "/%s of the spool", name);
	explicit_bzero(bytes, (size_t)n);
	BIO_free(bio);
	return result;
}

/* issuer NULL: the pair is the CA itself. */
static int write_pair(
    int dir, const char *name, const struct pair *pair, const struct pair *issuer, struct err *err)
{
	BIO *bio = BIO_new(BIO_s_mem());

	if (bio == NULL || PEM_write_bio_PrivateKey(bio, pair->key, NULL, NULL, 0, NULL, NULL) != 1 ||
	    PEM_write_bio_X509(bio, pair->x509) != 1 ||
	    (issuer != NULL && PEM_write_bio_X509(bio, issuer->x509) != 1)) {
		BIO_free(bio);
		return tls_error(err, "writing down a certificate");
	}
	return write_bio(dir, name, bio, err);
}

static int export_ca(int dir, const struct pair *ca, struct err *err)
{
	BIO *pem = BIO_new(BIO_s_mem()), *der = BIO_new(BIO_s_mem());

	if (pem == NULL || der == NULL || PEM_write_bio_X509(pem, ca->x509) != 1 ||
	    i2d_X509_bio(der, ca->x509) != 1) {
		BIO_free(pem);
		BIO_free(der);
		return tls_error(err, "writing down a certificate");
	}
	int first = write_bio(dir, "ca.pem", pem, err), second = write_bio(dir, "ca.der", der, err);
	return first < 0 ? first : second;
}

/* --- certificates --- */

static bool add_extension(X509 *x509, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;

	X509V3_set_ctx(&context, issuer, x509, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	bool added = extension != NULL && X509_add_ext(x509, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return added;
}

static bool set_serial(X509 *x509)
{
	unsigned char bytes[16];
	BIGNUM *number = RAND_bytes(bytes, sizeof bytes) == 1 ? BN_bin2bn(bytes, sizeof bytes, NULL) : NULL;
	bool set = number != NULL && BN_clear_bit(number, 127) >= 0 &&
		   BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x509)) != NULL;

	BN_free(number);
	return set;
}

/* X.520 gives a common name 64 characters. */
static bool set_name(X509 *x509, const char *name)
{
	char common[65];

	snprintf(common, sizeof common, "%s", name);
	return X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), "CN", MBSTRING_UTF8,
		   (const unsigned char *)common, -1, -1, 0) == 1;
}

static struct pair new_pair(const char *name, long seconds)
{
	struct pair pair = {EVP_RSA_gen(RSA_BITS), X509_new()};

	if (pair.key == NULL || pair.x509 == NULL || X509_set_version(pair.x509, X509_VERSION_3) != 1 ||
	    !set_serial(pair.x509) || !set_name(pair.x509, name) ||
	    X509_gmtime_adj(X509_getm_notBefore(pair.x509), -BACKDATED_S) == NULL ||
	    X509_gmtime_adj(X509_getm_notAfter(pair.x509), seconds) == NULL ||
	    X509_set_pubkey(pair.x509, pair.key) != 1)
		pair_free(&pair);
	return pair;
}

static struct pair make_ca(const struct names *names)
{
	char *name = xasprintf("mfdrelay CA of %.40s", names->hostname);
	struct pair ca = new_pair(name, CA_S);

	free(name);
	if (ca.x509 != NULL &&
	    (X509_set_issuer_name(ca.x509, X509_get_subject_name(ca.x509)) != 1 ||
		!add_extension(ca.x509, ca.x509, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
		!add_extension(ca.x509, ca.x509, NID_key_usage, "critical,keyCertSign,cRLSign") ||
		!add_extension(ca.x509, ca.x509, NID_subject_key_identifier, "hash") ||
		X509_sign(ca.x509, ca.key, EVP_sha256()) <= 0))
		pair_free(&ca);
	return ca;
}

static struct pair make_server(const struct names *names, const struct pair *ca)
{
	struct pair server = new_pair(names->hostname, SERVER_S);
	char *all = alternative_names(names);

	if (server.x509 != NULL &&
	    (X509_set_issuer_name(server.x509, X509_get_subject_name(ca->x509)) != 1 ||
		!add_extension(server.x509, ca->x509, NID_basic_constraints, "critical,CA:FALSE") ||
		!add_extension(
		    server.x509, ca->x509, NID_key_usage, "critical,digitalSignature,keyEncipherment") ||
		!add_extension(server.x509, ca->x509, NID_ext_key_usage, "serverAuth") ||
		!add_extension(server.x509, ca->x509, NID_authority_key_identifier, "keyid") ||
		!add_extension(server.x509, ca->x509, NID_subject_alt_name, all) ||
		X509_sign(server.x509, ca->key, EVP_sha256()) <= 0))
		pair_free(&server);
	free(all);
	return server;
}

/* Whether it is valid, and for so long. Of a clock that may be late yet it is not believed that the beginning is still to come. */
static bool lasts(X509 *x509, long seconds, bool clock_settled)
{
	time_t now = time(NULL), then = now + seconds;

	return X509_cmp_time(X509_get0_notAfter(x509), &then) > 0 &&
	       (!clock_settled || X509_cmp_time(X509_get0_notBefore(x509), &now) < 0);
}

/* --- what is to be done --- */

/* The CA that is there, while it is valid and outlives what it signs; else a new one. Its exports are written each
 * time: they may be those of the one before when a crash came between. */
static int take_ca(struct pair *ca, int dir, const struct names *names, bool clock_settled, struct err *err)
{
	*ca = read_pair(dir, CA_PRIVATE);
	if (ca->x509 != NULL && lasts(ca->x509, SERVER_S, clock_settled))
		return export_ca(dir, ca, err);
	pair_free(ca);
	*ca = make_ca(names);
	if (ca->x509 == NULL)
		return tls_error(err, "making a CA");
	return write_pair(dir, CA_PRIVATE, ca, NULL, err) < 0 ? -1 : export_ca(dir, ca, err);
}

static bool is_good(int dir, const char *name, const struct names *names, bool clock_settled)
{
	struct pair pair = read_pair(dir, name);
	bool good =
	    pair.x509 != NULL && lasts(pair.x509, RENEW_S, clock_settled) && holds_names(pair.x509, names);

	pair_free(&pair);
	return good;
}

static int make_one(
    int dir, const char *name, const struct names *names, const struct pair *ca, struct err *err)
{
	struct pair server = make_server(names, ca);
	int result = server.x509 != NULL ? write_pair(dir, name, &server, ca, err)
					 : tls_error(err, "making a certificate");

	pair_free(&server);
	return result;
}

static void log_made(const struct config *config, const struct names *names)
{
	char *ca = certificate_path(config->spool, "ca.pem"), *all = alternative_names(names);

	log_event(LOG_LEVEL_NOTICE, "certificate-made", kv_str("names", all),
	    kv_u64("days", SERVER_S / DAY_S), kv_str("ca", ca),
	    kv_str(
		"use", "a device that checks certificates must import the CA: ca.pem, or ca.der beside it"));
	free(ca);
	free(all);
}

static int make_wanted(
    const struct config *config, int dir, const struct names *names, bool clock_settled, struct err *err)
{
	bool server =
	    config_makes_certificate(config) && !is_good(dir, CERTIFICATE_SERVER, names, clock_settled);
	bool legacy = config_has_legacy(config) && !is_good(dir, CERTIFICATE_LEGACY, names, clock_settled);
	struct pair ca = {NULL, NULL};
	int result = CERTIFICATE_GOOD;

	if (!server && !legacy)
		return result;
	if (take_ca(&ca, dir, names, clock_settled, err) < 0 ||
	    (server && make_one(dir, CERTIFICATE_SERVER, names, &ca, err) < 0) ||
	    (legacy && make_one(dir, CERTIFICATE_LEGACY, names, &ca, err) < 0)) {
		result = CERTIFICATE_FAILED;
	} else {
		log_made(config, names);
		result = CERTIFICATE_MADE;
	}
	pair_free(&ca);
	return result;
}

static int open_folder(const char *spool, struct err *err)
{
	char *path = xasprintf("%s/" FOLDER, spool);
	int fd = -1;

	if (mkdir(path, 0700) == 0 || errno == EEXIST)
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		err_sys(err, "%s", path);
	free(path);
	return fd;
}

int certificate_main(const struct config *config, bool clock_settled)
{
	static struct names names;
	struct err err = {""};
	int result = CERTIFICATE_FAILED;
	int dir = open_folder(config->spool, &err);

	if (dir >= 0) {
		find_names(&names, config);
		result = make_wanted(config, dir, &names, clock_settled, &err);
		close(dir);
	}
	if (result == CERTIFICATE_FAILED)
		log_event(LOG_LEVEL_ERR, "certificate-failed", kv_words("why", err.text),
		    kv_str(
			"consequence", "no TLS where there was none yet; it is tried again in ten minutes"));
	return result;
}
