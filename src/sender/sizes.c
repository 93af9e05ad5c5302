/* The file is text, an upstream a line: what it is known by, its octets, its name for who reads it, and the day on which it was last
 * said (since 1970-01-01, UTC). What older versions wrote has no day. */
#include "sender/sizes.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "config/config.h"
#include "config/upstream_size.h"
#include "spool/kept_file.h"

#define NAME	  "upstream-sizes"
#define HEADING	  "mfdrelay-upstream-sizes 1\n"
#define FILE_MAX  (128 * 1024)
#define ENTRY_MAX 1200 /* a name has 1,024 octets at most */

struct sizes {
	const struct config *config;
	struct counters *counters;
	struct kept_file *file;
	uint64_t bytes[COUNTERS_UPSTREAMS];
	bool known[COUNTERS_UPSTREAMS];
	uint64_t day[COUNTERS_UPSTREAMS]; /* on which it was last said */
};

static uint64_t today(void)
{
	return (uint64_t)(clock_wall_ms() / DAY_MS);
}

/* --- the file --- */

static char *format(void *arg, size_t *n)
{
	const struct sizes *sizes = arg;
	size_t room = sizeof HEADING + sizes->config->upstream_count * ENTRY_MAX;
	char *text = xcalloc(room, 1);

	*n = (size_t)snprintf(text, room, HEADING);
	for (size_t i = 0; i < sizes->config->upstream_count; i++)
		if (sizes->known[i])
			*n += (size_t)snprintf(text + *n, room - *n,
			    "%016" PRIx64 " %" PRIu64 " %s %" PRIu64 "\n",
			    upstream_size_key(&sizes->config->upstreams[i]), sizes->bytes[i],
			    sizes->config->upstreams[i].name, sizes->day[i]);
	return text;
}

static void note(struct sizes *sizes, unsigned upstream, uint64_t bytes, uint64_t day)
{
	sizes->known[upstream] = true;
	sizes->bytes[upstream] = bytes;
	sizes->day[upstream] = day;
	upstream_size_learned(
	    sizes->counters, upstream, upstream_size_key(&sizes->config->upstreams[upstream]), bytes);
}

/* A day that has yet to come is a clock that was wrong. */
static bool take_day(const char *text, uint64_t *day)
{
	*day = today();
	if (text != NULL && !str_u64(str_of(text), UINT64_MAX, day))
		return false;
	if (*day > today())
		*day = today();
	return true;
}

/* What is no longer in the config is passed over. Returns false when line is none of ours. */
static bool take_line(void *arg, char *line)
{
	struct sizes *sizes = arg;
	char *rest = NULL, *end = NULL;
	const char *known_by = strtok_r(line, " ", &rest), *octets = strtok_r(NULL, " ", &rest);
	const char *name = strtok_r(NULL, " ", &rest);
	uint64_t bytes, day;

	if (name == NULL || !str_u64(str_of(octets), UINT64_MAX, &bytes) ||
	    !take_day(strtok_r(NULL, " ", &rest), &day))
		return false;
	uint64_t key = strtoull(known_by, &end, 16);
	if (end != known_by + 16 || *end != '\0')
		return false;
	for (unsigned i = 0; i < sizes->config->upstream_count; i++)
		if (upstream_size_key(&sizes->config->upstreams[i]) == key)
			note(sizes, i, bytes, day);
	return true;
}

/* --- for others --- */

struct sizes *sizes_new(struct event_base *base, const struct spool *spool, const struct config *config,
    struct counters *counters)
{
	struct sizes *sizes = xcalloc(1, sizeof *sizes);

	sizes->config = config;
	sizes->counters = counters;
	for (unsigned i = 0; i < COUNTERS_UPSTREAMS; i++)
		upstream_size_learned(counters, i, 0, 0);
	kept_file_read_lines(spool, NAME, FILE_MAX, HEADING, take_line, sizes,
	    "what is lost is learned anew from the upstreams");
	sizes->file = kept_file_new(base, spool, NAME, format, sizes);
	return sizes;
}

void sizes_learn(struct sizes *sizes, unsigned upstream, uint64_t bytes)
{
	bool is_new = !sizes->known[upstream] || sizes->bytes[upstream] != bytes;

	if (!is_new && sizes->day[upstream] == today())
		return;
	note(sizes, upstream, bytes, today());
	if (is_new)
		log_event(LOG_LEVEL_INFO, "upstream-size",
		    kv_str("upstream", sizes->config->upstreams[upstream].name), kv_u64("bytes", bytes));
	kept_file_changed(sizes->file);
}

void sizes_forget_old(struct sizes *sizes)
{
	for (unsigned i = 0; i < sizes->config->upstream_count; i++)
		if (sizes->known[i] && sizes->day[i] + 1 < today()) {
			sizes->known[i] = false;
			upstream_size_learned(sizes->counters, i, 0, 0);
			kept_file_changed(sizes->file);
		}
}

void sizes_free(struct sizes *sizes)
{
	if (sizes == NULL)
		return;
	kept_file_free(sizes->file);
	free(sizes);
}
