/* What has been sent within the last minute, hour and day, for each send window: the file spool/quota, by which the windows
 * outlive the sender. Text, a field a line, versioned. */
#ifndef MFDRELAY_SPOOL_QUOTA_H
#define MFDRELAY_SPOOL_QUOTA_H

#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/str.h"

#define QUOTA_NAME_MAX    420		/* octets of a window's name */
#define QUOTA_WINDOWS_MAX 10000
#define QUOTA_MAX (16u * 1024 * 1024)	/* octets of the file */
#define QUOTA_COUNT_MAX 1000000000U	/* in one bucket */

/* A span slides in steps: it is cut into so many buckets of one width, and one more, for the first and the last are never
 * whole. What lies in a bucket is counted as long as any of it may be younger than the span. */
enum quota_span { QUOTA_MINUTE, QUOTA_HOUR, QUOTA_DAY, QUOTA_SPANS };
#define QUOTA_BUCKETS_MAX 97
struct quota_shape {
	const char *name;	/* its field in the file */
	unsigned buckets;
	int64_t width_ms;
};
extern const struct quota_shape quota_shapes[QUOTA_SPANS];

/* Messages of the minute and of the hour, recipients of the day; sent[span][0] is the present bucket's, [1] that of the one
 * before it, and so on. */
struct quota_usage {
	unsigned sent[QUOTA_SPANS][QUOTA_BUCKETS_MAX];
};

struct quota_window {
	char *name;		/* malloc'ed; no CR or LF */
	struct quota_usage usage;
};

struct quota {
	int64_t written_ms;	/* wall clock; ages count from then */
	struct quota_window *windows;
	size_t count;
};

/* Returns a malloc'ed text, its length in *n. */
char *quota_format(const struct quota *quota, size_t *n);

/* Parse a whole text, strictly. Returns 0 with *out filled (the caller frees with quota_free), or -1 with err, *out empty. */
int quota_parse(struct str text, struct quota *out, struct err *err);

void quota_free(struct quota *quota);	/* the fields; fine on an empty one */

#endif
