/* Group commit: the order of the steps over a batch, and what a failure of each takes with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include <event2/event.h>

#include "base/fsutil.h"
#include "spool/whole_sync.h"

static int record_sync(int fd);
static int record_writeback(int fd);
static bool record_pays(const struct whole_sync *whole, size_t files);
static int record_whole(struct whole_sync *whole);
#define fs_sync		   record_sync
#define fs_start_writeback record_writeback
#define whole_sync_pays	   record_pays
#define whole_sync_run	   record_whole
#include "spool/syncer.c"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define FOLDER_A      0
#define FOLDER_B      1
#define BIT(folder)   (1u << (folder))
#define JOBS_MAX      200

struct probe {
	struct sync_job job;
	unsigned number;
	int fail_write, fail_name; /* errno, or 0 */
	unsigned undone, done;
};

static struct {
	struct event_base *base;
	struct syncer *syncer;
	int folders[2];
	struct probe probes[JOBS_MAX];
	unsigned done;
	char steps[8192]; /* written by the thread, read after it has been joined */
	int fail_sync_fd, fail_folder_fd;
	int fail_writeback_fd, writeback_errno;
	size_t pays_from; /* files; 0: never */
	bool fail_whole;
	void (*at_folder_sync)(void);
	struct probe gate_probe;
	sem_t gate, at_gate;
} t;

static void note(char step, unsigned number)
{
	size_t used = strlen(t.steps);

	snprintf(t.steps + used, sizeof t.steps - used, "%c%u ", step, number);
}

static unsigned number_of(int fd)
{
	for (unsigned i = 0; i < JOBS_MAX; i++)
		if (t.probes[i].job.fd == fd)
			return i;
	return 999;
}

static int record_sync(int fd)
{
	if (fd == t.folders[FOLDER_A] || fd == t.folders[FOLDER_B]) {
		note('f', fd == t.folders[FOLDER_A] ? FOLDER_A : FOLDER_B);
		if (t.at_folder_sync != NULL)
			t.at_folder_sync();
		errno = EIO;
		return fd == t.fail_folder_fd ? -1 : 0;
	}
	note('s', number_of(fd));
	errno = EIO;
	return fd == t.fail_sync_fd ? -1 : 0;
}

static int record_writeback(int fd)
{
	note('b', number_of(fd));
	errno = t.writeback_errno;
	return fd == t.fail_writeback_fd ? -1 : 0;
}

static bool record_pays(const struct whole_sync *whole, size_t files)
{
	(void)whole;
	return t.pays_from != 0 && files >= t.pays_from;
}

static int record_whole(struct whole_sync *whole)
{
	(void)whole;
	note('W', 0);
	errno = EIO;
	return t.fail_whole ? -1 : 0;
}

static int write_probe(struct sync_job *job)
{
	struct probe *probe = (struct probe *)job;

	note('w', probe->number);
	errno = probe->fail_write;
	return probe->fail_write != 0 ? -1 : 0;
}

static int name_probe(struct sync_job *job)
{
	struct probe *probe = (struct probe *)job;

	note('n', probe->number);
	errno = probe->fail_name;
	return probe->fail_name != 0 ? -1 : 0;
}

static void undo_probe(struct sync_job *job)
{
	struct probe *probe = (struct probe *)job;

	note('u', probe->number);
	probe->undone++;
	assert_true(fcntl(job->fd, F_GETFD) >= 0);
}

static void on_probe_done(struct work_job *work)
{
	struct probe *probe = (struct probe *)work;

	probe->done++;
	t.done++;
	assert_int_equal(probe->job.fd, -1);
}

static const struct sync_ops probe_ops = {.write = write_probe, .name = name_probe, .undo = undo_probe};

static int wait_at_gate(struct sync_job *job)
{
	(void)job;
	sem_post(&t.at_gate);
	sem_wait(&t.gate);
	return 0;
}

static const struct sync_ops gate_ops = {.write = wait_at_gate};

