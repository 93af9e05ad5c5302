/* The process that faces the LAN: it accepts, bounds how much of the machine strangers can have, and ends in
 * order. It holds no secret of the tenant, and writes nowhere but the spool. */
#include "supervisor/worker.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/ration.h"
#include "base/timer.h"
#include "config/config.h"
#include "listener/auth.h"
#include "listener/guesses.h"
#include "listener/handshake.h"
#include "listener/peers.h"
#include "listener/rates.h"
#include "listener/session.h"
#include "listener/storm.h"
#include "listener/strangers.h"
#include "net/conn.h"
#include "net/listen.h"
#include "spool/spool.h"
#include "supervisor/handover.h"
#include "supervisor/sandbox.h"

#define ACCEPT_ROUND	 64   /* connections taken before the sessions have their turn again */
#define ACCEPT_PAUSE_MS	 100  /* when descriptors or memory are short */
#define GOODBYE_MS	 100  /* for the last replies to leave */
#define EXPIRE_MS	 300  /* for the 421s to devices in the middle of their content */
#define SILENCE_MS	 2000 /* who ends in LF.LF waits longer for the answer */
#define LOGIN_PENALTY_MS 3200 /* ten guesses a second from the 32 sessions of one address */
#define REST_US		 100
#define SPARE_FILES	 (64 + CONN_FINISHING_MAX) /* descriptors beside the sessions' */

/* One listening socket. */
struct door {
	struct listener *listener;
	const struct listen_config *config;
	struct event *accept;
};

struct listener {
	struct worker *worker;
	const struct worker_input *input;
	struct session_env env;
	struct peers *peers;
	struct handshakes tls;
	struct door *doors;
	struct event *resume, *wake, *goodbye;
	struct quiet trouble, refused;
	struct handover_messages wake_packet;
	size_t wake_count;
	bool ending;
};

/* --- wake-ups for the sender --- */

