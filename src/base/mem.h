/* Memory that is there: out of memory ends the process with one log line. The spool is the truth and the
 * supervisor restarts a worker, so no caller has a branch for it. Sizes that come from outside are bounded
 * before they reach these: a single request for over 1 GiB, which nothing of ours comes near, is a fault of the program and ends
 * it as one (SIGABRT), whatever the machine has; the supervisor then knows it from a shortage of memory, of which no message is
 * guilty. All results are freed with free(). */
#ifndef MFDRELAY_BASE_MEM_H
#define MFDRELAY_BASE_MEM_H

#include <stddef.h>

void *xcalloc(size_t count, size_t size);
void *xrealloc(void *old, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* From now on up to that many bytes that are free stay with the process. The C library gives what is above 128 KiB back to the
 * kernel, which clears it when it is taken again a moment later. */
void mem_keep_spare(int bytes);

#endif
