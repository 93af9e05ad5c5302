/* queue.c and delivery.c together, on a spool that is one message in memory: which recipients go when, and what an
 * attempt's results make of them. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/counters.h"
#include "config/config.h"
#include "sender/attempt.h"
#include "sender/delivery.h"
#include "sender/queue.h"
#include "sender/queue_count.h"
#include "sender/scheduler.h"
#include "smtp/reply.h"
#include "spool/spool.h"

#define RECIPIENTS 120

/* --- the spool --- */

static struct envelope envelope;
static struct state state;
static struct spool_message *const held = (struct spool_message *)&envelope;
static enum spool_take take_result;
static int retired, saved;
static int saves_left = -1;    /* that the disk takes; -1: all */
static const char *reports_to; /* NULL: to nobody */

enum spool_take spool_set_aside(struct spool *spool, const char *id, const char *reason, struct err *err)
{
	(void)spool;
	(void)id;
	(void)reason;
	(void)err;
	return SPOOL_TROUBLE;
}

enum spool_take spool_take(struct spool *spool, const char *id, struct spool_message **out, struct err *err)
{
	(void)spool;
	(void)id;
	(void)err;
	*out = take_result == SPOOL_TAKEN ? held : NULL;
	return take_result;
}

void spool_release(struct spool_message *message)
{
	(void)message;
}

const struct envelope *spool_envelope(const struct spool_message *message)
{
	(void)message;
	return &envelope;
}

struct state *spool_state(struct spool_message *message)
{
	(void)message;
	return &state;
}

int spool_scan(struct spool *spool, bool (*fn)(void *arg, const char *id), void *arg, struct err *err)
{
	(void)spool;
	(void)fn;
	(void)arg;
	(void)err;
	return 0;
}

void spool_save(struct spool_message *message, spool_done_fn *fn, void *arg)
{
	(void)message;
	const char *error = saves_left == 0 ? "Input/output error" : NULL;

	saved++;
	if (saves_left > 0)
		saves_left--;
	fn(arg, &(struct spool_result){.error = error});
}

void spool_retire(struct spool_message *message)
{
	(void)message;
	retired++;
}

void spool_fail(struct spool_message *message, spool_done_fn *fn, void *arg)
{
	(void)message;
	fn(arg, &(struct spool_result){.error = NULL});
}

const char *report_recipient(const struct config *of, struct spool_message *message)
{
	(void)of;
	(void)message;
	return reports_to;
}

struct spool_draft *report_begin(const struct config *of, struct spool *spool, struct spool_message *message,
    const char *recipient, struct err *err)
{
	(void)of;
	(void)spool;
	(void)message;
	(void)recipient;
	(void)err;
	return (struct spool_draft *)&envelope;
}

void spool_commit(struct spool_draft *draft, bool reserved, spool_done_fn *fn, void *arg)
{
	(void)draft;
	(void)reserved;
	fn(arg, &(struct spool_result){.error = NULL});
}

/* --- the sender --- */

static struct upstream_config upstream = {.name = "up"};
static struct route route;
static struct config config = {.upstreams = &upstream,
    .upstream_count = 1,
    .routes = &route,
    .route_count = 1,
    .retry = {.first_ms = 60000, .max_ms = 7200000, .give_up_ms = 432000000}};
static struct counters counters;
static struct scheduler *scheduler;
static struct queue *queue;
static struct delivery *delivery;
static int64_t now_ms;

static void on_changed(void *arg)
{
	(void)arg;
}

static void set_up_limited(size_t recipients, size_t limit)
{
	static char *patterns[] = {"*"}, *addresses[RECIPIENTS];
	static size_t via[] = {0};
	static char texts[RECIPIENTS][32];

	for (size_t i = 0; i < recipients; i++) {
		snprintf(texts[i], sizeof texts[i], "u%zu@x.test", i);
		addresses[i] = texts[i];
	}
	route = (struct route){.recipients = patterns, .recipient_count = 1, .via = via, .via_count = 1};
	envelope =
	    (struct envelope){.sender = "a@x.test", .recipients = addresses, .recipient_count = recipients};
	state_init(&state, recipients);
	take_result = SPOOL_TAKEN;
	retired = saved = 0;
	saves_left = -1;
	reports_to = NULL;
	now_ms = clock_mono_ms();
	upstream.limits.recipients = (unsigned)limit;
	scheduler = scheduler_new(2, 1);
	queue = queue_new(&config, NULL, scheduler);
	delivery = delivery_new(NULL, &config, NULL, queue, &counters, on_changed, NULL);
}

