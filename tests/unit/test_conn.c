#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/timer.h"
#include "certs.h"
#include "net/conn.h"
#include "net/listen.h"
#include "net/tls.h"

static struct event_base *base;
static struct cert ca, good, expired, wildcard, foreign_ca, foreign;
static SSL_CTX *server_ctx, *client_ctx;
static char dir[] = "/tmp/mfdrelay-conn-XXXXXX";
static char ca_file[64], good_crt[64], good_key[64];

/* One side of a connection: what has come so far. */
struct side {
	struct conn *conn;
	void (*on_event)(struct side *side, enum conn_event event); /* NULL: only the log */
	char log[4096];						    /* an event a letter: see letters */
	size_t log_n;
	char text[4096]; /* lines read, each with a '|' after it */
	size_t received, wanted, written;
	bool too_long;
	int fuse;
	SSL_CTX *ctx;
	const char *host;
};

static const char letters[] = {[CONN_CONNECTED] = 'C',
    [CONN_TLS_READY] = 'T',
    [CONN_DATA] = 'D',
    [CONN_DRAINED] = 'W',
    [CONN_TIMEOUT] = 'O',
    [CONN_CLOSED] = 'E',
    [CONN_ERROR] = 'X'};

static void on_event(void *cookie, enum conn_event event)
{
	struct side *side = cookie;

	/* When it is full the last letter counts. */
	if (side->log_n + 1 < sizeof side->log)
		side->log_n++;
	side->log[side->log_n - 1] = letters[event];
	if (side->on_event != NULL)
		side->on_event(side, event);
}

static bool saw(const struct side *side, char letter)
{
	return strchr(side->log, letter) != NULL;
}

static void on_alarm(evutil_socket_t fd, short what, void *cookie)
{
	(void)fd;
	(void)what;
	*(bool *)cookie = true;
}

/* Run the loop until side has seen letter. false: not within ms. */
static bool run_until(const struct side *side, char letter, unsigned ms)
{
	struct timeval after = timer_interval(ms);
	bool over = false;
	struct event *alarm_event = event_new(base, -1, 0, on_alarm, &over);

	event_add(alarm_event, &after);
	while (!over && (side == NULL || !saw(side, letter)))
		event_base_loop(base, EVLOOP_ONCE);
	event_free(alarm_event);
	return !over;
}

static void run_for(unsigned ms)
{
	run_until(NULL, 0, ms);
}

/* Two connected TCP sockets on loopback, non-blocking. */
static void make_pair(int fds[2])
{
	int listener = listen_open("127.0.0.1", 0, NULL);
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(listen_port(listener))};

	inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(fds[0], (struct sockaddr *)&address, sizeof address), 0);
	while ((fds[1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) < 0)
		assert_int_equal(errno, EAGAIN);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	close(listener);
}

/* A conn on side; the other end is a bare socket, blocking. */
static int open_side(struct side *side)
{
	int fds[2];

	make_pair(fds);
	fcntl(fds[0], F_SETFL, 0);
	side->conn = conn_accept(base, fds[1], on_event, side);
	assert_non_null(side->conn);
	return fds[0];
}

static void open_sides(struct side *a, struct side *b)
{
	int fds[2];

	make_pair(fds);
	a->conn = conn_accept(base, fds[0], on_event, a);
	b->conn = conn_accept(base, fds[1], on_event, b);
}

static void open_tls(struct side *client, struct side *server)
{
	open_sides(client, server);
	assert_int_equal(conn_tls_accept(server->conn, server_ctx, 0), CONN_TLS_BEGUN);
	assert_int_equal(conn_tls_connect(client->conn, client_ctx, "relay.test"), CONN_TLS_BEGUN);
	assert_true(run_until(client, 'T', 3000));
	assert_true(run_until(server, 'T', 3000));
}

static void drop(struct side *side)
{
	conn_free(side->conn);
	side->conn = NULL;
	event_base_loop(base, EVLOOP_NONBLOCK);
}

static void read_lines(struct side *side, enum conn_event event)
{
	struct str line;
	enum conn_line result;

	if (event != CONN_DATA)
		return;
	while ((result = conn_read_line(side->conn, 20, &line)) == CONN_LINE) {
		strncat(side->text, line.p, line.n);
		strcat(side->text, "|");
	}
	side->too_long = result == CONN_LINE_TOO_LONG;
}

static void echo_lines(struct side *side, enum conn_event event)
{
	struct str line;

	if (event != CONN_DATA)
		return;
	while (conn_read_line(side->conn, 1000, &line) == CONN_LINE) {
		conn_write(side->conn, line.p, line.n);
		conn_write(side->conn, "\r\n", 2);
	}
}

/* ---- lines and bytes ---- */

static void lines_whole_and_one_byte_at_a_time(void **state)
{
	static const struct {
		const char *label, *input, *want;
		bool too_long;
		size_t left;
	} rows[] = {
	    {"CRLF and LF both end a line", "EHLO x\r\nQUIT\n", "EHLO x|QUIT|", false, 0},
	    {"an empty line is a line", "\r\n\na\n", "||a|", false, 0},
	    {"a CR elsewhere is part of the line", "a\rb\r\r\n", "a\rb\r|", false, 0},
	    {"a line without end waits", "abc", "", false, 3},
	    {"a line as long as allowed", "12345678901234567890\r\nx\n", "12345678901234567890|x|", false, 0},
	    {"a byte more is too long and stays", "ok\n123456789012345678901\r\nx\n", "ok|", true, 25},
	    {"no end at all is too long", "123456789012345678901234567890", "", true, 30},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		for (int whole = 0; whole < 2; whole++) {
			struct side side = {.on_event = read_lines};
			int fd = open_side(&side);
			size_t n = strlen(rows[i].input), step = whole ? n : 1;
			for (size_t at = 0; at < n; at += step) {
				assert_int_equal(send(fd, rows[i].input + at, step, 0), (ssize_t)step);
				side.log_n = 0;
				memset(side.log, 0, sizeof side.log);
				assert_true(run_until(&side, 'D', 1000));
			}
			if (strcmp(side.text, rows[i].want) != 0 || side.too_long != rows[i].too_long ||
			    conn_available(side.conn) != rows[i].left)
				fail_msg("%s: %s", rows[i].label, side.text);
			drop(&side);
			close(fd);
		}
	}
}

