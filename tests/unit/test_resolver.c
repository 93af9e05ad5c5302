#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/clock.h"
#include "net/listen.h"
#include "net/resolver.h"

enum { TYPE_A = 1, TYPE_AAAA = 28 };

/* What the name server of these tests knows. */
static const struct zone {
	const char *name;
	int rcode; /* 0: the addresses that follow; -1: no answer at all */
	const char *v4[20], *v6[3];
} zones[] = {
    {"both.test", 0, {"10.0.0.1", "10.0.0.2"}, {"fd00::1"}},
    {"six.test", 0, {NULL}, {"fd00::6"}},
    {"empty.test", 0, {NULL}, {NULL}},
    {"missing.test", 3, {NULL}, {NULL}},
    {"broken.test", 2, {NULL}, {NULL}},
    {"silent.test", -1, {NULL}, {NULL}},
    {"many.test", 0,
	{"10.0.1.1", "10.0.1.2", "10.0.1.3", "10.0.1.4", "10.0.1.5", "10.0.1.6", "10.0.1.7", "10.0.1.8",
	    "10.0.1.9", "10.0.1.10", "10.0.1.11", "10.0.1.12", "10.0.1.13", "10.0.1.14", "10.0.1.15",
	    "10.0.1.16", "10.0.1.17", "10.0.1.18"},
	{"fd00::7"}},
};

struct answer {
	int calls;
	size_t n;
	char text[2048]; /* the addresses with their ports, or why */
};

static struct event_base *base;
static struct resolver *resolver;
static int server_fd;
static struct event *server_event;

/* Returns the length of the name at p as text in name. */
static size_t read_name(const unsigned char *p, char *name)
{
	size_t at = 0, out = 0;

	while (p[at] != 0) {
		if (out > 0)
			name[out++] = '.';
		memcpy(name + out, p + at + 1, p[at]);
		out += p[at];
		at += p[at] + 1u;
	}
	name[out] = '\0';
	return at + 1;
}

static size_t put_record(unsigned char *p, int type, const char *address)
{
	unsigned char head[] = {
	    0xc0, 12, 0, (unsigned char)type, 0, 1, 0, 0, 0, 60, 0, type == TYPE_A ? 4 : 16};

	memcpy(p, head, sizeof head);
	assert_int_equal(inet_pton(type == TYPE_A ? AF_INET : AF_INET6, address, p + sizeof head), 1);
	return sizeof head + head[11];
}

static void on_question(evutil_socket_t fd, short what, void *cookie)
{
	unsigned char packet[2048];
	struct sockaddr_in from;
	socklen_t length = sizeof from;
	char name[256];

	(void)what;
	(void)cookie;
	ssize_t got = recvfrom((int)fd, packet, 512, 0, (struct sockaddr *)&from, &length);
	if (got < 17)
		return;
	size_t end = 12 + read_name(packet + 12, name) + 4, count = 0;
	int type = packet[end - 3];
	for (size_t i = 0; i < sizeof zones / sizeof zones[0]; i++) {
		if (strcasecmp(zones[i].name, name) != 0)
			continue;
		if (zones[i].rcode < 0)
			return;
		const char *const *address = type == TYPE_A ? zones[i].v4 : zones[i].v6;
		for (; (type == TYPE_A || type == TYPE_AAAA) && *address != NULL; address++, count++)
			end += put_record(packet + end, type, *address);
		packet[3] = (unsigned char)zones[i].rcode;
	}
	packet[2] |= 0x80; /* an answer */
	packet[7] = (unsigned char)count;
	packet[9] = packet[11] = 0;
	sendto((int)fd, packet, end, 0, (struct sockaddr *)&from, length);
}

static void on_answer(void *cookie, const struct net_address *addresses, size_t n, const char *why)
{
	struct answer *answer = cookie;
	char text[80];

	answer->calls++;
	answer->n = n;
	assert_true((n == 0) == (why != NULL));
	if (n == 0)
		snprintf(answer->text, sizeof answer->text, "%s", why);
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			strcat(answer->text, " ");
		strcat(answer->text,
		    sockaddr_text(text, sizeof text, (const struct sockaddr *)&addresses[i].address));
		assert_true(addresses[i].length >= sizeof(struct sockaddr_in));
	}
}

static void wait_for(const struct answer *answer, int64_t ms)
{
	int64_t end = clock_mono_ms() + ms;

	while (answer->calls == 0 && clock_mono_ms() < end) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		usleep(500);
	}
}

static void names_and_literals(void **state)
{
	static const struct {
		const char *label, *host, *want;
	} rows[] = {
	    {"IPv4 comes before IPv6", "both.test", "10.0.0.1:587 10.0.0.2:587 [fd00::1]:587"},
	    {"letters of either case", "BOTH.Test", "10.0.0.1:587 10.0.0.2:587 [fd00::1]:587"},
	    {"IPv6 alone", "six.test", "[fd00::6]:587"},
	    {"a name that does not exist", "missing.test", "missing.test: there is no host of that name"},
	    {"a name without an address", "empty.test", "empty.test: the name has no address"},
	    {"a failing name server", "broken.test", "broken.test: "},
	    {"an IPv4 literal", "192.0.2.1", "192.0.2.1:587"},
	    {"an IPv6 literal", "fd00:3::9", "[fd00:3::9]:587"},
	    {"an IPv6 literal in brackets", "[::1]", "[::1]:587"},
	    {"this machine, whatever /etc/hosts has", "localhost", "127.0.0.1:587 [::1]:587"},
	    {"nothing", "", ": not a host name"},
	    {"empty brackets", "[]", "[]: "},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct answer answer = {0};
		assert_non_null(resolver_lookup(resolver, rows[i].host, 587, on_answer, &answer));
		assert_int_equal(answer.calls, 0); /* later, from the loop */
		wait_for(&answer, 15000);
		if (answer.calls != 1 || strncmp(answer.text, rows[i].want, strlen(rows[i].want)) != 0)
			fail_msg("%s: %d %s", rows[i].label, answer.calls, answer.text);
		event_base_loop(base, EVLOOP_NONBLOCK);
		assert_int_equal(answer.calls, 1);
	}
}

