#include "base/log.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/clock.h"
#include "base/text.h"

#define LINE_MAX_BYTES 4096

static struct {
	const char *component;
	enum log_level level;
	bool journal;
} settings = {"mfdrelay", LOG_LEVEL_INFO, false};

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

/* JOURNAL_STREAM names the file that the service was given, as "device:inode" in decimal digits (systemd.exec(5)):
 * whoever was started by one, with stderr led elsewhere, inherits the variable too. */
static bool is_journal(int fd)
{
	const char *named = getenv("JOURNAL_STREAM");
	char own[64];
	struct stat st;

	if (named == NULL || fstat(fd, &st) < 0)
		return false;
	snprintf(own, sizeof own, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return strcmp(own, named) == 0;
}

void log_init(const char *component)
{
	settings.component = component;
	settings.journal = is_journal(STDERR_FILENO);
}

void log_set_level(enum log_level level)
{
	settings.level = level;
}

bool log_lets(enum log_level level)
{
	return level <= settings.level;
}

static bool is_plain_char(char c)
{
	return ascii_is_alnum(c) || (c != '\0' && strchr("._:/@+-,[]<>%*", c) != NULL);
}

static bool is_plain(struct str s, size_t max)
{
	if (s.n == 0 || s.n > max)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!is_plain_char(s.p[i]))
			return false;
	return true;
}

static void put_quoted(struct text *line, struct str s, size_t max)
{
	size_t n = s.n > max ? max : s.n;

	text_char(line, '"');
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c < 0x20 || c >= 0x7f) {
			char hex[5];
			snprintf(hex, sizeof hex, "\\x%02x", c);
			text_add(line, (struct str){hex, 4});
			continue;
		}
		if (c == '"' || c == '\\')
			text_char(line, '\\');
		text_char(line, s.p[i]);
	}
	text_join(line, n < s.n ? "...\"" : "\"", NULL);
}

static void put_text(struct text *line, struct str s, size_t max)
{
	if (is_plain(s, max))
		text_add(line, s);
	else
		put_quoted(line, s, max);
}

static void put_value(struct text *line, const struct kv *kv)
{
	text_char(line, ' ');
	text_add(line, str_of(kv->key));
	text_char(line, '=');
	switch (kv->kind) {
	case KV_STR:
		put_text(line, kv->text, LOG_VALUE_MAX);
		break;
	case KV_WORDS:
		put_text(line, kv->text, LOG_WORDS_MAX);
		break;
	case KV_U64:
		text_number(line, kv->number, 0);
		break;
	case KV_I64:
		if ((int64_t)kv->number < 0)
			text_char(line, '-');
		text_number(line, (int64_t)kv->number < 0 ? -kv->number : kv->number, 0);
		break;
	}
}

static void put_prefix(struct text *line, enum log_level level, const char *event)
{
	struct timespec now;
	char time[40];

	if (settings.journal) {
		text_char(line, '<');
		text_number(line, (uint64_t)level, 0);
		text_char(line, '>');
	} else {
		clock_gettime(CLOCK_REALTIME, &now);
		clock_rfc3339_ms(time, sizeof time, (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000);
		text_join(line, time, " ", NULL);
		if (level <= LOG_LEVEL_WARNING)
			text_join(line, level <= LOG_LEVEL_ERR ? "ERROR " : "WARNING ", NULL);
	}
	text_join(line, settings.component, " ", event, NULL);
}

void log_emit(enum log_level level, const char *event, const struct kv *values)
{
	int saved_errno = errno;
	char bytes[LINE_MAX_BYTES];
	struct text line = text_in(bytes, sizeof bytes);

	put_prefix(&line, level, event);
	for (; values->key != NULL; values++)
		put_value(&line, values);
	line.p[line.n++] = '\n'; /* in the place of the NUL */
	/* Where stderr is gone there is nobody left to tell. */
	ssize_t written = write(STDERR_FILENO, line.p, line.n);
	(void)written;
	errno = saved_errno;
}

const char *log_quote(char *dst, size_t size, struct str value)
{
	struct text text = text_in(dst, size);

	put_text(&text, value, LOG_VALUE_MAX);
	return dst;
}
