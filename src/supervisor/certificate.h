/* The certificates that the relay makes for itself, where the config names none, and their private CA. They lie in var/tls of
 * the spool. */
#ifndef MFDRELAY_SUPERVISOR_CERTIFICATE_H
#define MFDRELAY_SUPERVISOR_CERTIFICATE_H

#include <stdbool.h>
#include "base/err.h"

struct config;

/* Each with its private key in the same file, so that one rename replaces both. */
#define CERTIFICATE_SERVER "server.pem"
#define CERTIFICATE_LEGACY "legacy.pem"		/* for the legacy context alone */

/* The path of one of them. The caller frees. */
char *certificate_path(const char *spool, const char *name);

#endif
