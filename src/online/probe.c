#include "online/probe.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <event2/event.h>

#include "base/clock.h"
#include "config/config.h"
#include "net/conn.h"
#include "online/describe.h"
#include "online/findings.h"
#include "online/senders.h"
#include "online/spf_check.h"
#include "sender/attempt.h"
#include "sender/client.h"
#include "sender/token.h"
#include "smtp/address.h"
#include "smtp/reply.h"
#include "spool/envelope.h"

struct run {
	const struct probe *probe;
	struct findings *findings;
	struct client_settings settings;
	struct envelope envelope; /* of the present rehearsal */
	char *recipient;
	size_t senders_tried;
	bool failed, greeted;	 /* by its EHLO */
	char public_address[64]; /* as the upstream sees us, or as our interface has it; "" */
	int64_t since_ms;	 /* the end of the last step */
};

/* --- the plan --- */

static void plan_envelopes(const struct probe *probe, struct findings *findings)
{
	struct step *step;

	for (size_t i = 0; i < probe->senders->count; i++) {
		step = findings_add(findings, "mail", CLIENT_MAIL);
		snprintf(step->text, sizeof step->text, "MAIL FROM:<%s>", probe->senders->addresses[i]);
		json_object_set_new(step->facts, "sender", json_string(probe->senders->addresses[i]));
	}
	if (probe->senders->left_out > 0) {
		step = findings_add(findings, "mail", CLIENT_MAIL);
		step->status = STEP_LEFT_OUT;
		snprintf(step->text, sizeof step->text, "%zu more senders of the config: try one by --from",
		    probe->senders->left_out);
	}
	step = findings_add(findings, "rcpt", CLIENT_RCPT);
	if (probe->senders->count > 0 && probe->recipient != NULL) {
		snprintf(step->text, sizeof step->text, "RCPT TO:<%s>", probe->recipient);
		json_object_set_new(step->facts, "recipient", json_string(probe->recipient));
		return;
	}
	step->status = STEP_LEFT_OUT;
	snprintf(step->text, sizeof step->text, "no %s is known: give %s, or report_to in the config",
	    probe->senders->count == 0 ? "sender" : "recipient",
	    probe->senders->count == 0 ? "--from" : "--to");
}

/* Who lets us in by the address that we come from looks at SPF too. */
static bool needs_spf(const struct upstream_config *upstream)
{
	return upstream->kind == UPSTREAM_DIRECT_SEND ||
	       (upstream->kind == UPSTREAM_CONNECTOR && upstream->certificate == NULL);
}

static void plan(const struct probe *probe, struct findings *findings)
{
	const struct upstream_config *upstream = probe->upstream;

	*findings = (struct findings){.upstream = upstream, .mailbox = probe->mailbox};
	if (upstream->host == NULL)
		findings_add(findings, "mx", CLIENT_MX);
	findings_add(findings, "dns", CLIENT_DNS);
	findings_add(findings, "tcp", CLIENT_TCP);
	if (upstream->tls == UPSTREAM_TLS_IMPLICIT)
		findings_add(findings, "tls", CLIENT_TLS);
	findings_add(findings, "greeting", CLIENT_GREETING);
	if (upstream->tls == UPSTREAM_TLS_REQUIRED)
		findings_add(findings, "tls", CLIENT_TLS);
	findings_add(findings, "ehlo", CLIENT_EHLO);
	if (upstream->oauth != NULL)
		findings_add(findings, "token", CLIENT_TOKEN);
	if (upstream->oauth != NULL || upstream->user != NULL)
		findings_add(findings, "auth", CLIENT_AUTH);
	plan_envelopes(probe, findings);
	describe_expiries(findings, upstream);
	if (needs_spf(upstream) && probe->senders->count > 0)
		findings_add(findings, "spf", STEP_SPF);
}

/* --- what the client says --- */

/* Exchange greets with it: "NAME Hello [203.0.113.7]". */
static bool take_seen_address(struct run *run, const char *text)
{
	const char *at = strstr(text, "Hello [");
	size_t n = at != NULL ? strcspn(at + 7, "]\n") : 0;

	return n > 0 && str_copy(run->public_address, sizeof run->public_address, (struct str){at + 7, n});
}

static void take_public_address(struct run *run, const struct client_view *view)
{
	struct sockaddr_storage own;

	run->greeted = true;
	if (take_seen_address(run, view->reply->text) || run->probe->upstream->proxy != NULL ||
	    !conn_local_address(view->conn, &own))
		return;
	if (getnameinfo((const struct sockaddr *)&own, sizeof own, run->public_address,
		sizeof run->public_address, NULL, 0, NI_NUMERICHOST) != 0)
		run->public_address[0] = '\0';
}

