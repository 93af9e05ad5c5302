/* The relay's own refusals. They stand in the log and on devices' panels, and are told by words that nobody else uses. */
#include "catalogue/own.h"

#include "catalogue/rows.h"

const struct own_row own_rows[] = {
    {"is not listed in devices of this relay",
	{"device-not-listed", OUTCOME_P, ACTOR_RELAY, BY_RETRY,
	    "The relay takes mail from what devices lists only, and this address is not there.",
	    "mfdrelay allow <address> --name <name>; mfdrelay unknown shows all who were refused so. What "
	    "has no "
	    "address of its own logs in: give its entry user and password."}},
    {"user or password is wrong|no device has that user and password",
	{"device-login-wrong", OUTCOME_P, ACTOR_DEVICE, BY_RETRY,
	    "No entry of devices has that user and password, or not for the address they came from.",
	    "Type them anew at the device; a new password is made by mfdrelay passwd --generate. An entry "
	    "with "
	    "address and user takes logins from that address only."}},
    {"devices.auth_requires_tls", {"device-login-needs-tls", OUTCOME_P, ACTOR_DEVICE, BY_RETRY,
				      "The entry of devices takes logins by TLS 1.2 or later only.",
				      "Switch TLS on at the device; where it has none, take "
				      "auth_requires_tls out of its entry, and give it a "
				      "password that is used nowhere else."}},
    {"auth is not offered",
	{"device-login-not-offered", OUTCOME_P, ACTOR_RELAY, BY_RETRY,
	    "The device logs in, and no entry of devices has a user for its address.",
	    "Switch authentication off at the device, or give an entry of devices user and password."}},
    {"devices.senders", {"device-sender-not-allowed", OUTCOME_P, ACTOR_RELAY, BY_RETRY,
			    "The device's entry lists senders, and this sender is not among them.",
			    "Correct the sender at the device, or add it to senders of its entry."}},
    {"devices.recipients", {"device-recipient-not-allowed", OUTCOME_P, ACTOR_RELAY, BY_RETRY,
			       "Without a login the device may send to the recipients of its entry only.",
			       "Add the address to recipients of its entry, or have it log in."}},
    {"see routes in mfdrelay.conf",
	{"no-route-for-recipient", OUTCOME_P, ACTOR_RELAY, BY_RETRY, "No route takes this recipient.",
	    "Add one to routes, such as { recipients = \"*\"; via = ...; } as the last, then reload."}},
    {"larger than limits.|larger than devices.|larger than the size of upstream",
	{"larger-than-relay-takes", OUTCOME_P, ACTOR_DEVICE, BY_RETRY,
	    "The message is larger than the limit that the answer names.",
	    "Scan with a lower resolution or in parts; or raise the key that is named, where the upstream "
	    "takes "
	    "more."}},
    {"devices.messages_per_hour",
	{"device-storm", OUTCOME_P, ACTOR_DEVICE, BY_RETRY,
	    "The device has sent three times its messages_per_hour, and is put off until the hour is over.",
	    "Look why it sends so much; where that is right, raise messages_per_hour of its entry."}},
    {"limits.sessions|limits.idle|limits.message_time|limits.min_data_rate|than limits.recipients",
	{"relay-limit", OUTCOME_P, ACTOR_RELAY, BY_RETRY,
	    "A limit of the relay, named in the answer, was reached.",
	    "Most devices try again by themselves. Where it comes often, look at what the device does, or "
	    "raise "
	    "the key under limits."}},
    {"disk is full: try again|disk quota is used up",
	{"relay-disk-full", OUTCOME_P, ACTOR_RELAY, BY_RETRY,
	    "The spool's file system has less room than limits.free_space keeps.",
	    "Make room there: mfdrelay status shows what waits and what is in failed/ of the spool."}},
    {"the relay could not store the message|spool folder is not in its place",
	{"relay-spool-trouble", OUTCOME_P, ACTOR_RELAY, BY_RETRY,
	    "The spool could not take the message: the answer says why.",
	    "Look at the spool's file system and at mfdrelay status."}},
    {"bare_newlines of this listener",
	{"bare-newline-refused", OUTCOME_P, ACTOR_DEVICE, BY_RETRY,
	    "Lines of the message end in a CR or an LF alone, which this listener rejects.",
	    "Correct the program that sends; a device belongs to a listener with bare_newlines = "
	    "\"repair\"."}},
    {"postmaster is nobody here",
	{"relay-without-postmaster", OUTCOME_P, ACTOR_RELAY, BY_RETRY,
	    "The device writes to postmaster without a domain, and the config does not say who that is.",
	    "Set report_to in the config; or give the device a whole address."}},
    {"smtputf8 is not offered",
	{"device-address-not-ascii", OUTCOME_P, ACTOR_DEVICE, BY_RETRY,
	    "An address that the device uses has letters beyond ASCII, which Microsoft 365 does not give to "
	    "mailboxes.",
	    "Correct the address at the device; names beside it may have any letters."}},
    {"recipients in one rcpt", {"device-recipients-in-one", OUTCOME_P, ACTOR_DEVICE, BY_RETRY,
				   "The device writes more than a hundred recipients into one command.",
				   "Send to fewer at a time, or to a distribution group."}},
    {"received headers: mail loop",
	{"relay-mail-loop", OUTCOME_P, ACTOR_RELAY, BY_RETRY,
	    "The message has gone round: something sends the relay its own mail back.",
	    "Read its Received headers; take the forwarding or the route out that leads back here."}},
};

const size_t own_row_count = sizeof own_rows / sizeof own_rows[0];