static int setup(void **state)
{
	(void)state;
	memset(&t, 0, sizeof t);
	t.fail_sync_fd = t.fail_folder_fd = t.fail_writeback_fd = -1;
	t.base = event_base_new();
	t.folders[FOLDER_A] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	t.folders[FOLDER_B] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	sem_init(&t.gate, 0, 0);
	sem_init(&t.at_gate, 0, 0);
	t.syncer = syncer_new(t.base, t.folders, LENGTH(t.folders), NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	syncer_free(t.syncer);
	close(t.folders[FOLDER_A]);
	close(t.folders[FOLDER_B]);
	sem_destroy(&t.gate);
	sem_destroy(&t.at_gate);
	event_base_free(t.base);
	return 0;
}

static void on_gate_done(struct work_job *work)
{
	(void)work;
}

/* What is submitted between these two makes one batch. */
static void close_gate(void)
{
	t.gate_probe = (struct probe){.job = {.work.done = on_gate_done, .ops = &gate_ops, .fd = -1}};
	syncer_submit(t.syncer, &t.gate_probe.job);
	sem_wait(&t.at_gate);
}

static void open_gate_and_finish(void)
{
	sem_post(&t.gate);
	syncer_finish(t.syncer);
}

static struct probe *submit(unsigned number, unsigned folders)
{
	struct probe *probe = &t.probes[number];

	probe->number = number;
	probe->job.work.done = on_probe_done;
	probe->job.ops = &probe_ops;
	probe->job.folders = folders;
	probe->job.fd = memfd_create("job", MFD_CLOEXEC);
	return probe;
}

static void test_steps_go_over_the_whole_batch(void **state)
{
	(void)state;
	close_gate();
	for (unsigned i = 1; i <= 3; i++)
		syncer_submit(t.syncer, &submit(i, BIT(FOLDER_A))->job);
	open_gate_and_finish();
	assert_string_equal(t.steps, "w1 w2 w3 b1 b2 b3 s1 s2 s3 n1 n2 n3 f0 ");
	assert_int_equal(t.done, 3);
	for (unsigned i = 1; i <= 3; i++)
		assert_int_equal(t.probes[i].job.error, 0);
}

static void submit_batch(unsigned n)
{
	close_gate();
	for (unsigned i = 1; i <= n; i++)
		syncer_submit(t.syncer, &t.probes[i].job);
	open_gate_and_finish();
}

static void test_one_sync_serves_all_files_where_it_pays(void **state)
{
	(void)state;
	t.pays_from = 3;
	for (unsigned i = 1; i <= 3; i++)
		submit(i, BIT(FOLDER_A));
	submit_batch(3);
	assert_string_equal(t.steps, "w1 w2 w3 b1 b2 b3 W0 n1 n2 n3 f0 ");
	for (unsigned i = 1; i <= 3; i++)
		assert_int_equal(t.probes[i].job.error, 0);
}

/* The fourth failed, and needs none. */
static void test_whether_it_pays_is_said_of_those_that_need_it(void **state)
{
	(void)state;
	t.pays_from = 4;
	for (unsigned i = 1; i <= 4; i++)
		submit(i, BIT(FOLDER_A));
	t.probes[4].fail_write = ENOSPC;
	submit_batch(4);
	assert_string_equal(t.steps, "w1 w2 w3 w4 u4 b1 b2 b3 s1 s2 s3 n1 n2 n3 f0 ");
}

static void test_when_it_fails_each_has_its_own(void **state)
{
	(void)state;
	t.pays_from = 3;
	t.fail_whole = true;
	for (unsigned i = 1; i <= 3; i++)
		submit(i, BIT(FOLDER_A));
	t.fail_sync_fd = t.probes[2].job.fd;
	submit_batch(3);
	assert_string_equal(t.steps, "w1 w2 w3 b1 b2 b3 W0 s1 s2 u2 s3 n1 n3 f0 ");
	assert_int_equal(t.probes[2].job.error, EIO);
	assert_int_equal(t.probes[1].job.error + t.probes[3].job.error, 0);
}

static void fail_writeback_of_the_second(int error)
{
	for (unsigned i = 1; i <= 3; i++)
		submit(i, BIT(FOLDER_A));
	t.fail_writeback_fd = t.probes[2].job.fd;
	t.writeback_errno = error;
	submit_batch(3);
}

/* The kernel tells such an error once: the syncs behind it answer that all is well. */
static void test_an_error_at_the_start_of_the_writing_fails_one(void **state)
{
	(void)state;
	fail_writeback_of_the_second(EIO);
	assert_string_equal(t.steps, "w1 w2 w3 b1 b2 u2 b3 s1 s3 n1 n3 f0 ");
	assert_int_equal(t.probes[2].job.error, EIO);
	assert_int_equal(t.probes[1].job.error + t.probes[3].job.error, 0);
}

/* A sync of the whole would be silent about it as well. */
static void test_such_an_error_is_told_before_a_sync_of_the_whole(void **state)
{
	(void)state;
	t.pays_from = 2;
	fail_writeback_of_the_second(EIO);
	assert_string_equal(t.steps, "w1 w2 w3 b1 b2 u2 b3 W0 n1 n3 f0 ");
	assert_int_equal(t.probes[2].job.error, EIO);
}

static void test_too_few_are_left_for_a_sync_of_the_whole(void **state)
{
	(void)state;
	t.pays_from = 3;
	fail_writeback_of_the_second(EIO);
	assert_string_equal(t.steps, "w1 w2 w3 b1 b2 u2 b3 s1 s3 n1 n3 f0 ");
}

static void test_a_kernel_without_an_early_start_is_no_error(void **state)
{
	(void)state;
	fail_writeback_of_the_second(ENOSYS);
	assert_string_equal(t.steps, "w1 w2 w3 b1 b2 b3 s1 s2 s3 n1 n2 n3 f0 ");
}

static void test_one_alone_needs_no_early_writeback(void **state)
{
	(void)state;
	syncer_submit(t.syncer, &submit(1, BIT(FOLDER_B))->job);
	syncer_finish(t.syncer);
	assert_string_equal(t.steps, "w1 s1 n1 f1 ");
}

static void test_failed_write_fails_one(void **state)
{
	(void)state;
	close_gate();
	for (unsigned i = 1; i <= 3; i++) {
		submit(i, BIT(FOLDER_A))->fail_write = i == 2 ? ENOSPC : 0;
		syncer_submit(t.syncer, &t.probes[i].job);
	}
	open_gate_and_finish();
	assert_string_equal(t.steps, "w1 w2 u2 w3 b1 b3 s1 s3 n1 n3 f0 ");
	assert_int_equal(t.probes[2].job.error, ENOSPC);
	assert_non_null(t.probes[2].job.failed_step);
	assert_int_equal(t.probes[1].job.error + t.probes[3].job.error, 0);
}

static void test_failed_sync_fails_one_and_is_not_tried_again(void **state)
{
	(void)state;
	close_gate();
	for (unsigned i = 1; i <= 3; i++) {
		submit(i, BIT(FOLDER_A));
		if (i == 2)
			t.fail_sync_fd = t.probes[i].job.fd;
		syncer_submit(t.syncer, &t.probes[i].job);
	}
	open_gate_and_finish();
	assert_string_equal(t.steps, "w1 w2 w3 b1 b2 b3 s1 s2 u2 s3 n1 n3 f0 ");
	assert_int_equal(t.probes[2].job.error, EIO);
	assert_int_equal(t.probes[1].job.error + t.probes[3].job.error, 0);
}

static void test_failed_name_fails_one(void **state)
{
	(void)state;
	close_gate();
	for (unsigned i = 1; i <= 2; i++) {
		submit(i, BIT(FOLDER_A))->fail_name = i == 1 ? EEXIST : 0;
		syncer_submit(t.syncer, &t.probes[i].job);
	}
	open_gate_and_finish();
	assert_string_equal(t.steps, "w1 w2 b1 b2 s1 s2 n1 u1 n2 f0 ");
	assert_int_equal(t.probes[1].job.error, EEXIST);
	assert_int_equal(t.probes[2].job.error, 0);
}

static void test_no_folder_sync_when_all_failed(void **state)
{
	(void)state;
	submit(1, BIT(FOLDER_A))->fail_name = ENOSPC;
	syncer_submit(t.syncer, &t.probes[1].job);
	syncer_finish(t.syncer);
	assert_string_equal(t.steps, "w1 s1 n1 u1 ");
}

static void test_failed_folder_fails_all_that_touch_it(void **state)
{
	(void)state;
	t.fail_folder_fd = t.folders[FOLDER_A];
	close_gate();
	syncer_submit(t.syncer, &submit(1, BIT(FOLDER_A))->job);
	syncer_submit(t.syncer, &submit(2, BIT(FOLDER_B))->job);
	syncer_submit(t.syncer, &submit(3, BIT(FOLDER_A) | BIT(FOLDER_B))->job);
	open_gate_and_finish();
	assert_string_equal(t.steps, "w1 w2 w3 b1 b2 b3 s1 s2 s3 n1 n2 n3 f0 u1 u3 f1 ");
	assert_int_equal(t.probes[1].job.error, EIO);
	assert_int_equal(t.probes[2].job.error, 0);
	assert_int_equal(t.probes[3].job.error, EIO);
	assert_int_equal(t.probes[1].undone + t.probes[2].undone + t.probes[3].undone, 2);
}

static int other_fd;

static void look_at_lock(void)
{
	assert_int_equal(flock(other_fd, LOCK_EX | LOCK_NB), -1);
	assert_int_equal(errno, EWOULDBLOCK);
}

static void test_lock_is_held_until_the_folder_is_synced(void **state)
{
	char path[64];

	(void)state;
	struct probe *probe = submit(1, BIT(FOLDER_A));
	assert_int_equal(flock(probe->job.fd, LOCK_EX | LOCK_NB), 0);
	snprintf(path, sizeof path, "/proc/self/fd/%d", probe->job.fd);
	other_fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(other_fd >= 0);
	t.at_folder_sync = look_at_lock;
	syncer_submit(t.syncer, &probe->job);
	syncer_finish(t.syncer);
	assert_non_null(strstr(t.steps, "f0"));
	assert_int_equal(flock(other_fd, LOCK_EX | LOCK_NB), 0);
	close(other_fd);
}

static void test_batches_are_bounded(void **state)
{
	unsigned syncs = 0;

	(void)state;
	close_gate();
	for (unsigned i = 0; i < JOBS_MAX; i++)
		syncer_submit(t.syncer, &submit(i, BIT(FOLDER_A))->job);
	open_gate_and_finish();
	for (const char *p = t.steps; (p = strstr(p, "f0 ")) != NULL; p++)
		syncs++;
	assert_int_equal(t.done, JOBS_MAX);
	assert_int_equal(syncs, (JOBS_MAX + SYNCER_BATCH - 1) / SYNCER_BATCH);
}

static void test_after_the_finish_jobs_are_done_at_once(void **state)
{
	(void)state;
	syncer_finish(t.syncer);
	syncer_submit(t.syncer, &submit(1, BIT(FOLDER_A))->job);
	assert_int_equal(t.probes[1].done, 1);
	assert_string_equal(t.steps, "w1 s1 n1 f0 ");
}

static void test_answers_come_from_the_loop(void **state)
{
	(void)state;
	for (unsigned i = 1; i <= 5; i++)
		syncer_submit(t.syncer, &submit(i, BIT(FOLDER_A))->job);
	assert_int_equal(t.done, 0);
	while (t.done < 5)
		event_base_loop(t.base, EVLOOP_ONCE);
	for (unsigned i = 1; i <= 5; i++)
		assert_int_equal(t.probes[i].done, 1);
}

static void test_small_ones_do_not_wait_for_a_large_one(void **state)
{
	(void)state;
	t.gate_probe = (struct probe){
	    .number = 9, .job = {.work.done = on_gate_done, .ops = &gate_ops, .fd = -1, .is_large = true}};
	syncer_submit(t.syncer, &t.gate_probe.job);
	syncer_submit(t.syncer, &submit(1, BIT(FOLDER_A))->job);
	for (int i = 0; i < 5000 && t.done == 0; i++) {
		event_base_loop(t.base, EVLOOP_NONBLOCK);
		usleep(1000);
	}
	unsigned done = t.done;
	open_gate_and_finish();
	assert_int_equal(done, 1);
}

static void test_a_large_one_takes_each_step_once(void **state)
{
	(void)state;
	submit(1, BIT(FOLDER_A))->job.is_large = true;
	submit(2, BIT(FOLDER_A))->job.is_large = true;
	submit(3, BIT(FOLDER_A))->job.is_large = true;
	t.probes[2].fail_write = ENOSPC;
	t.fail_sync_fd = t.probes[3].job.fd;
	close_gate();
	for (unsigned i = 1; i <= 3; i++)
		syncer_submit(t.syncer, &t.probes[i].job);
	/* So that all of them are in the batch behind the gate. */
	work_pool_free(t.syncer->large);
	t.syncer->large = NULL;
	open_gate_and_finish();
	assert_string_equal(t.steps, "w1 s1 w2 u2 w3 s3 u3 n1 f0 ");
	assert_int_equal(t.done, 3);
	assert_int_equal(t.probes[1].job.error, 0);
	assert_int_equal(t.probes[2].job.error, ENOSPC);
	assert_int_equal(t.probes[3].job.error, EIO);
	assert_int_equal(t.probes[2].undone + t.probes[3].undone, 2);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_steps_go_over_the_whole_batch),
	    TEST(test_one_sync_serves_all_files_where_it_pays),
	    TEST(test_whether_it_pays_is_said_of_those_that_need_it),
	    TEST(test_when_it_fails_each_has_its_own),
	    TEST(test_an_error_at_the_start_of_the_writing_fails_one),
	    TEST(test_such_an_error_is_told_before_a_sync_of_the_whole),
	    TEST(test_too_few_are_left_for_a_sync_of_the_whole),
	    TEST(test_a_kernel_without_an_early_start_is_no_error),
	    TEST(test_one_alone_needs_no_early_writeback),
	    TEST(test_failed_write_fails_one),
	    TEST(test_failed_sync_fails_one_and_is_not_tried_again),
	    TEST(test_failed_name_fails_one),
	    TEST(test_no_folder_sync_when_all_failed),
	    TEST(test_failed_folder_fails_all_that_touch_it),
	    TEST(test_lock_is_held_until_the_folder_is_synced),
	    TEST(test_batches_are_bounded),
	    TEST(test_after_the_finish_jobs_are_done_at_once),
	    TEST(test_small_ones_do_not_wait_for_a_large_one),
	    TEST(test_a_large_one_takes_each_step_once),
	    TEST(test_answers_come_from_the_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
