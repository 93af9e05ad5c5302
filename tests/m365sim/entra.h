/* What login.microsoftonline.com answers to a token request: the decision and Microsoft's words, no I/O. */
#ifndef M365SIM_ENTRA_H
#define M365SIM_ENTRA_H

#include <stdbool.h>

struct options;

/* The form fields of a token request; NULL: not sent. */
struct token_request {
	char *grant_type, *client_id, *client_secret, *scope, *assertion_type, *assertion, *device_code, *refresh_token;
};

/* The AADSTS number that the request earns, or 0: it is to have a token. */
long entra_check(const struct options *options, const char *tenant, const struct token_request *request);

/* The JSON answer for an AADSTS number, to be freed, and its HTTP status. */
char *entra_error(long number, const struct options *options, const char *tenant,
    const struct token_request *request, int *status);

/* Whether it is for a person who has signed in: such an answer has a refresh token too. */
bool entra_is_delegated(const struct token_request *request);

/* The AADSTS number that a request for a device code earns, or 0. */
long entra_check_device(const struct options *options, const char *tenant, const struct token_request *request);

/* The JSON answer with a token (and refresh_token, unless NULL), to be freed. as_strings: numbers in quotes, as from some of Microsoft's
 * endpoints. */
char *entra_success(const char *token, long expires_in, bool as_strings, const char *refresh_token);

/* Whether the tenant has a resource (an application ID URI) of that name, with or without a "/" behind it. */
bool entra_knows_resource(const char *resource);

/* The audience that a scope ends up as, to be freed. */
char *entra_audience(const char *scope);

#endif
