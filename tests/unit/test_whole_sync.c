/* When one sync of the whole file system is taken for many files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/fsutil.h"

static int64_t now_ms, takes_ms;
static int sync_result;

static int64_t test_clock(void)
{
	return now_ms;
}

static int sync_whole(int fd)
{
	assert_int_equal(fd, 7);
	now_ms += takes_ms;
	return sync_result;
}

#define clock_mono_ms test_clock
#define fs_sync_whole sync_whole
#include "spool/whole_sync.c"

#define MOST 4096

static struct whole_sync whole;

static void set_backlog(const char *text)
{
	if (whole.backlog > 0)
		close(whole.backlog);
	whole = (struct whole_sync){.folder = 7, .blocks_max = MOST};
	whole.backlog = memfd_create("delayed_allocation_blocks", MFD_CLOEXEC);
	assert_int_equal(write(whole.backlog, text, strlen(text)), strlen(text));
}

static void test_it_pays_for_enough_files_while_there_is_little_else_to_write(void **state)
{
	(void)state;
	set_backlog("4096\n");
	assert_true(whole_sync_pays(&whole, WHOLE_SYNC_FILES_MIN));
	assert_false(whole_sync_pays(&whole, WHOLE_SYNC_FILES_MIN - 1));
	assert_false(whole_sync_pays(NULL, WHOLE_SYNC_FILES_MIN));
	set_backlog("4097\n");
	assert_false(whole_sync_pays(&whole, 50));
	set_backlog("0\n");
	assert_true(whole_sync_pays(&whole, 50));
}

static void test_what_cannot_be_read_is_much(void **state)
{
	static const char *const bad[] = {"", "\n", "none\n", "99999999999999999999999\n"};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		set_backlog(bad[i]);
		assert_false(whole_sync_pays(&whole, 50));
	}
	set_backlog("0\n");
	close(whole.backlog);
	assert_false(whole_sync_pays(&whole, 50));
	whole.backlog = 0;
}

static void test_behind_a_slow_one_it_rests(void **state)
{
	(void)state;
	set_backlog("0\n");
	takes_ms = WHOLE_SYNC_SLOW_MS;
	assert_int_equal(whole_sync_run(&whole), 0);
	assert_true(whole_sync_pays(&whole, 50));
	takes_ms = WHOLE_SYNC_SLOW_MS + 1;
	assert_int_equal(whole_sync_run(&whole), 0);
	now_ms += WHOLE_SYNC_REST_MS - 1;
	assert_false(whole_sync_pays(&whole, 50));
	now_ms++;
	assert_true(whole_sync_pays(&whole, 50));
}

/* What failed may be a message that is still coming in: the kernel does not tell it to a second one. */
static void test_a_failed_one_is_the_last(void **state)
{
	(void)state;
	set_backlog("0\n");
	takes_ms = 1;
	assert_true(whole_sync_pays(&whole, 50));
	sync_result = -1;
	assert_int_equal(whole_sync_run(&whole), -1);
	sync_result = 0;
	now_ms += 100 * (int64_t)WHOLE_SYNC_REST_MS;
	assert_false(whole_sync_pays(&whole, 50));
}

/* What was written to the other would not be synced. */
static void test_all_folders_are_on_one_file_system(void **state)
{
	int folders[] = {
	    open("/", O_PATH | O_CLOEXEC), open("/", O_PATH | O_CLOEXEC), open("/proc", O_PATH | O_CLOEXEC)};

	(void)state;
	assert_true(are_on_one_file_system(folders, 2));
	assert_false(are_on_one_file_system(folders, 3));
	assert_null(whole_sync_new(folders, 3));
	for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
		close(folders[i]);
	assert_false(are_on_one_file_system(folders, 2));
}

static int close_backlog(void **state)
{
	(void)state;
	if (whole.backlog > 0)
		close(whole.backlog);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_it_pays_for_enough_files_while_there_is_little_else_to_write),
	    cmocka_unit_test(test_what_cannot_be_read_is_much),
	    cmocka_unit_test(test_behind_a_slow_one_it_rests),
	    cmocka_unit_test(test_a_failed_one_is_the_last),
	    cmocka_unit_test(test_all_folders_are_on_one_file_system),
	};

	return cmocka_run_group_tests(tests, NULL, close_backlog);
}
