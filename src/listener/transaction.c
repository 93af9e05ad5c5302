#include "listener/transaction.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "config/config.h"
#include "listener/pace.h"
#include "listener/session.h"
#include "listener/trace.h"
#include "smtp/address.h"
#include "smtp/data.h"
#include "spool/spool.h"

#define CONTENT_CHUNK  16384
#define HOPELESS_SLACK 65536 /* raw bytes beyond twice the limit: small limits need some room */

struct transaction {
	struct session_env *env;
	struct envelope envelope;
	size_t room; /* for recipients */
	struct size_limit limit;
	struct spool_draft *draft;
	struct data_reader reader;
	struct trace_scan scan;
	struct pace pace;
	uint64_t raw;	 /* bytes that came, stuffing and all */
	const char *tls; /* the version; NULL: it comes in plain text */
	char *refusal;	 /* the reply at the end; NULL while it is fine */
	char *why;	 /* the reason as the log has it, where it says more than the reply */
	bool lf_ends, rejects_bare;
	bool committing;
	transaction_fn *fn; /* while committing; NULL: nobody waits for the answer */
	void *arg;
};

struct transaction *transaction_new(
    struct session_env *env, const struct address *sender, uint64_t announced, struct size_limit limit)
{
	struct transaction *t = xcalloc(1, sizeof *t);

	t->env = env;
	t->envelope.sender = xstrdup(sender->text);
	t->envelope.content_bytes = announced;
	t->limit = limit;
	return t;
}

static void transaction_free(struct transaction *t)
{
	envelope_free(&t->envelope);
	free(t->refusal);
	free(t->why);
	free(t);
}

bool transaction_has(const struct transaction *t, const struct address *recipient)
{
	for (size_t i = 0; i < t->envelope.recipient_count; i++) {
		if (address_is(recipient, t->envelope.recipients[i]))
			return true;
	}
	return false;
}

void transaction_add(struct transaction *t, const struct address *recipient)
{
	struct envelope *envelope = &t->envelope;

	if (envelope->recipient_count == t->room) {
		t->room = t->room == 0 ? 4 : t->room * 2;
		envelope->recipients = xrealloc(envelope->recipients, t->room * sizeof *envelope->recipients);
	}
	envelope->recipients[envelope->recipient_count++] = xstrdup(recipient->text);
}

size_t transaction_recipients(const struct transaction *t)
{
	return t->envelope.recipient_count;
}

uint64_t transaction_announced(const struct transaction *t)
{
	return t->envelope.content_bytes;
}

struct size_limit transaction_limit(const struct transaction *t)
{
	return t->limit;
}

void transaction_set_limit(struct transaction *t, struct size_limit limit)
{
	t->limit = limit;
}

const char *transaction_sender(const struct transaction *t)
{
	return t->envelope.sender;
}

static void set_text(char **field, const char *text)
{
	free(*field);
	*field = xstrdup(text);
}

static void set_origin(struct envelope *envelope, const struct origin *origin)
{
	char name[LISTEN_NAME_MAX + 1];

	envelope->accepted_ms = clock_wall_ms();
	set_text(&envelope->device, origin->device->name);
	set_text(&envelope->peer, origin->peer);
	set_text(&envelope->helo, origin->helo);
	set_text(&envelope->user, origin->user);
	set_text(&envelope->listener, listen_name(name, sizeof name, origin->listen));
}

/* RFC 3848. */
static const char *protocol_of(const struct origin *origin)
{
	if (origin->tls_version != NULL)
		return origin->user[0] != '\0' ? "ESMTPSA" : "ESMTPS";
	if (origin->user[0] != '\0')
		return "ESMTPA";
	return origin->extended ? "ESMTP" : "SMTP";
}

static int append_trace(struct transaction *t, const struct origin *origin, struct err *err)
{
	char header[TRACE_MAX + 1];
	size_t n = trace_received(header, &(struct trace){
					      .helo = origin->helo,
					      .peer = origin->peer,
					      .hostname = t->env->config->hostname,
					      .protocol = protocol_of(origin),
					      .tls_version = origin->tls_version,
					      .tls_cipher = origin->tls_cipher,
					      .id = t->envelope.id,
					      .wall_ms = t->envelope.accepted_ms,
					  });

	return spool_append(t->draft, header, n, err);
}

