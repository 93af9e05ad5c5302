#include "online/describe.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/secret.h"
#include "config/config.h"
#include "config/expiry.h"
#include "config/values.h"
#include "net/conn.h"
#include "net/resolver.h"
#include "net/tls.h"
#include "online/claims.h"
#include "online/findings.h"
#include "sender/client.h"
#include "smtp/reply.h"

#define ADDRESSES_SHOWN 3

static void fact(struct step *step, const char *key, const char *value)
{
	json_object_set_new(step->facts, key, json_string(value));
}

static void fact_number(struct step *step, const char *key, int64_t value)
{
	json_object_set_new(step->facts, key, json_integer((json_int_t)value));
}

/* Words parted by blanks, as a list. */
static void fact_words(struct step *step, const char *key, const char *words)
{
	json_t *list = json_array();
	size_t n;

	for (; *words != '\0'; words += n + strspn(words + n, " ")) {
		n = strcspn(words, " ");
		json_array_append_new(list, json_stringn(words, n));
	}
	json_object_set_new(step->facts, key, list);
}

static void fact_time(struct step *step, const char *key, int64_t wall_ms)
{
	char text[40];

	fact(step, key, clock_rfc3339(text, sizeof text, wall_ms));
}

static void say(struct step *step, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct step *step, const char *format, ...)
{
	size_t n = strlen(step->text);
	va_list args;

	va_start(args, format);
	vsnprintf(step->text + n, sizeof step->text - n, format, args);
	va_end(args);
}

static const char *address_text(char *dst, size_t size, const struct net_address *address)
{
	if (address == NULL || getnameinfo((const struct sockaddr *)&address->address, address->length, dst,
				   (socklen_t)size, NULL, 0, NI_NUMERICHOST) != 0)
		snprintf(dst, size, "?");
	return dst;
}

static void describe_mx(struct step *step, const struct client_view *view)
{
	json_t *hosts = json_array();

	for (size_t i = 0; i < view->hosts->n; i++) {
		json_array_append_new(hosts, json_string(view->hosts->hosts[i].name));
		say(step, "%s%s", i > 0 ? ", " : "", view->hosts->hosts[i].name);
	}
	say(step, ", Microsoft's");
	json_object_set_new(step->facts, "hosts", hosts);
}

/* By a proxy only the proxy's name is looked up here, and only it is connected to. */
static void describe_dns(
    struct step *step, const struct client_view *view, const struct upstream_config *upstream)
{
	json_t *addresses = json_array();
	char text[64];

	say(step, "%s%s is ", upstream->proxy != NULL ? "the proxy " : "",
	    upstream->proxy != NULL ? upstream->proxy : view->host);

	for (size_t i = 0; i < view->address_count; i++) {
		json_array_append_new(
		    addresses, json_string(address_text(text, sizeof text, &view->addresses[i])));
		if (i < ADDRESSES_SHOWN)
			say(step, "%s%s", i > 0 ? ", " : "", text);
	}
	fact(step, "host", view->host);
	if (view->address_count > ADDRESSES_SHOWN)
		say(step, " and %zu more", view->address_count - ADDRESSES_SHOWN);
	json_object_set_new(step->facts, "addresses", addresses);
}

static void describe_tcp(
    struct step *step, const struct client_view *view, const struct upstream_config *upstream)
{
	char text[64];

	fact(step, "address", address_text(text, sizeof text, view->address));
	fact_number(step, "port", upstream->port);
	if (upstream->proxy != NULL) {
		fact(step, "proxy", upstream->proxy);
		say(step, "connected to %s port %u, by the proxy", view->host, (unsigned)upstream->port);
	} else {
		say(step, "connected to %s port %u", text, (unsigned)upstream->port);
	}
}

static void describe_reply(struct step *step, const struct client_view *view)
{
	char text[FAILURE_TEXT_MAX];

	fact(step, "reply", reply_format(text, sizeof text, view->reply));
	say(step, "%s%s", step->text[0] != '\0' ? ": " : "", text);
}

static void describe_tls(struct step *step, const struct client_view *view)
{
	struct tls_peer peer;

	if (!conn_tls_peer(view->conn, &peer))
		return;
	int64_t days = (peer.ends_ms - clock_wall_ms()) / DAY_MS;
	fact(step, "version", conn_tls_version(view->conn));
	fact(step, "cipher", conn_tls_cipher(view->conn));
	fact(step, "names", peer.names);
	fact(step, "issuer", peer.issuer);
	fact_number(step, "chain", peer.chain);
	fact_time(step, "expires", peer.ends_ms);
	fact_number(step, "days_left", days);
	say(step, "%s; chain of %u and name verified: %s, signed by %s, %" PRId64 " days left",
	    conn_tls_version(view->conn), peer.chain, peer.names, peer.issuer, days);
}

static void say_feature(struct step *step, json_t *features, bool offered, const char *word)
{
	if (!offered)
		return;
	json_array_append_new(features, json_string(word));
	say(step, "%s%s", step->text[0] != '\0' ? ", " : "", word);
}

static void describe_ehlo(struct step *step, const struct client_view *view)
{
	const struct ehlo *ehlo = view->ehlo;
	json_t *features = json_array();
	char size[24];

	if (ehlo->has_size) {
		fact_number(step, "size", (int64_t)ehlo->size);
		say(step, "SIZE %s", value_size_text(size, sizeof size, ehlo->size));
	}
	say_feature(step, features, ehlo->pipelining, "PIPELINING");
	say_feature(step, features, ehlo->chunking, "CHUNKING");
	say_feature(step, features, ehlo->eightbitmime, "8BITMIME");
	say_feature(step, features, ehlo->dsn, "DSN");
	say_feature(step, features, ehlo->smtputf8, "SMTPUTF8");
	say_feature(step, features, ehlo->auth_xoauth2, "AUTH XOAUTH2");
	say_feature(step, features, ehlo->auth_login, "AUTH LOGIN");
	say_feature(step, features, ehlo->auth_plain, "AUTH PLAIN");
	json_object_set_new(step->facts, "features", features);
	if (step->text[0] == '\0')
		say(step, "no extensions");
}

