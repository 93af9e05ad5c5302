/* One SMTP connection: what smtp.c, smtp_auth.c and smtp_data.c share. */
#ifndef M365SIM_SMTP_SESSION_H
#define M365SIM_SMTP_SESSION_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "content.h"
#include "faults.h"
#include "front.h"
#include "stream.h"

#define SMTP_LINE       512		/* octets of a command line, with its CRLF */
#define SMTP_AUTH_LINE  12288		/* of an answer to 334 */
#define SMTP_REPLY_MAX  2048

struct session {
	struct connection *connection;
	struct stream *stream;
	bool over;			/* close after this command */
	bool polite;			/* ... with what is still to be sent, and close_notify */
	char override[FAULT_TEXT_MAX];	/* to be sent instead of the next reply; "" none */
	bool huge_line, half;		/* the same: 100 KB of it; half of it, and the end */
	char extra[FAULT_TEXT_MAX];	/* to be sent behind the next reply; "" none */
	char replied[SMTP_REPLY_MAX];	/* the last reply */

	bool greeted, extended;		/* HELO or EHLO; EHLO */
	char helo[256];
	char offered[1024];		/* keywords of the EHLO answer, each between blanks */
	const char *mechanism;		/* authenticated by; NULL: not */
	char user[321];
	unsigned auth_failures;
	struct session *next_authenticated;

	bool has_sender;
	bool refused;				/* MAIL or a RCPT: what was sent with it can't know */
	char sender[1100];
	json_t *mail_parameters, *recipients, *recipient_parameters;
	unsigned long long declared_size;	/* SIZE= of MAIL; 0: none */
	bool binary, eight_bit;			/* BODY= of MAIL */

	struct content content;
	struct incoming *incoming;
	unsigned long long received;	/* content octets so far */
	unsigned chunks;
	bool content_failed;		/* until the transaction ends */
	bool answered;			/* before the content was read */
	struct fault content_fault;	/* of this message's content; number 0: none */
	bool has_content_fault;
};

/* Send one reply (several lines: each with its code, parted by CRLF) and log it. The final CRLF is added. */
void session_reply(struct session *session, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "[SIM.prod.outlook.com 2026-11-23T18:29:00.000Z 08DC...]", as most refusals end. */
const char *session_trailer(const struct session *session, char *dst, size_t size);
#define SESSION_TRAILER 100

/* Apply a fault. Returns whether the command goes on as usual; else it has been answered (or the session is
 * over). */
bool session_apply(struct session *session, const struct fault *fault);

/* Apply the fault of a stage, if there is one. Returns as session_apply does. */
bool session_step(struct session *session, enum stage stage, const char *subject);

/* The connection ends here, now. */
void session_cut(struct session *session, bool reset);
void session_stall(struct session *session);

/* Read a line of at most size - 1 bytes, logged unless it is secret. LINE_END ends the session. */
enum line session_line(struct session *session, char *dst, size_t size, size_t *n, bool secret);

/* Forget the transaction. */
void session_reset(struct session *session);

bool session_offers(const struct session *session, const char *keyword);

/* smtp_auth.c */
void smtp_auth(struct session *session, char *arguments);
bool smtp_is_mechanism_offered(const struct session *session, const char *mechanism);
void smtp_auth_forget(struct session *session);
unsigned smtp_auth_rank(const struct session *session);	/* older authenticated sessions of the same user */

/* smtp_data.c */
void smtp_data(struct session *session, char *arguments);
void smtp_bdat(struct session *session, char *arguments);

#endif