int transaction_begin(struct transaction *t, const struct origin *origin, struct err *err)
{
	set_origin(&t->envelope, origin);
	t->tls = origin->tls_version;
	t->lf_ends = (origin->device->quirks & (1u << QUIRK_EOD_LF)) != 0;
	t->rejects_bare = origin->bare_newlines == BARE_REJECT && !t->lf_ends;
	t->draft = spool_begin(t->env->spool, &t->envelope, NULL, err);
	if (t->draft == NULL || append_trace(t, origin, err) < 0) {
		int saved = errno;
		atomic_store(&t->env->counters->storage_error, saved);
		spool_abort(t->draft);
		t->draft = NULL;
		errno = saved;
		return -1;
	}
	data_reader_init(&t->reader);
	t->reader.lf_ends = t->lf_ends;
	pace_begin(&t->pace, clock_mono_ms());
	return 0;
}

int64_t transaction_look_ms(const struct transaction *t)
{
	int64_t next_ms = pace_next_ms(&t->pace, t->env->config);
	int64_t silence_ms = t->pace.heard_ms + t->env->silence_ms;

	return data_may_end(&t->reader) && silence_ms < next_ms ? silence_ms : next_ms;
}

bool transaction_ended_silently(const struct transaction *t)
{
	return data_may_end(&t->reader) && clock_mono_ms() >= t->pace.heard_ms + t->env->silence_ms;
}

enum pace_fault transaction_judge_pace(struct transaction *t)
{
	return pace_judge(&t->pace, t->env->config, clock_mono_ms());
}

/* Takes reply over. The first reason stands. */
static void refuse(struct transaction *t, char *reply, const char *why)
{
	t->refusal = reply;
	t->why = why != NULL ? xstrdup(why) : NULL;
	spool_abort(t->draft);
	t->draft = NULL;
}

char *transaction_disk_reply(int error)
{
	if (error == ENOSPC)
		return xstrdup("452 4.3.1 The relay's disk is full: try again later");
	if (error == ENOENT)
		return xstrdup("451 4.3.0 The relay's spool folder is not in its place: try again later");
	if (error == EDQUOT)
		return xstrdup("452 4.3.1 The relay's disk quota is used up: try again later");
	return xasprintf(
	    "451 4.3.0 The relay could not store the message (%s): try again later", strerror(error));
}

static void check_content(struct transaction *t)
{
	if (t->reader.bytes > t->limit.bytes)
		refuse(t,
		    xasprintf("552 5.3.4 Message is larger than %s%s (%" PRIu64 " bytes)", t->limit.key,
			t->limit.of, t->limit.bytes),
		    NULL);
	else if (t->scan.received > TRACE_RECEIVED_MAX)
		refuse(t, xasprintf("554 5.4.6 More than %d Received headers: mail loop", TRACE_RECEIVED_MAX),
		    NULL);
	else if (t->rejects_bare && t->reader.bare_lf + t->reader.bare_cr > 0)
		refuse(t,
		    xstrdup("550 5.5.2 A CR or LF stands alone, and bare_newlines of this listener is "
			    "\"reject\""),
		    NULL);
}

static void store(struct transaction *t, const char *content, size_t n)
{
	struct err err = {""};

	if (spool_append(t->draft, content, n, &err) < 0) {
		atomic_store(&t->env->counters->storage_error, errno);
		refuse(t, transaction_disk_reply(errno), err.text);
	}
}

enum feed transaction_feed(struct transaction *t, struct str in, size_t *used)
{
	static char content[CONTENT_CHUNK]; /* for the time of this call: sessions share it */
	size_t n;

	*used = data_read(&t->reader, in.p, in.n, content, sizeof content, &n);
	t->raw += *used;
	pace_heard(&t->pace, *used, clock_mono_ms());
	if (t->refusal == NULL) {
		trace_scan(&t->scan, content, n);
		check_content(t);
	}
	if (t->refusal == NULL && n > 0)
		store(t, content, n);
	if (t->reader.ended)
		return FEED_ENDED;
	return t->raw / 2 > t->limit.bytes + HOPELESS_SLACK ? FEED_HOPELESS : FEED_MORE;
}

