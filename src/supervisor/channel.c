#include "supervisor/channel.h"

#include <errno.h>
#include <sys/socket.h>

int channel_pair(int fds[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds);
}

int channel_send(int fd, enum word_kind kind, uint32_t value)
{
	struct word word = {(uint32_t)kind, value};

	return send(fd, &word, sizeof word, MSG_NOSIGNAL) == (ssize_t)sizeof word ? 0 : -1;
}

int channel_receive(int fd, struct word *word)
{
	ssize_t n = recv(fd, word, sizeof *word, 0);

	if (n == (ssize_t)sizeof *word)
		return 1;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	return -1;
}
