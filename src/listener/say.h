/* A reply that is not a literal. */
#ifndef MFDRELAY_LISTENER_SAY_H
#define MFDRELAY_LISTENER_SAY_H

/* As printf, cut at SESSION_REPLY_MAX. There is one at a time: the text is good until the next call. */
const char *say(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
