/* Tokens as Microsoft gives them, and things that are none: what a check of an upstream can say about them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "online/claims.h"
#include "smtp/sasl.h"

/* A token with that payload: base64 with the other two letters, and no padding. */
static char *token_of(const char *payload)
{
	struct secret base64;
	static char token[40000];

	sasl_base64(&base64, str_of(payload));
	for (size_t i = 0; i < base64.n; i++)
		base64.bytes[i] = base64.bytes[i] == '+'   ? '-'
				  : base64.bytes[i] == '/' ? '_'
							   : base64.bytes[i];
	base64.bytes[strcspn(base64.bytes, "=")] = '\0';
	snprintf(token, sizeof token, "eyJ0eXAiOiJKV1QifQ.%s.c2lnbmF0dXJl", base64.bytes);
	secret_free(&base64);
	return token;
}

static bool read_payload(const char *payload, struct claims *out)
{
	return claims_read(str_of(token_of(payload)), out);
}

static void the_apps_own_token(void **state)
{
	struct claims claims;

	(void)state;
	assert_true(
	    read_payload("{\"aud\":\"https://outlook.office365.com\",\"tid\":\"t-1\",\"appid\":\"a-1\","
			 "\"roles\":[\"SMTP.SendAsApp\",\"Mail.Send\"],\"exp\":1795000000}",
		&claims));
	assert_string_equal(claims.audience, "https://outlook.office365.com");
	assert_string_equal(claims.tenant, "t-1");
	assert_string_equal(claims.app, "a-1");
	assert_string_equal(claims.user, "");
	assert_string_equal(claims.roles, "SMTP.SendAsApp Mail.Send");
	assert_int_equal(claims.expires_s, 1795000000);
	assert_true(claims_have(&claims, "Mail.Send") && claims_have(&claims, "SMTP.SendAsApp"));
	assert_false(claims_have(&claims, "SMTP.Send"));
	assert_false(claims_have(&claims, "Send"));
}

static void a_token_in_a_persons_name(void **state)
{
	struct claims claims;

	(void)state;
	assert_true(read_payload(
	    "{\"azp\":\"a-2\",\"upn\":\"scan@contoso.com\",\"scp\":\"SMTP.Send User.Read\"}", &claims));
	assert_string_equal(claims.app, "a-2");
	assert_string_equal(claims.user, "scan@contoso.com");
	assert_true(claims_have(&claims, "SMTP.Send") && claims_have(&claims, "User.Read"));
	assert_int_equal(claims.expires_s, 0);
}

static void what_is_no_such_token(void **state)
{
	static const char *const tokens[] = {"", "opaque", "a.b", "..", "a..c", "a.%%%%.c", "a.e30=.c",
	    "a.abcde.c", "a.W10.c" /* a list */, "a.eyJhIjo.c" /* cut */};
	struct claims claims;

	(void)state;
	for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
		if (claims_read(str_of(tokens[i]), &claims))
			fail_msg("\"%s\" passes for a token", tokens[i]);
		assert_string_equal(claims.audience, "");
	}
	assert_true(claims_read(str_of("a.e30.c"), &claims));
}

static void odd_values_do_no_harm(void **state)
{
	static char big[30000];
	struct claims claims;

	(void)state;
	assert_true(read_payload(
	    "{\"aud\":7,\"tid\":[],\"appid\":null,\"roles\":{\"a\":1},\"exp\":\"soon\"}", &claims));
	assert_string_equal(claims.audience, "");
	assert_string_equal(claims.roles, "");
	assert_true(
	    read_payload("{\"aud\":\"a\\u001b[2Jb\\u00e4\",\"roles\":[1,\"x\",null,\"y\"]}", &claims));
	assert_string_equal(claims.audience, "a?[2Jb??");
	assert_string_equal(claims.roles, "x y");
	snprintf(big, sizeof big, "{\"aud\":\"%01000d\",\"roles\":[\"%0400d\",\"%0400d\"]}", 0, 0, 0);
	assert_true(read_payload(big, &claims));
	assert_int_equal(strlen(claims.audience), sizeof claims.audience - 1);
	assert_int_equal(strlen(claims.roles), sizeof claims.roles - 1);
	snprintf(big, sizeof big, "{\"aud\":\"%020000d\"}", 0);
	assert_false(read_payload(big, &claims));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_apps_own_token),
	    cmocka_unit_test(a_token_in_a_persons_name),
	    cmocka_unit_test(what_is_no_such_token),
	    cmocka_unit_test(odd_values_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
