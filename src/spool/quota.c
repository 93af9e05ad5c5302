/* The format, version 1; every line ends with LF, and nothing else may stand there:
 *
 *	mfdrelay-quota 1
 *	written-ms: 1795459980123
 *	windows: 1
 *	window: mailbox scanner@contoso.com    from here four lines each
 *	minute: 0=3 7=1                        messages by their age in seconds: AGE=COUNT, the youngest first
 *	hour: 0=4 1=8                          messages by their age in minutes
 *	day: 0=12 3=400                        recipients by their age in quarters of an hour
 *	end: 1                                 the number of windows again
 */
#include "spool/quota.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "spool/fields.h"

#define VERSION_LINE "mfdrelay-quota 1"
#define PAIR_MAX     16 /* "96=1000000000 " */
#define LIST_MAX     (QUOTA_BUCKETS_MAX * PAIR_MAX)

const struct quota_shape quota_shapes[QUOTA_SPANS] = {
    [QUOTA_MINUTE] = {"minute", 61, 1000},
    [QUOTA_HOUR] = {"hour", 61, 60 * 1000},
    [QUOTA_DAY] = {"day", QUOTA_BUCKETS_MAX, 15 * 60 * 1000},
};

/* --- writing --- */

static void put_usage(struct field_writer *writer, const struct quota_usage *usage, enum quota_span span)
{
	char list[LIST_MAX + 1] = "";
	size_t n = 0;

	for (unsigned age = 0; age < quota_shapes[span].buckets; age++)
		if (usage->sent[span][age] > 0)
			n += (size_t)snprintf(list + n, sizeof list - n, "%s%u=%u", n > 0 ? " " : "", age,
			    usage->sent[span][age] < QUOTA_COUNT_MAX ? usage->sent[span][age]
								     : QUOTA_COUNT_MAX);
	field_put_text(writer, quota_shapes[span].name, list);
}

char *quota_format(const struct quota *quota, size_t *n)
{
	struct field_writer writer = {NULL, 0, 0};

	field_put(&writer, VERSION_LINE "\n", sizeof VERSION_LINE);
	field_put_number(&writer, "written-ms", quota->written_ms > 0 ? (uint64_t)quota->written_ms : 0);
	field_put_number(&writer, "windows", quota->count);
	for (size_t i = 0; i < quota->count; i++) {
		field_put_text(&writer, "window", quota->windows[i].name);
		for (enum quota_span span = 0; span < QUOTA_SPANS; span++)
			put_usage(&writer, &quota->windows[i].usage, span);
	}
	field_put_number(&writer, "end", quota->count);
	*n = writer.n;
	return writer.bytes;
}

/* --- reading --- */

/* Cut "AGE=COUNT" off the front, and the blank behind it. */
static bool cut_pair(struct str *list, uint64_t max_age, uint64_t *age, uint64_t *count)
{
	const char *blank = memchr(list->p, ' ', list->n);
	struct str pair = {list->p, blank != NULL ? (size_t)(blank - list->p) : list->n};
	const char *equals = memchr(pair.p, '=', pair.n);

	if (equals == NULL)
		return false;
	struct str left = {pair.p, (size_t)(equals - pair.p)};
	struct str right = {equals + 1, pair.n - left.n - 1};
	size_t used = pair.n + (blank != NULL);
	*list = (struct str){list->p + used, list->n - used};
	/* A blank is followed by another pair. */
	return str_u64(left, max_age, age) && str_u64(right, QUOTA_COUNT_MAX, count) && *count > 0 &&
	       (blank == NULL || list->n > 0);
}

static void read_usage(struct field_reader *reader, enum quota_span span, struct quota_usage *out)
{
	uint64_t max_age = quota_shapes[span].buckets - 1, next = 0, age, count;
	struct str list;

	if (!field_text(reader, quota_shapes[span].name, 0, LIST_MAX, &list))
		return;
	while (list.n > 0) {
		if (!cut_pair(&list, max_age, &age, &count) || age < next) {
			field_wrong(reader, "not a list of AGE=COUNT, each age once and in order");
			return;
		}
		out->sent[span][age] = (unsigned)count;
		next = age + 1;
	}
}

static void read_windows(struct field_reader *reader, struct quota *out)
{
	uint64_t count, end;

	if (!field_number(reader, "windows", QUOTA_WINDOWS_MAX, &count))
		return;
	/* Each takes more of the text than this. */
	if (count > reader->rest.n / 16) {
		field_wrong(reader, "more windows than the text holds");
		return;
	}
	out->windows = xcalloc((size_t)count + 1, sizeof *out->windows);
	while (out->count < count && reader->status == FIELDS_GOOD) {
		struct quota_window *window = &out->windows[out->count++];
		field_string(reader, "window", 1, QUOTA_NAME_MAX, &window->name);
		for (enum quota_span span = 0; span < QUOTA_SPANS; span++)
			read_usage(reader, span, &window->usage);
	}
	if (field_number(reader, "end", QUOTA_WINDOWS_MAX, &end) && end != count)
		field_wrong(reader, "the number at the end is not that of the windows");
}

int quota_parse(struct str text, struct quota *out, struct err *err)
{
	struct field_reader reader = {.rest = text, .err = err};
	uint64_t written_ms;

	*out = (struct quota){.count = 0};
	if (!field_line(&reader, VERSION_LINE) && reader.status == FIELDS_BAD)
		err_set(err,
		    "line 1: not \"" VERSION_LINE "\": damaged, or written by a later version of mfdrelay");
	field_number(&reader, "written-ms", INT64_MAX, &written_ms);
	out->written_ms = (int64_t)written_ms;
	read_windows(&reader, out);
	if (field_end(&reader) == 0)
		return 0;
	quota_free(out);
	return -1;
}

void quota_free(struct quota *quota)
{
	for (size_t i = 0; i < quota->count; i++)
		free(quota->windows[i].name);
	free(quota->windows);
	*quota = (struct quota){.count = 0};
}
