/* The file is text, a lane a line: the trouble's name, the mailbox (or "-"), the upstream's name. */
#include "sender/streaks.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "catalogue/catalogue.h"
#include "config/config.h"
#include "sender/lane.h"
#include "sender/upstream.h"
#include "spool/kept_file.h"

#define NAME	 "streaks"
#define HEADING	 "mfdrelay-streaks 1\n"
#define FILE_MAX (1024 * 1024)

struct streaks {
	struct upstream *const *upstreams;
	size_t count;
	struct kept_file *file;
};

static const char *mailbox_of(const struct lane *lane)
{
	return lane->mailbox != NULL ? lane->mailbox : "-";
}

static char *format(void *arg, size_t *n)
{
	const struct streaks *streaks = arg;
	struct buf text = {0};
	const struct lane *lane;

	buf_add_text(&text, HEADING);
	for (size_t i = 0; i < streaks->count; i++)
		for (size_t j = 0; (lane = upstream_lane(streaks->upstreams[i], j)) != NULL; j++) {
			if (lane->streak.is_roads)
				buf_join(&text, lane->streak.cause->name, " ", mailbox_of(lane), " ",
				    lane->upstream->name, "\n", NULL);
		}
	*n = text.n;
	return text.p;
}

static void resume(
    const struct streaks *streaks, const char *upstream, const char *mailbox, const struct cause *cause)
{
	struct lane *lane;

	for (size_t i = 0; i < streaks->count; i++)
		for (size_t j = 0; (lane = upstream_lane(streaks->upstreams[i], j)) != NULL; j++)
			if (strcmp(lane->upstream->name, upstream) == 0 &&
			    strcmp(mailbox_of(lane), mailbox) == 0)
				streak_resume(&lane->streak, cause);
}

/* What the config or the catalogue no longer has is passed over. */
static bool take_line(void *arg, char *line)
{
	char *rest = NULL;
	const char *name = strtok_r(line, " ", &rest), *mailbox = strtok_r(NULL, " ", &rest);

	if (name == NULL || mailbox == NULL || rest == NULL || rest[0] == '\0')
		return false;
	if (cause_of_all_named(name) != NULL)
		resume(arg, rest, mailbox, cause_of_all_named(name));
	return true;
}

struct streaks *streaks_new(
    struct event_base *base, const struct spool *spool, struct upstream *const *upstreams, size_t count)
{
	struct streaks *streaks = xcalloc(1, sizeof *streaks);

	*streaks = (struct streaks){.upstreams = upstreams, .count = count};
	kept_file_read_lines(spool, NAME, FILE_MAX, HEADING, take_line, streaks,
	    "of what is refused as all mail was, some messages are given up before it is held again");
	streaks->file = kept_file_new(base, spool, NAME, format, streaks);
	return streaks;
}

void streaks_changed(struct streaks *streaks)
{
	if (streaks != NULL)
		kept_file_changed(streaks->file);
}

void streaks_free(struct streaks *streaks)
{
	if (streaks == NULL)
		return;
	kept_file_free(streaks->file);
	free(streaks);
}
