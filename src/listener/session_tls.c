#include "listener/session_tls.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "base/ration.h"
#include "config/config.h"
#include "listener/handshake.h"
#include "listener/rates.h"
#include "listener/session_inside.h"
#include "net/conn.h"
#include "net/tls.h"

#define TURN_WAIT_MS 5000 /* devices wait 20 s and more */
#define SHARE	     4	  /* an address has a quarter of limits.handshakes_per_second */

SSL_CTX *session_tls_context(const struct session *s)
{
	return listen_has_tls(s->listen) ? handshakes_context(s->env->tls, s->tls_min) : NULL;
}

const char session_tls_needed[] = "530 5.7.0 Must issue a STARTTLS command first";

bool session_needs_tls(const struct session *s)
{
	return !s->tls && s->listen->tls == LISTEN_TLS_REQUIRED;
}

/* The relay makes the certificate of this peer itself, as always for old TLS. */
static bool made_by_relay(const struct session *s)
{
	return config_makes_certificate(s->env->config) || s->tls_min < TLS_MIN_1_2;
}

void session_tls_log_unexpected(const struct session *s)
{
	const char *remedy = "switch TLS (SSL) off in the device, or set tls = \"offered\"; in listen";
	uint64_t withheld;

	if (listen_has_tls(s->listen))
		remedy = made_by_relay(s)
			     ? "the certificate is being made: try again; or see tls-unavailable in the log"
			     : "see tls-unavailable in the log";

	if (quiet_lets(&session_quiet(s)->handshakes, &withheld, clock_mono_ms()))
		log_event(LOG_LEVEL_WARNING, "tls-unexpected", kv_str("peer", s->peer_text),
		    kv_str("why", "the device begins with TLS, and there is none"), kv_str("remedy", remedy),
		    kv_u64("withheld", withheld));
}

/* --- whose turn it is --- */

static int64_t take_turn(struct ration *ration, unsigned per_second, unsigned burst, int64_t now_ms)
{
	const struct ration_rate rate = {.every_us = 1000000 / per_second, .burst = burst};

	return ration_take(ration, &rate, TURN_WAIT_MS, now_ms);
}

/* A handshake costs us a thousand times what it costs a peer that only pretends to shake hands. Who is listed does not wait
 * for strangers. */
bool session_tls_take_turn(struct session *s)
{
	unsigned all = s->env->config->limits.handshakes_per_second;
	unsigned share = all > SHARE ? all / SHARE : 1;
	int64_t now_ms = clock_mono_ms(), own_ms, all_ms = 0;
	uint64_t withheld;

	s->turn_ms = 0;
	if (all == 0 || s->env->handshake_rates == NULL)
		return true;
	own_ms = take_turn(rates_of(s->env->handshake_rates, &s->counted), share, all, now_ms);
	if (own_ms >= 0 && s->place == NULL)
		all_ms = take_turn(&s->env->handshakes_of_strangers, all, all, now_ms);
	s->turn_ms = own_ms > all_ms ? own_ms : all_ms;
	if (own_ms >= 0 && all_ms >= 0)
		return true;
	count(&s->env->counters->sessions_refused, 1);
	if (quiet_lets(&session_quiet(s)->handshakes, &withheld, now_ms))
		log_event(LOG_LEVEL_WARNING, "handshake-refused", kv_str("peer", s->peer_text),
		    kv_str("limit", "limits.handshakes_per_second"), kv_u64("of_strangers", all),
		    kv_u64("of_an_address", share),
		    kv_str("exceeded", own_ms < 0 ? "by this address" : "by strangers"),
		    kv_u64("withheld", withheld));
	return false;
}

/* --- the handshake --- */

static void log_plain_text(const struct session *s)
{
	uint64_t withheld;

	if (quiet_lets(&session_quiet(s)->handshakes, &withheld, clock_mono_ms()))
		log_event(LOG_LEVEL_WARNING, "starttls-refused", kv_str("peer", s->peer_text),
		    kv_str("why",
			"plain text came behind STARTTLS; somebody between the device and us may have put it "
			"there"),
		    kv_u64("withheld", withheld));
}

bool session_tls_begin(struct session *s)
{
	if (s->handshaking || conn_pending(s->conn) > 0)
		return true;
	switch (conn_tls_accept(s->conn, session_tls_context(s), handshake_min_version(s->tls_min))) {
	case CONN_TLS_BEGUN:
		s->handshaking = true;
		return true;
	case CONN_TLS_PLAIN_TEXT:
		log_plain_text(s);
		return false;
	case CONN_TLS_GONE:
		session_lost(s, "gone before the TLS handshake");
		return false;
	}
	return false;
}

bool session_tls_failed(struct session *s, const char *why)
{
	const struct tls_hello *hello = conn_tls_hello(s->conn);
	char text[600];
	uint64_t withheld;

	if (hello == NULL || (!hello->seen && !conn_error_is_tls(s->conn)))
		return false;
	count(&s->env->counters->tls_failures, 1);
	if (why == NULL)
		why = conn_error(s->conn);
	snprintf(text, sizeof text, "%s%s", s->greeted ? HANDSHAKE_GREETED "; " : "", why);
	if (quiet_lets(&session_quiet(s)->handshakes, &withheld, clock_mono_ms()))
		handshake_log_failed(s->conn, s->peer_text, s->place, s->tls_min, text, withheld);
	return true;
}
