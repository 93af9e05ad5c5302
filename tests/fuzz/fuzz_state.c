/* state/<id> of a message with one and with two recipients: what parses is written as text that parses to the
 * same. */
#include <string.h>

#include "fuzz.h"
#include "spool/envelope.h"
#include "spool/state.h"

static void check_again(const struct state *state, const struct envelope *envelope)
{
	size_t n, n_again;
	char *text = state_format(state, envelope, &n);
	struct state again;
	struct err err = {""};

	PROMISE(n <= STATE_MAX);
	PROMISE(state_parse((struct str){text, n}, envelope, &again, &err) == 0);
	PROMISE(again.count == state->count && again.reports == state->reports);
	char *text_again = state_format(&again, envelope, &n_again);
	PROMISE(n_again == n && memcmp(text_again, text, n) == 0);
	free(text);
	free(text_again);
	state_free(&again);
}

/* A peer's words, as they become a reason. */
static void check_reason(struct state *state, const struct envelope *envelope, struct str words)
{
	char *reason = strndup(words.p, words.n);

	for (size_t i = 0; i < state->count; i++) {
		state_set_reason(&state->recipients[i], reason, reason);
		state_add_refusal(&state->recipients[i], reason);
		state_set_perhaps_taken(&state->recipients[i], reason);
	}
	free(reason);
	check_again(state, envelope);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	char *recipients[] = {"a@contoso.com", "b@contoso.com"};
	struct envelope envelope = {.id = "0d2k1p0a3f7ab9c4e", .recipients = recipients};
	struct str text = {(const char *)bytes, n};

	for (envelope.recipient_count = 1; envelope.recipient_count <= 2; envelope.recipient_count++) {
		struct state state;
		struct err err = {""};
		if (state_parse(text, &envelope, &state, &err) == 0) {
			PROMISE(state.count == envelope.recipient_count);
			check_again(&state, &envelope);
		} else {
			PROMISE(err.text[0] != '\0' && state.count == 0 && state.recipients == NULL);
			state_init(&state, envelope.recipient_count);
		}
		check_reason(&state, &envelope, text);
		state_free(&state);
	}
	return 0;
}
