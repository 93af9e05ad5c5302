#include "base/privileges.h"

#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <unistd.h>

/* A uid without a name is in no further group. Groups first, then the group, then the user: after the last there is no way
 * back. */
int privileges_become(uid_t uid, gid_t gid)
{
	const struct passwd *entry = getpwuid(uid);

	if ((entry != NULL ? initgroups(entry->pw_name, gid) : setgroups(0, NULL)) < 0)
		return -1;
	return setgid(gid) < 0 || setuid(uid) < 0 ? -1 : 0;
}

int privileges_drop(uid_t uid, gid_t gid, struct err *err)
{
	if (uid != (uid_t)-1) {
		if (privileges_become(uid, gid) < 0)
			return err_sys(err, "changing to uid %u failed", (unsigned)uid);
		if (uid != 0 && setuid(0) == 0)
			return err_set(err, "uid %u could become root again: refusing to run", (unsigned)uid);
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, "no_new_privs");
	/* No core dump with mail or secrets in it, and no reading of this process by one of the same user. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_sys(err, "switching core dumps off");
	return 0;
}
