#include "sender/device_answer.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "sender/token_answer.h"

#define CODE_MAX       4096
#define INTERVAL_S     5 /* RFC 8628 section 3.2: where none is said */
#define INTERVAL_MAX_S 60
#define EXPIRES_S      900
#define EXPIRES_MAX_S  3600

/* Visible ASCII, which a terminal can be given. */
static bool copy_text(char *dst, size_t size, const json_t *value)
{
	const char *text = json_string_value(value);

	if (text == NULL || text[0] == '\0' ||
	    !str_copy(dst, size, (struct str){text, json_string_length(value)}))
		return false;
	for (const char *c = text; *c != '\0'; c++)
		if (*c <= ' ' || *c >= 0x7f)
			return false;
	return true;
}

static long seconds_of(const json_t *value, long fallback, long max)
{
	uint64_t seconds = (uint64_t)fallback;

	if (json_is_string(value))
		str_u64(str_of(json_string_value(value)), INT32_MAX, &seconds);
	else if (json_is_integer(value) && json_integer_value(value) > 0)
		seconds = (uint64_t)json_integer_value(value);
	return seconds == 0 ? fallback : seconds > (uint64_t)max ? max : (long)seconds;
}

static bool read_code(const json_t *root, struct device_code *out)
{
	const json_t *code = json_object_get(root, "device_code");
	size_t n = json_string_length(code);

	if (!json_is_string(code) || n == 0 || n > CODE_MAX ||
	    !copy_text(out->user_code, sizeof out->user_code, json_object_get(root, "user_code")) ||
	    (!copy_text(out->url, sizeof out->url, json_object_get(root, "verification_uri")) &&
		!copy_text(out->url, sizeof out->url, json_object_get(root, "verification_url"))))
		return false;
	out->interval_s = seconds_of(json_object_get(root, "interval"), INTERVAL_S, INTERVAL_MAX_S);
	out->expires_s = seconds_of(json_object_get(root, "expires_in"), EXPIRES_S, EXPIRES_MAX_S);
	secret_set(&out->code, (struct str){json_string_value(code), n});
	return true;
}

int device_read_code(int status, struct str body, struct device_code *out, struct failure *why)
{
	json_t *root = status == 200 ? token_answer_object(body) : NULL;
	bool read = root != NULL && read_code(root, out);
	struct secret token;
	long lifetime_s;

	json_decref(root);
	if (read)
		return 0;
	/* A refusal has the form that one of a token has. */
	if (status == 200)
		failure_from_trouble(why, ROAD_LOGIN_ANSWER, "the answer has no device_code");
	else if (token_read_answer(status, body, &token, &lifetime_s, why) == 0)
		secret_free(&token);
	return -1;
}

enum device_poll device_read_poll(struct str body)
{
	json_t *root = token_answer_object(body);
	const char *error = json_string_value(json_object_get(root, "error"));
	enum device_poll result = DEVICE_FAILED;

	if (error != NULL && strcmp(error, "authorization_pending") == 0)
		result = DEVICE_PENDING;
	else if (error != NULL && strcmp(error, "slow_down") == 0)
		result = DEVICE_SLOWER;
	json_decref(root);
	return result;
}
