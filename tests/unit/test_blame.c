/* blame.c: whether the road, or a message alone, bears what an attempt has brought back. The spool is stood in for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "catalogue/catalogue.h"
#include "sender/attempt.h"
#include "sender/blame.h"
#include "sender/lane.h"
#include "sender/queue.h"
#include "smtp/reply.h"
#include "spool/spool.h"

#define UNREGISTERED "550 5.7.750 Client blocked from sending from unregistered domains"
#define DAILY_LIMIT  "550 5.1.90 Your message can't be sent because you've reached your daily limit"
#define OUTSIDE	     "550 5.7.64 TenantAttribution; Relay Access Denied"

static struct envelope envelope;

const struct envelope *spool_envelope(const struct spool_message *message)
{
	(void)message;
	return &envelope;
}

/* --- a lane, and what comes back by it --- */

static struct lane lane;
static unsigned proofs;
static int64_t now_ms;

static int set_up(void **state)
{
	(void)state;
	lane = (struct lane){.last_proof = 0};
	proofs = 0;
	now_ms = 1000;
	return 0;
}

static void fail_one(struct recipient_result *recipient, const char *line)
{
	struct reply reply = {.code = 0};
	struct failure failure;

	assert_int_equal(reply_feed(&reply, str_of(line)), REPLY_DONE);
	failure_from_reply(&failure, &reply, UPSTREAM_CONNECTOR, PHASE_RCPT);
	attempt_fail_one(recipient, &failure);
}

/* As upstream.c does with it: whether the lane is held. */
static bool holds(struct attempt *attempt)
{
	bool is_held = blame_road(&lane, attempt, proofs, now_ms) != NULL;

	if (!is_held && attempt_proves_road(attempt)) {
		lane.last_proof = ++proofs;
		blame_proved(&lane, attempt, now_ms);
	}
	return is_held;
}

/* A message of this device for two; each answered with its line, or taken (NULL). */
static bool comes_back(struct message *message, const char *device, const char *first, const char *second)
{
	struct attempt *attempt = attempt_new(message, 0, NULL, 2);
	const char *const lines[] = {first, second};

	envelope = (struct envelope){.device = (char *)device, .sender = "scan@x.test"};
	attempt->count = 2;
	for (size_t i = 0; i < 2; i++)
		if (lines[i] != NULL)
			fail_one(&attempt->recipients[i], lines[i]);
	bool is_held = holds(attempt);
	attempt_free(attempt);
	return is_held;
}

/* A new message, whose two are both answered so. */
static bool holds_for(const char *device, const char *line)
{
	struct message message = {.id = "id"};

	return comes_back(&message, device, line, line);
}

/* --- the cases --- */

static void a_device_that_is_refused_each_time_holds_the_lane_once(void **state)
{
	(void)state;
	assert_true(holds_for("wrong", UNREGISTERED));
	assert_false(holds_for("right", NULL));
	for (int i = 0; i < 20; i++)
		assert_false(holds_for("wrong", UNREGISTERED));
}

static void what_another_device_meets_too_holds_it_again(void **state)
{
	(void)state;
	assert_true(holds_for("wrong", UNREGISTERED));
	assert_false(holds_for("right", NULL));
	assert_false(holds_for("wrong", UNREGISTERED));
	assert_true(holds_for("right", UNREGISTERED));
	assert_true(holds_for("wrong", UNREGISTERED));
}

static void two_devices_that_are_refused_each_time_hold_the_lane_once_each(void **state)
{
	(void)state;
	assert_true(holds_for("wrong", UNREGISTERED));
	assert_false(holds_for("right", NULL));
	assert_true(holds_for("wrong too", UNREGISTERED));
	assert_false(holds_for("right", NULL));
	for (int i = 0; i < 20; i++) {
		assert_false(holds_for("wrong", UNREGISTERED));
		assert_false(holds_for("wrong too", UNREGISTERED));
	}
}

/* A mailbox that is full again weeks later, at night, when only one device sends. */
static void what_others_have_sent_long_ago_does_not_speak_against_it(void **state)
{
	(void)state;
	assert_true(holds_for("nightly", UNREGISTERED));
	assert_false(holds_for("right", NULL));
	assert_false(holds_for("nightly", NULL));
	now_ms += BLAME_OTHERS_MS;
	assert_true(holds_for("nightly", UNREGISTERED));
}

