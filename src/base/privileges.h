/* From root to the user of the config, for good. */
#ifndef MFDRELAY_BASE_PRIVILEGES_H
#define MFDRELAY_BASE_PRIVILEGES_H

#include <sys/types.h>
#include "base/err.h"

/* Become uid and gid, with the further groups that the system's database has the user in, as systemd's User= does. Takes root.
 * Returns 0, or -1 with errno: then this process is to end. */
int privileges_become(uid_t uid, gid_t gid);

/* The same ((uid_t)-1: stay who one is), and see to it that no execve gives anything back, no
 * core dump holds mail or secrets, and no other process of the user reads this one's memory. Returns 0, or -1 with err: then
 * this process is to end. */
int privileges_drop(uid_t uid, gid_t gid, struct err *err);

#endif
