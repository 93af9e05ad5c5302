#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/clock.h"
#include "certs.h"
#include "net/http.h"
#include "net/listen.h"

static struct event_base *base;
static struct resolver *resolver;
static struct http *http;
static struct cert ca, good, old, other_ca;
static SSL_CTX *good_ctx, *old_ctx, *ancient_ctx;
static char dir[] = "/tmp/mfdrelay-http-XXXXXX";
static char ca_file[64], other_ca_file[64];
static int listener, dns_fd;
static unsigned short port;
static pthread_t server_thread, dns_thread;
static SSL_CTX *_Atomic server_ctx;
static char last_request[8192]; /* written by the server before it answers */

/* ---- the server: one request a connection ---- */

static void read_request(SSL *ssl)
{
	size_t used = 0, want = sizeof last_request;
	int n;

	while (used < want && used < sizeof last_request - 1 &&
	       (n = SSL_read(ssl, last_request + used, (int)(sizeof last_request - 1 - used))) > 0) {
		used += (size_t)n;
		last_request[used] = '\0';
		char *end = strstr(last_request, "\r\n\r\n"),
		     *length = strstr(last_request, "Content-Length: ");
		if (end != NULL && length != NULL)
			want = (size_t)(end + 4 - last_request) + (size_t)atoi(length + 16);
	}
}

static void say(SSL *ssl, const char *text)
{
	SSL_write(ssl, text, (int)strlen(text));
}

static void say_octets(SSL *ssl, size_t n)
{
	char head[128], *body = malloc(n);

	memset(body, 'x', n);
	snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", n);
	say(ssl, head);
	SSL_write(ssl, body, (int)n);
	free(body);
}

static void say_date(SSL *ssl)
{
	char text[200], date[64];
	time_t then = time(NULL) + 120;
	struct tm tm;

	strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&then, &tm));
	snprintf(
	    text, sizeof text, "HTTP/1.1 503 Busy\r\nRetry-After: %s\r\nContent-Length: 0\r\n\r\n", date);
	say(ssl, text);
}

static const struct {
	const char *path, *answer;
} fixed[] = {
    {"/ok", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
	    "20\r\n\r\n{\"access_token\":\"t\"}"},
    {"/chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"},
    {"/refused", "HTTP/1.1 400 Bad Request\r\nContent-Length: 25\r\n\r\n{\"error\":\"invalid_grant\"}"},
    {"/retry", "HTTP/1.1 429 Slow\r\nRetry-After: 17\r\nContent-Length: 2\r\n\r\n{}"},
    {"/retry-long", "HTTP/1.1 429 Slow\r\nRetry-After: 99999999999\r\nContent-Length: 2\r\n\r\n{}"},
    {"/redirect", "HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n"},
    {"/empty", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
    {"/cut", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this"},
    {"/garbage", "* OK IMAP4 ready\r\n"},
    {"/nothing", ""},
};

static void serve(SSL *ssl)
{
	char path[32], rest[64];

	read_request(ssl);
	snprintf(path, sizeof path, "%.31s", last_request + strlen("POST "));
	path[strcspn(path, " ")] = '\0';
	for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
		if (strcmp(path, fixed[i].path) == 0)
			say(ssl, fixed[i].answer);
	}
	if (strcmp(path, "/date") == 0)
		say_date(ssl);
	else if (strcmp(path, "/most") == 0)
		say_octets(ssl, HTTP_BODY_MAX);
	else if (strcmp(path, "/more") == 0)
		say_octets(ssl, HTTP_BODY_MAX + 1);
	else if (strcmp(path, "/slow") == 0)
		SSL_read(ssl, rest, sizeof rest); /* until the client goes */
}

static void *server_main(void *cookie)
{
	int fd;

	(void)cookie;
	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		SSL *ssl = SSL_new(server_ctx);
		SSL_set_fd(ssl, fd);
		if (SSL_accept(ssl) == 1) {
			serve(ssl);
			SSL_shutdown(ssl);
		}
		SSL_free(ssl);
		close(fd);
	}
	return NULL;
}

/* Every name is 127.0.0.1, where nobody listens, and then 127.0.0.2; none of them is known below "missing".
 */
