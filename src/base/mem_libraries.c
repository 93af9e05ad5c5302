/* Apart from mem.c, which needs no library. */
#include <event2/event.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <stdlib.h>

#include "base/mem.h"

static void *crypto_malloc(size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	return xmalloc(size);
}

static void *crypto_realloc(void *old, size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	return xrealloc(old, size);
}

static void crypto_free(void *old, const char *file, int line)
{
	(void)file;
	(void)line;
	free(old);
}

void mem_serve_libraries(void)
{
	event_set_mem_functions(xmalloc, xrealloc, free);
	json_set_alloc_funcs(xmalloc, free);
	/* It does nothing where another library's start has had memory from OpenSSL: no reason not to run. */
	CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free);
}