/* That the next credential works hides that the first one does not. */
static void look_at_credential(const struct run *run, struct step *step)
{
	const struct failure *refused = token_first_refused(run->settings.tokens);

	if (refused != NULL)
		step_warn(step, "this is by oauth.next, as the first credential is refused: %s",
		    refused->cause->cause);
}

static void on_step(
    void *arg, enum client_step kind, const struct failure *why, const struct client_view *view)
{
	struct run *run = arg;
	struct step *step = findings_next(run->findings, (int)kind);
	int64_t now_ms = clock_mono_ms();

	/* RSET is no step of its own: it is how nothing is sent. */
	if (step == NULL)
		return;
	step->ms = now_ms - run->since_ms;
	run->since_ms = now_ms;
	if (why == NULL && kind == CLIENT_EHLO)
		take_public_address(run, view);
	if (why == NULL) {
		describe_step(step, view, run->probe->upstream);
		if (kind == CLIENT_TOKEN)
			look_at_credential(run, step);
		return;
	}
	step_fail(step, why);
	run->failed = true;
}

/* The recipient goes with the first sender; where that one was refused, with the next. */
static struct attempt *next_rehearsal(struct run *run)
{
	const struct probe *probe = run->probe;
	bool with_recipient = findings_next(run->findings, CLIENT_RCPT) != NULL;
	struct attempt *attempt = attempt_new(NULL, 0, NULL, 1);

	run->envelope = (struct envelope){
	    .sender = (char *)(uintptr_t)probe->senders->addresses[run->senders_tried++],
	    .recipients = &run->recipient,
	    .recipient_count = with_recipient ? 1 : 0,
	};
	attempt->rehearsal = &run->envelope;
	attempt->count = run->envelope.recipient_count;
	return attempt;
}

static void on_client(void *arg, struct client *client, enum client_event event, struct attempt *attempt)
{
	struct run *run = arg;

	switch (event) {
	case CLIENT_IDLE:
		if (run->senders_tried < run->probe->senders->count)
			client_send(client, next_rehearsal(run));
		else
			client_quit(client);
		break;
	case CLIENT_DONE:
		attempt_free(attempt);
		break;
	case CLIENT_ENDED:
		client_free(client);
		event_base_loopbreak(run->probe->means->base);
		break;
	}
}

/* --- the run --- */

static void fail_first(struct run *run, int kind, enum road_trouble trouble, const char *text)
{
	struct failure why;
	struct step *step = findings_next(run->findings, kind);

	if (step == NULL)
		return;
	failure_from_trouble(&why, trouble, text);
	step_fail(step, &why);
	run->failed = true;
}

/* It may end without a word, between two senders. */
static void judge_end(struct run *run)
{
	struct findings *findings = run->findings;

	for (size_t i = 0; i < findings->count && !run->failed; i++)
		if (findings->steps[i].status == STEP_NOT_TRIED && findings->steps[i].kind >= 0)
			fail_first(run, findings->steps[i].kind, ROAD_CUT, "the connection ended early");
}

static void check_spf(struct run *run)
{
	struct step *step = findings_next(run->findings, STEP_SPF);
	const struct client_means *means = run->probe->means;
	int64_t begun_ms = clock_mono_ms();
	struct address sender;

	/* Without an EHLO we do not know how the world sees us. */
	if (step == NULL || !run->greeted ||
	    !address_parse(str_of(run->probe->senders->addresses[0]), &sender))
		return;
	spf_check(step, means->base, means->resolver, address_domain(&sender), run->public_address);
	step->ms = clock_mono_ms() - begun_ms;
}

void probe_run(const struct probe *probe, struct findings *findings)
{
	struct run run = {
	    .probe = probe, .findings = findings, .recipient = (char *)(uintptr_t)probe->recipient};
	struct err err = {""};

	plan(probe, findings);
	run.since_ms = clock_mono_ms();
	if (client_settings_init(&run.settings, probe->means, probe->upstream, &err) < 0) {
		fail_first(&run, CLIENT_TLS, ROAD_CERTIFICATE, err.text);
	} else {
		run.settings.step = on_step;
		run.settings.step_arg = &run;
		client_new(&run.settings, probe->mailbox, on_client, &run);
		event_base_dispatch(probe->means->base);
		judge_end(&run);
		check_spf(&run);
	}
	client_settings_free(&run.settings);
}
