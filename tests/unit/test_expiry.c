/* The ends of credentials: which there are, how near, and the words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "certs.h"
#include "config/config.h"
#include "config/expiry.h"
#include "config/values.h"

#define DAY 86400
#define NOW INT64_C(1800000000)

static void days_are_read_strictly(void **state)
{
	static const char *const wrong[] = {"", "2027-5-01", "2027-05-1", "2027-13-01", "2027-02-29",
	    "2027-00-10", "2027-05-01 ", "27-05-01", "2027/05/01", "01.05.2027", "+027-05-01", "2027-+5-01",
	    "2027--5-01"};
	int64_t at_s = -1;

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		if (value_date(wrong[i], &at_s))
			fail_msg("\"%s\" is taken", wrong[i]);
	assert_int_equal(at_s, -1);
	assert_true(value_date("2027-05-01", &at_s));
	assert_int_equal(at_s, 1809129600);
	assert_true(value_date("2028-02-29", &at_s));
	assert_int_equal(at_s, 1835395200);
}

static void the_nearer_the_more_urgent(void **state)
{
	static const struct {
		int64_t left_s;
		enum nearness nearness;
		const char *words;
	} cases[] = {
	    {61 * DAY, EXPIRY_FAR, "ends in 61 days, on 2027-03-17"},
	    {60 * DAY + 1, EXPIRY_FAR, "ends in 60 days, on"},
	    {60 * DAY, EXPIRY_60_DAYS, "ends in 60 days, on 2027-03-16"},
	    {30 * DAY, EXPIRY_30_DAYS, "ends in 30 days, on"},
	    {7 * DAY, EXPIRY_7_DAYS, "ends in 7 days, on"},
	    {DAY - 1, EXPIRY_7_DAYS, "ends today, 2027-01-16"},
	    {0, EXPIRY_7_DAYS, "is over since 2027-01-15"},
	    {-400 * DAY, EXPIRY_7_DAYS, "is over since"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct expiry expiry = {"certificate", "oauth.certificate", NOW + cases[i].left_s};
		char text[400];

		assert_int_equal(expiry_nearness(&expiry, NOW), cases[i].nearness);
		if (strstr(expiry_text(text, sizeof text, &expiry, NOW), cases[i].words) == NULL)
			fail_msg("\"%s\" is not in: %s", cases[i].words, text);
	}
}

struct seen {
	size_t n;
	struct expiry expiries[8];
};

static void note(void *arg, const struct expiry *expiry)
{
	struct seen *seen = arg;

	assert_in_range(seen->n, 0, 7);
	seen->expiries[seen->n++] = *expiry;
}

/* The certificate into a new file, of which path is the template. */
static void write_new(const struct cert *cert, char *path)
{
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	cert_write(cert, path, NULL, NULL);
}

static void every_credential_of_an_upstream_is_looked_at(void **state)
{
	char path[] = "/tmp/test_expiry.XXXXXX", text[400];
	struct cert cert = cert_make(NULL, "app", NULL, -CERT_DAY, 100 * CERT_DAY);
	struct app_credential next = {.certificate = path};
	struct oauth_config oauth = {.credential = {.secret_expires_s = NOW}, .next = &next};
	struct upstream_config upstream = {.oauth = &oauth, .certificate = path};
	struct seen seen = {0};

	(void)state;
	write_new(&cert, path);
	expiry_each(&upstream, note, &seen);
	assert_int_equal(seen.n, 3);
	assert_string_equal(seen.expiries[0].key, "oauth.secret_expires");
	assert_int_equal(seen.expiries[0].at_s, NOW);
	assert_non_null(
	    strstr(expiry_text(text, sizeof text, &seen.expiries[0], NOW), "correct secret_expires"));
	assert_string_equal(seen.expiries[1].key, "oauth.next.certificate");
	assert_in_range(seen.expiries[1].at_s - time(NULL), 100 * DAY - 60, 100 * DAY + 60);
	assert_string_equal(seen.expiries[2].key, "certificate");
	unlink(path);
	seen.n = 0;
	expiry_each(&upstream, note, &seen);
	assert_int_equal(seen.n, 1); /* a file that is gone says nothing */
	cert_free(&cert);
}

static void what_devices_are_shown_is_told_of_later(void **state)
{
	char path[] = "/tmp/test_expiry.XXXXXX", text[400];
	struct cert cert = cert_make(NULL, "relay", NULL, -CERT_DAY, 100 * CERT_DAY);
	struct config config = {.tls = {.certificate = path}};
	struct seen seen = {0};

	(void)state;
	write_new(&cert, path);
	expiry_each_shown(&config, note, &seen);
	assert_int_equal(seen.n, 1);
	const struct expiry *shown = &seen.expiries[0];
	assert_int_equal(expiry_nearness(shown, shown->at_s - 15 * DAY), EXPIRY_FAR);
	assert_int_equal(expiry_nearness(shown, shown->at_s - 14 * DAY), EXPIRY_30_DAYS);
	assert_int_equal(expiry_nearness(shown, shown->at_s - 7 * DAY), EXPIRY_7_DAYS);
	expiry_text(text, sizeof text, shown, shown->at_s);
	assert_non_null(strstr(text, "tls.certificate: this certificate is over since"));
	assert_non_null(strstr(text, "renew it, replace the files, and reload"));
	unlink(path);
	cert_free(&cert);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(days_are_read_strictly),
	    cmocka_unit_test(the_nearer_the_more_urgent),
	    cmocka_unit_test(every_credential_of_an_upstream_is_looked_at),
	    cmocka_unit_test(what_devices_are_shown_is_told_of_later),
	};

	return cmocka_run_group_tests_name("expiry", tests, NULL, NULL);
}
