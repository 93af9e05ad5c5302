#include "sender/suspect.h"

#include <stddef.h>
#include <string.h>

#include "base/counters.h"
#include "base/str.h"

static struct counters *page;

void suspect_start(struct counters *counters)
{
	page = counters;
	if (atomic_exchange(&page->sender_fault, 0) != 0 && page->in_hand[0] != '\0') {
		if (strcmp(page->suspect, page->in_hand) != 0)
			page->suspect_deaths = 0;
		memcpy(page->suspect, page->in_hand, sizeof page->suspect);
		page->suspect_deaths++;
	}
	suspect_end();
}

void suspect_begin(const char *id)
{
	if (page != NULL)
		str_copy(page->in_hand, sizeof page->in_hand, str_of(id));
}

void suspect_end(void)
{
	if (page != NULL)
		page->in_hand[0] = '\0';
}

bool suspect_is(const char *id)
{
	return page != NULL && page->suspect_deaths >= SUSPECT_DEATHS && strcmp(page->suspect, id) == 0;
}

void suspect_forget(void)
{
	page->suspect[0] = '\0';
	page->suspect_deaths = 0;
}
