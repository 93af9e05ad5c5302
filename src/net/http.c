/* libcurl's multi interface on the loop: libcurl says which sockets and which time it waits for, libevent
 * tells it when they are due. Answers are handed out from an event of their own, outside of libcurl.
 * libcurl's own buffers hold form and answer for a time too; those can't be wiped from here. */
#include "net/http.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

#include <curl/curl.h>
#include <event2/event.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/timer.h"
#include "net/listen.h"

#define CONNECT_TIMEOUT_MS 10000L
#define BODY_START	   4096
#define RETRY_AFTER_MAX_S  (30L * DAY_S)
#define CURL_OK(call)	   ((call) == CURLE_OK)

struct http {
	struct event_base *base;
	struct resolver *resolver;
	CURLM *multi;
	struct event *timer;
	LIST_HEAD(, http_request) requests;
};

struct http_request {
	struct http *http;
	http_fn *fn;
	void *arg;
	char *url, *ca_file;
	bool is_local, is_get;
	char *proxy, *proxy_user; /* "http://host:port"; NULL: none */
	struct secret proxy_password;
	char *host; /* of the URL, without brackets */
	unsigned short port;
	char *reached_host; /* whose name is looked up here: the proxy's, or host */
	unsigned short reached_port;
	int64_t start_ms;
	struct secret form;
	struct resolver_query *query; /* NULL: answered */
	CURL *easy;		      /* NULL: not begun */
	struct curl_slist *headers, *resolved;
	struct event *deliver; /* the answer is there */
	char *body;
	size_t body_n, body_room;
	bool too_large, unproved;
	int status;
	long retry_after_s;
	char *challenge;
	char why[1024];
	char curl_error[CURL_ERROR_SIZE];
	LIST_ENTRY(http_request) next;
};

static void wipe(char *bytes, size_t n)
{
	if (bytes != NULL)
		explicit_bzero(bytes, n);
	free(bytes);
}

static void set_answer(struct http_request *request, int status)
{
	request->status = status;
	event_active(request->deliver, EV_READ, 0);
}

static void end_transfer(struct http_request *request)
{
	resolver_cancel(request->query);
	request->query = NULL;
	if (request->easy != NULL) {
		curl_multi_remove_handle(request->http->multi, request->easy);
		curl_easy_cleanup(request->easy);
	}
	request->easy = NULL;
}

/* The transfer has ended, and it is on no list. */
static void free_request(struct http_request *request)
{
	for (struct curl_slist *header = request->headers; header != NULL; header = header->next)
		explicit_bzero(header->data, strlen(header->data));
	curl_slist_free_all(request->headers);
	curl_slist_free_all(request->resolved);
	event_free(request->deliver);
	wipe(request->body, request->body_room);
	secret_free(&request->form);
	curl_free(request->host);
	free(request->url);
	free(request->ca_file);
	free(request->reached_host);
	free(request->proxy);
	free(request->proxy_user);
	secret_free(&request->proxy_password);
	free(request->challenge);
	free(request);
}

static void on_deliver(evutil_socket_t fd, short what, void *cookie)
{
	struct http_request *request = cookie;
	struct http_answer answer = {.status = request->status,
	    .retry_after_s = request->retry_after_s,
	    .challenge = request->challenge,
	    .unproved = request->unproved};

	(void)fd;
	(void)what;
	if (answer.status != 0)
		answer.body = (struct str){request->body != NULL ? request->body : "", request->body_n};
	else
		answer.why = request->why;
	end_transfer(request);
	/* First of all: fn may free the whole. */
	LIST_REMOVE(request, next);
	request->fn(request->arg, &answer);
	free_request(request);
}

/* libcurl calls this with a piece of the body; another result than all of it ends the transfer. */
static size_t on_body(char *bytes, size_t size, size_t count, void *cookie)
{
	struct http_request *request = cookie;
	size_t n = size * count;

	if (n > HTTP_BODY_MAX - request->body_n) {
		request->too_large = true;
		return 0;
	}
	if (n > request->body_room - request->body_n) {
		size_t room = request->body_room > 0 ? request->body_room : BODY_START;
		while (room < request->body_n + n)
			room *= 2;
		char *larger = xcalloc(1, room);
		if (request->body_n > 0)
			memcpy(larger, request->body, request->body_n);
		wipe(request->body, request->body_room);
		request->body = larger;
		request->body_room = room;
	}
	if (n > 0)
		memcpy(request->body + request->body_n, bytes, n);
	request->body_n += n;
	return n;
}

