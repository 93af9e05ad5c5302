#include "listener/auth_dialog.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/ration.h"
#include "config/config.h"
#include "listener/auth.h"
#include "listener/guesses.h"
#include "listener/policy.h"
#include "listener/say.h"
#include "listener/session_inside.h"
#include "listener/session_tls.h"
#include "smtp/command.h"
#include "smtp/sasl.h"

#define LOGINS_MAX 3 /* failed ones of a session */

void auth_dialog_reset(struct session *s)
{
	if (s->sasl == NULL)
		return;
	sasl_login_wipe(s->sasl);
	free(s->sasl);
	s->sasl = NULL;
}

static const char *give_up(struct session *s, const char *reply)
{
	auth_dialog_reset(s);
	s->state = S_COMMAND;
	return reply;
}

/* The time counts from when the password came, not from when it was checked: so it does not tell how long that took,
 * which differs by hash. fail2ban reads this line (contrib/fail2ban). */
static void failed(struct session *s, const char *why)
{
	uint64_t failures;
	unsigned doubled = guesses_failed(s->env->guesses, &s->peer, s->auth_ms, &failures);
	unsigned penalty_ms = s->env->login_penalty_ms << doubled;

	count(&s->env->counters->auth_failures, 1);
	count(&s->env->counters->auth_slowed, doubled > 0 ? 1 : 0);
	log_event(LOG_LEVEL_WARNING, "login-failed", kv_str("peer", s->peer_text),
	    kv_str("user", s->sasl->user), kv_u64("failures", failures), kv_u64("answered_in_ms", penalty_ms),
	    kv_str("why", why));
	s->failed_logins++;
	s->auth_ms += s->env->draining ? 0 : penalty_ms;
	s->state = S_PENALTY;
}

bool auth_dialog_is_over(const struct session *s)
{
	return s->failed_logins >= LOGINS_MAX;
}

const char *auth_dialog_refused(const struct session *s)
{
	return auth_dialog_is_over(s)
		   ? "535 5.7.8 User or password is wrong\r\n421 4.7.0 Too many failed logins, closing"
		   : "535 5.7.8 User or password is wrong";
}

/* RFC 4954 section 6: 454. Nobody has guessed wrong, as far as we know: no failure is counted, and the device tries again. */
static const char *put_off(struct session *s, int error)
{
	uint64_t withheld;

	errno = error;
	if (quiet_lets(&session_quiet(s)->refused, &withheld, clock_mono_ms()))
		log_event(LOG_LEVEL_ERR, "login-unchecked", kv_str("peer", s->peer_text),
		    kv_str("user", s->sasl->user), kv_errno(),
		    kv_str("why", "the hash of a password could not be computed"),
		    kv_str("remedy", error == ENOMEM
					 ? "give the machine, or the unit, more memory"
					 : "make a new devices.password with mfdrelay passwd: this "
					   "system cannot do that kind of hash"),
		    kv_u64("withheld", withheld));
	return "454 4.7.0 The password could not be checked (see login-unchecked in the log): try again "
	       "later";
}

/* The password was right; that this is not enough, only who knows it hears. No guess. */
static const char *refuse_login(
    const struct session *s, const struct device *device, const char *reply, const char *remedy)
{
	log_event(LOG_LEVEL_WARNING, "login-refused", kv_str("peer", s->peer_text),
	    kv_str("device", device->name), kv_str("reply", reply), kv_str("remedy", remedy));
	return reply;
}

static const char *log_in(struct session *s, const struct device *device)
{
	if (!config_may_log_in_as(s->place, device, &s->peer))
		return refuse_login(s, device,
		    say("535 5.7.8 From here the login is that of %s (devices.auth)", s->place->user),
		    "let the device log in as that user, or take user and password out of that entry");
	if (device->auth_requires_tls && !s->secure)
		return refuse_login(s, device,
		    say("538 5.7.11 %s is needed for a login (devices.auth_requires_tls)",
			policy_tls_needed(s)),
		    "let the device use what the reply names, and change its password: others could read it");
	s->login = device;
	s->login_missed = false;
	count(&s->env->counters->logins, 1);
	log_event(LOG_LEVEL_DEBUG, "login", kv_str("peer", s->peer_text), kv_str("user", s->sasl->user));
	return "235 2.7.0 Authentication successful";
}

static void on_checked(void *arg, const struct device *device, int error)
{
	struct session *s = arg;
	const char *reply = NULL;

	s->check = NULL;
	s->state = S_COMMAND;
	if (error != 0)
		reply = put_off(s, error);
	else if (device == NULL)
		failed(s, "no device has that user and password, from that address");
	else
		reply = log_in(s, device);
	auth_dialog_reset(s);
	session_resume(s, reply);
}

static const char *check_login(struct session *s)
{
	s->auth_ms = clock_mono_ms();
	s->check = auth_check(s->env->auth, s->sasl, &s->peer, on_checked, s);
	s->state = S_CHECK;
	return NULL;
}

static const char *take_plain(struct session *s, struct str base64)
{
	if (!sasl_decode_plain(base64, s->sasl))
		return give_up(s, "501 5.5.2 That is not base64 of a PLAIN login");
	return check_login(s);
}

static const char *take_user(struct session *s, struct str base64)
{
	if (!sasl_decode_login(base64, s->sasl->user, sizeof s->sasl->user))
		return give_up(s, "501 5.5.2 That is not base64 of a user");
	s->state = S_AUTH_PASSWORD;
	return "334 UGFzc3dvcmQ6";
}

static const char *take_password(struct session *s, struct str base64)
{
	if (!sasl_decode_login(base64, s->sasl->password, sizeof s->sasl->password))
		return give_up(s, "501 5.5.2 That is not base64 of a password");
	return check_login(s);
}

/* The prompts are what some devices compare with, to the letter. */
const char *auth_dialog_begin(struct session *s, struct str args)
{
	struct command mechanism = command_split(args);
	bool plain = str_ieq(mechanism.verb, "PLAIN");

	if (s->login != NULL)
		return "503 5.5.1 Already logged in";
	s->login_missed = true;
	if (!policy_offers_auth(s))
		return policy_refuse_auth(s);
	if (!plain && !str_ieq(mechanism.verb, "LOGIN"))
		return "504 5.5.4 Mechanisms: LOGIN PLAIN";
	s->sasl = xcalloc(1, sizeof *s->sasl);
	if (mechanism.args.n > 0)
		return plain ? take_plain(s, mechanism.args) : take_user(s, mechanism.args);
	s->state = plain ? S_AUTH_PLAIN : S_AUTH_USER;
	return plain ? "334 " : "334 VXNlcm5hbWU6";
}

const char *auth_dialog_line(struct session *s, struct str line)
{
	line = command_trim(line);
	if (str_eq(line, "*"))
		return give_up(s, "501 5.7.0 Authentication cancelled");
	if (s->state == S_AUTH_PLAIN)
		return take_plain(s, line);
	if (s->state == S_AUTH_USER)
		return take_user(s, line);
	return take_password(s, line);
}
