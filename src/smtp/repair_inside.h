/* What the files of repair share: the plan from within, and one header as it was read. See repair.h. */
#ifndef MFDRELAY_SMTP_REPAIR_INSIDE_H
#define MFDRELAY_SMTP_REPAIR_INSIDE_H

#include "smtp/repair.h"
#include "smtp/wrap.h"

/* One change: removed octets at offset give way to text, or go through wrap. */
struct piece {
	uint64_t offset, removed;
	uint64_t bytes;			/* that come out */
	bool is_wrap;
	enum wrap_kind wrap;
	size_t text;			/* where it stands in plan->text */
};

struct repair_plan {
	struct piece *pieces;		/* by offset; those at one offset in the order they go out */
	size_t count;
	struct buf text;
	uint64_t stored;
	char names[320], left[128];
	bool is_full;			/* a change has found no room */
	bool lacks_identity;
	char noted[320];		/* names of what is to be the next change */
};

/* Add a change, under the names noted for it. An insertion comes behind others at its offset, or before them where first
 * is true. Does nothing but say "limit" where the plan is full. */
void plan_replace(struct repair_plan *plan, uint64_t offset, uint64_t removed, struct str text);
void plan_insert(struct repair_plan *plan, uint64_t offset, struct str text, bool first);
void plan_wrap(struct repair_plan *plan, uint64_t offset, uint64_t removed, enum wrap_kind wrap, uint64_t bytes);

/* Whether so many changes more, with texts of so many octets in all, find room. */
bool plan_has_room(const struct repair_plan *plan, size_t pieces, size_t text);

/* Note a name for the change that is added next; it counts only when that one is. */
void plan_name(struct repair_plan *plan, const char *name);

/* Nothing comes of what was noted. */
void plan_forget_names(struct repair_plan *plan);

void plan_leave(struct repair_plan *plan, const char *name);

/* A field of a block: offsets in the block's bytes. */
struct field {
	size_t start, name_n;
	size_t value;			/* behind the colon */
	size_t end;			/* behind its last CRLF */
};

/* A header, of the message or of a part. */
struct block {
	const struct repair_facts *facts;
	struct repair_plan *plan;
	uint64_t offset;		/* of bytes in the content */
	struct str bytes;		/* the fields, without the empty line behind them */
	const struct field *fields;
	size_t count;
	bool top;			/* the message's own */
	bool has_trace;			/* the first field is ours */
	bool wants_blank;		/* a body follows, and no empty line is between */
};

struct str block_name(const struct block *block, const struct field *field);

/* The first field of that name behind our own, or NULL. */
const struct field *block_find(const struct block *block, const char *name);

/* The unfolded value of the first field of that name, added to out; none: nothing. */
void block_value(const struct block *block, const char *name, struct buf *out);

/* Put what is to be changed in block into its plan. */
void block_repair(const struct block *block);

/* Whether the identity takes the place of From's address. */
bool block_from_is_replaced(const struct block *block);

/* The value of a From, To, Cc ... or of parameters, repaired; all unfolded (repair_values.c). Each adds the new value to
 * out and names what it did in the plan. */
void value_addresses(const struct block *block, struct str value, struct buf *out);
void value_params(const struct block *block, struct str value, struct buf *out);
void value_unstructured(const struct block *block, struct str value, struct buf *out);
void value_structured(const struct block *block, struct str value, struct buf *out);

/* value in UTF-8, whatever it was. */
void value_to_utf8(const struct block *block, struct str value, struct buf *out);

/* A From as it should be (repair_from.c). */
struct from {
	struct buf value;		/* the new one; empty where none can be made */
	bool was_usable;		/* the old one named somebody */
	bool stays;			/* the identity leaves it alone, name and all */
	bool replaced;			/* the identity has taken its address's place */
	struct buf reply_to;		/* the old one, as a Reply-To */
};

/* value is unfolded; "" where there is none. */
void from_make(const struct block *block, struct str value, struct from *from);
void from_free(struct from *from);

#endif
