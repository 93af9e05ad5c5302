/* One connection to one upstream, from the look-up of its name to QUIT: a state machine that carries attempts. */
#ifndef MFDRELAY_SENDER_CLIENT_H
#define MFDRELAY_SENDER_CLIENT_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "catalogue/catalogue.h"
#include "net/mx.h"

struct client;
struct config;
struct conn;
struct counters;
struct ehlo;
struct event_base;
struct http;
struct net_address;
struct reply;
struct resolver;
struct secret;
struct token_source;
struct attempt;
struct upstream_config;

/* What a connection proves one after the other, in this order but that implicit TLS comes before the greeting. Of MAIL, RCPT
 * and RSET there are as many as it has transactions and recipients. */
enum client_step {
	CLIENT_MX,	/* where the config names a domain */
	CLIENT_DNS, CLIENT_TCP, CLIENT_GREETING, CLIENT_TLS, CLIENT_EHLO, CLIENT_TOKEN, CLIENT_AUTH, CLIENT_MAIL, CLIENT_RCPT,
	CLIENT_RSET,
};

/* What is known so far, for who looks on: all borrowed for the time of the call. */
struct client_view {
	const char *host;			/* the server's name; before it is known the domain whose MX it is */
	const struct mx_list *hosts;		/* of the domain; empty without one */
	const struct net_address *addresses;	/* of the host */
	size_t address_count;
	const struct net_address *address;	/* the one that is tried or connected to; NULL before */
	const struct conn *conn;		/* NULL before CLIENT_TCP */
	const struct ehlo *ehlo;		/* of the EHLO that counts */
	const struct reply *reply;		/* the last one; code 0 where the step has none */
	const struct secret *token;		/* CLIENT_TOKEN: never to be shown */
	const char *mailbox;			/* that it logs in as; NULL: none */
};

/* A step is proved (why NULL), or has failed. Called from where the client is at work: nothing is to be done to it there. */
typedef void client_step_fn(void *arg, enum client_step step, const struct failure *why, const struct client_view *view);

/* What all connections to one upstream share. Borrowed. */
struct client_settings {
	struct event_base *base;
	struct resolver *resolver;
	const struct upstream_config *upstream;
	const struct config *config;
	SSL_CTX *tls;			/* NULL where the upstream's tls is "none" */
	struct token_source *tokens;	/* NULL without OAuth */
	bool no_bdat;			/* out: it refused BDAT where it takes DATA */
	struct {			/* out: the domain's mail hosts, good until then (monotonic); 0: not known */
		struct mx_list list;
		int64_t until_ms;
	} mx;
	client_step_fn *step;		/* who looks on; NULL: nobody */
	void *step_arg;
};

/* What shared settings are made of; all borrowed, and must outlive them. */
struct client_means {
	struct event_base *base;
	struct resolver *resolver;
	struct http *http;
	struct counters *counters;
	const struct config *config;
};

/* Fill settings for an upstream of means->config: TLS context, tokens. Returns 0; -1 with err where its CA file can't be used.
 * Either way client_settings_free is to be called, when the last client has gone. */
int client_settings_init(struct client_settings *settings, const struct client_means *means,
    const struct upstream_config *upstream, struct err *err);
void client_settings_free(struct client_settings *settings);

enum client_event {
	CLIENT_IDLE,		/* an attempt can be given to it */
	CLIENT_DONE,		/* its attempt is concluded: every recipient has its result */
	CLIENT_ENDED,		/* the connection is over; client_failure() says why. The owner frees it from here */
};
/* From the loop. CLIENT_DONE may come from where the client is still at work: the client is not to be freed there. */
typedef void client_fn(void *arg, struct client *client, enum client_event event, struct attempt *attempt);

/* Begin to connect, start TLS and log in: as mailbox (borrowed), or as the upstream says where it is NULL. */
struct client *client_new(struct client_settings *settings, const char *mailbox, client_fn *fn, void *arg);

/* Carry an attempt (only after CLIENT_IDLE). It is given back by CLIENT_DONE. */
void client_send(struct client *client, struct attempt *attempt);

/* Say QUIT and end; CLIENT_ENDED follows. Only while idle. */
void client_quit(struct client *client);

/* Break off now: an attempt under way is concluded with class T (its CLIENT_DONE comes from inside this call), CLIENT_ENDED
 * follows. */
void client_abort(struct client *client);

bool client_is_idle(const struct client *client);
bool client_is_connecting(const struct client *client);	/* not logged in yet */

/* Whether its login's token has ended: it is to be replaced before it carries more. */
bool client_is_stale(const struct client *client);

/* Whether it was refused, at login or within a transaction, a token that had been replaced meanwhile: that says nothing about the
 * new one. The session ends either way. */
bool client_token_was_stale(const struct client *client);

/* Whether it has come as far as to log in: what it is refused from then on is about its mailbox. */
bool client_came_to_login(const struct client *client);

/* Why the connection ended outside an attempt's fate, or NULL: in order. Valid from CLIENT_ENDED on. */
const struct failure *client_failure(const struct client *client);

void client_free(struct client *client);

#endif
