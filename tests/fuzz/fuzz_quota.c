/* spool/quota: what parses is written as text that parses to the same. */
#include <string.h>

#include "fuzz.h"
#include "spool/quota.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct quota quota, again;
	struct err err = {""};
	size_t n, n_again;

	if (quota_parse((struct str){(const char *)bytes, size}, &quota, &err) < 0) {
		PROMISE(err.text[0] != '\0' && quota.count == 0 && quota.windows == NULL);
		return 0;
	}
	char *text = quota_format(&quota, &n);
	PROMISE(n <= QUOTA_MAX);
	PROMISE(quota_parse((struct str){text, n}, &again, &err) == 0);
	PROMISE(again.count == quota.count && again.written_ms == quota.written_ms);
	char *text_again = quota_format(&again, &n_again);
	PROMISE(n_again == n && memcmp(text_again, text, n) == 0);
	free(text);
	free(text_again);
	quota_free(&quota);
	quota_free(&again);
	return 0;
}
