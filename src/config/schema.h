/* Every key of the config file in one table: what it takes, within which range, by default, and where it is put. The
 * loader, the tests of mfdrelay.conf(5) and of the sample, and "did you mean" all read it. */
#ifndef MFDRELAY_CONFIG_SCHEMA_H
#define MFDRELAY_CONFIG_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum key_type {
	KEY_GROUP,	/* { ... }: with size, a struct of its own behind a pointer; else part of the one around it */
	KEY_LIST,	/* ( { ... }, ... ): an array of structs, each size long, at most max */
	KEY_TEXT,	/* char *, at most max octets, printable */
	KEY_TEXTS,	/* char **: one text or several, at most max of them */
	KEY_PREFIXES,	/* struct prefix *: likewise */
	KEY_UPSTREAMS,	/* likewise, names of upstreams; stored when all upstreams are known */
	KEY_SWITCH,	/* bool: true or false */
	KEY_WORDS,	/* unsigned: one of words or several; the bit 1 << n stands for words[n] */
	KEY_WORD,	/* an enum: one of words */
	KEY_NUMBER,	/* min to max; an unsigned integer of size octets */
	KEY_SIZE,	/* the same, with K, M, G in quotes */
	KEY_DATE,	/* "2027-05-01": seconds since 1970, an int64_t */
	KEY_DURATION,	/* the same in milliseconds, with s, m, h, d in quotes */
};

struct key {
	const char *path;		/* "limits.idle"; the keys of a list's entries: "devices.name" */
	enum key_type type;
	bool required;
	const char *fallback;		/* the default, as the file would have it; in parentheses where it is found out
					   while loading; NULL: none */
	uint64_t min, max;		/* the range; of a KEY_WORD, min is the number of its first word */
	const char *const *words;	/* of a KEY_WORD and KEY_WORDS, NULL at the end; of others: words[n] may stand for the number n */
	size_t offset, size;		/* in the struct of the group around it */
	size_t count_offset;		/* of the size_t that holds how many */
	const char *help;
	const char *hint;		/* of a KEY_WORD: what a wrong word may have been meant to be; NULL: nothing to say */
};

extern const struct key schema[];
extern const size_t schema_count;

/* The key name within the group path ("" is the file itself), or NULL. */
const struct key *schema_find(const char *path, const char *name);

/* Whether key stands directly in the group path. */
bool schema_is_in(const struct key *key, const char *path);

/* The last part of key's path. */
const char *schema_name(const struct key *key);

/* For an unknown name in the group path: a key there that it may have been meant to be, or else one of exactly that
 * name that stands somewhere else. NULL where neither is found. */
const struct key *schema_suggest(const char *path, const char *name);

#endif
