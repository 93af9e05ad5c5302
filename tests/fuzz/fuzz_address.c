/* One address alone, and as text and pattern of a match: the input is "ADDRESS" or "ADDRESS\nPATTERN". */
#include "check_address.h"

static void check_match(const struct address *address, const char *pattern)
{
	PROMISE(address_matches(address->text, "*"));
	PROMISE(address_matches(address->text, address->text));
	/* A '*' more anywhere never takes a match away. */
	if (address_matches(address->text, pattern)) {
		char wider[400];
		snprintf(wider, sizeof wider, "*%s*", pattern);
		PROMISE(address_matches(address->text, wider));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	const char *text = (const char *)bytes;
	const char *end = memchr(text, '\n', n);
	char pattern[390] = "*@*";
	struct address address;

	if (end != NULL)
		str_copy(pattern, sizeof pattern, (struct str){end + 1, n - (size_t)(end + 1 - text)});
	if (address_parse((struct str){text, end != NULL ? (size_t)(end - text) : n}, &address)) {
		check_address(&address);
		check_match(&address, pattern);
	} else {
		PROMISE(address.text[0] == '\0' && address.at == 0);
	}
	return 0;
}
