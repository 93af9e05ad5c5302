/* From the file to struct config, with every error of one run in one list. */
#ifndef MFDRELAY_CONFIG_LOAD_H
#define MFDRELAY_CONFIG_LOAD_H

#include "config/problems.h"

struct config;

/* Read and check file, and the devices of conf.d beside it: syntax (libconfig stops at the first error), then every key against the
 * schema (unknown keys with a "did you mean", types, ranges), then the rules between keys (config/check.h). Secrets are looked at
 * (mode, size, whether the config's user can read them), never read. problems is filled anew, in the order of files and lines, cut
 * at CONFIG_PROBLEMS_MAX. Returns the config, or NULL when problems->errors > 0. The caller frees the config with config_free and
 * the problems with config_problems_free. */
struct config *config_load(const char *file, struct config_problems *problems);

/* The same for those who only look at a relay: all but file and spool may be missing or wrong in what is returned, which is not
 * NULL as long as the file parses and names no unusable spool. problems holds what was found on the way. */
struct config *config_load_lenient(const char *file, struct config_problems *problems);

#endif
