/* The config: the folder configs/ of broken ones with the problems each must give, the sample and the manual
 * against the schema, single values, look-ups, and the files it names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <crypt.h>

#include "base/mem.h"
#include "certs.h"
#include "cli/commands.h"
#include "config/config.h"
#include "config/load.h"
#include "config/schema.h"
#include "config/values.h"

#define BROKEN "tests/unit/configs"
#define SAMPLE "conf/mfdrelay.conf"
#define MANUAL "man/mfdrelay.conf.5"

#define REPORT_TO "report_to = \"it@contoso.com\";"
#define HOSTNAME  "hostname = \"relay.example.net\"; " REPORT_TO "\n"
#define DEVICES	  "devices = ( { name = \"mfd\"; address = \"10.0.0.1\"; } );\n"
#define UPSTREAMS "upstreams = ( { name = \"road\"; kind = \"smtp\"; host = \"mail.example.net\"; } );\n"
#define ROUTES	  "routes = ( { recipients = \"*\"; via = \"road\"; } );\n"
#define MINIMAL	  HOSTNAME DEVICES UPSTREAMS ROUTES

static char folder[] = "/tmp/test_config.XXXXXX";

static char *in_folder(const char *name)
{
	return xasprintf("%s/%s", folder, name);
}

static char *write_bytes(const char *name, const void *bytes, size_t n, mode_t mode)
{
	char *path = in_folder(name);
	FILE *file;

	unlink(path);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, n, file), n);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, mode), 0);
	return path;
}

static char *write_file(const char *name, const char *text, mode_t mode)
{
	return write_bytes(name, text, strlen(text), mode);
}

static char *read_text(const char *path)
{
	char *text = xcalloc(1, 256 * 1024);
	FILE *file = fopen(path, "r");

	if (file == NULL)
		fail_msg("%s: not found; run the tests from the top of the source", path);
	assert_true(fread(text, 1, 256 * 1024 - 1, file) > 0);
	fclose(file);
	return text;
}

static int set_up(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(folder));
	assert_int_equal(chmod(folder, 0755), 0);
	assert_int_equal(setenv("CREDENTIALS_DIRECTORY", folder, 1), 0);
	free(write_file("good", "a-secret\n", 0600));
	free(write_file("open", "a-secret\n", 0644));
	free(write_file("empty", "", 0600));
	char *path = in_folder("folder");
	assert_int_equal(mkdir(path, 0700), 0);
	free(path);
	return 0;
}

static int tear_down(void **state)
{
	char *command = xasprintf("rm -r %s", folder);

	(void)state;
	int result = system(command);
	free(command);
	return result;
}

/* Every problem as a line "error LINE: text", the folder's name taken out. */
static char *all_problems(const struct config_problems *problems, const char *file)
{
	char *all = xstrdup("");

	for (size_t i = 0; i < problems->count; i++) {
		const struct config_problem *problem = &problems->items[i];
		char *place = problem->line > 0 ? xasprintf(" %d", problem->line) : xstrdup("");
		char *prefix = xasprintf(problem->line > 0 ? "%s:%d: " : "%s: ", file, problem->line);
		assert_memory_equal(problem->text, prefix, strlen(prefix));
		char *text = xstrdup(problem->text + strlen(prefix));
		char *more, *found;
		while ((found = strstr(text, folder)) != NULL) {
			*found = '\0';
			more = xasprintf("%s$CREDENTIALS_DIRECTORY%s", text, found + strlen(folder));
			free(text);
			text = more;
		}
		more = xasprintf("%s%s%s: %s\n", all, problem->is_error ? "error" : "warning", place, text);
		free(all);
		free(text);
		free(place);
		free(prefix);
		all = more;
	}
	return all;
}

/* Load text as a file and compare its problems. Returns the config, or NULL. */
static struct config *load_text(const char *label, const char *text, const char *want)
{
	struct config_problems problems;
	char *file = write_file("mfdrelay.conf", text, 0600);
	struct config *config = config_load(file, &problems);
	char *got = all_problems(&problems, file);

	if (strcmp(got, want) != 0)
		fail_msg("%s\nwant:\n%sgot:\n%s", label, want, got);
	assert_int_equal(config == NULL, problems.errors > 0);
	free(got);
	free(file);
	config_problems_free(&problems);
	return config;
}

static void expect_problems(const char *label, const char *text, const char *want)
{
	config_free(load_text(label, text, want));
}

/* The lines "# error ..." and "# warning ..." at a file's top, without the "# ". */
static char *expected_problems(const char *text)
{
	char *want = xcalloc(1, strlen(text) + 1);

	while (strncmp(text, "# ", 2) == 0) {
		size_t n = strcspn(text, "\n") + 1;
		strncat(want, text + 2, n - 2);
		text += n;
	}
	return want;
}

static void test_broken_configs(void **state)
{
	DIR *dir = opendir(BROKEN);
	const struct dirent *entry;
	size_t n = 0;

	(void)state;
	if (dir == NULL)
		fail_msg(BROKEN ": not found; run the tests from the top of the source");
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		char *path = xasprintf(BROKEN "/%s", entry->d_name);
		char *text = read_text(path);
		char *want = expected_problems(text);
		assert_true(want[0] != '\0');
		expect_problems(path, text, want);
		free(want);
		free(text);
		free(path);
		n++;
	}
	closedir(dir);
	assert_true(n >= 70);
}

static void test_defaults(void **state)
{
	struct config *config = load_text("a minimal config has no problems", MINIMAL, "");

	(void)state;
	assert_non_null(config);
	assert_string_equal(config->spool, "/var/spool/mfdrelay");
	assert_null(config->user);
	assert_int_equal(config->listen_count, 1);
	assert_string_equal(config->listen[0].address, "*");
	assert_int_equal(config->listen[0].port, 25);
	assert_int_equal(config->retry.first_ms, 60 * 1000);
	assert_int_equal(config->retry.max_ms, 3600 * 1000);
	assert_int_equal(config->retry.give_up_ms, 5 * 86400 * 1000LL);
	assert_int_equal(config->limits.message_size, 35 * 1024 * 1024);
	assert_int_equal(config->limits.sessions, 512);
	assert_int_equal(config->limits.sessions_per_address, 32);
	assert_int_equal(config->limits.recipients, 100);
	assert_int_equal(config->limits.free_space, 0);
	assert_int_equal(config->limits.idle_ms, 300 * 1000);
	assert_int_equal(config->limits.message_time_ms, 3600 * 1000);
	assert_int_equal(config->listen[0].tls, LISTEN_TLS_NONE);
	assert_int_equal(config->listen[0].tls_min, TLS_MIN_1_2);
	assert_int_equal(config->devices[0].tls_min, TLS_MIN_UNSET);
	assert_false(config_makes_certificate(config));
	config_free(config);
	config = load_text("no hostname is the machine's", REPORT_TO DEVICES UPSTREAMS ROUTES, "");
	assert_non_null(config);
	assert_true(config->hostname[0] != '\0');
	config_free(config);
}

