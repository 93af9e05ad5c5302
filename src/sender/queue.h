/* What the sender knows of spool/queue: every message by its id, read from the disk only when a road wants work, and cut into
 * parts by the config's routes. */
#ifndef MFDRELAY_SENDER_QUEUE_H
#define MFDRELAY_SENDER_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include "sender/detour.h"
#include "spool/spool.h"

struct attempt;
struct cause;
struct config;
struct part;
struct queue;
struct scheduler;

enum message_stage {
	MESSAGE_UNREAD,		/* known by name */
	MESSAGE_PLANNED,	/* its parts wait, stand ready or are under way */
	MESSAGE_SETTLING,	/* its state is being made durable */
};

struct message {
	char id[SPOOL_ID_MAX + 1];
	unsigned char stage;		/* enum message_stage */
	bool forced;			/* a person asked for a try now */
	bool unsaved;			/* held's state is ahead of the disk */
	bool in_trouble;		/* the disk did not let it be read, saved or moved; tried again */
	unsigned short under_way;	/* attempts */
	struct {			/* why a road was last held after an attempt of its own */
		const struct cause *cause;	/* NULL: never */
		unsigned road, proofs;		/* that its upstream had then (blame.h) */
	} blamed;
	struct detours detours;		/* the roads in trouble as it was planned by */
	const struct cause *cause;	/* why its last attempt did not deliver it to all; NULL: none since this sender's start */
	struct spool_message *held;	/* owned at the moment, or NULL */
	SLIST_HEAD(, part) parts;
	TAILQ_ENTRY(message) line;	/* of those unread */
};

/* roads: the config's upstreams; the scheduler has one line more, for recipients without a route. */
struct queue *queue_new(const struct config *config, struct spool *spool, struct scheduler *scheduler);

/* Who settles a held message that has nothing pending or something to report (delivery.c). Set before anything is read. */
void queue_set_settle(struct queue *queue, void (*settle)(void *arg, struct message *message), void *arg);

/* A message may be there: by a wake-up, or our own report. Known ids are ignored. */
void queue_learn(struct queue *queue, const char *id);

/* Learn every name in the folder, oldest first. A failure is logged; the next scan is the remedy. */
void queue_scan(struct queue *queue);

/* Read the oldest unread message and plan it. Returns false when there is none. */
bool queue_read_one(struct queue *queue);

/* Messages that had no road or could not be read, and have waited for that long enough, are unread again. */
void queue_revisit(struct queue *queue);

/* The roads in trouble: what is planned from now on goes round them. */
void queue_set_detours(struct queue *queue, const struct detours *detours);

/* Have the messages that stand ready on a road read and planned anew, before all others, if they could go by another and were
 * planned while other roads were in trouble than now. */
void queue_reroute(struct queue *queue, unsigned road);

/* The next attempt for a road, of at most so many recipients (1 or more), or NULL. */
struct attempt *queue_take(struct queue *queue, unsigned road, size_t recipients);

/* The road takes no more than so many recipients in a message, it has turned out: until the sender's end no attempt has more.
 * Returns whether that is fewer than was known. */
bool queue_limit_recipients(struct queue *queue, unsigned road, size_t limit);

/* Whether a recipient of a held message is to be tried within so long. */
bool queue_is_due(const struct message *message, int64_t within_ms);

/* Cut what is pending of a held message into parts, and let go of it if too many are held and its state is on the disk. A message that needs settling
 * instead is handed to that. */
void queue_plan(struct queue *queue, struct message *message);

/* Look at a message that nobody holds again in a while: the disk did not let it be settled. */
void queue_put_off(struct queue *queue, struct message *message);

/* Take the message's parts out of the scheduler: it is about to be settled. */
void queue_unplan(struct queue *queue, struct message *message);

/* Hand its spool_message over to be retired or failed; queue_forget follows. */
struct spool_message *queue_surrender(struct queue *queue, struct message *message);

/* It is no longer in queue/. The message is freed. */
void queue_forget(struct queue *queue, struct message *message);

/* A person asks for a try now, by any upstream of its routes: of one message (false: it is not in the queue), or of all (returns
 * how many). */
bool queue_force(struct queue *queue, const char *id);
size_t queue_force_all(struct queue *queue);

/* Gives up every message it holds. NULL is fine. */
void queue_free(struct queue *queue);

#endif
