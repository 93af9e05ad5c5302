/* The config file as libconfig has read it, and where each thing stands in it, for the loader and the checks. */
#ifndef MFDRELAY_CONFIG_SOURCE_H
#define MFDRELAY_CONFIG_SOURCE_H

#include <libconfig.h>
#include <sys/types.h>

struct config_problems;
struct drop_ins;

struct source {
	const char *file;
	struct config_problems *problems;
	mode_t mode;		/* of the file */
	config_t tree;
	struct drop_ins *drop_ins;	/* the files beside it that belong to it (config/drop_ins.h); NULL: none were looked for */
};

/* Read file and parse it. What is wrong goes to problems (borrowed, as file is, until source_free); also what
 * libconfig would take without a word: numbers it cannot hold, NUL bytes. Returns 0, or -1 when there is nothing to
 * go on with; source_free is due in both cases. */
int source_read(struct source *source, const char *file, struct config_problems *problems);
void source_free(struct source *source);

/* The setting at a path such as "upstreams.[2].oauth.tenant", or the innermost one around it that the file has. Devices are
 * counted through the file and its drop-ins, as in the config. */
const config_setting_t *source_at(const struct source *source, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Note an error, or a warning, at a setting's line, be it of the file or of a drop-in. */
void source_error(const struct source *source, const config_setting_t *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void source_warn(const struct source *source, const config_setting_t *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
