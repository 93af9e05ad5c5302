/* Sends as devices do and takes the time, which smtp-source cannot: SESSIONS threads send COUNT messages, some
 * on each connection, one after the other. Prints the seconds in all, and the milliseconds from the dot to the
 * final 250: median, 99th percentile, longest.
 *
 *   probe PORT SESSIONS COUNT BYTES [MESSAGES-A-CONNECTION] */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_in server;
static atomic_long next_number;
static long count, per_connection = 1;
static double *waits_ms;
static char *content;
static size_t content_bytes;

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void say(int fd, const char *text, size_t n)
{
	while (n > 0) {
		ssize_t done = write(fd, text, n);
		if (done <= 0)
			err(1, "write");
		text += done;
		n -= (size_t)done;
	}
}

/* Our commands are not pipelined, so each read ends with the whole reply. */
static void expect(int fd, char digit)
{
	char reply[1024];
	size_t n = 0;

	do {
		ssize_t got = read(fd, reply + n, sizeof reply - 1 - n);
		if (got <= 0)
			errx(1, "the connection ended");
		n += (size_t)got;
	} while (reply[n - 1] != '\n');
	reply[n] = '\0';
	if (reply[0] != digit)
		errx(1, "refused: %s", reply);
}

static void command(int fd, const char *line, char digit)
{
	say(fd, line, strlen(line));
	expect(fd, digit);
}

static int connect_once(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (connect(fd, (struct sockaddr *)&server, sizeof server) < 0)
		err(1, "connect");
	expect(fd, '2');
	command(fd, "HELO probe\r\n", '2');
	return fd;
}

static double send_one(int fd)
{
	command(fd, "MAIL FROM:<load@contoso.com>\r\n", '2');
	command(fd, "RCPT TO:<boss@contoso.com>\r\n", '2');
	command(fd, "DATA\r\n", '3');
	say(fd, content, content_bytes);
	double begun = now_ms();
	command(fd, ".\r\n", '2');
	return now_ms() - begun;
}

static void *run(void *cookie)
{
	long first;

	while ((first = atomic_fetch_add(&next_number, per_connection)) < count) {
		int fd = connect_once();
		for (long i = first; i < first + per_connection && i < count; i++)
			waits_ms[i] = send_one(fd);
		command(fd, "QUIT\r\n", '2');
		close(fd);
	}
	return cookie;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void make_content(size_t bytes)
{
	static const char head[] = "From: load@contoso.com\r\nTo: boss@contoso.com\r\nSubject: probe\r\n\r\n";
	static const char line[] =
	    "0123456789012345678901234567890123456789012345678901234567890123456789\r\n";

	content = calloc(1, sizeof head + bytes + sizeof line);
	if (content == NULL)
		err(1, NULL);
	for (content_bytes = strlen(strcpy(content, head)); content_bytes < bytes;
	     content_bytes += sizeof line - 1)
		memcpy(content + content_bytes, line, sizeof line - 1);
}

int main(int argc, char **argv)
{
	if (argc < 5)
		errx(2, "usage: probe PORT SESSIONS COUNT BYTES [MESSAGES-A-CONNECTION]");
	size_t sessions = (size_t)atol(argv[2]);
	pthread_t *threads = calloc(sessions, sizeof *threads);

	server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((in_port_t)atoi(argv[1]))};
	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	count = atol(argv[3]);
	if (argc > 5)
		per_connection = atol(argv[5]);
	waits_ms = calloc((size_t)count, sizeof *waits_ms);
	if (count < 1 || per_connection < 1 || waits_ms == NULL || threads == NULL)
		errx(2, "the numbers are at least 1");
	make_content((size_t)atol(argv[4]));
	double begun = now_ms();
	for (size_t i = 0; i < sessions; i++)
		if (pthread_create(&threads[i], NULL, run, NULL) != 0)
			errx(1, "no thread");
	for (size_t i = 0; i < sessions; i++)
		pthread_join(threads[i], NULL);
	double seconds = (now_ms() - begun) / 1e3;
	qsort(waits_ms, (size_t)count, sizeof *waits_ms, compare);
	printf("%.4f %.2f %.2f %.2f\n", seconds, waits_ms[count / 2], waits_ms[count * 99 / 100],
	    waits_ms[count - 1]);
	free(threads);
	free(waits_ms);
	free(content);
	return 0;
}
