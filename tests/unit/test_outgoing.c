/* A message as it goes out: what is read of it beforehand, how large it is, and which bytes it has. The spool is stood in for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>

#include "base/buf.h"
#include "base/charset.h"
#include "config/config.h"
#include "sender/outgoing.h"
#include "spool/spool.h"

#define HEAD                                                                                                 \
	"Received: from mfd ([10.1.2.17])\r\n\tby relay.test with SMTP id 01ab;\r\n\tFri, 27 Nov 2026 "      \
	"13:30:00 +0000\r\n"
#define FIELDS                                                                                               \
	"From: mfd@contoso.com\r\nTo: bob@contoso.com\r\nSubject: Scan\r\nDate: Fri, 27 Nov 2026 14:29:00 "  \
	"+0100\r\nMessage-ID: <1@mfd>\r\n"

static struct envelope envelope;
static struct buf content;
static uint64_t read_bytes; /* so far */
static char *recipients[] = {"bob@contoso.com", "it@contoso.com"};
static struct device devices[] = {{.name = "hall", .identity = {.rule = SENDER_KEEP}}};
static struct listen_config listeners[] = {{.address = "*", .port = 25}};
static struct config config;
static struct upstream_config upstream;

const struct envelope *spool_envelope(const struct spool_message *message)
{
	(void)message;
	return &envelope;
}

ssize_t spool_read(const struct spool_message *message, uint64_t offset, void *bytes, size_t n)
{
	size_t left = offset < content.n ? content.n - (size_t)offset : 0;

	(void)message;
	n = n < left ? n : left;
	memcpy(bytes, content.p + offset, n);
	read_bytes += n;
	return (ssize_t)n;
}

static int set_up(void **state)
{
	(void)state;
	content.n = 0;
	read_bytes = 0;
	envelope = (struct envelope){.id = "01ab",
	    .accepted_ms = INT64_C(1795786200000),
	    .device = "hall",
	    .listener = "*:25",
	    .sender = "mfd@contoso.com",
	    .recipients = recipients,
	    .recipient_count = 1};
	devices[0] = (struct device){.name = "hall", .identity = {.rule = SENDER_KEEP}};
	listeners[0].repairs = REPAIRS_UNSET;
	config = (struct config){.hostname = "relay.test",
	    .repairs = REPAIRS_ALL,
	    .charset = "windows-1252",
	    .devices = devices,
	    .device_count = 1,
	    .listen = listeners,
	    .listen_count = 1};
	upstream = (struct upstream_config){.kind = UPSTREAM_SMTP, .identity = {.rule = SENDER_KEEP}};
	return 0;
}

static void store(const char *text)
{
	buf_add_text(&content, text);
	envelope.content_bytes = content.n;
}

/* Ready after how many steps. */
static unsigned prepare(struct outgoing *outgoing)
{
	unsigned steps = 1;
	enum outgoing_state state;

	while ((state = outgoing_prepare(outgoing)) == OUTGOING_MORE)
		steps++;
	assert_int_equal(state, OUTGOING_READY);
	return steps;
}

static struct buf read_all(struct outgoing *outgoing, size_t piece)
{
	struct buf out = {0};
	char bytes[32768];
	ssize_t n;

	while ((n = outgoing_read(outgoing, bytes, piece)) > 0)
		buf_add(&out, bytes, (size_t)n);
	assert_int_equal(n, 0);
	assert_int_equal(out.n, outgoing_bytes(outgoing));
	return out;
}

/* What goes out, as a string; the caller frees it. names: what it is to say of its repairs. */
static char *go_out(const char *names)
{
	struct outgoing *outgoing = outgoing_new(&config, &upstream, NULL, NULL);

	prepare(outgoing);
	struct buf first = read_all(outgoing, sizeof(char[32768]));
	outgoing_rewind(outgoing);
	struct buf again = read_all(outgoing, 7);
	assert_int_equal(first.n, again.n);
	assert_memory_equal(first.p, again.p, first.n);
	assert_string_equal(outgoing_repairs(outgoing), names);
	buf_add_char(&first, '\0');
	buf_free(&again);
	outgoing_free(outgoing);
	return first.p;
}

static void expect(const char *names, const char *want)
{
	char *got = go_out(names);

	assert_string_equal(got, want);
	free(got);
}

static void what_needs_no_repair_goes_out_as_it_is_stored(void **state)
{
	(void)state;
	store(HEAD FIELDS "\r\nx\r\n");
	expect("", HEAD FIELDS "\r\nx\r\n");
}