/* What the proxy has answered to CONNECT. Returns whether it refused. */
static bool explain_proxy(struct http_request *request)
{
	long status = 0;

	if (request->proxy == NULL ||
	    curl_easy_getinfo(request->easy, CURLINFO_HTTP_CONNECTCODE, &status) != CURLE_OK || status < 300)
		return false;
	if (status == 407)
		snprintf(request->why, sizeof request->why,
		    "the proxy %s wants a login, or another one (407); correct oauth.proxy_user and "
		    "oauth.proxy_password",
		    request->proxy);
	else
		snprintf(request->why, sizeof request->why,
		    "the proxy %s opens no tunnel to %s:%u (%ld); let it, or correct oauth.proxy",
		    request->proxy, request->host, request->port, status);
	return true;
}

/* The host of the URL, or the proxy as long as that has not opened the tunnel. */
static void name_other_side(char *out, size_t size, const struct http_request *request)
{
	long status = 0;

	if (request->easy != NULL)
		curl_easy_getinfo(request->easy, CURLINFO_HTTP_CONNECTCODE, &status);
	if (request->proxy != NULL && status == 0)
		snprintf(out, size, "the proxy %s", request->proxy);
	else
		snprintf(out, size, "%s", request->host);
}

static void explain(struct http_request *request, CURLcode code)
{
	const char *detail = request->curl_error[0] != '\0' ? request->curl_error : curl_easy_strerror(code);
	char host[300];
	char *why = request->why;
	size_t size = sizeof request->why;

	if (explain_proxy(request))
		return;
	name_other_side(host, sizeof host, request);
	if (request->too_large)
		snprintf(why, size, "the answer of %s is larger than %d octets, not a token's", host,
		    HTTP_BODY_MAX);
	else if (code == CURLE_COULDNT_CONNECT)
		snprintf(why, size, "can't connect to %s: %s", host, detail);
	else if (code == CURLE_OPERATION_TIMEDOUT)
		snprintf(why, size, "%s gave no answer in time: %s", host, detail);
	else if (code == CURLE_PEER_FAILED_VERIFICATION)
		snprintf(why, size, "certificate of %s is not accepted: %s", host, detail);
	else if (code == CURLE_SSL_CACERT_BADFILE)
		snprintf(why, size, "the CA file %s can't be used: %s",
		    request->ca_file != NULL ? request->ca_file : "of this system", detail);
	else if (code == CURLE_SSL_CONNECT_ERROR)
		snprintf(why, size, "TLS with %s failed: %s", host, detail);
	else if (code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR)
		snprintf(why, size, "the connection to %s was lost: %s", host, detail);
	else
		snprintf(why, size, "%s: %s", host, detail);
}

static void on_transfer_end(struct http_request *request, CURLcode code)
{
	long status = 0;
	curl_off_t retry_after = 0;

	if (code == CURLE_OK)
		curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
	if (code != CURLE_OK || status < 100 || status > 999) {
		request->unproved =
		    code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE;
		explain(request, code == CURLE_OK ? CURLE_WEIRD_SERVER_REPLY : code);
		set_answer(request, 0);
		return;
	}
	struct curl_header *challenge;
	if (curl_easy_header(request->easy, "WWW-Authenticate", 0, CURLH_HEADER, -1, &challenge) == CURLHE_OK)
		request->challenge = xstrdup(challenge->value);
	/* Seconds, of both forms of the header. */
	curl_easy_getinfo(request->easy, CURLINFO_RETRY_AFTER, &retry_after);
	if (retry_after > 0)
		request->retry_after_s =
		    retry_after < RETRY_AFTER_MAX_S ? (long)retry_after : RETRY_AFTER_MAX_S;
	set_answer(request, (int)status);
}

static void collect_ended(struct http *http)
{
	struct http_request *request;
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(http->multi, &left)) != NULL) {
		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &request);
		on_transfer_end(request, message->data.result);
	}
}

