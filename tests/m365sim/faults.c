#include "faults.h"

#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include "log.h"
#include "sim_tls.h"
#include "stop.h"
#include "store.h"
#include "text.h"
#include "tokens.h"

#define CONTROL_MAX  (1024L * 1024)
#define ANY_FRONT    (-1)
#define WAIT_STEP_MS 10L

static const char *const stage_names[] = {"connect", "banner", "ehlo", "starttls", "handshake", "auth",
    "mail", "rcpt", "data", "bdat", "content", "final-dot", "rset", "quit", "login", "identity", "tokens",
    "throttle"};

enum argument { NOTHING, TEXT, NUMBER, AMOUNT, IDENTITY };

#define AT(stage) (1u << STAGE_##stage)
#define REPLIES                                                                                              \
	(AT(BANNER) | AT(EHLO) | AT(STARTTLS) | AT(AUTH) | AT(MAIL) | AT(RCPT) | AT(DATA) | AT(BDAT) |       \
	    AT(FINAL_DOT) | AT(RSET) | AT(QUIT))
#define CONNECTION (REPLIES | AT(CONNECT) | AT(HANDSHAKE) | AT(CONTENT))
#define HTTP	   (AT(LOGIN) | AT(IDENTITY))
#define ALL_FRONTS (CONNECTION | HTTP)

