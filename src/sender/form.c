#include "sender/form.h"

#include <string.h>

#include "base/ascii.h"
#include "base/mem.h"

/* RFC 3986: unreserved. */
static bool stands_for_itself(unsigned char c)
{
	return ascii_is_alnum((char)c) || (c != '\0' && strchr("-._~", c) != NULL);
}

/* At the end of form, which has room: three octets for each of value. */
static void append_encoded(struct secret *form, struct str value)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < value.n; i++) {
		unsigned char c = (unsigned char)value.p[i];
		if (stands_for_itself(c)) {
			form->bytes[form->n++] = (char)c;
		} else {
			form->bytes[form->n++] = '%';
			form->bytes[form->n++] = hex[c >> 4];
			form->bytes[form->n++] = hex[c & 15];
		}
	}
}

static void append(struct secret *form, struct str text)
{
	if (text.n > 0)
		memcpy(form->bytes + form->n, text.p, text.n);
	form->n += text.n;
}

void form_add(struct secret *form, const char *name, struct str value)
{
	struct secret longer = {xcalloc(1, form->n + strlen(name) + 3 * value.n + 3), 0};

	append(&longer, (struct str){form->bytes, form->n});
	if (longer.n > 0)
		append(&longer, str_of("&"));
	append(&longer, str_of(name));
	append(&longer, str_of("="));
	append_encoded(&longer, value);
	secret_free(form);
	*form = longer;
}