static void test_every_key_is_stored(void **state)
{
	struct config *config = load_text("every key at once",
	    "hostname = \"h\"; spool = \"/s\"; report_to = \"it@a.example\";\n"
	    "listen = ( { address = \"127.0.0.1\"; port = 0; }, { address = \"::1\"; port = \"2525\"; } "
	    ");\n" DEVICES "upstreams = ( { name = \"road\"; kind = \"hve\"; host = \"h.example\"; port = "
	    "26; tls = \"implicit\";\n"
	    "  mailbox = \"m@a.example\"; window = { connections = 7; };\n"
	    "  oauth = { tenant = \"t.example\"; client_id = \"11111111-2222-3333-4444-55555555abCD\";\n"
	    "    client_secret = \"credential:good\"; scope = \"https://s.example/.default\";\n"
	    "    authority = \"https://127.0.0.1:8443/\"; }; },\n"
	    "  { name = \"b\"; kind = \"smtp\"; host = \"::1\"; user = \"u\"; password = "
	    "\"credential:good\"; } );\n"
	    "routes = ( { recipients = [ \"*@a.example\", \"b@*\" ]; via = [ \"road\" ]; }, { recipients = "
	    "\"*\"; via = \"b\"; } );\n"
	    "retry = { first = \"2s\"; max = \"3m\"; give_up = 7200; };\n"
	    "limits = { message_size = 70000; sessions = \"20\"; sessions_per_address = 3; recipients = 4; "
	    "free_space = \"5G\";\n"
	    "  idle = 6; message_time = \"7\"; };\n",
	    "");
	const struct upstream_config *road = &config->upstreams[0], *b = &config->upstreams[1];

	(void)state;
	assert_string_equal(config->hostname, "h");
	assert_string_equal(config->spool, "/s");
	assert_string_equal(config->report_to, "it@a.example");
	assert_int_equal(config->listen_count, 2);
	assert_int_equal(config->listen[0].port, 0);
	assert_int_equal(config->listen[1].port, 2525);
	assert_int_equal(road->kind, UPSTREAM_HVE);
	assert_string_equal(road->host, "h.example");
	assert_int_equal(road->port, 26);
	assert_int_equal(road->tls, UPSTREAM_TLS_IMPLICIT);
	assert_string_equal(road->mailbox, "m@a.example");
	assert_int_equal(road->window.connections, 7);
	assert_string_equal(road->oauth->tenant, "t.example");
	assert_string_equal(road->oauth->credential.client_secret, "credential:good");
	assert_string_equal(road->oauth->scope, "https://s.example/.default");
	assert_string_equal(road->oauth->authority, "https://127.0.0.1:8443");
	assert_string_equal(b->user, "u");
	assert_string_equal(b->password, "credential:good");
	assert_null(b->oauth);
	assert_int_equal(config->routes[0].recipient_count, 2);
	assert_int_equal(config->routes[1].via[0], 1);
	assert_int_equal(config->retry.first_ms, 2000);
	assert_int_equal(config->retry.max_ms, 180000);
	assert_int_equal(config->retry.give_up_ms, 7200000);
	assert_int_equal(config->limits.message_size, 70000);
	assert_int_equal(config->limits.sessions, 20);
	assert_int_equal(config->limits.sessions_per_address, 3);
	assert_int_equal(config->limits.recipients, 4);
	assert_true(config->limits.free_space == 5ULL << 30);
	assert_int_equal(config->limits.idle_ms, 6000);
	assert_int_equal(config->limits.message_time_ms, 7000);
	config_free(config);
}

