/* The SPF of a sender's domain looked up, and this machine's public address compared with it. */
#ifndef MFDRELAY_ONLINE_SPF_CHECK_H
#define MFDRELAY_ONLINE_SPF_CHECK_H

struct event_base;
struct resolver;
struct step;

/* Fill step for mail from domain by address ("203.0.113.7", "2001:db8::7"; "": not known). Runs base until it is done. Where SPF
 * does not list the address that is a warning: what receivers make of it is theirs. */
void spf_check(struct step *step, struct event_base *base, struct resolver *resolver, const char *domain, const char *address);

#endif
