#include "base/text.h"

#include <stdarg.h>
#include <string.h>

#define DIGITS_MAX (TEXT_NUMBER_SIZE - 1) /* of 64 bits */

struct text text_in(char *p, size_t size)
{
	p[0] = '\0';
	return (struct text){.p = p, .room = size - 1};
}

void text_add(struct text *text, struct str s)
{
	size_t room = text->room - text->n, n = s.n < room ? s.n : room;

	if (n > 0)
		memcpy(text->p + text->n, s.p, n);
	text->n += n;
	text->p[text->n] = '\0';
}

void text_join(struct text *text, ...)
{
	const char *s;
	va_list args;

	va_start(args, text);
	while ((s = va_arg(args, const char *)) != NULL)
		text_add(text, str_of(s));
	va_end(args);
}

void text_number(struct text *text, uint64_t number, unsigned width)
{
	char digits[DIGITS_MAX];
	size_t at = sizeof digits, least = sizeof digits - width;

	do
		digits[--at] = (char)('0' + number % 10);
	while ((number /= 10) > 0);
	while (at > least)
		digits[--at] = '0';
	text_add(text, (struct str){digits + at, sizeof digits - at});
}

const char *text_of_number(char out[TEXT_NUMBER_SIZE], uint64_t number)
{
	struct text text = text_in(out, TEXT_NUMBER_SIZE);

	text_number(&text, number, 0);
	return out;
}
