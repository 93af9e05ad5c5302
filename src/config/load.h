/* From the file to struct config, with every error of one run in one list. */
#ifndef MFDRELAY_CONFIG_LOAD_H
#define MFDRELAY_CONFIG_LOAD_H

#include <stdbool.h>
#include <stddef.h>

struct config;

/* What is wrong (or worth a warning), each as "FILE:LINE: what is wrong; what to do". */
struct config_problem {
	bool is_error;		/* else a warning: the config can be used */
	int line;		/* 0: the file as a whole */
	size_t file_length;	/* of the file's name, which text begins with */
	char *text;
};

#define CONFIG_PROBLEMS_MAX 100

struct config_problems {
	struct config_problem *items;
	size_t count;
	size_t errors;		/* all of them, also those the list has no room for */
};

/* Read and check file, and the devices of conf.d beside it: syntax (libconfig stops at the first error), then every key against the schema (unknown keys
 * with a "did you mean", types, ranges), then the rules between keys (config/check.h). Secrets are looked at (mode,
 * size, whether the config's user can read them), never read. problems is filled anew, in the order of files and lines, cut at
 * CONFIG_PROBLEMS_MAX. Returns the config, or NULL when problems->errors > 0. The caller frees the config with
 * config_free and the problems with config_problems_free. */
struct config *config_load(const char *file, struct config_problems *problems);

/* Add one; line 0 leaves the line out. */
/* The same for those who only look at a relay: all but file and spool may be missing or wrong in what is returned, which is not
 * NULL as long as the file parses and names no unusable spool. problems holds what was found on the way. */
struct config *config_load_lenient(const char *file, struct config_problems *problems);

void config_problem_add(struct config_problems *problems, bool is_error, const char *file, int line,
    const char *format, ...) __attribute__((format(printf, 5, 6)));
void config_problems_free(struct config_problems *problems);

#endif
