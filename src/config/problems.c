#include "config/problems.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void config_problem_add(
    struct config_problems *problems, bool is_error, const char *file, int line, const char *format, ...)
{
	struct config_problem *problem;
	va_list args;

	if (is_error)
		problems->errors++;
	/* Warnings leave room for errors. */
	if (problems->count >= (is_error ? CONFIG_PROBLEMS_MAX : CONFIG_PROBLEMS_MAX / 2))
		return;
	problems->items = xrealloc(problems->items, (problems->count + 1) * sizeof *problems->items);
	problem = &problems->items[problems->count++];
	va_start(args, format);
	int n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	char *what = xcalloc(1, (size_t)n + 1);
	va_start(args, format);
	vsnprintf(what, (size_t)n + 1, format, args);
	va_end(args);
	*problem = (struct config_problem){.is_error = is_error, .line = line, .file_length = strlen(file)};
	problem->text = line > 0 ? xasprintf("%s:%d: %s", file, line, what) : xasprintf("%s: %s", file, what);
	free(what);
}

void config_problems_free(struct config_problems *problems)
{
	for (size_t i = 0; i < problems->count; i++)
		free(problems->items[i].text);
	free(problems->items);
	*problems = (struct config_problems){NULL, 0, 0};
}

/* The main file comes first, the others by name. */
static bool is_before(const struct config_problem *a, const struct config_problem *b, const char *main)
{
	size_t n = a->file_length < b->file_length ? a->file_length : b->file_length;
	int order = strncmp(a->text, b->text, n);
	size_t main_length = strlen(main);

	if (order == 0 && a->file_length == b->file_length)
		return a->line < b->line;
	if (a->file_length == main_length && strncmp(a->text, main, main_length) == 0)
		return true;
	if (b->file_length == main_length && strncmp(b->text, main, main_length) == 0)
		return false;
	return order != 0 ? order < 0 : a->file_length < b->file_length;
}

void config_problems_sort(struct config_problems *problems, const char *main)
{
	for (size_t i = 1; i < problems->count; i++) {
		struct config_problem moved = problems->items[i];
		size_t at = i;
		for (; at > 0 && is_before(&moved, &problems->items[at - 1], main); at--)
			problems->items[at] = problems->items[at - 1];
		problems->items[at] = moved;
	}
}
