/* What the fuzz targets share. Each is one file with one LLVMFuzzerTestOneInput; tests/fuzz/run.sh builds and runs them. */
#ifndef MFDRELAY_TESTS_FUZZ_H
#define MFDRELAY_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* A promise of a header; unlike assert() it can't be compiled out, and a broken one is a crash to the fuzzer. */
#define PROMISE(condition)                                                                                   \
	do {                                                                                                 \
		if (!(condition)) {                                                                          \
			fprintf(stderr, "%s:%d: broken promise: %s\n", __FILE__, __LINE__, #condition);      \
			abort();                                                                             \
		}                                                                                            \
	} while (0)

#endif