static void bytes_are_peeked_and_consumed(void **state)
{
	struct side side = {.on_event = NULL};
	char got[32] = "";

	(void)state;
	int fd = open_side(&side);
	assert_int_equal(conn_peek(side.conn).n, 0);
	assert_int_equal(send(fd, "line\nbinary\0data", 16, 0), 16);
	assert_true(run_until(&side, 'D', 1000));
	struct str piece = conn_peek(side.conn);
	assert_true(piece.n > 0);
	assert_memory_equal(piece.p, "line\n", 5);
	assert_int_equal(conn_read_line(side.conn, 100, &piece), CONN_LINE);
	assert_int_equal(conn_available(side.conn), 11);
	for (size_t n = 0; conn_available(side.conn) > 0; n++) {
		piece = conn_peek(side.conn);
		got[n] = piece.p[0];
		conn_consume(side.conn, 1);
	}
	assert_memory_equal(got, "binary\0data", 11);
	drop(&side);
	close(fd);
}

static void one_line_at_a_time(struct side *side, enum conn_event event)
{
	struct str line;

	if (event == CONN_DATA && conn_read_line(side->conn, 100, &line) == CONN_LINE) {
		strncat(side->text, line.p, line.n);
		strcat(side->text, "|");
		conn_set_reading(side->conn, false);
	}
}

/* What a session does that waits for its spool: the rest of the input comes when it reads on, and the end
 * after it. */
static void lines_left_come_again_and_the_end_last(void **state)
{
	struct side side = {.on_event = one_line_at_a_time};

	(void)state;
	int fd = open_side(&side);
	assert_int_equal(send(fd, "one\ntwo\nthree\n", 14, 0), 14);
	shutdown(fd, SHUT_WR);
	run_for(50);
	assert_string_equal(side.log, "D");
	assert_string_equal(side.text, "one|");
	conn_set_reading(side.conn, true);
	assert_string_equal(side.log, "D"); /* never from inside */
	run_for(20);
	assert_string_equal(side.text, "one|two|");
	conn_set_reading(side.conn, true);
	run_for(20);
	assert_string_equal(side.text, "one|two|three|");
	assert_string_equal(side.log, "DDD");
	conn_set_reading(side.conn, true);
	run_for(20);
	assert_string_equal(side.log, "DDDE");
	/* A peer that has closed its side is still answered. */
	assert_int_equal(conn_write(side.conn, "250 ok\r\n", 8), 0);
	char answer[16];
	assert_int_equal(recv(fd, answer, sizeof answer, 0), 8);
	drop(&side);
	close(fd);
}

static void data_comes_before_the_end(void **state)
{
	struct side side = {.on_event = NULL};

	(void)state;
	int fd = open_side(&side);
	assert_int_equal(send(fd, "half a line", 11, 0), 11);
	close(fd);
	assert_true(run_until(&side, 'E', 1000));
	assert_string_equal(side.log, "DE");
	assert_int_equal(conn_available(side.conn), 11);
	conn_set_timeout(side.conn, 1);
	run_for(20);
	assert_string_equal(side.log, "DE"); /* nothing after the end */
	drop(&side);
}

/* ---- connecting, writing, time ---- */

static void connect_gets_through_or_says_why(void **state)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	struct side client = {.on_event = NULL}, refused = {.on_event = NULL};
	char byte;

	(void)state;
	int listener = listen_open("127.0.0.1", 0, NULL);
	inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
	address.sin_port = htons(listen_port(listener));
	client.conn = conn_connect(base, (struct sockaddr *)&address, sizeof address, on_event, &client);
	conn_write(client.conn, "x", 1); /* waits for the connection */
	assert_string_equal(client.log, "");
	assert_true(run_until(&client, 'W', 1000));
	assert_string_equal(client.log, "CW");
	int fd = accept4(listener, NULL, NULL, 0);
	assert_int_equal(recv(fd, &byte, 1, 0), 1);
	assert_string_equal(conn_error(client.conn), "no error");
	close(fd);
	close(listener);
	refused.conn = conn_connect(base, (struct sockaddr *)&address, sizeof address, on_event, &refused);
	assert_string_equal(refused.log, "");
	assert_true(run_until(&refused, 'X', 1000));
	assert_string_equal(refused.log, "X");
	assert_string_equal(conn_error(refused.conn), "connection refused");
	assert_false(conn_error_is_tls(refused.conn));
	assert_int_equal(conn_write(refused.conn, "x", 1), 0);
	assert_int_equal(conn_tls_connect(refused.conn, client_ctx, "relay.test"), CONN_TLS_GONE);
	drop(&client);
	drop(&refused);
}

static void a_short_answer_goes_out_at_once(void **state)
{
	struct side side = {.on_event = NULL};
	char answer[16];

	(void)state;
	int fd = open_side(&side);
	assert_int_equal(conn_write(side.conn, "220 ready\r\n", 11), 0);
	/* The loop has not run: the kernel has it. */
	assert_int_equal(recv(fd, answer, sizeof answer, MSG_DONTWAIT), 11);
	run_for(10);
	assert_string_equal(side.log, "");
	drop(&side);
	close(fd);
}

