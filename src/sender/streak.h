/* What the messages of one lane have met without a break, and when that is the road's trouble and no longer that of each message
 * by itself. Pure; the clock is an argument (monotonic milliseconds).
 *
 * The rule is for the causes that cause_of_all() knows. Of class P: STREAK_MESSAGES messages or more were refused for the
 * same cause, none was delivered in between, and not all were of one origin (a device with the sender that it wrote): one device that is
 * set up wrongly, tried over and over, must not stop the others. The number is ours: fewer would take chance for a rule, and each
 * one more is one more message that goes back. Of class T: it has lasted for STREAK_MS, and none was delivered in between. What is
 * refused for another cause says nothing of this one. What has become the road's trouble stays it for a sender that starts anew
 * (streaks.h); what had not yet is counted from the start. */
#ifndef MFDRELAY_SENDER_STREAK_H
#define MFDRELAY_SENDER_STREAK_H

#include <stdbool.h>
#include <stdint.h>

#define STREAK_MESSAGES 5
#define STREAK_MS	3600000

#define STREAK_ORIGIN_MAX 400	/* a device's name and an address; cut to fit */

struct cause;

/* Zeroed: nothing has been met, as after a message that was delivered. */
struct streak {
	const struct cause *cause;	/* what it counts as where all mail meets it (cause_of_all); NULL: none */
	unsigned messages;
	bool is_of_several;		/* origins */
	bool is_roads;			/* it has become the road's trouble */
	int64_t since_ms;
	char origin[STREAK_ORIGIN_MAX];	/* of the first */
};

/* Whose mail it is, for who compares: the device and the sender that it wrote. */
void streak_origin(char origin[STREAK_ORIGIN_MAX], const char *device, const char *sender);

/* A message was refused for cause, one of those that cause_of_all() knows. Returns whether that is the road's trouble by now. */
bool streak_add(struct streak *streak, const struct cause *cause, const char *device, const char *sender, int64_t now_ms);

/* Go on where another sender has left off: cause, of class C, is the road's trouble. */
void streak_resume(struct streak *streak, const struct cause *cause);

#endif
