/* The file is text, a lane a line, its fields parted by tabs: the upstream, the mailbox and the user (or "-"), the cause, how often
 * it was held anew for it, when the last hold began and ends (ms since 1970), and the other side's words. */
#include "sender/holds.h"

#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"
#include "base/str.h"
#include "catalogue/catalogue.h"
#include "config/config.h"
#include "sender/lane.h"
#include "sender/upstream.h"
#include "spool/kept_file.h"

#define NAME	    "holds"
#define HEADING	    "mfdrelay-holds 1\n"
#define FILE_MAX    (1024 * 1024)
#define LONG_HOLD_S 3600

struct holds {
	struct upstream *const *upstreams;
	size_t count;
	struct kept_file *file;
};

static bool is_kept(const struct lane *lane)
{
	const struct cause *cause = lane->road.health != ROAD_OPEN ? lane->road.why.cause : NULL;

	if (cause == NULL || (cause->outcome != OUTCOME_S && lane->upstream->password == NULL))
		return false;
	return cause->hold.own_max || (cause->hold.first_s >= LONG_HOLD_S && cause->hold.first_s < IN_HALVES);
}

static const char *or_none(const char *text)
{
	return text != NULL ? text : "-";
}

/* --- the file --- */

static void add_lane(struct buf *text, const struct lane *lane)
{
	const struct road *road = &lane->road;
	int64_t until_ms = clock_wall_ms() + road->held_until_ms - clock_mono_ms();
	char numbers[80];

	snprintf(numbers, sizeof numbers, "\t%u\t%" PRId64 "\t%" PRId64 "\t", road->again,
	    until_ms - road->wait_ms, road->health == ROAD_HELD ? until_ms : 0);
	buf_join(text, lane->upstream->name, "\t", or_none(lane->mailbox), "\t",
	    or_none(lane->upstream->user), "\t", road->why.cause->name, numbers, road->why.text, "\n", NULL);
}

static char *format(void *arg, size_t *n)
{
	const struct holds *holds = arg;
	struct buf text = {0};
	const struct lane *lane;

	buf_add_text(&text, HEADING);
	for (size_t i = 0; i < holds->count; i++)
		for (size_t j = 0; (lane = upstream_lane(holds->upstreams[i], j)) != NULL; j++)
			if (is_kept(lane))
				add_lane(&text, lane);
	*n = text.n;
	return text.p;
}

/* Whether its file has changed since. */
static bool has_new_password(const struct upstream_config *upstream, int64_t since_ms)
{
	char path[PATH_MAX];
	struct stat st;
	struct err err;

	return upstream->password != NULL && secret_path(path, sizeof path, upstream->password, &err) == 0 &&
	       stat(path, &st) == 0 &&
	       (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000 >= since_ms;
}

struct line {
	const char *upstream, *mailbox, *user;
	struct failure why;
	uint64_t again, begun_ms, until_ms;
};

static bool is_of(const struct line *line, const struct lane *lane)
{
	return strcmp(line->upstream, lane->upstream->name) == 0 &&
	       strcmp(line->mailbox, or_none(lane->mailbox)) == 0 &&
	       strcmp(line->user, or_none(lane->upstream->user)) == 0 &&
	       !(line->why.cause->outcome != OUTCOME_S &&
		   has_new_password(lane->upstream, (int64_t)line->begun_ms));
}

static void resume(const struct holds *holds, const struct line *line)
{
	int64_t left_ms = (int64_t)line->until_ms - clock_wall_ms();
	int64_t most_ms = (int64_t)line->why.cause->hold.max_s * 1000;
	struct lane *lane;

	left_ms = left_ms < 0 ? 0 : left_ms > most_ms ? most_ms : left_ms;
	for (size_t i = 0; i < holds->count; i++)
		for (size_t j = 0; (lane = upstream_lane(holds->upstreams[i], j)) != NULL; j++) {
			if (!is_of(line, lane))
				continue;
			lane_resume(lane, &line->why, (unsigned)line->again, left_ms);
			log_event(LOG_LEVEL_NOTICE, "upstream-still-held", kv_str("upstream", line->upstream),
			    kv_str("mailbox", lane->mailbox != NULL ? lane->mailbox : ""),
			    kv_str("reason", line->why.cause->name), kv_str("text", line->why.text),
			    kv_i64("for_ms", left_ms));
		}
}

static bool take_number(char **rest, uint64_t max, uint64_t *number)
{
	const char *field = strtok_r(NULL, "\t", rest);

	return field != NULL && str_u64(str_of(field), max, number);
}

/* What the config or the catalogue no longer has is passed over. */
static bool take_line(void *arg, char *text)
{
	struct line line = {.again = 0};
	char *rest = NULL;

	line.upstream = strtok_r(text, "\t", &rest);
	line.mailbox = strtok_r(NULL, "\t", &rest);
	line.user = strtok_r(NULL, "\t", &rest);
	const char *name = strtok_r(NULL, "\t", &rest);
	if (name == NULL || !take_number(&rest, UINT_MAX, &line.again) ||
	    !take_number(&rest, INT64_MAX, &line.begun_ms) || !take_number(&rest, INT64_MAX, &line.until_ms))
		return false;
	snprintf(line.why.text, sizeof line.why.text, "%s", rest);
	line.why.cause = cause_of_reply_named(name);
	if (line.why.cause != NULL)
		resume(arg, &line);
	return true;
}

/* --- for others --- */

struct holds *holds_new(
    struct event_base *base, const struct spool *spool, struct upstream *const *upstreams, size_t count)
{
	struct holds *holds = xcalloc(1, sizeof *holds);

	*holds = (struct holds){.upstreams = upstreams, .count = count};
	kept_file_read_lines(
	    spool, NAME, FILE_MAX, HEADING, take_line, holds, "what was held for hours is tried at once");
	holds->file = kept_file_new(base, spool, NAME, format, holds);
	return holds;
}

void holds_changed(struct holds *holds)
{
	if (holds != NULL)
		kept_file_changed(holds->file);
}

void holds_free(struct holds *holds)
{
	if (holds == NULL)
		return;
	kept_file_free(holds->file);
	free(holds);
}