static void a_reset_is_an_error_and_no_signal(void **state)
{
	struct side side = {.on_event = NULL};
	struct linger hard = {1, 0};

	(void)state;
	int fd = open_side(&side);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
	close(fd);
	for (int i = 0; i < 3; i++)
		conn_write(side.conn, "250 ok\r\n", 8);
	assert_true(run_until(&side, 'X', 1000));
	assert_string_equal(side.log, "X");
	assert_false(conn_error_is_tls(side.conn));
	assert_true(strstr(conn_error(side.conn), "reset") != NULL ||
		    strstr(conn_error(side.conn), "broken pipe") != NULL);
	drop(&side);
}

static void close_hard(int fd)
{
	static const struct linger hard = {1, 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
	close(fd);
}

/* Whatever number of bytes is before it. */
static void a_reset_behind_input_is_an_error(void **state)
{
	static const size_t sizes[] = {100, 4095, 4096, 4097, 5000, 8192, 36816};
	static const char input[40000];

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct side side = {.on_event = NULL};
		int fd = open_side(&side);
		assert_int_equal(send(fd, input, sizes[i], 0), (ssize_t)sizes[i]);
		close_hard(fd);
		run_for(30);
		if (!saw(&side, 'X') || saw(&side, 'E') || conn_available(side.conn) != sizes[i])
			fail_msg("%zu bytes: %s, %zu", sizes[i], side.log, conn_available(side.conn));
		drop(&side);
	}
}

static void read_a_line(struct side *side, enum conn_event event)
{
	struct str line;

	if (event == CONN_DATA && conn_read_line(side->conn, 100, &line) == CONN_LINE)
		snprintf(side->text, sizeof side->text, "%.*s", (int)line.n, line.p);
}

/* Why it goes, the peer has said before: that must be heard though writing fails first. */
static void what_came_before_a_failed_write_is_read(void **state)
{
	(void)state;
	for (int tls = 0; tls < 2; tls++) {
		struct side client = {.on_event = read_a_line}, server = {.on_event = NULL};
		int fds[2];
		make_pair(fds);
		client.conn = conn_accept(base, fds[0], on_event, &client);
		server.conn = conn_accept(base, fds[1], on_event, &server);
		if (tls) {
			conn_tls_accept(server.conn, server_ctx, 0);
			conn_tls_connect(client.conn, client_ctx, "relay.test");
			assert_true(run_until(&client, 'T', 3000) && run_until(&server, 'T', 3000));
			run_for(10);
		}
		assert_int_equal(conn_write(server.conn, "552 too large\r\n", 15), 0);
		static const struct linger hard = {1, 0};
		setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
		conn_free(server.conn);
		for (int i = 0; i < 3; i++)
			conn_write(client.conn, "more\r\n", 6);
		assert_true(run_until(&client, 'X', 1000));
		if (strcmp(client.text, "552 too large") != 0)
			fail_msg("tls %d: %s, %s", tls, client.log, conn_error(client.conn));
		drop(&client);
	}
}

static void timeouts(void **state)
{
	struct side side = {.on_event = NULL};

	(void)state;
	int fd = open_side(&side);
	conn_set_timeout(side.conn, 20);
	assert_true(run_until(&side, 'O', 1000));
	run_for(50);
	assert_string_equal(side.log, "O"); /* once */
	conn_set_timeout(side.conn, 30);
	conn_set_timeout(side.conn, 0);
	run_for(60);
	assert_string_equal(side.log, "O");
	conn_set_timeout(side.conn, 30);
	int64_t start = clock_mono_ms();
	conn_set_timeout(side.conn, 120); /* set again, not added to */
	memset(side.log, 0, sizeof side.log);
	side.log_n = 0;
	assert_true(run_until(&side, 'O', 1000));
	assert_true(clock_mono_ms() - start >= 115);
	drop(&side);
	close(fd);
}

static void an_idle_connection_is_cheap(void **state)
{
	enum { MANY = 200 };
	struct side *sides = calloc(MANY, sizeof *sides);
	int peers[MANY];

	(void)state;
	size_t before = mallinfo2().uordblks;
	for (int i = 0; i < MANY; i++) {
		peers[i] = open_side(&sides[i]);
		conn_set_timeout(sides[i].conn, 60000);
	}
	size_t each = (mallinfo2().uordblks - before) / MANY;
	if (each > 3072)
		fail_msg("%zu bytes each", each);
	for (int i = 0; i < MANY; i++) {
		drop(&sides[i]);
		close(peers[i]);
	}
	free(sides);
}

/* ---- TLS ---- */

static void tls_both_ways_one_byte_at_a_time(void **state)
{
	static const char input[] = "EHLO mfd\r\nMAIL FROM:<a@b>\r\n";
	struct side client = {.on_event = read_lines}, server = {.on_event = echo_lines};

	(void)state;
	open_tls(&client, &server);
	assert_string_equal(client.log, "T");
	assert_string_equal(server.log, "T");
	assert_string_equal(conn_tls_version(client.conn), "TLSv1.3");
	assert_non_null(strstr(conn_tls_cipher(server.conn), "TLS_"));
	for (size_t i = 0; i < sizeof input - 1; i++) {
		conn_write(client.conn, &input[i], 1);
		run_for(2);
	}
	assert_true(run_until(&client, 'D', 1000));
	run_for(20);
	assert_string_equal(client.text, "EHLO mfd|MAIL FROM:<a@b>|");
	/* An end without close_notify is an ordinary one; here it comes with it. */
	drop(&client);
	assert_true(run_until(&server, 'E', 1000));
	assert_false(saw(&server, 'X'));
	drop(&server);
}

