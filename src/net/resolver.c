/* Each look-up has a c-ares channel of its own: cancelling is freeing it, and a changed resolv.conf counts
 * from the next look-up on. They are rare (connections are reused), and the set-up costs a fraction of a
 * millisecond. */
#include "net/resolver.h"

#include <arpa/inet.h>
#include <ares.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/timer.h"
#include "net/mx.h"

#define LIMIT_MS	20000 /* for all of a look-up */
#define TRY_MS		2000  /* for the first try at a name server; doubles with each round */
#define TRIES		2     /* with three name servers that answer nothing this takes 18 s */
#define NAME_MAX_OCTETS 253
#define CLASS_IN	1
#define TYPE_MX		15
#define TYPE_TXT	16

struct watch {
	struct resolver_query *query;
	struct event *event;
	int fd;
	LIST_ENTRY(watch) next;
};

struct resolver {
	struct event_base *base;
	LIST_HEAD(, resolver_query) queries;
	char *servers; /* NULL: the system's */
	unsigned limit_ms;
};

struct resolver_query {
	struct resolver *resolver;
	resolver_fn *fn;
	resolver_mx_fn *mx_fn;
	resolver_txt_fn *txt_fn; /* one of the three */
	void *arg;
	ares_channel channel; /* NULL: none needed */
	struct event *timer;  /* c-ares' next look, or the answer's delivery when done */
	int64_t deadline_ms;
	LIST_HEAD(, watch) watches;
	char host[NAME_MAX_OCTETS + 3]; /* with brackets */
	unsigned short port;
	bool done;
	struct net_address addresses[RESOLVER_ADDRESSES_MAX];
	size_t n;
	struct mx_list *mx; /* NULL: there was no answer, or it is not about them */
	char *texts[RESOLVER_TEXTS_MAX];
	char why[400];
	LIST_ENTRY(resolver_query) next;
};

/* The answer stands; it is given from the loop. */
static void set_done(struct resolver_query *query)
{
	query->done = true;
	event_active(query->timer, EV_TIMEOUT, 0);
}

static void set_failed(struct resolver_query *query, const char *cause)
{
	query->n = 0;
	snprintf(query->why, sizeof query->why, "%s: %s", query->host, cause);
	set_done(query);
}

static const char *cause_of(int status)
{
	switch (status) {
	case ARES_ENOTFOUND:
		return "there is no host of that name; is it spelled right?";
	case ARES_ENODATA:
		return "the name has no address";
	case ARES_ETIMEOUT:
		return "no name server answered in time; see /etc/resolv.conf and the firewall (port 53)";
	/* c-ares passes by a server that says SERVFAIL; when none is left, older ones (1.18) tell this. */
	case ARES_ECONNREFUSED:
		return "no name server can be reached, or all say SERVFAIL; see /etc/resolv.conf";
	case ARES_ESERVFAIL:
		return "the name server can't resolve it at present (SERVFAIL)";
	case ARES_EBADNAME:
		return "not a host name";
	default:
		return ares_strerror(status);
	}
}

static void add_address(struct resolver_query *query, const struct sockaddr *address, socklen_t length)
{
	struct net_address *slot = &query->addresses[query->n];

	if (query->n == RESOLVER_ADDRESSES_MAX || length > sizeof slot->address)
		return;
	memcpy(&slot->address, address, length);
	slot->length = length;
	query->n++;
}

static void add_family(struct resolver_query *query, const struct ares_addrinfo *result, int family)
{
	for (const struct ares_addrinfo_node *node = result->nodes; node != NULL; node = node->ai_next) {
		if (node->ai_family == family)
			add_address(query, node->ai_addr, node->ai_addrlen);
	}
}

static void on_addrinfo(void *cookie, int status, int timeouts, struct ares_addrinfo *result)
{
	struct resolver_query *query = cookie;

	(void)timeouts;
	if (!query->done && status == ARES_SUCCESS && result != NULL) {
		add_family(query, result, AF_INET);
		add_family(query, result, AF_INET6);
	}
	if (result != NULL)
		ares_freeaddrinfo(result);
	if (query->done)
		return;
	if (query->n > 0)
		set_done(query);
	else
		set_failed(query, cause_of(status == ARES_SUCCESS ? ARES_ENODATA : status));
}

