/* One answer of a token endpoint, read: a token with its lifetime, or a failure. Pure. */
#ifndef MFDRELAY_SENDER_TOKEN_ANSWER_H
#define MFDRELAY_SENDER_TOKEN_ANSWER_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>
#include "base/secret.h"
#include "base/str.h"
#include "catalogue/catalogue.h"

/* The JSON object that a body is, the caller's to json_decref; NULL when it is anything else. */
json_t *token_answer_object(struct str body);

/* An answer's HTTP status and body become a token with its lifetime in seconds, or a failure. expires_in may be a number or
 * a string of digits. Returns 0 with token (freed by secret_free) and *lifetime_s, or -1 with why filled and token empty. A
 * lifetime that is not said counts as 10 minutes, a longer one than 28 hours as those. */
int token_read_answer(int status, struct str body, struct secret *token, long *lifetime_s, struct failure *why);

/* The refresh token of a body that token_read_answer has taken. Returns 0, and the caller frees it; or -1 with why where it has
 * none, or one that can't be kept. */
int token_read_refresh(struct str body, struct secret *refresh, struct failure *why);

/* Whether the body is a refusal in the form of RFC 6749 section 5.2, and not a page of whoever stands in between. */
bool token_has_error(struct str body);

/* What Microsoft's support asks for: "trace_id" and "correlation_id" of an error's body, "" where it has none. */
struct token_trace {
	char trace_id[64], correlation_id[64];
};
void token_read_trace(struct token_trace *out, struct str body);

#endif
