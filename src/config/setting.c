#include "config/setting.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "config/config.h"
#include "config/schema.h"
#include "config/source.h"
#include "config/values.h"

static void *place_of(const struct key *key, void *target)
{
	return (char *)target + key->offset;
}

void setting_put_pointer(const struct key *key, void *target, void *pointer)
{
	memcpy(place_of(key, target), &pointer, sizeof pointer);
}

void setting_put_count(const struct key *key, void *target, size_t count)
{
	memcpy((char *)target + key->count_offset, &count, sizeof count);
}

static void put_number(const struct key *key, void *target, uint64_t value)
{
	uint16_t half = (uint16_t)value;
	uint32_t whole = (uint32_t)value;

	if (key->size == sizeof half)
		memcpy(place_of(key, target), &half, sizeof half);
	else if (key->size == sizeof whole)
		memcpy(place_of(key, target), &whole, sizeof whole);
	else
		memcpy(place_of(key, target), &value, sizeof value);
}

static bool parse_number(const struct key *key, const char *text, uint64_t *value)
{
	for (size_t i = 0; key->words != NULL && key->words[i] != NULL; i++) {
		if (strcmp(text, key->words[i]) == 0) {
			*value = key->type == KEY_WORD ? key->min + i : i;
			return true;
		}
	}
	switch (key->type) {
	case KEY_SIZE:
		return value_size(text, value);
	case KEY_DURATION:
		return value_duration(text, value);
	case KEY_NUMBER:
		return value_number(text, value);
	default:
		return false;
	}
}

static const char *number_text(const struct key *key, char *dst, size_t size, uint64_t value)
{
	if (key->type == KEY_SIZE)
		return value_size_text(dst, size, value);
	if (key->type == KEY_DURATION)
		return value_duration_text(dst, size, value);
	snprintf(dst, size, "%" PRIu64, value);
	return dst;
}

static const char *what_it_takes(const struct key *key)
{
	static const char *const takes[] = {
	    [KEY_GROUP] = "a group: { ... }",
	    [KEY_LIST] = "a list of groups: ( { ... }, { ... } )",
	    [KEY_TEXT] = "text in quotes",
	    [KEY_TEXTS] = "text in quotes, or several: [ \"...\", \"...\" ]",
	    [KEY_PREFIXES] = "an address in quotes, or several: [ \"...\", \"...\" ]",
	    [KEY_UPSTREAMS] = "the name of an upstream in quotes, or several: [ \"...\", \"...\" ]",
	    [KEY_WORD] = "a word in quotes",
	    [KEY_WORDS] = "a word in quotes, or several: [ \"...\", \"...\" ]",
	    [KEY_SWITCH] = "true or false, without quotes",
	    [KEY_NUMBER] = "a whole number",
	    [KEY_SIZE] = "octets, or a text such as \"64K\", \"35M\" or \"1G\"",
	    [KEY_DATE] = "a day such as \"2027-05-01\"",
	    [KEY_DURATION] = "seconds, or a text such as \"30s\", \"5m\", \"1h\" or \"2d\"",
	};

	return takes[key->type];
}

void setting_complain_of_type(const struct source *source, const config_setting_t *at, const struct key *key)
{
	source_error(source, at, "%s takes %s", key->path, what_it_takes(key));
}

/* A number as the file has it, quoted or not. NULL where it is neither. */
static const char *scalar_text(const config_setting_t *setting, char *dst, size_t size)
{
	switch (config_setting_type(setting)) {
	case CONFIG_TYPE_STRING:
		return config_setting_get_string(setting);
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		snprintf(dst, size, "%lld", config_setting_get_int64(setting));
		return dst;
	default:
		return NULL;
	}
}

