/* client.c against a scripted upstream on loopback: each test is the dialogue, line by line, and what became
 * of the recipients. The spool and the token cache are stood in for, so that the client is alone with the
 * script. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "config/config.h"
#include "net/conn.h"
#include "net/resolver.h"
#include "sender/attempt.h"
#include "sender/client.h"
#include "sender/token.h"
#include "smtp/sasl.h"
#include "spool/spool.h"

/* --- stand-ins --- */

static struct envelope envelope;
static const char *content;
static _Atomic bool has_hung_up;   /* the script's end */
static size_t reads_until_hung_up; /* this read of the content waits for that, 1 the next; 0: none does */
static size_t reads_in_round, most_reads_in_round;

const struct envelope *spool_envelope(const struct spool_message *message)
{
	(void)message;
	return &envelope;
}

ssize_t spool_read(const struct spool_message *message, uint64_t offset, void *bytes, size_t n)
{
	size_t left = strlen(content) - (size_t)offset;

	(void)message;
	while (reads_until_hung_up == 1 && !has_hung_up)
		usleep(1000);
	reads_until_hung_up -= reads_until_hung_up > 1;
	reads_in_round++;
	if (reads_in_round > most_reads_in_round)
		most_reads_in_round = reads_in_round;
	memcpy(bytes, content + offset, left < n ? left : n);
	return (ssize_t)(left < n ? left : n);
}

static const char *token_text = "tok";
static int tokens_refused;
static struct {
	token_fn *fn;
	void *arg;
	struct event *event;
} waiting_for_token;

static void give_token(evutil_socket_t fd, short what, void *cookie)
{
	struct secret token;

	(void)fd;
	(void)what;
	(void)cookie;
	if (waiting_for_token.fn == NULL)
		return;
	secret_set(&token, str_of(token_text));
	waiting_for_token.fn(waiting_for_token.arg, &token, NULL);
	secret_free(&token);
}

struct token_wait *token_get(struct token_source *source, token_fn *fn, void *arg)
{
	waiting_for_token.fn = fn;
	waiting_for_token.arg = arg;
	event_base_once((struct event_base *)source, -1, EV_TIMEOUT, give_token, NULL, NULL);
	return (struct token_wait *)&waiting_for_token;
}

int64_t token_end_ms(const struct token_source *source)
{
	(void)source;
	return INT64_MAX;
}

void token_cancel(struct token_wait *wait)
{
	if (wait != NULL)
		waiting_for_token.fn = NULL;
}

bool token_refused(struct token_source *source, const struct secret *token)
{
	(void)source;
	assert_string_equal(token->bytes, token_text);
	tokens_refused++;
	return true;
}

/* The monotonic clock of everybody here, libevent above all, runs ahead by what the script lets pass. */
static _Atomic int seconds_passed;

int clock_gettime(clockid_t id, struct timespec *now)
{
	long result = syscall(SYS_clock_gettime, id, now);

	now->tv_sec += seconds_passed;
	return (int)result;
}

/* --- the scripted upstream --- */

struct script {
	/* "S: text" sends a line ("S+ text": in one segment with the next), "C: text" wants exactly that line, "X" closes, "R" resets,
	 * "A" has the client aborted, "E" reads on until the client has closed, "N" wants it to close without a word, "B n" reads n bytes, "W n" lets n seconds pass
	 * once the client has seen one more recipient accepted */
	const char *const *steps;
	int listen_fd;
	char wrong[1200]; /* what did not fit, or "" */
};

/* As the loop's thread sees it; for the script's. */
static _Atomic size_t recipients_accepted;

/* The script's wish. */
static _Atomic bool abort_wanted;

static bool read_line(FILE *in, char *line, size_t size)
{
	if (fgets(line, (int)size, in) == NULL)
		return false;
	size_t n = strlen(line);
	if (n < 2 || line[n - 2] != '\r')
		return false;
	line[n - 2] = '\0';
	return true;
}

