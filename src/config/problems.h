/* What is wrong with a config, in one list. */
#ifndef MFDRELAY_CONFIG_PROBLEMS_H
#define MFDRELAY_CONFIG_PROBLEMS_H

#include <stdbool.h>
#include <stddef.h>

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

/* Add one; line 0 leaves the line out. file and line stand before the text. Beyond CONFIG_PROBLEMS_MAX (for warnings, half of
 * it) it is only counted. */
void config_problem_add(struct config_problems *problems, bool is_error, const char *file, int line,
    const char *format, ...) __attribute__((format(printf, 5, 6)));

/* By file and line: those of main, the config file itself, first, then those of other files by name. Those of one line keep
 * their order. */
void config_problems_sort(struct config_problems *problems, const char *main);

/* Empties the list. */
void config_problems_free(struct config_problems *problems);

#endif
