#include "config/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/mem.h"
#include "config/drop_ins.h"
#include "config/problems.h"

/* libconfig 1.5 loses the text it was reading at a syntax error: some octets, which `make asan` need not hear
 * of. */
#if defined(__SANITIZE_ADDRESS__)
#define HAS_LEAK_CHECK 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_LEAK_CHECK 1
#endif
#endif
#ifdef HAS_LEAK_CHECK
#include <sanitizer/lsan_interface.h>
#define LEAK_CHECK_PAUSE()  __lsan_disable()
#define LEAK_CHECK_RESUME() __lsan_enable()
#else
#define LEAK_CHECK_PAUSE()  (void)0
#define LEAK_CHECK_RESUME() (void)0
#endif

#define FILE_MAX    (1024 * 1024)
#define MESSAGE_MAX 2048
#define PLACE_MAX   256

/* What libconfig says, and what an admin can do. */
static const struct {
	const char *said;
	const char *what;
	const char *remedy;
} syntax_errors[] = {
    {"duplicate setting name", "this key stands twice in its group", "remove one of the two"},
    {"mismatched element type in array", "the values between [ and ] are not all of one type",
	"put all of them in quotes"},
    {"memory exhausted", "the brackets are nested too deeply", "close those that are open"},
    {"syntax error", "the syntax is wrong here or on the line before",
	"text stands in quotes, each { ( [ is closed, and no comma follows the last entry of a list"},
};

static void add(
    const struct source *source, const config_setting_t *at, bool is_error, const char *format, va_list args)
{
	char text[MESSAGE_MAX];
	const struct source *owner = at != NULL ? drop_ins_owner(source, at) : source;

	vsnprintf(text, sizeof text, format, args);
	config_problem_add(source->problems, is_error, owner->file,
	    at != NULL ? (int)config_setting_source_line(at) : 0, "%s", text);
}

void source_error(const struct source *source, const config_setting_t *at, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add(source, at, true, format, args);
	va_end(args);
}

void source_warn(const struct source *source, const config_setting_t *at, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add(source, at, false, format, args);
	va_end(args);
}

/* The source of a path, which becomes that of the same thing in there. */
static const struct source *source_of(const struct source *source, char *path)
{
	static const char begin[] = "devices.[";
	char rest[PLACE_MAX / 2], *end;

	if (strncmp(path, begin, sizeof begin - 1) != 0)
		return source;
	size_t index = strtoul(path + sizeof begin - 1, &end, 10);
	snprintf(rest, sizeof rest, "%.100s", end);
	source = drop_ins_device(source, &index);
	snprintf(path, PLACE_MAX, "%s%zu%s", begin, index, rest);
	return source;
}

const config_setting_t *source_at(const struct source *source, const char *format, ...)
{
	char path[PLACE_MAX];
	const config_setting_t *found;
	va_list args;

	va_start(args, format);
	vsnprintf(path, sizeof path, format, args);
	va_end(args);
	source = source_of(source, path);
	while ((found = config_lookup(&source->tree, path)) == NULL) {
		char *dot = strrchr(path, '.');
		if (dot == NULL)
			return config_root_setting(&source->tree);
		*dot = '\0';
	}
	return found;
}