static void what_is_missing_is_put_in(void **state)
{
	(void)state;
	store(HEAD "Subject: Scan\r\n\r\nx\r\n");
	expect("from,to,date,message-id", HEAD "Subject: Scan\r\nFrom: mfd@contoso.com\r\nTo: "
					       "bob@contoso.com\r\nDate: Fri, 27 Nov 2026 13:30:00 "
					       "+0000\r\nMessage-ID: <01ab@relay.test>\r\n\r\nx\r\n");
	envelope.recipient_count = 2;
	envelope.sender = "";
	devices[0].identity.address = "hall@contoso.com";
	expect("from,to,date,message-id",
	    HEAD "Subject: Scan\r\nFrom: hall@contoso.com\r\nTo: undisclosed-recipients:;\r\nDate: Fri, 27 "
		 "Nov 2026 "
		 "13:30:00 +0000\r\nMessage-ID: <01ab@relay.test>\r\n\r\nx\r\n");
}

static void the_device_goes_before_the_listener_and_that_before_all(void **state)
{
	static const struct {
		enum repairs global, listener, device;
		bool on;
	} cases[] = {
	    {REPAIRS_ALL, REPAIRS_UNSET, REPAIRS_UNSET, true},
	    {REPAIRS_NONE, REPAIRS_UNSET, REPAIRS_UNSET, false},
	    {REPAIRS_ALL, REPAIRS_NONE, REPAIRS_UNSET, false},
	    {REPAIRS_NONE, REPAIRS_ALL, REPAIRS_UNSET, true},
	    {REPAIRS_NONE, REPAIRS_NONE, REPAIRS_ALL, true},
	    {REPAIRS_ALL, REPAIRS_ALL, REPAIRS_NONE, false},
	};

	(void)state;
	store(HEAD FIELDS "Bcc: x@contoso.com\r\n\r\nx\r\n");
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		config.repairs = cases[i].global;
		listeners[0].repairs = cases[i].listener;
		devices[0].repairs = cases[i].device;
		free(go_out(cases[i].on ? "bcc" : ""));
	}
	/* What is not in the config any more says nothing. */
	envelope.device = "gone";
	envelope.listener = "*:2525";
	config.repairs = REPAIRS_ALL;
	free(go_out("bcc"));
}

static void the_identity_is_applied_without_repairs_too(void **state)
{
	(void)state;
	config.repairs = REPAIRS_NONE;
	upstream = (struct upstream_config){
	    .kind = UPSTREAM_SUBMISSION, .identity = {.rule = SENDER_MAP, .address = "box@contoso.com"}};
	devices[0].identity.display_name = "{device}";
	store(HEAD "From: \"MFD\" <mfd@contoso.com>\r\nBcc: x@contoso.com\r\n\r\nx\r\n");
	expect("identity", HEAD "From: hall <box@contoso.com>\r\nReply-To: \"MFD\" <mfd@contoso.com>\r\nBcc: "
				"x@contoso.com\r\n\r\nx\r\n");
	envelope.is_report = true;
	expect("identity", HEAD "From: hall <box@contoso.com>\r\nBcc: x@contoso.com\r\n\r\nx\r\n");
}

static void a_missing_from_is_who_the_envelope_is_from(void **state)
{
	(void)state;
	config.repairs = REPAIRS_NONE;
	upstream = (struct upstream_config){
	    .kind = UPSTREAM_SUBMISSION, .identity = {.rule = SENDER_MAP, .address = "box@contoso.com"}};
	devices[0].identity = (struct identity_config){.rule = SENDER_KEEP, .display_name = "{device}"};
	store(HEAD "Subject: x\r\n\r\nx\r\n");
	envelope.sender = "BOX@contoso.com";
	expect("identity", HEAD "Subject: x\r\nFrom: hall <BOX@contoso.com>\r\n\r\nx\r\n");
	envelope.sender = "";
	expect("identity", HEAD "Subject: x\r\nFrom: hall <box@contoso.com>\r\n\r\nx\r\n");
	upstream.identity.rule = SENDER_KEEP;
	expect("", HEAD "Subject: x\r\n\r\nx\r\n");
}

static void a_blank_subject_is_what_the_device_has_for_it(void **state)
{
	(void)state;
	store(HEAD
	    "From: mfd@contoso.com\r\nTo: bob@contoso.com\r\nSubject: \r\nDate: Fri, 27 Nov 2026 14:29:00 "
	    "+0100\r\nMessage-ID: <1@mfd>\r\n\r\nx\r\n");
	free(go_out(""));
	devices[0].subject = "Scan";
	char *out = go_out("subject");
	assert_non_null(strstr(out, "\r\nSubject: Scan\r\n"));
	free(out);
}

static void raw_headers_are_in_the_devices_charset(void **state)
{
	(void)state;
	store(HEAD "From: mfd@contoso.com\r\nTo: bob@contoso.com\r\nSubject: \xa4\r\nDate: Fri, 27 Nov 2026 "
		   "14:29:00 "
		   "+0100\r\nMessage-ID: <1@mfd>\r\n\r\nx\r\n");
	char *out = go_out("8bit");
	assert_non_null(strstr(out, "=?utf-8?Q?=C2=A4?=")); /* the currency sign */
	free(out);
	devices[0].charset = "iso-8859-15";
	out = go_out("8bit");
	assert_non_null(strstr(out, "=?utf-8?Q?=E2=82=AC?=")); /* the euro sign */
	free(out);
	devices[0].charset = "SJIS";			   /* of iconv's */
	assert_true(charset_is_known(devices[0].charset)); /* as the check of the config asks */
	out = go_out("8bit");
	assert_non_null(strstr(out, "=?utf-8?Q?=EF=BD=A4?=")); /* half-width ideographic comma */
	free(out);
}

