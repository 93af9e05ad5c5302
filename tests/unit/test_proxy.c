/* What is said to proxies, and what they may answer, cut anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "net/proxy.h"

static void places_are_read(void **state)
{
	static const struct {
		const char *text, *host;
		enum proxy_kind kind;
		unsigned short port;
	} good[] = {{"http://proxy.contoso.local:3128", "proxy.contoso.local", PROXY_HTTP, 3128},
	    {"socks5://10.0.0.1:1080", "10.0.0.1", PROXY_SOCKS5, 1080},
	    {"http://[fd00::1]:8080", "fd00::1", PROXY_HTTP, 8080}};
	static const char *const wrong[] = {"", "http://", "http://proxy", "http://:3128", "http://proxy:0",
	    "http://proxy:65536", "https://proxy:3128", "socks4://proxy:1080", "socks5:proxy:1080",
	    "http://user@proxy:3128", "http://proxy:3128/", "http://a b:1", "http://fd00::1:8080",
	    "http://[]:8080", "http://[proxy]:8080", "proxy:3128"};
	struct proxy_place place;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_true(proxy_parse(good[i].text, &place));
		assert_string_equal(place.host, good[i].host);
		assert_int_equal(place.kind, good[i].kind);
		assert_int_equal(place.port, good[i].port);
	}
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		if (proxy_parse(wrong[i], &place))
			fail_msg("\"%s\" is taken", wrong[i]);
}

/* A conversation: what we are to say, and what is answered to each. The last answer may have more behind it. */
struct turn {
	const char *say;
	size_t say_n;
	const char *answer;
	size_t answer_n;
};
#define TURN(s, a)                                                                                           \
	{                                                                                                    \
		(s), sizeof(s) - 1, (a), sizeof(a) - 1                                                       \
	}

struct dialog {
	const char *label;
	enum proxy_kind kind;
	const char *host, *user, *password;
	struct turn turns[4];
	enum proxy_result result;
	size_t left; /* octets that stay unread */
	const char *why;
};

#define CONNECT "CONNECT smtp.office365.com:587 HTTP/1.1\r\nHost: smtp.office365.com:587\r\n"

