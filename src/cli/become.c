#include "cli/become.h"

#include <pwd.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/privileges.h"
#include "config/config.h"

int become_relay_user(const struct config *config, struct err *err)
{
	const struct passwd *entry;
	struct stat st;

	if (geteuid() == 0 && stat(config->spool, &st) == 0 && st.st_uid != 0)
		return privileges_drop(st.st_uid, st.st_gid, err);
	if (geteuid() != 0 || config->user == NULL)
		return privileges_drop((uid_t)-1, (gid_t)-1, err);
	entry = getpwnam(config->user);
	if (entry == NULL)
		return err_set(err, "user = \"%s\": no such user", config->user);
	return privileges_drop(entry->pw_uid, entry->pw_gid, err);
}
