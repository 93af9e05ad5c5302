#include "listener/trace.h"

#include <string.h>

#include "base/ascii.h"
#include "base/clock.h"
#include "base/text.h"

#define NAME_SHOWN 255

/* The characters of a domain or an address literal; nothing that has a meaning in a header beyond that. */
static void clean_helo(char dst[NAME_SHOWN + 1], const char *helo)
{
	size_t n = strnlen(helo, NAME_SHOWN);

	for (size_t i = 0; i < n; i++)
		dst[i] = ascii_is_alnum(helo[i]) || strchr(".-_:[]", helo[i]) != NULL ? helo[i] : '?';
	dst[n] = '\0';
}

size_t trace_received(char *dst, const struct trace *trace)
{
	char helo[NAME_SHOWN + 1], date[40];
	const char *tag = strchr(trace->peer, ':') != NULL ? "IPv6:" : "";
	struct text text = text_in(dst, TRACE_MAX + 1);

	clean_helo(helo, trace->helo[0] != '\0' ? trace->helo : "unknown");
	clock_rfc5322(date, sizeof date, trace->wall_ms);
	text_join(&text, "Received: from ", helo, " ([", tag, trace->peer, "])\r\n\tby ", NULL);
	text_add(&text, (struct str){trace->hostname, strnlen(trace->hostname, NAME_SHOWN)});
	text_join(&text, " with ", trace->protocol, NULL);
	if (trace->tls_version != NULL)
		text_join(&text, " (", trace->tls_version, " ", trace->tls_cipher, ")", NULL);
	text_join(&text, " id ", trace->id, ";\r\n\t", date, "\r\n", NULL);
	return text.n;
}

static void scan_byte(struct trace_scan *scan, char c)
{
	static const char name[] = "received:";

	if (c == '\n') {
		scan->over = !scan->other && scan->at == 0;
		scan->other = false;
		scan->at = 0;
	} else if (scan->other || (c == '\r' && scan->at == 0)) {
		/* Nothing in this line counts, or it is the CR of the empty one. */
	} else if (ascii_lower(c) != name[scan->at]) {
		scan->other = true;
	} else if (name[++scan->at] == '\0') {
		scan->received++;
		scan->other = true;
	}
}

void trace_scan(struct trace_scan *scan, const char *bytes, size_t n)
{
	const char *end = bytes + n;

	while (bytes < end && !scan->over) {
		if (scan->other && *bytes != '\n') {
			const char *lf = memchr(bytes, '\n', (size_t)(end - bytes));
			bytes = lf != NULL ? lf : end;
		} else {
			scan_byte(scan, *bytes++);
		}
	}
}