static const struct dialog dialogs[] = {
    {"a tunnel, and the banner in the same breath", PROXY_HTTP, "smtp.office365.com", NULL, NULL,
	{TURN(CONNECT "\r\n", "HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n220 hello\r\n")},
	PROXY_OPEN, 11, ""},
    {"HTTP/1.0", PROXY_HTTP, "smtp.office365.com", NULL, NULL,
	{TURN(CONNECT "\r\n", "HTTP/1.0 200 OK\r\n\r\n")}, PROXY_OPEN, 0, ""},
    {"a login", PROXY_HTTP, "fd00::1", "relay", "s3cret",
	{TURN("CONNECT [fd00::1]:587 HTTP/1.1\r\nHost: [fd00::1]:587\r\nProxy-Authorization: Basic "
	      "cmVsYXk6czNjcmV0\r\n\r\n",
	    "HTTP/1.1 200 OK\r\n\r\n")},
	PROXY_OPEN, 0, ""},
    {"no login", PROXY_HTTP, "smtp.office365.com", NULL, NULL,
	{TURN(CONNECT "\r\n", "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 3\r\n\r\nno\n")},
	PROXY_LOGIN, 3, "it answers 407"},
    {"forbidden", PROXY_HTTP, "smtp.office365.com", NULL, NULL,
	{TURN(CONNECT "\r\n", "HTTP/1.1 403 Forbidden\r\n\r\n")}, PROXY_REFUSED, 0,
	"it answers 403 to CONNECT smtp.office365.com:587"},
    {"not HTTP", PROXY_HTTP, "smtp.office365.com", NULL, NULL,
	{TURN(CONNECT "\r\n", "220 mail ready\r\n\r\n")}, PROXY_REFUSED, 0, "as an HTTP proxy"},
    {"socks, a name", PROXY_SOCKS5, "a.example", NULL, NULL,
	{TURN("\x05\x01\x00", "\x05\x00"), TURN("\x05\x01\x00\x03\x09"
						"a.example"
						"\x02\x4b",
					       "\x05\x00\x00\x01\x0a\x00\x00\x01\x04\x38"
					       "220 hi")},
	PROXY_OPEN, 6, ""},
    {"socks, IPv4, answered by a name", PROXY_SOCKS5, "192.0.2.1", NULL, NULL,
	{TURN("\x05\x01\x00", "\x05\x00"),
	    TURN("\x05\x01\x00\x01\xc0\x00\x02\x01\x02\x4b", "\x05\x00\x00\x03\x01"
							     "a"
							     "\x04\x38")},
	PROXY_OPEN, 0, ""},
    {"socks, IPv6", PROXY_SOCKS5, "::1", NULL, NULL,
	{TURN("\x05\x01\x00", "\x05\x00"), TURN("\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x02\x4b",
					       "\x05\x00\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x04\x38")},
	PROXY_OPEN, 0, ""},
    {"socks, a login", PROXY_SOCKS5, "a.example", "relay", "s3cret",
	{TURN("\x05\x02\x00\x02", "\x05\x02"),
	    TURN("\x01\x05"
		 "relay"
		 "\x06"
		 "s3cret",
		"\x01\x00"),
	    TURN("\x05\x01\x00\x03\x09"
		 "a.example"
		 "\x02\x4b",
		"\x05\x00\x00\x01\0\0\0\0\0\0")},
	PROXY_OPEN, 0, ""},
    {"socks, a wrong password", PROXY_SOCKS5, "a.example", "relay", "s3cret",
	{TURN("\x05\x02\x00\x02", "\x05\x02"), TURN("\x01\x05"
						    "relay"
						    "\x06"
						    "s3cret",
						   "\x01\x01")},
	PROXY_LOGIN, 0, "refuses user or password"},
    {"socks wants a login", PROXY_SOCKS5, "a.example", NULL, NULL, {TURN("\x05\x01\x00", "\x05\xff")},
	PROXY_LOGIN, 0, "it wants a login"},
    {"socks, refused", PROXY_SOCKS5, "a.example", NULL, NULL,
	{TURN("\x05\x01\x00", "\x05\x00"), TURN("\x05\x01\x00\x03\x09"
						"a.example"
						"\x02\x4b",
					       "\x05\x05\x00\x01\0\0\0\0\0\0")},
	PROXY_REFUSED, 0, "connection refused (5)"},
    {"socks, an unknown code", PROXY_SOCKS5, "a.example", NULL, NULL,
	{TURN("\x05\x01\x00", "\x05\x00"), TURN("\x05\x01\x00\x03\x09"
						"a.example"
						"\x02\x4b",
					       "\x05\xfe\x00\x01\0\0\0\0\0\0")},
	PROXY_REFUSED, 0, "(254)"},
    {"socks, an unknown address", PROXY_SOCKS5, "a.example", NULL, NULL,
	{TURN("\x05\x01\x00", "\x05\x00"), TURN("\x05\x01\x00\x03\x09"
						"a.example"
						"\x02\x4b",
					       "\x05\x00\x00\x09\x00")},
	PROXY_REFUSED, 0, "as a SOCKS5 proxy"},
    {"HTTP where SOCKS is expected", PROXY_SOCKS5, "a.example", NULL, NULL, {TURN("\x05\x01\x00", "HTTP")},
	PROXY_REFUSED, 2, "as a SOCKS5 proxy"},
};

static void expect_said(const struct dialog *d, const struct turn *turn, const struct proxy_output *out)
{
	if (out->n != turn->say_n || memcmp(out->bytes, turn->say, out->n) != 0)
		fail_msg(
		    "%s: said %zu octets: %.*s", d->label, out->n, (int)out->n, (const char *)out->bytes);
}

