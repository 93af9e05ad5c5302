/* An answer of the login host: the first byte chooses the HTTP status, the rest is the body. */
#include <string.h>

#include "fuzz.h"
#include "sender/device_answer.h"
#include "sender/token_answer.h"

static void check_failure(const struct failure *why, const struct secret *token)
{
	PROMISE(token->bytes == NULL && token->n == 0);
	PROMISE(why->cause != NULL && why->cause->name[0] != '\0');
	PROMISE(strnlen(why->text, sizeof why->text) < sizeof why->text);
	for (const char *p = why->text; *p != '\0'; p++)
		PROMISE(*p >= ' ' && *p <= '~');
}

static void check_device(int status, struct str body)
{
	struct device_code code = {.interval_s = 0};
	struct secret refresh;
	struct failure why;

	device_read_poll(body);
	if (device_read_code(status, body, &code, &why) == 0) {
		PROMISE(code.code.n > 0 && code.user_code[0] != '\0' && code.url[0] != '\0');
		PROMISE(code.interval_s >= 1 && code.interval_s <= 60 && code.expires_s >= 1 &&
			code.expires_s <= 3600);
		secret_free(&code.code);
	}
	if (token_read_refresh(body, &refresh, &why) == 0) {
		PROMISE(refresh.n > 0 && strlen(refresh.bytes) == refresh.n);
		secret_free(&refresh);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	static const int statuses[] = {200, 400, 401, 429, 500, 503, 302, 0};
	struct secret token;
	struct failure why;
	long lifetime_s = 0;

	if (n == 0)
		return 0;
	int status = statuses[bytes[0] % (sizeof statuses / sizeof *statuses)];
	check_device(status, (struct str){(const char *)bytes + 1, n - 1});
	if (token_read_answer(
		status, (struct str){(const char *)bytes + 1, n - 1}, &token, &lifetime_s, &why) == 0) {
		PROMISE(status == 200 && token.n > 0 && strlen(token.bytes) == token.n);
		PROMISE(lifetime_s > 0 && lifetime_s <= 28 * 3600);
		for (size_t i = 0; i < token.n; i++)
			PROMISE(token.bytes[i] > ' ' && token.bytes[i] <= '~');
		secret_free(&token);
	} else {
		check_failure(&why, &token);
	}
	return 0;
}
