/* What a proxy answers: the first octet chooses the kind, a login, and the size of the pieces; the rest is said by the proxy. Whole
 * and in pieces it must come to the same. */
#include <string.h>

#include "fuzz.h"
#include "net/proxy.h"

struct end {
	enum proxy_result result;
	size_t used;
};

static struct end play(unsigned choice, struct str answer, size_t piece)
{
	static struct proxy_talk talk;
	struct secret password = {(char *)"secret", 6};
	struct end end = {PROXY_MORE, 0};
	struct proxy_output out;
	char why[200] = "";

	talk = (struct proxy_talk){
	    .kind = (choice & 1) != 0 ? PROXY_SOCKS5 : PROXY_HTTP, .host = "host.example", .port = 587};
	if ((choice & 2) != 0) {
		talk.user = "user";
		talk.password = &password;
	}
	proxy_begin(&talk, &out);
	while (end.result == PROXY_MORE && end.used < answer.n) {
		size_t n = answer.n - end.used < piece ? answer.n - end.used : piece, used;
		end.result =
		    proxy_feed(&talk, (struct str){answer.p + end.used, n}, &used, &out, why, sizeof why);
		PROMISE(used > 0 && used <= n && out.n <= sizeof out.bytes);
		end.used += used;
	}
	PROMISE((end.result >= PROXY_LOGIN) == (why[0] != '\0'));
	for (const char *p = why; *p != '\0'; p++)
		PROMISE(*p >= ' ' && *p <= '~');
	return end;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	if (n == 0)
		return 0;
	struct str answer = {(const char *)bytes + 1, n - 1};
	struct end whole = play(bytes[0], answer, n), pieces = play(bytes[0], answer, 1 + bytes[0] / 4 % 7);
	PROMISE(whole.result == pieces.result && whole.used == pieces.used);
	return 0;
}
