#include <errno.h>
#include <string.h>

#include <event2/event.h>

#include "base/log.h"
#include "base/timer.h"
#include "config/config.h"
#include "sender/attempt.h"
#include "sender/client_private.h"
#include "sender/outgoing.h"
#include "sender/suspect.h"
#include "spool/spool.h"

/* What was left alone (repair_plan_left) and has a remedy, the weightiest first. */
static const struct {
	const char *left, *remedy;
} remedies[] = {
    {"identity",
	"signed mail goes out with the From it has: let the device write an address that the upstream may "
	"send as, or switch its signing off"},
    {"from", "nobody is known to put into From: set sender_address, for the device or the upstream"},
    {"message-partial", "the device splits large mail, and hardly any program joins the pieces: switch that "
			"off at the device"},
    {"cut", "the message ends within its header: look at the spool's disk"},
    {"header-size", "the header is more than the relay reads (256 KiB, 1,000 fields): look at what the "
		    "device writes into "
		    "it"},
    {"limit", "more is broken than can be repaired: look at what the device sends"},
};

static const char *remedy_for(const char *left)
{
	for (size_t i = 0; i < sizeof remedies / sizeof remedies[0]; i++)
		if (strstr(left, remedies[i].left) != NULL)
			return remedies[i].remedy;
	return NULL;
}

static void log_repairs(const struct client *c)
{
	const char *repairs = outgoing_repairs(c->outgoing), *left = outgoing_left(c->outgoing);
	const struct envelope *envelope = spool_envelope(c->attempt->message);
	const char *sender = outgoing_sender(c->outgoing), *remedy = remedy_for(left);
	const struct kv none = {0};

	if (repairs[0] == '\0' && left[0] == '\0' && strcmp(sender, envelope->sender) == 0)
		return;
	log_event(remedy != NULL ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, "repairs", kv_str("id", envelope->id),
	    kv_str("upstream", c->settings->upstream->name), kv_str("made", repairs), kv_str("left", left),
	    kv_str("sender", sender), remedy != NULL ? kv_str("remedy", remedy) : none);
}

static void go_on(struct client *c);

static void on_turn(evutil_socket_t fd, short what, void *cookie)
{
	struct client *c = cookie;

	(void)fd;
	(void)what;
	client_begin_work(c);
	if (c->state == ST_PREPARE)
		go_on(c);
	else if (c->state == ST_CONTENT)
		client_go_on_with_content(c);
	suspect_end();
}

/* By a timer: what event_active() has run comes in the same round, before the loop looks at any socket. */
void client_next_turn(struct client *c)
{
	if (c->turn == NULL)
		c->turn = evtimer_new(c->settings->base, on_turn, c);
	timer_set(c->turn, 0);
}

static void go_on(struct client *c)
{
	switch (outgoing_prepare(c->outgoing)) {
	case OUTGOING_MORE:
		client_next_turn(c);
		break;
	case OUTGOING_READY:
		log_repairs(c);
		if (outgoing_refusal(c->outgoing) != NULL)
			client_refuse(c, ROAD_HEADER, outgoing_refusal(c->outgoing));
		else
			client_enter(c, ST_ENVELOPE);
		break;
	case OUTGOING_FAILED:
		client_refuse(c, ROAD_SPOOL, outgoing_trouble(errno));
		break;
	}
}

void client_begin_prepare(struct client *c)
{
	if (c->attempt->rehearsal != NULL) {
		client_enter(c, ST_ENVELOPE);
		return;
	}
	c->outgoing =
	    outgoing_new(c->settings->config, c->settings->upstream, c->mailbox, c->attempt->message);
	go_on(c);
}

void client_forget_outgoing(struct client *c)
{
	outgoing_free(c->outgoing);
	c->outgoing = NULL;
	if (c->turn != NULL)
		event_del(c->turn);
}