/* A lost one costs a rescan: nothing is done about errors. */
static void send_wake(struct listener *l)
{
	struct handover_messages *packet = &l->wake_packet;
	size_t n = offsetof(struct handover_messages, ids) + l->wake_count * sizeof packet->ids[0];

	packet->kind = HANDOVER_MESSAGES;
	if (l->wake_count > 0)
		send(l->input->peer_fd, packet, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	l->wake_count = 0;
}

static void on_wake(evutil_socket_t fd, short what, void *cookie)
{
	(void)fd;
	(void)what;
	send_wake(cookie);
}

/* The messages of one batch of the spool become one packet: it goes when this round of the loop is done. */
static void queue_wake(struct listener *l, const char *id)
{
	char *slot = l->wake_packet.ids[l->wake_count++];

	memset(slot, 0, sizeof l->wake_packet.ids[0]);
	memcpy(slot, id, strnlen(id, SPOOL_ID_MAX));
	if (l->wake_count == HANDOVER_IDS)
		send_wake(l);
	else
		event_active(l->wake, EV_TIMEOUT, 0);
}

/* --- the end --- */

static void end_in(struct listener *l, unsigned ms)
{
	if (l->ending)
		return;
	l->ending = true;
	timer_set(l->goodbye, ms);
}

static void on_goodbye(evutil_socket_t fd, short what, void *cookie)
{
	struct listener *l = cookie;

	(void)fd;
	(void)what;
	worker_finished(l->worker);
}

static void look_for_end(struct listener *l)
{
	if ((l->env.retiring || l->env.draining) && l->env.session_count == 0 && l->env.commits == 0)
		end_in(l, GOODBYE_MS);
}

static void on_committed(void *arg, const char *id)
{
	struct listener *l = arg;

	if (id != NULL)
		queue_wake(l, id);
	look_for_end(l);
}

static void on_ended(void *arg, const struct in6_addr *counted)
{
	struct listener *l = arg;

	peers_leave(l->peers, counted);
	look_for_end(l);
}

/* --- accepting --- */

static struct in6_addr peer_of(const struct sockaddr_storage *address)
{
	struct in6_addr peer = IN6ADDR_ANY_INIT;

	if (address->ss_family == AF_INET6) {
		peer = ((const struct sockaddr_in6 *)address)->sin6_addr;
	} else if (address->ss_family == AF_INET) {
		peer.s6_addr[10] = peer.s6_addr[11] = 0xff;
		memcpy(&peer.s6_addr[12], &((const struct sockaddr_in *)address)->sin_addr, 4);
	}
	return peer;
}

/* Without a session: under a flood this must cost next to nothing. */
static void refuse(struct listener *l, int fd, const char *peer, const char *reply)
{
	char line[256];
	int n = snprintf(line, sizeof line, "%s\r\n", reply);
	uint64_t withheld;

	count(&l->env.counters->sessions_refused, 1);
	if (quiet_lets(&l->refused, &withheld, clock_mono_ms()))
		log_event(LOG_LEVEL_WARNING, "session-refused", kv_str("peer", peer), kv_str("reply", reply),
		    kv_u64("withheld", withheld));
	conn_dismiss(fd, line, (size_t)n);
}

static bool lists_addresses(const struct config *config)
{
	for (size_t i = 0; i < config->device_count; i++)
		if (config->devices[i].prefix_count > 0)
			return true;
	return false;
}

/* A quarter of the places is kept for the addresses that are listed: strangers cannot shut them out. A user
 * who may come from anywhere is a stranger until the login. */
static unsigned stranger_places(const struct config *config)
{
	unsigned all = config->limits.sessions;

	return lists_addresses(config) ? all - all / 4 : all;
}

static void refuse_for_limit(struct listener *l, int fd, const char *peer, const struct in6_addr *counted)
{
	const struct sockaddr_in6 whose = {.sin6_family = AF_INET6, .sin6_addr = *counted};
	char host[64], reply[200];

	sockaddr_host(host, sizeof host, (const struct sockaddr *)&whose);
	snprintf(reply, sizeof reply,
	    "421 4.7.0 Too many sessions from %s%s (limits.sessions_per_address is %u): try again later",
	    host, strcmp(host, peer) == 0 ? "" : "/64", l->env.config->limits.sessions_per_address);
	refuse(l, fd, peer, reply);
}

static void admit(const struct door *door, int fd, const struct sockaddr_storage *address)
{
	struct listener *l = door->listener;
	const struct config *config = l->env.config;
	struct in6_addr peer = peer_of(address);
	bool listed = config_device_by_address(config, &peer) != NULL;
	struct in6_addr counted = peer_counted(&peer, listed);
	char host[64], reply[200];

	sockaddr_host(host, sizeof host, (const struct sockaddr *)address);
	if (l->env.session_count >= (listed ? config->limits.sessions : l->env.stranger_places)) {
		snprintf(reply, sizeof reply,
		    "421 4.7.0 Too many sessions (limits.sessions is %u): try again later",
		    config->limits.sessions);
		refuse(l, fd, host, reply);
	} else if (!peers_enter(l->peers, &counted, config->limits.sessions_per_address)) {
		refuse_for_limit(l, fd, host, &counted);
	} else if (!session_new(&l->env, fd, &peer, door->config)) {
		log_event(LOG_LEVEL_ERR, "session-failed", kv_str("peer", host), kv_errno());
		peers_leave(l->peers, &counted);
	}
}

static void pause_accepting(struct listener *l, int error)
{
	uint64_t withheld;

	errno = error;
	if (quiet_lets(&l->trouble, &withheld, clock_mono_ms()))
		log_event(LOG_LEVEL_ERR, "accept-failed", kv_errno(),
		    kv_u64("sessions", l->env.session_count),
		    kv_str("remedy", error == EMFILE || error == ENFILE
					 ? "raise LimitNOFILE= of the unit, or lower limits.sessions"
					 : "devices are accepted again as soon as the system lets us"),
		    kv_u64("withheld", withheld));
	for (size_t i = 0; i < l->input->listen_count; i++)
		event_del(l->doors[i].accept);
	timer_set(l->resume, ACCEPT_PAUSE_MS);
}

static void on_resume(evutil_socket_t fd, short what, void *cookie)
{
	struct listener *l = cookie;

	(void)fd;
	(void)what;
	for (size_t i = 0; i < l->input->listen_count; i++)
		event_add(l->doors[i].accept, NULL);
}

/* accept(2): these are about the connection that was waiting, or about nothing. */
static bool is_passing(int error)
{
	return error == EINTR || error == ECONNABORTED || error == EPROTO || error == ENETDOWN ||
	       error == ENETUNREACH || error == EHOSTDOWN || error == EHOSTUNREACH || error == ENONET ||
	       error == EOPNOTSUPP || error == EPERM;
}

static void on_accept(evutil_socket_t listen_fd, short what, void *cookie)
{
	const struct door *door = cookie;

	(void)what;
	for (int i = 0; i < ACCEPT_ROUND; i++) {
		struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
		socklen_t length = sizeof address;
		int fd =
		    accept4(listen_fd, (struct sockaddr *)&address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			admit(door, fd, &address);
		} else if (errno == EAGAIN || errno == EWOULDBLOCK) {
			return;
		} else if (!is_passing(errno)) {
			pause_accepting(door->listener, errno);
			return;
		}
	}
}

/* --- the role --- */

/* Each session may hold a socket and a draft. */
static void raise_file_limit(const struct config *config)
{
	rlim_t want = (rlim_t)config->limits.sessions * 2 + SPARE_FILES;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= want)
		return;
	limit.rlim_cur = want < limit.rlim_max ? want : limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < want)
		log_event(LOG_LEVEL_WARNING, "few-descriptors", kv_u64("limit", limit.rlim_cur),
		    kv_u64("wanted", want),
		    kv_str("remedy", "raise LimitNOFILE= of the unit, or lower limits.sessions"));
}

