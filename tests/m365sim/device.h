/* Sign-ins by device code. DIR/app/sign-in says what the person does: "pending" (also without the file), "approved", "declined" or
 * "expired", looked at with each poll; DIR/app/interval how often the client is to ask, in seconds (5). The refresh tokens that are
 * good stand in DIR/app/refresh-tokens, one a line: without the file all are revoked. */
#ifndef M365SIM_DEVICE_H
#define M365SIM_DEVICE_H

struct options;

/* The answer to the request for a code, to be freed. */
char *device_code(const struct options *options);

/* 0: the poll with this code earns a token; else an AADSTS number. */
long device_poll(const struct options *options, const char *code);

/* A new refresh token, good from now on, to be freed. */
char *device_issue_refresh(const struct options *options);

/* 0, or an AADSTS number. */
long device_check_refresh(const struct options *options, const char *token);

#endif
