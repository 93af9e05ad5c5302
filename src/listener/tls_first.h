/* Which devices begin with TLS on a port that is not for it (HP 477dw). Such a device takes our greeting for a broken ServerHello,
 * and fails: the next time it is not greeted first. The latest are remembered, on the page that outlives the listener
 * (base/counters.h): one fails once, not once more after every reload. */
#ifndef MFDRELAY_LISTENER_TLS_FIRST_H
#define MFDRELAY_LISTENER_TLS_FIRST_H

#include <netinet/in.h>
#include <stdbool.h>

struct counters;

/* peer (IPv4 as v4-mapped) has begun so. The one that was noted COUNTERS_TLS_FIRST before it is forgotten. */
void tls_first_note(struct counters *counters, const struct in6_addr *peer);
bool tls_first_has(const struct counters *counters, const struct in6_addr *peer);

#endif
