/* All that a device says on one connection, through the session to a spool in memory. The first two bytes of the input say who
 * it is and in which pieces it comes; said at once it must be answered alike. */
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <event2/event.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "config/config.h"
#include "fuzz.h"
#include "listener/auth.h"
#include "listener/guesses.h"
#include "listener/session.h"
#include "listener/storm.h"
#include "net/conn.h"
#include "spool/spool.h"

#define IDS_MAX	  256
#define WAIT_MS	  5000
#define REPLY_MAX 512 /* RFC 5321 4.5.3.1.5 */
#define PASSWORD  "$5$rounds=1000$saltsalt$xPuR6o7jXNcda4rqCyfkvOMilKI8KDGaqEJonWyQ529" /* geheim12 */

/* The gate needs TLS, which there is none of. */
enum { MFD, LAB, CAMERA, GATE, STRANGER, PEER_COUNT };

struct run {
	struct buf replies;
	char ids[IDS_MAX][SPOOL_ID_MAX + 1];
	size_t committed, ended;
};

static const char *const peers[PEER_COUNT] = {
    "::ffff:10.1.2.17", "fd00:3::1", "::ffff:10.1.9.1", "::ffff:10.1.9.3", "::ffff:192.0.2.1"};

static struct prefix prefixes[STRANGER];
static char *senders[] = {"camera@contoso.com", "<>"}, *guards[] = {"guard@contoso.com"},
	    *all[] = {"*@contoso.com"};
static size_t via[] = {0};
static struct upstream_config upstream = {.name = "submission"};
static struct route route = {.recipients = all, .recipient_count = 1, .via = via, .via_count = 1};
static struct device devices[] = {
    {.name = "mfd", .prefixes = &prefixes[MFD], .prefix_count = 1, .auth = DEVICE_AUTH_OPTIONAL},
    {.name = "lab",
	.user = "lab",
	.password_hash = PASSWORD,
	.prefixes = &prefixes[LAB],
	.prefix_count = 1,
	.auth = DEVICE_AUTH_REQUIRED},
    {.name = "camera",
	.prefixes = &prefixes[CAMERA],
	.prefix_count = 1,
	.auth = DEVICE_AUTH_OPTIONAL,
	.senders = senders,
	.sender_count = 2,
	.recipients = guards,
	.recipient_count = 1,
	.message_size = 2000},
    {.name = "gate",
	.prefixes = &prefixes[GATE],
	.prefix_count = 1,
	.auth = DEVICE_AUTH_REQUIRED,
	.auth_requires_tls = true},
    {.name = "erp", .user = "erp", .password_hash = PASSWORD, .auth = DEVICE_AUTH_REQUIRED},
};
static struct config config = {.hostname = "relay.test",
    .devices = devices,
    .device_count = sizeof devices / sizeof devices[0],
    .routes = &route,
    .route_count = 1,
    .upstreams = &upstream,
    .upstream_count = 1,
    .limits = {.message_size = 4000,
	.sessions = 512,
	.sessions_per_address = 32,
	.recipients = 10,
	.free_space = 4096,
	.idle_ms = 60000,
	.message_time_ms = 600000,
	.min_data_rate = 100}};
static char folder[] = "/dev/shm/mfdrelay-fuzz-XXXXXX";
static struct session_env env;

static void remove_folder(void)
{
	char command[64];

	snprintf(command, sizeof command, "rm -rf %s", folder);
	if (system(command) != 0)
		fprintf(stderr, "%s: not removed\n", folder);
}

static void on_committed(void *arg, const char *id)
{
	struct run *run = arg;

	PROMISE(id != NULL && run->committed < IDS_MAX);
	snprintf(run->ids[run->committed++], sizeof run->ids[0], "%s", id);
}

static void on_ended(void *arg, const struct in6_addr *peer)
{
	struct run *run = arg;

	(void)peer;
	run->ended++;
}

static void open_once(void)
{
	struct err err = {""};

	if (env.base != NULL)
		return;
	PROMISE(mkdtemp(folder) != NULL && atexit(remove_folder) == 0);
	signal(SIGPIPE, SIG_IGN); /* net/conn.h asks for it */
	log_set_level(LOG_LEVEL_ERR);
	config.spool = folder;
	for (size_t i = 0; i < STRANGER; i++) {
		prefixes[i].bits = 128;
		PROMISE(inet_pton(AF_INET6, peers[i], &prefixes[i].address) == 1);
	}
	PROMISE(spool_prepare(folder, (uid_t)-1, (gid_t)-1, &err) == 0);
	env = (struct session_env){.base = event_base_new(),
	    .silence_ms = 1,
	    .login_penalty_ms = 1,
	    .config = &config,
	    .counters = counters_new(),
	    .committed = on_committed,
	    .ended = on_ended};
	env.sessions_now = &env.counters->sessions_now[0];
	env.spool = spool_open(folder, env.base, config.limits.free_space, &err);
	PROMISE(env.spool != NULL);
	spool_start(env.spool);
	env.auth = auth_new(env.base, &config);
}

