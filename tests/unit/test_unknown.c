/* The list of refused peers: told over a socket pair, merged, bounded, and read again from its file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <event2/event.h>

#include "base/log.h"
#include "listener/strangers.h"
#include "sender/unknown.h"
#include "spool/spool.h"
#include "supervisor/handover.h"

struct fixture {
	char folder[40];
	struct event_base *base;
	struct spool *spool;
	struct unknown *unknown;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct err err = {""};

	memcpy(f->folder, "/tmp/mfdrelay-unknown-XXXXXX", 29);
	assert_non_null(mkdtemp(f->folder));
	assert_int_equal(spool_prepare(f->folder, (uid_t)-1, (gid_t)-1, &err), 0);
	f->base = event_base_new();
	f->spool = spool_open(f->folder, NULL, 4096, &err);
	f->unknown = unknown_new(f->base, f->spool);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	char command[64];

	unknown_free(f->unknown);
	spool_close(f->spool);
	event_base_free(f->base);
	snprintf(command, sizeof command, "rm -r %s", f->folder);
	free(f);
	return system(command);
}

static struct in6_addr address_of(const char *text)
{
	struct in6_addr address;

	assert_int_equal(inet_pton(AF_INET6, text, &address), 1);
	return address;
}

static struct handover_stranger stranger(const char *address, const char *helo)
{
	struct handover_stranger s = {.kind = HANDOVER_STRANGER,
	    .sender = "scan@contoso.com",
	    .address = address_of(address),
	    .count = 1};

	snprintf(s.helo, sizeof s.helo, "%s", helo);
	return s;
}

static void learn(struct fixture *f, const char *address, const char *helo, int64_t wall_ms)
{
	struct handover_stranger one = stranger(address, helo);

	unknown_learn(f->unknown, &one, wall_ms);
}

static const char *text_at(const json_t *peers, size_t i, const char *key)
{
	return json_string_value(json_object_get(json_array_get(peers, i), key));
}

static json_int_t number_at(const json_t *peers, size_t i, const char *key)
{
	return json_integer_value(json_object_get(json_array_get(peers, i), key));
}

static void the_newest_is_first_and_an_address_stands_there_once(void **state)
{
	struct fixture *f = *state;

	learn(f, "::ffff:192.0.2.1", "one", 1000);
	learn(f, "fd00:3::17", "two", 2000);
	learn(f, "::ffff:192.0.2.1", "one again", 3000);
	json_t *peers = unknown_json(f->unknown);
	assert_int_equal(json_array_size(peers), 2);
	assert_string_equal(text_at(peers, 0, "address"), "192.0.2.1");
	assert_string_equal(text_at(peers, 0, "helo"), "one again");
	assert_string_equal(text_at(peers, 0, "sender"), "scan@contoso.com");
	assert_int_equal(number_at(peers, 0, "count"), 2);
	assert_int_equal(number_at(peers, 0, "first_ms"), 1000);
	assert_int_equal(number_at(peers, 0, "last_ms"), 3000);
	assert_string_equal(text_at(peers, 1, "address"), "fd00:3::17");
	json_decref(peers);
}

static void of_too_many_the_oldest_go(void **state)
{
	struct fixture *f = *state;
	char text[32];

	for (unsigned i = 0; i < UNKNOWN_MAX + 10; i++) {
		snprintf(text, sizeof text, "::ffff:10.0.%u.%u", i / 200, i % 200);
		learn(f, text, "x", i);
	}
	json_t *peers = unknown_json(f->unknown);
	assert_int_equal(json_array_size(peers), UNKNOWN_MAX);
	assert_string_equal(text_at(peers, 0, "address"), "10.0.1.65");
	assert_string_equal(text_at(peers, UNKNOWN_MAX - 1, "address"), "10.0.0.10");
	json_decref(peers);
}

static void it_is_kept_over_a_restart(void **state)
{
	struct fixture *f = *state;
	struct err err = {""};

	learn(f, "::ffff:192.0.2.1", "say \"hello\"", 1000);
	learn(f, "::ffff:192.0.2.2", "", 2000);
	json_t *before = unknown_json(f->unknown);
	unknown_free(f->unknown);
	json_t *read = unknown_read(f->spool, &err);
	assert_true(json_equal(before, read));
	f->unknown = unknown_new(f->base, f->spool);
	json_t *after = unknown_json(f->unknown);
	assert_true(json_equal(before, after));
	json_decref(before);
	json_decref(read);
	json_decref(after);
}

static void what_the_listener_says_is_made_fit_to_be_shown(void **state)
{
	struct fixture *f = *state;
	struct handover_stranger one;

	memset(&one, 0xff, sizeof one);
	one.helo[0] = '\n';
	one.helo[1] = '"';
	unknown_learn(f->unknown, &one, 1);
	unknown_learn(f->unknown, &one, 2);
	json_t *peers = unknown_json(f->unknown);
	assert_int_equal(json_array_size(peers), 1);
	assert_int_equal(strlen(text_at(peers, 0, "helo")), HANDOVER_HELO);
	assert_memory_equal(text_at(peers, 0, "helo"), "?\"??", 4);
	assert_int_equal(strlen(text_at(peers, 0, "recipient")), ADDRESS_MAX);
	assert_true(number_at(peers, 0, "count") > 0);
	json_decref(peers);
}

static void a_damaged_file_is_left_out_and_written_anew(void **state)
{
	static const char *const texts[] = {"", "[", "{}", "[ {} ]", "[ 1 ]",
	    "[ { \"address\": \"x\", \"helo\": \"\", \"sender\": \"\", \"recipient\": \"\", \"count\": 0, "
	    "\"first_ms\": 1, \"last_ms\": 1 } ]"};
	struct fixture *f = *state;
	struct err err = {""};
	char path[64];

	snprintf(path, sizeof path, "%s/var/unknown", f->folder);
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		unknown_free(f->unknown);
		FILE *file = fopen(path, "w");
		fputs(texts[i], file);
		fclose(file);
		assert_null(unknown_read(f->spool, &err));
		f->unknown = unknown_new(f->base, f->spool);
		json_t *peers = unknown_json(f->unknown);
		assert_int_equal(json_array_size(peers), 0);
		json_decref(peers);
		learn(f, "::ffff:192.0.2.1", "x", 1);
		unknown_free(f->unknown);
		peers = unknown_read(f->spool, &err);
		assert_int_equal(json_array_size(peers), 1);
		json_decref(peers);
		f->unknown = unknown_new(f->base, f->spool);
	}
}

static void the_listener_tells_each_address_once_with_its_count(void **state)
{
	struct fixture *f = *state;
	struct in6_addr a = address_of("::ffff:192.0.2.1"), b = address_of("fd00:3::17");
	struct handover_stranger got;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
	struct strangers *strangers = strangers_new(f->base, fds[0]);
	strangers_note(strangers, &a, "name", "a@b", "c@d");
	strangers_note(strangers, &b, NULL, "", "c@d");
	strangers_note(strangers, &a, "other name", "a@b", "e@f");
	assert_true(recv(fds[1], &got, sizeof got, MSG_DONTWAIT) < 0);
	event_base_loop(f->base, EVLOOP_ONCE);
	assert_int_equal(recv(fds[1], &got, sizeof got, 0), sizeof got);
	assert_int_equal(got.kind, HANDOVER_STRANGER);
	assert_int_equal(got.count, 2);
	assert_string_equal(got.helo, "other name");
	assert_string_equal(got.recipient, "e@f");
	assert_int_equal(recv(fds[1], &got, sizeof got, 0), sizeof got);
	assert_string_equal(got.helo, "");
	assert_int_equal(got.count, 1);
	/* What is not told yet goes at the end. */
	strangers_note(strangers, &a, "last", "a@b", "e@f");
	strangers_free(strangers);
	assert_int_equal(recv(fds[1], &got, sizeof got, 0), sizeof got);
	assert_int_equal(got.count, 1);
	strangers_note(NULL, &a, "x", "x", "x");
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		the_newest_is_first_and_an_address_stands_there_once, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(of_too_many_the_oldest_go, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(it_is_kept_over_a_restart, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		what_the_listener_says_is_made_fit_to_be_shown, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_damaged_file_is_left_out_and_written_anew, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		the_listener_tells_each_address_once_with_its_count, set_up, tear_down),
	};

	log_set_level((enum log_level)0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