/* The sockets come in the config's order, but for systemd's: those are told by their port. */
static const struct listen_config *entry_of(const struct worker_input *input, size_t index)
{
	static const struct listen_config none = {.tls = LISTEN_TLS_NONE};
	const struct config *config = input->config;
	unsigned short port = listen_port(input->listen_fds[index]);

	if (index < config->listen_count &&
	    (config->listen[index].port == port || config->listen[index].port == 0))
		return &config->listen[index];
	for (size_t i = 0; i < config->listen_count; i++)
		if (config->listen[i].port == port)
			return &config->listen[i];
	return &none;
}

static int open_door(struct listener *l, struct event_base *base, size_t index)
{
	struct door *door = &l->doors[index];
	int fd = l->input->listen_fds[index];

	*door = (struct door){.listener = l, .config = entry_of(l->input, index)};
	door->accept = event_new(base, fd, EV_READ | EV_PERSIST, on_accept, door);
	return door->accept != NULL ? event_add(door->accept, NULL) : -1;
}

static int make_events(struct listener *l, struct event_base *base, struct err *err)
{
	size_t n = l->input->listen_count;
	bool fine;

	l->resume = evtimer_new(base, on_resume, l);
	l->wake = event_new(base, -1, 0, on_wake, l);
	l->goodbye = evtimer_new(base, on_goodbye, l);
	l->doors = xcalloc(n > 0 ? n : 1, sizeof *l->doors);
	fine = l->resume != NULL && l->wake != NULL && l->goodbye != NULL;
	for (size_t i = 0; i < n && fine; i++)
		fine = open_door(l, base, i) == 0;
	return fine ? 0 : err_sys(err, "setting up the listening sockets on the event loop");
}

static void free_accepts(struct listener *l)
{
	for (size_t i = 0; l->doors != NULL && i < l->input->listen_count; i++) {
		if (l->doors[i].accept != NULL)
			event_free(l->doors[i].accept);
		l->doors[i].accept = NULL;
	}
}

