/* The log: one event a line on stderr, `component event key=value ...`. Where that is the journal (JOURNAL_STREAM
 * names it) each line starts with its priority, "<6>"; elsewhere with the time. Values that hold anything but
 * harmless characters are put in quotes, escaped and cut at LOG_VALUE_MAX bytes, so that nothing from outside can
 * forge a line. There is no way to print a struct secret. */
#ifndef MFDRELAY_BASE_LOG_H
#define MFDRELAY_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/str.h"

#define LOG_VALUE_MAX 400
#define LOG_WORDS_MAX 3000

/* The values are those of syslog(3). */
enum log_level { LOG_LEVEL_ERR = 3, LOG_LEVEL_WARNING = 4, LOG_LEVEL_NOTICE = 5, LOG_LEVEL_INFO = 6, LOG_LEVEL_DEBUG = 7 };

/* One key=value. key is a literal; text is borrowed for the time of the call. */
struct kv {
	const char *key;
	enum { KV_STR, KV_WORDS, KV_U64, KV_I64 } kind;
	struct str text;
	uint64_t number;
};

struct kv kv_str(const char *key, const char *value);	/* value may be NULL: key="" */
struct kv kv_words(const char *key, const char *value);	/* our own words, with a remedy at their end: cut at LOG_WORDS_MAX */
struct kv kv_bytes(const char *key, struct str value);
struct kv kv_u64(const char *key, uint64_t value);
struct kv kv_i64(const char *key, int64_t value);
struct kv kv_errno(void);				/* error="text of errno" as it is when this is called */

/* Name this process in each line from now on: "supervisor", "listener", "sender". component is a literal. */
void log_init(const char *component);

/* Leave out what is less urgent than level. The start is LOG_LEVEL_INFO. */
void log_set_level(enum log_level level);
bool log_lets(enum log_level level);

/* log_event(LOG_LEVEL_INFO, "accepted", kv_str("id", id), kv_u64("bytes", n)): one line, one write(2). Leaves
 * errno as it was. event is a literal. The values are not looked at where the line is left out. */
#define log_event(level, ...) LOG_EVENT_(level, __VA_ARGS__, {0})
#define LOG_EVENT_(level, event, ...) \
	(log_lets(level) ? log_emit((level), (event), (const struct kv[]){__VA_ARGS__}) : (void)0)
void log_emit(enum log_level level, const char *event, const struct kv *values);

/* Write value as the log would (quoted and escaped where it must be) into dst. Returns dst. */
const char *log_quote(char *dst, size_t size, struct str value);

#endif