static void *dns_main(void *cookie)
{
	static const unsigned char two[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1, 0xc0, 12,
	    0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 2};
	unsigned char packet[1024];
	struct sockaddr_in from;
	socklen_t length = sizeof from;
	ssize_t got;

	(void)cookie;
	while ((got = recvfrom(dns_fd, packet, 512, 0, (struct sockaddr *)&from, &length)) > 12) {
		size_t end = 12;
		while (packet[end] != 0)
			end += packet[end] + 1u;
		end += 5;
		packet[2] |= 0x80;
		packet[7] = packet[9] = packet[11] = 0;
		if (memcmp(packet + 13, "missing", 7) == 0) {
			packet[3] = 3;
		} else if (packet[end - 3] == 1) {
			packet[7] = 2;
			memcpy(packet + end, two, sizeof two);
			end += sizeof two;
		}
		sendto(dns_fd, packet, end, 0, (struct sockaddr *)&from, length);
	}
	return NULL;
}

/* ---- the client ---- */

struct result {
	int calls, status;
	size_t n;
	char body[128], why[512];
	long retry_after_s;
	struct http *whole; /* freed inside */
};

static void on_answer(void *cookie, const struct http_answer *answer)
{
	struct result *result = cookie;

	result->calls++;
	result->status = answer->status;
	result->n = answer->body.n;
	result->retry_after_s = answer->retry_after_s;
	assert_true((answer->status == 0) == (answer->why != NULL));
	if (answer->why != NULL)
		snprintf(result->why, sizeof result->why, "%s", answer->why);
	else
		memcpy(result->body, answer->body.p, answer->body.n < 127 ? answer->body.n : 127);
	http_free(result->whole);
}

static struct http_request *post(
    struct result *result, const char *host, const char *path, const char *ca_path)
{
	struct secret form;
	char url[256];

	snprintf(url, sizeof url, "https://%s:%u%s", host, port, path);
	secret_set(&form, str_of("grant_type=client_credentials&client_secret=geheim"));
	struct http_request *request = http_send(
	    http, &(struct http_call){.url = url, .ca_file = ca_path, .form = &form}, on_answer, result);
	secret_free(&form); /* they have a copy */
	assert_int_equal(result->calls, 0);
	return request;
}

static void wait_for(const struct result *result, int64_t ms)
{
	int64_t end = clock_mono_ms() + ms;

	while (result->calls == 0 && clock_mono_ms() < end) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		usleep(500);
	}
}