static void load_number(
    const struct source *source, const struct key *key, const config_setting_t *setting, void *target)
{
	char text_room[24], min[24], max[24];
	const char *text = scalar_text(setting, text_room, sizeof text_room);
	uint64_t value;

	if (text == NULL || !parse_number(key, text, &value)) {
		setting_complain_of_type(source, setting, key);
		return;
	}
	bool is_word = key->words != NULL && strcmp(text, key->words[0]) == 0;
	if (!is_word && (value < key->min || value > key->max)) {
		source_error(source, setting, "%s = %.*s is out of range; it takes %s to %s", key->path,
		    SHOWN_MAX, text, number_text(key, min, sizeof min, key->min),
		    number_text(key, max, sizeof max, key->max));
		return;
	}
	put_number(key, target, value);
}

static bool is_printable(const char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return false;
	return true;
}

const char *setting_text(
    const struct source *source, const struct key *key, const config_setting_t *setting, uint64_t max)
{
	const char *text = config_setting_get_string(setting);

	if (text == NULL) {
		setting_complain_of_type(source, setting, key);
	} else if (text[0] == '\0') {
		source_error(
		    source, setting, "%s is empty; give it a value, or leave the key out", key->path);
	} else if (strlen(text) > max) {
		source_error(
		    source, setting, "%s is longer than %" PRIu64 " characters; shorten it", key->path, max);
	} else if (!is_printable(text)) {
		source_error(source, setting, "%s holds a line break or another control character; remove it",
		    key->path);
	} else {
		return text;
	}
	return NULL;
}

static void load_date(
    const struct source *source, const struct key *key, const config_setting_t *setting, void *target)
{
	const char *text = config_setting_get_string(setting);
	int64_t at_s;

	if (text != NULL && value_date(text, &at_s))
		put_number(key, target, (uint64_t)at_s);
	else
		setting_complain_of_type(source, setting, key);
}

static void load_text(
    const struct source *source, const struct key *key, const config_setting_t *setting, void *target)
{
	const char *text = setting_text(source, key, setting, key->max);

	if (text != NULL)
		setting_put_pointer(key, target, xstrdup(text));
}

/* Which of the key's words a setting has, or -1; then it has been complained about. */
static int find_word(const struct source *source, const struct key *key, const config_setting_t *setting)
{
	const char *text = setting_text(source, key, setting, SHOWN_MAX);
	struct nearest nearest = NEAREST(text);

	if (text == NULL)
		return -1;
	for (size_t i = 0; key->words[i] != NULL; i++) {
		if (strcmp(text, key->words[i]) == 0)
			return (int)i;
		nearest_offer(&nearest, key->words[i]);
	}
	char all[128] = "";
	for (size_t i = 0; key->words[i] != NULL; i++)
		snprintf(all + strlen(all), sizeof all - strlen(all), "%s\"%s\"", i == 0 ? "" : ", ",
		    key->words[i]);
	const char *between = key->hint != NULL ? "; " : "", *hint = key->hint != NULL ? key->hint : "";
	if (nearest.best != NULL)
		source_error(source, setting,
		    "%s = \"%s\": no such word; did you mean \"%s\"? It takes %s%s%s", key->path, text,
		    nearest.best, all, between, hint);
	else
		source_error(source, setting, "%s = \"%s\": no such word; it takes %s%s%s", key->path, text,
		    all, between, hint);
	return -1;
}

static void load_word(
    const struct source *source, const struct key *key, const config_setting_t *setting, void *target)
{
	int n = find_word(source, key, setting);

	if (n >= 0)
		put_number(key, target, key->min + (uint64_t)n);
}

static void load_switch(
    const struct source *source, const struct key *key, const config_setting_t *setting, void *target)
{
	bool on = config_setting_get_bool(setting) == CONFIG_TRUE;

	if (config_setting_type(setting) != CONFIG_TYPE_BOOL)
		setting_complain_of_type(source, setting, key);
	else
		memcpy(place_of(key, target), &on, sizeof on);
}

size_t setting_entry_count(const config_setting_t *setting)
{
	return config_setting_is_aggregate(setting) ? (size_t)config_setting_length(setting) : 1;
}

const config_setting_t *setting_entry(const config_setting_t *setting, size_t i)
{
	return config_setting_is_aggregate(setting) ? config_setting_get_elem(setting, (unsigned)i) : setting;
}

