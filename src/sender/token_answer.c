#include "sender/token_answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#define TOKEN_MAX	  16384	 /* octets; 1,500 to 3,000 have been seen */
#define LIFETIME_MAX_S	  100800 /* 28 hours, the longest that Microsoft gives */
#define LIFETIME_UNSAID_S 600	 /* the shortest that Microsoft gives, where an answer does not say */

json_t *token_answer_object(struct str body)
{
	json_t *root = body.n == 0 ? NULL : json_loadb(body.p, body.n, JSON_REJECT_DUPLICATES, NULL);

	if (json_is_object(root))
		return root;
	json_decref(root);
	return NULL;
}

static const char *string_of(const json_t *root, const char *key)
{
	return json_string_value(json_object_get(root, key));
}

/* error_codes[0], or what the description begins with: "AADSTS7000215: ...". */
static long error_number(const json_t *root, const char *description)
{
	json_t *first = json_array_get(json_object_get(root, "error_codes"), 0);

	if (json_is_integer(first) && json_integer_value(first) > 0)
		return (long)json_integer_value(first);
	if (description != NULL && strncmp(description, "AADSTS", 6) == 0)
		return strtol(description + 6, NULL, 10);
	return 0;
}

static int refuse_answer(struct failure *why, const char *what)
{
	failure_from_trouble(why, ROAD_LOGIN_ANSWER, what);
	return -1;
}

static int read_refusal(int status, const json_t *root, struct failure *why)
{
	const char *description = string_of(root, "error_description");
	char text[64];

	if (root != NULL && string_of(root, "error") != NULL) {
		failure_from_login(
		    why, string_of(root, "error"), description, error_number(root, description), status);
		return -1;
	}
	/* That is all that Microsoft says where it throttles. */
	if (status == 429) {
		failure_from_login(why, "Too Many Requests", "in plain text", 0, status);
		return -1;
	}
	snprintf(text, sizeof text, "HTTP %d without an error in JSON", status);
	if (status < 500)
		return refuse_answer(why, text);
	failure_from_trouble(why, ROAD_LOGIN_HOST, text);
	return -1;
}

static int read_lifetime(const json_t *value, long *lifetime_s)
{
	uint64_t seconds = LIFETIME_UNSAID_S;

	if (json_is_string(value)) {
		struct str text = {json_string_value(value), json_string_length(value)};
		if (!str_u64(text, INT64_MAX, &seconds))
			return -1;
	} else if (json_is_integer(value)) {
		if (json_integer_value(value) < 0)
			return -1;
		seconds = (uint64_t)json_integer_value(value);
	} else if (value != NULL) {
		return -1;
	}
	*lifetime_s = seconds > LIFETIME_MAX_S ? LIFETIME_MAX_S : (long)seconds;
	return seconds == 0 ? -1 : 0;
}

/* It goes into a line of SMTP between control characters: visible ASCII only. */
static bool token_is_clean(const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (bytes[i] <= 0x20 || bytes[i] >= 0x7f)
			return false;
	return n > 0;
}

static int read_success(const json_t *root, struct secret *token, long *lifetime_s, struct failure *why)
{
	const char *type = string_of(root, "token_type");
	json_t *value = json_object_get(root, "access_token");
	size_t n = json_string_length(value);

	if (!json_is_string(value))
		return refuse_answer(why, "the answer has no access_token");
	if (type == NULL || !str_ieq(str_of(type), "Bearer"))
		return refuse_answer(why, "token_type of the answer is not Bearer");
	if (n > TOKEN_MAX)
		return refuse_answer(why, "access_token of the answer is larger than 16 KiB");
	if (!token_is_clean(json_string_value(value), n))
		return refuse_answer(
		    why, "access_token of the answer is empty or holds characters that no token has");
	if (read_lifetime(json_object_get(root, "expires_in"), lifetime_s) < 0)
		return refuse_answer(why, "expires_in of the answer is not a number of seconds above 0");
	secret_set(token, (struct str){json_string_value(value), n});
	return 0;
}

static void wipe(const json_t *value)
{
	if (json_is_string(value))
		explicit_bzero((char *)(uintptr_t)json_string_value(value), json_string_length(value));
}

static void wipe_token(const json_t *root)
{
	wipe(json_object_get(root, "access_token"));
	wipe(json_object_get(root, "refresh_token"));
}

int token_read_answer(
    int status, struct str body, struct secret *token, long *lifetime_s, struct failure *why)
{
	json_t *root = token_answer_object(body);
	int result;

	*token = (struct secret){NULL, 0};
	if (status != 200 || (root != NULL && string_of(root, "error") != NULL))
		result = read_refusal(status, root, why);
	else if (root == NULL)
		result = refuse_answer(why, "HTTP 200 with a body that is not a JSON object");
	else
		result = read_success(root, token, lifetime_s, why);
	wipe_token(root);
	json_decref(root);
	return result;
}

int token_read_refresh(struct str body, struct secret *refresh, struct failure *why)
{
	json_t *root = token_answer_object(body);
	const json_t *value = json_object_get(root, "refresh_token");
	size_t n = json_string_length(value);
	int result = 0;

	*refresh = (struct secret){NULL, 0};
	if (!json_is_string(value))
		result = refuse_answer(
		    why, "the answer has no refresh_token; oauth.scope must hold offline_access");
	else if (n > TOKEN_MAX || !token_is_clean(json_string_value(value), n))
		result =
		    refuse_answer(why, "refresh_token of the answer is empty, too large or not plain text");
	else
		secret_set(refresh, (struct str){json_string_value(value), n});
	wipe_token(root);
	json_decref(root);
	return result;
}

bool token_has_error(struct str body)
{
	json_t *root = token_answer_object(body);
	bool result = string_of(root, "error") != NULL;

	wipe_token(root);
	json_decref(root);
	return result;
}

void token_read_trace(struct token_trace *out, struct str body)
{
	json_t *root = token_answer_object(body);
	const char *trace_id = string_of(root, "trace_id"),
		   *correlation_id = string_of(root, "correlation_id");

	snprintf(out->trace_id, sizeof out->trace_id, "%s", trace_id != NULL ? trace_id : "");
	snprintf(out->correlation_id, sizeof out->correlation_id, "%s",
	    correlation_id != NULL ? correlation_id : "");
	wipe_token(root);
	json_decref(root);
}
