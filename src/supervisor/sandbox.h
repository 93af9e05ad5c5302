/* What a worker can still do once it has opened what it needs: capabilities dropped, files by Landlock (kernel 5.19 and
 * later), system calls by a seccomp filter. What this kernel or the service's own filter does not give is said in the log
 * once, with the consequence; the worker then goes on with the rest. */
#ifndef MFDRELAY_SUPERVISOR_SANDBOX_H
#define MFDRELAY_SUPERVISOR_SANDBOX_H

#include <stdbool.h>

struct sandbox {
	int writes_fd;		/* a folder: files below it may be made, written, renamed and removed, and nowhere else */
	bool reads;		/* files may be opened for reading, wherever its user may; else none at all */
	bool connects;		/* connections to other hosts may be opened; else it can only accept */
};

/* Enter it. Before the first thread is started, as Landlock binds the calling thread and those it starts later. There is
 * no way back. Whatever it may not do fails with EPERM or EACCES. */
void sandbox_enter(const struct sandbox *sandbox);

#endif
