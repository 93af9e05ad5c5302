#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <jansson.h>

#include "base/clock.h"
#include "cli/ask.h"
#include "cli/commands.h"
#include "cli/open.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "config/config.h"
#include "spool/spool.h"

#define HEAD_SHOWN 8192 /* bytes of content that `show` looks for the header in */

static const char usage[] =
    "usage: mfdrelay queue list [--json] [-c FILE]\n"
    "       mfdrelay queue show ID [--json] [-c FILE]\n"
    "       mfdrelay queue retry ID|all [-c FILE]\n"
    "\n"
    "list    what waits in the queue and what was given up (failed), oldest first\n"
    "show    one message: envelope, what each recipient got so far and why, its header\n"
    "retry   try now, whatever the wait; a message in failed goes back to the queue. `all` means all that "
    "waits.\n"
    "\n"
    "list and show read the spool itself and work with the daemon up or down; retry asks the daemon.\n";

struct listing {
	struct spool *spool;
	enum spool_folder folder;
	json_t *array;	 /* NULL: print */
	bool any_untold; /* something waits, and the spool does not know why */
	size_t count;
};

static const char *folder_name(enum spool_folder folder)
{
	return folder == SPOOL_QUEUE ? "queue" : "failed";
}

static size_t count_status(const struct state *state, enum recipient_status status)
{
	size_t n = 0;

	for (size_t i = 0; i < state->count; i++)
		n += state->recipients[i].status == status;
	return n;
}

/* The recipient that says most about why the message is where it is. */
static const struct recipient_state *telling(const struct state *state)
{
	for (size_t i = 0; i < state->count; i++)
		if (state->recipients[i].status != RECIPIENT_DELIVERED &&
		    state->recipients[i].reason[0] != '\0')
			return &state->recipients[i];
	return &state->recipients[0];
}

static json_t *recipient_json(const char *address, const struct recipient_state *r)
{
	char next[40] = "";

	if (r->status == RECIPIENT_PENDING && r->next_ms > 0)
		clock_rfc3339(next, sizeof next, r->next_ms);
	return json_pack("{s:s, s:s, s:i, s:s, s:s, s:s}", "address", address, "status",
	    recipient_status_name(r->status), "attempts", (int)r->attempts, "next", next, "upstream",
	    r->upstream, "reason", r->reason);
}

static json_t *message_json(const struct envelope *e, const struct state *state, enum spool_folder folder)
{
	char accepted[40];
	json_t *recipients = json_array();

	for (size_t i = 0; i < state->count; i++)
		json_array_append_new(recipients, recipient_json(e->recipients[i], &state->recipients[i]));
	return json_pack("{s:s, s:s, s:s, s:I, s:s, s:s, s:s, s:s, s:s, s:b, s:o}", "id", e->id, "folder",
	    folder_name(folder), "accepted", clock_rfc3339(accepted, sizeof accepted, e->accepted_ms),
	    "bytes", (json_int_t)e->content_bytes, "device", e->device, "peer", e->peer, "user", e->user,
	    "listener", e->listener, "sender", e->sender, "report", e->is_report, "recipients", recipients);
}

static void print_row(const struct envelope *e, const struct state *state, enum spool_folder folder)
{
	char age[24], bytes[24], device[20], sender[40], reason[100];

	printf("%-19s %-6s %7s %9s  %-16s %-32s %zu/%zu  %s\n", e->id, folder_name(folder),
	    terminal_duration(age, sizeof age, clock_wall_ms() - e->accepted_ms),
	    terminal_bytes(bytes, sizeof bytes, e->content_bytes),
	    terminal_text(device, sizeof device, e->is_report ? "(report)" : e->device, 16),
	    terminal_text(sender, sizeof sender, e->sender[0] != '\0' ? e->sender : "<>", 32),
	    count_status(state, RECIPIENT_DELIVERED), state->count,
	    terminal_text(reason, sizeof reason, telling(state)->reason, 90));
}

/* As the spool's error number has it. */
static const char *trouble_name(void)
{
	return errno == EBADMSG ? "damaged" : "cannot be read";
}

static void list_one(void *arg, const char *id)
{
	struct listing *listing = arg;
	struct envelope envelope;
	struct state state;
	struct err err = {""};

	if (spool_inspect(listing->spool, listing->folder, id, &envelope, &state, NULL, NULL, &err) < 0) {
		/* Delivered since the folder was read. */
		if (errno == ENOENT)
			return;
		listing->count++;
		if (listing->array != NULL)
			json_array_append_new(listing->array,
			    json_pack("{s:s, s:s, s:s}", "id", id, "folder", folder_name(listing->folder),
				errno == EBADMSG ? "damaged" : "unreadable", err.text));
		else
			printf("%-19s %-6s %s: %s\n", id, folder_name(listing->folder), trouble_name(),
			    err.text);
		return;
	}
	listing->count++;
	listing->any_untold |= listing->folder == SPOOL_QUEUE && telling(&state)->reason[0] == '\0';
	if (listing->array != NULL)
		json_array_append_new(listing->array, message_json(&envelope, &state, listing->folder));
	else
		print_row(&envelope, &state, listing->folder);
	envelope_free(&envelope);
	state_free(&state);
}

