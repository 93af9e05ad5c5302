#include "sender/outgoing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/charset.h"
#include "base/mem.h"
#include "config/config.h"
#include "sender/identity.h"
#include "smtp/repair.h"
#include "spool/spool.h"

#define STEP_BYTES (256u * 1024)
#define READ_BYTES 32768

struct outgoing {
	const struct spool_message *message;
	const struct envelope *envelope;
	struct identity identity;
	const char *sender;
	char *display_name;
	struct repair_facts facts;
	struct repair_scan *scan;     /* while it is looked at */
	struct repair_plan *plan;     /* NULL until it is ready */
	struct repair_reader *reader; /* NULL: it goes out as it is stored */
	uint64_t offset;	      /* of the next byte to look at, or to send as stored */
};

static const char *from(void *arg, const char *address)
{
	const struct outgoing *o = arg;
	const char *found = identity_address(&o->identity, address);

	/* Where From names nobody, the envelope does. */
	return address[0] == '\0' && found[0] != '\0' && o->sender[0] != '\0' ? o->sender : found;
}

static bool are_repairs_on(const struct config *config, const struct device *device, const char *listener)
{
	const struct listen_config *listen = config_listen_by_name(config, listener);

	if (device != NULL && device->repairs != REPAIRS_UNSET)
		return device->repairs == REPAIRS_ALL;
	if (listen != NULL && listen->repairs != REPAIRS_UNSET)
		return listen->repairs == REPAIRS_ALL;
	return config->repairs == REPAIRS_ALL;
}

/* Who stands in a From that is missing: the null sender is nobody. */
static const char *stand_in(const struct outgoing *o)
{
	const struct device *device = o->identity.device;

	if (o->sender[0] != '\0')
		return o->sender;
	return device != NULL && device->identity.address != NULL ? device->identity.address
								  : identity_own_address(&o->identity);
}

static void state_facts(struct outgoing *o, const struct config *config)
{
	const struct device *device = o->identity.device;
	const struct envelope *envelope = o->envelope;

	o->display_name = identity_display_name(&o->identity);
	o->facts = (struct repair_facts){.id = envelope->id,
	    .hostname = config->hostname,
	    .accepted_ms = envelope->accepted_ms,
	    .sender = stand_in(o),
	    .recipient = envelope->recipient_count == 1 ? envelope->recipients[0] : NULL,
	    .subject = device != NULL ? device->subject : NULL,
	    .charset = device != NULL && device->charset != NULL ? device->charset : config->charset,
	    .to_utf8 = charset_to_utf8,
	    .repairs = are_repairs_on(config, device, envelope->listener),
	    .from = identity_has_rule(&o->identity) ? from : NULL,
	    .from_name = o->display_name,
	    .keep_reply_to = !envelope->is_report,
	    .arg = o};
}

struct outgoing *outgoing_new(const struct config *config, const struct upstream_config *upstream,
    const char *mailbox, const struct spool_message *message)
{
	struct outgoing *o = xcalloc(1, sizeof *o);

	o->message = message;
	o->envelope = spool_envelope(message);
	o->identity =
	    (struct identity){config_device_by_name(config, o->envelope->device), upstream, mailbox};
	o->sender = identity_sender(&o->identity, o->envelope->sender);
	state_facts(o, config);
	o->scan = repair_scan_new(&o->facts);
	return o;
}

/* No more than what the envelope says there is. */
static ssize_t read_stored(void *arg, uint64_t offset, void *bytes, size_t n)
{
	const struct outgoing *o = arg;
	uint64_t left = o->envelope->content_bytes - offset;

	return spool_read(o->message, offset, bytes, left < n ? (size_t)left : n);
}

static void finish_scan(struct outgoing *o)
{
	repair_scan_skip(o->scan, o->envelope->content_bytes - o->offset);
	o->plan = repair_scan_end(o->scan);
	o->scan = NULL;
	o->offset = 0;
	if (!repair_plan_is_empty(o->plan))
		o->reader = repair_reader_new(o->plan, read_stored, o);
}

const char *outgoing_trouble(int error)
{
	return error == EIO ? "the queue file cannot be read, or is shorter than it says" : strerror(error);
}

enum outgoing_state outgoing_prepare(struct outgoing *o)
{
	static char bytes[READ_BYTES]; /* for the time of this call */
	uint64_t until = o->offset + STEP_BYTES;

	while (o->offset < o->envelope->content_bytes && !repair_scan_is_decided(o->scan)) {
		if (o->offset >= until)
			return OUTGOING_MORE;
		ssize_t n = read_stored(o, o->offset, bytes, sizeof bytes);
		if (n == 0)
			errno = EIO;
		if (n <= 0)
			return OUTGOING_FAILED;
		repair_scan_feed(o->scan, bytes, (size_t)n);
		o->offset += (uint64_t)n;
	}
	finish_scan(o);
	return OUTGOING_READY;
}

const char *outgoing_sender(const struct outgoing *o)
{
	return o->sender;
}

uint64_t outgoing_bytes(const struct outgoing *o)
{
	return repair_plan_bytes(o->plan);
}

const char *outgoing_repairs(const struct outgoing *o)
{
	return repair_plan_names(o->plan);
}

const char *outgoing_left(const struct outgoing *o)
{
	return repair_plan_left(o->plan);
}

const char *outgoing_refusal(const struct outgoing *o)
{
	return repair_plan_lacks_identity(o->plan) ? outgoing_left(o) : NULL;
}

ssize_t outgoing_read(struct outgoing *o, char *bytes, size_t n)
{
	if (o->reader != NULL)
		return repair_reader_read(o->reader, bytes, n);
	if (o->offset == o->envelope->content_bytes)
		return 0;
	ssize_t got = read_stored(o, o->offset, bytes, n);
	if (got == 0)
		errno = EIO;
	if (got <= 0)
		return -1;
	o->offset += (uint64_t)got;
	return got;
}

void outgoing_rewind(struct outgoing *o)
{
	o->offset = 0;
	if (o->reader != NULL)
		repair_reader_rewind(o->reader);
}

void outgoing_free(struct outgoing *o)
{
	if (o == NULL)
		return;
	repair_reader_free(o->reader);
	repair_plan_free(o->plan);
	repair_scan_free(o->scan);
	free(o->display_name);
	free(o);
}