static void test_kind_defaults(void **state)
{
	static const struct {
		const char *upstream;
		const char *host;
		unsigned port, recipients;
		struct window_config window;
		uint64_t message_size;
	} cases[] = {
	    {"kind = \"submission\"; user = \"u\"; password = \"credential:good\";", "smtp.office365.com",
		587, 500, {2, 25, 0, 10000}, 0},
	    {"kind = \"hve\"; user = \"u\"; password = \"credential:good\";", "smtp.hve.mx.microsoft", 587,
		50, {2, 0, 0, 0}, 10 * 1024 * 1024},
	    {"kind = \"direct-send\"; host = \"mx.example\";", "mx.example", 25, 200, {2, 0, 0, 0}, 0},
	    {"kind = \"connector\"; host = \"mx.example\";", "mx.example", 25, 200, {2, 0, 0, 0}, 0},
	    {"kind = \"acs\"; user = \"u\"; password = \"credential:good\"; mailbox = \"a@b.example\";",
		"smtp.azurecomm.net", 587, 50, {2, 30, 100, 0}, 10 * 1024 * 1024},
	    {"kind = \"submission\"; cloud = \"dod\"; user = \"u\"; password = \"credential:good\";",
		"outlook-dod.office365.us", 587, 500, {2, 25, 0, 10000}, 0},
	    {"kind = \"hve\"; cloud = \"dod\"; host = \"hve.example\"; user = \"u\"; password = "
	     "\"credential:good\"; limits = { recipients = 20; };",
		"hve.example", 587, 20, {2, 0, 0, 0}, 10 * 1024 * 1024},
	    {"kind = \"smtp\"; host = \"mx.example\";", "mx.example", 587, 0, {5, 0, 0, 0}, 0},
	    {"kind = \"smtp\"; host = \"mx.example\"; tls = \"implicit\";", "mx.example", 465, 0,
		{5, 0, 0, 0}, 0},
	    {"kind = \"smtp\"; host = \"mx.example\"; tls = \"none\"; port = 26;", "mx.example", 26, 0,
		{5, 0, 0, 0}, 0},
	    {"kind = \"submission\"; user = \"u\"; password = \"credential:good\"; window = { connections = "
	     "1; messages_per_minute = 0; messages_per_hour = 300; };",
		"smtp.office365.com", 587, 500, {1, 0, 300, 10000}, 0},
	    {"kind = \"smtp\"; host = \"mx.example\"; window = { recipients_per_day = 7; };", "mx.example",
		587, 0, {5, 0, 0, 7}, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct config_problems problems;
		char *text = xasprintf(
		    HOSTNAME DEVICES ROUTES "upstreams = ( { name = \"road\"; %s } );\n", cases[i].upstream);
		char *file = write_file("mfdrelay.conf", text, 0600);
		struct config *config = config_load(file, &problems);
		if (config == NULL)
			fail_msg("%s: %s", cases[i].upstream, problems.items[0].text);
		assert_string_equal(config->upstreams[0].host, cases[i].host);
		assert_int_equal(config->upstreams[0].port, cases[i].port);
		assert_memory_equal(&config->upstreams[0].window, &cases[i].window, sizeof cases[i].window);
		assert_int_equal(config->upstreams[0].limits.recipients, cases[i].recipients);
		assert_int_equal(config->upstreams[0].limits.message_size, cases[i].message_size);
		config_free(config);
		config_problems_free(&problems);
		free(file);
		free(text);
	}
}

static void test_cloud_defaults(void **state)
{
	static const struct {
		const char *cloud, *kind, *authority, *scope;
	} cases[] = {
	    {"worldwide", "submission", "https://login.microsoftonline.com",
		"https://outlook.office365.com/.default"},
	    {"worldwide", "acs", "https://login.microsoftonline.com",
		"https://communication.azure.com/.default"},
	    {"gcc-high", "submission", "https://login.microsoftonline.us",
		"https://outlook.office365.us/.default"},
	    {"dod", "submission", "https://login.microsoftonline.us",
		"https://outlook-dod.office365.us/.default"},
	    {"china", "submission", "https://login.partner.microsoftonline.cn",
		"https://partner.outlook.cn/.default"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char *text = xasprintf(HOSTNAME DEVICES ROUTES
		    "upstreams = ( { name = \"road\"; kind = \"%s\"; cloud = \"%s\"; mailbox = "
		    "\"m@a.example\"; %s\n"
		    "  oauth = { tenant = \"t.example\"; client_id = "
		    "\"11111111-2222-3333-4444-55555555abCD\";\n"
		    "    client_secret = \"credential:good\"; }; } );\n",
		    cases[i].kind, cases[i].cloud, strcmp(cases[i].kind, "acs") == 0 ? "user = \"u\";" : "");
		struct config *config = load_text(cases[i].cloud, text, "");
		assert_string_equal(config->upstreams[0].oauth->authority, cases[i].authority);
		assert_string_equal(config->upstreams[0].oauth->scope, cases[i].scope);
		config_free(config);
		free(text);
	}
}

/* Whether text has "name =", in a comment or not. */
static bool sets(const char *text, const char *name)
{
	for (const char *at = strstr(text, name); at != NULL; at = strstr(at + 1, name)) {
		const char *behind = at + strlen(name);
		if (at > text && strchr(" \n", at[-1]) != NULL && behind[strspn(behind, " ")] == '=')
			return true;
	}
	return false;
}

/* The sample as it is once its secret has been put in place. */
static char *sample_with_secret(const char *sample)
{
	static const char path[] = "/etc/mfdrelay/client-secret\";";
	char *secret = write_file("client-secret", "a secret\n", 0600);
	const char *at = strstr(sample, path);

	assert_non_null(at);
	char *text = xasprintf("%.*s%s\";%s", (int)(at - sample), sample, secret, at + strlen(path));
	char *file = write_file("sample.conf", text, 0600);
	free(secret);
	free(text);
	return file;
}

static void test_sample(void **state)
{
	struct config_problems problems;
	char *text = read_text(SAMPLE), *file = sample_with_secret(text);
	struct config *config = config_load(file, &problems);

	(void)state;
	for (size_t i = 0; i < problems.count; i++)
		if (strstr(problems.items[i].text, "no such user") == NULL)
			fail_msg("%s", problems.items[i].text);
	assert_int_equal(problems.errors, 0);
	assert_non_null(config);
	assert_int_equal(config->device_count, 2);
	config_free(config);
	config_problems_free(&problems);
	free(file);

	for (size_t i = 0; i < schema_count; i++)
		if (!sets(text, schema_name(&schema[i])))
			fail_msg("the sample does not show %s", schema[i].path);
	free(text);
}

/* What the manual says of a key: from its ".It Ic" to the next. Lists of groups have an "Ic" of their own. */
static char *entry_of(const char *manual, const struct key *key)
{
	char *title = xasprintf("\n.It Ic %s\n", key->path);
	const char *start = strstr(manual, title);

	free(title);
	if (start == NULL && strchr(key->path, '.') == NULL &&
	    (key->type == KEY_LIST || key->type == KEY_GROUP)) {
		title = xasprintf("\n.Ic %s\nis a ", key->path);
		start = strstr(manual, title);
		free(title);
	}
	if (start == NULL)
		fail_msg("the manual does not describe %s", key->path);
	const char *end = strstr(start + 1, "\n.It Ic ");
	return end != NULL ? xstrndup(start, (size_t)(end - start)) : xstrdup(start);
}

static const char *number_text(const struct key *key, char dst[24], uint64_t value)
{
	if (key->type == KEY_SIZE)
		return value_size_text(dst, 24, value);
	if (key->type == KEY_DURATION)
		return value_duration_text(dst, 24, value);
	snprintf(dst, 24, "%" PRIu64, value);
	return dst;
}

static void test_manual(void **state)
{
	char *manual = read_text(MANUAL);

	(void)state;
	for (size_t i = 0; i < schema_count; i++) {
		const struct key *key = &schema[i];
		char min[24], max[24];
		char *entry = entry_of(manual, key);
		char *range =
		    xasprintf("%s to %s.", number_text(key, min, key->min), number_text(key, max, key->max));
		bool is_number =
		    key->type == KEY_NUMBER || key->type == KEY_SIZE || key->type == KEY_DURATION;
		if (key->fallback != NULL && key->fallback[0] != '(' && strstr(entry, key->fallback) == NULL)
			fail_msg("the manual of %s does not say its default, %s", key->path, key->fallback);
		if (is_number && strstr(entry, range) == NULL)
			fail_msg("the manual of %s does not say \"%s\"", key->path, range);
		if (key->required && strchr(key->path, '.') != NULL && strstr(entry, "equired") == NULL)
			fail_msg("the manual of %s does not say that it is required", key->path);
		free(range);
		free(entry);
	}
	free(manual);
}

static void test_numbers(void **state)
{
	static const struct {
		const char *text;
		bool (*parse)(const char *text, uint64_t *out);
		bool good;
		uint64_t want;
	} cases[] = {
	    {"0", value_size, true, 0},
	    {"1024", value_size, true, 1024},
	    {"64K", value_size, true, 65536},
	    {"35m", value_size, true, 35 << 20},
	    {"1G", value_size, true, 1 << 30},
	    {"", value_size, false, 0},
	    {"K", value_size, false, 0},
	    {"-1", value_size, false, 0},
	    {"1 M", value_size, false, 0},
	    {"1MB", value_size, false, 0},
	    {"9223372036854775807", value_size, true, INT64_MAX},
	    {"9223372036854775807K", value_size, false, 0},
	    {"99999999999999999999", value_size, false, 0},
	    {"5", value_duration, true, 5000},
	    {"5s", value_duration, true, 5000},
	    {"5m", value_duration, true, 300000},
	    {"2h", value_duration, true, 7200000},
	    {"5d", value_duration, true, 432000000},
	    {"1w", value_duration, false, 0},
	    {"1h30m", value_duration, false, 0},
	    {"12", value_number, true, 12},
	    {"12K", value_number, false, 0},
	    {"0x10", value_number, false, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint64_t got = 0;
		if (cases[i].parse(cases[i].text, &got) != cases[i].good || got != cases[i].want)
			fail_msg("\"%s\" gives %" PRIu64, cases[i].text, got);
	}
}

static void test_number_texts(void **state)
{
	char text[24];

	(void)state;
	assert_string_equal(value_size_text(text, sizeof text, 35 << 20), "35M");
	assert_string_equal(value_size_text(text, sizeof text, 1025), "1025");
	assert_string_equal(value_size_text(text, sizeof text, 0), "0");
	assert_string_equal(value_duration_text(text, sizeof text, 90000), "90s");
	assert_string_equal(value_duration_text(text, sizeof text, 86400000), "1d");
	assert_string_equal(value_duration_text(text, sizeof text, 3600000), "1h");
}

static void test_prefixes(void **state)
{
	static const struct {
		const char *text;
		const char *shown; /* NULL: refused */
		unsigned bits;
	} cases[] = {
	    {"10.1.2.17", "10.1.2.17", 128},
	    {"10.1.3.0/24", "10.1.3.0/24", 120},
	    {"0.0.0.0/0", "0.0.0.0/0", 96},
	    {"fd00:3::/64", "fd00:3::/64", 64},
	    {"::1", "::1", 128},
	    {"::/0", "::/0", 0},
	    {"::ffff:10.0.0.0/104", "10.0.0.0/8", 104},
	    {"10.1.2", NULL, 0},
	    {"10.1.2.17/", NULL, 0},
	    {"10.1.2.17/33", NULL, 0},
	    {"10.1.2.17/-1", NULL, 0},
	    {"fd00::/129", NULL, 0},
	    {"010.1.2.3", NULL, 0},
	    {"[::1]", NULL, 0},
	    {"fe80::1%eth0", NULL, 0},
	    {"", NULL, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct prefix prefix;
		char text[64];
		bool good = value_prefix(cases[i].text, &prefix);
		if (good != (cases[i].shown != NULL))
			fail_msg("\"%s\" is %s", cases[i].text, good ? "taken" : "refused");
		if (!good)
			continue;
		assert_int_equal(prefix.bits, cases[i].bits);
		assert_string_equal(value_prefix_text(text, sizeof text, &prefix), cases[i].shown);
	}
}

static void test_nearest(void **state)
{
	static const struct {
		const char *word, *candidate;
		bool near;
	} cases[] = {
	    {"hostnme", "hostname", true},
	    {"prot", "port", true},
	    {"message-size", "message_size", true},
	    {"mesagesize", "message_size", true},
	    {"HOSTNAME", "hostname", true},
	    {"quux", "port", false},
	    {"a", "b", false},
	    {"colour", "recipients", false},
	};
	struct nearest best = NEAREST("routs");

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct nearest nearest = NEAREST(cases[i].word);
		nearest_offer(&nearest, cases[i].candidate);
		if ((nearest.best != NULL) != cases[i].near)
			fail_msg("\"%s\" and \"%s\" are%s near", cases[i].word, cases[i].candidate,
			    cases[i].near ? " not" : "");
	}
	nearest_offer(&best, "roots");
	nearest_offer(&best, "routes");
	nearest_offer(&best, "rout");
	assert_string_equal(best.best, "roots");
}

static void test_hosts_and_guids(void **state)
{
	static const struct {
		const char *text, *fit;
	} ehlo_names[] = {
	    {"PRINT_SRV", "PRINT-SRV"},
	    {"relay.contoso.local.", "relay.contoso.local"},
	    {"_relay-.-contoso..local", "relay.contoso.local"},
	    {"b\xc3\xbcro", "b--ro"},
	    {"a234567890b234567890c234567890d234567890e234567890f234567890g234",
		"a234567890b234567890c234567890d234567890e234567890f234567890g23"},
	    {"10.1.1.5", ""},
	    {"fd00::1", "fd00--1"},
	    {"___", ""},
	    {"", ""},
	};
	char name[256];

	(void)state;
	assert_true(value_is_host("mail.example.net"));
	assert_true(value_is_host("localhost"));
	assert_true(value_is_host("127.0.0.1"));
	assert_true(value_is_host("fd00::1"));
	assert_false(value_is_host("127.0.0.256"));
	assert_false(value_is_host("a..b"));
	assert_false(value_is_host("a b"));
	assert_false(value_is_host("-a"));
	assert_false(value_is_host(""));
	assert_true(value_is_ehlo_name("print-srv.contoso.local"));
	assert_true(value_is_ehlo_name("3com"));
	for (size_t i = 0; i < sizeof ehlo_names / sizeof ehlo_names[0]; i++) {
		assert_false(value_is_ehlo_name(ehlo_names[i].text));
		assert_int_equal(
		    value_ehlo_name(name, sizeof name, ehlo_names[i].text), ehlo_names[i].fit[0] != '\0');
		if (ehlo_names[i].fit[0] != '\0')
			assert_string_equal(name, ehlo_names[i].fit);
	}
	assert_true(value_ehlo_name(name, sizeof name, "a.b-c"));
	assert_string_equal(name, "a.b-c");
	assert_false(value_ehlo_name(name, 5, "abcde"));
	assert_true(value_is_mail_address("o'neil+scan@contoso.com"));
	assert_false(value_is_mail_address("scanner"));
	assert_false(value_is_mail_address("scanner@"));
	assert_false(value_is_mail_address("scanner@contoso.com."));
	assert_false(value_is_mail_address(" scanner@contoso.com"));
	assert_false(value_is_mail_address("scanner@contoso.com "));
	assert_false(value_is_mail_address("<scanner@contoso.com>"));
	assert_false(value_is_mail_address("\"scanner\"@contoso.com"));
	assert_true(value_is_guid("2f4a9838-26b7-47ee-be60-ccc1fdec5953"));
	assert_false(value_is_guid("2f4a9838-26b7-47ee-be60-ccc1fdec595"));
	assert_false(value_is_guid("2f4a983g-26b7-47ee-be60-ccc1fdec5953"));
}

static struct in6_addr address(const char *text)
{
	struct prefix prefix;

	assert_true(value_prefix(text, &prefix));
	return prefix.address;
}

static const char *name_by_address(const struct config *config, const char *text)
{
	struct in6_addr from = address(text);
	const struct device *device = config_device_by_address(config, &from);

	return device != NULL ? device->name : "none";
}

static const char *name_by_user(const struct config *config, const char *user, const char *text)
{
	struct in6_addr from = address(text);
	const struct device *device = config_device_by_user(config, user, &from);

	return device != NULL ? device->name : "none";
}

#define HASH "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7"

static void test_devices(void **state)
{
	struct config *config = load_text("devices that overlap",
	    HOSTNAME UPSTREAMS ROUTES "devices = (\n"
				      "{ name = \"net\"; address = [ \"10.1.2.0/24\", \"fd00:3::/64\" ]; },\n"
				      "{ name = \"one\"; address = \"10.1.2.17\"; },\n"
				      "{ name = \"odd\"; address = \"10.1.2.128/27\"; },\n"
				      "{ name = \"erp\"; user = \"erp\"; password = \"" HASH "\"; },\n"
				      "{ name = \"tied\"; user = \"tied\"; password = \"" HASH
				      "\"; address = \"10.9.9.9\"; } );\n",
	    "");

	(void)state;
	assert_non_null(config);
	assert_string_equal(name_by_address(config, "10.1.2.1"), "net");
	assert_string_equal(name_by_address(config, "10.1.2.17"), "one");
	assert_string_equal(name_by_address(config, "10.1.2.159"), "odd");
	assert_string_equal(name_by_address(config, "10.1.2.160"), "net");
	assert_string_equal(name_by_address(config, "10.1.3.1"), "none");
	assert_string_equal(name_by_address(config, "fd00:3::ffff:1"), "net");
	assert_string_equal(name_by_address(config, "fd00:3:0:1::1"), "none");
	assert_string_equal(name_by_address(config, "10.9.9.9"), "tied");
	assert_string_equal(name_by_user(config, "ERP", "192.0.2.1"), "erp");
	assert_string_equal(name_by_user(config, "er", "192.0.2.1"), "none");
	assert_string_equal(name_by_user(config, "tied", "10.9.9.9"), "tied");
	assert_string_equal(name_by_user(config, "tied", "10.9.9.8"), "none");
	assert_string_equal(name_by_user(config, "CONTOSO\\ERP", "192.0.2.1"), "erp");
	assert_string_equal(name_by_user(config, "erp@contoso.com", "192.0.2.1"), "erp");
	assert_string_equal(name_by_user(config, "CONTOSO\\", "192.0.2.1"), "none");
	config_free(config);
}

static void a_login_is_asked_for_where_the_entry_with_the_longest_prefix_says_so(void **state)
{
	struct config *config = load_text("who logs in",
	    HOSTNAME UPSTREAMS ROUTES
	    "listen = ( { tls = \"offered\"; } );\n"
	    "devices = (\n"
	    "{ name = \"anna\"; user = \"anna\"; password = \"" HASH "\"; address = \"10.1.2.0/24\"; },\n"
	    "{ name = \"net\"; address = \"10.1.2.0/24\"; recipients = \"it@contoso.com\"; },\n"
	    "{ name = \"host\"; user = \"host\"; password = \"" HASH "\"; address = \"10.1.2.9\"; },\n"
	    "{ name = \"both\"; user = \"both\"; password = \"" HASH "\"; address = \"10.1.2.10\";\n"
	    "  auth = \"optional\"; senders = [ \"<>\", \"*@contoso.com\" ]; },\n"
	    "{ name = \"mute\"; address = \"10.1.2.11\"; auth = \"none\"; message_size = \"1M\";\n"
	    "  messages_per_hour = 100; quirks = [ \"eod-lf\" ]; },\n"
	    "{ name = \"safe\"; address = \"10.1.2.12\"; auth_requires_tls = true; } );\n",
	    "");
	static const struct {
		const char *peer, *name;
		enum device_auth auth;
		bool plain, secure; /* may log in */
	} cases[] = {{"10.1.2.1", "net", DEVICE_AUTH_OPTIONAL, true, true},
	    {"10.1.2.9", "host", DEVICE_AUTH_REQUIRED, true, true},
	    {"10.1.2.10", "both", DEVICE_AUTH_OPTIONAL, true, true},
	    {"10.1.2.11", "mute", DEVICE_AUTH_NONE, false, false},
	    {"10.1.2.12", "safe", DEVICE_AUTH_OPTIONAL, false, true}};

	(void)state;
	assert_non_null(config);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct in6_addr from = address(cases[i].peer);
		assert_string_equal(name_by_address(config, cases[i].peer), cases[i].name);
		const struct device *place = config_device_by_address(config, &from);
		assert_int_equal(place->auth, cases[i].auth);
		assert_int_equal(config_may_log_in(config, place, &from, false), cases[i].plain);
		assert_int_equal(config_may_log_in(config, place, &from, true), cases[i].secure);
	}
	struct in6_addr stranger = address("192.0.2.1");
	assert_false(config_may_log_in(config, NULL, &stranger, true));
	assert_int_equal(config->devices[4].message_size, 1024 * 1024);
	assert_int_equal(config->devices[4].messages_per_hour, 100);
	assert_int_equal(config->devices[4].quirks, 1u << QUIRK_EOD_LF);
	config_free(config);
}

static void test_tls(void **state)
{
	struct config *config = load_text("one listener with TLS brings a certificate for all",
	    HOSTNAME UPSTREAMS ROUTES
	    "listen = ( { port = 25; }, { port = 465; tls = \"implicit\"; tls_min = \"1.3\"; },\n"
	    "  { port = 587; tls = \"required\"; }, { port = 26; tls = \"none\"; } );\n"
	    "devices = ( { name = \"net\"; address = \"10.1.0.0/24\"; tls_min = \"1.0\"; },\n"
	    "  { name = \"one\"; address = \"10.1.0.7\"; },\n"
	    "  { name = \"other\"; address = \"10.1.0.8\"; tls_min = \"1.1\"; } );\n",
	    "");
	static const struct {
		const char *peer;
		enum tls_min plain, implicit;
	} cases[] = {{"10.1.0.1", TLS_MIN_1_0, TLS_MIN_1_0}, {"10.1.0.7", TLS_MIN_1_2, TLS_MIN_1_3},
	    {"10.1.0.8", TLS_MIN_1_1, TLS_MIN_1_1}, {"10.2.0.1", TLS_MIN_1_2, TLS_MIN_1_3}};

	(void)state;
	assert_int_equal(config->listen[0].tls, LISTEN_TLS_OFFERED);
	assert_int_equal(config->listen[1].tls, LISTEN_TLS_IMPLICIT);
	assert_int_equal(config->listen[2].tls, LISTEN_TLS_REQUIRED);
	assert_int_equal(config->listen[3].tls, LISTEN_TLS_NONE);
	assert_true(config_makes_certificate(config));
	assert_true(config_has_legacy(config));
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct prefix peer;
		assert_true(value_prefix(cases[i].peer, &peer));
		assert_int_equal(config_tls_min(config, &config->listen[0], &peer.address), cases[i].plain);
		assert_int_equal(
		    config_tls_min(config, &config->listen[1], &peer.address), cases[i].implicit);
	}
	config_free(config);
}

static char *tls_config(const char *certificate, const char *key)
{
	return xasprintf(MINIMAL "tls = { certificate = \"%s/%s\"; key = \"%s/%s\"; };\n", folder,
	    certificate, folder, key);
}

static struct cert make_rsa(unsigned bits, long from_s, long to_s)
{
	return cert_of_key(EVP_RSA_gen(bits), NULL, "relay", NULL, from_s, to_s);
}

static void test_tls_files(void **state)
{
	struct cert good = make_rsa(2048, -CERT_DAY, 100 * CERT_DAY);
	struct cert old = make_rsa(2048, -9 * CERT_DAY, -CERT_DAY);
	struct cert soon = make_rsa(2048, -9 * CERT_DAY, 5 * CERT_DAY);
	struct cert small = make_rsa(1024, -CERT_DAY, 100 * CERT_DAY);
	struct cert curve = cert_make(NULL, "relay", NULL, -CERT_DAY, 100 * CERT_DAY);
	const struct {
		const char *label, *certificate, *key, *want;
	} rows[] = {
	    {"a pair", "good.crt", "good.key", ""},
	    {"halves of two pairs", "good.crt", "old.key",
		"error 5: tls.key: $CREDENTIALS_DIRECTORY/old.key: not a usable private key (PEM "
		"without a "
		"passphrase, "
		"fitting the certificate, is needed): key values mismatch\n"},
	    {"a key that others can read", "good.crt", "open",
		"error 5: tls.key: others can read or change $CREDENTIALS_DIRECTORY/open; run: chmod o= "
		"$CREDENTIALS_DIRECTORY/open\n"},
	    {"a small key", "small.crt", "small.key",
		"error 5: tls.key: $CREDENTIALS_DIRECTORY/small.crt: not a usable certificate (PEM is "
		"needed, an "
		"RSA key of 2048 bits or more): ee key too small\n"},
	    {"an elliptic curve alone", "curve.crt", "curve.key",
		"warning 5: tls.certificate: $CREDENTIALS_DIRECTORY/curve.crt has no RSA key, and many "
		"devices know no other; add one with an RSA key, and name this one as "
		"ecdsa_certificate\n"},
	    {"no longer good", "old.crt", "old.key",
		"warning 5: tls.certificate: $CREDENTIALS_DIRECTORY/old.crt has expired; renew it, then "
		"reload\n"},
	    {"not for long", "soon.crt", "soon.key",
		"warning 5: tls.certificate: $CREDENTIALS_DIRECTORY/soon.crt expires within 14 days; renew "
		"it, then "
		"reload\n"},
	};
	const struct {
		struct cert *cert;
		const char *crt, *key;
	} files[] = {{&good, "good.crt", "good.key"}, {&old, "old.crt", "old.key"},
	    {&soon, "soon.crt", "soon.key"}, {&small, "small.crt", "small.key"},
	    {&curve, "curve.crt", "curve.key"}};

	(void)state;
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		char *crt = in_folder(files[i].crt), *key = in_folder(files[i].key);
		cert_write(files[i].cert, crt, key, NULL);
		assert_int_equal(chmod(key, 0600), 0);
		cert_free(files[i].cert);
		free(crt);
		free(key);
	}
	char *by_credential = xasprintf(
	    MINIMAL "tls = { certificate = \"%s/good.crt\"; key = \"credential:good.key\"; };\n", folder);
	config_free(load_text("a key that systemd hands over", by_credential, ""));
	free(by_credential);
	char *in_hardware = xasprintf(
	    MINIMAL "tls = { certificate = \"%s/good.crt\"; key = \"handle:0x81000001\"; };\n", folder);
	assert_null(load_text("a key in hardware", in_hardware,
	    "error 5: tls.key: a key for TLS is a file; name it by its path\n"));
	free(in_hardware);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char *text = tls_config(rows[i].certificate, rows[i].key);
		struct config *config = load_text(rows[i].label, text, rows[i].want);
		if (config != NULL) {
			assert_int_equal(config->listen[0].tls, LISTEN_TLS_OFFERED);
			assert_false(config_makes_certificate(config));
			assert_false(config_has_legacy(config));
		}
		config_free(config);
		free(text);
	}
}