static void run_script(struct script *script, FILE *in, int fd)
{
	char line[4096];
	size_t waits = 0;

	for (const char *const *step = script->steps; *step != NULL && script->wrong[0] == '\0'; step++) {
		if ((*step)[0] == 'X' || (*step)[0] == 'R') {
			if ((*step)[0] == 'R')
				setsockopt(
				    fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
			return;
		}
		if ((*step)[0] == 'A') {
			abort_wanted = true;
			continue;
		}
		while ((*step)[0] == 'E' && fread(line, 1, sizeof line, in) > 0)
			;
		if ((*step)[0] == 'E')
			return;
		if ((*step)[0] == 'N') {
			if (read_line(in, line, sizeof line))
				snprintf(script->wrong, sizeof script->wrong,
				    "wanted the end, got \"%.500s\"", line);
			return;
		}
		if ((*step)[0] == 'B') {
			for (long left = atol(*step + 2); left > 0;) {
				size_t n = fread(line, 1, left < 4096 ? (size_t)left : 4096, in);
				left = n > 0 ? left - (long)n : 0;
			}
			continue;
		}
		if ((*step)[0] == 'W') {
			for (waits++; recipients_accepted < waits;)
				usleep(1000);
			seconds_passed += atoi(*step + 2);
			continue;
		}
		if ((*step)[0] == 'S') {
			snprintf(line, sizeof line, "%s\r\n", *step + 3);
			send(fd, line, strlen(line), (*step)[1] == '+' ? MSG_MORE : 0);
			continue;
		}
		if (!read_line(in, line, sizeof line))
			snprintf(
			    script->wrong, sizeof script->wrong, "wanted \"%s\", got the end", *step + 3);
		else if (strcmp(line, "QUIT") == 0 && strcmp(*step, "C: QUIT") == 0)
			return;
		else if (strcmp(line, *step + 3) != 0)
			snprintf(script->wrong, sizeof script->wrong, "wanted \"%s\", got \"%.500s\"",
			    *step + 3, line);
	}
	/* The client says QUIT or just goes. */
	while (script->wrong[0] == '\0' && read_line(in, line, sizeof line))
		if (strcmp(line, "QUIT") == 0)
			return;
}

static void *serve(void *arg)
{
	struct script *script = arg;
	int fd = accept(script->listen_fd, NULL, NULL);
	FILE *in = fdopen(dup(fd), "r");

	setvbuf(in, NULL, _IONBF, 0);
	run_script(script, in, fd);
	fclose(in);
	close(fd);
	has_hung_up = true;
	return NULL;
}

/* --- the owner --- */

static struct {
	struct event_base *base;
	struct client *client;
	struct attempt *attempts[2]; /* to be sent one after the other */
	int given, done;
	bool ended;
	struct failure failure;
	bool has_failure;
	bool no_bdat;
	char steps[600]; /* of who looks on: "dns tcp greeting ehlo auth! " */
} owner;
static bool owner_waits; /* it keeps a connection that has nothing to do */

static void on_look(evutil_socket_t fd, short what, void *cookie)
{
	const struct attempt *attempt = owner.attempts[0];
	size_t n = 0;

	(void)fd;
	(void)what;
	(void)cookie;
	for (size_t i = 0; attempt != NULL && i < attempt->count; i++)
		n += attempt->recipients[i].accepted;
	recipients_accepted = n;
	if (abort_wanted && !owner.ended)
		client_abort(owner.client);
}

/* The loop has looked at its sockets. */
static void on_round(evutil_socket_t fd, short what, void *cookie)
{
	(void)fd;
	(void)what;
	(void)cookie;
	reads_in_round = 0;
}

static void on_client(void *arg, struct client *client, enum client_event event, struct attempt *attempt)
{
	(void)arg;
	(void)attempt;
	if (event == CLIENT_DONE) {
		owner.done++;
	} else if (event == CLIENT_IDLE) {
		if (owner.given < 2 && owner.attempts[owner.given] != NULL)
			client_send(client, owner.attempts[owner.given++]);
		else if (!owner_waits)
			client_quit(client);
	} else {
		owner.has_failure = client_failure(client) != NULL;
		if (owner.has_failure)
			owner.failure = *client_failure(client);
		owner.ended = true;
		client_free(client);
		event_base_loopbreak(owner.base);
	}
}

static void on_step(
    void *arg, enum client_step step, const struct failure *why, const struct client_view *view)
{
	static const char *const names[] = {
	    "mx", "dns", "tcp", "greeting", "tls", "ehlo", "token", "auth", "mail", "rcpt", "rset"};
	size_t n = strlen(owner.steps);

	(void)arg;
	snprintf(owner.steps + n, sizeof owner.steps - n, "%s%s ", names[step], why != NULL ? "!" : "");
	assert_true(view->address_count == 1);
	if (step == CLIENT_TOKEN && why == NULL)
		assert_string_equal(view->token->bytes, token_text);
	if (step > CLIENT_TCP)
		assert_non_null(view->conn);
}

static struct oauth_config oauth = {.scope = NULL};

struct set_up {
	bool oauth, no_bdat, password;
	bool rehearsal; /* the attempts are of the envelope alone */
	bool repairs;
	bool counts_rounds;
	const char *content;
	size_t recipients;
	size_t attempts;
};

static struct attempt *new_attempt(size_t recipients)
{
	struct attempt *attempt = attempt_new(NULL, 0, NULL, recipients);

	for (size_t i = 0; i < recipients; i++)
		attempt->recipients[attempt->count++].index = i;
	return attempt;
}

static void run(const struct set_up *set_up, const char *const *steps)
{
	static char *recipients[] = {"a@x.test", "b@x.test", "c@x.test"};
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof address;
	struct script script = {.steps = steps, .listen_fd = socket(AF_INET, SOCK_STREAM, 0)};
	struct upstream_config upstream = {.name = "up",
	    .kind = UPSTREAM_SMTP,
	    .host = "127.0.0.1",
	    .tls = UPSTREAM_TLS_NONE,
	    .mailbox = set_up->oauth ? "box@x.test" : NULL,
	    .oauth = set_up->oauth ? &oauth : NULL,
	    .user = set_up->password ? "box" : NULL,
	    .password = set_up->password ? "credential:password" : NULL};
	const struct config config = {
	    .hostname = "relay.test", .repairs = set_up->repairs ? REPAIRS_ALL : REPAIRS_NONE};
	struct timeval look_every = {0, 1000};
	struct event *look, *rounds;
	int ends[2];
	struct err err;
	pthread_t thread;

	recipients_accepted = 0;
	abort_wanted = has_hung_up = false;
	assert_int_equal(bind(script.listen_fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(script.listen_fd, 1), 0);
	getsockname(script.listen_fd, (struct sockaddr *)&address, &length);
	upstream.port = ntohs(address.sin_port);
	pthread_create(&thread, NULL, serve, &script);

	memset(&owner, 0, sizeof owner);
	tokens_refused = 0;
	owner.base = event_base_new();
	for (size_t i = 0; i < set_up->attempts; i++)
		owner.attempts[i] = new_attempt(set_up->recipients);
	for (size_t i = 0; i < set_up->attempts && set_up->rehearsal; i++)
		owner.attempts[i]->rehearsal = &envelope;
	content = set_up->content != NULL ? set_up->content : "Subject: x\r\n\r\nhello\r\n";
	envelope = (struct envelope){.id = "id",
	    .device = "",
	    .listener = "",
	    .sender = "dev@x.test",
	    .recipients = recipients,
	    .recipient_count = set_up->recipients,
	    .content_bytes = strlen(content)};
	struct client_settings settings = {.base = owner.base,
	    .resolver = resolver_new(owner.base, &err),
	    .upstream = &upstream,
	    .config = &config,
	    .tokens = set_up->oauth ? (struct token_source *)owner.base : NULL,
	    .no_bdat = set_up->no_bdat,
	    .step = on_step};
	look = event_new(owner.base, -1, EV_PERSIST, on_look, NULL);
	event_add(look, &look_every);
	/* One end of a pipe can always be written to. */
	assert_int_equal(pipe(ends), 0);
	rounds = event_new(owner.base, ends[1], EV_WRITE | EV_PERSIST, on_round, NULL);
	if (set_up->counts_rounds)
		event_add(rounds, NULL);
	reads_in_round = most_reads_in_round = 0;
	owner.client = client_new(&settings, NULL, on_client, NULL);
	event_base_dispatch(owner.base);
	event_free(look);
	event_free(rounds);
	close(ends[0]);
	close(ends[1]);
	pthread_join(thread, NULL);
	assert_true(owner.ended);
	assert_string_equal(script.wrong, "");
	owner.no_bdat = settings.no_bdat;
	resolver_free(settings.resolver);
	conn_drop_finishing();
	event_base_free(owner.base);
	close(script.listen_fd);
}

static int free_attempts(void **state)
{
	(void)state;
	attempt_free(owner.attempts[0]);
	attempt_free(owner.attempts[1]);
	owner.attempts[0] = owner.attempts[1] = NULL;
	return 0;
}

static const struct failure *result(size_t attempt, size_t recipient)
{
	return owner.attempts[attempt]->recipients[recipient].failure;
}

#define GREETING "S: 220 up ESMTP", "C: EHLO relay.test"
#define RUN(set_up, ...)                                                                                     \
	do {                                                                                                 \
		const char *const steps[] = {__VA_ARGS__, NULL};                                             \
		run(&set_up, steps);                                                                         \
	} while (0)
#define SETUP(...) ((const struct set_up){__VA_ARGS__})

/* --- the dialogues --- */

static void without_extensions_one_command_at_a_time(void **state)
{
	(void)state;
	RUN(SETUP(.recipients = 2, .attempts = 1), GREETING, "S: 250 up", "C: MAIL FROM:<dev@x.test>",
	    "S: 250 ok", "C: RCPT TO:<a@x.test>", "S: 250 ok", "C: RCPT TO:<b@x.test>", "S: 250 ok",
	    "C: DATA", "S: 354 go", "C: Subject: x", "C: ", "C: hello", "C: .", "S: 250 2.0.0 queued as 7",
	    "C: QUIT");
	assert_null(result(0, 0));
	assert_null(result(0, 1));
	assert_string_equal(owner.attempts[0]->reply, "250 2.0.0 queued as 7");
	assert_false(owner.has_failure);
}

static void dots_are_stuffed_in_data(void **state)
{
	(void)state;
	RUN(SETUP(.recipients = 1, .attempts = 1, .content = ".\r\n..a\r\nb.\r\n"), GREETING, "S: 250 up",
	    "C: MAIL FROM:<dev@x.test>", "S: 250 ok", "C: RCPT TO:<a@x.test>", "S: 250 ok", "C: DATA",
	    "S: 354 go", "C: ..", "C: ...a", "C: b.", "C: .", "S: 250 ok", "C: QUIT");
	assert_null(result(0, 0));
}

static void pipelining_sends_the_envelope_at_once_and_size_is_told(void **state)
{
	(void)state;
	RUN(SETUP(.recipients = 2, .attempts = 1), GREETING, "S: 250-up", "S: 250-PIPELINING",
	    "S: 250 SIZE 1000", "C: MAIL FROM:<dev@x.test> SIZE=21", "C: RCPT TO:<a@x.test>",
	    "C: RCPT TO:<b@x.test>", "C: DATA", "S: 250 ok",
	    "S: 550 5.1.10 RESOLVER.ADR.RecipientNotFound; not found", "S: 250 ok", "S: 354 go",
	    "C: Subject: x", "C: ", "C: hello", "C: .", "S: 250 ok", "C: QUIT");
	assert_non_null(result(0, 0));
	assert_int_equal(result(0, 0)->cause->outcome, OUTCOME_P);
	assert_null(result(0, 1));
}

static void bdat_sends_the_content_untouched(void **state)
{
	(void)state;
	RUN(SETUP(.recipients = 1, .attempts = 1, .content = ".\r\nx\r\n"), GREETING, "S: 250-up",
	    "S: 250-CHUNKING", "S: 250 PIPELINING", "C: MAIL FROM:<dev@x.test>", "C: RCPT TO:<a@x.test>",
	    "S: 250 ok", "S: 250 ok", "C: BDAT 6 LAST", "C: .", "C: x", "S: 250 ok", "C: QUIT");
	assert_null(result(0, 0));
}

static void bdat_refused_ends_the_connection_and_charges_nobody(void **state)
{
	(void)state;
	RUN(SETUP(.recipients = 1, .attempts = 2), GREETING, "S: 250-up", "S: 250 CHUNKING",
	    "C: MAIL FROM:<dev@x.test>", "S: 250 ok", "C: RCPT TO:<a@x.test>", "S: 250 ok", "C: BDAT 21 LAST",
	    "C: Subject: x", "C: ", "C: hello", "S: 552 5.3.4 Header size exceeds fixed maximum size");
	assert_true(owner.attempts[0]->not_begun);
	assert_true(owner.no_bdat);
}

static void data_is_used_where_bdat_was_refused(void **state)
{
	(void)state;
	RUN(SETUP(.recipients = 1, .attempts = 1, .no_bdat = true), GREETING, "S: 250-up", "S: 250 CHUNKING",
	    "C: MAIL FROM:<dev@x.test>", "S: 250 ok", "C: RCPT TO:<a@x.test>", "S: 250 ok", "C: DATA",
	    "S: 354 go", "C: Subject: x", "C: ", "C: hello", "C: .", "S: 250 ok", "C: QUIT");
	assert_null(result(0, 0));
}

static void bdat_refused_before_the_content_is_complete_is_no_verdict(void **state)
{
	static char big[4 * 1024 * 1024];

	(void)state;
	memset(big, 'x', sizeof big - 3);
	memcpy(big + sizeof big - 3, "\r\n", 3);
	RUN(SETUP(.recipients = 1, .attempts = 1, .content = big), GREETING, "S: 250-up", "S: 250 CHUNKING",
	    "C: MAIL FROM:<dev@x.test>", "S: 250 ok", "C: RCPT TO:<a@x.test>", "S: 250 ok",
	    "C: BDAT 4194303 LAST", "S: 502 5.5.1 Command not implemented", "E");
	assert_true(owner.attempts[0]->not_begun);
	assert_true(owner.no_bdat);
}

static void a_354_for_nobody_is_ended_with_an_empty_message(void **state)
{
	(void)state;
	RUN(SETUP(.recipients = 1, .attempts = 1), GREETING, "S: 250-up", "S: 250 PIPELINING",
	    "C: MAIL FROM:<dev@x.test>", "C: RCPT TO:<a@x.test>", "C: DATA", "S: 250 ok", "S: 550 5.1.10 no",
	    "S: 354 go", "C: .", "S: 554 no recipients", "C: QUIT");
	assert_int_equal(result(0, 0)->cause->outcome, OUTCOME_P);
}

static void behind_a_refused_mail_no_recipient_counts_as_accepted(void **state)
{
	(void)state;
	RUN(SETUP(.recipients = 1, .attempts = 1), GREETING, "S: 250-up", "S: 250 PIPELINING",
	    "C: MAIL FROM:<dev@x.test>", "C: RCPT TO:<a@x.test>", "C: DATA", "S: 451 4.3.2 not now",
	    "S: 250 ok", "S: 354 go", "C: .", "S: 250 taken", "C: QUIT");
	assert_int_equal(result(0, 0)->cause->outcome, OUTCOME_T);
}

static void a_refused_mail_fails_every_recipient_and_the_session_goes_on(void **state)
{
	(void)state;
	RUN(SETUP(.recipients = 2, .attempts = 2), GREETING, "S: 250 up", "C: MAIL FROM:<dev@x.test>",
	    "S: 550 5.7.60 SMTP; Client does not have permissions to send as this sender", "C: RSET",
	    "S: 250 ok", "C: MAIL FROM:<dev@x.test>", "S: 250 ok", "C: RCPT TO:<a@x.test>", "S: 250 ok",
	    "C: RCPT TO:<b@x.test>", "S: 250 ok", "C: DATA", "S: 354 go", "C: Subject: x", "C: ", "C: hello",
	    "C: .", "S: 250 ok", "C: QUIT");
	assert_int_equal(result(0, 0)->cause->outcome, OUTCOME_P);
	assert_int_equal(result(0, 1)->cause->outcome, OUTCOME_P);
	assert_null(result(1, 0));
}

static void no_recipient_accepted_means_no_data(void **state)
{
	(void)state;
	RUN(SETUP(.recipients = 1, .attempts = 1), GREETING, "S: 250 up", "C: MAIL FROM:<dev@x.test>",
	    "S: 250 ok", "C: RCPT TO:<a@x.test>", "S: 451 4.7.500 Server busy. Please try again later",
	    "C: RSET", "S: 250 ok", "C: QUIT");
	assert_non_null(result(0, 0));
}

static void a_cut_after_the_dot_counts_as_not_delivered(void **state)
{
	(void)state;
	RUN(SETUP(.recipients = 1, .attempts = 1), GREETING, "S: 250 up", "C: MAIL FROM:<dev@x.test>",
	    "S: 250 ok", "C: RCPT TO:<a@x.test>", "S: 250 ok", "C: DATA", "S: 354 go", "C: Subject: x",
	    "C: ", "C: hello", "C: .", "X");
	assert_int_equal(result(0, 0)->cause->outcome, OUTCOME_T);
	assert_false(owner.attempts[0]->not_begun);
}

static void a_cut_as_an_idle_connection_is_used_again_charges_nobody(void **state)
{
	(void)state;
	RUN(SETUP(.recipients = 1, .attempts = 2), GREETING, "S: 250 up", "C: MAIL FROM:<dev@x.test>",
	    "S: 250 ok", "C: RCPT TO:<a@x.test>", "S: 250 ok", "C: DATA", "S: 354 go", "C: Subject: x",
	    "C: ", "C: hello", "C: .", "S: 250 ok", "X");
	assert_null(result(0, 0));
	assert_true(owner.attempts[1]->not_begun);
}

static void a_reply_before_the_content_is_complete_ends_the_connection(void **state)
{
	static char big[4 * 1024 * 1024];

	(void)state;
	memset(big, 'x', sizeof big - 3);
	memcpy(big + sizeof big - 3, "\r\n", 3);
	RUN(SETUP(.recipients = 1, .attempts = 1, .content = big), GREETING, "S: 250 up",
	    "C: MAIL FROM:<dev@x.test>", "S: 250 ok", "C: RCPT TO:<a@x.test>", "S: 250 ok", "C: DATA",
	    "S: 354 go", "S: 552 5.3.4 Message size exceeds fixed maximum message size", "X");
	assert_non_null(result(0, 0));
}

#define PIPELINED GREETING, "S: 250-up", "S: 250-CHUNKING", "S: 250 PIPELINING"
#define ONE_BY_BDAT                                                                                          \
	"C: MAIL FROM:<dev@x.test>", "C: RCPT TO:<a@x.test>", "S: 250 ok", "S: 250 ok", "C: BDAT 21 LAST",   \
	    "C: Subject: x", "C: ", "C: hello"

static void a_reply_too_many_ends_the_connection_before_the_next_message(void **state)
{
	(void)state;
	RUN(SETUP(.recipients = 1, .attempts = 2), PIPELINED, ONE_BY_BDAT, "S+ 250 taken", "S: 250 extra",
	    "E");
	assert_null(result(0, 0));
	assert_true(owner.attempts[1]->not_begun);
}

static void a_reply_too_many_of_a_new_connection_is_the_roads_trouble(void **state)
{
	(void)state;
	RUN(SETUP(.recipients = 1, .attempts = 1), GREETING, "S+ 250 up", "S: 250 extra", "E");
	assert_true(owner.attempts[0]->not_begun);
	assert_true(owner.attempts[0]->dropped);
}

static void what_is_broken_off_before_the_answer_to_the_content_was_perhaps_taken(void **state)
{
	(void)state;
	RUN(SETUP(.recipients = 1, .attempts = 1), PIPELINED, ONE_BY_BDAT, "A", "E");
	assert_non_null(result(0, 0));
	assert_true(owner.attempts[0]->perhaps_taken);
	assert_false(owner.attempts[0]->not_begun);
}

/* Half of a message is nothing that can have been taken: it may go another way. */
static void what_is_cut_within_the_content_was_not_taken(void **state)
{
	static char big[1024 * 1024];
	size_t reads = sizeof big / 32768;

	(void)state;
	memset(big, 'x', sizeof big - 1);
	for (size_t i = 0; i < 2; i++) {
		/* The second piece, and the last. */
		reads_until_hung_up = i == 0 ? 2 : reads;
		RUN(SETUP(.recipients = 1, .attempts = 1, .content = big), GREETING, "S: 250 up",
		    "C: MAIL FROM:<dev@x.test>", "S: 250 ok", "C: RCPT TO:<a@x.test>", "S: 250 ok", "C: DATA",
		    "S: 354 go", "R");
		reads_until_hung_up = 0;
		assert_non_null(result(0, 0));
		assert_false(owner.attempts[0]->not_begun);
		assert_false(owner.attempts[0]->perhaps_taken);
		free_attempts(state);
	}
}

static char big[6000001];

static void fill_big(const char *header)
{
	memset(big, 'x', sizeof big - 1);
	memcpy(big, header, strlen(header));
	for (size_t i = 60; i + 1 < sizeof big; i += 60)
		memcpy(big + i - 2, "\r\n", 2);
}

/* However fast it goes, other sockets have their turns: a read has 32 KiB. */
static void the_look_for_repairs_leaves_the_loop_to_others(void **state)
{
	(void)state;
	fill_big("From: dev@x.test\r\nSubject: ");
	RUN(SETUP(.recipients = 1, .attempts = 1, .content = big, .repairs = true, .counts_rounds = true),
	    GREETING, "S: 250 up", "C: MAIL FROM:<dev@x.test>", "S: 450 not now", "C: RSET", "S: 250 ok",
	    "C: QUIT");
	assert_in_range(most_reads_in_round, 1, 8);
}

static void a_large_message_leaves_the_loop_to_others(void **state)
{
	(void)state;
	fill_big("");
	RUN(SETUP(.recipients = 1, .attempts = 1, .content = big, .counts_rounds = true), GREETING,
	    "S: 250-up", "S: 250 CHUNKING", "C: MAIL FROM:<dev@x.test>", "S: 250 ok", "C: RCPT TO:<a@x.test>",
	    "S: 250 ok", "C: BDAT 6000000 LAST", "B 6000000", "S: 250 ok", "C: QUIT");
	assert_null(result(0, 0));
	assert_in_range(most_reads_in_round, 1, 32);
}

static void a_reply_too_many_in_the_envelope_is_never_taken_for_the_contents(void **state)
{
	(void)state;
	RUN(SETUP(.recipients = 1, .attempts = 1), PIPELINED, "C: MAIL FROM:<dev@x.test>",
	    "C: RCPT TO:<a@x.test>", "S+ 250 ok", "S+ 250 extra", "S: 250 ok", "E");
	assert_non_null(result(0, 0));
}

static void a_reply_to_an_idle_connection_ends_it(void **state)
{
	(void)state;
	owner_waits = true;
	RUN(SETUP(.recipients = 1, .attempts = 1), PIPELINED, ONE_BY_BDAT, "S: 250 taken", "S: 250 extra",
	    "E");
	owner_waits = false;
	assert_null(result(0, 0));
}

static void each_recipient_has_its_own_five_minutes(void **state)
{
	(void)state;
	RUN(SETUP(.recipients = 3, .attempts = 1), PIPELINED, "C: MAIL FROM:<dev@x.test>",
	    "C: RCPT TO:<a@x.test>", "C: RCPT TO:<b@x.test>", "C: RCPT TO:<c@x.test>", "S: 250 ok",
	    "S: 250 ok", "W 250", "S: 250 ok", "W 250", "S: 250 ok", "C: BDAT 21 LAST", "C: Subject: x",
	    "C: ", "C: hello", "S: 250 ok", "C: QUIT");
	assert_null(result(0, 2));
}

static void too_large_for_the_size_offered_is_left_to_others_and_not_tried(void **state)
{
	(void)state;
	RUN(SETUP(.recipients = 1, .attempts = 1), GREETING, "S: 250-up", "S: 250 SIZE 20", "C: RSET",
	    "S: 250 ok", "C: QUIT");
	assert_int_equal(result(0, 0)->cause->outcome, OUTCOME_N);
}

static void a_421_banner_is_the_roads_trouble(void **state)
{
	(void)state;
	RUN(SETUP(.recipients = 1, .attempts = 1), "S: 421 4.3.2 Service not available", "X");
	assert_true(owner.has_failure);
	assert_int_equal(owner.failure.cause->outcome, OUTCOME_T);
	assert_int_equal(owner.done, 0);
}

static void garbage_is_the_roads_trouble(void **state)
{
	(void)state;
	RUN(SETUP(.recipients = 1, .attempts = 1), "S: HTTP/1.1 400 Bad Request", "X");
	assert_true(owner.has_failure);
}

static void a_reply_line_of_100_kb_is_the_roads_trouble(void **state)
{
	static char line[100 * 1024];

	(void)state;
	memset(line, 'x', sizeof line - 1);
	memcpy(line, "S: 220 ", 7);
	RUN(SETUP(.recipients = 1, .attempts = 1), line, "X");
	assert_true(owner.has_failure);
}

#define CAPS "S: 250-up", "S: 250 AUTH LOGIN XOAUTH2"
/* base64("user=box@x.test\1auth=Bearer tok\1\1") */
#define XOAUTH2_TOK "dXNlcj1ib3hAeC50ZXN0AWF1dGg9QmVhcmVyIHRvawEB"

static void xoauth2_goes_with_the_command_when_it_fits(void **state)
{
	(void)state;
	token_text = "tok";
	RUN(SETUP(.oauth = true, .recipients = 1, .attempts = 0), GREETING, CAPS,
	    "C: AUTH XOAUTH2 " XOAUTH2_TOK, "S: 235 2.7.0 Authentication successful", "C: QUIT");
	assert_false(owner.has_failure);
}

static void a_long_token_waits_for_the_334(void **state)
{
	static char token[2000], line[4200], base64[4096];

	(void)state;
	memset(token, 't', sizeof token - 1);
	token_text = token;
	struct secret secret, answer;
	secret_set(&secret, str_of(token));
	sasl_xoauth2(&answer, "box@x.test", &secret);
	snprintf(base64, sizeof base64, "%s", answer.bytes);
	snprintf(line, sizeof line, "C: %s", base64);
	secret_free(&secret);
	secret_free(&answer);
	RUN(SETUP(.oauth = true, .recipients = 1, .attempts = 0), GREETING, CAPS, "C: AUTH XOAUTH2",
	    "S: 334 ", line, "S: 235 2.7.0 Authentication successful", "C: QUIT");
	token_text = "tok";
	assert_false(owner.has_failure);
}

static void a_direct_535_drops_the_token(void **state)
{
	(void)state;
	RUN(SETUP(.oauth = true, .recipients = 1, .attempts = 1), GREETING, CAPS,
	    "C: AUTH XOAUTH2 " XOAUTH2_TOK,
	    "S: 535 5.7.3 Authentication unsuccessful [SN2PR00CA0018.namprd00.prod.outlook.com]", "C: QUIT");
	assert_true(owner.has_failure);
	assert_int_equal(owner.failure.cause->outcome, OUTCOME_A);
	assert_int_equal(tokens_refused, 1);
	assert_int_equal(owner.done, 0);
}

static void a_token_that_is_refused_within_a_transaction_is_dropped_and_the_session_ends(void **state)
{
	(void)state;
	RUN(SETUP(.oauth = true, .recipients = 2, .attempts = 2), GREETING, CAPS,
	    "C: AUTH XOAUTH2 " XOAUTH2_TOK, "S: 235 2.7.0 ok", "C: MAIL FROM:<dev@x.test>", "S: 250 ok",
	    "C: RCPT TO:<a@x.test>", "S: 535 5.7.3 Authentication unsuccessful", "C: RCPT TO:<b@x.test>",
	    "S: 535 5.7.3 Authentication unsuccessful", "C: QUIT");
	assert_int_equal(result(0, 0)->cause->outcome, OUTCOME_A);
	assert_int_equal(tokens_refused, 1);
	assert_int_equal(owner.done, 1);
	assert_false(owner.has_failure);
}

static void the_334_json_form_is_answered_with_an_empty_line(void **state)
{
	(void)state;
	RUN(SETUP(.oauth = true, .recipients = 1, .attempts = 1), GREETING, CAPS,
	    "C: AUTH XOAUTH2 " XOAUTH2_TOK,
	    "S: 334 eyJzdGF0dXMiOiI0MDAifQ==", "C: ", "S: 535 5.7.3 Authentication unsuccessful", "C: QUIT");
	assert_int_equal(owner.failure.cause->outcome, OUTCOME_A);
	assert_int_equal(tokens_refused, 1);
}

static void a_mailbox_switch_that_is_off_is_configuration_and_keeps_the_token(void **state)
{
	(void)state;
	RUN(SETUP(.oauth = true, .recipients = 1, .attempts = 1), GREETING, CAPS,
	    "C: AUTH XOAUTH2 " XOAUTH2_TOK,
	    "S: 535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the "
	    "Mailbox.");
	assert_int_equal(owner.failure.cause->outcome, OUTCOME_C);
	assert_int_equal(tokens_refused, 0);
}

static void no_xoauth2_offered_is_configuration(void **state)
{
	(void)state;
	RUN(SETUP(.oauth = true, .recipients = 1, .attempts = 1), GREETING, "S: 250 up", "C: QUIT");
	assert_int_equal(owner.failure.cause->outcome, OUTCOME_C);
}

static void a_banner_that_refuses_is_answered_with_quit(void **state)
{
	(void)state;
	RUN(SETUP(.recipients = 1, .attempts = 1), "S: 554 5.7.1 No service here", "C: QUIT");
	assert_true(owner.has_failure);
}

static void who_does_not_know_ehlo_is_told_helo(void **state)
{
	(void)state;
	RUN(SETUP(.recipients = 1, .attempts = 1), "S: 220 up", "C: EHLO relay.test",
	    "S: 500 Command unrecognized", "C: HELO relay.test", "S: 250 up", "C: MAIL FROM:<dev@x.test>",
	    "S: 250 ok", "C: RCPT TO:<a@x.test>", "S: 250 ok", "C: DATA", "S: 354 go", "C: Subject: x",
	    "C: ", "C: hello", "C: .", "S: 250 ok", "C: QUIT");
	assert_null(result(0, 0));
}

static void who_knows_neither_is_left(void **state)
{
	(void)state;
	RUN(SETUP(.recipients = 1, .attempts = 1), "S: 220 up", "C: EHLO relay.test", "S: 502 no",
	    "C: HELO relay.test", "S: 550 no", "C: QUIT");
	assert_true(owner.has_failure);
	assert_int_equal(owner.failure.cause->outcome, OUTCOME_C);
}

static void a_421_is_the_end(void **state)
{
	(void)state;
	RUN(SETUP(.recipients = 1, .attempts = 1), "S: 220 up ESMTP", "C: EHLO relay.test",
	    "S: 421 4.3.2 Service not available", "N");
	assert_true(owner.has_failure);
}

static void a_refused_rset_is_answered_with_quit(void **state)
{
	(void)state;
	RUN(SETUP(.recipients = 1, .attempts = 1), GREETING, "S: 250 up", "C: MAIL FROM:<dev@x.test>",
	    "S: 550 5.7.60 no", "C: RSET", "S: 500 5.5.1 no", "C: QUIT");
	assert_int_equal(result(0, 0)->cause->outcome, OUTCOME_P);
}

static void with_password(void)
{
	char dir[] = "/tmp/mfdrelay-test-XXXXXX", path[64];

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/password", dir);
	FILE *file = fopen(path, "w");
	fputs("secret", file);
	fclose(file);
	chmod(path, 0600);
	setenv("CREDENTIALS_DIRECTORY", dir, 1);
}

static void without_password(void)
{
	char path[64];

	snprintf(path, sizeof path, "%s/password", getenv("CREDENTIALS_DIRECTORY"));
	unlink(path);
	rmdir(getenv("CREDENTIALS_DIRECTORY"));
}

static void a_password_goes_by_plain_where_that_is_offered(void **state)
{
	(void)state;
	with_password();
	/* base64("\0box\0secret") */
	RUN(SETUP(.password = true, .recipients = 1, .attempts = 0), GREETING, "S: 250-up",
	    "S: 250 AUTH LOGIN PLAIN", "C: AUTH PLAIN AGJveABzZWNyZXQ=", "S: 235 2.7.0 ok", "C: QUIT");
	without_password();
	assert_false(owner.has_failure);
}

static void a_password_goes_by_login_where_nothing_else_is_offered(void **state)
{
	(void)state;
	with_password();
	RUN(SETUP(.password = true, .recipients = 1, .attempts = 0), GREETING, "S: 250-up",
	    "S: 250 AUTH LOGIN", "C: AUTH LOGIN", "S: 334 VXNlcm5hbWU6", "C: Ym94", "S: 334 UGFzc3dvcmQ6",
	    "C: c2VjcmV0", "S: 235 2.7.0 ok", "C: QUIT");
	without_password();
	assert_false(owner.has_failure);
}

static void a_refused_password_is_configuration(void **state)
{
	(void)state;
	with_password();
	RUN(SETUP(.password = true, .recipients = 1, .attempts = 1), GREETING, "S: 250-up",
	    "S: 250 AUTH PLAIN",
	    "C: AUTH PLAIN AGJveABzZWNyZXQ=", "S: 535 5.7.3 Authentication unsuccessful");
	without_password();
	assert_int_equal(owner.failure.cause->outcome, OUTCOME_C);
	assert_string_equal(owner.failure.cause->name, "password-refused");
}

/* RFC 5321 section 3.8: a server that goes says so at any time. */
static void a_421_while_the_token_is_fetched_is_the_servers_word(void **state)
{
	(void)state;
	RUN(SETUP(.oauth = true, .recipients = 1, .attempts = 1), GREETING, "S: 250-up",
	    "S+ 250 AUTH LOGIN XOAUTH2", "S: 421 4.3.2 Service not available", "N");
	assert_true(owner.has_failure);
	assert_string_equal(owner.failure.cause->name, "service-trouble");
	assert_int_equal(tokens_refused, 0);
}

static void a_421_while_the_content_is_looked_at_is_the_servers_word(void **state)
{
	(void)state;
	fill_big("From: dev@x.test\r\nSubject: ");
	RUN(SETUP(.recipients = 1, .attempts = 1, .content = big, .repairs = true), GREETING, "S+ 250 up",
	    "S: 421 4.3.2 Service not available", "N");
	assert_string_equal(result(0, 0)->cause->name, "service-trouble");
	assert_true(owner.attempts[0]->not_begun);
}

/* --- rehearsals, and who looks on --- */

static void a_rehearsal_tries_the_envelope_and_sends_nothing(void **state)
{
	(void)state;
	RUN(SETUP(.recipients = 1, .attempts = 2, .rehearsal = true), GREETING, "S: 250-up",
	    "S: 250-CHUNKING", "S: 250-PIPELINING", "S: 250 SIZE 1000", "C: MAIL FROM:<dev@x.test>",
	    "C: RCPT TO:<a@x.test>", "S: 250 ok", "S: 250 ok", "C: RSET", "S: 250 ok",
	    "C: MAIL FROM:<dev@x.test>", "C: RCPT TO:<a@x.test>", "S: 250 ok",
	    "S: 550 5.1.10 RESOLVER.ADR.RecipientNotFound; not found", "C: RSET", "S: 250 ok", "C: QUIT");
	assert_null(result(0, 0));
	assert_true(owner.attempts[0]->recipients[0].accepted);
	assert_int_equal(result(1, 0)->cause->outcome, OUTCOME_P);
	assert_string_equal(owner.steps, "dns tcp greeting ehlo mail rcpt rset mail rcpt! rset ");
}

static void a_rehearsal_without_pipelining_and_bdat_never_says_data(void **state)
{
	(void)state;
	RUN(SETUP(.recipients = 2, .attempts = 1, .rehearsal = true), GREETING, "S: 250 up",
	    "C: MAIL FROM:<dev@x.test>", "S: 250 ok", "C: RCPT TO:<a@x.test>", "S: 250 ok",
	    "C: RCPT TO:<b@x.test>", "S: 250 ok", "C: RSET", "S: 250 ok", "C: QUIT");
	assert_string_equal(owner.steps, "dns tcp greeting ehlo mail rcpt rcpt rset ");
}

static void a_rehearsal_may_be_of_a_sender_alone(void **state)
{
	(void)state;
	RUN(SETUP(.recipients = 0, .attempts = 2, .rehearsal = true), GREETING, "S: 250 up",
	    "C: MAIL FROM:<dev@x.test>", "S: 250 ok", "C: RSET", "S: 250 ok", "C: MAIL FROM:<dev@x.test>",
	    "S: 550 5.7.60 SMTP; Client does not have permissions to send as this sender", "C: RSET",
	    "S: 250 ok", "C: QUIT");
	assert_string_equal(owner.steps, "dns tcp greeting ehlo mail rset mail! rset ");
}

static void who_looks_on_sees_each_step_of_a_login_and_the_one_that_failed(void **state)
{
	(void)state;
	RUN(SETUP(.oauth = true, .recipients = 1), GREETING, CAPS, "C: AUTH XOAUTH2 " XOAUTH2_TOK,
	    "S: 235 2.7.0 ok", "C: QUIT");
	assert_string_equal(owner.steps, "dns tcp greeting ehlo token auth ");
	RUN(SETUP(.oauth = true, .recipients = 1), GREETING, CAPS, "C: AUTH XOAUTH2 " XOAUTH2_TOK,
	    "S: 535 5.7.139 Authentication unsuccessful");
	assert_string_equal(owner.steps, "dns tcp greeting ehlo token auth! ");
	RUN(SETUP(.oauth = true, .recipients = 1), GREETING, "S: 250 up");
	assert_string_equal(owner.steps, "dns tcp greeting ehlo auth! ");
	RUN(SETUP(.recipients = 1), "S: 554 5.7.1 no");
	assert_string_equal(owner.steps, "dns tcp greeting! ");
}

static void a_refused_sender_is_told_once_whatever_came_behind_it(void **state)
{
	(void)state;
	RUN(SETUP(.recipients = 1, .attempts = 1), GREETING, "S: 250-up", "S: 250 PIPELINING",
	    "C: MAIL FROM:<dev@x.test>", "C: RCPT TO:<a@x.test>", "C: DATA", "S: 550 5.7.60 no",
	    "S: 503 5.5.2 need MAIL", "S: 503 5.5.2 need MAIL", "C: RSET", "S: 250 ok", "C: QUIT");
	assert_string_equal(owner.steps, "dns tcp greeting ehlo mail! rset ");
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(without_extensions_one_command_at_a_time, free_attempts),
	    cmocka_unit_test_teardown(dots_are_stuffed_in_data, free_attempts),
	    cmocka_unit_test_teardown(pipelining_sends_the_envelope_at_once_and_size_is_told, free_attempts),
	    cmocka_unit_test_teardown(bdat_sends_the_content_untouched, free_attempts),
	    cmocka_unit_test_teardown(bdat_refused_ends_the_connection_and_charges_nobody, free_attempts),
	    cmocka_unit_test_teardown(data_is_used_where_bdat_was_refused, free_attempts),
	    cmocka_unit_test_teardown(
		bdat_refused_before_the_content_is_complete_is_no_verdict, free_attempts),
	    cmocka_unit_test_teardown(a_354_for_nobody_is_ended_with_an_empty_message, free_attempts),
	    cmocka_unit_test_teardown(behind_a_refused_mail_no_recipient_counts_as_accepted, free_attempts),
	    cmocka_unit_test_teardown(
		a_refused_mail_fails_every_recipient_and_the_session_goes_on, free_attempts),
	    cmocka_unit_test_teardown(no_recipient_accepted_means_no_data, free_attempts),
	    cmocka_unit_test_teardown(a_cut_after_the_dot_counts_as_not_delivered, free_attempts),
	    cmocka_unit_test_teardown(
		a_cut_as_an_idle_connection_is_used_again_charges_nobody, free_attempts),
	    cmocka_unit_test_teardown(
		a_reply_before_the_content_is_complete_ends_the_connection, free_attempts),
	    cmocka_unit_test_teardown(
		a_reply_too_many_ends_the_connection_before_the_next_message, free_attempts),
	    cmocka_unit_test_teardown(
		a_reply_too_many_of_a_new_connection_is_the_roads_trouble, free_attempts),
	    cmocka_unit_test_teardown(
		what_is_broken_off_before_the_answer_to_the_content_was_perhaps_taken, free_attempts),
	    cmocka_unit_test_teardown(what_is_cut_within_the_content_was_not_taken, free_attempts),
	    cmocka_unit_test_teardown(the_look_for_repairs_leaves_the_loop_to_others, free_attempts),
	    cmocka_unit_test_teardown(a_large_message_leaves_the_loop_to_others, free_attempts),
	    cmocka_unit_test_teardown(
		a_reply_too_many_in_the_envelope_is_never_taken_for_the_contents, free_attempts),
	    cmocka_unit_test_teardown(a_reply_to_an_idle_connection_ends_it, free_attempts),
	    cmocka_unit_test_teardown(each_recipient_has_its_own_five_minutes, free_attempts),
	    cmocka_unit_test_teardown(
		too_large_for_the_size_offered_is_left_to_others_and_not_tried, free_attempts),
	    cmocka_unit_test_teardown(a_421_banner_is_the_roads_trouble, free_attempts),
	    cmocka_unit_test_teardown(garbage_is_the_roads_trouble, free_attempts),
	    cmocka_unit_test_teardown(a_reply_line_of_100_kb_is_the_roads_trouble, free_attempts),
	    cmocka_unit_test_teardown(xoauth2_goes_with_the_command_when_it_fits, free_attempts),
	    cmocka_unit_test_teardown(a_long_token_waits_for_the_334, free_attempts),
	    cmocka_unit_test_teardown(a_direct_535_drops_the_token, free_attempts),
	    cmocka_unit_test_teardown(
		a_token_that_is_refused_within_a_transaction_is_dropped_and_the_session_ends, free_attempts),
	    cmocka_unit_test_teardown(the_334_json_form_is_answered_with_an_empty_line, free_attempts),
	    cmocka_unit_test_teardown(
		a_mailbox_switch_that_is_off_is_configuration_and_keeps_the_token, free_attempts),
	    cmocka_unit_test_teardown(a_password_goes_by_plain_where_that_is_offered, free_attempts),
	    cmocka_unit_test_teardown(a_password_goes_by_login_where_nothing_else_is_offered, free_attempts),
	    cmocka_unit_test_teardown(a_refused_password_is_configuration, free_attempts),
	    cmocka_unit_test_teardown(no_xoauth2_offered_is_configuration, free_attempts),
	    cmocka_unit_test_teardown(a_banner_that_refuses_is_answered_with_quit, free_attempts),
	    cmocka_unit_test_teardown(who_does_not_know_ehlo_is_told_helo, free_attempts),
	    cmocka_unit_test_teardown(who_knows_neither_is_left, free_attempts),
	    cmocka_unit_test_teardown(a_421_is_the_end, free_attempts),
	    cmocka_unit_test_teardown(a_refused_rset_is_answered_with_quit, free_attempts),
	    cmocka_unit_test_teardown(a_421_while_the_token_is_fetched_is_the_servers_word, free_attempts),
	    cmocka_unit_test_teardown(
		a_421_while_the_content_is_looked_at_is_the_servers_word, free_attempts),
	    cmocka_unit_test_teardown(a_rehearsal_tries_the_envelope_and_sends_nothing, free_attempts),
	    cmocka_unit_test_teardown(a_rehearsal_without_pipelining_and_bdat_never_says_data, free_attempts),
	    cmocka_unit_test_teardown(a_rehearsal_may_be_of_a_sender_alone, free_attempts),
	    cmocka_unit_test_teardown(
		who_looks_on_sees_each_step_of_a_login_and_the_one_that_failed, free_attempts),
	    cmocka_unit_test_teardown(a_refused_sender_is_told_once_whatever_came_behind_it, free_attempts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
