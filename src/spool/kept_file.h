/* A small file in var/ of the spool that is written anew whenever what it is made from has changed, off the event loop and
 * whole: after a crash it is the old or the new one. */
#ifndef MFDRELAY_SPOOL_KEPT_FILE_H
#define MFDRELAY_SPOOL_KEPT_FILE_H

#include <stdbool.h>
#include <stddef.h>

struct event_base;
struct kept_file;
struct spool;

/* The file's bytes as they are to be now, malloc'ed, and how many. */
typedef char *kept_file_fn(void *arg, size_t *n);

/* Read such a file, of lines below a heading (with its line end): take gets each, without its line end, and may change it; false
 * where the line is none of its own. What it has taken until then stands. Nothing where there is no such file yet. What is wrong is
 * logged with the consequence: a file larger than max octets or that cannot be read, another heading, a line that was not taken. */
void kept_file_read_lines(const struct spool *spool, const char *name, size_t max, const char *heading,
    bool (*take)(void *arg, char *line), void *arg, const char *consequence);

/* name is a literal, spool is borrowed; the file's mode is 0600. Starts a thread: after the sandbox. A write that fails is logged. */
struct kept_file *kept_file_new(
    struct event_base *base, const struct spool *spool, const char *name, kept_file_fn *fn, void *arg);

/* Write it: soon, or once more when the write under way is done. fn is called from inside this, or later from the loop. */
void kept_file_changed(struct kept_file *file);

/* Finish what is to be written (blocks). NULL is fine. */
void kept_file_free(struct kept_file *file);

#endif