/* Play it, each answer in pieces of so many octets. */
static void play(const struct dialog *d, size_t piece)
{
	struct secret password = {
	    (char *)(uintptr_t)d->password, d->password != NULL ? strlen(d->password) : 0};
	struct proxy_talk talk = {
	    .kind = d->kind, .host = d->host, .port = 587, .user = d->user, .password = &password};
	enum proxy_result result = PROXY_MORE;
	struct proxy_output out;
	char why[200] = "";
	size_t left = 0;

	proxy_begin(&talk, &out);
	for (const struct turn *turn = d->turns; turn->say != NULL && result == PROXY_MORE; turn++) {
		expect_said(d, turn, &out);
		for (size_t at = 0, used; at < turn->answer_n && result == PROXY_MORE; at += used) {
			size_t n = turn->answer_n - at < piece ? turn->answer_n - at : piece;
			result = proxy_feed(
			    &talk, (struct str){turn->answer + at, n}, &used, &out, why, sizeof why);
			left = turn->answer_n - at - used;
		}
	}
	if (result != d->result || left != d->left || strstr(why, d->why) == NULL)
		fail_msg("%s, by %zu: result %d, %zu left, \"%s\"", d->label, piece, (int)result, left, why);
}

static void proxies_are_talked_to_whatever_the_pieces(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof dialogs / sizeof dialogs[0]; i++)
		for (size_t piece = 1; piece < 80; piece++)
			play(&dialogs[i], piece);
}

static void an_answer_without_an_end_is_given_up(void **state)
{
	struct proxy_talk talk = {.kind = PROXY_HTTP, .host = "a", .port = 1};
	enum proxy_result result = PROXY_MORE;
	struct proxy_output out;
	char why[200], line[] = "X-Header: yes\r\n";
	size_t used, total = 0;

	(void)state;
	proxy_begin(&talk, &out);
	while (result == PROXY_MORE && total < 100000) {
		result = proxy_feed(&talk, str_of(line), &used, &out, why, sizeof why);
		total += used;
	}
	assert_int_equal(result, PROXY_REFUSED);
	assert_in_range(total, 8000, PROXY_ANSWER_MAX);
}

static void the_longest_login_fits(void **state)
{
	char user[256], text[PROXY_BASIC_MAX + 1], host[254];
	struct secret password = {text, PROXY_BASIC_MAX};
	struct proxy_talk talk = {
	    .kind = PROXY_HTTP, .host = host, .port = 65535, .user = user, .password = &password};
	struct proxy_output out;
	size_t used;
	char why[200];

	(void)state;
	memset(user, 'u', 255);
	memset(text, 'p', PROXY_BASIC_MAX);
	memset(host, 'h', 253);
	user[255] = text[PROXY_BASIC_MAX] = host[253] = '\0';
	assert_int_equal(proxy_password_max(PROXY_HTTP), PROXY_BASIC_MAX);
	proxy_begin(&talk, &out);
	/* The end of 1280 octets: "...ppppp". */
	assert_memory_equal(out.bytes + out.n - 12, "cHBwcHA=\r\n\r\n", 12);
	talk.kind = PROXY_SOCKS5;
	password.n = proxy_password_max(PROXY_SOCKS5);
	proxy_begin(&talk, &out);
	assert_int_equal(
	    proxy_feed(&talk, (struct str){"\x05\x02", 2}, &used, &out, why, sizeof why), PROXY_MORE);
	assert_int_equal(out.n, 3 + 2 * 255);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(places_are_read),
	    cmocka_unit_test(proxies_are_talked_to_whatever_the_pieces),
	    cmocka_unit_test(an_answer_without_an_end_is_given_up),
	    cmocka_unit_test(the_longest_login_fits),
	};

	return cmocka_run_group_tests_name("proxy", tests, NULL, NULL);
}
