#include "sender/follow.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "catalogue/catalogue.h"
#include "spool/spool.h"

struct watched {
	char id[SPOOL_ID_MAX + 1]; /* "": free */
	json_t *results;
};

struct follow {
	struct watched watched[FOLLOW_MAX];
	size_t next; /* whose place is taken next */
};

struct follow *follow_new(void)
{
	return xcalloc(1, sizeof(struct follow));
}

static const struct watched *find(const struct follow *follow, const char *id)
{
	for (size_t i = 0; i < FOLLOW_MAX; i++)
		if (follow->watched[i].id[0] != '\0' && strcmp(follow->watched[i].id, id) == 0)
			return &follow->watched[i];
	return NULL;
}

void follow_begin(struct follow *follow, const char *id)
{
	struct watched *watched = &follow->watched[follow->next];

	if (find(follow, id) != NULL)
		return;
	json_decref(watched->results);
	str_copy(watched->id, sizeof watched->id, str_of(id));
	watched->results = json_array();
	follow->next = (follow->next + 1) % FOLLOW_MAX;
}

void follow_result(struct follow *follow, const char *id, const char *event, const char *to,
    const char *upstream, const char *reply, const struct failure *why, int64_t next_ms)
{
	const struct watched *watched = find(follow, id);
	json_t *result;

	if (watched == NULL || json_array_size(watched->results) >= FOLLOW_RESULTS_MAX)
		return;
	result = json_pack("{s:s, s:s, s:s, s:s, s:I}", "event", event, "to", to, "upstream", upstream,
	    "reply", why != NULL ? why->text : reply, "next_ms", (json_int_t)next_ms);
	if (why != NULL) {
		json_object_set_new(result, "class", json_string(outcome_name(why->cause->outcome)));
		json_object_set_new(result, "who_acts", json_string(actor_words(why->cause->actor)));
		json_object_set_new(result, "cause", json_string(why->cause->cause));
		json_object_set_new(result, "remedy", json_string(why->cause->remedy));
	}
	json_array_append_new(watched->results, result);
}

json_t *follow_results(const struct follow *follow, const char *id)
{
	const struct watched *watched = find(follow, id);

	return watched != NULL ? json_copy(watched->results) : json_array();
}

void follow_free(struct follow *follow)
{
	for (size_t i = 0; follow != NULL && i < FOLLOW_MAX; i++)
		json_decref(follow->watched[i].results);
	free(follow);
}
