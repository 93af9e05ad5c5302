/* SASL on both sides: what devices say (PLAIN RFC 4616, LOGIN) and what Microsoft wants (XOAUTH2, LOGIN, PLAIN).
 * Base64 is read strictly: canonical alphabet and padding, no blanks, no line breaks. */
#ifndef MFDRELAY_SMTP_SASL_H
#define MFDRELAY_SMTP_SASL_H

#include <stdbool.h>
#include "base/secret.h"
#include "base/str.h"

#define SASL_USER_MAX 255	/* octets */
#define SASL_PASSWORD_MAX 255
#define SASL_LINE_MAX 12288	/* octets of a base64 line (RFC 4954 section 4) */

struct sasl_login {
	char user[SASL_USER_MAX + 1];
	char password[SASL_PASSWORD_MAX + 1];
};

/* Decode a PLAIN message (authzid NUL user NUL password; a non-empty authzid must be the user). "=" is the empty
 * message. Returns false, *out wiped, for anything not of the form: bad base64, empty user, NULs too few or many,
 * fields too long. */
bool sasl_decode_plain(struct str base64, struct sasl_login *out);

/* Decode one answer of LOGIN into dst (size bytes). Returns false, dst empty, on bad base64, a NUL inside, or a
 * value that does not fit. An empty answer is fine. */
bool sasl_decode_login(struct str base64, char *dst, size_t size);

/* Wipe it. */
void sasl_login_wipe(struct sasl_login *login);

/* The answers an upstream is given, in base64, as secrets the caller frees with secret_free.
 * XOAUTH2: base64("user=" user 0x01 "auth=Bearer " token 0x01 0x01). */
void sasl_xoauth2(struct secret *out, const char *user, const struct secret *token);
void sasl_plain(struct secret *out, const char *user, const struct secret *password);
void sasl_base64(struct secret *out, struct str value);

/* Decode the text of a 334 (an error as JSON) for the log: at most size-1 printable characters, others as '?'.
 * "" when it is not base64. Returns dst. */
const char *sasl_challenge_text(char *dst, size_t size, struct str base64);

#endif