/* That there are no such records is an answer; all else is not. */
static void on_mx(void *cookie, int status, int timeouts, unsigned char *answer, int n)
{
	struct resolver_query *query = cookie;

	(void)timeouts;
	if (query->done)
		return;
	if (status != ARES_SUCCESS && status != ARES_ENODATA && status != ARES_ENOTFOUND) {
		set_failed(query, cause_of(status));
		return;
	}
	struct mx_list *list = xcalloc(1, sizeof *list);
	if (status == ARES_SUCCESS && !mx_parse(answer, (size_t)n, list)) {
		free(list);
		set_failed(query, "the name server's answer is damaged");
		return;
	}
	query->mx = list;
	if (list->n > 0)
		set_done(query);
	else
		set_failed(query, status == ARES_ENOTFOUND
				      ? "there is no domain of that name; is it spelled right?"
				      : "the domain has no MX record");
}

/* c-ares gives the parts of each record one behind the other, and says where the next record begins. */
static void add_texts(struct resolver_query *query, const struct ares_txt_ext *part)
{
	while (part != NULL && query->n < RESOLVER_TEXTS_MAX) {
		char *text = xcalloc(1, RESOLVER_TEXT_MAX + 1);
		size_t n = 0;
		bool good = true;
		do {
			good = good && n + part->length <= RESOLVER_TEXT_MAX &&
			       memchr(part->txt, '\0', part->length) == NULL;
			if (good) {
				memcpy(text + n, part->txt, part->length);
				n += part->length;
			}
			part = part->next;
		} while (part != NULL && !part->record_start);
		if (good)
			query->texts[query->n++] = text;
		else
			free(text);
	}
}

/* That there are no such records is an answer; all else is not. */
static void on_txt(void *cookie, int status, int timeouts, unsigned char *answer, int n)
{
	struct resolver_query *query = cookie;
	struct ares_txt_ext *parts = NULL;

	(void)timeouts;
	if (query->done)
		return;
	if (status == ARES_SUCCESS)
		status = ares_parse_txt_reply_ext(answer, n, &parts);
	if (status == ARES_SUCCESS)
		add_texts(query, parts);
	if (parts != NULL)
		ares_free_data(parts);
	if (status == ARES_SUCCESS || status == ARES_ENODATA || status == ARES_ENOTFOUND)
		set_done(query);
	else
		set_failed(query, cause_of(status));
}

/* Have c-ares look again when it wants to, at the deadline at the latest. */
static void set_timer(struct resolver_query *query)
{
	int64_t left_ms = query->deadline_ms - clock_mono_ms();
	struct timeval limit = timer_interval(left_ms), next, *first;

	if (query->done)
		return;
	first = ares_timeout(query->channel, &limit, &next);
	event_add(query->timer, first != NULL ? first : &limit);
}

static void on_socket(evutil_socket_t fd, short what, void *cookie)
{
	struct watch *watch = cookie;
	struct resolver_query *query = watch->query;

	ares_process_fd(query->channel, (what & EV_READ) != 0 ? fd : ARES_SOCKET_BAD,
	    (what & EV_WRITE) != 0 ? fd : ARES_SOCKET_BAD);
	set_timer(query);
}

/* Not from inside c-ares. */
static void close_channel(struct resolver_query *query)
{
	struct watch *watch;

	query->done = true;
	if (query->channel != NULL)
		ares_destroy(query->channel);
	query->channel = NULL;
	while ((watch = LIST_FIRST(&query->watches)) != NULL) {
		LIST_REMOVE(watch, next);
		event_free(watch->event);
		free(watch);
	}
}

static void free_query(struct resolver_query *query)
{
	close_channel(query);
	event_free(query->timer);
	free(query->mx);
	for (size_t i = 0; i < RESOLVER_TEXTS_MAX; i++)
		free(query->texts[i]);
	free(query);
}

