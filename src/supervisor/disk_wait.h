/* Whether another process of this user sleeps in the kernel for its disk (state D in proc(5)): one that the file system is
 * frozen for, as by a backup of the machine, or whose storage has gone. No signal reaches it there, not even SIGKILL: what is
 * sent waits, and ends the process at the moment at which it could go on. */
#ifndef MFDRELAY_SUPERVISOR_DISK_WAIT_H
#define MFDRELAY_SUPERVISOR_DISK_WAIT_H

#include <stdbool.h>
#include <sys/types.h>

/* Opens what the kernel tells of pid, for disk_waits; the caller closes it. To be called while pid is dumpable still
 * (PR_SET_DUMPABLE): under ProtectProc=invisible it can be read afterwards, but no longer opened. Returns the descriptor, or -1
 * with errno. */
int disk_wait_open(pid_t pid);

/* Whether its first thread sleeps so now; false when nothing is known (fd is -1) or the process has gone. */
bool disk_waits(int fd);

#endif
