/* A message on its way in, from MAIL to the answer after its end. */
#ifndef MFDRELAY_LISTENER_TRANSACTION_H
#define MFDRELAY_LISTENER_TRANSACTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/str.h"
#include "config/config.h"
#include "listener/pace.h"
#include "listener/policy.h"

struct address;
struct session_env;
struct transaction;

/* Who sends it, as far as the envelope, the trace header and the log want to know. Borrowed for the time
 * of the call. */
struct origin {
	const struct device *device;
	const struct listen_config *listen;
	const char *user;	/* "" without a login */
	const char *peer;
	const char *helo;	/* printable ASCII; "" when there was none */
	bool extended;		/* EHLO was said, or AUTH used */
	const char *tls_version, *tls_cipher;	/* as conn.h has them; NULL: plain text */
	enum bare_newlines bare_newlines;
};

/* announced: the size that the device said the content has; 0: none. From DATA on no other message is let in on that
 * room of the disk. More than limit is refused. */
struct transaction *transaction_new(
    struct session_env *env, const struct address *sender, uint64_t announced, struct size_limit limit);
uint64_t transaction_announced(const struct transaction *transaction);
struct size_limit transaction_limit(const struct transaction *transaction);
void transaction_set_limit(struct transaction *transaction, struct size_limit limit);	/* before DATA */

/* Whether it has that recipient already: the domain in any case, the local part as it is. */
bool transaction_has(const struct transaction *transaction, const struct address *recipient);
void transaction_add(struct transaction *transaction, const struct address *recipient);
size_t transaction_recipients(const struct transaction *transaction);
const char *transaction_sender(const struct transaction *transaction);	/* "" is the null one */

/* What a device is told when the disk does not take its message, by errno. The caller frees it. */
char *transaction_disk_reply(int error);

/* DATA: take an id, open the draft, write the trace header. Returns 0, or -1 with err and the transaction
 * as before. */
int transaction_begin(struct transaction *transaction, const struct origin *origin, struct err *err);

/* Content as it comes from the wire, up to its end. Returns how many bytes of in belong to it. What makes
 * the message unacceptable is remembered, and the rest is read and dropped: a device that is answered
 * early sees a network fault. */
enum feed { FEED_MORE, FEED_ENDED, FEED_HOPELESS };	/* the last: not worth reading on */
enum feed transaction_feed(struct transaction *transaction, struct str in, size_t *used);

/* Whether the content comes fast enough (pace.h), and when to ask again if none comes (monotonic ms). */
enum pace_fault transaction_judge_pace(struct transaction *transaction);
int64_t transaction_look_ms(const struct transaction *transaction);

/* Whether the content has ended without CRLF.CRLF: the device has the quirk eod-lf, and is silent behind LF.LF. */
bool transaction_ended_silently(const struct transaction *transaction);

/* The reply to give, without its line end, and the id under which it is stored, NULL when it is not; borrowed for the
 * time of the call. */
typedef void transaction_fn(void *arg, const char *reply, const char *id);

/* After FEED_ENDED. Returns the reply that refuses it, borrowed until transaction_drop. Or begins to make
 * it durable and returns NULL: fn is called once, later, from the loop, and the transaction is gone then. */
const char *transaction_end(struct transaction *transaction, transaction_fn *fn, void *arg);

/* Drop it. Where it is being made durable that goes on by itself, and fn will not be called. NULL is fine. */
void transaction_drop(struct transaction *transaction);

/* Log that it is dropped in the middle of its content. */
void transaction_log_lost(const struct transaction *transaction, const char *reason);

#endif