static void more_devices_than_it_remembers_hold_it_again(void **state)
{
	char device[32];

	(void)state;
	for (int i = 0; i < BLAMES_MAX + 1; i++) {
		snprintf(device, sizeof device, "wrong %d", i);
		assert_true(holds_for(device, UNREGISTERED));
	}
	assert_false(holds_for("right", NULL));
	assert_false(holds_for(device, UNREGISTERED));
	assert_true(holds_for("wrong 0", UNREGISTERED));
}

static void another_cause_holds_it_again(void **state)
{
	(void)state;
	assert_true(holds_for("wrong", UNREGISTERED));
	assert_false(holds_for("right", NULL));
	assert_true(holds_for("wrong", OUTSIDE));
}

/* The only device there is: that it has sent before does not tell its trouble from the road's. */
static void what_a_device_has_sent_itself_does_not_speak_against_it(void **state)
{
	(void)state;
	assert_true(holds_for("only", OUTSIDE));
	assert_false(holds_for("only", NULL));
	assert_true(holds_for("only", OUTSIDE));
}

static void a_limit_of_the_mailbox_is_no_devices_own(void **state)
{
	(void)state;
	assert_true(holds_for("busy", DAILY_LIMIT));
	assert_false(holds_for("other", NULL));
	assert_true(holds_for("busy", DAILY_LIMIT));
}

static void a_message_that_is_refused_again_has_it_to_itself(void **state)
{
	struct message message = {.id = "id"};

	(void)state;
	assert_true(comes_back(&message, "only", OUTSIDE, OUTSIDE));
	assert_true(comes_back(&message, "only", OUTSIDE, OUTSIDE));
	assert_false(holds_for("only", NULL));
	assert_false(comes_back(&message, "only", OUTSIDE, OUTSIDE));
}

static void a_transaction_that_has_delivered_holds_the_lane_for_nothing_of_the_configuration(void **state)
{
	struct message message = {.id = "id"};

	(void)state;
	assert_false(comes_back(&message, "mixed", NULL, OUTSIDE));
	assert_int_equal(proofs, 1);
	/* Its other recipient, in the next. */
	assert_false(comes_back(&message, "mixed", OUTSIDE, OUTSIDE));
	assert_true(comes_back(&message, "mixed", NULL, DAILY_LIMIT));
}

static void what_the_upstream_never_saw_proves_nothing(void **state)
{
	struct message message = {.id = "id"};
	struct attempt *attempt = attempt_new(&message, 0, NULL, 1);
	struct failure failure;

	(void)state;
	failure_from_trouble(&failure, ROAD_TOO_LARGE, "the message has 2 bytes, the upstream takes 1");
	attempt->count = 1;
	attempt_fail(attempt, &failure, false);
	attempt->unseen = true;
	assert_false(holds(attempt));
	assert_int_equal(proofs, 0);
	/* The server's own refusal of it does. */
	attempt->unseen = false;
	assert_false(holds(attempt));
	assert_int_equal(proofs, 1);
	attempt_free(attempt);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(a_device_that_is_refused_each_time_holds_the_lane_once, set_up),
	    cmocka_unit_test_setup(what_another_device_meets_too_holds_it_again, set_up),
	    cmocka_unit_test_setup(two_devices_that_are_refused_each_time_hold_the_lane_once_each, set_up),
	    cmocka_unit_test_setup(what_others_have_sent_long_ago_does_not_speak_against_it, set_up),
	    cmocka_unit_test_setup(more_devices_than_it_remembers_hold_it_again, set_up),
	    cmocka_unit_test_setup(another_cause_holds_it_again, set_up),
	    cmocka_unit_test_setup(what_a_device_has_sent_itself_does_not_speak_against_it, set_up),
	    cmocka_unit_test_setup(a_limit_of_the_mailbox_is_no_devices_own, set_up),
	    cmocka_unit_test_setup(a_message_that_is_refused_again_has_it_to_itself, set_up),
	    cmocka_unit_test_setup(
		a_transaction_that_has_delivered_holds_the_lane_for_nothing_of_the_configuration, set_up),
	    cmocka_unit_test_setup(what_the_upstream_never_saw_proves_nothing, set_up),
	};

	return cmocka_run_group_tests_name("blame", tests, NULL, NULL);
}