static void too_many_addresses_are_cut(void **state)
{
	struct answer answer = {0};

	(void)state;
	resolver_lookup(resolver, "many.test", 25, on_answer, &answer);
	wait_for(&answer, 5000);
	assert_int_equal(answer.n, RESOLVER_ADDRESSES_MAX);
}

static void a_name_too_long_is_refused(void **state)
{
	struct answer answer = {0};
	char name[400];

	(void)state;
	memset(name, 'a', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	resolver_lookup(resolver, name, 25, on_answer, &answer);
	wait_for(&answer, 1000);
	assert_int_equal(answer.calls, 1);
	assert_int_equal(answer.n, 0);
}

static void silence_ends_at_the_limit(void **state)
{
	struct answer answer = {0};
	char server[32];

	(void)state;
	snprintf(server, sizeof server, "127.0.0.1:%u", listen_port(server_fd));
	resolver_set_servers(resolver, server, 150);
	int64_t start = clock_mono_ms();
	resolver_lookup(resolver, "silent.test", 25, on_answer, &answer);
	wait_for(&answer, 5000);
	resolver_set_servers(resolver, server, 20000);
	assert_int_equal(answer.calls, 1);
	assert_true(clock_mono_ms() - start >= 140 && clock_mono_ms() - start < 1000);
	assert_non_null(strstr(answer.text, "silent.test: no name server answered in time"));
}

static void no_server_at_all(void **state)
{
	struct answer answer = {0};
	char server[32];

	(void)state;
	resolver_set_servers(resolver, "127.0.0.1:9", 500);
	resolver_lookup(resolver, "both.test", 25, on_answer, &answer);
	wait_for(&answer, 3000);
	snprintf(server, sizeof server, "127.0.0.1:%u", listen_port(server_fd));
	resolver_set_servers(resolver, server, 20000);
	assert_int_equal(answer.calls, 1);
	assert_int_equal(answer.n, 0);
	assert_non_null(strstr(answer.text, "resolv.conf"));
}

static void cancelled_ones_are_not_called(void **state)
{
	static const char *const hosts[] = {"both.test", "127.0.0.1", "silent.test", "localhost", ""};
	struct answer answer = {0};

	(void)state;
	resolver_cancel(NULL);
	for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
		resolver_cancel(resolver_lookup(resolver, hosts[i], 25, on_answer, &answer));
		struct resolver_query *query = resolver_lookup(resolver, hosts[i], 25, on_answer, &answer);
		if (i == 2)
			event_base_loop(base, EVLOOP_NONBLOCK);
		resolver_cancel(query);
	}
	for (int i = 0; i < 20; i++) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		usleep(1000);
	}
	assert_int_equal(answer.calls, 0);
}

/* Two at a time, one of them cancelled by the other's answer; then the resolver freed with some under way. */
struct killer {
	struct resolver_query *victim;
	struct resolver *whole;
	int calls;
};

static void on_kill(void *cookie, const struct net_address *addresses, size_t n, const char *why)
{
	struct killer *killer = cookie;

	(void)addresses;
	(void)n;
	(void)why;
	killer->calls++;
	resolver_cancel(killer->victim);
	resolver_free(killer->whole);
}

static void freed_from_inside_an_answer(void **state)
{
	struct answer answer = {0};
	struct killer killer = {0};

	(void)state;
	killer.victim = resolver_lookup(resolver, "silent.test", 25, on_answer, &answer);
	resolver_lookup(resolver, "both.test", 25, on_kill, &killer);
	for (int i = 0; i < 100 && killer.calls == 0; i++) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		usleep(1000);
	}
	assert_int_equal(killer.calls, 1);
	struct resolver *other = resolver_new(base, NULL);
	struct killer end = {.whole = other};
	resolver_lookup(other, "127.0.0.1", 25, on_kill, &end);
	resolver_lookup(other, "[::1]", 25, on_answer, &answer);
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(end.calls + answer.calls, answer.calls == 0 ? 1 : 2);
	resolver_free(NULL);
}

static int set_up(void **state)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	struct err err;
	char server[32];

	(void)state;
	base = event_base_new();
	inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
	server_fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	if (bind(server_fd, (struct sockaddr *)&address, sizeof address) < 0)
		return 1;
	server_event = event_new(base, server_fd, EV_READ | EV_PERSIST, on_question, NULL);
	event_add(server_event, NULL);
	resolver = resolver_new(base, &err);
	if (resolver == NULL)
		return 1;
	snprintf(server, sizeof server, "127.0.0.1:%u", listen_port(server_fd));
	resolver_set_servers(resolver, server, 20000);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	resolver_free(resolver);
	event_free(server_event);
	close(server_fd);
	event_base_free(base);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_and_literals),
	    cmocka_unit_test(too_many_addresses_are_cut),
	    cmocka_unit_test(a_name_too_long_is_refused),
	    cmocka_unit_test(silence_ends_at_the_limit),
	    cmocka_unit_test(no_server_at_all),
	    cmocka_unit_test(cancelled_ones_are_not_called),
	    cmocka_unit_test(freed_from_inside_an_answer),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
