#include "base/charset.h"

#include <iconv.h>
#include <stdint.h>
#include <string.h>
#include <sys/queue.h>

#include "base/mem.h"

struct converter {
	SLIST_ENTRY(converter) next;
	char *charset;
	iconv_t to_utf8;
};

/* As many as there are names in the configs of this process: never closed. */
static SLIST_HEAD(, converter) converters = SLIST_HEAD_INITIALIZER(converters);

static const struct converter *find(const char *charset)
{
	const struct converter *converter;

	SLIST_FOREACH(converter, &converters, next)
		if (strcmp(converter->charset, charset) == 0)
			return converter;
	return NULL;
}

bool charset_is_known(const char *charset)
{
	if (find(charset) != NULL)
		return true;
	iconv_t to_utf8 = iconv_open("UTF-8", charset);
	if (to_utf8 == (iconv_t)-1)
		return false;
	struct converter *converter = xcalloc(1, sizeof *converter);
	converter->charset = xstrdup(charset);
	converter->to_utf8 = to_utf8;
	SLIST_INSERT_HEAD(&converters, converter, next);
	return true;
}

size_t charset_to_utf8(void *arg, const char *charset, const char *in, size_t n, char *out, size_t room)
{
	const struct converter *converter = find(charset);
	char *rest = (char *)(uintptr_t)in, *end = out;

	(void)arg;
	if (converter == NULL)
		return 0;
	iconv(converter->to_utf8, NULL, NULL, NULL, NULL);
	/* The second call writes what is held back: a letter that a mark could have followed. */
	if (iconv(converter->to_utf8, &rest, &n, &end, &room) == (size_t)-1 ||
	    iconv(converter->to_utf8, NULL, NULL, &end, &room) == (size_t)-1)
		return 0;
	return (size_t)(end - out);
}