static void expect_signing_pair(const char *label, const char *key, const char *want)
{
	char *text = xasprintf(HOSTNAME DEVICES ROUTES
	    "upstreams = ( { name = \"road\"; kind = \"submission\"; mailbox = \"a@b.example\"; oauth = {\n"
	    "tenant = \"t.example\"; client_id = \"11111111-2222-3333-4444-55555555abCD\";\n"
	    "certificate = \"%s/app.crt\"; key = \"%s%s\"; }; } );\n",
	    folder, strchr(key, ':') != NULL ? "" : folder, key);

	expect_problems(label, text, want);
	free(text);
}

static void write_pair(EVP_PKEY *key, const char *crt_name, const char *key_name)
{
	struct cert cert = cert_of_key(key, NULL, "app", NULL, -CERT_DAY, 400 * CERT_DAY);
	char *crt = in_folder(crt_name), *key_path = in_folder(key_name);

	cert_write(&cert, crt, key_path, NULL);
	assert_int_equal(chmod(key_path, 0600), 0);
	cert_free(&cert);
	free(crt);
	free(key_path);
}

static void test_signing_pairs(void **state)
{
	(void)state;
	write_pair(EVP_EC_gen("P-256"), "app.crt", "app.key");
	expect_signing_pair("a key that is not RSA", "/app.key",
	    "error 6: upstreams.oauth.key: the certificate's key is not RSA, and Microsoft's login host "
	    "takes no "
	    "other; make a new pair: openssl req -x509 -newkey rsa:3072 -nodes -days 365 -subj /CN=mfdrelay "
	    "-keyout KEY -out CERTIFICATE\n");
	write_pair(EVP_RSA_gen(2048), "other.crt", "other.key");
	write_pair(EVP_RSA_gen(2048), "app.crt", "app.key");
	expect_signing_pair("a pair", "/app.key", "");
	expect_signing_pair("one that systemd hands over", "credential:app.key", "");
	expect_signing_pair("another's key", "/other.key",
	    "error 6: upstreams.oauth.key: $CREDENTIALS_DIRECTORY/other.key: this private key does not "
	    "belong to the "
	    "certificate $CREDENTIALS_DIRECTORY/app.crt\n");
	expect_signing_pair("no key", "/none.key",
	    "error 6: upstreams.oauth.key: $CREDENTIALS_DIRECTORY/none.key: No such file or directory; "
	    "correct the path\n");
	expect_signing_pair("a provider that is not there", "pkcs11:token=none",
	    "error 6: upstreams.oauth.key: OpenSSL's provider \"pkcs11\" can't be used; is it installed "
	    "(tpm2: the package tpm2-openssl), and may this user open its device?: could not load the shared "
	    "library\n");
	char *key = in_folder("app.key");
	assert_int_equal(chmod(key, 0644), 0);
	expect_signing_pair("a key that others can read", "/app.key",
	    "error 6: upstreams.oauth.key: others can read or change $CREDENTIALS_DIRECTORY/app.key; run: "
	    "chmod o= "
	    "$CREDENTIALS_DIRECTORY/app.key\n");
	free(key);
}

