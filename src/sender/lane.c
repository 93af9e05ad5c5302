#include "sender/lane.h"

#include <stdio.h>

#include <event2/event.h>
#include <openssl/rand.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/timer.h"
#include "config/config.h"

/* After an answer that asks to slow down, one connection is enough for so long. */
#define SINGLE_MS     300000
#define TELL_EVERY_MS 3600000

static void on_hold_end(evutil_socket_t fd, short what, void *cookie)
{
	struct lane *lane = cookie;

	(void)fd;
	(void)what;
	/* libevent counts from the time its round began: a timer may fire some ms before its time by the clock. */
	if (road_usable(&lane->road, clock_mono_ms()))
		lane->owner->open(lane->arg);
	else
		timer_set(lane->hold_end, lane->road.held_until_ms - clock_mono_ms() + 1);
}

static void on_window_opens(evutil_socket_t fd, short what, void *cookie)
{
	struct lane *lane = cookie;

	(void)fd;
	(void)what;
	lane->is_full_for_long = false;
	lane->owner->open(lane->arg);
}

void lane_init(struct lane *lane, struct event_base *base, const struct config *config,
    const struct upstream_config *upstream, const char *mailbox, struct send_window *window,
    const struct lane_owner *owner, void *arg)
{
	lane->config = config;
	lane->upstream = upstream;
	lane->mailbox = mailbox;
	lane->window = window;
	lane->owner = owner;
	lane->arg = arg;
	lane->hold_end = evtimer_new(base, on_hold_end, lane);
	lane->window_opens = evtimer_new(base, on_window_opens, lane);
}

/* --- health --- */

static unsigned random_number(void)
{
	unsigned number = 0;

	/* Only jitter hangs on it. */
	if (RAND_bytes((unsigned char *)&number, sizeof number) != 1)
		return (unsigned)clock_mono_ms();
	return number;
}

int64_t lane_hold(struct lane *lane, const struct failure *why)
{
	int64_t now_ms = clock_mono_ms();
	int64_t ms = road_hold(&lane->road, why, lane->config->retry.first_ms, lane->config->retry.max_ms,
	    now_ms, random_number());

	timer_set(lane->hold_end, ms);
	if (why->cause->outcome == OUTCOME_S)
		lane->window->single_until_ms = now_ms + ms + SINGLE_MS;
	return ms;
}

bool lane_proved(struct lane *lane)
{
	if (!road_proved(&lane->road))
		return false;
	evtimer_del(lane->hold_end);
	log_event(LOG_LEVEL_NOTICE, "upstream-open", kv_str("upstream", lane->upstream->name),
	    kv_str("mailbox", lane->mailbox != NULL ? lane->mailbox : ""));
	return true;
}

void lane_release(struct lane *lane)
{
	lane->token_retried = false;
	road_release(&lane->road);
}

/* --- the window --- */

static void set_full_for_long(struct lane *lane, bool is_full)
{
	if (lane->is_full_for_long == is_full)
		return;
	lane->is_full_for_long = is_full;
	lane->owner->changed(lane->arg);
}

/* Nothing is tried meanwhile, and nothing fails. In the log at most once an hour. */
static void wait_for_window(struct lane *lane, int64_t now_ms)
{
	static const char *const keys[QUOTA_SPANS] = {
	    "messages_per_minute", "messages_per_hour", "recipients_per_day"};
	char limit[WINDOW_TEXT_MAX], key[64];
	int64_t wait_ms;
	enum quota_span span = window_full(&lane->window->window, now_ms, &wait_ms);

	timer_set(lane->window_opens, wait_ms);
	if (wait_ms > ROAD_SLOW_MS)
		set_full_for_long(lane, true);
	if (lane->told_full_ms[span] != 0 && now_ms - lane->told_full_ms[span] < TELL_EVERY_MS)
		return;
	lane->told_full_ms[span] = now_ms;
	snprintf(key, sizeof key, "upstreams.window.%s", keys[span]);
	log_event(LOG_LEVEL_NOTICE, "window-full", kv_str("upstream", lane->upstream->name),
	    kv_str("window", lane->window->name),
	    kv_str("limit", window_limit_text(limit, &lane->window->window, span)), kv_str("key", key),
	    kv_i64("wait_ms", wait_ms),
	    kv_str("consequence", "mail waits in the queue and leaves as the window allows"));
}

unsigned lane_room(struct lane *lane)
{
	int64_t now_ms = clock_mono_ms();

	/* One message at a time shows whether the road is open again. */
	if (!road_usable(&lane->road, now_ms) || (lane->road.health == ROAD_PROBING && lane->busy > 0))
		return 0;
	unsigned recipients = window_room(&lane->window->window, now_ms);
	if (recipients == 0)
		wait_for_window(lane, now_ms);
	else
		set_full_for_long(lane, false);
	return recipients;
}

bool lane_is_shut(const struct lane *lane, int64_t now_ms)
{
	return lane->is_full_for_long ||
	       (lane->road.health == ROAD_HELD && road_is_down(&lane->road, now_ms));
}

/* --- connections --- */

bool lane_makes_room(const struct lane *lane)
{
	return lane->window->wanted_by != NULL && lane->window->wanted_by != lane;
}

bool lane_has_one_too_many(const struct lane *lane)
{
	return lane->window->connections > send_window_connections(lane->window, clock_mono_ms());
}

static bool takes_one_only(const struct lane *lane)
{
	return lane->road.health == ROAD_PROBING ||
	       (lane->upstream->password != NULL && !lane->has_logged_in);
}

bool lane_may_open(struct lane *lane)
{
	struct send_window *window = lane->window;

	if (takes_one_only(lane) && lane->connections > 0)
		return false;
	bool is_free = window->connections < send_window_connections(window, clock_mono_ms()) &&
		       lane->connections < lane->upstream->window.connections && !lane_makes_room(lane);
	if (!is_free && lane->connections == 0 && window->wanted_by == NULL)
		window->wanted_by = lane;
	return is_free;
}

void lane_opened(struct lane *lane)
{
	lane->connections++;
	lane->window->connections++;
}

/* What waits for it looks again. */
void lane_closed(struct lane *lane)
{
	lane->connections--;
	lane->window->connections--;
	if (lane_makes_room(lane))
		lane->owner->open(lane->arg);
}

void lane_stop(struct lane *lane)
{
	if (lane->hold_end != NULL)
		event_free(lane->hold_end);
	if (lane->window_opens != NULL)
		event_free(lane->window_opens);
}
