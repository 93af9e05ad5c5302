#include "sender/unknown.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "base/fsutil.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/timer.h"
#include "config/config.h"
#include "config/values.h"
#include "spool/kept_file.h"
#include "supervisor/handover.h"

#define NAME	 "unknown"
#define FILE_MAX (1024 * 1024)
#define WRITE_MS 30000 /* strangers who try all the time cost a sync in so long */

struct peer {
	char address[64];
	char helo[HANDOVER_HELO + 1], sender[ADDRESS_MAX + 1], recipient[ADDRESS_MAX + 1];
	uint64_t count;
	int64_t first_ms, last_ms;
};

struct unknown {
	struct peer peers[UNKNOWN_MAX]; /* newest first */
	size_t count;
	struct kept_file *file;
	struct event *timer; /* pending: something is not written yet */
};

/* --- as JSON --- */

static json_t *peer_json(const struct peer *peer)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "address", peer->address, "helo", peer->helo,
	    "sender", peer->sender, "recipient", peer->recipient, "count", (json_int_t)peer->count,
	    "first_ms", (json_int_t)peer->first_ms, "last_ms", (json_int_t)peer->last_ms);
}

json_t *unknown_json(const struct unknown *unknown)
{
	json_t *array = json_array();

	for (size_t i = 0; i < unknown->count; i++)
		json_array_append_new(array, peer_json(&unknown->peers[i]));
	return array;
}

static char *format(void *arg, size_t *n)
{
	json_t *array = unknown_json(arg);
	char *text = json_dumps(array, JSON_INDENT(1));

	json_decref(array);
	*n = strlen(text);
	return text;
}

static bool parse_peer(const json_t *object, struct peer *out)
{
	const char *address, *helo, *sender, *recipient;
	json_int_t times, first_ms, last_ms;

	if (json_unpack((json_t *)(uintptr_t)object, "{s:s, s:s, s:s, s:s, s:I, s:I, s:I !}", "address",
		&address, "helo", &helo, "sender", &sender, "recipient", &recipient, "count", &times,
		"first_ms", &first_ms, "last_ms", &last_ms) < 0 ||
	    times <= 0)
		return false;
	*out = (struct peer){.count = (uint64_t)times, .first_ms = first_ms, .last_ms = last_ms};
	return str_copy(out->address, sizeof out->address, str_of(address)) &&
	       str_copy(out->helo, sizeof out->helo, str_of(helo)) &&
	       str_copy(out->sender, sizeof out->sender, str_of(sender)) &&
	       str_copy(out->recipient, sizeof out->recipient, str_of(recipient));
}

static bool are_peers(const json_t *array)
{
	struct peer peer;
	bool fine = json_is_array(array) && json_array_size(array) <= UNKNOWN_MAX;

	for (size_t i = 0; fine && i < json_array_size(array); i++)
		fine = parse_peer(json_array_get(array, i), &peer);
	return fine;
}

json_t *unknown_read(const struct spool *spool, struct err *err)
{
	size_t n;
	char *text = fs_read_file(spool_var_fd(spool), NAME, FILE_MAX, &n);

	if (text == NULL && errno == ENOENT)
		return json_array();
	json_t *array = text != NULL ? json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL) : NULL;
	if (text == NULL) {
		err_sys(err, "var/" NAME);
	} else if (!are_peers(array)) {
		err_set(err, "var/" NAME ": damaged; it can be removed");
		json_decref(array);
		array = NULL;
	}
	free(text);
	return array;
}

static void load(struct unknown *unknown, const struct spool *spool)
{
	struct err err = {""};
	json_t *array = unknown_read(spool, &err);

	if (array == NULL)
		log_event(LOG_LEVEL_WARNING, "unknown-unreadable", kv_str("why", err.text),
		    kv_str("consequence", "the list of refused peers begins anew"));
	for (size_t i = 0; i < json_array_size(array); i++)
		parse_peer(json_array_get(array, i), &unknown->peers[unknown->count++]);
	json_decref(array);
}

/* --- for others --- */

static void on_time(evutil_socket_t fd, short what, void *cookie)
{
	const struct unknown *unknown = cookie;

	(void)fd;
	(void)what;
	kept_file_changed(unknown->file);
}

struct unknown *unknown_new(struct event_base *base, const struct spool *spool)
{
	struct unknown *unknown = xcalloc(1, sizeof *unknown);

	load(unknown, spool);
	unknown->file = kept_file_new(base, spool, NAME, format, unknown);
	unknown->timer = evtimer_new(base, on_time, unknown);
	return unknown;
}

/* The text of another process, made fit to be shown. */
static void keep(char *dst, const char *text, size_t size)
{
	size_t n = strnlen(text, size - 1);

	for (size_t i = 0; i < n; i++)
		dst[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
	dst[n] = '\0';
}

/* Its place is the first now; the one before it there, or the oldest, has made room. */
static struct peer *to_front(struct unknown *unknown, const char *address)
{
	size_t at = 0;
	struct peer found = {.count = 0};

	while (at < unknown->count && strcmp(unknown->peers[at].address, address) != 0)
		at++;
	if (at < unknown->count)
		found = unknown->peers[at];
	else if (unknown->count < UNKNOWN_MAX)
		unknown->count++;
	else
		at--;
	memmove(&unknown->peers[1], &unknown->peers[0], at * sizeof unknown->peers[0]);
	unknown->peers[0] = found;
	return &unknown->peers[0];
}

void unknown_learn(struct unknown *unknown, const struct handover_stranger *stranger, int64_t wall_ms)
{
	struct prefix prefix = {.address = stranger->address, .bits = 128};
	char address[64];
	struct peer *peer = to_front(unknown, value_prefix_text(address, sizeof address, &prefix));

	if (peer->count == 0)
		peer->first_ms = wall_ms;
	memcpy(peer->address, address, sizeof peer->address);
	keep(peer->helo, stranger->helo, sizeof peer->helo);
	keep(peer->sender, stranger->sender, sizeof peer->sender);
	keep(peer->recipient, stranger->recipient, sizeof peer->recipient);
	peer->count = (peer->count + stranger->count) & INT64_MAX;
	if (peer->count == 0)
		peer->count = 1;
	peer->last_ms = wall_ms;
	if (!evtimer_pending(unknown->timer, NULL))
		timer_set(unknown->timer, WRITE_MS);
}

void unknown_free(struct unknown *unknown)
{
	if (unknown == NULL)
		return;
	if (evtimer_pending(unknown->timer, NULL))
		kept_file_changed(unknown->file);
	kept_file_free(unknown->file);
	event_free(unknown->timer);
	free(unknown);
}
