/* A message as it goes out by one upstream: from whom, and its content with the identity and the repairs that the config asks
 * for. What the device said stays as it is on disk; the same message, mailbox and config give the same
 * bytes at every attempt. */
#ifndef MFDRELAY_SENDER_OUTGOING_H
#define MFDRELAY_SENDER_OUTGOING_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct config;
struct outgoing;
struct spool_message;
struct upstream_config;

/* All is borrowed until it is freed; upstream is one of config's, mailbox whom it is logged in to as (NULL: nobody). */
struct outgoing *outgoing_new(const struct config *config, const struct upstream_config *upstream, const char *mailbox,
    const struct spool_message *message);

/* The content has to be looked at before it goes out. A call reads at most 256 KiB of it, and no more than what the
 * plan hangs on: nothing where neither repairs nor an identity are asked for, the header alone where the message is
 * signed or repairs are off. OUTGOING_FAILED: errno says why, EIO where the file is too short. */
enum outgoing_state { OUTGOING_MORE, OUTGOING_READY, OUTGOING_FAILED };
enum outgoing_state outgoing_prepare(struct outgoing *outgoing);

/* What errno of outgoing_prepare or outgoing_read says. */
const char *outgoing_trouble(int error);

/* The reverse-path; "" is the null one. Borrowed. */
const char *outgoing_sender(const struct outgoing *outgoing);

/* When it is ready: the octets of the content, and what repair_plan_names() and repair_plan_left() say of it. */
uint64_t outgoing_bytes(const struct outgoing *outgoing);
const char *outgoing_repairs(const struct outgoing *outgoing);
const char *outgoing_left(const struct outgoing *outgoing);

/* When it is ready: NULL, or why it is not to go out: its From cannot be held to what the config asks for. */
const char *outgoing_refusal(const struct outgoing *outgoing);

/* The next bytes of the content: up to n, 0 at the end, -1 with errno. And back to its start. */
ssize_t outgoing_read(struct outgoing *outgoing, char *bytes, size_t n);
void outgoing_rewind(struct outgoing *outgoing);

/* NULL is fine. */
void outgoing_free(struct outgoing *outgoing);

#endif
