/* Base64 of a device's login, and what is made for an upstream: what we write we can read. */
#include <string.h>

#include "fuzz.h"
#include "smtp/sasl.h"

static void check_plain(const struct sasl_login *login)
{
	struct secret password, line;
	struct sasl_login again;

	PROMISE(login->user[0] != '\0' && strlen(login->user) <= SASL_USER_MAX);
	PROMISE(strlen(login->password) <= SASL_PASSWORD_MAX);
	secret_set(&password, str_of(login->password));
	sasl_plain(&line, login->user, &password);
	PROMISE(sasl_decode_plain((struct str){line.bytes, line.n}, &again));
	PROMISE(strcmp(again.user, login->user) == 0 && strcmp(again.password, login->password) == 0);
	secret_free(&line);
	sasl_xoauth2(&line, login->user, &password);
	PROMISE(line.n % 4 == 0 && strlen(line.bytes) == line.n);
	secret_free(&line);
	secret_free(&password);
}

/* Bytes to base64 and back: all of them, or refused as LOGIN does. */
static void check_bytes(struct str value)
{
	char back[SASL_PASSWORD_MAX + 1];
	struct secret line;

	sasl_base64(&line, value);
	bool fits = value.n < sizeof back && memchr(value.p, '\0', value.n) == NULL;
	PROMISE(sasl_decode_login((struct str){line.bytes, line.n}, back, sizeof back) == fits);
	PROMISE(fits ? str_eq(value, back) : back[0] == '\0');
	secret_free(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct str line = {(const char *)bytes, n};
	struct sasl_login login, empty = {.user = ""};
	char answer[SASL_PASSWORD_MAX + 1], text[64];

	if (sasl_decode_plain(line, &login))
		check_plain(&login);
	else
		PROMISE(memcmp(&login, &empty, sizeof login) == 0);
	if (sasl_decode_login(line, answer, sizeof answer))
		check_bytes(str_of(answer));
	else
		PROMISE(answer[0] == '\0');
	sasl_challenge_text(text, sizeof text, line);
	PROMISE(strnlen(text, sizeof text) < sizeof text);
	for (const char *p = text; *p != '\0'; p++)
		PROMISE(*p >= ' ' && *p <= '~');
	check_bytes(line);
	return 0;
}
