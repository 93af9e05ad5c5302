/* The listener as the process it is: forked, with real sockets, a real spool, and the supervisor's words. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "config/config.h"
#include "net/listen.h"
#include "spool/spool.h"
#include "supervisor/channel.h"
#include "supervisor/handover.h"
#include "supervisor/worker.h"

struct process {
	char folder[64];
	struct config config;
	struct counters *counters;
	int listen_fd, supervisor_fd, peer_fd;
	unsigned short port;
	pid_t pid;
};

static struct prefix loopback;
static struct device devices[] = {{.name = "loopback", .prefixes = &loopback, .prefix_count = 1},
    {.name = "erp", .user = "erp", .password_hash = "x"}};
static char *patterns[] = {"*"};
static size_t via[] = {0};
static struct upstream_config upstream = {.name = "submission", .host = "smtp.office365.com", .port = 587};
static struct route route = {.recipients = patterns, .recipient_count = 1, .via = via, .via_count = 1};

static void make_config(struct process *p, size_t device_count)
{
	p->config = (struct config){
	    .hostname = "relay.test",
	    .spool = p->folder,
	    .devices = devices,
	    .device_count = device_count,
	    .routes = &route,
	    .route_count = 1,
	    .upstreams = &upstream,
	    .upstream_count = 1,
	    .limits = {.message_size = 1000000,
		.sessions = 5,
		.sessions_per_address = 3,
		.recipients = 10,
		.free_space = 4096,
		.idle_ms = 60000,
		.message_time_ms = 60000},
	};
}

static void run_child(const struct process *p, int supervisor_fd, int peer_fd)
{
	struct worker_input input = {.config = &p->config,
	    .counters = p->counters,
	    .sessions_now = &p->counters->sessions_now[0],
	    .supervisor_fd = supervisor_fd,
	    .peer_fd = peer_fd,
	    .listen_fds = &p->listen_fd,
	    .listen_count = 1,
	    .uid = (uid_t)-1,
	    .gid = (gid_t)-1};

	log_set_level(LOG_LEVEL_ERR);
	/* Not exit(): cmocka's own is the parent's. */
	_exit(worker_main(&listener_role, &input));
}

/* The first device is what comes from loopback with that many bits of 127.0.0.1. */
static void start_with(struct process *p, unsigned bits, size_t device_count)
{
	int words[2], peers[2];
	struct word word;
	struct err err = {""};

	*p = (struct process){.folder = "/tmp/mfdrelay-listener-XXXXXX"};
	assert_non_null(mkdtemp(p->folder));
	inet_pton(AF_INET6, "::ffff:127.0.0.1", &loopback.address);
	loopback.bits = bits;
	make_config(p, device_count);
	if (spool_prepare(p->folder, (uid_t)-1, (gid_t)-1, &err) < 0)
		fail_msg("%s", err.text);
	p->counters = counters_new();
	p->listen_fd = listen_open("127.0.0.1", 0, &err);
	p->port = listen_port(p->listen_fd);
	assert_int_equal(channel_pair(words), 0);
	assert_int_equal(channel_pair(peers), 0);
	p->pid = fork();
	if (p->pid == 0) {
		close(words[0]);
		close(peers[0]);
		run_child(p, words[1], peers[1]);
	}
	close(words[1]);
	close(peers[1]);
	p->supervisor_fd = words[0];
	p->peer_fd = peers[0];
	for (int i = 0; i < 5000 && channel_receive(p->supervisor_fd, &word) == 0; i++)
		usleep(1000);
}

static void start(struct process *p)
{
	start_with(p, 104, 1);
}

static int stop(struct process *p)
{
	char command[128];
	int status = -1;

	close(p->supervisor_fd);
	assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
	close(p->peer_fd);
	close(p->listen_fd);
	snprintf(command, sizeof command, "rm -rf %s", p->folder);
	assert_int_equal(system(command), 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* From 127.0.0.<host>. */
static int connect_from(const struct process *p, unsigned host)
{
	struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000000u + host)};
	struct sockaddr_in to = {
	    .sin_family = AF_INET, .sin_port = htons(p->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){5, 0}, sizeof(struct timeval));
	assert_int_equal(bind(fd, (const struct sockaddr *)&from, sizeof from), 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof to), 0);
	return fd;
}

