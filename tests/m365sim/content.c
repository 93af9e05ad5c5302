#include "content.h"

#include <string.h>
#include <strings.h>

void content_init(struct content *content, bool stuffed)
{
	memset(content, 0, sizeof(*content));
	content->stuffed = stuffed;
}

static void count_byte(struct content *content, char c)
{
	if (c == '\n') {
		content->long_lines += content->line_length > 998;
		content->line_length = 0;
	} else if (c != '\r') {
		content->line_length++;
	}
	content->nul += c == '\0';
	content->eight_bit += (c & 0x80) != 0;
}

/* c is content. What CR and LF mean for the line is decided here. */
static void step(struct content *content, char c)
{
	bool after_cr = content->state == AFTER_CR;

	count_byte(content, c);
	if (c == '\n') {
		content->bare_lf += !after_cr;
		content->state = after_cr ? AT_LINE_START : IN_LINE;
		return;
	}
	content->bare_cr += after_cr;
	content->state = c == '\r' ? AFTER_CR : IN_LINE;
}

size_t content_take(struct content *content, const char *in, size_t n, char *out, size_t *out_n, bool *ended)
{
	size_t i, o = 0;

	*ended = false;
	for (i = 0; i < n && !*ended; i++) {
		char c = in[i];

		if (content->stuffed && content->state == AT_LINE_START && c == '.') {
			content->state = AFTER_DOT;
			continue;
		}
		if (content->state == AFTER_DOT && c == '\r') {
			content->state = AFTER_DOT_CR;
			continue;
		}
		if (content->state == AFTER_DOT_CR) {
			*ended = c == '\n';
			if (*ended)
				continue;
			/* The held CR was content after all. */
			out[o++] = '\r';
			content->state = AFTER_CR;
			content->unstuffed_dots++;
		} else if (content->state == AFTER_DOT) {
			content->unstuffed_dots += c != '.';
			content->state = IN_LINE;
		}
		out[o++] = c;
		step(content, c);
	}
	if (content->head_n < CONTENT_HEAD) {
		size_t room = CONTENT_HEAD - content->head_n, part = o < room ? o : room;

		memcpy(content->head + content->head_n, out, part);
		content->head_n += part;
	}
	*out_n = o;
	return i;
}

/* The value of the first field of that name (with its colon), from *value to the end returned, folded lines and all; NULL: there
 * is none. */
static const char *find_field(const struct content *content, const char *name, const char **value)
{
	const char *line = content->head, *end = line + content->head_n, *next;
	bool found = false;

	for (; line < end && *line != '\r' && *line != '\n'; line = next) {
		const char *lf = memchr(line, '\n', (size_t)(end - line));

		next = lf ? lf + 1 : end;
		if (found && *line != ' ' && *line != '\t')
			return line;
		if (!found && (size_t)(end - line) > strlen(name) && !strncasecmp(line, name, strlen(name))) {
			*value = line + strlen(name);
			found = true;
		}
	}
	return found ? line : NULL;
}

/* What is between them into dst; false, dst empty, when that is nothing, or too much. */
static bool take(char *dst, size_t size, const char *from, const char *to)
{
	size_t n = (size_t)(to - from);

	dst[0] = '\0';
	if (n == 0 || n >= size)
		return false;
	memcpy(dst, from, n);
	dst[n] = '\0';
	return true;
}

bool content_message_id(const struct content *content, char *dst, size_t size)
{
	const char *value, *end = find_field(content, "Message-ID:", &value);
	const char *open = end ? memchr(value, '<', (size_t)(end - value)) : NULL;
	const char *close = open ? memchr(open, '>', (size_t)(end - open)) : NULL;

	dst[0] = '\0';
	return close && close - open <= 300 && take(dst, size, open, close + 1);
}

bool content_from(const struct content *content, char *dst, size_t size)
{
	const char *value, *end = find_field(content, "From:", &value), *open;

	dst[0] = '\0';
	if (!end)
		return false;
	open = memrchr(value, '<', (size_t)(end - value));
	if (open) {
		const char *close = memchr(open, '>', (size_t)(end - open));

		return close && take(dst, size, open + 1, close);
	}
	while (value < end && strchr(" \t\r\n", *value))
		value++;
	while (end > value && strchr(" \t\r\n", end[-1]))
		end--;
	return take(dst, size, value, end);
}