static void test_routes(void **state)
{
	struct config *config = load_text("routes in order",
	    HOSTNAME DEVICES UPSTREAMS
	    "routes = ( { recipients = [ \"it@contoso.com\", \"*@fabrikam.com\" ]; via = \"road\"; },\n"
	    "{ recipients = \"*@contoso.com\"; via = \"road\"; } );\n",
	    "warning 4: recipients that no route matches will be refused; add { recipients = [ \"*\" ]; ... "
	    "} as the last one to take "
	    "all\n");

	(void)state;
	assert_non_null(config);
	assert_int_equal(config_route(config, "mfd", "it@contoso.com"), 0);
	assert_int_equal(config_route(config, "mfd", "A@FABRIKAM.COM"), 0);
	assert_int_equal(config_route(config, "mfd", "a@contoso.com"), 1);
	assert_int_equal(config_route(config, "mfd", "a@example.net"), -1);
	config_free(config);
}

static void test_routes_of_devices(void **state)
{
	static const struct {
		const char *device, *recipient;
		int route;
	} cases[] = {
	    {"mfd", "it@contoso.com", 0},
	    {"MFD", "a@fabrikam.com", 1},
	    {"mfd-2", "it@contoso.com", 2},
	    {"mfd-2", "a@fabrikam.com", 2},
	    {"erp", "it@contoso.com", 3},
	    {"", "it@contoso.com", 3},
	    {"", "a@fabrikam.com", 3},
	};
	struct config *config = load_text("routes by device",
	    HOSTNAME UPSTREAMS
	    "devices = ( { name = \"mfd\"; address = \"10.0.0.1\"; }, { name = \"mfd-2\"; address = "
	    "\"10.0.0.2\"; },\n"
	    "  { name = \"erp\"; address = \"10.0.0.3\"; } );\n"
	    "routes = ( { devices = \"mfd\"; recipients = \"*@contoso.com\"; via = \"road\"; },\n"
	    "{ devices = [ \"mfd\", \"mdf\" ]; via = \"road\"; },\n"
	    "{ devices = \"m*\"; recipients = \"*\"; via = \"road\"; },\n"
	    "{ via = \"road\"; } );\n",
	    "warning 6: routes.devices = \"mdf\": no such device; did you mean \"mfd\"?\n");

	(void)state;
	assert_non_null(config);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_int_equal(config_route(config, cases[i].device, cases[i].recipient), cases[i].route);
	assert_string_equal(route_title(&config->routes[0]), "*@contoso.com");
	assert_string_equal(route_title(&config->routes[1]), "mfd");
	assert_string_equal(route_title(&config->routes[3]), "*");
	config_free(config);
}

