/* A message of our own, put into the queue as a device's would be. */
#ifndef MFDRELAY_CLI_TEST_MESSAGE_H
#define MFDRELAY_CLI_TEST_MESSAGE_H

#include <stdbool.h>
#include "base/err.h"
#include "spool/envelope.h"

struct config;

struct test_message {
	const char *from, *to;
	const char *device;		/* whose it is to look like; NULL: nobody's */
	char id[SPOOL_ID_MAX + 1];	/* out */
};

/* Whose it is in the queue: what routes go by. */
const char *test_message_device(const struct test_message *message);

/* Give it an id, call before_commit(arg, id), and when that has returned true, make it durable and named. Blocks for as long as
 * the disk does. Returns 0; -1 with err: then nothing of it is in the queue. */
int test_message_queue(struct test_message *message, const struct config *config,
    bool (*before_commit)(void *arg, const char *id, struct err *err), void *arg, struct err *err);

#endif
