/* How much a mailbox may send, as Microsoft limits it: the rules `throttle connections N`, `per-minute N` and `per-day N`, each
 * for each user by itself, within any 60 seconds and any 24 hours. */
#ifndef M365SIM_THROTTLE_H
#define M365SIM_THROTTLE_H

struct session;

/* The refusal of this message in Microsoft's words, or NULL: then it counts. */
const char *throttle_refusal(const struct session *session);

#endif
