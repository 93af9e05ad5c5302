/* Memory that is there: out of memory ends the process with one log line. The spool is the truth and the
 * supervisor restarts a worker, so no caller has a branch for it. Sizes that come from outside are bounded
 * before they reach these: a single request for over 1 GiB, which nothing of ours comes near, is a fault of the program and ends
 * it as one (SIGABRT), whatever the machine has; the supervisor then knows it from a shortage of memory, of which no message is
 * guilty. All results are freed with free(). */
#ifndef MFDRELAY_BASE_MEM_H
#define MFDRELAY_BASE_MEM_H

#include <stddef.h>

void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *old, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* For what gets memory elsewhere, as tsearch(3) does: the same end. */
_Noreturn void mem_exhausted(void);

/* The memory of libevent, OpenSSL and jansson is of this kind too; libcurl and c-ares ask for theirs where they are begun
 * (net/http.c, net/resolver.c). A library that goes on without what it could not have may stay broken for good: libcurl keeps a
 * store of certificates that was read in part, and then reaches no host any more. Before anything else is asked of them. */
void mem_serve_libraries(void);

/* From now on up to that many bytes that are free stay with the process. The C library gives what is above 128 KiB back to the
 * kernel, which clears it when it is taken again a moment later. */
void mem_keep_spare(int bytes);

#endif