static void set_up(size_t recipients)
{
	set_up_limited(recipients, 0);
}

static int tear_down(void **unused)
{
	(void)unused;
	queue_free(queue);
	delivery_free(delivery);
	scheduler_free(scheduler);
	state_free(&state);
	return 0;
}

static void learn(void)
{
	queue_learn(queue, "1j0ur49jjr08tb8f9");
	queue_read_one(queue);
}

/* The next attempt when ms more have passed, or NULL. */
static struct attempt *take_after(int64_t ms)
{
	now_ms += ms;
	scheduler_advance(scheduler, now_ms);
	return queue_take(queue, 0, SIZE_MAX);
}

/* Every recipient from the index-th of the attempt on gets that reply to its RCPT. */
static void refuse_from(
    struct attempt *attempt, size_t index, int code, const char *enhanced, const char *text)
{
	struct reply reply = {.code = code};
	struct failure failure;

	snprintf(reply.enhanced, sizeof reply.enhanced, "%s", enhanced);
	snprintf(reply.text, sizeof reply.text, "%s", text);
	failure_from_reply(&failure, &reply, UPSTREAM_SUBMISSION, PHASE_RCPT);
	for (size_t i = index; i < attempt->count; i++)
		attempt_fail_one(&attempt->recipients[i], &failure);
}

/* --- the tests --- */

static void assert_without_route(size_t messages)
{
	struct queue_counts counts;

	queue_count(queue, &counts);
	assert_int_equal(counts.messages, 1);
	assert_int_equal(counts.without_route, messages);
}

static void what_somebody_else_holds_is_not_without_a_route(void **unused)
{
	(void)unused;
	set_up(1);
	route.recipients = (char *[]){"*@elsewhere.test"};
	take_result = SPOOL_BUSY;
	learn();
	assert_without_route(0);
	take_result = SPOOL_TAKEN;
	assert_null(take_after(1100));
	queue_revisit(queue);
	assert_true(queue_read_one(queue));
	assert_without_route(1);
}

static void a_wait_is_over_when_it_has_passed_though_the_clock_was_set_back(void **unused)
{
	(void)unused;
	set_up(1);
	state.recipients[0].wait_ms = 60000;
	state.recipients[0].next_ms = clock_wall_ms() + 7200000;
	learn();
	assert_null(take_after(50000));
	struct attempt *attempt = take_after(11000);
	assert_non_null(attempt);
	delivery_judge(delivery, attempt);
	assert_int_equal(retired, 1);
}

static void what_found_no_room_in_a_transaction_goes_in_the_next_at_once(void **unused)
{
	(void)unused;
	set_up(5);
	learn();
	struct attempt *attempt = take_after(0);
	assert_int_equal(attempt->count, 5);
	refuse_from(attempt, 2, 452, "4.5.3", "Too many recipients");
	delivery_judge(delivery, attempt);
	attempt = take_after(0);
	assert_non_null(attempt);
	assert_int_equal(attempt->count, 3);
	assert_int_equal(state.recipients[4].attempts, 0);
	/* A transaction that takes nobody is refused like any other. */
	refuse_from(attempt, 0, 452, "4.5.3", "Too many recipients");
	delivery_judge(delivery, attempt);
	assert_null(take_after(0));
	assert_int_equal(state.recipients[4].attempts, 1);
	attempt = take_after(61000);
	assert_int_equal(attempt->count, 3);
	delivery_judge(delivery, attempt);
	assert_int_equal(retired, 1);
}

