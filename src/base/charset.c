#include "base/charset.h"

#include <iconv.h>
#include <stdint.h>

bool charset_is_known(const char *charset)
{
	iconv_t converter = iconv_open("UTF-8", charset);

	if (converter == (iconv_t)-1)
		return false;
	iconv_close(converter);
	return true;
}

size_t charset_to_utf8(void *arg, const char *charset, const char *in, size_t n, char *out, size_t room)
{
	iconv_t converter = iconv_open("UTF-8", charset);
	char *rest = (char *)(uintptr_t)in, *end = out;

	(void)arg;
	if (converter == (iconv_t)-1)
		return 0;
	size_t failed = iconv(converter, &rest, &n, &end, &room);
	iconv_close(converter);
	return failed == (size_t)-1 ? 0 : (size_t)(end - out);
}