static void plain_text_before_tls_is_refused(void **state)
{
	struct side side = {.on_event = NULL};

	(void)state;
	int fd = open_side(&side);
	assert_int_equal(send(fd, "STARTTLS\r\nMAIL FROM:<evil@x>\r\n", 30, 0), 30);
	assert_true(run_until(&side, 'D', 1000));
	struct str line;
	assert_int_equal(conn_read_line(side.conn, 100, &line), CONN_LINE);
	assert_int_equal(conn_tls_accept(side.conn, server_ctx, 0), CONN_TLS_PLAIN_TEXT);
	assert_int_equal(conn_tls_connect(side.conn, client_ctx, "relay.test"), CONN_TLS_PLAIN_TEXT);
	conn_consume(side.conn, conn_available(side.conn));
	assert_int_equal(conn_tls_accept(side.conn, server_ctx, 0), CONN_TLS_BEGUN);
	assert_int_equal(conn_tls_accept(side.conn, server_ctx, 0), CONN_TLS_GONE); /* once */
	/* What still lay in the kernel goes to TLS and ends it. */
	assert_int_equal(send(fd, "RCPT TO:<victim@y>\r\n", 20, 0), 20);
	assert_true(run_until(&side, 'X', 1000));
	assert_true(conn_error_is_tls(side.conn));
	drop(&side);
	close(fd);
}

static void tls_does_not_begin_with_a_peer_that_has_gone(void **state)
{
	struct side side = {.on_event = NULL};

	(void)state;
	int fd = open_side(&side);
	close(fd);
	assert_true(run_until(&side, 'E', 1000));
	assert_int_equal(conn_tls_accept(side.conn, server_ctx, 0), CONN_TLS_GONE);
	assert_int_equal(conn_tls_connect(side.conn, client_ctx, "relay.test"), CONN_TLS_GONE);
	drop(&side);
}

static void tls_waits_for_unsent_output(void **state)
{
	struct side side = {.on_event = NULL};
	static char much[8 << 20];

	(void)state;
	int fd = open_side(&side);
	assert_true(conn_write(side.conn, much, sizeof much) > 0);
	assert_int_equal(conn_tls_accept(side.conn, server_ctx, 0), CONN_TLS_GONE);
	drop(&side);
	close(fd);
}

static void the_client_verifies(void **state)
{
	SSL_CTX *expired_ctx = cert_context(&expired), *wildcard_ctx = cert_context(&wildcard);
	SSL_CTX *foreign_ctx = cert_context(&foreign), *old_ctx = cert_context(&good);
	const struct {
		const char *label;
		SSL_CTX *server;
		const char *host, *want; /* want NULL: accepted */
	} rows[] = {
	    {"the right name", server_ctx, "relay.test", NULL},
	    {"the right name with a final dot, in capitals", server_ctx, "RELAY.test.", NULL},
	    {"the second name", server_ctx, "mail.test", NULL},
	    {"an address in the certificate", server_ctx, "127.0.0.1", NULL},
	    {"an IPv6 address in brackets", server_ctx, "[::1]", NULL},
	    {"another name", server_ctx, "other.test",
		"certificate of other.test is for another name: relay.test, mail.test, 127.0.0.1, ::1"},
	    {"an address not in the certificate", server_ctx, "127.0.0.2",
		"certificate of 127.0.0.2 is for another name"},
	    {"a wildcard covers a label", wildcard_ctx, "a.wild.test", NULL},
	    {"but not two", wildcard_ctx, "a.b.wild.test", "is for another name: *.wild.test"},
	    {"nor a part of one", wildcard_ctx, "x.part.test", "is for another name"},
	    {"expired", expired_ctx, "relay.test",
		"certificate of relay.test: certificate has expired (subject CN=old"},
	    {"a CA that is not ours", foreign_ctx, "relay.test",
		"certificate of relay.test: unable to get local issuer certificate (subject CN=relay.test; "
		"issuer CN=Foreign CA)"},
	    {"no host to verify", server_ctx, "", "certificate can't be verified"},
	    {"a server that stops at TLS 1.1", old_ctx, "relay.test", "TLS handshake failed"},
	};

	(void)state;
	SSL_CTX_set_security_level(old_ctx, 0);
	SSL_CTX_set_min_proto_version(old_ctx, TLS1_1_VERSION);
	SSL_CTX_set_max_proto_version(old_ctx, TLS1_1_VERSION);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct side client = {.on_event = NULL}, server = {.on_event = NULL};
		open_sides(&client, &server);
		conn_tls_accept(server.conn, rows[i].server, 0);
		assert_int_equal(conn_tls_connect(client.conn, client_ctx, rows[i].host), CONN_TLS_BEGUN);
		run_until(&client, rows[i].want == NULL ? 'T' : 'X', 2000);
		if (strcmp(client.log, rows[i].want == NULL ? "T" : "X") != 0)
			fail_msg("%s: %s, %s", rows[i].label, client.log, conn_error(client.conn));
		if (rows[i].want != NULL && strstr(conn_error(client.conn), rows[i].want) == NULL)
			fail_msg("%s: %s", rows[i].label, conn_error(client.conn));
		assert_true(conn_error_is_tls(client.conn) == (rows[i].want != NULL));
		drop(&client);
		drop(&server);
	}
	SSL_CTX_free(expired_ctx);
	SSL_CTX_free(wildcard_ctx);
	SSL_CTX_free(foreign_ctx);
	SSL_CTX_free(old_ctx);
}

