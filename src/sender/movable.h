/* Of the parts that stand ready on a road, those that could go by another, by the view of the roads that they were planned by: what
 * a change of that view has to move is found without a look at what stays. Pure. */
#ifndef MFDRELAY_SENDER_MOVABLE_H
#define MFDRELAY_SENDER_MOVABLE_H

#include <sys/queue.h>

struct detours;
struct part;
struct view;

/* One for each road. A zeroed one is empty. */
struct movable {
	SLIST_HEAD(, view) views;	/* those of its parts: few, as all that is planned at a time sees the same */
};

/* The part has become ready, or leaves the line. Nothing where it stays on its road (part->seen is NULL). */
void movable_add(struct movable *movable, struct part *part);
void movable_remove(struct movable *movable, struct part *part);

/* Of the parts planned by another view than this, one that has stood the longest of its view; NULL: there is none. It stays in. */
struct part *movable_outdated(const struct movable *movable, const struct detours *now);

void movable_free(struct movable *movable);	/* what is behind it; the parts stay the caller's */

#endif
