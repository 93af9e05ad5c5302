/* A form (application/x-www-form-urlencoded) that may hold secrets: what it outgrows is wiped. */
#ifndef MFDRELAY_SENDER_FORM_H
#define MFDRELAY_SENDER_FORM_H

#include "base/secret.h"

/* Append name=value, the value percent-encoded; name is a literal that needs no encoding. form starts empty; freed by
 * secret_free. */
void form_add(struct secret *form, const char *name, struct str value);

#endif