static void answers(void **state)
{
	static const struct {
		const char *label, *path;
		int status;
		const char *body; /* or what why begins with after the host */
		size_t n;
		long retry_s;
	} rows[] = {
	    {"a token", "/ok", 200, "{\"access_token\":\"t\"}", 20, 0},
	    {"chunked", "/chunked", 200, "abcde", 5, 0},
	    {"an error of the login host", "/refused", 400, "{\"error\":\"invalid_grant\"}", 25, 0},
	    {"Retry-After in seconds", "/retry", 429, "{}", 2, 17},
	    {"an absurd Retry-After is capped", "/retry-long", 429, "{}", 2, 30L * 24 * 3600},
	    {"a redirect is not followed", "/redirect", 302, "", 0, 0},
	    {"an empty body", "/empty", 200, "", 0, 0},
	    {"the largest body", "/most", 200, "xxxx", HTTP_BODY_MAX, 0},
	    {"a larger one", "/more", 0, "the answer of login.test is larger than 262144 octets", 0, 0},
	    {"a body cut short", "/cut", 0, "login.test: ", 0, 0},
	    {"not HTTP", "/garbage", 0, "login.test: ", 0, 0},
	    {"no answer", "/nothing", 0, "the connection to login.test was lost: ", 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct result result = {0};
		post(&result, "login.test", rows[i].path, ca_file);
		wait_for(&result, 5000);
		const char *got = rows[i].status != 0 ? result.body : result.why;
		if (result.calls != 1 || result.status != rows[i].status || result.n != rows[i].n ||
		    strncmp(got, rows[i].body, strlen(rows[i].body)) != 0 ||
		    result.retry_after_s != rows[i].retry_s)
			fail_msg("%s: %d, %zu, %s%s", rows[i].label, result.status, result.n, result.body,
			    result.why);
	}
}

static void retry_after_as_a_date(void **state)
{
	struct result result = {0};

	(void)state;
	post(&result, "login.test", "/date", ca_file);
	wait_for(&result, 5000);
	assert_int_equal(result.status, 503);
	assert_true(result.retry_after_s >= 115 && result.retry_after_s <= 120);
}

static void the_request_is_a_plain_form(void **state)
{
	struct result result = {0};

	(void)state;
	post(&result, "login.test", "/ok", ca_file);
	wait_for(&result, 5000);
	assert_int_equal(result.status, 200);
	assert_int_equal(strncmp(last_request, "POST /ok HTTP/1.1\r\n", 19), 0);
	assert_non_null(strstr(last_request, "\r\nContent-Type: application/x-www-form-urlencoded\r\n"));
	assert_non_null(strstr(last_request, "\r\nHost: login.test:"));
	assert_non_null(strstr(last_request, "\r\n\r\ngrant_type=client_credentials&client_secret=geheim"));
}

static void only_a_verified_host_gets_the_form(void **state)
{
	const struct {
		const char *label, *host, *ca_path;
		SSL_CTX *ctx;
		const char *want; /* NULL: answered */
	} rows[] = {
	    {"an address in the certificate", "127.0.0.2", ca_file, good_ctx, NULL},
	    {"another name", "wrong.test", ca_file, good_ctx, "certificate of wrong.test is not accepted: "},
	    {"another CA", "login.test", other_ca_file, good_ctx,
		"certificate of login.test is not accepted: "},
	    {"the system's CAs do not know ours", "login.test", NULL, good_ctx,
		"certificate of login.test is not accepted: "},
	    {"expired", "login.test", ca_file, old_ctx, "certificate of login.test is not accepted: "},
	    {"no TLS 1.2", "login.test", ca_file, ancient_ctx, "TLS with login.test failed: "},
	    {"no CA file", "login.test", "/nonexistent.pem", good_ctx,
		"the CA file /nonexistent.pem can't be used: "},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct result result = {0};
		server_ctx = rows[i].ctx;
		last_request[0] = '\0';
		post(&result, rows[i].host, "/ok", rows[i].ca_path);
		wait_for(&result, 5000);
		server_ctx = good_ctx;
		if (rows[i].want == NULL ? result.status != 200
					 : strncmp(result.why, rows[i].want, strlen(rows[i].want)) != 0)
			fail_msg("%s: %d %s", rows[i].label, result.status, result.why);
		assert_true((last_request[0] != '\0') == (rows[i].want == NULL));
	}
}

static void what_can_not_be_reached(void **state)
{
	static const struct {
		const char *label, *url, *want;
		bool local;
		const char *proxy;
	} rows[] = {
	    {"a service of this machine that is on another", "http://192.0.2.1/",
		"192.0.2.1: not on this machine", true, NULL},
	    {"one that wants TLS", "https://127.0.0.1/", "https://127.0.0.1/: not an http URL", true, NULL},
	    {"no such host", "https://missing.test/", "missing.test: there is no host of that name", false,
		NULL},
	    {"nobody listens", "https://127.0.0.1:9/", "can't connect to 127.0.0.1: ", false, NULL},
	    {"no such proxy", "https://login.test/", "the proxy missing.test: there is no host of that name",
		false, "missing.test"},
	    {"no proxy listens", "https://login.test/",
		"can't connect to the proxy http://127.0.0.1:9: ", false, "127.0.0.1"},
	    {"plain HTTP is refused", "http://login.test/", "http://login.test/: not an https URL", false,
		NULL},
	    {"so is a file", "file:///etc/passwd", "file:///etc/passwd: not an https URL", false, NULL},
	    {"no URL", "login.test", "login.test: not an https URL", false, NULL},
	    {"a host that is not ASCII", "https://l\xc3\xb6gin.test/",
		"https://l\xc3\xb6gin.test/: not an https URL", false, NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct result result = {0};
		struct secret form;
		const struct http_proxy proxy = {.host = rows[i].proxy, .port = 9};
		secret_set(&form, str_of("a=b"));
		http_send(http,
		    &(struct http_call){.url = rows[i].url,
			.ca_file = ca_file,
			.form = &form,
			.local = rows[i].local,
			.proxy = proxy.host != NULL ? &proxy : NULL},
		    on_answer, &result);
		secret_free(&form);
		assert_int_equal(result.calls, 0);
		wait_for(&result, 15000);
		if (result.calls != 1 || result.status != 0 ||
		    strncmp(result.why, rows[i].want, strlen(rows[i].want)) != 0)
			fail_msg("%s: %d %s", rows[i].label, result.calls, result.why);
	}
}

static void many_at_once(void **state)
{
	struct result results[10] = {0};

	(void)state;
	for (size_t i = 0; i < 10; i++)
		post(&results[i], "login.test", i % 2 ? "/ok" : "/refused", ca_file);
	for (size_t i = 0; i < 10; i++) {
		wait_for(&results[i], 5000);
		assert_int_equal(results[i].status, i % 2 ? 200 : 400);
	}
}

static void cancelled_at_any_time(void **state)
{
	struct result result = {0}, end = {0};

	(void)state;
	http_cancel(NULL);
	for (int turns = 0; turns < 30; turns++) {
		struct http_request *request = post(&result, "login.test", "/slow", ca_file);
		for (int i = 0; i < turns; i++) {
			event_base_loop(base, EVLOOP_NONBLOCK);
			usleep(300);
		}
		http_cancel(request);
	}
	for (int i = 0; i < 20; i++) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		usleep(500);
	}
	assert_int_equal(result.calls, 0);
	/* The server is well, and so are we; the whole may go inside an answer, with others under way. */
	end.whole = http;
	post(&end, "login.test", "/ok", ca_file);
	wait_for(&end, 5000);
	assert_int_equal(end.status, 200);
	http = http_new(base, resolver, NULL);
	post(&result, "login.test", "/slow", ca_file);
	post(&result, "login.test", "/ok", ca_file);
	for (int i = 0; i < 20; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	http_free(http);
	http = http_new(base, resolver, NULL);
	http_free(NULL);
}

static int start_servers(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	struct err err;
	char text[32];

	listener = listen_open("127.0.0.2", 0, &err);
	dns_fd = socket(AF_INET, SOCK_DGRAM, 0);
	inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
	if (listener < 0 || bind(dns_fd, (struct sockaddr *)&address, sizeof address) < 0)
		return 1;
	fcntl(listener, F_SETFL, 0);
	port = listen_port(listener);
	snprintf(text, sizeof text, "127.0.0.1:%u", listen_port(dns_fd));
	resolver_set_servers(resolver, text, 20000);
	return pthread_create(&server_thread, NULL, server_main, NULL) != 0 ||
	       pthread_create(&dns_thread, NULL, dns_main, NULL) != 0;
}

static int set_up(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	setenv("https_proxy", "http://127.0.0.1:1", 1);
	setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
	assert_non_null(mkdtemp(dir));
	snprintf(ca_file, sizeof ca_file, "%s/ca.crt", dir);
	snprintf(other_ca_file, sizeof other_ca_file, "%s/other.crt", dir);
	ca = cert_make(NULL, "Test CA", NULL, -CERT_DAY, CERT_DAY);
	other_ca = cert_make(NULL, "Other CA", NULL, -CERT_DAY, CERT_DAY);
	good = cert_make(&ca, "login.test", "DNS:login.test,IP:127.0.0.2", -CERT_DAY, CERT_DAY);
	old = cert_make(&ca, "login.test", "DNS:login.test", -3 * CERT_DAY, -CERT_DAY);
	cert_write(&ca, ca_file, NULL, NULL);
	cert_write(&other_ca, other_ca_file, NULL, NULL);
	good_ctx = cert_context(&good);
	old_ctx = cert_context(&old);
	ancient_ctx = cert_context(&good);
	SSL_CTX_set_security_level(ancient_ctx, 0);
	SSL_CTX_set_min_proto_version(ancient_ctx, TLS1_1_VERSION);
	SSL_CTX_set_max_proto_version(ancient_ctx, TLS1_1_VERSION);
	server_ctx = good_ctx;
	base = event_base_new();
	resolver = resolver_new(base, NULL);
	http = http_new(base, resolver, NULL);
	return start_servers() != 0 || http == NULL;
}

static int tear_down(void **state)
{
	struct cert *certs[] = {&ca, &good, &old, &other_ca};

	(void)state;
	http_free(http);
	resolver_free(resolver);
	shutdown(listener, SHUT_RDWR);
	shutdown(dns_fd, SHUT_RDWR);
	pthread_join(server_thread, NULL);
	pthread_join(dns_thread, NULL);
	close(listener);
	close(dns_fd);
	for (size_t i = 0; i < sizeof certs / sizeof certs[0]; i++)
		cert_free(certs[i]);
	SSL_CTX_free(good_ctx);
	SSL_CTX_free(old_ctx);
	SSL_CTX_free(ancient_ctx);
	unlink(ca_file);
	unlink(other_ca_file);
	rmdir(dir);
	event_base_free(base);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(answers),
	    cmocka_unit_test(retry_after_as_a_date),
	    cmocka_unit_test(the_request_is_a_plain_form),
	    cmocka_unit_test(only_a_verified_host_gets_the_form),
	    cmocka_unit_test(what_can_not_be_reached),
	    cmocka_unit_test(many_at_once),
	    cmocka_unit_test(cancelled_at_any_time),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
