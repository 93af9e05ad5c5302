#include "cli/ask.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <sysexits.h>

#include "base/clock.h"
#include "config/config.h"
#include "sender/control.h"
#include "spool/spool.h"

#define ASK_AGAIN_MS 100
#define ASK_TIMES    15

static bool is_away(const struct config *config)
{
	return (errno == ENOENT || errno == ECONNREFUSED) && spool_is_locked(config->spool);
}

json_t *ask_daemon(const struct config *config, json_t *request, struct err *err)
{
	json_t *answer = control_ask(config->spool, json_incref(request), err);

	for (int i = 0; i < ASK_TIMES && answer == NULL && is_away(config); i++) {
		clock_rest_us(ASK_AGAIN_MS * 1000);
		answer = control_ask(config->spool, json_incref(request), err);
	}
	int saved_errno = errno;
	json_decref(request);
	errno = saved_errno;
	return answer;
}

bool ask_may_not(void)
{
	return errno == EACCES || errno == EPERM;
}

int ask_failed(struct err *err)
{
	const struct err why = *err;
	bool may_not = ask_may_not();

	if (may_not)
		err_set(err, "%.400s; run this as root or as the daemon's user", why.text);
	fprintf(stderr, "mfdrelay: %s\n", err->text);
	return may_not ? EX_NOPERM : 1;
}
