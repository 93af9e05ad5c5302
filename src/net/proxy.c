#include "net/proxy.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

/* What is waited for. */
enum step { STEP_HTTP, STEP_METHOD, STEP_LOGIN, STEP_REPLY };

/* --- where --- */

static bool read_port(const char *text, unsigned short *port)
{
	uint64_t number;

	if (!str_u64(str_of(text), UINT16_MAX, &number) || number == 0)
		return false;
	*port = (unsigned short)number;
	return true;
}

static bool is_host(const char *host, bool in_brackets)
{
	struct in6_addr any;

	if (in_brackets)
		return inet_pton(AF_INET6, host, &any) == 1;
	return host[0] != '\0' && host[strspn(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
						    "0123456789-._")] == '\0';
}

bool proxy_parse(const char *text, struct proxy_place *out)
{
	bool is_socks = strncmp(text, "socks5://", 9) == 0;
	const char *host = is_socks ? text + 9 : text + 7, *colon = strrchr(text, ':');
	struct str name;

	if ((!is_socks && strncmp(text, "http://", 7) != 0) || colon < host)
		return false;
	bool in_brackets = host[0] == '[' && colon[-1] == ']';
	name = (struct str){host, (size_t)(colon - host)};
	if (in_brackets)
		name = (struct str){host + 1, name.n - 2};
	out->kind = is_socks ? PROXY_SOCKS5 : PROXY_HTTP;
	return str_copy(out->host, sizeof out->host, name) && is_host(out->host, in_brackets) &&
	       read_port(colon + 1, &out->port);
}

size_t proxy_password_max(enum proxy_kind kind)
{
	return kind == PROXY_HTTP ? PROXY_BASIC_MAX : PROXY_LOGIN_MAX;
}

/* --- what is said --- */

static void add(struct proxy_output *out, const void *bytes, size_t n)
{
	if (n > sizeof out->bytes - out->n)
		n = sizeof out->bytes - out->n;
	memcpy(out->bytes + out->n, bytes, n);
	out->n += n;
}

static void add_text(struct proxy_output *out, const char *text)
{
	add(out, text, strlen(text));
}

/* One octet of length, and the rest. */
static void add_counted(struct proxy_output *out, const char *bytes, size_t n)
{
	unsigned char length = (unsigned char)(n < PROXY_LOGIN_MAX ? n : PROXY_LOGIN_MAX);

	add(out, &length, 1);
	add(out, bytes, length);
}

static void add_basic_login(struct proxy_output *out, const struct proxy_talk *talk)
{
	char login[PROXY_LOGIN_MAX + 1 + PROXY_BASIC_MAX + 1];
	unsigned char encoded[sizeof login / 3 * 4 + 8];
	int n = snprintf(login, sizeof login, "%.*s:%.*s", PROXY_LOGIN_MAX, talk->user, PROXY_BASIC_MAX,
	    talk->password->bytes);

	n = EVP_EncodeBlock(encoded, (const unsigned char *)login, n);
	add_text(out, "Proxy-Authorization: Basic ");
	add(out, encoded, (size_t)n);
	add_text(out, "\r\n");
	explicit_bzero(login, sizeof login);
	explicit_bzero(encoded, sizeof encoded);
}

