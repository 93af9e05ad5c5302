/* What somebody pastes into mfdrelay explain. */
#include <string.h>

#include "catalogue/explain.h"
#include "fuzz.h"

static void check_line(const char *text, size_t room)
{
	PROMISE(strnlen(text, room) < room);
	for (; *text != '\0'; text++)
		PROMISE(*text >= ' ' && *text <= '~');
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	static struct explanation found[EXPLAIN_MAX];
	char *text = malloc(n + 1);

	memcpy(text, bytes, n);
	text[n] = '\0';
	size_t count = explain(text, found);
	PROMISE(count <= EXPLAIN_MAX);
	for (size_t i = 0; i < count; i++) {
		check_line(found[i].text, sizeof found[i].text);
		for (size_t k = 0; k < i; k++)
			PROMISE(found[k].cause != found[i].cause);
	}
	free(text);
	return 0;
}
