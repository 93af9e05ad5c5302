/* The control socket spool/control (unix, 0600), served by the sender: one JSON object a line each way.
 *
 *   {"command":"status"}                        -> the status as below
 *   {"command":"retry","id":"all" | "<id>"}     -> {"ok":true} or {"ok":false,"error":"..."}
 *   {"command":"signed-in","upstream":"<name>"} -> the same: use the new sign-in now, whatever holds the upstream
 *   {"command":"follow","id":"<id>"}            -> {"ok":true,"results":[...]}: watch a message, and what became of it so far
 *     with "go":true                               (sender/follow.h); it is queued now: learn it, try held upstreams at once
 *   {"command":"unknown"}                       -> {"ok":true,"peers":[..]}, as unknown.h has them */
#ifndef MFDRELAY_SENDER_CONTROL_H
#define MFDRELAY_SENDER_CONTROL_H

#include <jansson.h>
#include "base/err.h"

#define CONTROL_LINE_MAX 4096

struct control;
struct event_base;

/* Answers one request: returns the object to send (the caller's to free). */
typedef json_t *control_fn(void *arg, const char *command, const json_t *request);

/* Listen on DIR/control, replacing what an earlier sender left. Returns NULL with err. */
struct control *control_new(struct event_base *base, const char *spool_dir, control_fn *fn, void *arg, struct err *err);

/* Stop listening and close what is open; the socket's file goes. NULL is fine. */
void control_free(struct control *control);

/* For the CLI: send request (freed) and wait up to 10 s for the answer. Returns it, or NULL with err; errno is ENOENT or
 * ECONNREFUSED where no daemon runs. */
json_t *control_ask(const char *spool_dir, json_t *request, struct err *err);

#endif
