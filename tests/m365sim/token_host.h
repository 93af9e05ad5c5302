/* What the hosts that give tokens have in common, the login host and the identity services of a machine: requests one after
 * another, the faults that come in an answer's place, and the tokens by the rules of `tokens`. */
#ifndef M365SIM_TOKEN_HOST_H
#define M365SIM_TOKEN_HOST_H

#include "faults.h"
#include "front.h"
#include "http.h"
#include "stream.h"

/* Answers a request, which it may cut to pieces. forced: the AADSTS number of a rule, or 0. */
typedef void token_host_fn(
    struct connection *connection, struct stream *stream, struct http_request *request, long forced);

/* Serve all requests of a connection; the rules of stage come first. */
void token_host_serve(
    struct connection *connection, struct stream *stream, enum stage stage, token_host_fn *fn);

/* A new token, to be freed. *lifetime_s: how long it is good, unless a rule has another time, which is put there. */
char *token_host_issue(const struct connection *connection, const char *audience, long *lifetime_s);

#endif
