/* Text beyond ASCII in headers: encoded words (RFC 2047), parameters (RFC 2231), and the charsets devices write. Pure. */
#ifndef MFDRELAY_SMTP_WORDS_H
#define MFDRELAY_SMTP_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include "base/buf.h"
#include "base/str.h"

bool words_is_ascii(struct str s);
bool words_is_utf8(struct str s);

/* Add s, in charset, to out as UTF-8. Known are windows-1252, ISO-8859-1 (read as windows-1252, as browsers do: that is
 * what it mostly is) and ISO-8859-15. Returns false, nothing added, for another charset. */
bool words_to_utf8(struct buf *out, const char *charset, struct str s);

/* Whether s is one encoded word, "=?charset?B?...?=". */
bool words_is_encoded(struct str s);

/* Add the words of utf8 to out, encoded from the first that is not ASCII to the last, one blank between the encoded
 * ones; valid in unstructured text and in display names alike. Blanks at both ends stay. */
void words_encode(struct buf *out, struct str utf8);

/* Add all of utf8, encoded. */
void words_encode_all(struct buf *out, struct str utf8);

/* Add "name*=utf-8''..." for a parameter; in pieces ("name*0*=...; name*1*=...") of 20 characters where it is long. The name stands
 * before each of them: the caller bounds it. */
void words_encode_param(struct buf *out, struct str name, struct str utf8);

/* The first of at most count characters of utf8, in octets. */
size_t words_cut(struct str utf8, size_t count);

/* What a charset label that mail servers refuse should be, or NULL where label is left as it is. */
const char *words_charset_alias(const char *label);

#endif