static void what_is_perhaps_taken_is_saved_though_the_road_bears_the_blame(void **unused)
{
	struct failure failure;

	(void)unused;
	set_up(1);
	learn();
	struct attempt *attempt = take_after(0);
	failure_from_trouble(&failure, ROAD_CERTIFICATE, "certificate has expired");
	assert_int_equal(failure.cause->outcome, OUTCOME_C);
	attempt->recipients[0].accepted = attempt->perhaps_taken = true;
	attempt_fail(attempt, &failure, false);
	delivery_judge(delivery, attempt);
	assert_string_equal(state.recipients[0].perhaps_taken_by, "up");
	assert_int_equal(state.recipients[0].attempts, 0);
	assert_int_equal(saved, 1);
}

static void a_long_list_goes_in_as_many_messages_as_the_upstream_wants(void **unused)
{
	static const size_t counts[] = {50, 50, 20};

	(void)unused;
	set_up_limited(RECIPIENTS, 50);
	learn();
	for (size_t i = 0; i < 3; i++) {
		struct attempt *attempt = take_after(0);
		assert_non_null(attempt);
		assert_int_equal(attempt->count, counts[i]);
		assert_int_equal(attempt->recipients[0].index, 50 * i);
		delivery_judge(delivery, attempt);
	}
	assert_int_equal(retired, 1);
}

static void a_message_with_too_many_recipients_goes_in_halves_and_so_does_the_next(void **unused)
{
	static const size_t counts[] = {60, 60};

	(void)unused;
	set_up(RECIPIENTS);
	learn();
	struct attempt *attempt = take_after(0);
	assert_int_equal(attempt->count, RECIPIENTS);
	refuse_from(attempt, 0, 550, "5.5.3", "RESOLVER.ADR.RecipLimit; too many recipients");
	delivery_judge(delivery, attempt);
	assert_int_equal(state.recipients[0].status, RECIPIENT_PENDING);
	assert_int_equal(state.recipients[0].attempts, 0);
	for (size_t i = 0; i < 2; i++) {
		attempt = take_after(0);
		assert_non_null(attempt);
		assert_int_equal(attempt->count, counts[i]);
		delivery_judge(delivery, attempt);
	}
	assert_int_equal(retired, 1);
	assert_false(queue_limit_recipients(queue, 0, 60));
}

static void those_beyond_the_limit_follow_those_the_mailbox_took(void **unused)
{
	(void)unused;
	set_up(5);
	learn();
	struct attempt *attempt = take_after(0);
	refuse_from(attempt, 3, 550, "5.5.3", "RESOLVER.ADR.RecipLimit; too many recipients");
	delivery_judge(delivery, attempt);
	attempt = take_after(0);
	assert_int_equal(attempt->count, 2);
	assert_false(queue_limit_recipients(queue, 0, 3));
	/* One that is too many by itself is refused. */
	refuse_from(attempt, 1, 550, "5.5.3", "RESOLVER.ADR.RecipLimit; too many recipients");
	delivery_judge(delivery, attempt);
	attempt = take_after(0);
	assert_int_equal(attempt->count, 1);
	refuse_from(attempt, 0, 550, "5.5.3", "RESOLVER.ADR.RecipLimit; too many recipients");
	delivery_judge(delivery, attempt);
	assert_int_equal(state.recipients[4].status, RECIPIENT_REPORTED);
}

static void a_busy_recipient_waits_an_hour_and_nobody_with_it(void **unused)
{
	(void)unused;
	set_up(2);
	learn();
	struct attempt *attempt = take_after(0);
	refuse_from(
	    attempt, 1, 550, "5.2.122", "The recipient has exceeded their limit for receiving messages");
	assert_null(attempt_road_failure(attempt));
	delivery_judge(delivery, attempt);
	assert_int_equal(state.recipients[0].status, RECIPIENT_DELIVERED);
	assert_null(take_after(3500000));
	attempt = take_after(101000);
	assert_int_equal(attempt->count, 1);
	delivery_judge(delivery, attempt);
	assert_int_equal(retired, 1);
}

