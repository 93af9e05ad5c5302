/* A question to the running daemon. */
#ifndef MFDRELAY_CLI_ASK_H
#define MFDRELAY_CLI_ASK_H

#include <jansson.h>
#include "base/err.h"

struct config;

/* control_ask (sender/control.h) of the config's daemon, with patience: a sender that makes room for the next one after a reload,
 * or is started again, is away for a moment. request is freed. */
json_t *ask_daemon(const struct config *config, json_t *request, struct err *err);

#endif
