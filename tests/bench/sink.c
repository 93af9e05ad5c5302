/* The upstream of the benchmark: takes every message and keeps none, over TCP or STARTTLS and AUTH, and answers
 * the final dot after a delay where it is told to. A thread a connection, so that a delay holds up nobody else.
 *
 *   sink PORT COUNT-FILE [--delay MS] [--tls CERTIFICATE KEY]
 *
 * COUNT-FILE is a mapped struct counts: who watches reads it without costing the sink anything. */
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#define STACK_BYTES (256u * 1024)

struct counts {
	_Atomic uint64_t messages;
	_Atomic uint64_t connections;
	_Atomic uint64_t open_now;
	_Atomic uint64_t open_max;
};

static struct counts *counts;
static SSL_CTX *tls;
static long delay_ms;

struct peer {
	int fd;
	SSL *ssl;
	bool has_logged_in;
	size_t n, used; /* of in: bytes there, bytes used */
	char in[65536];
	size_t out_n; /* replies not sent yet: they go when nothing more is there to read */
	char out[4096];
};

/* --- octets --- */

static bool send_replies(struct peer *p)
{
	size_t done = 0;

	while (done < p->out_n) {
		int left = (int)(p->out_n - done);
		ssize_t n = p->ssl != NULL ? SSL_write(p->ssl, p->out + done, left)
					   : write(p->fd, p->out + done, (size_t)left);
		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	p->out_n = 0;
	return true;
}

static bool say(struct peer *p, const char *text)
{
	size_t n = strlen(text);

	if (p->out_n + n > sizeof p->out && !send_replies(p))
		return false;
	memcpy(p->out + p->out_n, text, n);
	p->out_n += n;
	return true;
}

/* Reads more behind what is not used yet. */
static bool read_more(struct peer *p)
{
	if (!send_replies(p))
		return false;
	memmove(p->in, p->in + p->used, p->n - p->used);
	p->n -= p->used;
	p->used = 0;
	if (p->n == sizeof p->in)
		return false;
	int room = (int)(sizeof p->in - p->n);
	ssize_t n =
	    p->ssl != NULL ? SSL_read(p->ssl, p->in + p->n, room) : read(p->fd, p->in + p->n, (size_t)room);
	if (n <= 0)
		return false;
	p->n += (size_t)n;
	return true;
}

/* A line without its CRLF; NULL when the peer has gone. */
static char *read_line(struct peer *p)
{
	char *end;

	while ((end = memchr(p->in + p->used, '\n', p->n - p->used)) == NULL)
		if (!read_more(p))
			return NULL;
	char *line = p->in + p->used;
	p->used = (size_t)(end + 1 - p->in);
	*(end > line && end[-1] == '\r' ? end - 1 : end) = '\0';
	return line;
}

/* --- the dialogue --- */

/* The dot may be the first line, so the CRLF of the DATA line is looked at again. */
static bool skip_content(struct peer *p)
{
	static const char end[] = "\r\n.\r\n";
	const size_t end_bytes = sizeof end - 1;
	bool is_first = true;

	for (;;) {
		size_t n = p->n - p->used;
		const char *start = p->in + p->used;
		if (is_first && n >= 3 && memcmp(start, end + 2, 3) == 0) {
			p->used += 3;
			return true;
		}
		is_first = is_first && n < 3;
		const char *found = memmem(start, n, end, end_bytes);
		if (found != NULL) {
			p->used = (size_t)(found - p->in) + end_bytes;
			return true;
		}
		if (!is_first && n >= end_bytes)
			p->used = p->n - (end_bytes - 1);
		if (!read_more(p))
			return false;
	}
}

static bool on_data(struct peer *p)
{
	const struct timespec delay = {.tv_sec = delay_ms / 1000, .tv_nsec = delay_ms % 1000 * 1000000};

	if (!say(p, "354 go on\r\n") || !send_replies(p) || !skip_content(p))
		return false;
	if (delay_ms > 0)
		nanosleep(&delay, NULL);
	atomic_fetch_add(&counts->messages, 1);
	return say(p, "250 2.0.0 taken\r\n");
}

static bool on_starttls(struct peer *p)
{
	if (!say(p, "220 2.0.0 go on\r\n") || !send_replies(p))
		return false;
	p->n = p->used = 0;
	p->ssl = SSL_new(tls);
	return p->ssl != NULL && SSL_set_fd(p->ssl, p->fd) == 1 && SSL_accept(p->ssl) == 1;
}

static bool on_ehlo(struct peer *p)
{
	if (!say(p, "250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 157286400\r\n"))
		return false;
	if (tls != NULL && !say(p, p->ssl == NULL ? "250-STARTTLS\r\n" : "250-AUTH PLAIN\r\n"))
		return false;
	return say(p, "250 ENHANCEDSTATUSCODES\r\n");
}

static bool answer(struct peer *p, const char *line)
{
	if (strncasecmp(line, "DATA", 4) == 0)
		return on_data(p);
	if (strncasecmp(line, "EHLO", 4) == 0)
		return on_ehlo(p);
	if (strncasecmp(line, "STARTTLS", 8) == 0 && tls != NULL && p->ssl == NULL)
		return on_starttls(p);
	if (strncasecmp(line, "AUTH PLAIN ", 11) == 0) {
		p->has_logged_in = true;
		return say(p, "235 2.7.0 welcome\r\n");
	}
	if (strncasecmp(line, "MAIL", 4) == 0 && tls != NULL && !p->has_logged_in)
		return say(p, "530 5.7.57 log in first\r\n");
	if (strncasecmp(line, "QUIT", 4) == 0) {
		if (say(p, "221 2.0.0 bye\r\n"))
			send_replies(p);
		return false;
	}
	return say(p, "250 2.0.0 ok\r\n");
}

static void note_open(void)
{
	uint64_t now = atomic_fetch_add(&counts->open_now, 1) + 1;
	uint64_t max = atomic_load(&counts->open_max);

	atomic_fetch_add(&counts->connections, 1);
	while (now > max && !atomic_compare_exchange_weak(&counts->open_max, &max, now))
		;
}

static void *serve(void *cookie)
{
	struct peer *p = cookie;
	const char *line;

	note_open();
	if (say(p, "220 sink ESMTP\r\n"))
		while ((line = read_line(p)) != NULL && answer(p, line))
			;
	atomic_fetch_sub(&counts->open_now, 1);
	SSL_free(p->ssl);
	close(p->fd);
	free(p);
	return NULL;
}

/* --- start --- */

static void map_counts(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || ftruncate(fd, sizeof *counts) < 0)
		err(1, "%s", path);
	counts = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (counts == MAP_FAILED)
		err(1, "%s", path);
	close(fd);
}

