/* The inside of a client. client.c has the connection and its states; client_dial.c and client_proxy.c the way to the host,
 * client_login.c AUTH, client_prepare.c and client_mail.c the transaction; client_steps.c tells who looks on; client_settings.c
 * makes what connections to one upstream share. */
#ifndef MFDRELAY_SENDER_CLIENT_PRIVATE_H
#define MFDRELAY_SENDER_CLIENT_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/secret.h"
#include "config/config.h"
#include "net/conn.h"
#include "net/mx.h"
#include "net/resolver.h"
#include "catalogue/catalogue.h"
#include "sender/client.h"
#include "smtp/data.h"
#include "smtp/reply.h"

struct event;
struct outgoing;
struct token_wait;

/* RFC 5321 section 4.5.3.2: how long MAIL and RCPT may take. */
#define COMMAND_TIMEOUT_MS 300000

/* For a connection, and for a handshake. */
#define CONNECT_TIMEOUT_MS 30000

/* What we wait for. */
enum client_state {
	ST_RESOLVE,	 /* the host's addresses */
	ST_CONNECT,
	ST_PROXY,	 /* the proxy's answers, before the host's connection is ours */
	ST_TLS_IMPLICIT, /* the handshake, before the banner */
	ST_BANNER,
	ST_EHLO,	 /* its reply, in the clear */
	ST_STARTTLS,
	ST_TLS,		 /* the handshake */
	ST_EHLO_TLS,	 /* the reply to the EHLO that counts */
	ST_TOKEN,
	ST_AUTH,	 /* 235, or a 334 that asks for what follows */
	ST_IDLE,
	ST_PREPARE,	 /* the next look at what is to be repaired in the content */
	ST_ENVELOPE,	 /* replies to MAIL, RCPT ..., DATA */
	ST_CONTENT,	 /* room to send more */
	ST_FINAL,	 /* the reply to the content */
	ST_RSET,
	ST_QUIT,
	ST_OVER,
};

struct client {
	struct client_settings *settings;
	const char *mailbox;		/* whom mail without a sender is sent as, and the login's name without user; NULL: none */
	client_fn *fn;
	void *arg;
	enum client_state state;
	enum client_step step;		/* what is to be proved next */
	struct conn *conn;
	struct resolver_query *query;
	const char *host;		/* the one that is tried or connected to, before that what the config says */
	struct mx_list hosts;		/* of the domain, where no host is named */
	size_t host_next;
	struct net_address addresses[RESOLVER_ADDRESSES_MAX];
	size_t address_count, address_next;
	struct proxy_conversation *proxy;	/* ST_PROXY; else NULL */
	struct token_wait *token_wait;
	struct secret token;		/* the one that this session is opened with */
	struct secret answers[2];	/* what the next 334s are answered with */
	size_t answer_next;
	int64_t login_end_ms;		/* monotonic; the session is not used beyond it */
	char challenge[256];		/* JSON of a 334 that reports an error */
	struct reply reply;
	struct ehlo ehlo;		/* of the EHLO that counts: after TLS, where there is TLS */
	bool token_is_refused;		/* the session has to end */
	bool token_was_stale;		/* it had been replaced by then */
	bool says_helo;			/* EHLO was refused */
	bool in_step;			/* the end comes where the upstream waits for a command: it is told QUIT */
	struct event *ended;		/* CLIENT_ENDED is told from the loop */
	struct failure failure;
	bool has_failure;
	struct failure passed_by;	/* of the first server that was passed by; it counts where no other can be reached */
	bool has_passed_by;
	/* the attempt */
	struct attempt *attempt;
	struct outgoing *outgoing;	/* what goes out of it; NULL for a rehearsal */
	struct event *turn;		/* ST_PREPARE or ST_CONTENT goes on; NULL: never needed */
	size_t attempts;		/* so far, on this connection */
	size_t sent, answered;		/* commands of the envelope: MAIL 0, RCPT 1..n, DATA n+1 */
	size_t accepted;
	bool bdat, mail_refused;
	uint64_t content_left;		/* octets of the content that have not been sent */
	struct data_stuffer stuffer;
};

static inline const struct upstream_config *upstream_of(const struct client *c)
{
	return c->settings->upstream;
}

/* client_steps.c: tell who looks on that the present step is proved and which comes next, or that it has failed. */
void client_proved(struct client *c, enum client_step next);
void client_not_proved(struct client *c, const struct failure *why);

/* client_dial.c: ST_RESOLVE and ST_CONNECT; and from one address to the next, or the next host's: false when there is none. */
void client_begin_dial(struct client *c);
void client_connect_next(struct client *c);
bool client_dial_on(struct client *c);

/* client_proxy.c: whose address is looked up on the way to host: the proxy's, where there is one; and ST_PROXY. */
struct proxy_conversation;
struct resolver_query *client_look_up(struct client *c, const char *host, resolver_fn *fn);
void client_begin_proxy(struct client *c);
void client_on_proxy_input(struct client *c);
void client_end_proxy(struct client *c);

/* client.c: the connection to the host stands. */
void client_on_connected(struct client *c);

/* client.c: what a connection tells, as net/conn.h has it. */
void client_on_conn(void *arg, enum conn_event event);

/* client.c: what a state sends, and how long it waits. */
void client_enter(struct client *c, enum client_state state);

/* The connection is over, because of why: a transaction under way is concluded with it, before that it is the road's. */
void client_fail(struct client *c, const struct failure *why);
void client_fail_trouble(struct client *c, enum road_trouble trouble, const char *text);
void client_fail_reply(struct client *c, enum smtp_phase phase);

/* The same between two commands of ours, none of which waits for its answer: with a QUIT, unless the upstream has said 421. */
void client_refused(struct client *c, const struct failure *why);
void client_end(struct client *c);

/* Until suspect_end() what is done is done for the message under way, if there is one. */
void client_begin_work(const struct client *c);

/* The same for no fault of the attempt's: it is given back as if it had never been tried. */
void client_break_off(struct client *c, const char *text);

/* Hand the attempt back: it has its results. */
void client_conclude(struct client *c);

/* A command, now: "EHLO " and its argument, which may be "". CRLF is added. */
void client_send_line(struct client *c, const char *command, const char *argument);

/* client_login.c: what the last reply means; a token that it refuses, at whatever phase, is dropped. */
void client_judge(struct client *c, struct failure *why, enum smtp_phase phase);

/* client_login.c: from the EHLO that counts to ST_IDLE. */
void client_begin_login(struct client *c);
void client_begin_token(struct client *c);
void client_send_auth(struct client *c);
void client_on_auth_reply(struct client *c);
void client_wipe_login(struct client *c);

/* client_prepare.c: what goes out of the attempt's message is found out, before anything is said of it. */
void client_begin_prepare(struct client *c);
void client_forget_outgoing(struct client *c);

/* What takes long, there or in ST_CONTENT, goes on in the next round of the loop. */
void client_next_turn(struct client *c);

/* client_mail.c: one mail transaction. */
void client_begin_envelope(struct client *c);
void client_on_envelope_reply(struct client *c);
void client_begin_content(struct client *c);

/* The attempt fails before anything was said of it; the session goes on. */
void client_refuse(struct client *c, enum road_trouble trouble, const char *text);
void client_go_on_with_content(struct client *c);
void client_on_early_reply(struct client *c);
void client_on_final_reply(struct client *c);

#endif