static void outside_mail_beyond_the_tenants_limit_waits_while_inside_mail_flows(void **unused)
{
	(void)unused;
	set_up(2);
	learn();
	struct attempt *attempt = take_after(0);
	refuse_from(attempt, 1, 550, "5.7.233", "Your tenant has exceeded its limit of external recipients");
	assert_null(attempt_road_failure(attempt));
	delivery_judge(delivery, attempt);
	assert_int_equal(state.recipients[0].status, RECIPIENT_DELIVERED);
	assert_int_equal(state.recipients[1].status, RECIPIENT_PENDING);
	assert_null(take_after(3500000));
	attempt = take_after(101000);
	assert_int_equal(attempt->count, 1);
	delivery_judge(delivery, attempt);
	assert_int_equal(retired, 1);
}

static void a_message_whose_trouble_is_its_own_is_charged_with_it(void **unused)
{
	(void)unused;
	set_up(1);
	learn();
	struct attempt *attempt = take_after(0);
	refuse_from(attempt, 0, 550, "5.7.750", "Client blocked from sending from unregistered domains");
	delivery_judge(delivery, attempt);
	assert_int_equal(state.recipients[0].attempts, 0);
	attempt = take_after(0);
	refuse_from(attempt, 0, 550, "5.7.750", "Client blocked from sending from unregistered domains");
	attempt->own_trouble = true;
	delivery_judge(delivery, attempt);
	assert_int_equal(state.recipients[0].attempts, 1);
	assert_null(take_after(0));
	attempt = take_after(61000);
	assert_non_null(attempt);
	delivery_judge(delivery, attempt);
}

static void a_persons_wish_outlives_a_connection_that_came_to_nothing(void **unused)
{
	(void)unused;
	set_up(1);
	state.recipients[0].wait_ms = 60000;
	state.recipients[0].next_ms = clock_wall_ms() + 60000;
	learn();
	assert_null(take_after(0));
	assert_true(queue_force(queue, "1j0ur49jjr08tb8f9"));
	struct attempt *attempt = take_after(1000);
	assert_non_null(attempt);
	refuse_from(attempt, 0, 421, "4.3.2", "Service not available");
	attempt->not_begun = true;
	delivery_judge(delivery, attempt);
	attempt = take_after(0);
	assert_non_null(attempt);
	refuse_from(attempt, 0, 451, "4.3.2", "Temporary server error");
	delivery_judge(delivery, attempt);
	assert_null(take_after(0));
}

static void a_report_waits_until_the_disk_knows_that_it_was_made(void **unused)
{
	(void)unused;
	set_up(3);
	reports_to = "a@x.test";
	learn();
	struct attempt *attempt = take_after(0);
	refuse_from(attempt, 2, 452, "4.5.3", "Too many recipients");
	refuse_from(attempt, 1, 550, "5.1.10", "Recipient not found");
	saves_left = 1; /* that somebody was refused, but not that it was told */
	delivery_judge(delivery, attempt);
	assert_int_equal(saved, 2);
	assert_int_equal(scheduler_ready(scheduler, 0), 1);
	assert_true(queue_read_one(queue));
	assert_int_equal(scheduler_ready(scheduler, 0), 1);
	saves_left = -1;
	delivery_judge(delivery, take_after(0));
	assert_int_equal(saved, 3);
	state.recipients[0].status = RECIPIENT_PENDING; /* the report's own, in this spool of one message */
	scheduler_advance(scheduler, now_ms + 2000);
	queue_revisit(queue);
	assert_true(queue_read_one(queue));
	assert_int_equal(scheduler_ready(scheduler, 0), 1);
}

