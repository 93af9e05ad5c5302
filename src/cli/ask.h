/* A question to the running daemon. */
#ifndef MFDRELAY_CLI_ASK_H
#define MFDRELAY_CLI_ASK_H

#include <stdbool.h>
#include <jansson.h>
#include "base/err.h"

struct config;

/* control_ask (sender/control.h) of the config's daemon, with patience: a sender that makes room for the next one after a reload,
 * or is started again, is away for a moment. request is freed. */
json_t *ask_daemon(const struct config *config, json_t *request, struct err *err);

/* What a command exits with whose question, or whose look at the daemon's files, has failed with errno and err: says err on
 * stderr, having added the remedy to it where it is a matter of rights (EX_NOPERM; else 1). */
int ask_failed(struct err *err);

/* Whether errno is a matter of rights. */
bool ask_may_not(void);

#endif
