#include "config/check_pattern.h"

#include <string.h>

#include "config/source.h"

void check_pattern(
    const struct source *source, const config_setting_t *at, const char *key, const char *pattern)
{
	const char *sign = strrchr(pattern, '@');

	if (strpbrk(pattern, " \t<>,;") != NULL)
		source_error(source, at,
		    "%s = \"%.64s\": one pattern an entry, without blanks; write [ \"a@b\", \"*@c\" ]", key,
		    pattern);
	else if (sign == pattern ||
		 (sign == NULL && strchr(pattern, '*') == NULL && strchr(pattern, '.') != NULL))
		source_error(source, at, "%s = \"%.64s\" matches no address; write \"*@%.64s\"", key, pattern,
		    sign == pattern ? pattern + 1 : pattern);
	else if (sign != NULL && sign[1] == '\0')
		source_error(source, at, "%s = \"%.64s\" matches no address; write a domain behind the @",
		    key, pattern);
}