static void print_window(const char *name, const json_t *window)
{
	const char *limit = json_string_value(json_object_get(window, "waits_for"));

	if (limit != NULL)
		printf("%s waits for its send window: %s; more leaves in %lld s\n", name, limit,
		    (long long)json_integer_value(json_object_get(window, "wait_s")));
}

/* What the spool does not know of: mail that waits for a send window, and has not been tried for that reason. */
static void print_windows(const struct config *config)
{
	struct err err = {""};
	json_t *status = NULL, *upstream, *mailbox;
	size_t i, j;

	if (spool_is_locked(config->spool))
		status = ask_daemon(config, json_pack("{s:s}", "command", "status"), &err);
	json_array_foreach(json_object_get(status, "upstreams"), i, upstream) {
		print_window(json_string_value(json_object_get(upstream, "name")),
		    json_object_get(upstream, "window"));
		json_array_foreach(json_object_get(upstream, "mailboxes"), j, mailbox)
			print_window(json_string_value(json_object_get(mailbox, "mailbox")),
			    json_object_get(mailbox, "window"));
	}
	json_decref(status);
}

static int list(const struct config *config, struct spool *spool, bool as_json)
{
	struct listing listing = {.spool = spool, .array = as_json ? json_array() : NULL};
	struct err err = {""};
	int status = 0;

	if (!as_json)
		printf("%-19s %-6s %7s %9s  %-16s %-32s %s\n", "ID", "FOLDER", "AGE", "SIZE", "DEVICE",
		    "SENDER", "DELIVERED, REASON");
	for (int folder = SPOOL_QUEUE; folder <= SPOOL_FAILED && status == 0; folder++) {
		listing.folder = (enum spool_folder)folder;
		if (spool_list(spool, listing.folder, list_one, &listing, &err) < 0) {
			fprintf(stderr, "mfdrelay: %s\n", err.text);
			status = 1;
		}
	}
	if (as_json) {
		terminal_json(listing.array);
		json_decref(listing.array);
	} else {
		printf("%zu message%s\n", listing.count, listing.count == 1 ? "" : "s");
		if (listing.any_untold) {
			puts(
			    "Without a reason: not tried yet, or its upstream is held; see: mfdrelay status");
			print_windows(config);
		}
	}
	return status;
}

static void print_line(const char *label, const char *value)
{
	char text[1200];

	printf("%-11s%s\n", label, terminal_text(text, sizeof text, value, sizeof text));
}

static void print_recipient(const char *address, const struct recipient_state *r)
{
	char text[1200], time[40];

	printf("  <%s> %s", terminal_text(text, sizeof text, address, 330), recipient_status_name(r->status));
	if (r->attempts > 0)
		printf(", %u attempt%s", r->attempts, r->attempts == 1 ? "" : "s");
	if (r->status == RECIPIENT_PENDING && r->next_ms > 0)
		printf(", next %s", clock_rfc3339(time, sizeof time, r->next_ms));
	putchar('\n');
	if (r->reason[0] != '\0')
		printf(
		    "      %s: %s\n", r->upstream, terminal_text(text, sizeof text, r->reason, sizeof text));
	if (r->refused_by[0] != '\0')
		printf("      left to others by: %s\n",
		    terminal_text(text, sizeof text, r->refused_by, sizeof text));
	if (r->status == RECIPIENT_PENDING && r->perhaps_taken_by[0] != '\0')
		printf("      perhaps taken, its answer was lost: %s\n",
		    terminal_text(text, sizeof text, r->perhaps_taken_by, sizeof text));
}

static void print_header(char *content, size_t n)
{
	char text[1000];
	char *rest = NULL;

	content[n] = '\0';
	char *end = strstr(content, "\r\n\r\n");
	if (end != NULL)
		*end = '\0';
	puts("header:");
	for (char *line = strtok_r(content, "\r\n", &rest); line != NULL;
	     line = strtok_r(NULL, "\r\n", &rest))
		printf("  %s\n", terminal_text(text, sizeof text, line, sizeof text));
}

/* As the list has it. */
static void print_json(const struct envelope *e, const struct state *state, enum spool_folder folder)
{
	json_t *message = message_json(e, state, folder);

	terminal_json(message);
	json_decref(message);
}

