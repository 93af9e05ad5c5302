/* The file is text, an upstream a line: what it is known by, its octets, its name for who reads it. */
#include "sender/sizes.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
	bool said_today[COUNTERS_UPSTREAMS]; /* or read from the file */
};

/* --- the file --- */

static char *format(void *arg, size_t *n)
{
	const struct sizes *sizes = arg;
	size_t room = sizeof HEADING + sizes->config->upstream_count * ENTRY_MAX;
	char *text = xcalloc(room, 1);

	*n = (size_t)snprintf(text, room, HEADING);
	for (size_t i = 0; i < sizes->config->upstream_count; i++)
		if (sizes->known[i])
			*n += (size_t)snprintf(text + *n, room - *n, "%016" PRIx64 " %" PRIu64 " %s\n",
			    upstream_size_key(&sizes->config->upstreams[i]), sizes->bytes[i],
			    sizes->config->upstreams[i].name);
	return text;
}

static void note(struct sizes *sizes, unsigned upstream, uint64_t bytes)
{
	sizes->known[upstream] = sizes->said_today[upstream] = true;
	sizes->bytes[upstream] = bytes;
	upstream_size_learned(
	    sizes->counters, upstream, upstream_size_key(&sizes->config->upstreams[upstream]), bytes);
}

/* What is no longer in the config is passed over. Returns false when line is none of ours. */
static bool take_line(void *arg, char *line)
{
	struct sizes *sizes = arg;
	char *end;
	uint64_t key = strtoull(line, &end, 16), bytes;
	const char *number = end + 1, *name = *end == ' ' ? strchr(number, ' ') : NULL;

	if (end != line + 16 || name == NULL ||
	    !str_u64((struct str){number, (size_t)(name - number)}, UINT64_MAX, &bytes))
		return false;
	for (unsigned i = 0; i < sizes->config->upstream_count; i++)
		if (upstream_size_key(&sizes->config->upstreams[i]) == key)
			note(sizes, i, bytes);
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
	if (sizes->known[upstream] && sizes->bytes[upstream] == bytes) {
		sizes->said_today[upstream] = true;
		return;
	}
	note(sizes, upstream, bytes);
	log_event(LOG_LEVEL_INFO, "upstream-size",
	    kv_str("upstream", sizes->config->upstreams[upstream].name), kv_u64("bytes", bytes));
	kept_file_changed(sizes->file);
}

void sizes_forget_old(struct sizes *sizes)
{
	for (unsigned i = 0; i < sizes->config->upstream_count; i++) {
		if (sizes->known[i] && !sizes->said_today[i]) {
			sizes->known[i] = false;
			upstream_size_learned(sizes->counters, i, 0, 0);
			kept_file_changed(sizes->file);
		}
		sizes->said_today[i] = false;
	}
}

void sizes_free(struct sizes *sizes)
{
	if (sizes == NULL)
		return;
	kept_file_free(sizes->file);
	free(sizes);
}