static void free_event(struct event *event)
{
	if (event != NULL)
		event_free(event);
}

static void listener_stop(void *state)
{
	struct listener *l = state;

	l->ending = true;
	free_accepts(l);
	/* In this order: the commits under way are finished and answered, by sessions that do nothing else
	 * any more. */
	sessions_close(&l->env);
	spool_close(l->env.spool);
	send_wake(l);
	auth_free(l->env.auth);
	storms_free(l->env.storms);
	guesses_free(l->env.guesses);
	strangers_free(l->env.strangers);
	conn_drop_finishing();
	free_event(l->resume);
	free_event(l->wake);
	free_event(l->goodbye);
	peers_free(l->peers);
	rates_free(l->env.handshake_rates);
	free(l->doors);
	handshakes_free(&l->tls);
	free(l);
}

/* It reads no file any more, not even in the spool, and opens no connection. */
static void confine(const struct listener *l)
{
	const struct sandbox sandbox = {.writes_fd = spool_intake_fd(l->env.spool)};

	worker_confine(l->worker, &sandbox);
}

static void *listener_start(struct worker *worker, struct err *err)
{
	const struct worker_input *input = worker_input(worker);
	struct event_base *base = worker_base(worker);
	struct listener *l = xcalloc(1, sizeof *l);

	l->worker = worker;
	l->input = input;
	l->peers = peers_new();
	l->env.handshake_rates = rates_new();
	l->env.base = base;
	l->env.config = input->config;
	l->env.counters = input->counters;
	l->env.sessions_now = input->sessions_now;
	l->env.stranger_places = stranger_places(input->config);
	l->env.silence_ms = SILENCE_MS;
	l->env.login_penalty_ms = LOGIN_PENALTY_MS;
	l->env.committed = on_committed;
	l->env.ended = on_ended;
	l->env.arg = l;
	raise_file_limit(input->config);
	l->env.spool = spool_open(input->config->spool, base, input->config->limits.free_space, err);
	if (l->env.spool == NULL || make_events(l, base, err) < 0) {
		listener_stop(l);
		return NULL;
	}
	handshakes_load(&l->tls, input->config);
	l->env.tls = &l->tls;
	l->env.storms = storms_new(input->config);
	l->env.guesses = guesses_new();
	l->env.strangers = strangers_new(base, input->peer_fd);
	confine(l);
	spool_start(l->env.spool);
	l->env.auth = auth_new(base, input->config);
	return l;
}

static void stop_accepting(struct listener *l)
{
	free_accepts(l);
	evtimer_del(l->resume);
	/* Ours only: the supervisor and the next listener have their own descriptors of these sockets. */
	for (size_t i = 0; i < l->input->listen_count; i++)
		close(l->input->listen_fds[i]);
}

static void listener_drain(void *state, enum drain why)
{
	struct listener *l = state;

	if (!l->env.retiring)
		stop_accepting(l);
	if (why == DRAIN_RETIRE)
		sessions_retire(&l->env);
	else
		sessions_drain(&l->env);
	look_for_end(l);
}

static void listener_deadline(void *state)
{
	struct listener *l = state;

	/* First: the end of the last session asks for a shorter time. */
	end_in(l, EXPIRE_MS);
	sessions_expire(&l->env);
}

/* Several devices are in the midst of a dialog: their next commands are met together. That time is nothing beside a sync, and
 * where waking a process is dear, as on a virtual machine, it is saved several times over. */
static unsigned listener_rest_us(void *state)
{
	struct listener *l = state;
	bool many = l->env.answers > 1;

	l->env.answers = 0;
	return many ? REST_US : 0;
}

const struct worker_role listener_role = {
    .name = "listener",
    .start = listener_start,
    .drain = listener_drain,
    .deadline = listener_deadline,
    .rest_us = listener_rest_us,
    .stop = listener_stop,
};