static struct kv first_recipient(const struct transaction *t)
{
	return kv_str("to", t->envelope.recipients[0]);
}

static void log_refused(const struct transaction *t, const char *reply, const char *why)
{
	const struct envelope *e = &t->envelope;
	const struct kv none = {0};

	count(&t->env->counters->messages_refused, 1);
	log_event(LOG_LEVEL_WARNING, "refused", kv_str("id", e->id), kv_str("device", e->device),
	    kv_str("peer", e->peer), kv_str("from", e->sender), first_recipient(t),
	    kv_u64("recipients", e->recipient_count), kv_u64("bytes", t->reader.bytes),
	    kv_str("reply", reply), why != NULL ? kv_str("why", why) : none);
}

static void log_accepted(const struct transaction *t)
{
	const struct envelope *e = &t->envelope;

	count(&t->env->counters->messages_accepted, 1);
	count(&t->env->counters->bytes_accepted, t->reader.bytes);
	log_event(LOG_LEVEL_INFO, "accepted", kv_str("id", e->id), kv_str("device", e->device),
	    kv_str("peer", e->peer), kv_str("user", e->user), kv_str("tls", t->tls),
	    kv_str("from", e->sender), first_recipient(t), kv_u64("recipients", e->recipient_count),
	    kv_u64("bytes", t->reader.bytes), kv_u64("bare_lf", t->reader.bare_lf),
	    kv_u64("bare_cr", t->reader.bare_cr), kv_u64("nul", t->reader.nul),
	    kv_i64("ms", clock_mono_ms() - t->pace.begun_ms));
}

void transaction_log_lost(const struct transaction *t, const char *reason)
{
	const struct envelope *e = &t->envelope;

	log_event(LOG_LEVEL_WARNING, "incomplete", kv_str("id", e->id), kv_str("device", e->device),
	    kv_str("peer", e->peer), kv_str("from", e->sender), first_recipient(t),
	    kv_u64("bytes", t->reader.bytes), kv_str("reason", reason),
	    kv_i64("ms", clock_mono_ms() - t->pace.begun_ms));
}

/* The device may have gone meanwhile: what is stored stands all the same. */
static void on_committed(void *arg, const struct spool_result *result)
{
	struct transaction *t = arg;
	struct session_env *env = t->env;
	transaction_fn *fn = t->fn;
	void *fn_arg = t->arg;
	char id[SPOOL_ID_MAX + 1], ok[64];
	struct text text = text_in(ok, sizeof ok);
	char *trouble = NULL;
	/* An id that was there already means that ours was not stored. */
	const char *error = result->exists ? "the id is taken" : result->error;

	memcpy(id, t->envelope.id, sizeof id);
	if (error == NULL) {
		atomic_store(&env->counters->storage_error, 0);
		text_join(&text, "250 2.0.0 Ok: queued as ", id, NULL);
		log_accepted(t);
	} else {
		int number = result->exists ? EEXIST : result->error_number;
		atomic_store(&env->counters->storage_error, number);
		trouble = transaction_disk_reply(number);
		log_refused(t, trouble, error);
	}
	transaction_free(t);
	env->commits--;
	if (fn != NULL)
		fn(fn_arg, trouble != NULL ? trouble : ok, error == NULL ? id : NULL);
	free(trouble);
	env->committed(env->arg, error == NULL ? id : NULL);
}

const char *transaction_end(struct transaction *t, transaction_fn *fn, void *arg)
{
	struct spool_draft *draft = t->draft;

	if (t->refusal != NULL) {
		log_refused(t, t->refusal, t->why);
		return t->refusal;
	}
	t->draft = NULL;
	t->committing = true;
	t->fn = fn;
	t->arg = arg;
	t->env->commits++;
	spool_commit(draft, t->reader.has_8bit, on_committed, t);
	return NULL;
}

void transaction_drop(struct transaction *t)
{
	if (t == NULL)
		return;
	if (t->committing) {
		t->fn = NULL;
		return;
	}
	spool_abort(t->draft);
	transaction_free(t);
}
