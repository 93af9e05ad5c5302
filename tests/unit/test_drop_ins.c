/* conf.d: what is read from it, and where its errors are said to be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/mem.h"
#include "config/config.h"
#include "config/load.h"

#define MAIN                                                                                                 \
	"hostname = \"relay.example.net\"; report_to = \"it@x.test\";\n"                                     \
	"upstreams = ( { name = \"road\"; kind = \"smtp\"; host = \"mail.example.net\"; } );\n"              \
	"routes = ( { recipients = \"*\"; via = \"road\"; } );\n"
#define HASH "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7"

static char folder[] = "/tmp/mfdrelay-test-XXXXXX";

static int set_up(void **state)
{
	char path[64];

	(void)state;
	memcpy(strrchr(folder, '-') + 1, "XXXXXX", 6);
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/conf.d", folder);
	return mkdir(path, 0755);
}

static int tear_down(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof command, "rm -r %s", folder);
	return system(command);
}

static void write_file(const char *name, const char *text)
{
	char *path = xasprintf("%s/%s", folder, name);
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	assert_int_equal(chmod(path, 0640), 0);
	free(path);
}

/* Take the folder's name and its slash out of text. */
static void take_folder_out(char *text)
{
	size_t n = strlen(folder) + 1;

	for (char *found; (found = strstr(text, folder)) != NULL;)
		memmove(found, found + n, strlen(found + n) + 1);
}

/* Load folder/relay.conf; the problems, a line each and without the folder's name, must be want. */
static struct config *load(const char *want)
{
	char *file = xasprintf("%s/relay.conf", folder), *got = xstrdup("");
	struct config_problems problems;
	struct config *config = config_load(file, &problems);

	for (size_t i = 0; i < problems.count; i++) {
		char *more = xasprintf("%s%s\n", got, problems.items[i].text);
		free(got);
		got = more;
	}
	take_folder_out(got);
	assert_string_equal(got, want);
	free(got);
	free(file);
	config_problems_free(&problems);
	return config;
}

static void devices_follow_those_of_the_file_by_the_names_of_the_files(void **state)
{
	static const char *const names[] = {"first", "m10", "m20", "m21", "z"};

	(void)state;
	write_file("relay.conf", MAIN "devices = ( { name = \"first\"; address = \"10.0.0.1\"; } );\n");
	write_file("conf.d/z.conf", "devices = ( { name = \"z\"; address = \"10.0.0.9\"; } );\n");
	write_file("conf.d/m20.conf", "devices = ( { name = \"m20\"; address = \"10.0.0.3\"; },\n"
				      "  { name = \"m21\"; user = \"m21\"; password = \"" HASH "\"; } );\n");
	write_file("conf.d/m10.conf", "devices = ( { name = \"m10\"; address = \"10.0.0.2\"; } );\n");
	write_file("conf.d/empty.conf", "");
	write_file("conf.d/z.conf.dpkg-old", "not a config");
	write_file("conf.d/.hidden.conf", "nor this");
	struct config *config = load("");
	assert_non_null(config);
	assert_int_equal(config->device_count, 5);
	for (size_t i = 0; i < 5; i++)
		assert_string_equal(config->devices[i].name, names[i]);
	assert_int_equal(config->devices[1].auth, DEVICE_AUTH_OPTIONAL);
	assert_int_equal(config->devices[3].auth, DEVICE_AUTH_REQUIRED);
	config_free(config);
}

static void devices_may_stand_in_conf_d_alone(void **state)
{
	(void)state;
	write_file("relay.conf", MAIN);
	write_file("conf.d/a.conf", "devices = ( { name = \"a\"; address = \"10.0.0.2\"; } );\n");
	struct config *config = load("");
	assert_non_null(config);
	assert_int_equal(config->device_count, 1);
	config_free(config);
}

static void errors_are_said_to_be_where_they_are(void **state)
{
	(void)state;
	write_file("relay.conf", MAIN "devices = (\n  { name = \"a\"; address = \"10.0.0.1\"; },\n"
				      "  { name = \"b c\"; user = \"erp\"; password = \"" HASH "\"; } );\n");
	write_file("conf.d/b.conf", "devices = (\n  { name = \"b\"; address = \"10.0.0.2\"; },\n"
				    "  { name = \"a\"; address = \"10.0.0.1\"; } );\n");
	write_file("conf.d/c.conf",
	    "# the third\ndevices = ( { nam = \"c\"; user = \"ERP\"; password = \"" HASH "\"; } );\n"
	    "spool = \"/tmp/elsewhere\";\nspol = 1;\n");
	write_file("conf.d/d.conf", "devices = ( { name = \"d\" address } );\n");
	assert_null(load(
	    "relay.conf:6: devices.name = \"b c\": a name is up to 64 letters, digits, '.', '_' and '-'; "
	    "choose "
	    "another\n"
	    "conf.d/b.conf:3: devices.name = \"a\" is taken by a device in relay.conf; choose another\n"
	    "conf.d/b.conf:3: devices.address 10.0.0.1 is that of device \"a\" already, which wins; remove "
	    "it from "
	    "one of them\n"
	    "conf.d/c.conf:2: unknown key \"nam\" in devices; did you mean \"name\"?\n"
	    "conf.d/c.conf:2: devices.name is missing; add it: its name in logs and the queue\n"
	    "conf.d/c.conf:2: devices.user = \"ERP\" is taken by a device in relay.conf (case does not "
	    "count); "
	    "choose another\n"
	    "conf.d/c.conf:3: spool: files in conf.d hold devices and nothing else; move it to the main "
	    "file\n"
	    "conf.d/c.conf:4: spol: files in conf.d hold devices and nothing else; move it to the main file\n"
	    "conf.d/d.conf:1: the syntax is wrong here or on the line before; text stands in quotes, each { "
	    "( [ is "
	    "closed, and no comma follows the last entry of a list\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		devices_follow_those_of_the_file_by_the_names_of_the_files, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(devices_may_stand_in_conf_d_alone, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(errors_are_said_to_be_where_they_are, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
