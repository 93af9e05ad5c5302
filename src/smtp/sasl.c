#include "smtp/sasl.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/mem.h"

#define PLAIN_MAX     (2 * SASL_USER_MAX + SASL_PASSWORD_MAX + 2)
#define CHALLENGE_MAX 1536

/* What EVP_DecodeBlock writes for so many octets of content: whole groups of three. */
#define GROUPS(octets) (((octets) + 2) / 3 * 3)

/* EVP_DecodeBlock itself skips blanks and takes '-' as an end, so its input is looked at first. */
static bool is_base64(struct str s)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	if (s.n % 4 != 0)
		return false;
	for (int pad = 0; pad < 2 && s.n > 0 && s.p[s.n - 1] == '='; pad++)
		s.n--;
	for (size_t i = 0; i < s.n; i++)
		if (memchr(alphabet, s.p[i], sizeof alphabet - 1) == NULL)
			return false;
	return true;
}

/* Decode base64 into dst, which has room octets, a multiple of three. Returns false, and has written nothing,
 * where it is no base64 or too long; the '=' counts here, so that EVP_DecodeBlock's zeros for it fit too. */
static bool decode(struct str base64, char *dst, size_t room, size_t *n)
{
	assert(room % 3 == 0);
	if (base64.n > SASL_LINE_MAX || base64.n / 4 * 3 > room || !is_base64(base64))
		return false;
	*n = 0;
	if (base64.n == 0)
		return true;
	if (EVP_DecodeBlock((unsigned char *)dst, (const unsigned char *)base64.p, (int)base64.n) < 0)
		return false;
	*n = base64.n / 4 * 3 - (base64.p[base64.n - 1] == '=') - (base64.p[base64.n - 2] == '=');
	return true;
}

/* Cut off and return what stands before the first NUL, which is dropped too. */
static bool take_field(struct str *s, struct str *field)
{
	const char *nul = memchr(s->p, '\0', s->n);

	if (nul == NULL)
		return false;
	*field = (struct str){s->p, (size_t)(nul - s->p)};
	*s = (struct str){nul + 1, s->n - field->n - 1};
	return true;
}

static bool split_plain(struct str message, struct sasl_login *out)
{
	struct str authzid, user;

	if (!take_field(&message, &authzid) || !take_field(&message, &user) || user.n == 0)
		return false;
	/* A third NUL would be inside the password, where str_copy refuses it. */
	if (!str_copy(out->user, sizeof out->user, user) ||
	    !str_copy(out->password, sizeof out->password, message))
		return false;
	return authzid.n == 0 || str_eq(authzid, out->user);
}

bool sasl_decode_plain(struct str base64, struct sasl_login *out)
{
	char message[GROUPS(PLAIN_MAX)];
	size_t n;

	sasl_login_wipe(out);
	bool good = decode(base64, message, sizeof message, &n) && split_plain((struct str){message, n}, out);
	explicit_bzero(message, sizeof message);
	if (!good)
		sasl_login_wipe(out);
	return good;
}

bool sasl_decode_login(struct str base64, char *dst, size_t size)
{
	char answer[GROUPS(PLAIN_MAX)];
	size_t n;

	dst[0] = '\0';
	bool good = decode(base64, answer, sizeof answer, &n) && str_copy(dst, size, (struct str){answer, n});
	explicit_bzero(answer, sizeof answer);
	return good;
}

void sasl_login_wipe(struct sasl_login *login)
{
	explicit_bzero(login, sizeof *login);
}

void sasl_base64(struct secret *out, struct str value)
{
	assert(value.n < INT_MAX / 2);
	out->n = (value.n + 2) / 3 * 4;
	out->bytes = xcalloc(1, out->n + 1);
	EVP_EncodeBlock((unsigned char *)out->bytes, (const unsigned char *)value.p, (int)value.n);
}

/* base64 of count parts, one behind the other. */
static void encode_parts(struct secret *out, const struct str *parts, size_t count)
{
	struct secret message = {NULL, 0};
	size_t used = 0;

	for (size_t i = 0; i < count; i++)
		message.n += parts[i].n;
	message.bytes = xcalloc(1, message.n + 1);
	for (size_t i = 0; i < count; i++) {
		memcpy(message.bytes + used, parts[i].p, parts[i].n);
		used += parts[i].n;
	}
	sasl_base64(out, (struct str){message.bytes, message.n});
	secret_free(&message);
}

void sasl_xoauth2(struct secret *out, const char *user, const struct secret *token)
{
	const struct str parts[] = {
	    str_of("user="),
	    str_of(user),
	    str_of("\x01"
		   "auth=Bearer "),
	    {token->bytes, token->n},
	    str_of("\x01\x01"),
	};

	encode_parts(out, parts, sizeof parts / sizeof parts[0]);
}

void sasl_plain(struct secret *out, const char *user, const struct secret *password)
{
	const struct str parts[] = {{"", 1}, str_of(user), {"", 1}, {password->bytes, password->n}};

	encode_parts(out, parts, sizeof parts / sizeof parts[0]);
}

const char *sasl_challenge_text(char *dst, size_t size, struct str base64)
{
	char text[CHALLENGE_MAX];
	size_t n;

	dst[0] = '\0';
	if (base64.n > CHALLENGE_MAX / 3 * 4)
		base64.n = CHALLENGE_MAX / 3 * 4;
	if (!decode(base64, text, sizeof text, &n))
		return dst;
	if (n > size - 1)
		n = size - 1;
	for (size_t i = 0; i < n; i++)
		dst[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
	dst[n] = '\0';
	return dst;
}