static void on_timer(evutil_socket_t fd, short what, void *cookie)
{
	struct http *http = cookie;
	int running;

	(void)fd;
	(void)what;
	curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	collect_ended(http);
}

static int on_timer_wanted(CURLM *multi, long ms, void *cookie)
{
	struct http *http = cookie;
	(void)multi;
	if (ms < 0)
		event_del(http->timer);
	else
		timer_set(http->timer, ms);
	return 0;
}

static void on_socket(evutil_socket_t fd, short what, void *cookie)
{
	struct http *http = cookie;
	int mask =
	    ((what & EV_READ) != 0 ? CURL_CSELECT_IN : 0) | ((what & EV_WRITE) != 0 ? CURL_CSELECT_OUT : 0);
	int running;

	curl_multi_socket_action(http->multi, fd, mask, &running);
	collect_ended(http);
}

/* libcurl calls this when it wants to wait for another thing at a socket; watch is ours of that socket. */
static int on_socket_wanted(CURL *easy, curl_socket_t fd, int what, void *cookie, void *watch)
{
	struct http *http = cookie;
	short want = EV_PERSIST;

	(void)easy;
	if (watch != NULL)
		event_free(watch);
	watch = NULL;
	if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
		want |= EV_READ;
	if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
		want |= EV_WRITE;
	if (what != CURL_POLL_REMOVE)
		watch = event_new(http->base, fd, want, on_socket, http);
	if (watch != NULL)
		event_add(watch, NULL);
	curl_multi_assign(http->multi, fd, watch);
	return 0;
}

struct http *http_new(struct event_base *base, struct resolver *resolver, struct err *err)
{
	struct http *http = xcalloc(1, sizeof *http);

	http->base = base;
	http->resolver = resolver;
	LIST_INIT(&http->requests);
	if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, xmalloc, free, xrealloc, xstrdup, xcalloc) !=
	    CURLE_OK) {
		err_set(err, "libcurl can't be used here");
		free(http);
		return NULL;
	}
	http->timer = event_new(base, -1, 0, on_timer, http);
	http->multi = curl_multi_init();
	if (http->timer == NULL || http->multi == NULL) {
		err_set(err, "libcurl or libevent has no room");
		http_free(http);
		return NULL;
	}
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, on_socket_wanted);
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
	return http;
}

/* What is sent, and how it ends. */
static bool set_request(struct http_request *request)
{
	CURL *easy = request->easy;
	long left_ms = HTTP_TIMEOUT_MS - (long)(clock_mono_ms() - request->start_ms);

	request->headers = curl_slist_append(request->headers, "Accept: application/json");
	request->headers = curl_slist_append(request->headers, "Expect:");
	return CURL_OK(curl_easy_setopt(easy, CURLOPT_URL, request->url)) &&
	       (request->is_get ||
		   (CURL_OK(curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->form.bytes)) &&
		       CURL_OK(curl_easy_setopt(
			   easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->form.n)))) &&
	       CURL_OK(curl_easy_setopt(easy, CURLOPT_HTTPHEADER, request->headers)) &&
	       CURL_OK(curl_easy_setopt(easy, CURLOPT_USERAGENT, "mfdrelay/" MFDRELAY_VERSION)) &&
	       CURL_OK(curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1)) &&
	       CURL_OK(curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L)) &&
	       CURL_OK(curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L)) &&
	       CURL_OK(curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L)) &&
	       CURL_OK(curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L)) &&
	       CURL_OK(curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, left_ms > 0 ? left_ms : 1L)) &&
	       CURL_OK(curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS)) &&
	       CURL_OK(curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body)) &&
	       CURL_OK(curl_easy_setopt(easy, CURLOPT_WRITEDATA, request)) &&
	       CURL_OK(curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, request->curl_error)) &&
	       CURL_OK(curl_easy_setopt(easy, CURLOPT_PRIVATE, request));
}

