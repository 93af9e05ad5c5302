/* Who was refused because no entry of devices holds his address: told to the sender, which keeps the list that
 * `mfdrelay unknown` shows. An address is told at most twice a second, with how often it was refused. */
#ifndef MFDRELAY_LISTENER_STRANGERS_H
#define MFDRELAY_LISTENER_STRANGERS_H

#include <netinet/in.h>

struct event_base;
struct strangers;

/* fd is worker_input.peer_fd, borrowed. */
struct strangers *strangers_new(struct event_base *base, int fd);

/* He was refused, having said this of himself (cut to what is shown), the sender and a recipient; "" or NULL: nothing. Does
 * nothing where strangers is NULL. */
void strangers_note(struct strangers *strangers, const struct in6_addr *address, const char *helo, const char *sender,
    const char *recipient);

/* Tells what was not told yet. NULL is fine. */
void strangers_free(struct strangers *strangers);

#endif
