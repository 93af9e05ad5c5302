/* Questions that are no error: see topics.c. For this folder and its tests. */
#ifndef MFDRELAY_CATALOGUE_TOPICS_H
#define MFDRELAY_CATALOGUE_TOPICS_H

#include <stddef.h>
#include "catalogue/catalogue.h"

/* As struct reply_match has them. */
extern const char topic_taken_fragments[];

/* Their outcome says nothing: the relay has done its part. */
extern const struct cause topic_taken_causes[];
extern const size_t topic_taken_count;

#endif