/* The config's, or none: whatever the environment says. */
static bool set_proxy(struct http_request *request)
{
	CURL *easy = request->easy;

	if (request->proxy == NULL)
		return CURL_OK(curl_easy_setopt(easy, CURLOPT_PROXY, ""));
	return CURL_OK(curl_easy_setopt(easy, CURLOPT_PROXY, request->proxy)) &&
	       CURL_OK(curl_easy_setopt(easy, CURLOPT_NOPROXY, "")) &&
	       CURL_OK(curl_easy_setopt(easy, CURLOPT_HTTPPROXYTUNNEL, 1L)) &&
	       CURL_OK(curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L)) &&
	       (request->proxy_user == NULL ||
		   (CURL_OK(curl_easy_setopt(easy, CURLOPT_PROXYAUTH, (long)CURLAUTH_BASIC)) &&
		       CURL_OK(curl_easy_setopt(easy, CURLOPT_PROXYUSERNAME, request->proxy_user)) &&
		       CURL_OK(
			   curl_easy_setopt(easy, CURLOPT_PROXYPASSWORD, request->proxy_password.bytes))));
}

/* To whom it may go: the verified host of the URL. */
static bool set_security(struct http_request *request)
{
	CURL *easy = request->easy;

	return CURL_OK(curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, request->is_local ? "http" : "https")) &&
	       set_proxy(request) && CURL_OK(curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L)) &&
	       CURL_OK(curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L)) &&
	       CURL_OK(curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2)) &&
	       CURL_OK(curl_easy_setopt(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L)) &&
	       (request->ca_file == NULL ||
		   (CURL_OK(curl_easy_setopt(easy, CURLOPT_CAINFO, request->ca_file)) &&
		       CURL_OK(curl_easy_setopt(easy, CURLOPT_CAPATH, NULL)))) &&
	       (request->resolved == NULL ||
		   CURL_OK(curl_easy_setopt(easy, CURLOPT_RESOLVE, request->resolved)));
}

/* libcurl's "host:port:address,address": it tries them all, and asks no resolver of its own. It takes a
 * literal host as it is. */
static void set_resolved(struct http_request *request, const struct net_address *addresses, size_t n)
{
	char line[512 + RESOLVER_ADDRESSES_MAX * (INET6_ADDRSTRLEN + 3)];
	char host[INET6_ADDRSTRLEN];
	size_t used;

	if (strchr(request->reached_host, ':') != NULL)
		return;
	used =
	    (size_t)snprintf(line, sizeof line, "%.400s:%u:", request->reached_host, request->reached_port);
	for (size_t i = 0; i < n; i++) {
		bool v6 = addresses[i].address.ss_family == AF_INET6;
		sockaddr_host(host, sizeof host, (const struct sockaddr *)&addresses[i].address);
		v6 = v6 && strchr(host, ':') != NULL;
		used += (size_t)snprintf(
		    line + used, sizeof line - used, v6 ? "%s[%s]" : "%s%s", i > 0 ? "," : "", host);
	}
	request->resolved = curl_slist_append(NULL, line);
}

/* Resolved: the transfer begins. Returns false when libcurl refuses. */
static bool begin_transfer(struct http_request *request)
{
	request->easy = curl_easy_init();
	if (request->easy == NULL)
		return false;
	if (set_request(request) && set_security(request) &&
	    curl_multi_add_handle(request->http->multi, request->easy) == CURLM_OK)
		return true;
	curl_easy_cleanup(request->easy);
	request->easy = NULL;
	return false;
}

/* Loopback or link-local. */
static bool is_of_this_machine(const struct sockaddr_storage *address)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
	uint32_t host = ntohl(v4->sin_addr.s_addr);

	if (address->ss_family == AF_INET)
		return host >> 24 == 127 || host >> 16 == 0xa9fe;
	return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) || IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr);
}

static bool are_allowed(const struct http_request *request, const struct net_address *addresses, size_t n)
{
	for (size_t i = 0; request->is_local && i < n; i++)
		if (!is_of_this_machine(&addresses[i].address))
			return false;
	return true;
}