/* Say text (may be ""), then one reply, which begins with want. */
static void exchange(int fd, const char *text, const char *want)
{
	char got[512];
	size_t n = 0;
	ssize_t more;

	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	while (n < sizeof got - 1 && (n == 0 || got[n - 1] != '\n')) {
		more = recv(fd, got + n, 1, 0);
		if (more <= 0)
			break;
		n += (size_t)more;
	}
	got[n] = '\0';
	if (strncmp(got, want, strlen(want)) != 0)
		fail_msg("want \"%s\", got \"%s\"", want, got);
}

static void expect_closed(int fd)
{
	char byte;

	ssize_t n = recv(fd, &byte, 1, 0);

	assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
	close(fd);
}

static void send_message(int fd)
{
	exchange(fd, "MAIL FROM:<a@b.example>\r\n", "250 ");
	exchange(fd, "RCPT TO:<c@d.example>\r\n", "250 ");
	exchange(fd, "DATA\r\n", "354 ");
	exchange(fd, "Subject: x\r\n\r\nx\r\n.\r\n", "250 2.0.0 Ok: queued as ");
}

static void too_many_sessions_are_told_which_limit(void **state)
{
	struct process p;
	int fds[5], refused;

	(void)state;
	start(&p);
	for (unsigned i = 0; i < 3; i++) {
		fds[i] = connect_from(&p, 1);
		exchange(fds[i], "", "220 ");
	}
	refused = connect_from(&p, 1);
	exchange(
	    refused, "", "421 4.7.0 Too many sessions from 127.0.0.1 (limits.sessions_per_address is 3)");
	expect_closed(refused);
	for (unsigned i = 3; i < 5; i++) {
		fds[i] = connect_from(&p, 2);
		exchange(fds[i], "", "220 ");
	}
	refused = connect_from(&p, 3);
	exchange(refused, "", "421 4.7.0 Too many sessions (limits.sessions is 5)");
	expect_closed(refused);

	exchange(fds[0], "QUIT\r\n", "221 ");
	expect_closed(fds[0]);
	fds[0] = connect_from(&p, 3);
	exchange(fds[0], "", "220 ");
	assert_int_equal(counted(&p.counters->sessions), 6);
	assert_int_equal(counted(&p.counters->sessions_refused), 2);
	assert_int_equal(counted(&p.counters->sessions_now[0]), 5);
	for (unsigned i = 0; i < 5; i++)
		close(fds[i]);
	assert_int_equal(stop(&p), 0);
}

static void a_quarter_of_the_sessions_is_kept_for_listed_addresses(void **state)
{
	struct process p;
	int fds[5], refused;

	(void)state;
	for (size_t device_count = 1; device_count <= 2; device_count++) {
		start_with(&p, 128, device_count);
		for (unsigned i = 0; i < 4; i++) {
			fds[i] = connect_from(&p, 2 + i);
			exchange(fds[i], "", "220 ");
		}
		refused = connect_from(&p, 6);
		exchange(refused, "", "421 4.7.0 Too many sessions (limits.sessions is 5)");
		expect_closed(refused);
		fds[4] = connect_from(&p, 1);
		exchange(fds[4], "", "220 ");
		for (unsigned i = 0; i < 5; i++)
			close(fds[i]);
		assert_int_equal(stop(&p), 0);
	}
}

