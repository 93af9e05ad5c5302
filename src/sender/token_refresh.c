#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/task.h"
#include "config/config.h"
#include "sender/form.h"
#include "sender/refresh_store.h"
#include "sender/token_request_private.h"

/* The new one on its way to the disk, which goes on when the request is cancelled. */
struct storing {
	struct task task;
	struct token_request *request; /* NULL: cancelled */
	const char *spool, *upstream;
	struct secret old, new;
	int result;
	struct err err;
};

void token_refresh_ask(struct token_request *request)
{
	struct secret form = {NULL, 0};
	int64_t stored_s;
	struct err err;

	if (refresh_read(&request->refresh_token, &stored_s, request->means.spool, request->means.upstream,
		&err) < 0) {
		token_request_fail(request, ROAD_SIGN_IN, err.text);
		return;
	}
	form_add(&form, "grant_type", str_of("refresh_token"));
	form_add(&form, "client_id", str_of(request->oauth->client_id));
	form_add(&form, "scope", str_of(request->oauth->scope));
	form_add(
	    &form, "refresh_token", (struct str){request->refresh_token.bytes, request->refresh_token.n});
	token_request_post(request, &form);
}

static void run_storing(struct task *task)
{
	struct storing *storing = (struct storing *)(void *)task;

	storing->result =
	    refresh_write(storing->spool, storing->upstream, &storing->old, &storing->new, &storing->err);
}

/* The old one is not revoked by the new: where that could not be stored, mail goes on all the same. */
static void on_stored(struct task *task)
{
	struct storing *storing = (struct storing *)(void *)task;

	if (storing->result < 0)
		log_event(LOG_LEVEL_ERR, "refresh-token-not-stored", kv_str("upstream", storing->upstream),
		    kv_words("why", storing->err.text),
		    kv_str("consequence", "the one before is used on, for up to 90 days"));
	if (storing->request != NULL) {
		storing->request->storing = NULL;
		token_request_end(storing->request);
	}
	secret_free(&storing->old);
	secret_free(&storing->new);
	free(storing);
}

void token_refresh_store(struct token_request *request, struct str body)
{
	struct secret new;
	struct storing *storing;
	struct failure why;

	if (token_read_refresh(body, &new, &why) < 0) {
		token_request_end(request);
		return;
	}
	storing = xcalloc(1, sizeof *storing);
	*storing = (struct storing){.request = request,
	    .spool = request->means.spool,
	    .upstream = request->means.upstream,
	    .old = request->refresh_token,
	    .new = new};
	request->refresh_token = (struct secret){NULL, 0};
	storing->task.run = run_storing;
	storing->task.done = on_stored;
	request->storing = storing;
	task_submit(request->means.tasks, &storing->task);
}

void token_refresh_cancel(struct token_request *request)
{
	if (request->storing != NULL)
		request->storing->request = NULL;
}