static void on_resolved(void *cookie, const struct net_address *addresses, size_t n, const char *why)
{
	struct http_request *request = cookie;

	request->query = NULL;
	if (n == 0) {
		snprintf(request->why, sizeof request->why, "%s%s",
		    request->proxy != NULL ? "the proxy " : "", why);
		set_answer(request, 0);
		return;
	}
	if (!are_allowed(request, addresses, n)) {
		snprintf(request->why, sizeof request->why,
		    "%.300s: not on this machine, so a token would come unprotected", request->host);
		set_answer(request, 0);
		return;
	}
	set_resolved(request, addresses, n);
	if (!begin_transfer(request)) {
		snprintf(
		    request->why, sizeof request->why, "%.300s: libcurl refuses the request", request->url);
		set_answer(request, 0);
	}
}

/* Host and port of the URL. Returns false, and why says what is wrong with it. */
static bool read_url(struct http_request *request)
{
	CURLU *url = curl_url();
	char *scheme = NULL, *host = NULL, *port = NULL;
	bool good = url != NULL && curl_url_set(url, CURLUPART_URL, request->url, 0) == CURLUE_OK &&
		    curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
		    strcasecmp(scheme, request->is_local ? "http" : "https") == 0 &&
		    curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK && host[0] != '\0' &&
		    curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK;

	for (size_t i = 0; good && host[i] != '\0'; i++)
		good = host[i] > ' ' && host[i] < 0x7f;
	if (good) {
		size_t n = strlen(host);
		request->port = (unsigned short)strtoul(port, NULL, 10);
		if (host[0] == '[' && host[n - 1] == ']') {
			host[n - 1] = '\0';
			memmove(host, host + 1, n - 1);
		}
		request->host = host;
	} else {
		snprintf(request->why, sizeof request->why, "%.300s: not an %s URL with a host", request->url,
		    request->is_local ? "http" : "https");
		curl_free(host);
	}
	curl_free(scheme);
	curl_free(port);
	curl_url_cleanup(url);
	return good;
}

static void copy_call(struct http_request *request, const struct http_call *call)
{
	request->url = xstrdup(call->url);
	request->ca_file = call->ca_file != NULL ? xstrdup(call->ca_file) : NULL;
	request->is_local = call->local;
	request->is_get = call->form == NULL;
	if (call->form != NULL)
		secret_set(&request->form, (struct str){call->form->bytes, call->form->n});
	if (call->header != NULL)
		request->headers = curl_slist_append(request->headers, call->header);
	if (call->secret_header != NULL)
		request->headers = curl_slist_append(request->headers, call->secret_header->bytes);
	if (call->proxy == NULL)
		return;
	request->proxy = xasprintf(strchr(call->proxy->host, ':') != NULL ? "http://[%s]:%u" : "http://%s:%u",
	    call->proxy->host, call->proxy->port);
	request->reached_host = xstrdup(call->proxy->host);
	request->reached_port = call->proxy->port;
	if (call->proxy->user != NULL) {
		request->proxy_user = xstrdup(call->proxy->user);
		secret_set(&request->proxy_password,
		    (struct str){call->proxy->password->bytes, call->proxy->password->n});
	}
}

struct http_request *http_send(struct http *http, const struct http_call *call, http_fn *fn, void *arg)
{
	struct http_request *request = xcalloc(1, sizeof *request);

	request->http = http;
	request->fn = fn;
	request->arg = arg;
	request->start_ms = clock_mono_ms();
	copy_call(request, call);
	request->deliver = event_new(http->base, -1, 0, on_deliver, request);
	LIST_INSERT_HEAD(&http->requests, request, next);
	if (!read_url(request)) {
		set_answer(request, 0);
		return request;
	}
	if (request->proxy == NULL) {
		request->reached_host = xstrdup(request->host);
		request->reached_port = request->port;
	}
	request->query = resolver_lookup(
	    http->resolver, request->reached_host, request->reached_port, on_resolved, request);
	return request;
}

void http_cancel(struct http_request *request)
{
	if (request == NULL)
		return;
	end_transfer(request);
	LIST_REMOVE(request, next);
	free_request(request);
}

void http_free(struct http *http)
{
	struct http_request *request;

	if (http == NULL)
		return;
	while ((request = LIST_FIRST(&http->requests)) != NULL)
		http_cancel(request);
	curl_multi_cleanup(http->multi);
	if (http->timer != NULL)
		event_free(http->timer);
	curl_global_cleanup();
	free(http);
}