static void on_timer(evutil_socket_t fd, short what, void *cookie)
{
	struct resolver_query *query = cookie;

	(void)fd;
	(void)what;
	if (!query->done && clock_mono_ms() >= query->deadline_ms)
		set_failed(query, cause_of(ARES_ETIMEOUT));
	if (!query->done) {
		ares_process_fd(query->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
		set_timer(query);
		return;
	}
	/* First of all: fn may free the resolver. */
	LIST_REMOVE(query, next);
	close_channel(query);
	const char *why = query->why[0] != '\0' ? query->why : NULL;
	if (query->mx_fn != NULL)
		query->mx_fn(query->arg, query->mx, why);
	else if (query->txt_fn != NULL)
		query->txt_fn(query->arg, (const char *const *)query->texts, query->n, why);
	else
		query->fn(query->arg, query->addresses, query->n, why);
	free_query(query);
}

static struct watch *find_watch(struct resolver_query *query, int fd)
{
	struct watch *watch;

	LIST_FOREACH(watch, &query->watches, next) {
		if (watch->fd == fd)
			return watch;
	}
	watch = xcalloc(1, sizeof *watch);
	watch->query = query;
	watch->fd = fd;
	LIST_INSERT_HEAD(&query->watches, watch, next);
	return watch;
}

/* c-ares opens, uses and closes its sockets as it likes; this follows. */
static void on_socket_state(void *cookie, ares_socket_t fd, int readable, int writable)
{
	struct resolver_query *query = cookie;
	struct watch *watch = find_watch(query, fd);
	short want = (short)(EV_PERSIST | (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0));

	if (watch->event != NULL)
		event_free(watch->event);
	watch->event = NULL;
	if (!readable && !writable) {
		LIST_REMOVE(watch, next);
		free(watch);
		return;
	}
	watch->event = event_new(query->resolver->base, fd, want, on_socket, watch);
	if (watch->event == NULL || event_add(watch->event, NULL) < 0)
		query->deadline_ms = 0;
}

/* Returns c-ares' status; *channel stays NULL unless it is ARES_SUCCESS. query: whose sockets to follow, or
 * NULL. */
static int open_channel(ares_channel *channel, const struct resolver *resolver, struct resolver_query *query)
{
	struct ares_options options = {
	    .timeout = TRY_MS, .tries = TRIES, .sock_state_cb = on_socket_state, .sock_state_cb_data = query};
	ares_channel opened;
	int status = ares_init_options(&opened, &options,
	    ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | (query != NULL ? ARES_OPT_SOCK_STATE_CB : 0));

	if (status != ARES_SUCCESS)
		return status;
	if (resolver->servers != NULL)
		status = ares_set_servers_ports_csv(opened, resolver->servers);
	if (status == ARES_SUCCESS)
		*channel = opened;
	else
		ares_destroy(opened);
	return status;
}

struct resolver *resolver_new(struct event_base *base, struct err *err)
{
	struct resolver *resolver = xcalloc(1, sizeof *resolver);
	ares_channel channel = NULL;
	int status = ares_library_init_mem(ARES_LIB_INIT_ALL, xmalloc, free, xrealloc);

	resolver->base = base;
	resolver->limit_ms = LIMIT_MS;
	LIST_INIT(&resolver->queries);
	if (status == ARES_SUCCESS) {
		status = open_channel(&channel, resolver, NULL);
		if (status == ARES_SUCCESS) {
			ares_destroy(channel);
			return resolver;
		}
		ares_library_cleanup();
	}
	err_set(err, "the resolver's settings (/etc/resolv.conf) can't be used: %s", ares_strerror(status));
	free(resolver);
	return NULL;
}

void resolver_set_servers(struct resolver *resolver, const char *servers, unsigned limit_ms)
{
	free(resolver->servers);
	resolver->servers = xstrdup(servers);
	if (limit_ms > 0)
		resolver->limit_ms = limit_ms;
}

/* Whether host is an address, which is the answer then. */
static bool take_literal(struct resolver_query *query, const char *host)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(query->port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(query->port)};
	size_t n = strlen(host);
	char bare[INET6_ADDRSTRLEN] = "";

	if (n >= 2 && n - 2 < sizeof bare && host[0] == '[' && host[n - 1] == ']')
		memcpy(bare, host + 1, n - 2);
	else if (n < sizeof bare)
		memcpy(bare, host, n);
	if (inet_pton(AF_INET, bare, &v4.sin_addr) == 1)
		add_address(query, (const struct sockaddr *)&v4, sizeof v4);
	else if (inet_pton(AF_INET6, bare, &v6.sin6_addr) == 1)
		add_address(query, (const struct sockaddr *)&v6, sizeof v6);
	return query->n > 0;
}