static void a_client_can_describe_whom_it_has_verified(void **state)
{
	struct side client = {.on_event = NULL}, server = {.on_event = NULL};
	struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
	struct tls_peer peer;

	(void)state;
	open_sides(&client, &server);
	assert_false(conn_tls_peer(client.conn, &peer));
	conn_tls_accept(server.conn, server_ctx, 0);
	assert_int_equal(conn_tls_connect(client.conn, client_ctx, "relay.test"), CONN_TLS_BEGUN);
	assert_false(conn_tls_peer(client.conn, &peer));
	assert_true(run_until(&client, 'T', 2000));
	assert_true(conn_tls_peer(client.conn, &peer));
	assert_string_equal(peer.names, "relay.test, mail.test, 127.0.0.1, ::1");
	assert_non_null(strstr(peer.issuer, "CN="));
	assert_true(peer.ends_ms > clock_wall_ms());
	assert_int_equal(peer.chain, 2);
	assert_true(conn_local_address(client.conn, &address));
	assert_int_not_equal(address.ss_family, AF_UNSPEC);
	drop(&client);
	drop(&server);
}

/* The same store of trust must not matter: a context that trusts nothing accepts nothing. */
static void the_server_hears_of_a_refusal(void **state)
{
	struct side client = {.on_event = NULL}, server = {.on_event = NULL};

	(void)state;
	open_sides(&client, &server);
	conn_tls_accept(server.conn, server_ctx, 0);
	SSL_CTX *empty = SSL_CTX_new(TLS_client_method());
	conn_tls_connect(client.conn, empty, "relay.test");
	assert_true(run_until(&client, 'X', 1000));
	assert_true(run_until(&server, 'X', 1000));
	assert_non_null(
	    strstr(conn_error(server.conn), "the other side does not trust the issuer of our certificate"));
	drop(&client);
	drop(&server);
	SSL_CTX_free(empty);
}

