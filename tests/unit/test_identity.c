/* Who a message is from as it goes out: the device's rule, then the upstream's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "config/config.h"
#include "sender/identity.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define BOX	      "box@contoso.com"
#define MFD	      "mfd@contoso.com"

static char *own_domain[] = {"*@contoso.com"};

static const struct device plain = {.name = "hall", .identity = {.rule = SENDER_KEEP}};
static const struct device falls_back = {.name = "hall", .identity = {.rule = SENDER_KEEP, .address = MFD}};
static const struct device mapped = {.name = "hall", .identity = {.rule = SENDER_MAP, .address = MFD}};
static const struct device forced = {.name = "hall", .identity = {.rule = SENDER_FORCE, .address = MFD}};

static const struct upstream_config smtp = {.kind = UPSTREAM_SMTP, .identity = {.rule = SENDER_KEEP}};
static const struct upstream_config direct = {
    .kind = UPSTREAM_DIRECT_SEND, .identity = {.rule = SENDER_KEEP, .address = BOX}};
static const struct upstream_config box = {
    .kind = UPSTREAM_SUBMISSION, .identity = {.rule = SENDER_MAP, .address = BOX}};
static const struct upstream_config domain = {.kind = UPSTREAM_SUBMISSION,
    .identity = {.rule = SENDER_MAP, .address = BOX, .send_as = own_domain, .send_as_count = 1}};
static const struct upstream_config hve = {
    .kind = UPSTREAM_HVE, .identity = {.rule = SENDER_FORCE, .address = BOX}};
static const struct upstream_config connector = {
    .kind = UPSTREAM_CONNECTOR, .identity = {.rule = SENDER_KEEP}};

struct example {
	const char *label;
	const struct device *device;
	const struct upstream_config *upstream;
	const char *from, *to;
};

static const struct example examples[] = {
    {"keep keeps", &plain, &smtp, "a@b.example", "a@b.example"},
    {"keep without an address keeps even what is of no use", &plain, &smtp, "root", "root"},
    {"a local part alone gives way to the device's address", &falls_back, &smtp, "root", MFD},
    {"localhost gives way", &falls_back, &smtp, "x@LocalHost", MFD},
    {"an address literal gives way", &falls_back, &smtp, "x@[10.0.0.5]", MFD},
    {"a dot before the @ gives way", &falls_back, &smtp, "ilo.@contoso.com", MFD},
    {"what is of use stays beside an address to fall back on", &falls_back, &smtp, "a@b.example",
	"a@b.example"},
    {"the upstream's address is the second to fall back on", &plain, &direct, "root", BOX},
    {"a device that is not known any more has no rule", NULL, &direct, "root", BOX},
    {"map: a stranger gives way", &plain, &box, "a@b.example", BOX},
    {"map: the address itself stays", &plain, &box, "BOX@Contoso.com", "BOX@Contoso.com"},
    {"map: what may be sent as stays", &plain, &domain, "a@CONTOSO.com", "a@CONTOSO.com"},
    {"map: what is of no use gives way, whatever may be sent as", &plain, &domain, "ilo.@contoso.com", BOX},
    {"force: everybody gives way", &plain, &hve, "a@contoso.com", BOX},
    {"force: the address itself is written as the config has it", &plain, &hve, "BOX@contoso.com", BOX},
    {"the device's address stays where the upstream may send as it", &mapped, &domain, "a@b.example", MFD},
    {"the upstream has the last word", &mapped, &box, "a@b.example", BOX},
    {"a device's force comes before the upstream's list", &forced, &domain, "a@contoso.com", MFD},
};

static void every_rule_gives_its_address(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(examples); i++) {
		const struct example *e = &examples[i];
		struct identity identity = {e->device, e->upstream, NULL};
		const char *address = identity_address(&identity, e->from);
		if (strcmp(address, e->to) != 0 || strcmp(identity_sender(&identity, e->from), e->to) != 0)
			fail_msg("%s: %s became %s", e->label, e->from, address);
		/* The pointer tells a caller that nothing is to be rewritten. */
		if (strcmp(e->from, e->to) == 0 && address != e->from)
			fail_msg("%s: is another pointer", e->label);
	}
}

static void the_null_sender_stays_but_where_it_is_refused(void **state)
{
	static const struct example nulls[] = {
	    {"any other server takes it", &forced, &smtp, "", ""},
	    {"direct send takes it", &plain, &direct, "", ""},
	    {"a mailbox does not", &plain, &box, "", BOX},
	    {"nor does HVE", &forced, &hve, "", BOX},
	    {"a connector does not, but there is nobody to put in", &plain, &connector, "", ""},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(nulls); i++) {
		struct identity identity = {nulls[i].device, nulls[i].upstream, NULL};
		if (strcmp(identity_sender(&identity, ""), nulls[i].to) != 0)
			fail_msg("%s: %s", nulls[i].label, identity_sender(&identity, ""));
	}
}

static void a_from_that_names_nobody_is_filled_by_a_rule_alone(void **state)
{
	struct identity keep = {&falls_back, &direct, NULL}, map = {&falls_back, &box, NULL};

	(void)state;
	assert_string_equal(identity_address(&keep, ""), "");
	assert_string_equal(identity_address(&map, ""), BOX);
	assert_false(identity_has_rule(&(struct identity){&plain, &smtp, NULL}));
	assert_true(identity_has_rule(&(struct identity){&falls_back, &smtp, NULL}));
	assert_true(identity_has_rule(&(struct identity){NULL, &box, NULL}));
}

static void the_display_name_holds_the_device(void **state)
{
	struct device device = plain;
	struct upstream_config upstream = smtp;
	struct identity identity = {&device, &upstream, NULL};

	(void)state;
	assert_null(identity_display_name(&identity));
	upstream.identity.display_name = "{device}";
	char *name = identity_display_name(&identity);
	assert_string_equal(name, "hall");
	free(name);
	device.identity.display_name = "Scanner {device} ({device})";
	name = identity_display_name(&identity);
	assert_string_equal(name, "Scanner hall (hall)");
	free(name);
	identity.device = NULL;
	assert_null(identity_display_name(&identity));
}

static void of_several_mailboxes_the_one_that_logs_in_is_the_sender(void **state)
{
	struct upstream_config several = box;
	struct identity identity = {&plain, &several, "second@contoso.com"};

	(void)state;
	several.identity.is_any_mailbox = true;
	assert_string_equal(identity_address(&identity, "printer@contoso.com"), "second@contoso.com");
	assert_string_equal(identity_address(&identity, BOX), "second@contoso.com");
	assert_string_equal(identity_sender(&identity, ""), "second@contoso.com");
	/* One that the config gives is for all of them. */
	several.identity.is_any_mailbox = false;
	assert_string_equal(identity_address(&identity, "printer@contoso.com"), BOX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_rule_gives_its_address),
	    cmocka_unit_test(the_null_sender_stays_but_where_it_is_refused),
	    cmocka_unit_test(of_several_mailboxes_the_one_that_logs_in_is_the_sender),
	    cmocka_unit_test(a_from_that_names_nobody_is_filled_by_a_rule_alone),
	    cmocka_unit_test(the_display_name_holds_the_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
