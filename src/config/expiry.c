#include "config/expiry.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/civil.h"
#include "base/clock.h"
#include "config/config.h"

static const char client_secret[] = "client secret", certificate[] = "certificate";
static const char shown[] = "tls.certificate", shown_ecdsa[] = "tls.ecdsa_certificate";

/* Returns 0 where it can't be known. */
static int64_t not_after_s(const char *path)
{
	FILE *file = fopen(path, "re");
	X509 *x509 = file != NULL ? PEM_read_X509(file, NULL, NULL, NULL) : NULL;
	struct tm tm;
	int64_t at_s = 0;

	if (x509 != NULL && ASN1_TIME_to_tm(X509_get0_notAfter(x509), &tm) == 1)
		at_s = civil_seconds(&tm);
	ERR_clear_error();
	X509_free(x509);
	if (file != NULL)
		fclose(file);
	return at_s;
}

static void tell(const char *what, const char *key, int64_t at_s, expiry_fn *fn, void *arg)
{
	const struct expiry expiry = {what, key, at_s};

	if (at_s != 0)
		fn(arg, &expiry);
}

static void tell_credential(const struct app_credential *credential, const char *secret_key,
    const char *certificate_key, expiry_fn *fn, void *arg)
{
	tell(client_secret, secret_key, credential->secret_expires_s, fn, arg);
	if (credential->certificate != NULL)
		tell(certificate, certificate_key, not_after_s(credential->certificate), fn, arg);
}

void expiry_each(const struct upstream_config *upstream, expiry_fn *fn, void *arg)
{
	const struct oauth_config *oauth = upstream->oauth;

	if (oauth != NULL)
		tell_credential(&oauth->credential, "oauth.secret_expires", "oauth.certificate", fn, arg);
	if (oauth != NULL && oauth->next != NULL)
		tell_credential(oauth->next, "oauth.next.secret_expires", "oauth.next.certificate", fn, arg);
	if (upstream->certificate != NULL)
		tell(certificate, "certificate", not_after_s(upstream->certificate), fn, arg);
}

void expiry_each_shown(const struct config *config, expiry_fn *fn, void *arg)
{
	if (config->tls.certificate != NULL)
		tell(certificate, shown, not_after_s(config->tls.certificate), fn, arg);
	if (config->tls.ecdsa_certificate != NULL)
		tell(certificate, shown_ecdsa, not_after_s(config->tls.ecdsa_certificate), fn, arg);
}

static bool is_shown(const struct expiry *expiry)
{
	return expiry->key == shown || expiry->key == shown_ecdsa;
}

enum nearness expiry_nearness(const struct expiry *expiry, int64_t now_s)
{
	int64_t left_s = expiry->at_s - now_s;

	if (is_shown(expiry) && left_s > 14 * DAY_S)
		return EXPIRY_FAR;
	return left_s > 60 * DAY_S   ? EXPIRY_FAR
	       : left_s > 30 * DAY_S ? EXPIRY_60_DAYS
	       : left_s > 7 * DAY_S  ? EXPIRY_30_DAYS
				     : EXPIRY_7_DAYS;
}

const char *expiry_text(char *dst, size_t size, const struct expiry *expiry, int64_t now_s)
{
	int64_t left_s = expiry->at_s - now_s;
	char when[40], date[16];
	struct tm tm;

	civil_parts(expiry->at_s, &tm);
	strftime(date, sizeof date, "%Y-%m-%d", &tm);
	if (left_s <= 0)
		snprintf(when, sizeof when, "is over since");
	else if (left_s < DAY_S)
		snprintf(when, sizeof when, "ends today,");
	else
		snprintf(when, sizeof when, "ends in %d days, on", (int)(left_s / DAY_S));
	snprintf(dst, size, "%s: this %s %s %s; %s", expiry->key, expiry->what, when, date,
	    expiry->what == client_secret
		? "make a new one in the app registration, replace the file, and correct secret_expires"
	    : strcmp(expiry->key, "certificate") == 0 || is_shown(expiry)
		? "renew it, replace the files, and reload"
		: "make a new pair, upload its certificate to the app registration, and replace the files");
	return dst;
}