static void expect_file(const char *label, char *file, const char *want)
{
	struct config_problems problems;
	struct config *config = config_load(file, &problems);
	char *got = all_problems(&problems, file);

	if (strcmp(got, want) != 0)
		fail_msg("%s\nwant:\n%sgot:\n%s", label, want, got);
	free(got);
	config_problems_free(&problems);
	config_free(config);
	free(file);
}

static void test_odd_files(void **state)
{
	static const char nul[] = MINIMAL "\0retry = 5;";
	char *large = xcalloc(1, 1024 * 1024 + 1);
	char *folder_path = in_folder("folder");

	(void)state;
	memset(large, '\n', 1024 * 1024 + 1);
	expect_file("a file that is not there", in_folder("nothing"),
	    "error: cannot be read: No such file or directory; name the config with -c FILE\n");
	expect_file("a folder", folder_path, "error: not a plain file; name the config with -c FILE\n");
	expect_file("a NUL byte", write_bytes("nul", nul, sizeof nul - 1, 0600),
	    "error: holds a NUL byte; the config is plain text\n");
	expect_file("more than 1M", write_bytes("large", large, 1024 * 1024 + 1, 0600),
	    "error: larger than 1M; is this the config? Name it with -c FILE\n");
	expect_file("a byte order mark and the line ends of Windows",
	    write_file(
		"dos", "\xef\xbb\xbfhostname = \"a\";\r\n" REPORT_TO DEVICES "\r\n" UPSTREAMS ROUTES, 0600),
	    "");
	free(large);
}