static void peers_that_do_not_speak_tls(void **state)
{
	static const struct {
		const char *label, *sends, *want;
		bool tls;
	} rows[] = {
	    {"SMTP instead", "500 5.5.1 command unrecognized\r\n", "the other side's answer is not TLS",
		true},
	    {"closing at once", "", "the other side closed the connection during the TLS handshake", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct side side = {.on_event = NULL};
		int fd = open_side(&side);
		assert_int_equal(conn_tls_connect(side.conn, client_ctx, "relay.test"), CONN_TLS_BEGUN);
		char hello[2048];
		run_for(20);
		assert_true(recv(fd, hello, sizeof hello, 0) > 0);
		assert_int_equal(
		    send(fd, rows[i].sends, strlen(rows[i].sends), 0), (ssize_t)strlen(rows[i].sends));
		shutdown(fd, SHUT_WR);
		assert_true(run_until(&side, 'X', 1000));
		assert_string_equal(side.log, "X");
		if (strstr(conn_error(side.conn), rows[i].want) == NULL ||
		    conn_error_is_tls(side.conn) != rows[i].tls)
			fail_msg("%s: %s", rows[i].label, conn_error(side.conn));
		drop(&side);
		close(fd);
	}
}

static void an_old_client_is_refused(void **state)
{
	struct side client = {.on_event = NULL}, server = {.on_event = NULL};
	SSL_CTX *old = SSL_CTX_new(TLS_client_method());

	(void)state;
	SSL_CTX_set_security_level(old, 0);
	SSL_CTX_set_max_proto_version(old, TLS1_1_VERSION);
	open_sides(&client, &server);
	conn_tls_accept(server.conn, server_ctx, 0);
	conn_tls_connect(client.conn, old, "relay.test");
	assert_true(run_until(&server, 'X', 1000));
	assert_true(conn_error_is_tls(server.conn));
	assert_non_null(strstr(conn_error(server.conn), "the other side has no TLS 1.2 or later"));
	drop(&client);
	drop(&server);
	SSL_CTX_free(old);
}

static void cut_without_close_notify_is_an_end(void **state)
{
	struct side server = {.on_event = NULL};

	(void)state;
	int fds[2];
	make_pair(fds);
	fcntl(fds[0], F_SETFL, 0);
	server.conn = conn_accept(base, fds[1], on_event, &server);
	conn_tls_accept(server.conn, server_ctx, 0);
	SSL *ssl = tls_client_new(client_ctx, "relay.test", NULL);
	SSL_set_fd(ssl, fds[0]);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	while (SSL_connect(ssl) != 1)
		event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(SSL_write(ssl, "DATA\r\n", 6), 6);
	close(fds[0]);
	SSL_free(ssl);
	assert_true(run_until(&server, 'E', 1000));
	assert_string_equal(server.log, "TDE");
	drop(&server);
}

/* ---- much, and slowly ---- */

static unsigned char pattern(size_t at)
{
	return (unsigned char)(at * 31 + (at >> 12));
}

static void pump_out(struct side *side)
{
	unsigned char piece[16384];

	while (side->written < side->wanted && conn_pending(side->conn) < 65536) {
		size_t n =
		    side->wanted - side->written < sizeof piece ? side->wanted - side->written : sizeof piece;
		for (size_t i = 0; i < n; i++)
			piece[i] = pattern(side->written + i);
		conn_write(side->conn, piece, n);
		side->written += n;
		assert_true(conn_pending(side->conn) < 65536 + sizeof piece);
	}
}

static void write_much(struct side *side, enum conn_event event)
{
	if (event == CONN_DRAINED)
		pump_out(side);
}

/* Takes input in odd pieces, and now and then stops reading with input left, for the next turn of the loop.
 */
static void take_slowly(struct side *side, enum conn_event event)
{
	if (event == CONN_TIMEOUT)
		conn_set_reading(side->conn, true);
	if (event != CONN_DATA)
		return;
	assert_true(conn_available(side->conn) <= 65536);
	while (conn_available(side->conn) > 0) {
		struct str piece = conn_peek(side->conn);
		size_t n = piece.n > 3001 ? 3001 : piece.n;
		for (size_t i = 0; i < n; i += 97)
			assert_int_equal((unsigned char)piece.p[i], pattern(side->received + i));
		side->received += n;
		conn_consume(side->conn, n);
		if (side->received / 400000 != (side->received - n) / 400000) {
			conn_set_reading(side->conn, false);
			conn_set_timeout(side->conn, 1);
			return;
		}
	}
}

static void transfer(bool tls, size_t wanted)
{
	struct side from = {.wanted = wanted}, to = {.on_event = NULL};

	if (tls)
		open_tls(&from, &to);
	else
		open_sides(&from, &to);
	from.on_event = write_much;
	to.on_event = take_slowly;
	size_t before = mallinfo2().uordblks, peak = 0;
	static const struct timeval limit = {30, 0};
	bool over = false;
	struct event *alarm_event = event_new(base, -1, 0, on_alarm, &over);
	event_add(alarm_event, &limit);
	pump_out(&from);
	while (to.received < wanted && !over) {
		event_base_loop(base, EVLOOP_ONCE);
		size_t now = mallinfo2().uordblks;
		peak = now > before && now - before > peak ? now - before : peak;
	}
	event_free(alarm_event);
	assert_int_equal(to.received, wanted);
	assert_true(peak < 512 * 1024);
	drop(&from);
	drop(&to);
}

static void much_goes_through_plain(void **state)
{
	(void)state;
	transfer(false, 64 << 20);
}

static void much_goes_through_tls(void **state)
{
	(void)state;
	transfer(true, 64 << 20);
}

/* Bytes of another number each time, so that records, chunks of libevent and what the kernel takes end anywhere. */
static void pump_out_at_random(struct side *side)
{
	static unsigned char piece[50000];

	while (side->written < side->wanted && conn_pending(side->conn) < 65536) {
		size_t n = 1 + (size_t)random() % (random() % 2 == 0 ? 200 : sizeof piece);
		if (n > side->wanted - side->written)
			n = side->wanted - side->written;
		for (size_t i = 0; i < n; i++)
			piece[i] = pattern(side->written + i);
		conn_write(side->conn, piece, n);
		side->written += n;
	}
}

static void take_at_random(struct side *side)
{
	while (conn_available(side->conn) > 0) {
		struct str piece = conn_peek(side->conn);
		size_t n = 1 + (size_t)random() % piece.n;
		for (size_t i = 0; i < n; i++)
			assert_int_equal((unsigned char)piece.p[i], pattern(side->received + i));
		side->received += n;
		conn_consume(side->conn, n);
		if (random() % 20 == 0) {
			conn_set_reading(side->conn, false);
			conn_set_timeout(side->conn, 1);
			return;
		}
	}
}

static void write_and_take(struct side *side, enum conn_event event)
{
	if (event == CONN_TIMEOUT)
		conn_set_reading(side->conn, true);
	if (event == CONN_DATA) {
		assert_true(conn_available(side->conn) <= 65536);
		take_at_random(side);
	}
	if (event == CONN_DRAINED || event == CONN_DATA)
		pump_out_at_random(side);
}

static void random_writes_meet_slow_readers(bool tls)
{
	static const int small = 16384;
	struct side a = {.wanted = 4 << 20}, b = {.wanted = 4 << 20};
	int fds[2];

	make_pair(fds);
	for (int i = 0; i < 2; i++)
		setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
	a.conn = conn_accept(base, fds[0], on_event, &a);
	b.conn = conn_accept(base, fds[1], on_event, &b);
	if (tls) {
		assert_int_equal(conn_tls_accept(b.conn, server_ctx, 0), CONN_TLS_BEGUN);
		assert_int_equal(conn_tls_connect(a.conn, client_ctx, "relay.test"), CONN_TLS_BEGUN);
		assert_true(run_until(&a, 'T', 3000) && run_until(&b, 'T', 3000));
	}
	a.on_event = b.on_event = write_and_take;
	srandom(8446);
	pump_out_at_random(&a);
	pump_out_at_random(&b);
	for (int64_t end = clock_mono_ms() + 30000;
	     (a.received < b.wanted || b.received < a.wanted) && clock_mono_ms() < end;)
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(a.received, b.wanted);
	assert_int_equal(b.received, a.wanted);
	drop(&a);
	drop(&b);
}

static void random_writes_meet_slow_readers_plain(void **state)
{
	(void)state;
	random_writes_meet_slow_readers(false);
}

static void random_writes_meet_slow_readers_tls(void **state)
{
	(void)state;
	random_writes_meet_slow_readers(true);
}

/* New keys are asked for while records wait for the kernel (RFC 8446 section 4.6.3). */
static void new_keys_amid_unsent_records(void **state)
{
	struct side server = {.wanted = 2 << 20};
	unsigned char bytes[3000];
	int fds[2];
	size_t updates = 0;

	(void)state;
	make_pair(fds);
	static const int small = 4096;
	setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
	server.conn = conn_accept(base, fds[1], on_event, &server);
	assert_int_equal(conn_tls_accept(server.conn, server_ctx, 0), CONN_TLS_BEGUN);
	SSL *ssl = SSL_new(client_ctx);
	SSL_set_fd(ssl, fds[0]);
	while (SSL_connect(ssl) != 1)
		event_base_loop(base, EVLOOP_NONBLOCK);
	assert_true(run_until(&server, 'T', 3000));
	server.on_event = write_much;
	pump_out(&server);
	for (int64_t end = clock_mono_ms() + 20000;
	     server.received < server.wanted && clock_mono_ms() < end;) {
		int n = SSL_read(ssl, bytes, sizeof bytes);
		for (int i = 0; i < n; i++)
			assert_int_equal(bytes[i], pattern(server.received + (size_t)i));
		server.received += n > 0 ? (size_t)n : 0;
		if (server.received / 100000 > updates && conn_pending(server.conn) > 0) {
			updates = server.received / 100000;
			assert_int_equal(SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED), 1);
			assert_int_equal(SSL_write(ssl, "x", 1), 1);
		}
		event_base_loop(base, EVLOOP_NONBLOCK);
	}
	assert_int_equal(server.received, server.wanted);
	assert_in_range(updates, 5, 30);
	SSL_free(ssl);
	close(fds[0]);
	drop(&server);
}