/* Whether host is this machine, whatever /etc/hosts and DNS say of it, if there are any (RFC 6761 section 6.3). */
static bool take_localhost(struct resolver_query *query, const char *host)
{
	if (strcasecmp(host, "localhost") != 0 && strcasecmp(host, "localhost.") != 0)
		return false;
	return take_literal(query, "127.0.0.1") && take_literal(query, "::1");
}

/* Returns whether there is a channel; else the look-up has failed. */
static bool open_query(struct resolver_query *query)
{
	int status = open_channel(&query->channel, query->resolver, query);

	if (status != ARES_SUCCESS)
		set_failed(query, ares_strerror(status));
	return status == ARES_SUCCESS;
}

static void start(struct resolver_query *query)
{
	static const struct ares_addrinfo_hints hints = {.ai_flags = ARES_AI_NUMERICSERV | ARES_AI_NOSORT,
	    .ai_family = AF_UNSPEC,
	    .ai_socktype = SOCK_STREAM};
	char port[8];

	if (!open_query(query))
		return;
	snprintf(port, sizeof port, "%u", query->port);
	ares_getaddrinfo(query->channel, query->host, port, &hints, on_addrinfo, query);
	set_timer(query);
}

static struct resolver_query *new_query(struct resolver *resolver, const char *name, void *arg)
{
	struct resolver_query *query = xcalloc(1, sizeof *query);

	query->resolver = resolver;
	query->arg = arg;
	query->deadline_ms = clock_mono_ms() + resolver->limit_ms;
	query->timer = event_new(resolver->base, -1, 0, on_timer, query);
	LIST_INIT(&query->watches);
	LIST_INSERT_HEAD(&resolver->queries, query, next);
	snprintf(query->host, sizeof query->host, "%s", name);
	return query;
}

static void ask(struct resolver_query *query, const char *name, int type, ares_callback answer)
{
	if (name[0] == '\0' || strlen(name) > NAME_MAX_OCTETS) {
		set_failed(query, cause_of(ARES_EBADNAME));
	} else if (open_query(query)) {
		ares_query(query->channel, name, CLASS_IN, type, answer, query);
		set_timer(query);
	}
}

struct resolver_query *resolver_mx(
    struct resolver *resolver, const char *domain, resolver_mx_fn *fn, void *arg)
{
	struct resolver_query *query = new_query(resolver, domain, arg);

	query->mx_fn = fn;
	ask(query, domain, TYPE_MX, on_mx);
	return query;
}

struct resolver_query *resolver_txt(
    struct resolver *resolver, const char *name, resolver_txt_fn *fn, void *arg)
{
	struct resolver_query *query = new_query(resolver, name, arg);

	query->txt_fn = fn;
	ask(query, name, TYPE_TXT, on_txt);
	return query;
}

struct resolver_query *resolver_lookup(
    struct resolver *resolver, const char *host, unsigned short port, resolver_fn *fn, void *arg)
{
	struct resolver_query *query = new_query(resolver, host, arg);

	query->fn = fn;
	query->port = port;
	if (take_literal(query, host) || take_localhost(query, host))
		set_done(query);
	else if (host[0] == '\0' || strlen(host) > NAME_MAX_OCTETS)
		set_failed(query, cause_of(ARES_EBADNAME));
	else
		start(query);
	return query;
}

void resolver_cancel(struct resolver_query *query)
{
	if (query == NULL)
		return;
	LIST_REMOVE(query, next);
	free_query(query);
}

void resolver_free(struct resolver *resolver)
{
	struct resolver_query *query;

	if (resolver == NULL)
		return;
	while ((query = LIST_FIRST(&resolver->queries)) != NULL)
		resolver_cancel(query);
	ares_library_cleanup();
	free(resolver->servers);
	free(resolver);
}
