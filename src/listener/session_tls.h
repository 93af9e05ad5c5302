/* TLS of a session: when it begins, whose turn it is, and what is said of its failures. Nothing here frees the session or
 * changes its state: that is session.c's. */
#ifndef MFDRELAY_LISTENER_SESSION_TLS_H
#define MFDRELAY_LISTENER_SESSION_TLS_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

struct session;

/* The context of this peer's TLS, or NULL: it has none. */
SSL_CTX *session_tls_context(const struct session *session);

/* Whether nothing but STARTTLS is taken yet, and the reply that says so. */
bool session_needs_tls(const struct session *session);
extern const char session_tls_needed[];

/* Ask for the handshake's turn, by limits.handshakes_per_second: once, before the device is told to begin. turn_ms of the session
 * is how long it is to wait. Returns false where it is refused, which has been logged. */
bool session_tls_take_turn(struct session *session);

/* Begin the handshake when our reply has left. What has come behind STARTTLS in plain text is refused here: it was said by
 * anybody (CVE-2011-0411). Returns false when the session is at its end. */
bool session_tls_begin(struct session *session);

/* The device begins with TLS where there is none: log it. */
void session_tls_log_unexpected(const struct session *session);

/* Its handshake has failed; why NULL: as the connection says. Returns false when there is nothing to say of it: who closes
 * before a word has tried whether the port is open. */
bool session_tls_failed(struct session *session, const char *why);

#endif