static int open_file(struct source *source, size_t *n)
{
	struct stat st = {.st_mode = 0};
	int fd = open(source->file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0 || fstat(fd, &st) < 0) {
		source_error(source, NULL, "cannot be read: %s; %s", strerror(errno),
		    errno == EACCES
			? "run this as root or as the daemon's user, whose group must have the right to read "
			  "it (chgrp, chmod g+r), or name another config with -c FILE"
			: "name the config with -c FILE");
	} else if (!S_ISREG(st.st_mode)) {
		source_error(source, NULL, "not a plain file; name the config with -c FILE");
	} else if (st.st_size > FILE_MAX) {
		source_error(source, NULL, "larger than 1M; is this the config? Name it with -c FILE");
	} else {
		source->mode = st.st_mode;
		*n = (size_t)st.st_size;
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

static char *read_file(struct source *source, size_t *n)
{
	size_t size = 0;
	ssize_t got = 1;
	int fd = open_file(source, &size);

	*n = 0;
	if (fd < 0)
		return NULL;
	char *text = xcalloc(1, size + 1);
	while (*n < size && got > 0) {
		got = read(fd, text + *n, size - *n);
		*n += got > 0 ? (size_t)got : 0;
	}
	if (got < 0) {
		source_error(source, NULL, "cannot be read: %s", strerror(errno));
		free(text);
		text = NULL;
	}
	close(fd);
	return text;
}

/* What libconfig's own scanner would see, as far as it matters here. */
struct scan {
	const struct source *source;
	const char *p;
	int line;
};

static void skip(struct scan *scan, size_t n)
{
	for (; n > 0 && *scan->p != '\0'; n--, scan->p++)
		if (*scan->p == '\n')
			scan->line++;
}

/* libconfig lets a text run over lines, where a missing quote would show far from its place, if at all. */
static int skip_string(struct scan *scan)
{
	int line = scan->line;

	skip(scan, 1);
	while (*scan->p != '\0' && *scan->p != '\n' && *scan->p != '"')
		skip(scan, *scan->p == '\\' ? 2 : 1);
	if (*scan->p != '"' || scan->line != line) {
		config_problem_add(scan->source->problems, true, scan->source->file, line,
		    "a text that begins on this line does not end on it; add the closing quote");
		return -1;
	}
	skip(scan, 1);
	return 0;
}

static void skip_block_comment(struct scan *scan)
{
	const char *end = strstr(scan->p + 2, "*/");

	skip(scan, end != NULL ? (size_t)(end + 2 - scan->p) : strlen(scan->p));
}

static bool fits(const char *digits, size_t n, bool is_hex)
{
	char *end;

	if (n > 19)
		return false;
	errno = 0;
	long long value = strtoll(digits, &end, is_hex ? 16 : 10);
	return errno == 0 && (*end == 'L' || value <= INT32_MAX);
}

/* libconfig 1.5 cuts what is larger to 32 bits without a word. */
static void scan_number(struct scan *scan)
{
	bool is_hex = scan->p[0] == '0' && (scan->p[1] == 'x' || scan->p[1] == 'X');
	const char *digits = scan->p + (is_hex ? 2 : 0);
	size_t n = strspn(digits, is_hex ? "0123456789abcdefABCDEF" : "0123456789");
	size_t length = (size_t)(digits - scan->p) + n;
	bool is_float = !is_hex && digits[n] != '\0' && strchr(".eE", digits[n]) != NULL;

	if (!is_float && n > 0 && !fits(digits, n, is_hex))
		config_problem_add(scan->source->problems, true, scan->source->file, scan->line,
		    "a number on this line is too large to stand alone; put it in quotes");
	skip(scan, length);
	while (ascii_is_alnum(*scan->p) || *scan->p == '.')
		skip(scan, 1);
}

static int refuse_include(const struct scan *scan)
{
	config_problem_add(scan->source->problems, true, scan->source->file, scan->line,
	    "@include is not in this version; put everything into one file");
	return -1;
}

/* One thing further. Returns -1 where libconfig is not to see the file at all. */
static int scan_one(struct scan *scan)
{
	if (*scan->p == '"')
		return skip_string(scan);
	if (strncmp(scan->p, "@include", 8) == 0)
		return refuse_include(scan);
	if (*scan->p == '#' || strncmp(scan->p, "//", 2) == 0)
		skip(scan, strcspn(scan->p, "\n"));
	else if (strncmp(scan->p, "/*", 2) == 0)
		skip_block_comment(scan);
	else if (ascii_is_digit(*scan->p))
		scan_number(scan);
	else if (ascii_is_letter(*scan->p))
		skip(scan,
		    strspn(scan->p, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-*"));
	else
		skip(scan, 1);
	return 0;
}

static int scan_text(const struct source *source, const char *text)
{
	struct scan scan = {.source = source, .p = text, .line = 1};

	while (*scan.p != '\0')
		if (scan_one(&scan) < 0)
			return -1;
	return 0;
}

static void complain_about_syntax(const struct source *source)
{
	const char *said = config_error_text(&source->tree);
	int line = config_error_line(&source->tree);

	for (size_t i = 0; i < sizeof syntax_errors / sizeof *syntax_errors; i++) {
		if (said == NULL || strcmp(said, syntax_errors[i].said) != 0)
			continue;
		config_problem_add(source->problems, true, source->file, line, "%s; %s",
		    syntax_errors[i].what, syntax_errors[i].remedy);
		return;
	}
	config_problem_add(source->problems, true, source->file, line, "%s; correct the syntax",
	    said != NULL ? said : "not readable");
}

static int parse(struct source *source, const char *text, size_t n)
{
	/* Some editors put a byte order mark in front; libconfig knows none. */
	size_t mark = strncmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;

	if (strlen(text) != n) {
		source_error(source, NULL, "holds a NUL byte; the config is plain text");
		return -1;
	}
	if (scan_text(source, text + mark) < 0)
		return -1;
	LEAK_CHECK_PAUSE();
	bool is_parsed = config_read_string(&source->tree, text + mark) == CONFIG_TRUE;
	LEAK_CHECK_RESUME();
	if (!is_parsed)
		complain_about_syntax(source);
	return is_parsed ? 0 : -1;
}

int source_read(struct source *source, const char *file, struct config_problems *problems)
{
	size_t n = 0;

	source->file = file;
	source->problems = problems;
	source->mode = 0;
	source->drop_ins = NULL;
	config_init(&source->tree);
	char *text = read_file(source, &n);
	if (text == NULL)
		return -1;
	int result = parse(source, text, n);
	free(text);
	return result;
}

void source_free(struct source *source)
{
	drop_ins_free(source->drop_ins);
	config_destroy(&source->tree);
}
