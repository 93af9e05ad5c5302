#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#include "net/listen.h"

static struct err err;

/* Whether a connection to address (of the family it is written in) and port gets through. */
static bool reaches(const char *address, unsigned short port)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	bool is_v4 = inet_pton(AF_INET, address, &v4.sin_addr) == 1;
	int fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM, 0);

	if (!is_v4)
		inet_pton(AF_INET6, address, &v6.sin6_addr);
	int result = is_v4 ? connect(fd, (struct sockaddr *)&v4, sizeof v4)
			   : connect(fd, (struct sockaddr *)&v6, sizeof v6);
	close(fd);
	return result == 0;
}

static bool has_v6(void)
{
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	bool yes = fd >= 0 && bind(fd, (struct sockaddr *)&any, sizeof any) == 0;

	if (fd >= 0)
		close(fd);
	return yes;
}

static void star_takes_both_families(void **state)
{
	(void)state;
	int fd = listen_open("*", 0, &err);
	assert_true(fd >= 0);
	unsigned short port = listen_port(fd);
	assert_int_not_equal(port, 0);
	assert_true(reaches("127.0.0.1", port));
	if (has_v6())
		assert_true(reaches("::1", port));
	assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
	assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
	close(fd);
}

static void an_address_takes_only_its_own(void **state)
{
	(void)state;
	int fd = listen_open("127.0.0.1", 0, &err);
	assert_true(fd >= 0);
	assert_true(reaches("127.0.0.1", listen_port(fd)));
	assert_false(reaches("127.0.0.2", listen_port(fd)));
	close(fd);
	if (!has_v6())
		return;
	fd = listen_open("::1", 0, &err);
	assert_true(fd >= 0);
	assert_true(reaches("::1", listen_port(fd)));
	assert_false(reaches("127.0.0.1", listen_port(fd)));
	close(fd);
}

static void a_port_in_use_is_told(void **state)
{
	(void)state;
	int fd = listen_open("127.0.0.1", 0, &err);
	assert_int_equal(listen_open("127.0.0.1", listen_port(fd), &err), -1);
	assert_non_null(
	    strstr(err.text, "on 127.0.0.1 is in use by another program; stop it (often postfix or exim4)"));
	assert_int_equal(listen_open("*", listen_port(fd), &err), -1);
	assert_non_null(strstr(err.text, "on * is in use"));
	close(fd);
	fd = listen_open("*", 0, &err);
	assert_int_equal(listen_open("*", listen_port(fd), &err), -1);
	close(fd);
}

/* What CAP_NET_BIND_SERVICE guards can't be seen as root; the text is the same table's. */
static void refusals_name_address_and_remedy(void **state)
{
	(void)state;
	assert_int_equal(listen_open("192.0.2.77", 0, &err), -1);
	assert_non_null(strstr(err.text, "this machine has no address 192.0.2.77"));
	assert_int_equal(listen_open("mail.example", 25, &err), -1);
	assert_non_null(strstr(err.text, "\"mail.example\" is not an address to listen on"));
	assert_int_equal(listen_open("10.1.2.0/24", 25, NULL), -1);
	if (geteuid() == 0 && seteuid(65534) == 0) {
		int fd = listen_open("127.0.0.1", 25, &err);
		int unprivileged = fd < 0 && strstr(err.text, "is in use") == NULL;
		if (fd >= 0)
			close(fd);
		assert_int_equal(seteuid(0), 0);
		if (unprivileged)
			assert_non_null(strstr(
			    err.text, "binding port 25 on 127.0.0.1 needs root or CAP_NET_BIND_SERVICE"));
	}
}

static void addresses_as_text(void **state)
{
	static const struct {
		const char *label, *address, *host, *text;
	} rows[] = {
	    {"IPv4", "10.1.2.3", "10.1.2.3", "10.1.2.3:2525"},
	    {"IPv6 gets brackets with its port", "fd00:3::1", "fd00:3::1", "[fd00:3::1]:2525"},
	    {"v4-mapped is shown as IPv4", "::ffff:10.1.2.3", "10.1.2.3", "10.1.2.3:2525"},
	    {"the longest there is", "fd00:1111:2222:3333:4444:5555:6666:7777",
		"fd00:1111:2222:3333:4444:5555:6666:7777", "[fd00:1111:2222:3333:4444:5555:6666:7777]:2525"},
	};
	struct sockaddr_un local = {.sun_family = AF_UNIX};
	char text[80];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(2525)};
		struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(2525)};
		struct sockaddr *address = (struct sockaddr *)&v6;
		if (inet_pton(AF_INET, rows[i].address, &v4.sin_addr) == 1)
			address = (struct sockaddr *)&v4;
		else
			assert_int_equal(inet_pton(AF_INET6, rows[i].address, &v6.sin6_addr), 1);
		assert_string_equal(sockaddr_host(text, 46, address), rows[i].host);
		assert_string_equal(sockaddr_text(text, sizeof text, address), rows[i].text);
	}
	assert_string_equal(sockaddr_text(text, sizeof text, (struct sockaddr *)&local), "local");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(star_takes_both_families),
	    cmocka_unit_test(an_address_takes_only_its_own),
	    cmocka_unit_test(a_port_in_use_is_told),
	    cmocka_unit_test(refusals_name_address_and_remedy),
	    cmocka_unit_test(addresses_as_text),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
