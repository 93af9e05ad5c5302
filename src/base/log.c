#include "base/log.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096

static struct {
	const char *component;
	enum log_level level;
	bool journal;
} settings = {"mfdrelay", LOG_LEVEL_INFO, false};

struct line {
	char text[LINE_MAX_BYTES];
	size_t n;
};

struct kv kv_bytes(const char *key, struct str value)
{
	return (struct kv){.key = key, .kind = KV_STR, .text = value};
}

struct kv kv_str(const char *key, const char *value)
{
	return kv_bytes(key, str_of(value != NULL ? value : ""));
}

struct kv kv_words(const char *key, const char *value)
{
	return (struct kv){.key = key, .kind = KV_WORDS, .text = str_of(value)};
}

struct kv kv_u64(const char *key, uint64_t value)
{
	return (struct kv){.key = key, .kind = KV_U64, .number = value};
}

struct kv kv_i64(const char *key, int64_t value)
{
	return (struct kv){.key = key, .kind = KV_I64, .number = (uint64_t)value};
}

struct kv kv_errno(void)
{
	return kv_str("error", strerror(errno));
}

void log_init(const char *component)
{
	settings.component = component;
	settings.journal = getenv("JOURNAL_STREAM") != NULL;
}

void log_set_level(enum log_level level)
{
	settings.level = level;
}

bool log_lets(enum log_level level)
{
	return level <= settings.level;
}

/* Room for the newline is always kept. */
static void put(struct line *line, const char *p, size_t n)
{
	size_t room = sizeof line->text - 1 - line->n;

	if (n > room)
		n = room;
	memcpy(line->text + line->n, p, n);
	line->n += n;
}

static bool is_plain(struct str s, size_t max)
{
	if (s.n == 0 || s.n > max)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!isalnum((unsigned char)s.p[i]) &&
		    (s.p[i] == '\0' || strchr("._:/@+-,[]<>%*", s.p[i]) == NULL))
			return false;
	return true;
}

static void put_quoted(struct line *line, struct str s, size_t max)
{
	size_t n = s.n > max ? max : s.n;

	put(line, "\"", 1);
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		char hex[5];

		if (c == '"' || c == '\\') {
			hex[0] = '\\';
			hex[1] = (char)c;
			put(line, hex, 2);
		} else if (c >= 0x20 && c < 0x7f) {
			put(line, &s.p[i], 1);
		} else {
			snprintf(hex, sizeof hex, "\\x%02x", c);
			put(line, hex, 4);
		}
	}
	if (n < s.n)
		put(line, "...", 3);
	put(line, "\"", 1);
}

static void put_text(struct line *line, struct str s, size_t max)
{
	if (is_plain(s, max))
		put(line, s.p, s.n);
	else
		put_quoted(line, s, max);
}

static void put_value(struct line *line, const struct kv *kv)
{
	char number[24];

	put(line, " ", 1);
	put(line, kv->key, strlen(kv->key));
	put(line, "=", 1);
	if (kv->kind == KV_STR || kv->kind == KV_WORDS) {
		put_text(line, kv->text, kv->kind == KV_WORDS ? LOG_WORDS_MAX : LOG_VALUE_MAX);
		return;
	}
	if (kv->kind == KV_U64)
		snprintf(number, sizeof number, "%" PRIu64, kv->number);
	else
		snprintf(number, sizeof number, "%" PRId64, (int64_t)kv->number);
	put(line, number, strlen(number));
}

static void put_prefix(struct line *line, enum log_level level, const char *event)
{
	char prefix[96];
	struct timespec now;
	struct tm tm;
	size_t n;

	if (settings.journal) {
		n = (size_t)snprintf(prefix, sizeof prefix, "<%d>", (int)level);
	} else {
		clock_gettime(CLOCK_REALTIME, &now);
		gmtime_r(&now.tv_sec, &tm);
		n = strftime(prefix, sizeof prefix, "%Y-%m-%dT%H:%M:%S", &tm);
		n += (size_t)snprintf(prefix + n, sizeof prefix - n, ".%03ldZ ", now.tv_nsec / 1000000);
		if (level <= LOG_LEVEL_WARNING)
			n += (size_t)snprintf(prefix + n, sizeof prefix - n, "%s ",
			    level <= LOG_LEVEL_ERR ? "ERROR" : "WARNING");
	}
	put(line, prefix, n);
	put(line, settings.component, strlen(settings.component));
	put(line, " ", 1);
	put(line, event, strlen(event));
}

void log_emit(enum log_level level, const char *event, const struct kv *values)
{
	int saved_errno = errno;
	struct line line;

	line.n = 0; /* the text needs no zeros */
	put_prefix(&line, level, event);
	for (; values->key != NULL; values++)
		put_value(&line, values);
	line.text[line.n++] = '\n';
	/* Where stderr is gone there is nobody left to tell. */
	ssize_t written = write(STDERR_FILENO, line.text, line.n);
	(void)written;
	errno = saved_errno;
}

const char *log_quote(char *dst, size_t size, struct str value)
{
	struct line line;

	line.n = 0;
	put_text(&line, value, LOG_VALUE_MAX);
	if (!str_copy(dst, size, (struct str){line.text, line.n}))
		str_copy(dst, size, (struct str){line.text, size - 1});
	return dst;
}
