/* One upstream tried by the sender's own client: name, connection, TLS, login, and the envelopes of mail that is not sent. */
#ifndef MFDRELAY_ONLINE_PROBE_H
#define MFDRELAY_ONLINE_PROBE_H

struct client_means;
struct findings;
struct senders;
struct upstream_config;

struct probe {
	const struct client_means *means;
	const struct upstream_config *upstream;
	const char *mailbox;		/* of upstream->mailboxes; NULL: it has no such list */
	const struct senders *senders;	/* MAIL FROM is tried with each */
	const char *recipient;		/* RCPT TO, with the first sender that is taken; NULL: none */
};

/* Run it on means->base until it is done, which the client's own limits bound: at most some minutes. findings is filled anew;
 * the caller frees it with findings_free. One connection is used, beside those of a daemon that runs. */
void probe_run(const struct probe *probe, struct findings *findings);

#endif