static void test_modes(void **state)
{
	(void)state;
	expect_file("a config that its group can change", write_file("loose", MINIMAL, 0660),
	    "warning: others than its owner can change the config; run: chmod go-w "
	    "$CREDENTIALS_DIRECTORY/loose\n");
	expect_file("a config with hashes that everyone can read",
	    write_file("loose",
		HOSTNAME UPSTREAMS ROUTES "devices = ( { name = \"erp\"; user = \"erp\"; password = \"" HASH
					  "\"; } );\n",
		0644),
	    "warning: everyone on this machine can read the password hashes in the config; run: chgrp "
	    "GROUP-OF-THE-SERVICE $CREDENTIALS_DIRECTORY/loose && chmod 0640 "
	    "$CREDENTIALS_DIRECTORY/loose\n");
}

static void test_many_problems(void **state)
{
	char *text = xcalloc(1, 64 * 1024);
	struct config_problems problems;
	char *file;

	(void)state;
	for (int i = 0; i < 1000; i++)
		sprintf(text + strlen(text), "zz%d = 1;\n", i);
	strcat(text, MINIMAL);
	file = write_file("mfdrelay.conf", text, 0600);
	assert_null(config_load(file, &problems));
	assert_int_equal(problems.errors, 1000);
	assert_int_equal(problems.count, CONFIG_PROBLEMS_MAX);
	assert_int_equal(problems.items[0].line, 1);
	config_problems_free(&problems);
	free(file);
	free(text);
}

static char *with_secret(const char *more, const char *secret)
{
	return xasprintf(HOSTNAME DEVICES ROUTES
	    "%supstreams = ( { name = \"road\"; kind = \"smtp\"; host = \"a.example\"; user = \"u\"; "
	    "password = \"%s\"; } );\n",
	    more, secret);
}

static void test_credential_without_systemd(void **state)
{
	char *text = with_secret("", "credential:good");

	(void)state;
	unsetenv("CREDENTIALS_DIRECTORY");
	expect_problems("a credential where systemd hands over none", text,
	    "warning 4: upstreams.password: credential:good: systemd handed over no credentials; add "
	    "LoadCredential=good:PATH to "
	    "the unit, or use file:PATH\n");
	setenv("CREDENTIALS_DIRECTORY", folder, 1);
	free(text);
}

static void test_secret_for_another_user(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		print_message("changing owners takes root: sudo make check\n");
		skip();
	}
	char *path = in_folder("good");
	char *source = xasprintf("file:%s", path);
	char *text = with_secret("user = \"nobody\";\n", source);
	expect_problems("a secret that the workers' user cannot read", text,
	    "error 5: upstreams.password: user nobody cannot read $CREDENTIALS_DIRECTORY/good: Permission "
	    "denied; "
	    "let its group read it: chgrp nogroup $CREDENTIALS_DIRECTORY/good && chmod g+r "
	    "$CREDENTIALS_DIRECTORY/good, and let it enter the folders on the way\n");
	assert_int_equal(chown(path, 65534, (gid_t)-1), 0);
	expect_problems("one that it owns", text, "");
	assert_int_equal(chown(path, 0, (gid_t)-1), 0);
	free(text);
	free(source);
	free(path);
}

static void expect_ca(const char *label, const char *pem, const char *want)
{
	char *path = write_file("ca.pem", pem, 0644);
	char *text = xasprintf(HOSTNAME DEVICES ROUTES
	    "upstreams = ( { name = \"road\"; kind = \"smtp\"; host = \"a.example\"; "
	    "ca = \"%s\"; } );\n",
	    path);

	expect_problems(label, text, want);
	free(text);
	free(path);
}

static void test_ca_files(void **state)
{
	struct cert ca = cert_make(NULL, "test CA", NULL, -CERT_DAY, CERT_DAY);
	BIO *bio = BIO_new(BIO_s_mem());
	char *pem;

	(void)state;
	assert_int_equal(PEM_write_bio_X509(bio, ca.x509), 1);
	long n = BIO_get_mem_data(bio, &pem);
	char *one = xstrndup(pem, (size_t)n);
	char *two = xasprintf("a note\n%s%s", one, one);
	char *damaged = xasprintf("%s%s", one, one);
	memcpy(damaged + n + 40, "????", 4);
	expect_ca("one certificate", one, "");
	expect_ca("two, with a note before them", two, "");
	expect_ca("the second is damaged", damaged,
	    "error 4: upstreams.ca: a certificate in $CREDENTIALS_DIRECTORY/ca.pem cannot be parsed; export "
	    "it again in PEM form\n");
	expect_ca("no certificate", "just words\n",
	    "error 4: upstreams.ca: no certificate in $CREDENTIALS_DIRECTORY/ca.pem; it takes PEM form "
	    "(-----BEGIN "
	    "CERTIFICATE-----)\n");
	free(damaged);
	free(two);
	free(one);
	BIO_free(bio);
	cert_free(&ca);
}