bool setting_holds_entries(
    const struct source *source, const struct key *key, const config_setting_t *setting)
{
	if (config_setting_is_group(setting)) {
		setting_complain_of_type(source, setting, key);
	} else if (setting_entry_count(setting) == 0) {
		source_error(source, setting, "%s is empty; give it at least one entry, or leave the key out",
		    key->path);
	} else if (setting_entry_count(setting) > key->max) {
		source_error(source, setting, "%s has %zu entries; at most %" PRIu64 " are possible",
		    key->path, setting_entry_count(setting), key->max);
	} else {
		return true;
	}
	return false;
}

static void load_texts(
    const struct source *source, const struct key *key, const config_setting_t *setting, void *target)
{
	size_t n = 0;

	if (!setting_holds_entries(source, key, setting))
		return;
	char **texts = xcalloc(setting_entry_count(setting), sizeof *texts);
	for (size_t i = 0; i < setting_entry_count(setting); i++) {
		const char *text = setting_text(source, key, setting_entry(setting, i), ENTRY_MAX);
		if (text != NULL)
			texts[n++] = xstrdup(text);
	}
	setting_put_pointer(key, target, texts);
	setting_put_count(key, target, n);
}

static void load_prefixes(
    const struct source *source, const struct key *key, const config_setting_t *setting, void *target)
{
	size_t n = 0;

	if (!setting_holds_entries(source, key, setting))
		return;
	struct prefix *prefixes = xcalloc(setting_entry_count(setting), sizeof *prefixes);
	for (size_t i = 0; i < setting_entry_count(setting); i++) {
		const config_setting_t *entry = setting_entry(setting, i);
		const char *text = setting_text(source, key, entry, ENTRY_MAX);
		if (text != NULL && value_prefix(text, &prefixes[n]))
			n++;
		else if (text != NULL)
			source_error(source, entry,
			    "%s = \"%.*s\": no address; write \"10.1.2.17\", \"10.1.3.0/24\" or "
			    "\"fd00:3::/64\"",
			    key->path, SHOWN_MAX, text);
	}
	setting_put_pointer(key, target, prefixes);
	setting_put_count(key, target, n);
}

static void load_words(
    const struct source *source, const struct key *key, const config_setting_t *setting, void *target)
{
	uint64_t bits = 0;

	if (!setting_holds_entries(source, key, setting))
		return;
	for (size_t i = 0; i < setting_entry_count(setting); i++) {
		int n = find_word(source, key, setting_entry(setting, i));
		bits |= n >= 0 ? 1u << n : 0;
	}
	put_number(key, target, bits);
}

void setting_load(
    const struct source *source, const struct key *key, const config_setting_t *setting, void *target)
{
	switch (key->type) {
	case KEY_TEXT:
		load_text(source, key, setting, target);
		break;
	case KEY_TEXTS:
		load_texts(source, key, setting, target);
		break;
	case KEY_PREFIXES:
		load_prefixes(source, key, setting, target);
		break;
	case KEY_WORD:
		load_word(source, key, setting, target);
		break;
	case KEY_WORDS:
		load_words(source, key, setting, target);
		break;
	case KEY_SWITCH:
		load_switch(source, key, setting, target);
		break;
	case KEY_DATE:
		load_date(source, key, setting, target);
		break;
	case KEY_NUMBER:
	case KEY_SIZE:
	case KEY_DURATION:
		load_number(source, key, setting, target);
		break;
	case KEY_GROUP:
	case KEY_LIST:
	case KEY_UPSTREAMS:
		break;
	}
}

void setting_put_default(const struct key *key, void *target)
{
	uint64_t value = 0;

	if (key->fallback == NULL || key->fallback[0] == '(') {
		if (key->type == KEY_NUMBER && key->min == 0)
			put_number(key, target, CONFIG_UNSET);
	} else if (key->type == KEY_TEXT) {
		setting_put_pointer(key, target, xstrdup(key->fallback));
	} else if (parse_number(key, key->fallback, &value)) {
		put_number(key, target, value);
	}
}