static void fill(size_t n)
{
	static const char line[] =
	    "QUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJD\r\n";

	while (content.n < n)
		buf_add_text(&content, line);
	envelope.content_bytes = content.n;
}

static void a_large_message_is_looked_at_in_bounded_steps(void **state)
{
	(void)state;
	store(HEAD FIELDS "MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\n");
	fill(3 << 20);
	struct outgoing *outgoing = outgoing_new(&config, &upstream, NULL, NULL);
	unsigned steps = prepare(outgoing);
	assert_in_range(steps, 12, 14);
	assert_int_equal(read_bytes, content.n);
	assert_int_equal(outgoing_bytes(outgoing), content.n);
	outgoing_free(outgoing);
}

static void a_from_that_cannot_be_checked_does_not_go_out(void **state)
{
	(void)state;
	store(HEAD);
	for (int i = 0; i < 1001; i++)
		store("X-a: b\r\n");
	store("From: ceo@contoso.com\r\n\r\nx\r\n");
	for (int forced = 0; forced < 2; forced++) {
		struct outgoing *outgoing = outgoing_new(&config, &upstream, NULL, NULL);
		prepare(outgoing);
		assert_string_equal(outgoing_left(outgoing), "header-size");
		if (forced)
			assert_string_equal(outgoing_refusal(outgoing), "header-size");
		else
			assert_null(outgoing_refusal(outgoing));
		outgoing_free(outgoing);
		upstream.identity =
		    (struct identity_config){.rule = SENDER_FORCE, .address = "box@contoso.com"};
	}
}

/* The header is all that is read where nothing else can matter. */
static void no_more_is_read_than_what_the_plan_hangs_on(void **state)
{
	(void)state;
	store(HEAD "DKIM-Signature: v=1\r\n" FIELDS "\r\n");
	fill(3 << 20);
	struct outgoing *outgoing = outgoing_new(&config, &upstream, NULL, NULL);
	assert_int_equal(prepare(outgoing), 1);
	assert_string_equal(outgoing_left(outgoing), "signed");
	assert_in_range(read_bytes, 1, 65536);
	outgoing_free(outgoing);

	config.repairs = REPAIRS_NONE;
	read_bytes = 0;
	outgoing = outgoing_new(&config, &upstream, NULL, NULL);
	assert_int_equal(prepare(outgoing), 1);
	assert_int_equal(read_bytes, 0);
	assert_int_equal(outgoing_bytes(outgoing), content.n);
	outgoing_free(outgoing);
}

static void a_file_that_is_too_short_is_an_error(void **state)
{
	char bytes[4096];
	ssize_t n;

	(void)state;
	store(HEAD FIELDS "\r\nx\r\n");
	envelope.content_bytes += 1;
	struct outgoing *outgoing = outgoing_new(&config, &upstream, NULL, NULL);
	assert_int_equal(outgoing_prepare(outgoing), OUTGOING_FAILED);
	assert_int_equal(errno, EIO);
	outgoing_free(outgoing);

	config.repairs = REPAIRS_NONE;
	outgoing = outgoing_new(&config, &upstream, NULL, NULL);
	prepare(outgoing);
	while ((n = outgoing_read(outgoing, bytes, sizeof bytes)) > 0)
		;
	assert_int_equal(n, -1);
	assert_int_equal(errno, EIO);
	outgoing_free(outgoing);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(what_needs_no_repair_goes_out_as_it_is_stored, set_up),
	    cmocka_unit_test_setup(what_is_missing_is_put_in, set_up),
	    cmocka_unit_test_setup(the_device_goes_before_the_listener_and_that_before_all, set_up),
	    cmocka_unit_test_setup(the_identity_is_applied_without_repairs_too, set_up),
	    cmocka_unit_test_setup(a_missing_from_is_who_the_envelope_is_from, set_up),
	    cmocka_unit_test_setup(a_blank_subject_is_what_the_device_has_for_it, set_up),
	    cmocka_unit_test_setup(raw_headers_are_in_the_devices_charset, set_up),
	    cmocka_unit_test_setup(a_large_message_is_looked_at_in_bounded_steps, set_up),
	    cmocka_unit_test_setup(a_from_that_cannot_be_checked_does_not_go_out, set_up),
	    cmocka_unit_test_setup(no_more_is_read_than_what_the_plan_hangs_on, set_up),
	    cmocka_unit_test_setup(a_file_that_is_too_short_is_an_error, set_up),
	};

	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	buf_free(&content);
	return failed;
}
