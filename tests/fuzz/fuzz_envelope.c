/* The head of a message file: what parses is written as text that parses to the same, and no cut of that
 * passes. */
#include <string.h>

#include "fuzz.h"
#include "spool/envelope.h"

static void check_cut(const char *text, size_t n)
{
	struct envelope cut;
	struct err err = {""};
	size_t used;

	PROMISE(envelope_parse((struct str){text, n}, &cut, &used, &err) == 1);
	envelope_free(&cut);
}

static void check_again(const struct envelope *envelope)
{
	size_t n, n_again, used, tail, tail_again;
	char *text = envelope_format(envelope, &n, &tail), fixed[ENVELOPE_TAIL_BYTES];
	struct envelope again;
	struct err err = {""};

	PROMISE(n <= ENVELOPE_MAX && tail + ENVELOPE_TAIL_BYTES + 1 == n);
	envelope_format_tail(fixed, envelope->has_8bit, envelope->content_bytes);
	PROMISE(memcmp(text + tail, fixed, sizeof fixed) == 0);
	PROMISE(envelope_parse((struct str){text, n}, &again, &used, &err) == 0 && used == n);
	char *text_again = envelope_format(&again, &n_again, &tail_again);
	PROMISE(n_again == n && tail_again == tail && memcmp(text_again, text, n) == 0);
	check_cut(text, n - 1);
	check_cut(text, n / 2);
	free(text);
	free(text_again);
	envelope_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct envelope envelope;
	struct err err = {""};
	size_t used;
	int result = envelope_parse((struct str){(const char *)bytes, n}, &envelope, &used, &err);

	PROMISE(result == 0 || result == 1 || (result == -1 && err.text[0] != '\0'));
	if (result == 0) {
		PROMISE(used <= n && used >= 2 && memcmp(bytes + used - 2, "\n\n", 2) == 0);
		check_again(&envelope);
	}
	envelope_free(&envelope);
	return 0;
}
