/* AUTH, the device's side of it: LOGIN and PLAIN (RFC 4954). The passwords are checked in auth.c. */
#ifndef MFDRELAY_LISTENER_AUTH_DIALOG_H
#define MFDRELAY_LISTENER_AUTH_DIALOG_H

#include <stdbool.h>
#include "base/str.h"

struct session;

/* The command AUTH, and in S_AUTH_* a line of the exchange. Each returns the reply as commands_run does. */
const char *auth_dialog_begin(struct session *session, struct str args);
const char *auth_dialog_line(struct session *session, struct str line);

/* Forget an exchange under way. */
void auth_dialog_reset(struct session *session);

/* The answer to a wrong password, given when its penalty is over; and whether that was one too many: then the answer has a 421
 * behind it, and the session ends. */
const char *auth_dialog_refused(const struct session *session);
bool auth_dialog_is_over(const struct session *session);

#endif