static void turn(struct run *run, int fd, int flags)
{
	char bytes[4096];
	ssize_t n;

	event_base_loop(env.base, flags);
	while ((n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
		buf_add(&run->replies, bytes, (size_t)n);
}

/* A device says it in pieces, and that it has no more to say. */
static void talk(
    struct run *run, const char *peer, const struct listen_config *listen, struct str in, size_t piece)
{
	struct in6_addr address;
	int fds[2];

	env.arg = run;
	env.storms = storms_new(&config);
	env.guesses = guesses_new();
	PROMISE(inet_pton(AF_INET6, peer, &address) == 1);
	PROMISE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
	PROMISE(session_new(&env, fds[1], &address, listen));
	for (size_t at = 0; at < in.n; at += piece) {
		size_t n = in.n - at < piece ? in.n - at : piece;
		if (send(fds[0], in.p + at, n, MSG_NOSIGNAL) != (ssize_t)n)
			break; /* it has closed */
		turn(run, fds[0], EVLOOP_NONBLOCK);
	}
	shutdown(fds[0], SHUT_WR);
	for (int64_t end_ms = clock_mono_ms() + WAIT_MS; run->ended == 0;) {
		turn(run, fds[0], EVLOOP_ONCE);
		PROMISE(clock_mono_ms() < end_ms);
	}
	turn(run, fds[0], EVLOOP_NONBLOCK);
	conn_drop_finishing();
	close(fds[0]);
	storms_free(env.storms);
	guesses_free(env.guesses);
}

static void check_replies(struct str replies)
{
	while (replies.n > 0) {
		const char *crlf = memmem(replies.p, replies.n, "\r\n", 2);
		PROMISE(crlf != NULL);
		size_t n = (size_t)(crlf - replies.p);
		PROMISE(n >= 4 && n + 2 <= REPLY_MAX && strchr("2345", replies.p[0]) != NULL);
		PROMISE(replies.p[3] == ' ' || (replies.p[3] == '-' && memcmp(replies.p, "250", 3) == 0));
		for (size_t i = 0; i < n; i++)
			PROMISE(replies.p[i] >= ' ' && replies.p[i] <= '~');
		replies = (struct str){crlf + 2, replies.n - n - 2};
	}
}

static size_t count_of(struct str in, const char *text)
{
	const char *found;
	size_t count = 0;

	while (in.n > 0 && (found = memmem(in.p, in.n, text, strlen(text))) != NULL) {
		count++;
		in = (struct str){found + 1, in.n - (size_t)(found + 1 - in.p)};
	}
	return count;
}

/* Each message was told by its id, and is there; it goes. Ids are not alike in two runs. */
static void take_messages(struct run *run)
{
	PROMISE(count_of(buf_str(&run->replies), "\r\n250 2.0.0 Ok: queued as ") == run->committed);
	for (size_t i = 0; i < run->committed; i++) {
		size_t n = strlen(run->ids[i]);
		char *at = memmem(run->replies.p, run->replies.n, run->ids[i], n);
		PROMISE(at != NULL && unlinkat(spool_intake_fd(env.spool), run->ids[i], 0) == 0);
		for (; at != NULL; at = memmem(run->replies.p, run->replies.n, run->ids[i], n))
			memset(at, '#', n);
	}
}

/* A message needs a dot on a line of its own, and who must log in needs that. */
static void check_messages(const struct run *run, struct str in, unsigned peer, bool lf_ends)
{
	bool logged_in = count_of(buf_str(&run->replies), "\r\n235 ") > 0;

	PROMISE(run->committed <= count_of(in, "\n.\r\n") + (lf_ends ? count_of(in, "\n.\n") : 0));
	PROMISE(peer == MFD || peer == CAMERA || logged_in || run->committed == 0);
	PROMISE(peer != GATE || run->committed == 0);
}

/* Behind a refused DATA it matters what has come already, as it does behind LF.LF of the quirk. Of several faults of a content
 * the one that is seen first is told. */
static bool depends_on_pieces(struct str replies)
{
	return count_of(replies, "refused DATA") + count_of(replies, "\r\n552 5.3.4 Message is larger") +
		   count_of(replies, "\r\n554 5.4.6 ") + count_of(replies, "\r\n550 5.5.2 A CR or LF") >
	       0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	if (n < 3)
		return 0;
	open_once();
	struct run whole = {.ended = 0}, cut = {.ended = 0};
	struct str in = {(const char *)bytes + 2, n - 2};
	struct listen_config listen = {.bare_newlines = bytes[0] & 16 ? BARE_REJECT : BARE_REPAIR};
	unsigned peer = (bytes[0] & 7) % PEER_COUNT;
	bool lf_ends = (bytes[0] & 8) != 0;

	devices[MFD].quirks = lf_ends ? 1u << QUIRK_EOD_LF : 0;
	talk(&whole, peers[peer], &listen, in, in.n);
	talk(&cut, peers[peer], &listen, in, 1 + bytes[1] + in.n / 256);
	check_replies(buf_str(&whole.replies));
	check_replies(buf_str(&cut.replies));
	take_messages(&whole);
	take_messages(&cut);
	check_messages(&whole, in, peer, lf_ends);
	if (!lf_ends && !depends_on_pieces(buf_str(&whole.replies)))
		PROMISE(whole.replies.n == cut.replies.n &&
			memcmp(whole.replies.p, cut.replies.p, cut.replies.n) == 0);
	buf_free(&whole.replies);
	buf_free(&cut.replies);
	return 0;
}
