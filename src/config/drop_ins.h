/* conf.d: the folder beside the config file whose files *.conf hold devices and nothing else, one file after the other by name.
 * What programs add goes there (`mfdrelay allow`), and the admin's own file stays as it was written. */
#ifndef MFDRELAY_CONFIG_DROP_INS_H
#define MFDRELAY_CONFIG_DROP_INS_H

#include <libconfig.h>
#include <stddef.h>
#include "config/source.h"

#define DROP_INS_FOLDER "conf.d"
#define DROP_INS_SUFFIX ".conf"
#define DROP_INS_MAX	1000	/* files */

struct drop_in {
	char *file;
	struct source source;
	size_t first_device;	/* the index in config->devices of the first one that is not of a file before; the loader's */
};

struct drop_ins {
	struct drop_in *items;	/* do not move: settings point into them */
	size_t count;
};

/* The path of conf.d beside file. The caller frees it. */
char *drop_ins_folder(const char *file);

/* The paths of those in folder, by name: the caller frees each, and the list. Returns how many, which may be more than
 * DROP_INS_MAX; or -1 with errno. */
int drop_ins_list(const char *folder, char ***files);

/* Read those beside main's file, which then has them. What is wrong goes to main's problems; a folder that is not there holds
 * none. */
void drop_ins_read(struct source *main);
void drop_ins_free(struct drop_ins *drop_ins);	/* NULL is fine */

/* The source that the device of that index stands in: main, or one of its drop-ins; *index becomes its place there. */
const struct source *drop_ins_device(const struct source *main, size_t *index);

/* The source that setting was read from: main, or one of its drop-ins. */
const struct source *drop_ins_owner(const struct source *main, const config_setting_t *setting);

#endif