static void print_message(const struct envelope *e, const struct state *state, enum spool_folder folder)
{
	char text[40];

	print_line("id", e->id);
	print_line("folder", folder_name(folder));
	print_line("accepted", clock_rfc3339(text, sizeof text, e->accepted_ms));
	print_line("size", terminal_bytes(text, sizeof text, e->content_bytes));
	print_line("device", e->is_report ? "(a non-delivery report)" : e->device);
	print_line("peer", e->peer);
	if (e->user[0] != '\0')
		print_line("user", e->user);
	if (e->listener[0] != '\0')
		print_line("listener", e->listener);
	print_line("sender", e->sender[0] != '\0' ? e->sender : "<>");
	puts("recipients:");
	for (size_t i = 0; i < state->count; i++)
		print_recipient(e->recipients[i], &state->recipients[i]);
}

/* Returns 0 when it was found there, 1 when not, -1 after an error message. */
static int show_in(struct spool *spool, enum spool_folder folder, const char *id, bool as_json)
{
	static char content[HEAD_SHOWN + 1];
	size_t n = HEAD_SHOWN;
	struct envelope envelope;
	struct state state;
	struct err err = {""};

	if (spool_inspect(spool, folder, id, &envelope, &state, content, &n, &err) < 0) {
		if (errno == ENOENT)
			return 1;
		fprintf(
		    stderr, "mfdrelay: %s/%s: %s: %s\n", folder_name(folder), id, trouble_name(), err.text);
		return -1;
	}
	if (as_json) {
		print_json(&envelope, &state, folder);
	} else {
		print_message(&envelope, &state, folder);
		print_header(content, n);
	}
	envelope_free(&envelope);
	state_free(&state);
	return 0;
}

static bool is_id(const char *text)
{
	if (spool_id_valid(text))
		return true;
	fprintf(stderr, "mfdrelay: \"%s\" is not a queue id; see: mfdrelay queue list\n", text);
	return false;
}

static int show(struct spool *spool, const char *id, bool as_json)
{
	if (!is_id(id))
		return EX_USAGE;
	int result = show_in(spool, SPOOL_QUEUE, id, as_json);
	if (result == 1)
		result = show_in(spool, SPOOL_FAILED, id, as_json);
	if (result == 1)
		fprintf(stderr,
		    "mfdrelay: %s is neither in the queue nor in failed: it was delivered (see the log) or "
		    "never was here\n",
		    id);
	return result == 0 ? 0 : 1;
}

static void print_tried(long long messages)
{
	printf("%lld message%s tried now; see: mfdrelay status\n", messages, messages == 1 ? " is" : "s are");
}

static int retry(const struct config *config, const char *id)
{
	struct err err = {""};

	if (strcmp(id, "all") != 0 && !is_id(id))
		return EX_USAGE;
	json_t *answer = ask_daemon(config, json_pack("{s:s, s:s}", "command", "retry", "id", id), &err);
	int status = 1;

	if (answer == NULL) {
		status = ask_failed(&err);
		if (status != EX_NOPERM)
			fputs("The daemon must run for a retry; see: systemctl status mfdrelay\n", stderr);
	} else if (!json_is_true(json_object_get(answer, "ok")))
		fprintf(stderr, "mfdrelay: %s\n", json_string_value(json_object_get(answer, "error")));
	else
		status = 0;
	if (status == 0)
		print_tried((long long)json_integer_value(json_object_get(answer, "messages")));
	json_decref(answer);
	return status;
}

static int run(const struct config *config, int argc, char **argv, bool as_json)
{
	if (argc == 2 && strcmp(argv[0], "retry") == 0)
		return retry(config, argv[1]);
	struct spool *spool = open_spool(config);
	if (spool == NULL)
		return ask_may_not() ? EX_NOPERM : 1;
	int status = argc == 2 ? show(spool, argv[1], as_json) : list(config, spool, as_json);
	spool_close(spool);
	return status;
}

static bool is_valid(int argc, char **argv, bool as_json)
{
	if (argc == 1)
		return strcmp(argv[0], "list") == 0;
	return argc == 2 && (strcmp(argv[0], "show") == 0 || (strcmp(argv[0], "retry") == 0 && !as_json));
}

int cmd_queue(int argc, char **argv)
{
	struct options options;
	int status = options_parse(argc, argv, "cj+", usage, &options);

	if (status >= 0)
		return status;
	if (!is_valid(options.argc, options.argv, options.json)) {
		fputs("mfdrelay: queue takes: list [--json]; show ID [--json]; retry ID; retry all\n\n",
		    stderr);
		fputs(usage, stderr);
		return EX_USAGE;
	}
	struct config *config = open_config(options.file, &status);
	if (config == NULL)
		return status;
	status = run(config, options.argc, options.argv, options.json);
	config_free(config);
	return status;
}