static void begin_http(const struct proxy_talk *talk, struct proxy_output *out)
{
	bool is_v6 = strchr(talk->host, ':') != NULL;
	char place[300], line[700];

	snprintf(place, sizeof place, is_v6 ? "[%s]:%u" : "%s:%u", talk->host, talk->port);
	snprintf(line, sizeof line, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", place, place);
	add_text(out, line);
	if (talk->user != NULL)
		add_basic_login(out, talk);
	add_text(out, "\r\n");
}

static void begin_socks(const struct proxy_talk *talk, struct proxy_output *out)
{
	/* Version 5; how many methods; none (0), user and password (2). */
	if (talk->user != NULL)
		add(out, "\x05\x02\x00\x02", 4);
	else
		add(out, "\x05\x01\x00", 3);
}

static void ask_socks(const struct proxy_talk *talk, struct proxy_output *out)
{
	unsigned char address[16], port[2] = {(unsigned char)(talk->port >> 8), (unsigned char)talk->port};

	/* Version 5, CONNECT, reserved, the form of the address. */
	add(out, "\x05\x01\x00", 3);
	if (inet_pton(AF_INET, talk->host, address) == 1) {
		add(out, "\x01", 1);
		add(out, address, 4);
	} else if (inet_pton(AF_INET6, talk->host, address) == 1) {
		add(out, "\x04", 1);
		add(out, address, 16);
	} else {
		add(out, "\x03", 1);
		add_counted(out, talk->host, strlen(talk->host));
	}
	add(out, port, 2);
}

void proxy_begin(struct proxy_talk *talk, struct proxy_output *out)
{
	out->n = 0;
	talk->answer_n = 0;
	talk->step = talk->kind == PROXY_HTTP ? STEP_HTTP : STEP_METHOD;
	if (talk->kind == PROXY_HTTP)
		begin_http(talk, out);
	else
		begin_socks(talk, out);
}

/* --- what is heard --- */

/* How long the answer is that is waited for; 0: that is not known yet. */
static size_t whole_answer(const struct proxy_talk *talk)
{
	const unsigned char *a = talk->answer;
	size_t n = talk->answer_n;

	switch (talk->step) {
	case STEP_HTTP:
		return n >= 4 && memcmp(a + n - 4, "\r\n\r\n", 4) == 0 ? n : 0;
	case STEP_METHOD:
	case STEP_LOGIN:
		return 2;
	default:
		if (n < 5)
			return 0;
		return a[3] == 1 ? 10 : a[3] == 4 ? 22 : a[3] == 3 ? 7 + (size_t)a[4] : n;
	}
}

static enum proxy_result on_http(const struct proxy_talk *talk, char *why, size_t size)
{
	const char *answer = (const char *)talk->answer;
	uint64_t status = 0;

	/* "HTTP/1.1 200 ..." */
	if (strncmp(answer, "HTTP/1.", 7) != 0 || answer[8] != ' ' ||
	    !str_u64((struct str){answer + 9, 3}, 999, &status) || status < 100) {
		snprintf(why, size, "it does not answer as an HTTP proxy does");
		return PROXY_REFUSED;
	}
	if (status >= 200 && status < 300)
		return PROXY_OPEN;
	snprintf(why, size, "it answers %u to CONNECT %s:%u", (unsigned)status, talk->host, talk->port);
	return status == 407 ? PROXY_LOGIN : PROXY_REFUSED;
}

static enum proxy_result on_method(struct proxy_talk *talk, struct proxy_output *out, char *why, size_t size)
{
	const unsigned char *a = talk->answer;

	if (a[0] != 5) {
		snprintf(why, size, "it does not answer as a SOCKS5 proxy does");
		return PROXY_REFUSED;
	}
	if (a[1] == 0) {
		talk->step = STEP_REPLY;
		ask_socks(talk, out);
		return PROXY_MORE;
	}
	if (a[1] != 2 || talk->user == NULL) {
		snprintf(why, size, "it wants a login%s",
		    talk->user != NULL ? " of a kind that we do not have" : "");
		return PROXY_LOGIN;
	}
	talk->step = STEP_LOGIN;
	add(out, "\x01", 1);
	add_counted(out, talk->user, strlen(talk->user));
	add_counted(out, talk->password->bytes, talk->password->n);
	return PROXY_MORE;
}

static enum proxy_result on_login(struct proxy_talk *talk, struct proxy_output *out, char *why, size_t size)
{
	if (talk->answer[1] != 0) {
		snprintf(why, size, "it refuses user or password");
		return PROXY_LOGIN;
	}
	talk->step = STEP_REPLY;
	ask_socks(talk, out);
	return PROXY_MORE;
}

/* RFC 1928 section 6. */
static enum proxy_result on_socks_reply(const struct proxy_talk *talk, char *why, size_t size)
{
	static const char *const reasons[] = {"", "it has failed", "its rules do not allow that",
	    "the network is unreachable", "the host is unreachable", "connection refused",
	    "the time to live is over", "it does not know CONNECT", "it does not know this form of address"};
	unsigned char code = talk->answer[1];

	if (talk->answer[0] != 5 || talk->answer[3] == 0 || talk->answer[3] == 2 || talk->answer[3] > 4)
		snprintf(why, size, "it does not answer as a SOCKS5 proxy does");
	else if (code == 0)
		return PROXY_OPEN;
	else
		snprintf(why, size, "it does not connect to %s:%u: %s (%u)", talk->host, talk->port,
		    code < sizeof reasons / sizeof reasons[0] ? reasons[code] : "for a reason of its own",
		    code);
	return PROXY_REFUSED;
}

static enum proxy_result on_answer(struct proxy_talk *talk, struct proxy_output *out, char *why, size_t size)
{
	switch (talk->step) {
	case STEP_HTTP:
		return on_http(talk, why, size);
	case STEP_METHOD:
		return on_method(talk, out, why, size);
	case STEP_LOGIN:
		return on_login(talk, out, why, size);
	default:
		return on_socks_reply(talk, why, size);
	}
}

/* An octet at a time: what is behind the last one is the host's. */
enum proxy_result proxy_feed(
    struct proxy_talk *talk, struct str in, size_t *used, struct proxy_output *out, char *why, size_t size)
{
	enum proxy_result result = PROXY_MORE;

	out->n = 0;
	for (*used = 0; *used < in.n && result == PROXY_MORE && out->n == 0;) {
		if (talk->answer_n >= sizeof talk->answer - 1) {
			snprintf(why, size, "its answer has no end");
			return PROXY_REFUSED;
		}
		talk->answer[talk->answer_n++] = (unsigned char)in.p[(*used)++];
		talk->answer[talk->answer_n] = '\0';
		if (whole_answer(talk) != talk->answer_n)
			continue;
		result = on_answer(talk, out, why, size);
		talk->answer_n = 0;
	}
	return result;
}
