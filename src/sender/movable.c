#include "sender/movable.h"

#include <stdlib.h>

#include "base/mem.h"
#include "sender/detour.h"
#include "sender/scheduler.h"

/* There only while it has a part. */
struct view {
	struct detours detours;
	TAILQ_HEAD(, part) parts;
	SLIST_ENTRY(view) next;
};

static struct view *view_of(struct movable *movable, const struct detours *detours)
{
	struct view *view;

	SLIST_FOREACH(view, &movable->views, next)
		if (detours_equal(&view->detours, detours))
			return view;
	view = xcalloc(1, sizeof *view);
	view->detours = *detours;
	TAILQ_INIT(&view->parts);
	SLIST_INSERT_HEAD(&movable->views, view, next);
	return view;
}

void movable_add(struct movable *movable, struct part *part)
{
	if (part->seen == NULL)
		return;
	part->view = view_of(movable, part->seen);
	TAILQ_INSERT_TAIL(&part->view->parts, part, of_view);
}

void movable_remove(struct movable *movable, struct part *part)
{
	struct view *view = part->view;

	if (view == NULL)
		return;
	part->view = NULL;
	TAILQ_REMOVE(&view->parts, part, of_view);
	if (!TAILQ_EMPTY(&view->parts))
		return;
	SLIST_REMOVE(&movable->views, view, view, next);
	free(view);
}

struct part *movable_outdated(const struct movable *movable, const struct detours *now)
{
	const struct view *view;

	SLIST_FOREACH(view, &movable->views, next)
		if (!detours_equal(&view->detours, now))
			return TAILQ_FIRST(&view->parts);
	return NULL;
}

void movable_free(struct movable *movable)
{
	struct view *view;

	while ((view = SLIST_FIRST(&movable->views)) != NULL) {
		SLIST_REMOVE_HEAD(&movable->views, next);
		free(view);
	}
}
