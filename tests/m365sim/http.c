#include "http.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "stream.h"
#include "text.h"

#define LINE_MAX_HTTP 8192
#define HEADERS_MAX   100

static const char *after(const char *line, const char *name)
{
	size_t n = strlen(name);

	if (strncasecmp(line, name, n) != 0)
		return NULL;
	return line + n + strspn(line + n, " \t");
}

static int read_request_line(struct stream *stream, struct http_request *request)
{
	char line[LINE_MAX_HTTP], version[16];
	size_t n;
	bool lf;

	switch (stream_line(stream, line, sizeof(line), &n, &lf)) {
	case LINE_END:
		return -1;
	case LINE_TOO_LONG:
		return 431;
	case LINE_OK:
		break;
	}
	if (sscanf(line, "%15s %2047s %15s", request->method, request->path, version) != 3)
		return 400;
	n = strcspn(request->path, "?");
	if (request->path[n] == '?')
		strcpy(request->query, request->path + n + 1);
	request->path[n] = '\0';
	request->keep_alive = !strcmp(version, "HTTP/1.1");
	return 0;
}

static int read_headers(struct stream *stream, struct http_request *request, long *length, bool *expects)
{
	char line[LINE_MAX_HTTP];
	const char *value;
	size_t n;
	bool lf;
	int i;

	for (i = 0; i < HEADERS_MAX; i++) {
		switch (stream_line(stream, line, sizeof(line), &n, &lf)) {
		case LINE_END:
			return -1;
		case LINE_TOO_LONG:
			return 431;
		case LINE_OK:
			break;
		}
		if (n == 0)
			return 0;
		if ((value = after(line, "Content-Length:")) != NULL)
			*length = strtol(value, NULL, 10);
		else if ((value = after(line, "Content-Type:")) != NULL)
			snprintf(request->type, sizeof(request->type), "%.127s", value);
		else if ((value = after(line, "Connection:")) != NULL)
			request->keep_alive = request->keep_alive && strcasecmp(value, "close") != 0;
		else if ((value = after(line, "Metadata:")) != NULL)
			snprintf(request->metadata, sizeof(request->metadata), "%.15s", value);
		else if ((value = after(line, "Authorization:")) != NULL)
			snprintf(request->authorization, sizeof(request->authorization), "%.511s", value);
		else if (after(line, "Expect:"))
			*expects = true;
		else if (after(line, "Transfer-Encoding:"))
			return 411;
	}
	return 431;
}

int http_read(struct stream *stream, struct http_request *request)
{
	bool expects = false;
	long length = 0;
	int result;

	memset(request, 0, sizeof(*request));
	result = read_request_line(stream, request);
	if (result == 0)
		result = read_headers(stream, request, &length, &expects);
	if (result != 0)
		return result;
	if (length < 0 || length > HTTP_BODY_MAX)
		return 413;
	if (expects)
		stream_write(stream, "HTTP/1.1 100 Continue\r\n\r\n", 25);
	request->body = text_alloc((size_t)length + 1);
	while (request->body_n < (size_t)length) {
		size_t some = stream_fill(stream), left = (size_t)length - request->body_n;

		if (some == 0) {
			http_request_free(request);
			return -1;
		}
		some = some < left ? some : left;
		memcpy(request->body + request->body_n, stream_bytes(stream), some);
		request->body_n += some;
		stream_take(stream, some);
	}
	return 0;
}

void http_request_free(struct http_request *request)
{
	free(request->body);
	request->body = NULL;
}

static const char *status_text(int status)
{
	static const struct {
		int status;
		const char *text;
	} texts[] = {{200, "OK"}, {302, "Found"}, {400, "Bad Request"}, {401, "Unauthorized"},
	    {404, "Not Found"}, {405, "Method Not Allowed"}, {411, "Length Required"},
	    {413, "Payload Too Large"}, {429, "Too Many Requests"}, {431, "Request Header Fields Too Large"},
	    {500, "Internal Server Error"}, {502, "Bad Gateway"}, {503, "Service Unavailable"},
	    {504, "Gateway Timeout"}};
	size_t i;

	for (i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		if (texts[i].status == status)
			return texts[i].text;
	return "Status";
}

void http_answer(struct stream *stream, int status, const char *type, const char *header, const char *body)
{
	char now[TEXT_TIME], guid[TEXT_GUID];
	char *head = text_format("HTTP/1.1 %d %s\r\nCache-Control: no-store, no-cache\r\nPragma: no-cache\r\n"
				 "Content-Type: %s; charset=utf-8\r\nExpires: -1\r\nDate: %.26sGMT\r\n"
				 "x-ms-request-id: %s\r\n%sContent-Length: %zu\r\n\r\n",
	    status, status_text(status), type, text_time_mail(now, text_now_us()), text_guid(guid), header,
	    strlen(body));

	stream_write(stream, head, strlen(head));
	stream_write(stream, body, strlen(body));
	stream_flush(stream);
	free(head);
}

static int hex_digit(char c)
{
	if (isdigit((unsigned char)c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static char *decode(const char *text, size_t n)
{
	char *value = text_alloc(n + 1);
	size_t i, out = 0;

	for (i = 0; i < n; i++) {
		if (text[i] == '%') {
			int high = i + 2 < n ? hex_digit(text[i + 1]) : -1;
			int low = high >= 0 ? hex_digit(text[i + 2]) : -1;

			if (low < 0) {
				free(value);
				return NULL;
			}
			value[out++] = (char)(high * 16 + low);
			i += 2;
		} else {
			value[out++] = text[i] == '+' ? ' ' : text[i];
		}
	}
	return value;
}

char *http_form_field(const char *body, const char *name)
{
	size_t n = strlen(name);

	while (*body) {
		size_t length = strcspn(body, "&");

		if (length > n && !strncmp(body, name, n) && body[n] == '=')
			return decode(body + n + 1, length - n - 1);
		body += length;
		body += *body == '&';
	}
	return NULL;
}
