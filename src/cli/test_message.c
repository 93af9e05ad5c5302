#include "cli/test_message.h"

#include <stdio.h>
#include <string.h>

#include <event2/event.h>

#include "base/clock.h"
#include "config/config.h"
#include "spool/spool.h"

/* For the columns that name a device. None can have that name; a route whose devices are "*" is for it all the same. */
#define NOBODY "(test)"

const char *test_message_device(const struct test_message *message)
{
	return message->device != NULL ? message->device : NOBODY;
}

struct commit {
	struct event_base *base;
	struct err *err;
	int result;
};

static void on_committed(void *arg, const struct spool_result *result)
{
	struct commit *commit = arg;

	commit->result = result->error == NULL ? 0 : err_set(commit->err, "%s", result->error);
	event_base_loopbreak(commit->base);
}

/* All lines end in CRLF, as what is stored does. Addresses hold no line break (options_parse). */
static int append_content(struct spool_draft *draft, const struct test_message *message,
    const struct config *config, int64_t now_ms, struct err *err)
{
	char date[40], text[4096];
	const char *host = config->hostname != NULL ? config->hostname : "localhost";
	int n;

	clock_rfc5322(date, sizeof date, now_ms);
	n = snprintf(text, sizeof text,
	    "Received: from mfdrelay-test (localhost)\r\n\tby %s with local id %s;\r\n\t%s\r\n"
	    "From: \"Mail relay %s\" <%s>\r\n"
	    "To: <%s>\r\n"
	    "Subject: Test of the mail relay %s, queue id %s\r\n"
	    "Date: %s\r\n"
	    "Message-ID: <%s.test@%s>\r\n"
	    "Auto-Submitted: auto-generated\r\n"
	    "MIME-Version: 1.0\r\n"
	    "Content-Type: text/plain; charset=us-ascii\r\n"
	    "\r\n"
	    "This is a test. An administrator has sent it with `mfdrelay test` on\r\n"
	    "%s, at %s, with the queue id %s.\r\n"
	    "\r\n"
	    "That you can read it shows that mail from the devices behind that relay\r\n"
	    "gets to this mailbox. You need not answer.\r\n",
	    host, message->id, date, host, message->from, message->to, host, message->id, date, message->id,
	    host, host, date, message->id);
	if (n < 0 || (size_t)n >= sizeof text)
		return err_set(err, "hostname, --from and --to are too long for a message");
	return spool_append(draft, text, (size_t)n, err);
}

static struct envelope envelope_of(const struct test_message *message, char **recipient, int64_t now_ms)
{
	*recipient = (char *)(uintptr_t)message->to;
	return (struct envelope){
	    .accepted_ms = now_ms,
	    .device = (char *)(uintptr_t)test_message_device(message),
	    .peer = (char *)(uintptr_t) "",
	    .helo = (char *)(uintptr_t) "",
	    .user = (char *)(uintptr_t) "",
	    .listener = (char *)(uintptr_t) "",
	    .sender = (char *)(uintptr_t)message->from,
	    .recipients = recipient,
	    .recipient_count = 1,
	};
}

static int queue_in(struct spool *spool, struct event_base *base, struct test_message *message,
    const struct config *config, bool (*before_commit)(void *arg, const char *id, struct err *err), void *arg,
    struct err *err)
{
	struct commit commit = {.base = base, .err = err, .result = -1};
	int64_t now_ms = clock_wall_ms();
	char *recipient;
	struct envelope envelope = envelope_of(message, &recipient, now_ms);
	struct spool_draft *draft = spool_begin(spool, &envelope, NULL, err);

	if (draft == NULL)
		return -1;
	str_copy(message->id, sizeof message->id, str_of(envelope.id));
	if (append_content(draft, message, config, now_ms, err) < 0 ||
	    !before_commit(arg, message->id, err)) {
		spool_abort(draft);
		return -1;
	}
	spool_commit(draft, false, on_committed, &commit);
	event_base_dispatch(base);
	return commit.result;
}

int test_message_queue(struct test_message *message, const struct config *config,
    bool (*before_commit)(void *arg, const char *id, struct err *err), void *arg, struct err *err)
{
	struct event_base *base = event_base_new();
	struct spool *spool = NULL;
	int result = -1;

	if (base == NULL)
		return err_set(err, "libevent has no event loop for this system");
	spool = spool_open(config->spool, base, config->limits.free_space, err);
	if (spool != NULL) {
		spool_start(spool);
		result = queue_in(spool, base, message, config, before_commit, arg, err);
	}
	spool_close(spool);
	event_base_free(base);
	return result;
}
