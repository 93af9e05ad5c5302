/* When one sync of the whole file system is taken for many files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "spool/whole_sync.c"

#define PAGE 4096
#define MOST (WHOLE_SYNC_PENDING_MAX / PAGE)

static struct whole_sync whole;

static int teardown(void **state)
{
	(void)state;
	while (whole.nodes > 0)
		close(whole.counts[--whole.nodes]);
	return 0;
}

static void add_node_of(const char *counts)
{
	int fd = memfd_create("vmstat", MFD_CLOEXEC);

	assert_int_equal(write(fd, counts, strlen(counts)), strlen(counts));
	whole.page_bytes = PAGE;
	whole.counts[whole.nodes++] = fd;
}

static void add_node(unsigned dirty, unsigned writeback)
{
	char counts[200];

	snprintf(counts, sizeof counts,
	    "nr_free_pages 9\nnr_dirty_threshold 8\nnr_dirty %u\nnr_writeback_temp 7\nnr_writeback %u\n"
	    "nr_dirtied 123456\n",
	    dirty, writeback);
	add_node_of(counts);
}

static void test_it_pays_for_enough_files_while_there_is_little_else_to_write(void **state)
{
	(void)state;
	add_node(MOST - 2, 1);
	assert_true(whole_sync_pays(&whole, WHOLE_SYNC_FILES_MIN));
	assert_false(whole_sync_pays(&whole, WHOLE_SYNC_FILES_MIN - 1));
	assert_false(whole_sync_pays(NULL, WHOLE_SYNC_FILES_MIN));
}

static void test_all_nodes_count(void **state)
{
	(void)state;
	add_node(MOST / 2, MOST / 2);
	assert_true(whole_sync_pays(&whole, 50));
	add_node(0, 1);
	assert_false(whole_sync_pays(&whole, 50));
}

static void test_what_is_on_its_way_to_the_disk_counts(void **state)
{
	(void)state;
	add_node(0, MOST + 1);
	assert_false(whole_sync_pays(&whole, 50));
}

static void test_what_cannot_be_read_is_much(void **state)
{
	static const char *const bad[] = {
	    "", "nr_free_pages 1\n", "nr_free_pages 1\nnr_dirty 1\n", "\nnr_writeback 1\n"};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		add_node_of(bad[i]);
		assert_false(whole_sync_pays(&whole, 50));
		teardown(state);
	}
	add_node(0, 0);
	close(whole.counts[0]);
	assert_false(whole_sync_pays(&whole, 50));
	whole.nodes = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(
		test_it_pays_for_enough_files_while_there_is_little_else_to_write, teardown),
	    cmocka_unit_test_teardown(test_all_nodes_count, teardown),
	    cmocka_unit_test_teardown(test_what_is_on_its_way_to_the_disk_counts, teardown),
	    cmocka_unit_test_teardown(test_what_cannot_be_read_is_much, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
