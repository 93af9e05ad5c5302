#include "front.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "faults.h"
#include "log.h"
#include "stats.h"
#include "stop.h"
#include "text.h"

#define LOOK_MS 20 /* how soon a new control file is noticed while nothing happens */

struct listener {
	enum front front;
	int fd;
	bool refusing; /* the kernel answers RST */
	serve_fn *serve;
	const struct options *options;
	pthread_t thread;
	struct connection *connections;
	unsigned running, peak;
	unsigned long total;
};

static struct listener listeners[FRONT_COUNT];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;
static unsigned long last_number;

const char *front_name(enum front front)
{
	static const char *const names[] = {"smtp", "login", "mx", "imds", "arc"};

	return names[front];
}

/* Under the lock. */
static unsigned live_connections(const struct listener *listener)
{
	const struct connection *connection;
	unsigned n = 0;

	for (connection = listener->connections; connection; connection = connection->next) {
		struct pollfd pollfd = {.fd = connection->fd, .events = POLLRDHUP};

		n += poll(&pollfd, 1, 0) == 0;
	}
	return n;
}

static void register_connection(struct listener *listener, struct connection *connection)
{
	unsigned live;

	pthread_mutex_lock(&lock);
	connection->number = ++last_number;
	connection->next = listener->connections;
	listener->connections = connection;
	listener->running++;
	listener->total++;
	live = live_connections(listener);
	if (live > listener->peak)
		listener->peak = live;
	pthread_mutex_unlock(&lock);
	stats_add(STAT_messages, 0);
}

static void close_socket(int fd, bool reset)
{
	const struct linger at_once = {.l_onoff = 1, .l_linger = 0};

	if (reset)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(fd);
}

static void end_connection(struct listener *listener, struct connection *connection)
{
	struct connection **at;

	pthread_mutex_lock(&lock);
	for (at = &listener->connections; *at != connection; at = &(*at)->next)
		;
	*at = connection->next;
	close_socket(connection->fd, connection->reset);
	listener->running--;
	pthread_cond_broadcast(&ended);
	pthread_mutex_unlock(&lock);
	stats_add(STAT_messages, 0);
	free(connection);
}

static void *connection_thread(void *arg)
{
	struct connection *connection = arg;
	struct listener *listener = &listeners[connection->front];

	log_event(front_name(connection->front), connection->number, "connected");
	listener->serve(connection);
	log_event(front_name(connection->front), connection->number, "closed");
	/* What OpenSSL keeps per thread: freed before this thread counts as ended, as nobody joins it. */
	OPENSSL_thread_stop();
	end_connection(listener, connection);
	return NULL;
}

static void start_connection(struct listener *listener, int fd)
{
	struct connection *connection = text_alloc(sizeof(*connection));
	const int on = 1;
	pthread_attr_t attr;
	pthread_t thread;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	connection->front = listener->front;
	connection->fd = fd;
	connection->options = listener->options;
	register_connection(listener, connection);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attr, connection_thread, connection) != 0)
		end_connection(listener, connection);
	pthread_attr_destroy(&attr);
}

static void take_connection(struct listener *listener, int fd)
{
	struct fault fault;

	/* Here and not in the thread: rules with a count see connections in their order. */
	if (faults_take(listener->front, faults_connect_stage(listener->front), NULL,
		ACTION_BIT(ACTION_REFUSE), &fault))
		close_socket(fd, true);
	else
		start_connection(listener, fd);
}

static bool is_full(const struct listener *listener)
{
	bool full;

	pthread_mutex_lock(&lock);
	full = listener->running >= FRONT_CONNECTIONS_MAX;
	pthread_mutex_unlock(&lock);
	return full;
}

/* `connect refuse` and `login down` without a count: nobody listens, and the port stays ours. */
static void set_refusing(struct listener *listener, bool refusing)
{
	if (refusing == listener->refusing)
		return;
	listener->refusing = refusing;
	if (refusing)
		shutdown(listener->fd, SHUT_RD);
	else if (listen(listener->fd, FRONT_CONNECTIONS_MAX) < 0)
		log_event(front_name(listener->front), 0, "can't listen again: %s", strerror(errno));
	log_event(
	    front_name(listener->front), 0, refusing ? "refuses connections" : "takes connections again");
}

static void *accept_thread(void *arg)
{
	struct listener *listener = arg;

	while (!stop_requested()) {
		int fd;

		faults_refresh();
		set_refusing(listener, faults_refusing(listener->front));
		if (listener->refusing || is_full(listener)) {
			stop_wait(LOOK_MS, -1, 0);
			continue;
		}
		if (!stop_wait(LOOK_MS, listener->fd, POLLIN))
			continue;
		fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			take_connection(listener, fd);
	}
	return NULL;
}

/* Bound to a named port, so that it is kept while nobody listens on it. */
static int bind_loopback(unsigned short port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const int on = 1;

	if (fd < 0)
		return -1;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

static unsigned short free_port(void)
{
	struct sockaddr_in address;
	socklen_t size = sizeof(address);
	int fd = bind_loopback(0);

	if (fd < 0)
		return 0;
	getsockname(fd, (struct sockaddr *)&address, &size);
	close(fd);
	return ntohs(address.sin_port);
}

unsigned short front_open(
    enum front front, unsigned short port, serve_fn *serve, const struct options *options)
{
	struct listener *listener = &listeners[front];

	if (!port)
		port = free_port();
	listener->front = front;
	listener->serve = serve;
	listener->options = options;
	listener->fd = bind_loopback(port);
	if (listener->fd < 0)
		return 0;
	if (listen(listener->fd, FRONT_CONNECTIONS_MAX) < 0)
		return 0;
	if (pthread_create(&listener->thread, NULL, accept_thread, listener) != 0)
		return 0;
	return port;
}

static void close_front(struct listener *listener)
{
	struct connection *connection;

	if (!listener->serve)
		return;
	pthread_join(listener->thread, NULL);
	close(listener->fd);
	pthread_mutex_lock(&lock);
	for (connection = listener->connections; connection; connection = connection->next)
		shutdown(connection->fd, SHUT_RDWR);
	while (listener->running > 0)
		pthread_cond_wait(&ended, &lock);
	pthread_mutex_unlock(&lock);
}

void front_close_all(void)
{
	int i;

	for (i = 0; i < FRONT_COUNT; i++)
		close_front(&listeners[i]);
}

json_t *front_stats(void)
{
	json_t *all = json_object();
	int i;

	pthread_mutex_lock(&lock);
	for (i = 0; i < FRONT_COUNT; i++)
		json_object_set_new(all, front_name((enum front)i),
		    json_pack("{s:i, s:i, s:I}", "now", (int)live_connections(&listeners[i]), "peak",
			(int)listeners[i].peak, "total", (json_int_t)listeners[i].total));
	pthread_mutex_unlock(&lock);
	return all;
}
