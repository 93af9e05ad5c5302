/* What the relay itself answers to devices: see own.c. For this folder and its tests. */
#ifndef MFDRELAY_CATALOGUE_OWN_H
#define MFDRELAY_CATALOGUE_OWN_H

#include <stddef.h>
#include "catalogue/catalogue.h"

/* The outcome says nothing: nothing was accepted. */
struct own_row {
	const char *fragment;	/* of the listener's text, as struct reply_match has it */
	struct cause cause;
};

extern const struct own_row own_rows[];
extern const size_t own_row_count;

#endif
