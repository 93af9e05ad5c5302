/* The refresh tokens of sign-ins by device code: var/sign-in.UPSTREAM of the spool, mode 0600. Written by `mfdrelay login` and by
 * the sender; the listener's sandbox can read nothing. */
#ifndef MFDRELAY_SENDER_REFRESH_STORE_H
#define MFDRELAY_SENDER_REFRESH_STORE_H

#include <stdint.h>
#include "base/err.h"
#include "base/secret.h"

/* Read it. *stored_s is when it was stored, since 1970. Returns 0, and the caller frees out; or -1 with err, which says what to
 * run where nobody has signed in yet. */
int refresh_read(struct secret *out, int64_t *stored_s, const char *spool, const char *upstream, struct err *err);

/* Whether this process could write one. Returns 0, or -1 with err; errno is ENOENT where there is no spool yet. */
int refresh_check(const char *spool, const char *upstream, struct err *err);

/* Replace it durably by token, unless it is no longer old (NULL: whatever it is): then somebody has signed in anew meanwhile,
 * and that counts. Blocks. Returns 0, also in that case; or -1 with err, the file as it was. */
int refresh_write(const char *spool, const char *upstream, const struct secret *old, const struct secret *token,
    struct err *err);

#endif
