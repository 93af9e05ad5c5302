#include "sender/windows.h"

#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "base/ascii.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/timer.h"
#include "config/config.h"
#include "spool/spool.h"

#define SAVE_EVERY_MS  1000
#define SAVE_FAILED_MS 30000

struct windows {
	struct send_window *items;
	size_t count;
	struct spool *spool; /* NULL until it is loaded */
	struct event *save_timer;
	int64_t saved_ms; /* monotonic: when the last save was begun */
	bool changed, saving, failing;
};

/* --- whose is whose --- */

/* mailbox: one of the upstream's list, or NULL. */
static char *name_of(const struct upstream_config *upstream, const char *mailbox)
{
	if (upstream->kind != UPSTREAM_SUBMISSION && mailbox != NULL)
		return xasprintf("upstream %s mailbox %s", upstream->name, mailbox);
	if (mailbox == NULL)
		mailbox = upstream->user != NULL ? upstream->user : upstream->mailbox;
	if (upstream->kind != UPSTREAM_SUBMISSION || mailbox == NULL)
		return xasprintf("upstream %s", upstream->name);
	char *name = xasprintf("mailbox %s", mailbox);
	for (char *p = name; *p != '\0'; p++)
		*p = ascii_lower(*p);
	return name;
}

static struct send_window *find(const struct windows *windows, const char *name)
{
	for (size_t i = 0; i < windows->count; i++)
		if (strcmp(windows->items[i].name, name) == 0)
			return &windows->items[i];
	return NULL;
}

struct send_window *windows_of(
    struct windows *windows, const struct upstream_config *upstream, const char *mailbox)
{
	char *name = name_of(upstream, mailbox);
	struct send_window *window = find(windows, name);

	free(name);
	return window;
}

static void add(struct windows *windows, const struct upstream_config *upstream, const char *mailbox)
{
	const struct window_config *config = &upstream->window;
	const struct window_limits limits = {
	    {config->messages_per_minute, config->messages_per_hour, config->recipients_per_day}};
	struct send_window *window = windows_of(windows, upstream, mailbox);

	if (window == NULL) {
		window = &windows->items[windows->count++];
		window->name = name_of(upstream, mailbox);
		window->connections_max = config->connections;
		window_init(&window->window, &limits, clock_mono_ms());
	}
	window_tighten(&window->window, &limits);
	if (config->connections < window->connections_max)
		window->connections_max = config->connections;
}

struct windows *windows_new(const struct config *config)
{
	struct windows *windows = xcalloc(1, sizeof *windows);
	size_t most = config->upstream_count;

	for (size_t i = 0; i < config->upstream_count; i++)
		most += config->upstreams[i].mailbox_count;
	windows->items = xcalloc(most, sizeof *windows->items);
	for (size_t i = 0; i < config->upstream_count; i++) {
		const struct upstream_config *upstream = &config->upstreams[i];
		if (upstream->mailbox_count == 0)
			add(windows, upstream, NULL);
		for (size_t j = 0; j < upstream->mailbox_count; j++)
			add(windows, upstream, upstream->mailboxes[j]);
	}
	return windows;
}

unsigned send_window_connections(const struct send_window *window, int64_t now_ms)
{
	return now_ms < window->single_until_ms ? 1 : window->connections_max;
}

/* --- the file --- */

static bool has_limit(const struct send_window *window)
{
	for (enum quota_span span = 0; span < QUOTA_SPANS; span++)
		if (window->window.limits.of[span] != 0)
			return true;
	return false;
}

static bool any_limit(const struct windows *windows)
{
	for (size_t i = 0; i < windows->count; i++)
		if (has_limit(&windows->items[i]))
			return true;
	return false;
}

static void on_saved(void *arg, const struct spool_result *result)
{
	struct windows *windows = arg;
	bool failed = result->error != NULL;

	windows->saving = false;
	if (failed && !windows->failing)
		log_event(LOG_LEVEL_ERR, "quota-not-saved", kv_str("why", result->error),
		    kv_str("consequence", "after a restart more may be sent than the upstream allows"),
		    kv_str("remedy", "look at the spool's disk and the kernel's log"));
	windows->failing = failed;
	if (failed)
		windows->changed = true;
	if (windows->changed)
		windows_changed(windows);
}

static void save(struct windows *windows)
{
	struct quota quota = {.written_ms = clock_wall_ms()};
	int64_t now_ms = clock_mono_ms();

	quota.windows = xcalloc(windows->count, sizeof *quota.windows);
	for (size_t i = 0; i < windows->count; i++) {
		struct send_window *window = &windows->items[i];
		if (!has_limit(window))
			continue;
		window_advance(&window->window, now_ms);
		quota.windows[quota.count++] = (struct quota_window){window->name, window->window.usage};
	}
	windows->changed = false;
	windows->saving = true;
	windows->saved_ms = now_ms;
	spool_save_quota(windows->spool, &quota, on_saved, windows);
	free(quota.windows);
}

static void on_save_time(evutil_socket_t fd, short what, void *cookie)
{
	struct windows *windows = cookie;

	(void)fd;
	(void)what;
	if (windows->changed && !windows->saving)
		save(windows);
}

void windows_changed(struct windows *windows)
{
	int64_t every_ms = windows->failing ? SAVE_FAILED_MS : SAVE_EVERY_MS;

	if (!any_limit(windows))
		return;
	windows->changed = true;
	if (windows->save_timer != NULL && !windows->saving && !evtimer_pending(windows->save_timer, NULL))
		timer_set(windows->save_timer, windows->saved_ms + every_ms - clock_mono_ms());
}

void windows_finish(struct windows *windows)
{
	if (windows->spool != NULL && windows->changed && !windows->saving)
		save(windows);
}

static void restore(struct windows *windows, const struct quota *quota)
{
	int64_t elapsed_ms = clock_wall_ms() - quota->written_ms;

	for (size_t i = 0; i < quota->count; i++) {
		struct send_window *window = find(windows, quota->windows[i].name);
		if (window != NULL)
			window_restore(
			    &window->window, &quota->windows[i].usage, elapsed_ms, clock_mono_ms());
	}
}

void windows_load(struct windows *windows, struct event_base *base, struct spool *spool)
{
	struct quota quota;
	struct err err = {""};
	int result = spool_load_quota(spool, &quota, &err);

	windows->spool = spool;
	windows->save_timer = evtimer_new(base, on_save_time, windows);
	windows->saved_ms = clock_mono_ms() - SAVE_EVERY_MS;
	if (result == 0) {
		restore(windows, &quota);
		quota_free(&quota);
		return;
	}
	log_event(LOG_LEVEL_WARNING, result > 0 ? "quota-damaged" : "quota-unreadable",
	    kv_str("why", err.text),
	    kv_str("consequence", "the send windows count the last minute as used up"),
	    kv_str("remedy", result > 0 ? "none is needed; it is kept as quota.damaged"
					: "let the daemon's user read it"));
	for (size_t i = 0; i < windows->count; i++)
		window_assume_used(&windows->items[i].window, clock_mono_ms());
}

void windows_free(struct windows *windows)
{
	if (windows == NULL)
		return;
	for (size_t i = 0; i < windows->count; i++)
		free(windows->items[i].name);
	if (windows->save_timer != NULL)
		event_free(windows->save_timer);
	free(windows->items);
	free(windows);
}