static void set_up_tls(const char *certificate, const char *key)
{
	tls = SSL_CTX_new(TLS_server_method());
	if (tls == NULL || SSL_CTX_use_certificate_chain_file(tls, certificate) != 1 ||
	    SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1) {
		ERR_print_errors_fp(stderr);
		exit(1);
	}
}

static int listen_on(const char *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 1024) < 0)
		err(1, "port %s", port);
	return fd;
}

static void accept_one(int listener, const pthread_attr_t *attributes)
{
	struct peer *p = calloc(1, sizeof *p);
	pthread_t thread;
	int one = 1;

	if (p == NULL)
		err(1, NULL);
	p->fd = accept(listener, NULL, NULL);
	if (p->fd < 0)
		err(1, "accept");
	setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (pthread_create(&thread, attributes, serve, p) != 0)
		errx(1, "no thread");
}

int main(int argc, char **argv)
{
	pthread_attr_t attributes;

	if (argc < 3)
		errx(2, "usage: sink PORT COUNT-FILE [--delay MS] [--tls CERTIFICATE KEY]");
	for (int i = 3; i < argc; i++) {
		if (strcmp(argv[i], "--delay") == 0 && i + 1 < argc) {
			delay_ms = atol(argv[++i]);
		} else if (strcmp(argv[i], "--tls") == 0 && i + 2 < argc) {
			set_up_tls(argv[i + 1], argv[i + 2]);
			i += 2;
		} else {
			errx(2, "%s?", argv[i]);
		}
	}
	signal(SIGPIPE, SIG_IGN);
	map_counts(argv[2]);
	int listener = listen_on(argv[1]);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	for (;;)
		accept_one(listener, &attributes);
}
