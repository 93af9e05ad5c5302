/* The inside of the queue, shared by its files: queue.c (the messages by their ids), queue_unread.c (the line of those that wait to be
 * read), queue_hold.c (their open files), queue_road.c (the road of a recipient), queue_plan.c (parts, and when they are due),
 * queue_reroute.c (parts that go another way) and queue_take.c (attempts). */
#ifndef MFDRELAY_SENDER_QUEUE_PRIVATE_H
#define MFDRELAY_SENDER_QUEUE_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include "sender/queue.h"

struct route;

/* How long a message waits that somebody else owns or that finds no descriptor; and one that the disk is in the way of. */
#define BUSY_WAIT_MS	1000
#define TROUBLE_WAIT_MS 10000

struct queue {
	const struct config *config;
	struct spool *spool;
	struct scheduler *scheduler;
	void *by_id;			/* tsearch(3) tree of struct message */
	size_t count;
	void (*settle)(void *arg, struct message *message);
	void *settle_arg;
	TAILQ_HEAD(, message) unread;
	size_t unread_count, held_count;
	struct detours detours;
	size_t *recipient_limits;	/* by road, of a message; 0: any number */
};

/* The message of that id, or NULL. */
struct message *queue_find(const struct queue *queue, const char *id);

/* --- queue_unread.c --- */

/* The message is read anew when all others have been. Its parts are freed, and its file is closed if its state is on the disk. */
void queue_make_unread(struct queue *queue, struct message *message);

/* The same, but before all others, or behind after, which stands in the line. */
void queue_make_unread_next(struct queue *queue, struct message *message, struct message *after);

/* Take it out of the line. */
void queue_leave_unread(struct queue *queue, struct message *message);

/* --- queue_hold.c --- */

/* Own the message, or say when to look again: 0 when it is owned, a wait in ms, or -1 when it is gone and forgotten (the
 * pointer is no longer valid). */
int64_t queue_hold(struct queue *queue, struct message *message);

/* Close its file. Fine where it is not held. */
void queue_let_go(struct queue *queue, struct message *message);

/* The same, unless its state is known in memory alone. */
void queue_let_go_if_saved(struct queue *queue, struct message *message);

/* Whether so many are held that one more is better read again later. */
bool queue_holds_enough(const struct queue *queue);

/* --- queue_road.c: the messages are held --- */

/* Recipients without a route, and messages that could not be read, stand on this one until they are looked at again. */
unsigned queue_no_road(const struct queue *queue);

/* The route of the message's recipient i, or NULL. Borrowed from the config. */
const struct route *queue_route_of(const struct queue *queue, const struct message *message, size_t i);

/* Its road, by the message's own view of the roads: that changes only while nothing of the message is under way, so that no
 * recipient is taken by two. */
unsigned queue_road_of(const struct queue *queue, const struct message *message, size_t i);

/* Have the message see the roads as they are. One whose hold is over is shown one message, the first that would go by it, before
 * the others return. */
void queue_view_roads(struct queue *queue, struct message *message);

/* A person asks for a try now: what has refused its recipients may have been mended, and is offered them again. Does nothing where
 * none has asked, and nothing of the message may be under way. */
void queue_forget_refusals(struct message *message);

/* --- queue_plan.c --- */

/* What is left of a recipient's wait, in ms: the wall clock tells how much has passed, and cannot make it longer than it was. */
int64_t queue_wait_left_ms(const struct message *message, const struct recipient_state *recipient);

/* Look at the message again in wait_ms; it need not be held. Its other parts stay as they are. */
void queue_plan_later(struct queue *queue, struct message *message, int64_t wait_ms);

#endif