/* One row an action: its words, where it may stand, and the line of --help. */
static const struct action_row {
	const char *word;
	unsigned stages;
	enum argument argument;
	const char *shape; /* of its argument */
	const char *help;
} actions[ACTION_COUNT] = {
    [ACTION_REPLY] = {"reply", REPLIES | AT(CONTENT), TEXT, "TEXT",
	"answer this (\\n parts lines); 2xx and 3xx go on as after success; at content: before any of it is "
	"read"},
    [ACTION_EXTRA] = {"extra", REPLIES, TEXT, "TEXT", "the usual answer and this line behind it, unasked"},
    [ACTION_DELAY] = {"delay", ALL_FRONTS, NUMBER, "MS",
	"wait, at most until other rules are read, then go on as usual"},
    [ACTION_CUT] = {"cut", ALL_FRONTS, NOTHING, "", "close the connection without an answer"},
    [ACTION_RESET] = {"reset", ALL_FRONTS, NOTHING, "", "the same by RST"},
    [ACTION_STALL] = {"stall", ALL_FRONTS, NOTHING, "", "never answer again"},
    [ACTION_GARBAGE] = {"garbage", ALL_FRONTS & ~AT(CONTENT), NOTHING, "",
	"answer bytes that are no protocol"},
    [ACTION_HUGE_LINE] = {"huge-line", REPLIES, NOTHING, "", "answer one line of 100 KB"},
    [ACTION_HALF] = {"half", REPLIES | HTTP, NOTHING, "", "half of the answer, then close"},
    [ACTION_ENDLESS] = {"endless", REPLIES, NOTHING, "", "a reply of lines without end (64 MB)"},
    [ACTION_KEEP_CUT] = {"keep-cut", AT(FINAL_DOT), NOTHING, "", "keep the message, close without an answer"},
    [ACTION_CUT_AFTER] = {"cut-after", AT(CONTENT), AMOUNT, "BYTES|N%", "close after so much content"},
    [ACTION_STALL_AFTER] = {"stall-after", AT(CONTENT), AMOUNT, "BYTES|N%",
	"stop reading after so much content"},
    [ACTION_SLOW] = {"slow", AT(CONTENT), NUMBER, "BYTES", "read so many bytes a second"},
    [ACTION_REFUSE] = {"refuse", AT(CONNECT) | HTTP, NOTHING, "",
	"connection refused ('login down' is the same)"},
    [ACTION_WITHOUT] = {"without", AT(EHLO), TEXT, "WORDS",
	"leave keywords or mechanisms out of the EHLO list"},
    [ACTION_WITH] = {"with", AT(EHLO), TEXT, "LINE", "add a line to the EHLO list"},
    [ACTION_JSON_334] = {"json-334", AT(AUTH), NOTHING, "", "before a 535 to XOAUTH2, send 334 with JSON"},
    [ACTION_CERT] = {"cert", AT(HANDSHAKE) | AT(LOGIN), IDENTITY,
	"wrong-name|expired|not-yet|untrusted|unknown-ca|no-chain|weak-key|weak-hash", "another certificate"},
    [ACTION_TLS_MAX] = {"tls-max", AT(HANDSHAKE) | AT(LOGIN), TEXT, "1.0|1.1|1.2", "highest TLS version"},
    [ACTION_STATUS] = {"status", HTTP, NUMBER, "N", "that HTTP status with a short text"},
    [ACTION_HTML] = {"html", HTTP, NOTHING, "", "200 and a web page"},
    [ACTION_EMPTY] = {"empty", HTTP, NOTHING, "", "200 and nothing"},
    [ACTION_RETRY_AFTER] = {"retry-after", HTTP, NUMBER, "SECONDS", "429 with Retry-After"},
    [ACTION_ERROR] = {"error", AT(LOGIN), NUMBER, "N", "refuse with AADSTSn"},
    [ACTION_HUGE_BODY] = {"huge-body", HTTP, NOTHING, "", "200 and 20 MB of JSON"},
    [ACTION_REDIRECT] = {"redirect", HTTP, TEXT, "URL", "302 to there"},
    [ACTION_STRINGS] = {"strings", AT(LOGIN), NOTHING, "", "numbers in the answer as strings"},
    [ACTION_CUT_JSON] = {"cut-json", HTTP, NOTHING, "", "200 and JSON that breaks off"},
    [ACTION_CHALLENGE] = {"challenge", AT(IDENTITY), TEXT, "TEXT",
	"Arc asks for a proof by this, in place of Basic realm=PATH"},
    [ACTION_EXPIRE_IN] = {"expire-in", AT(TOKENS), NUMBER, "SECONDS",
	"lifetime of tokens issued from now on"},
    [ACTION_VALID_FOR] = {"valid-for", AT(TOKENS), NUMBER, "SECONDS",
	"tokens are refused after that, whatever they say"},
    [ACTION_REVOKE_ALL] = {"revoke-all", AT(TOKENS), NOTHING, "",
	"tokens issued before this reading are refused"},
    [ACTION_LENGTH] = {"length", AT(TOKENS), NUMBER, "N", "about so many characters (else 1600)"},
    [ACTION_CONNECTIONS] = {"connections", AT(THROTTLE), NUMBER, "N",
	"432 at the end of data on connections beyond N of a user"},
    [ACTION_PER_MINUTE] = {"per-minute", AT(THROTTLE), NUMBER, "N",
	"432 beyond N messages of a user in a minute"},
    [ACTION_PER_DAY] = {"per-day", AT(THROTTLE), NUMBER, "N",
	"550 5.1.90 beyond N recipients of a user in a day"},
};

