#include "sender/expiries.h"

#include "base/clock.h"
#include "base/log.h"
#include "config/config.h"
#include "config/expiry.h"

#define TEXT_SIZE 400

struct visit {
	const char *upstream; /* its name; NULL: what devices are shown is no upstream's */
	int64_t now_s;
	json_t *list, *alarms;
};

static void visit_all(const struct config *config, expiry_fn *fn, struct visit *visit)
{
	for (size_t i = 0; i < config->upstream_count; i++) {
		visit->upstream = config->upstreams[i].name;
		expiry_each(&config->upstreams[i], fn, visit);
	}
	visit->upstream = NULL;
	expiry_each_shown(config, fn, visit);
}

static void log_one(void *arg, const struct expiry *expiry)
{
	static const enum log_level levels[] = {[EXPIRY_60_DAYS] = LOG_LEVEL_NOTICE,
	    [EXPIRY_30_DAYS] = LOG_LEVEL_WARNING,
	    [EXPIRY_7_DAYS] = LOG_LEVEL_ERR};
	const struct visit *visit = arg;
	enum nearness nearness = expiry_nearness(expiry, visit->now_s);
	char text[TEXT_SIZE];

	if (nearness != EXPIRY_FAR)
		log_event(levels[nearness], "credential-expires",
		    kv_str("upstream", visit->upstream != NULL ? visit->upstream : ""),
		    kv_i64("days", (expiry->at_s - visit->now_s) / DAY_S),
		    kv_words("text", expiry_text(text, sizeof text, expiry, visit->now_s)));
}

void expiries_log(const struct config *config)
{
	struct visit visit = {.now_s = clock_wall_ms() / 1000};

	visit_all(config, log_one, &visit);
}

static void list_one(void *arg, const struct expiry *expiry)
{
	const struct visit *visit = arg;
	enum nearness nearness = expiry_nearness(expiry, visit->now_s);
	char at[40], text[TEXT_SIZE];

	if (nearness == EXPIRY_FAR)
		return;
	json_array_append_new(visit->list,
	    json_pack("{s:s?, s:s, s:s, s:s, s:I, s:s}", "upstream", visit->upstream, "key", expiry->key,
		"what", expiry->what, "at", clock_rfc3339(at, sizeof at, expiry->at_s * 1000), "days",
		(json_int_t)((expiry->at_s - visit->now_s) / DAY_S), "text",
		expiry_text(text, sizeof text, expiry, visit->now_s)));
	if (nearness == EXPIRY_7_DAYS)
		json_array_append_new(visit->alarms,
		    visit->upstream != NULL ? json_sprintf("upstream %s: %s", visit->upstream, text)
					    : json_string(text));
}

json_t *expiries_json(const struct config *config, json_t *alarms)
{
	struct visit visit = {.now_s = clock_wall_ms() / 1000, .list = json_array(), .alarms = alarms};

	visit_all(config, list_one, &visit);
	return visit.list;
}
