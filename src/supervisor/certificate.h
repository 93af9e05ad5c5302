/* The certificates that the relay makes for itself, where the config names none, and their private CA. They lie in var/tls of
 * the spool:
 *
 *   ca.pem, ca.der    the CA's certificate, for devices that want to check ours
 *   ca-private.pem    the same with its key: signs the next ones, so that devices need no new CA
 *   server.pem        key, certificate and CA: what devices are shown
 *   legacy.pem        likewise, for the legacy context alone
 *
 * Each with its private key in the same file, so that one rename replaces both. */
#ifndef MFDRELAY_SUPERVISOR_CERTIFICATE_H
#define MFDRELAY_SUPERVISOR_CERTIFICATE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include "base/err.h"

struct config;

#define CERTIFICATE_SERVER "server.pem"
#define CERTIFICATE_LEGACY "legacy.pem"

/* The path of one of them. The caller frees. */
char *certificate_path(const char *spool, const char *name);

/* What certificate_main returns. */
enum certificate_result { CERTIFICATE_GOOD = 0, CERTIFICATE_FAILED = 1, CERTIFICATE_MADE = 10 };

/* Run in a (forked) process of its own, with the workers' rights: make what config asks for and is not there, is good for less
 * than 30 days, or is for other names than the relay's now. With clock_settled also what is not valid yet, as a clock that ran
 * ahead leaves it; else that is kept: a machine without a battery starts with a late clock, and a new CA must be imported into
 * each device that checks. Returns the exit status. */
int certificate_main(const struct config *config, bool clock_settled);

#endif