/* --- the token --- */

/* Of an URL; empty where text is none. */
static struct str host_of(const char *text)
{
	const char *start = strstr(text, "://");

	return start != NULL ? (struct str){start + 3, strcspn(start + 3, "/ ")} : (struct str){"", 0};
}

static bool is_exchange(struct str host)
{
	return str_ieq(host, "outlook.office365.com") || str_ieq(host, "outlook.office.com");
}

/* An audience may also be an app's id, which says nothing to us. */
static bool is_for(const struct claims *claims, const char *scope)
{
	struct str got = host_of(claims->audience), wanted = host_of(scope);

	if (got.n == 0 || wanted.n == 0 || (is_exchange(got) && is_exchange(wanted)))
		return true;
	return got.n == wanted.n && strncasecmp(got.p, wanted.p, got.n) == 0;
}

/* What is missing is no failure yet: AUTH shows whether it is. */
static void look_at_claims(
    struct step *step, const struct claims *claims, const struct upstream_config *upstream)
{
	const char *scope = upstream->oauth->scope;

	if (scope != NULL && !is_for(claims, scope))
		step_warn(step,
		    "the token is for \"%s\" and not for what oauth.scope asks: the upstream will not take "
		    "it",
		    claims->audience);
	else if (upstream->kind == UPSTREAM_SUBMISSION && !claims_have(claims, "SMTP.SendAsApp") &&
		 !claims_have(claims, "SMTP.Send"))
		step_warn(step, "the role SMTP.SendAsApp is not in it. That is right only where Exchange "
				"itself gives the app "
				"the mailbox (role \"Application SMTP.SendAsApp\"); else grant the "
				"permission and consent: "
				"mfdrelay-microsoft365(7)");
	else if (upstream->kind == UPSTREAM_HVE && !claims_have(claims, "Mail.Send"))
		step_warn(step,
		    "the role Mail.Send is not in it, which High Volume Email wants: grant the application "
		    "permission Office 365 Exchange Online > Mail.Send, and consent");
}

static void describe_token(
    struct step *step, const struct client_view *view, const struct upstream_config *upstream)
{
	struct claims claims;

	if (!claims_read((struct str){view->token->bytes, view->token->n}, &claims)) {
		say(step, "a token that does not say what it is for");
		return;
	}
	int64_t minutes = (claims.expires_s * 1000 - clock_wall_ms()) / 60000;
	fact(step, "audience", claims.audience);
	fact(step, "tenant", claims.tenant);
	fact(step, "app", claims.app);
	fact(step, "user", claims.user);
	fact_words(step, "roles", claims.roles);
	fact_time(step, "expires", claims.expires_s * 1000);
	say(step, "for %s, tenant %s, app %s%s%s, %s%s, %" PRId64 " min left", claims.audience, claims.tenant,
	    claims.app, claims.user[0] != '\0' ? ", in the name of " : "", claims.user,
	    claims.roles[0] != '\0' ? "roles " : "no roles", claims.roles, minutes);
	look_at_claims(step, &claims, upstream);
}

void describe_step(struct step *step, const struct client_view *view, const struct upstream_config *upstream)
{
	step->status = STEP_PROVED;
	switch (step->kind) {
	case CLIENT_MX:
		describe_mx(step, view);
		break;
	case CLIENT_DNS:
		describe_dns(step, view, upstream);
		break;
	case CLIENT_TCP:
		describe_tcp(step, view, upstream);
		break;
	case CLIENT_TLS:
		describe_tls(step, view);
		break;
	case CLIENT_EHLO:
		describe_ehlo(step, view);
		break;
	case CLIENT_TOKEN:
		describe_token(step, view, upstream);
		break;
	case CLIENT_AUTH:
		say(step, "%s", upstream->user != NULL ? upstream->user : view->mailbox);
		describe_reply(step, view);
		break;
	default:
		describe_reply(step, view);
		break;
	}
}

/* --- ends of credentials --- */

struct expiries {
	struct findings *findings;
	struct step *step;
	int64_t now_s;
};

static void on_expiry(void *arg, const struct expiry *expiry)
{
	struct expiries *expiries = arg;
	char text[300], date[40];

	if (expiries->step == NULL)
		expiries->step = findings_add(expiries->findings, "expiry", STEP_EXPIRY);
	struct step *step = expiries->step;
	if (step->status == STEP_NOT_TRIED)
		step->status = STEP_PROVED;
	say(step, "%s%s (%s) ends on %s", step->text[0] != '\0' ? ", " : "", expiry->what, expiry->key,
	    clock_rfc3339(date, sizeof date, expiry->at_s * 1000));
	fact_time(step, expiry->key, expiry->at_s * 1000);
	if (expiry_nearness(expiry, expiries->now_s) >= EXPIRY_30_DAYS)
		step_warn(step, "%s", expiry_text(text, sizeof text, expiry, expiries->now_s));
}

void describe_expiries(struct findings *findings, const struct upstream_config *upstream)
{
	struct expiries expiries = {.findings = findings, .now_s = clock_wall_ms() / 1000};

	expiry_each(upstream, on_expiry, &expiries);
}