struct rule {
	char *line;
	int front;
	enum stage stage;
	bool negated;
	char *glob; /* NULL: any subject */
	struct fault fault;
	long times;   /* left; -1: no end */
	long after;   /* to be let pass first */
	bool counted; /* times or after was given */
	unsigned long used;
	struct rule *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *control_path;
static struct stat seen;
static struct rule *rules;
static unsigned readings;

static void free_rules(void)
{
	while (rules) {
		struct rule *rule = rules;

		rules = rule->next;
		free(rule->line);
		free(rule->glob);
		free(rule);
	}
}

/* --- reading --- */

static int problem(char *why, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int problem(char *why, size_t size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, size, format, args);
	va_end(args);
	return -1;
}

/* Cut the next word off *text; "" at the end. */
static char *next_word(char **text)
{
	char *word = *text + strspn(*text, " \t"), *end = word + strcspn(word, " \t");

	*text = *end ? end + 1 : end;
	*end = '\0';
	*text += strspn(*text, " \t");
	return word;
}

static bool read_number(const char *text, long *out)
{
	char *end;

	errno = 0;
	*out = strtol(text, &end, 10);
	return isdigit((unsigned char)*text) && !*end && !errno;
}

/* Take "times=N", "after=N", "delay=MS" off the end. */
static void read_modifiers(struct rule *rule, char *text)
{
	static const char *const names[] = {"times=", "after=", "delay="};
	long *targets[] = {&rule->times, &rule->after, &rule->fault.delay_ms};
	size_t i = 0;

	while (i < 3) {
		char *blank, *word;

		while (*text && isspace((unsigned char)text[strlen(text) - 1]))
			text[strlen(text) - 1] = '\0';
		blank = strrchr(text, ' ');
		word = blank ? blank + 1 : text;
		for (i = 0; i < 3; i++)
			if (!strncmp(word, names[i], 6) && read_number(word + 6, targets[i]))
				break;
		if (i < 3)
			*word = '\0';
		if (i < 2)
			rule->counted = true;
	}
}

static int read_stage(struct rule *rule, char *word, char *why, size_t size)
{
	char *colon = strchr(word, ':'), *equals = strchr(word, '=');
	int i;

	if (colon && (!equals || colon < equals)) {
		*colon = '\0';
		for (i = 0; i < FRONT_COUNT && strcmp(word, front_name((enum front)i)) != 0;)
			i++;
		if (i == FRONT_COUNT)
			return problem(why, size, "unknown front '%s': smtp, login, mx, imds or arc", word);
		rule->front = i;
		word = colon + 1;
	}
	if (equals) {
		rule->glob = text_copy(equals + 1);
		rule->negated = equals > word && equals[-1] == '!';
		equals[rule->negated ? -1 : 0] = '\0';
	}
	for (i = 0; i < STAGE_COUNT; i++)
		if (!strcmp(word, stage_names[i])) {
			rule->stage = (enum stage)i;
			return 0;
		}
	return problem(why, size, "unknown stage '%s'", word);
}

static int read_action(struct rule *rule, const char *word, char *why, size_t size)
{
	int i;

	if (!strcmp(word, "down"))
		word = "refuse";
	for (i = 0; i < ACTION_COUNT; i++)
		if (!strcmp(word, actions[i].word)) {
			rule->fault.action = (enum action)i;
			if (actions[i].stages & 1u << rule->stage)
				return 0;
			return problem(
			    why, size, "'%s' can't be done at '%s'", word, stage_names[rule->stage]);
		}
	return problem(why, size, "unknown action '%s'", word);
}

/* Copy a reply with \n (and \r\n) as CRLF. */
static void copy_text(char *dst, size_t size, const char *text)
{
	size_t n = 0;

	for (; *text && n + 3 < size; text++) {
		if (text[0] == '\\' && text[1] == 'r' && text[2] == '\\' && text[3] == 'n')
			text += 2;
		if (text[0] == '\\' && text[1] == 'n') {
			dst[n++] = '\r';
			dst[n++] = '\n';
			text++;
		} else {
			dst[n++] = *text;
		}
	}
	dst[n] = '\0';
}

static bool is_identity(const char *text)
{
	const char *const *name;

	for (name = identity_names + 1; *name; name++)
		if (!strcmp(text, *name))
			return true;
	return false;
}

static int read_argument(struct rule *rule, char *text, char *why, size_t size)
{
	const struct action_row *row = &actions[rule->fault.action];
	size_t n = strlen(text);

	switch (row->argument) {
	case NOTHING:
		return *text ? problem(why, size, "'%s' takes no argument, not '%s'", row->word, text) : 0;
	case AMOUNT:
		rule->fault.percent = n > 1 && text[n - 1] == '%';
		if (rule->fault.percent)
			text[n - 1] = '\0';
		/* fall through */
	case NUMBER:
		if (read_number(text, &rule->fault.number))
			return 0;
		return problem(why, size, "'%s' needs a number, not '%s'", row->word, text);
	case IDENTITY:
		if (!is_identity(text))
			return problem(why, size, "'cert' is one of %s, not '%s'", row->shape, text);
		break;
	case TEXT:
		if (!*text)
			return problem(why, size, "'%s' needs a text", row->word);
		if (rule->fault.action == ACTION_REPLY && !(n > 3 && strspn(text, "0123456789") == 3))
			return problem(why, size, "a reply starts with three digits, not '%s'", text);
		break;
	}
	copy_text(rule->fault.text, sizeof(rule->fault.text), text);
	return 0;
}

/* STAGE ACTION [ARGUMENT], or ACTION at STAGE. */
static int read_rule(struct rule *rule, char *line, char *why, size_t size)
{
	char *first, *second, *rest = line;

	read_modifiers(rule, line);
	first = next_word(&rest);
	second = next_word(&rest);
	if (!strcmp(second, "at")) {
		second = first;
		first = next_word(&rest);
	}
	if (!strcmp(second, "status")) {
		/* The text behind the number is for people. */
		char *number = next_word(&rest);

		rest = number;
	}
	if (read_stage(rule, first, why, size) < 0 || read_action(rule, second, why, size) < 0)
		return -1;
	return read_argument(rule, rest, why, size);
}

static void add_rule(const char *line, json_t *errors, unsigned line_number)
{
	struct rule *rule = text_alloc(sizeof(*rule)), **at;
	char *copy = text_copy(line), why[300];

	rule->line = text_copy(line);
	rule->front = ANY_FRONT;
	rule->times = -1;
	for (at = &rules; *at; at = &(*at)->next)
		;
	if (read_rule(rule, copy, why, sizeof(why)) == 0) {
		*at = rule;
	} else {
		char *text = text_format("control:%u: %s", line_number, why);

		log_event("control", 0, "rule ignored: %s", text);
		json_array_append_new(errors, json_string(text));
		free(text);
		free(rule->line);
		free(rule->glob);
		free(rule);
	}
	free(copy);
}

static char *read_control(void)
{
	FILE *file = fopen(control_path, "r");
	char *text = NULL;

	if (!file)
		return text_copy("");
	text = text_alloc(CONTROL_MAX + 1);
	text[fread(text, 1, CONTROL_MAX, file)] = '\0';
	fclose(file);
	return text;
}

static void report(const char *tag, json_t *errors)
{
	json_t *status = json_pack("{s:s, s:i, s:o}", "tag", tag, "rules", 0, "errors", errors);
	const struct rule *rule;
	int n = 0;

	for (rule = rules; rule; rule = rule->next)
		n++;
	json_object_set_new(status, "rules", json_integer(n));
	store_json("control.status", status);
	json_decref(status);
	log_event("control", 0, "read: %d rules, %zu errors", n, json_array_size(errors));
}

static void load(void)
{
	char *text = read_control(), *rest = text, *line, tag[100] = "";
	json_t *errors = json_array();
	unsigned number = 0;
	const struct rule *rule;

	free_rules();
	readings++;
	while ((line = strsep(&rest, "\n")) != NULL) {
		number++;
		line += strspn(line, " \t\r");
		line[strcspn(line, "\r")] = '\0';
		if (number == 1 && *line == '#')
			snprintf(tag, sizeof(tag), "%s", line + 1 + strspn(line + 1, " "));
		if (*line && *line != '#')
			add_rule(line, errors, number);
	}
	for (rule = rules; rule; rule = rule->next)
		if (rule->fault.action == ACTION_REVOKE_ALL)
			token_revoke_all();
	report(tag, errors);
	free(text);
}

/* Under the lock. */
static void refresh(void)
{
	struct stat now = {0};

	if (stat(control_path, &now) < 0)
		memset(&now, 0, sizeof(now));
	if (now.st_ino == seen.st_ino && now.st_size == seen.st_size &&
	    now.st_mtim.tv_sec == seen.st_mtim.tv_sec && now.st_mtim.tv_nsec == seen.st_mtim.tv_nsec)
		return;
	seen = now;
	load();
}

void faults_open(const char *dir)
{
	control_path = text_format("%s/control", dir);
	faults_refresh();
}

void faults_close(void)
{
	free_rules();
	free(control_path);
	control_path = NULL;
}

void faults_refresh(void)
{
	pthread_mutex_lock(&lock);
	refresh();
	pthread_mutex_unlock(&lock);
}

/* --- asking --- */

static bool applies(
    const struct rule *rule, enum front front, enum stage stage, const char *subject, uint64_t wanted)
{
	if (rule->stage != stage || rule->times == 0 || !(wanted & ACTION_BIT(rule->fault.action)))
		return false;
	if (rule->front != ANY_FRONT && rule->front != (int)front)
		return false;
	if (rule->glob && (fnmatch(rule->glob, subject ? subject : "", FNM_CASEFOLD) == 0) == rule->negated)
		return false;
	return true;
}

/* Count it: whether its turn has come. */
static bool use(struct rule *rule)
{
	if (rule->after > 0) {
		rule->after--;
		return false;
	}
	if (rule->times > 0)
		rule->times--;
	rule->used++;
	return true;
}

bool faults_take(enum front front, enum stage stage, const char *subject, uint64_t wanted, struct fault *out)
{
	struct rule *rule;

	pthread_mutex_lock(&lock);
	refresh();
	for (rule = rules; rule; rule = rule->next)
		if (applies(rule, front, stage, subject, wanted) && use(rule))
			break;
	if (rule) {
		*out = rule->fault;
		out->reading = readings;
		log_event("control", 0, "at %s %s: %s", front_name(front), stage_names[stage], rule->line);
	}
	pthread_mutex_unlock(&lock);
	return rule != NULL;
}

static bool still_stands(const struct fault *fault)
{
	pthread_mutex_lock(&lock);
	bool stands = fault->reading == readings;
	pthread_mutex_unlock(&lock);
	return stands;
}

void faults_wait(const struct fault *fault)
{
	long left_ms = fault->action == ACTION_DELAY ? fault->number : fault->delay_ms;

	for (; left_ms > 0 && still_stands(fault); left_ms -= WAIT_STEP_MS)
		stop_wait(left_ms < WAIT_STEP_MS ? left_ms : WAIT_STEP_MS, -1, 0);
}

void faults_texts(enum front front, enum stage stage, enum action action, char *dst, size_t size)
{
	struct rule *rule;
	size_t n = 0;

	dst[0] = '\0';
	pthread_mutex_lock(&lock);
	refresh();
	for (rule = rules; rule; rule = rule->next)
		if (applies(rule, front, stage, NULL, ACTION_BIT(action)) && use(rule) && n < size)
			n += (size_t)snprintf(dst + n, size - n, "%s%s", n ? " " : "", rule->fault.text);
	pthread_mutex_unlock(&lock);
}

enum stage faults_connect_stage(enum front front)
{
	if (front == FRONT_IMDS || front == FRONT_ARC)
		return STAGE_IDENTITY;
	return front == FRONT_LOGIN ? STAGE_LOGIN : STAGE_CONNECT;
}

bool faults_refusing(enum front front)
{
	enum stage stage = faults_connect_stage(front);
	struct rule *rule;

	pthread_mutex_lock(&lock);
	for (rule = rules; rule; rule = rule->next)
		if (!rule->counted && applies(rule, front, stage, NULL, ACTION_BIT(ACTION_REFUSE)))
			break;
	if (rule)
		rule->used++;
	pthread_mutex_unlock(&lock);
	return rule != NULL;
}

json_t *faults_stats(void)
{
	json_t *all = json_array();
	const struct rule *rule;

	pthread_mutex_lock(&lock);
	for (rule = rules; rule; rule = rule->next)
		json_array_append_new(
		    all, json_pack("{s:s, s:I}", "rule", rule->line, "used", (json_int_t)rule->used));
	pthread_mutex_unlock(&lock);
	return all;
}

void faults_help(FILE *out)
{
	int i, stage;

	for (i = 0; i < ACTION_COUNT; i++) {
		fprintf(
		    out, "  %s %s\n      %s\n      at:", actions[i].word, actions[i].shape, actions[i].help);
		for (stage = 0; stage < STAGE_COUNT; stage++)
			if (actions[i].stages & 1u << stage)
				fprintf(out, " %s", stage_names[stage]);
		fputc('\n', out);
	}
}
