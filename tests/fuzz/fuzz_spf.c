/* TXT records that may be of SPF, one a line. */
#include <string.h>

#include "fuzz.h"
#include "online/spf.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	static const struct in6_addr address = {.s6_addr = {[10] = 0xff, [11] = 0xff, 203, 0, 113, 7}};
	char *text = malloc(n + 1), *rest = text, *record;
	struct spf spf;

	if (text == NULL)
		abort();
	memcpy(text, bytes, n);
	text[n] = '\0';
	spf_begin(&spf, "contoso.com", &address);
	while (spf_next(&spf) != NULL && (record = strsep(&rest, "\n")) != NULL) {
		if (spf_is_record(record))
			spf_take(&spf, record);
		PROMISE(spf.next <= spf.count && spf.count <= SPF_DOMAINS_MAX + 1);
		PROMISE(spf.listed == (spf.by[0] != '\0'));
		PROMISE(strnlen(spf.by, sizeof spf.by) < sizeof spf.by);
		for (size_t i = 0; i < spf.count; i++)
			PROMISE(strnlen(spf.domains[i], sizeof spf.domains[i]) <= SPF_NAME_MAX);
	}
	free(text);
	return 0;
}
