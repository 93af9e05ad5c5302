/* The dialog: one handler a verb. */
#ifndef MFDRELAY_LISTENER_COMMANDS_H
#define MFDRELAY_LISTENER_COMMANDS_H

#include "base/str.h"

struct session;

/* Carry out a command line, or in S_AUTH_* a line of the exchange. Returns the reply without its last line
 * end, borrowed until the next call, or NULL: there is none now. session->state says what is waited for
 * next; nothing is written, nor freed. */
const char *commands_run(struct session *session, struct str line);
const char *commands_auth_line(struct session *session, struct str line);

/* Forget an AUTH exchange under way. */
void commands_auth_reset(struct session *session);

/* The answer to a wrong password, given when its penalty is over: with a 421 behind it where that was one too many. */
const char *commands_login_refused(const struct session *session);

/* Forget what the device has said so far: its name, and a message under way. */
void commands_forget(struct session *session);

#endif