static void a_durable_message_wakes_the_sender(void **state)
{
	struct process p;
	struct handover_messages packet;
	ssize_t n;
	int fd;

	(void)state;
	start(&p);
	fd = connect_from(&p, 1);
	exchange(fd, "", "220 ");
	send_message(fd);
	for (int i = 0; i < 1000 && (n = recv(p.peer_fd, &packet, sizeof packet, MSG_DONTWAIT)) < 0; i++)
		usleep(1000);
	assert_int_equal(n, offsetof(struct handover_messages, ids) + sizeof packet.ids[0]);
	assert_int_equal(packet.kind, HANDOVER_MESSAGES);
	assert_true(spool_id_valid(packet.ids[0]));
	/* Nobody reads them: mail goes on all the same. */
	for (int i = 0; i < 50; i++)
		send_message(fd);
	assert_int_equal(counted(&p.counters->messages_accepted), 51);
	close(fd);
	assert_int_equal(stop(&p), 0);
}

static void a_drain_refuses_new_sessions_and_finishes_what_was_begun(void **state)
{
	struct process p;
	int idle, busy, status;

	(void)state;
	start(&p);
	idle = connect_from(&p, 1);
	exchange(idle, "", "220 ");
	busy = connect_from(&p, 1);
	exchange(busy, "", "220 ");
	exchange(busy, "MAIL FROM:<a@b.example>\r\n", "250 ");
	exchange(busy, "RCPT TO:<c@d.example>\r\n", "250 ");
	assert_int_equal(channel_send(p.supervisor_fd, WORD_STOP, 5000), 0);
	exchange(idle, "", "421 4.3.2 ");
	expect_closed(idle);
	exchange(busy, "DATA\r\n", "354 ");
	exchange(busy, "Subject: x\r\n\r\nx\r\n.\r\n", "250 2.0.0 ");
	exchange(busy, "QUIT\r\n", "221 ");
	expect_closed(busy);
	/* It ends by itself, long before the deadline. */
	for (int i = 0; i < 10000 && waitpid(p.pid, &status, WNOHANG) == 0; i++)
		usleep(1000);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	p.pid = fork();
	if (p.pid == 0)
		_exit(0);
	stop(&p);
}

static void at_the_drains_deadline_content_under_way_is_refused(void **state)
{
	static char line[65536];
	struct process p;
	int fd;

	(void)state;
	memset(line, 'x', sizeof line);
	start(&p);
	fd = connect_from(&p, 1);
	exchange(fd, "", "220 ");
	exchange(fd, "MAIL FROM:<a@b.example>\r\n", "250 ");
	exchange(fd, "RCPT TO:<c@d.example>\r\n", "250 ");
	exchange(fd, "DATA\r\n", "354 ");
	assert_int_equal(channel_send(p.supervisor_fd, WORD_STOP, 50), 0);
	/* More comes after the refusal: it must not be lost to a reset. */
	for (int64_t end = clock_mono_ms() + 200; clock_mono_ms() < end;) {
		send(fd, line, sizeof line, MSG_NOSIGNAL);
		usleep(10000);
	}
	exchange(fd, "", "421 4.3.2 relay.test is shutting down, try again");
	close(fd);
	assert_int_equal(stop(&p), 0);
}

static void with_no_descriptor_left_devices_wait_and_are_served_later(void **state)
{
	struct rlimit before;
	struct process p;
	int fd;

	(void)state;
	start(&p);
	assert_int_equal(prlimit(p.pid, RLIMIT_NOFILE, NULL, &before), 0);
	assert_int_equal(prlimit(p.pid, RLIMIT_NOFILE, &(struct rlimit){3, before.rlim_max}, NULL), 0);
	fd = connect_from(&p, 1);
	usleep(250000);
	assert_int_equal(counted(&p.counters->sessions), 0);
	assert_int_equal(prlimit(p.pid, RLIMIT_NOFILE, &before, NULL), 0);
	exchange(fd, "", "220 ");
	close(fd);
	assert_int_equal(stop(&p), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(too_many_sessions_are_told_which_limit),
	    cmocka_unit_test(a_quarter_of_the_sessions_is_kept_for_listed_addresses),
	    cmocka_unit_test(a_durable_message_wakes_the_sender),
	    cmocka_unit_test(a_drain_refuses_new_sessions_and_finishes_what_was_begun),
	    cmocka_unit_test(at_the_drains_deadline_content_under_way_is_refused),
	    cmocka_unit_test(with_no_descriptor_left_devices_wait_and_are_served_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
