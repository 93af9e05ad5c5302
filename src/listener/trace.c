#include "listener/trace.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define HELO_SHOWN 255

/* The characters of a domain or an address literal; nothing that has a meaning in a header beyond that. */
static void clean_helo(char dst[HELO_SHOWN + 1], const char *helo)
{
	size_t n = strnlen(helo, HELO_SHOWN);

	for (size_t i = 0; i < n; i++)
		dst[i] = isalnum((unsigned char)helo[i]) || strchr(".-_:[]", helo[i]) != NULL ? helo[i] : '?';
	dst[n] = '\0';
}

size_t trace_received(char *dst, const struct trace *trace)
{
	char helo[HELO_SHOWN + 1], date[40], tls[100] = "";
	const char *tag = strchr(trace->peer, ':') != NULL ? "IPv6:" : "";
	int n;

	clean_helo(helo, trace->helo[0] != '\0' ? trace->helo : "unknown");
	if (trace->tls_version != NULL)
		snprintf(tls, sizeof tls, " (%s %s)", trace->tls_version, trace->tls_cipher);
	clock_rfc5322(date, sizeof date, trace->wall_ms);
	n = snprintf(dst, TRACE_MAX + 1,
	    "Received: from %s ([%s%s])\r\n\tby %.255s with %s%s id %s;\r\n\t%s\r\n", helo, tag, trace->peer,
	    trace->hostname, trace->protocol, tls, trace->id, date);
	return n < TRACE_MAX ? (size_t)n : TRACE_MAX;
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
	} else if (tolower((unsigned char)c) != name[scan->at]) {
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
