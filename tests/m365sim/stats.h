/* Counts for tests and people: DIR/stats.json, written each second when something changed, at SIGUSR1, and
 * at the end. */
#ifndef M365SIM_STATS_H
#define M365SIM_STATS_H

#define STATS(X) \
	X(messages) X(bytes) X(messages_refused) X(throttled) X(recipients_refused) \
	X(token_requests) X(tokens_issued) X(token_refusals) \
	X(auth_ok) X(auth_failed) X(authenticated_now) X(authenticated_peak) \
	X(tls_handshakes) X(tls_failures) X(protocol_errors) \
	/* what a correct client never causes */ \
	X(bare_lf) X(bare_cr) X(nul_bytes) X(undeclared_8bit) X(unstuffed_dots) X(long_content_lines) \
	X(command_too_long) X(lf_commands) X(auth_plaintext) X(plaintext_after_starttls) \
	X(unoffered_pipelining) X(early_content) X(unoffered_parameters)

enum stat_name {
#define X(name) STAT_##name,
	STATS(X)
#undef X
	STAT_COUNT
};

void stats_add(enum stat_name what, long n);
void stats_raise(enum stat_name what, long n);	/* to n, when it is less */
long stats_get(enum stat_name what);

/* Write the file. force: also when nothing has changed; each write has its own "serial". */
void stats_write(int force);

#endif
