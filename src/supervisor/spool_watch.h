/* The spool's folder while the daemon runs: locked for it, and watched, because somebody may move it or put another in its place. */
#ifndef MFDRELAY_SUPERVISOR_SPOOL_WATCH_H
#define MFDRELAY_SUPERVISOR_SPOOL_WATCH_H

#include <sys/types.h>
#include "base/err.h"

struct spool_watch {
	int lock_fd;		/* -1: not locked */
	uid_t uid;		/* whose the folder's content is to be; (uid_t)-1: ours */
	gid_t gid;
	const char *remedy;	/* the folder is gone, and this was said; NULL: it is there */
};

enum spool_watch_result {
	SPOOL_WATCH_SAME,	/* it stands where it stood; or it is gone and no other is there, which was said */
	SPOOL_WATCH_REPLACED,	/* another stands there now, and is locked and prepared: who knows the old one is to end */
	SPOOL_WATCH_RESTART,	/* another stands there that this process cannot use, and the service manager's next one can */
};

/* Lock the folder at path, waiting so long for another daemon, and prepare it (spool.h). Returns 0, or -1 with err. */
int spool_watch_begin(struct spool_watch *watch, const char *path, unsigned wait_ms, struct err *err);

/* Look at path; what has changed is logged. */
enum spool_watch_result spool_watch_look(struct spool_watch *watch, const char *path);

/* Let go of the lock. */
void spool_watch_end(struct spool_watch *watch);

#endif
