/* As much of HTTP/1.1 as a token endpoint needs, over a stream. */
#ifndef M365SIM_HTTP_H
#define M365SIM_HTTP_H

#include <stdbool.h>
#include <stddef.h>

struct stream;

#define HTTP_BODY_MAX 65536

struct http_request {
	char method[16];
	char path[2048];	/* without query */
	char query[2048];	/* what follows "?": a form, as in a body */
	char type[128];		/* of the body */
	char metadata[16];	/* the header that an identity service asks for, "" without */
	char authorization[512];	/* "" without */
	bool keep_alive;
	char *body;		/* NUL behind it; never NULL after success */
	size_t body_n;
};

/* Read one request. Returns 0, -1 at the connection's end, or the HTTP status of a refusal (400, 411, 413,
 * 431). On 0 the caller frees with http_request_free. */
int http_read(struct stream *stream, struct http_request *request);
void http_request_free(struct http_request *request);

/* header: more header lines, each with CRLF, or "". */
void http_answer(struct stream *stream, int status, const char *type, const char *header, const char *body);

/* The value of a field of a form or query, decoded, to be freed; NULL: not there or not decodable. */
char *http_form_field(const char *body, const char *name);

#endif
