/* The words between the supervisor and a worker: one byte kind, one 32-bit number, over a SOCK_SEQPACKET pair. */
#ifndef MFDRELAY_SUPERVISOR_CHANNEL_H
#define MFDRELAY_SUPERVISOR_CHANNEL_H

#include <stdint.h>

enum word_kind {
	WORD_STOP = 1,		/* to the worker: the daemon stops; finish within value ms, then end */
	WORD_RETIRE,		/* to the worker: a new one takes its place after a reload; as above */
	WORD_PING,		/* to the worker */
	WORD_PONG,		/* from the worker, from its loop */
	WORD_READY,		/* from the worker: start has succeeded */
};

struct word {
	uint32_t kind;
	uint32_t value;
};

/* Make a pair of connected, non-blocking, close-on-exec sockets. Returns 0, or -1 with errno. */
int channel_pair(int fds[2]);

/* Returns 0, or -1 with errno (EAGAIN: the other side does not read). */
int channel_send(int fd, enum word_kind kind, uint32_t value);

/* Returns 1 with *word, 0 when there is none now, -1 when the other side is gone. */
int channel_receive(int fd, struct word *word);

#endif