/* The writer falls silent, and the reader takes nothing until its buffer is full: what OpenSSL holds
 * decrypted must come out all the same. */
static void nothing_is_left_inside_openssl(void **state)
{
	(void)state;
	for (size_t wanted = 38000; wanted < 70000; wanted += 997) {
		struct side from = {.wanted = wanted, .on_event = write_much}, to = {.on_event = NULL};
		open_tls(&from, &to);
		pump_out(&from);
		for (int turn = 0; turn < 2000 && conn_available(to.conn) < 32768; turn++)
			run_for(1);
		for (int turn = 0; turn < 2000 && to.received < wanted; turn++) {
			size_t n = conn_available(to.conn) < 5000 ? conn_available(to.conn) : 5000;
			conn_consume(to.conn, n);
			to.received += n;
			run_for(1);
		}
		assert_int_equal(to.received, wanted);
		drop(&from);
		drop(&to);
	}
}

/* A peer that fills the buffer gets no further than 64 KiB while nobody consumes. */
static void unread_input_is_bounded(void **state)
{
	(void)state;
	for (int tls = 0; tls < 2; tls++) {
		struct side from = {.wanted = 4 << 20, .on_event = write_much}, to = {.on_event = NULL};
		if (tls)
			open_tls(&from, &to);
		else
			open_sides(&from, &to);
		pump_out(&from);
		for (int turn = 0; turn < 2000 && conn_available(to.conn) < 32768; turn++)
			run_for(1);
		run_for(50);
		assert_true(conn_available(to.conn) >= 32768 && conn_available(to.conn) <= 65536);
		drop(&from);
		drop(&to);
	}
}

/* ---- letting go ---- */

/* Frees (or finishes) its connection at the fuse-th event. */
static void burn(struct side *side, enum conn_event event)
{
	(void)event;
	if (--side->fuse > 0)
		return;
	if (side->wanted > 0)
		conn_finish(side->conn);
	else
		conn_free(side->conn);
	side->conn = NULL;
	side->on_event = NULL;
}

/* Every event of a dialogue with TLS is once the last one, on either side, by either way of going. */
static void freed_at_every_event(void **state)
{
	(void)state;
	for (int fuse = 1; fuse < 6; fuse++) {
		for (int variant = 0; variant < 8; variant++) {
			bool tls = (variant & 4) != 0;
			struct side a = {.on_event = burn, .fuse = fuse, .wanted = variant & 1};
			struct side b = {
			    .on_event = (variant & 2) ? burn : NULL, .fuse = fuse, .wanted = variant & 1};
			open_sides(&a, &b);
			if (tls) {
				conn_tls_accept(a.conn, server_ctx, 0);
				conn_tls_connect(b.conn, client_ctx, "relay.test");
			}
			for (int turn = 0; turn < 8; turn++) {
				if (a.conn != NULL)
					conn_write(a.conn, "hello\r\n", 7);
				if (b.conn != NULL)
					conn_write(b.conn, "hello\r\n", 7);
				if (a.conn != NULL && turn == 5)
					conn_set_timeout(a.conn, 1);
				run_for(2);
			}
			drop(&a);
			drop(&b);
		}
	}
	conn_drop_finishing();
	event_base_loop(base, EVLOOP_NONBLOCK);
}

static void free_in_error(struct side *side, enum conn_event event)
{
	if (event == CONN_ERROR || event == CONN_CONNECTED || event == CONN_TIMEOUT || event == CONN_CLOSED) {
		conn_free(side->conn);
		side->conn = NULL;
	}
}

static void freed_at_connect_error_and_timeout(void **state)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	struct side side = {.on_event = free_in_error};

	(void)state;
	int listener = listen_open("127.0.0.1", 0, NULL);
	inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
	address.sin_port = htons(listen_port(listener));
	side.conn = conn_connect(base, (struct sockaddr *)&address, sizeof address, on_event, &side);
	assert_true(run_until(&side, 'C', 1000));
	close(listener);
	side.conn = conn_connect(base, (struct sockaddr *)&address, sizeof address, on_event, &side);
	assert_true(run_until(&side, 'X', 1000));
	int fd = open_side(&side);
	conn_set_timeout(side.conn, 1);
	assert_true(run_until(&side, 'O', 1000));
	close(fd);
	fd = open_side(&side);
	close(fd);
	assert_true(run_until(&side, 'E', 1000));
	assert_null(side.conn);
	conn_free(NULL);
}

static void finish_sends_what_is_queued(void **state)
{
	(void)state;
	for (int tls = 0; tls < 2; tls++) {
		struct side from = {.wanted = 24 << 20}, to = {.on_event = NULL};
		if (tls)
			open_tls(&from, &to);
		else
			open_sides(&from, &to);
		/* The peer's unread input must not turn the end into a reset. */
		conn_write(to.conn, "never read\r\n", 12);
		run_for(10);
		to.on_event = take_slowly;
		unsigned char *all = malloc(from.wanted);
		for (size_t i = 0; i < from.wanted; i++)
			all[i] = pattern(i);
		assert_true(conn_write(from.conn, all, from.wanted) > 0);
		conn_finish(from.conn);
		free(all);
		assert_true(run_until(&to, 'E', 5000));
		assert_false(saw(&to, 'X'));
		assert_int_equal(to.received, from.wanted);
		drop(&to);
		run_for(20);
	}
}

