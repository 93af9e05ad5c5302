/* The dialog: one handler a verb. */
#ifndef MFDRELAY_LISTENER_COMMANDS_H
#define MFDRELAY_LISTENER_COMMANDS_H

#include "base/str.h"

struct session;

/* Carry out a command line. Returns the reply without its last line end, borrowed until the next call, or
 * NULL: there is none now. session->state says what is waited for next; nothing is written, nor freed. */
const char *commands_run(struct session *session, struct str line);

/* Forget what the device has said so far: its name, and a message under way. */
void commands_forget(struct session *session);

#endif