/* Run a subcommand in a child on input; its standard output comes back in output. Returns its exit status. */
static int run(int (*command)(int, char **), char **argv, const char *input, char *output, size_t size)
{
	char *in = write_file("stdin", input, 0600), *out = write_file("stdout", "", 0600), *text;
	int argc = 0, status;

	while (argv[argc] != NULL)
		argc++;
	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		if (freopen(in, "r", stdin) == NULL || freopen(out, "w", stdout) == NULL ||
		    freopen("/dev/null", "w", stderr) == NULL)
			_exit(99);
		status = command(argc, argv);
		fflush(NULL);
		_exit(status);
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	FILE *file = fopen(out, "r");
	assert_non_null(file);
	text = output;
	text[fread(text, 1, size - 1, file)] = '\0';
	fclose(file);
	free(in);
	free(out);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* The hash in "password = "..."; whose line begins at text. */
static char *hash_in(const char *text)
{
	const char *start = strstr(text, "password = \"$y$");

	assert_non_null(start);
	start += strlen("password = \"");
	return xstrndup(start, strcspn(start, "\""));
}

static void test_passwd(void **state)
{
	char *plain[] = {"passwd", NULL}, *made_up[] = {"passwd", "--generate", NULL},
	     *wrong[] = {"passwd", "secret", NULL};
	char output[4096];
	struct crypt_data *room = xcalloc(1, sizeof *room);

	(void)state;
	assert_int_equal(run(cmd_passwd, plain, "hunter two\r\n", output, sizeof output), 0);
	char *hash = hash_in(output);
	assert_string_equal(crypt_r("hunter two", hash, room), hash);
	assert_string_not_equal(crypt_r("hunter", hash, room), hash);
	free(hash);

	assert_int_equal(run(cmd_passwd, made_up, "", output, sizeof output), 0);
	char password[15] = "";
	assert_int_equal(sscanf(output, "# type this at the device: %14s\n", password), 1);
	assert_int_equal(strlen(password), 14);
	hash = hash_in(output);
	assert_string_equal(crypt_r(password, hash, room), hash);
	char *text = xasprintf(HOSTNAME UPSTREAMS ROUTES
	    "devices = ( { name = \"erp\"; user = \"erp\"; password = \"%s\"; } );\n",
	    hash);
	expect_problems("the line can be pasted", text, "");
	free(text);
	free(hash);

	memset(output, 'x', 300);
	strcpy(output + 300, "\n");
	char *too_long = xstrdup(output);
	assert_int_equal(run(cmd_passwd, plain, too_long, output, sizeof output), 1);
	assert_int_equal(run(cmd_passwd, plain, "", output, sizeof output), 1);
	assert_int_equal(run(cmd_passwd, plain, "\n", output, sizeof output), 1);
	assert_int_equal(run(cmd_passwd, wrong, "", output, sizeof output), 64);
	free(too_long);
	free(room);
}

static void test_check(void **state)
{
	char *file = write_file("mfdrelay.conf", MINIMAL, 0600);
	char *good[] = {"check", "-c", file, NULL},
	     *broken[] = {"check", "-c", BROKEN "/unknown-key.conf", NULL};
	char output[4096];

	(void)state;
	assert_int_equal(run(cmd_check, good, "", output, sizeof output), 0);
	assert_non_null(strstr(output, " is good\nhostname   relay.example.net\n"));
	assert_non_null(strstr(output, "\nlisten     *:25\n"));
	assert_non_null(strstr(output, "\ndevices    mfd, from 10.0.0.1\n"));
	assert_non_null(strstr(
	    output, "\nupstreams  road (smtp), mail.example.net:587, STARTTLS, no login, 5 connections\n"));
	assert_non_null(strstr(output, "\nroutes     * -> road\n"));
	free(write_file("mfdrelay.conf",
	    HOSTNAME DEVICES UPSTREAMS
	    "routes = ( { devices = [ \"mfd\", \"x*\" ]; via = \"road\"; },\n"
	    "{ devices = \"mfd\"; recipients = [ \"*@a.example\" ]; via = \"road\"; },\n"
	    "{ recipients = \"*\"; via = \"road\"; } );\n",
	    0600));
	assert_int_equal(run(cmd_check, good, "", output, sizeof output), 0);
	assert_non_null(strstr(output, "\nroutes     of mfd, x*: * -> road\n"
				       "           of mfd: *@a.example -> road\n"
				       "           * -> road\n"));
	assert_int_equal(run(cmd_check, broken, "", output, sizeof output), 1);
	assert_string_equal(output, "");
	free(file);
}

static void check_tells_what_each_device_may(void **state)
{
	char *file = write_file("mfdrelay.conf",
	    HOSTNAME UPSTREAMS ROUTES "devices = ( { name = \"mfd\"; address = \"10.0.0.1\"; senders = "
				      "\"*@a.example\"; auth = \"none\";\n"
				      "  recipients = [ \"it@a.example\", \"*@b.example\" ]; message_size = "
				      "\"5M\"; messages_per_hour = 100;\n"
				      "  quirks = \"eod-lf\"; } );\n",
	    0600);
	char *check[] = {"check", "-c", file, NULL};
	char output[4096];

	(void)state;
	assert_int_equal(run(cmd_check, check, "", output, sizeof output), 0);
	assert_non_null(strstr(output,
	    "\ndevices    mfd, from 10.0.0.1; never logs in; as *@a.example; without a login to "
	    "it@a.example, *@b.example; messages of 5M; 100 messages an hour; eod-lf\n"));
	free(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_broken_configs),
	    cmocka_unit_test(test_defaults),
	    cmocka_unit_test(test_every_key_is_stored),
	    cmocka_unit_test(test_kind_defaults),
	    cmocka_unit_test(test_cloud_defaults),
	    cmocka_unit_test(test_sample),
	    cmocka_unit_test(test_manual),
	    cmocka_unit_test(test_numbers),
	    cmocka_unit_test(test_number_texts),
	    cmocka_unit_test(test_prefixes),
	    cmocka_unit_test(test_nearest),
	    cmocka_unit_test(test_hosts_and_guids),
	    cmocka_unit_test(test_devices),
	    cmocka_unit_test(a_login_is_asked_for_where_the_entry_with_the_longest_prefix_says_so),
	    cmocka_unit_test(test_tls),
	    cmocka_unit_test(test_tls_files),
	    cmocka_unit_test(test_signing_pairs),
	    cmocka_unit_test(test_routes),
	    cmocka_unit_test(test_routes_of_devices),
	    cmocka_unit_test(test_odd_files),
	    cmocka_unit_test(test_modes),
	    cmocka_unit_test(test_many_problems),
	    cmocka_unit_test(test_credential_without_systemd),
	    cmocka_unit_test(test_secret_for_another_user),
	    cmocka_unit_test(test_ca_files),
	    cmocka_unit_test(test_passwd),
	    cmocka_unit_test(test_check),
	    cmocka_unit_test(check_tells_what_each_device_may),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