/* A peer that keeps its side open is left after two seconds, and its input does not matter. */
static void finish_does_not_wait_for_ever(void **state)
{
	struct side side = {.on_event = NULL};
	char bytes[64];

	(void)state;
	int fd = open_side(&side);
	conn_write(side.conn, "421 bye\r\n", 9);
	int64_t start = clock_mono_ms();
	conn_finish(side.conn);
	run_for(20);
	assert_int_equal(send(fd, "QUIT\r\n", 6, 0), 6);
	assert_int_equal(recv(fd, bytes, sizeof bytes, 0), 9);
	assert_int_equal(recv(fd, bytes, sizeof bytes, 0), 0);
	event_base_loop(base, 0); /* ends when the last event has gone */
	assert_true(clock_mono_ms() - start >= 1900 && clock_mono_ms() - start < 4000);
	close(fd);
}

static int set_up(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	base = event_base_new();
	ca = cert_make(NULL, "Test CA", NULL, -CERT_DAY, CERT_DAY);
	good = cert_make(
	    &ca, "relay.test", "DNS:relay.test,DNS:mail.test,IP:127.0.0.1,IP:::1", -CERT_DAY, CERT_DAY);
	expired = cert_make(&ca, "old", "DNS:relay.test", -3 * CERT_DAY, -CERT_DAY);
	wildcard = cert_make(&ca, "wild", "DNS:*.wild.test,DNS:x*.part.test", -CERT_DAY, CERT_DAY);
	foreign_ca = cert_make(NULL, "Foreign CA", NULL, -CERT_DAY, CERT_DAY);
	foreign = cert_make(&foreign_ca, "relay.test", "DNS:relay.test", -CERT_DAY, CERT_DAY);
	assert_non_null(mkdtemp(dir));
	snprintf(ca_file, sizeof ca_file, "%s/ca.crt", dir);
	snprintf(good_crt, sizeof good_crt, "%s/good.crt", dir);
	snprintf(good_key, sizeof good_key, "%s/good.key", dir);
	cert_write(&ca, ca_file, NULL, NULL);
	cert_write(&good, good_crt, good_key, NULL);
	server_ctx = tls_server_context(good_crt, good_key, NULL);
	client_ctx = tls_client_context(ca_file, NULL);
	return server_ctx == NULL || client_ctx == NULL;
}

/* What a peer says before it is dismissed: little is read, so that it sees the reply and an end; of much the
 * rest stays, and it sees a reset. */
static void a_dismissed_peer_is_read_for_a_bounded_while(void **state)
{
	static char piece[4096];
	char got[16];
	int fds[2], sent;

	(void)state;
	for (int much = 0; much < 2; much++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
		setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &(int){1024 * 1024}, sizeof(int));
		for (sent = 0; sent < (much ? 1000 : 15) && send(fds[0], piece, sizeof piece, 0) > 0; sent++)
			;
		assert_true(much ? sent > 20 : sent == 15);
		conn_dismiss(fds[1], "421 x\r\n", 7);
		assert_int_equal(recv(fds[0], got, sizeof got, 0), 7);
		assert_int_equal(recv(fds[0], got, sizeof got, 0), much ? -1 : 0);
		close(fds[0]);
	}
}

static int tear_down(void **state)
{
	struct cert *certs[] = {&ca, &good, &expired, &wildcard, &foreign_ca, &foreign};

	(void)state;
	unlink(ca_file);
	unlink(good_crt);
	unlink(good_key);
	rmdir(dir);
	for (size_t i = 0; i < sizeof certs / sizeof certs[0]; i++)
		cert_free(certs[i]);
	SSL_CTX_free(server_ctx);
	SSL_CTX_free(client_ctx);
	event_base_free(base);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lines_whole_and_one_byte_at_a_time),
	    cmocka_unit_test(bytes_are_peeked_and_consumed),
	    cmocka_unit_test(lines_left_come_again_and_the_end_last),
	    cmocka_unit_test(data_comes_before_the_end),
	    cmocka_unit_test(connect_gets_through_or_says_why),
	    cmocka_unit_test(a_short_answer_goes_out_at_once),
	    cmocka_unit_test(a_reset_is_an_error_and_no_signal),
	    cmocka_unit_test(a_reset_behind_input_is_an_error),
	    cmocka_unit_test(what_came_before_a_failed_write_is_read),
	    cmocka_unit_test(timeouts),
	    cmocka_unit_test(an_idle_connection_is_cheap),
	    cmocka_unit_test(tls_both_ways_one_byte_at_a_time),
	    cmocka_unit_test(plain_text_before_tls_is_refused),
	    cmocka_unit_test(tls_does_not_begin_with_a_peer_that_has_gone),
	    cmocka_unit_test(tls_waits_for_unsent_output),
	    cmocka_unit_test(the_client_verifies),
	    cmocka_unit_test(a_client_can_describe_whom_it_has_verified),
	    cmocka_unit_test(the_server_hears_of_a_refusal),
	    cmocka_unit_test(peers_that_do_not_speak_tls),
	    cmocka_unit_test(an_old_client_is_refused),
	    cmocka_unit_test(cut_without_close_notify_is_an_end),
	    cmocka_unit_test(much_goes_through_plain),
	    cmocka_unit_test(much_goes_through_tls),
	    cmocka_unit_test(random_writes_meet_slow_readers_plain),
	    cmocka_unit_test(random_writes_meet_slow_readers_tls),
	    cmocka_unit_test(new_keys_amid_unsent_records),
	    cmocka_unit_test(nothing_is_left_inside_openssl),
	    cmocka_unit_test(unread_input_is_bounded),
	    cmocka_unit_test(freed_at_every_event),
	    cmocka_unit_test(freed_at_connect_error_and_timeout),
	    cmocka_unit_test(finish_sends_what_is_queued),
	    cmocka_unit_test(finish_does_not_wait_for_ever),
	    cmocka_unit_test(a_dismissed_peer_is_read_for_a_bounded_while),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