/* One recipient goes by the first upstream, one by the second; each could go by the other. The second is down then. */
static void set_up_detour(bool take_first, struct attempt **attempt)
{
	static struct upstream_config upstreams[] = {{.name = "first"}, {.name = "second"}};
	static char *firsts[] = {"u0@x.test"}, *seconds[] = {"u1@x.test"};
	static size_t via[] = {0, 1, 0};
	static struct route routes[] = {
	    {.recipients = firsts, .recipient_count = 1, .via = &via[0], .via_count = 2},
	    {.recipients = seconds, .recipient_count = 1, .via = &via[1], .via_count = 2}};

	set_up(2);
	queue_free(queue);
	scheduler_free(scheduler);
	delivery_free(delivery);
	config = (struct config){.upstreams = upstreams,
	    .upstream_count = 2,
	    .routes = routes,
	    .route_count = 2,
	    .retry = config.retry};
	scheduler = scheduler_new(3, 1);
	queue = queue_new(&config, NULL, scheduler);
	delivery = delivery_new(NULL, &config, NULL, queue, &counters, on_changed, NULL);
	learn();
	assert_int_equal(scheduler_ready(scheduler, 0), 1);
	assert_int_equal(scheduler_ready(scheduler, 1), 1);
	*attempt = take_first ? take_after(0) : NULL;
	queue_set_detours(queue, &(struct detours){.down = ROAD_BIT(1)});
	queue_reroute(queue, 1);
}

static int tear_down_detour(void **unused)
{
	tear_down(unused);
	config = (struct config){.upstreams = &upstream,
	    .upstream_count = 1,
	    .routes = &route,
	    .route_count = 1,
	    .retry = config.retry};
	return 0;
}

static void what_stands_ready_for_a_road_that_is_down_goes_by_another(void **unused)
{
	struct attempt *attempt;

	(void)unused;
	set_up_detour(false, &attempt);
	assert_int_equal(scheduler_ready(scheduler, 1), 0);
	assert_true(queue_read_one(queue));
	attempt = take_after(0);
	assert_int_equal(attempt->count, 2);
	delivery_judge(delivery, attempt);
	assert_int_equal(retired, 1);
}

static void what_is_under_way_keeps_the_rest_of_its_message_where_it_is(void **unused)
{
	struct attempt *attempt;

	(void)unused;
	set_up_detour(true, &attempt);
	assert_int_equal(attempt->count, 1);
	assert_int_equal(scheduler_ready(scheduler, 1), 1);
	assert_false(queue_read_one(queue));
	delivery_judge(delivery, attempt);
	assert_int_equal(scheduler_ready(scheduler, 1), 0);
	attempt = take_after(0);
	assert_int_equal(attempt->count, 1);
	assert_int_equal(attempt->recipients[0].index, 1);
	delivery_judge(delivery, attempt);
	assert_int_equal(retired, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(
		a_wait_is_over_when_it_has_passed_though_the_clock_was_set_back, tear_down),
	    cmocka_unit_test_teardown(
		what_found_no_room_in_a_transaction_goes_in_the_next_at_once, tear_down),
	    cmocka_unit_test_teardown(
		what_is_perhaps_taken_is_saved_though_the_road_bears_the_blame, tear_down),
	    cmocka_unit_test_teardown(what_somebody_else_holds_is_not_without_a_route, tear_down),
	    cmocka_unit_test_teardown(a_long_list_goes_in_as_many_messages_as_the_upstream_wants, tear_down),
	    cmocka_unit_test_teardown(
		a_message_with_too_many_recipients_goes_in_halves_and_so_does_the_next, tear_down),
	    cmocka_unit_test_teardown(those_beyond_the_limit_follow_those_the_mailbox_took, tear_down),
	    cmocka_unit_test_teardown(a_busy_recipient_waits_an_hour_and_nobody_with_it, tear_down),
	    cmocka_unit_test_teardown(
		outside_mail_beyond_the_tenants_limit_waits_while_inside_mail_flows, tear_down),
	    cmocka_unit_test_teardown(a_persons_wish_outlives_a_connection_that_came_to_nothing, tear_down),
	    cmocka_unit_test_teardown(a_report_waits_until_the_disk_knows_that_it_was_made, tear_down),
	    cmocka_unit_test_teardown(a_message_whose_trouble_is_its_own_is_charged_with_it, tear_down),
	    cmocka_unit_test_teardown(
		what_stands_ready_for_a_road_that_is_down_goes_by_another, tear_down_detour),
	    cmocka_unit_test_teardown(
		what_is_under_way_keeps_the_rest_of_its_message_where_it_is, tear_down_detour),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
