/* The spool: every promise of spool.h, and every row of the table on top of spool.c, on real files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/fsutil.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/timer.h"
#include "spool/quota.h"

/* The syncer's syncs can be counted, watched and failed. */
static int hooked_sync(int fd);
#define fs_sync hooked_sync
#include "spool/syncer.c"

/* And something can happen between the opening of a message and its lock. */
static int hooked_flock(int fd, int how);
#define flock hooked_flock
#include "spool/take.c"
#undef flock

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define ID	      "0d2k1p0a3f7v9c4ef"
#define ID2	      "0d2k1p0a3f7v9c4ff"
#define CONTENT	      "Subject: scan\r\n\r\nhello\r\n"

static struct {
	char path[128];
	struct event_base *base;
	struct spool *spool;
	struct err err;
	/* hooks; the syncer's thread reads the first three while a test sets them */
	_Atomic bool fail_file_sync, fail_folder_sync;
	void (*_Atomic at_folder_sync)(void);
	void (*before_lock)(void);
	_Atomic unsigned file_syncs, folder_syncs;
	/* the last callback */
	unsigned calls;
	bool exists;
	char error[300];
	char order[64];
} t;

static bool is_folder(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

static int hooked_sync(int fd)
{
	bool folder = is_folder(fd);
	void (*at_folder_sync)(void) = t.at_folder_sync;

	if (folder)
		t.folder_syncs++;
	else
		t.file_syncs++;
	if (folder && at_folder_sync != NULL)
		at_folder_sync();
	errno = EIO;
	if (folder ? t.fail_folder_sync : t.fail_file_sync)
		return -1;
	return fsync(fd);
}

static int hooked_flock(int fd, int how)
{
	if (t.before_lock != NULL)
		t.before_lock();
	return flock(fd, how);
}

/* --- the folder --- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void open_again(void)
{
	t.spool = spool_open(t.path, t.base, 1, &t.err);
	if (t.spool == NULL)
		fail_msg("%s", t.err.text);
	spool_start(t.spool);
}

static int setup_folder(void **state)
{
	const char *base = getenv("TMPDIR");

	(void)state;
	memset(&t, 0, sizeof t);
	log_set_level(LOG_LEVEL_ERR - 1);
	snprintf(t.path, sizeof t.path, "%.90s/mfdrelay-test-XXXXXX", base != NULL ? base : "/tmp");
	assert_non_null(mkdtemp(t.path));
	t.base = event_base_new();
	return 0;
}

static int setup(void **state)
{
	setup_folder(state);
	assert_int_equal(spool_prepare(t.path, (uid_t)-1, (gid_t)-1, &t.err), 0);
	open_again();
	/* Where it would not survive a power cut it can be tested all the same. */
	int fd = openat(t.spool->dirs[DIR_QUEUE], ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	t.spool->can_link_unnamed = fd >= 0;
	close(fd);
	return 0;
}

/* The same on a file system that knows no files without a name. */
static int setup_named(void **state)
{
	setup(state);
	t.spool->can_link_unnamed = false;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	t.at_folder_sync = NULL;
	spool_close(t.spool);
	event_base_free(t.base);
	nftw(t.path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return 0;
}

static char *path_of(const char *name)
{
	static char path[4][256];
	static unsigned turn;
	char *out = path[turn++ % 4];

	snprintf(out, sizeof path[0], "%s/%s", t.path, name);
	return out;
}

static void put_file(const char *name, const char *text, size_t n)
{
	int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fs_write_all(fd, text, n), 0);
	close(fd);
}

static bool is_there(const char *name)
{
	struct stat st;

	return lstat(path_of(name), &st) == 0;
}

static unsigned count_files(const char *folder)
{
	DIR *dir = opendir(path_of(folder));
	unsigned count = 0;

	assert_non_null(dir);
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

/* --- messages --- */

static char *recipients[] = {"a@contoso.com", "b@contoso.com"};

static struct envelope sample(void)
{
	return (struct envelope){
	    .accepted_ms = 1795459740123,
	    .device = "mfd",
	    .peer = "10.1.2.17",
	    .helo = "MFD",
	    .user = "",
	    .listener = "",
	    .sender = "scan@contoso.com",
	    .recipients = recipients,
	    .recipient_count = LENGTH(recipients),
	};
}

static void put_message(const char *name, const char *id)
{
	struct envelope envelope = sample();
	size_t n, tail;

	strcpy(envelope.id, id);
	envelope.content_bytes = strlen(CONTENT);
	char *head = envelope_format(&envelope, &n, &tail);
	char *text = xasprintf("%.*s%s", (int)n, head, CONTENT);
	put_file(name, text, strlen(text));
	free(text);
	free(head);
}

static void put_state(const char *name, const char *id, enum recipient_status second)
{
	struct envelope envelope = sample();
	struct state state;
	size_t n;

	strcpy(envelope.id, id);
	state_init(&state, LENGTH(recipients));
	state.recipients[0].status = RECIPIENT_DELIVERED;
	state.recipients[1].status = second;
	state.recipients[1].attempts = 5;
	state.recipients[1].waited_ms = 777;
	state_set_reason(&state.recipients[1], "submission", "550 no");
	state_add_refusal(&state.recipients[1], "internal");
	state_set_perhaps_taken(&state.recipients[1], "submission");
	char *text = state_format(&state, &envelope, &n);
	put_file(name, text, n);
	free(text);
	state_free(&state);
}

static void on_done(void *arg, const struct spool_result *result)
{
	size_t used = strlen(t.order);

	t.calls++;
	t.exists = result->exists;
	snprintf(t.error, sizeof t.error, "%s", result->error != NULL ? result->error : "");
	if (arg != NULL)
		snprintf(t.order + used, sizeof t.order - used, "%s", (const char *)arg);
}

static void wait_for(unsigned calls)
{
	while (t.calls < calls)
		assert_true(event_base_loop(t.base, EVLOOP_ONCE) >= 0);
}

static void run_loop_ms(int ms)
{
	const struct timeval wait = timer_interval(ms);

	event_base_loopexit(t.base, &wait);
	event_base_dispatch(t.base);
}

static struct spool_draft *begin(struct envelope *envelope, const char *id)
{
	struct spool_draft *draft = spool_begin(t.spool, envelope, id, &t.err);

	if (draft == NULL)
		fail_msg("%s", t.err.text);
	return draft;
}

/* Returns the id in a static buffer. */
static const char *commit(const char *content, size_t n)
{
	static char id[SPOOL_ID_MAX + 1];
	struct envelope envelope = sample();
	struct spool_draft *draft = begin(&envelope, NULL);

	assert_int_equal(spool_append(draft, content, n, &t.err), 0);
	spool_commit(draft, false, on_done, NULL);
	wait_for(t.calls + 1);
	strcpy(id, envelope.id);
	return id;
}

static const char *commit_good(void)
{
	const char *id = commit(CONTENT, strlen(CONTENT));

	assert_string_equal(t.error, "");
	return id;
}

static struct spool_message *take(const char *id)
{
	struct spool_message *message;
	enum spool_take result = spool_take(t.spool, id, &message, &t.err);

	if (result != SPOOL_TAKEN)
		fail_msg("not taken (%d): %s", result, t.err.text);
	return message;
}

static enum spool_take try_take(const char *id)
{
	struct spool_message *message;

	t.err.text[0] = '\0';
	enum spool_take result = spool_take(t.spool, id, &message, &t.err);
	if (result == SPOOL_TAKEN)
		spool_release(message);
	else
		assert_null(message);
	return result;
}

/* --- taking in --- */

static void test_sizes(void **state)
{
	static const size_t sizes[] = {0, 1, 2000, 65000, 65536 - 300, 65536, 65537, 131072, 1000000};
	char *content = xcalloc(1, 1000000), *back = xcalloc(1, 1000001);

	(void)state;
	for (size_t i = 0; i < 1000000; i++)
		content[i] = (char)(i * 31 >> 3);
	for (size_t i = 0; i < LENGTH(sizes); i++) {
		struct envelope envelope = sample();
		struct spool_draft *draft = begin(&envelope, NULL);
		for (size_t at = 0; at < sizes[i]; at += 7777)
			assert_int_equal(spool_append(draft, content + at,
					     sizes[i] - at < 7777 ? sizes[i] - at : 7777, &t.err),
			    0);
		spool_commit(draft, i % 2 == 1, on_done, NULL);
		assert_int_equal(t.calls, i);
		wait_for((unsigned)i + 1);
		assert_string_equal(t.error, "");
		struct spool_message *message = take(envelope.id);
		assert_int_equal(spool_envelope(message)->content_bytes, sizes[i]);
		assert_int_equal(spool_envelope(message)->has_8bit, i % 2 == 1);
		assert_string_equal(spool_envelope(message)->recipients[1], "b@contoso.com");
		assert_int_equal(spool_state(message)->count, LENGTH(recipients));
		size_t got = 0;
		for (ssize_t n; (n = spool_read(message, got, back + got, 100000)) != 0; got += (size_t)n)
			assert_true(n > 0);
		assert_int_equal(got, sizes[i]);
		assert_memory_equal(content, back, got);
		assert_int_equal(spool_read(message, sizes[i] + 10, back, 10), 0);
		spool_release(message);
	}
	assert_int_equal(count_files("queue"), LENGTH(sizes));
	free(content);
	free(back);
}

/* The tail of the envelope has left the buffer, lies across its end, or is still in it. */
static void test_large_envelopes(void **state)
{
	char *many[2000], address[321];

	(void)state;
	memset(address, 'a', 320);
	address[320] = '\0';
	for (size_t i = 0; i < LENGTH(many); i++)
		many[i] = address;
	for (size_t count = 190; count < 200; count++) {
		for (size_t length = 1; length <= 320; length += 29) {
			struct envelope envelope = sample();
			char last[321];
			memset(last, 'z', length);
			last[length] = '\0';
			many[count - 1] = last;
			envelope.recipients = many;
			envelope.recipient_count = count;
			struct spool_draft *draft = begin(&envelope, NULL);
			assert_int_equal(spool_append(draft, CONTENT, strlen(CONTENT), &t.err), 0);
			spool_commit(draft, true, on_done, NULL);
			wait_for(t.calls + 1);
			assert_string_equal(t.error, "");
			struct spool_message *message = take(envelope.id);
			assert_int_equal(spool_envelope(message)->content_bytes, strlen(CONTENT));
			assert_true(spool_envelope(message)->has_8bit);
			many[count - 1] = address;
			spool_retire(message);
		}
	}
	struct envelope envelope = sample();
	envelope.recipients = many;
	envelope.recipient_count = LENGTH(many);
	spool_commit(begin(&envelope, NULL), false, on_done, NULL);
	wait_for(t.calls + 1);
	struct spool_message *message = take(envelope.id);
	assert_int_equal(spool_envelope(message)->recipient_count, LENGTH(many));
	spool_release(message);
}

static void test_nothing_before_the_commit_and_after_an_abort(void **state)
{
	struct envelope envelope = sample();
	struct spool_draft *draft = begin(&envelope, NULL);

	(void)state;
	assert_true(spool_id_valid(envelope.id));
	assert_int_equal(spool_append(draft, CONTENT, strlen(CONTENT), &t.err), 0);
	assert_int_equal(try_take(envelope.id), SPOOL_GONE);
	spool_abort(draft);
	spool_abort(NULL);
	assert_int_equal(count_files("queue"), 0);
}

static char sought[300];
static int lock_result, name_result;

static void look_from_outside(void)
{
	int fd = open(sought, O_RDONLY | O_CLOEXEC);

	name_result = fd;
	if (fd < 0)
		return;
	lock_result = flock(fd, LOCK_EX | LOCK_NB);
	close(fd);
}

static void test_nobody_takes_it_before_it_is_durable(void **state)
{
	struct envelope envelope = sample();
	struct spool_draft *draft = begin(&envelope, NULL);

	(void)state;
	snprintf(sought, sizeof sought, "%s/queue/%s", t.path, envelope.id);
	lock_result = name_result = -99;
	t.at_folder_sync = look_from_outside;
	spool_commit(draft, false, on_done, NULL);
	wait_for(1);
	assert_true(name_result >= 0);
	assert_int_equal(lock_result, -1);
	assert_int_equal(t.file_syncs, 1);
	assert_int_equal(t.folder_syncs, 1);
	assert_int_equal(try_take(envelope.id), SPOOL_TAKEN);
}

static void test_failed_syncs_leave_nothing(void **state)
{
	(void)state;
	t.fail_file_sync = true;
	commit(CONTENT, strlen(CONTENT));
	assert_non_null(strstr(t.error, "Input/output error"));
	assert_int_equal(t.file_syncs, 1);
	assert_int_equal(count_files("queue"), 0);
	t.fail_file_sync = false;
	t.fail_folder_sync = true;
	commit(CONTENT, strlen(CONTENT));
	assert_non_null(strstr(t.error, "syncing the folder"));
	assert_int_equal(count_files("queue"), 0);
	t.fail_folder_sync = false;
	commit_good();
	assert_int_equal(count_files("queue"), 1);
}

static void test_full_disk(void **state)
{
	struct envelope envelope = sample();
	char *content = xcalloc(1, 100000);

	(void)state;
	struct spool_draft *draft = begin(&envelope, NULL);
	assert_int_equal(spool_append(draft, content, 10000, &t.err), 0);
	t.spool->free_space = UINT64_MAX;
	t.spool->space.known = false;
	assert_int_equal(spool_append(draft, content, 1, &t.err), -1);
	assert_int_equal(errno, ENOSPC);
	assert_non_null(strstr(t.err.text, "limits.free_space"));
	spool_abort(draft);
	assert_int_equal(count_files("queue"), 0);
	/* A report is what the floor is for. */
	envelope.is_report = true;
	draft = begin(&envelope, NULL);
	assert_int_equal(spool_append(draft, content, 100000, &t.err), 0);
	spool_commit(draft, false, on_done, NULL);
	wait_for(1);
	assert_string_equal(t.error, "");
	free(content);
}

/* A slow disk: the next batch gathers meanwhile. */
static void be_slow(void)
{
	usleep(10000);
}

static void test_many_at_once_share_syncs(void **state)
{
	(void)state;
	t.at_folder_sync = be_slow;
	for (unsigned i = 0; i < 300; i++) {
		struct envelope envelope = sample();
		struct spool_draft *draft = begin(&envelope, NULL);
		assert_int_equal(spool_append(draft, CONTENT, strlen(CONTENT), &t.err), 0);
		spool_commit(draft, false, on_done, NULL);
	}
	wait_for(300);
	assert_string_equal(t.error, "");
	assert_int_equal(count_files("queue"), 300);
	assert_int_equal(t.file_syncs, 300);
	assert_true(t.folder_syncs < 100);
}

static void commit_as(const char *id, bool is_report)
{
	struct envelope envelope = sample();

	envelope.is_report = is_report;
	struct spool_draft *draft = begin(&envelope, id);
	assert_string_equal(envelope.id, id);
	spool_commit(draft, false, on_done, NULL);
	wait_for(t.calls + 1);
}

static void test_an_id_that_is_taken(void **state)
{
	(void)state;
	put_message("queue/" ID, ID);
	commit_as(ID, false);
	assert_true(t.error[0] != '\0' && t.exists);
	struct spool_message *message = take(ID);
	assert_int_equal(spool_envelope(message)->content_bytes, strlen(CONTENT));
	spool_release(message);
	assert_int_equal(count_files("queue"), 1);
}

static void test_a_report_is_made_once(void **state)
{
	char id[SPOOL_ID_MAX + 1];

	(void)state;
	spool_report_id(id, ID, 0);
	assert_string_equal(id, ID "r0");
	commit_as(id, true);
	assert_true(t.error[0] == '\0' && !t.exists);
	commit_as(id, true);
	assert_true(t.error[0] == '\0' && t.exists);
	assert_int_equal(t.folder_syncs, 2);
	assert_int_equal(count_files("queue"), 1);
	t.fail_folder_sync = true;
	commit_as(id, true);
	assert_true(t.error[0] != '\0' && !t.exists);
	assert_int_equal(count_files("queue"), 1);
}

static void test_named_draft_that_was_left_behind(void **state)
{
	(void)state;
	put_file("queue/tmp." ID "r1", "left by a worker that died", 26);
	commit_as(ID "r1", true);
	assert_string_equal(t.error, "");
	assert_int_equal(try_take(ID "r1"), SPOOL_TAKEN);
	assert_int_equal(count_files("queue"), 1);
}

static void test_room(void **state)
{
	struct envelope envelope = sample();

	(void)state;
	assert_true(spool_has_room(t.spool, 1000, &t.err));
	uint64_t free_bytes = t.spool->space.bytes_free;
	assert_false(spool_has_room(t.spool, UINT64_MAX, &t.err));
	assert_non_null(strstr(t.err.text, "nearly full"));
	/* What was promised to a draft is not there for others, until it goes. */
	t.spool->space.sampled_ms = clock_mono_ms() + 3600000;
	envelope.content_bytes = free_bytes / 2;
	struct spool_draft *draft = begin(&envelope, NULL);
	assert_false(spool_has_room(t.spool, free_bytes / 2 + 1, &t.err));
	spool_abort(draft);
	assert_true(spool_has_room(t.spool, free_bytes / 2 + 1, &t.err));
	/* ... not for what comes after it either; but for itself. */
	static const char piece[64 * 1024];
	t.spool->space.bytes_free =
	    t.spool->space.bytes_floor + t.spool->space.bytes_taken + 8 * sizeof piece;
	envelope.content_bytes = 6 * sizeof piece;
	draft = begin(&envelope, NULL);
	envelope.content_bytes = 0;
	struct spool_draft *other = begin(&envelope, NULL);
	assert_int_equal(spool_append(other, piece, sizeof piece, &t.err), -1);
	assert_int_equal(errno, ENOSPC);
	for (int i = 0; i < 6; i++)
		assert_int_equal(spool_append(draft, piece, sizeof piece, &t.err), 0);
	spool_abort(other);
	spool_abort(draft);
	t.spool->space.bytes_free = free_bytes;
	/* What we have written since the last look is counted, when nobody promised it too. */
	uint64_t before = t.spool->space.bytes_taken;
	commit_good();
	assert_true(t.spool->space.bytes_taken > before + strlen(CONTENT));
	t.spool->space.inodes_free = 5000;
	t.spool->space.inodes_taken = 4000;
	t.spool->space.inodes_floor = 1000;
	assert_false(spool_has_room(t.spool, 1, &t.err));
	assert_non_null(strstr(t.err.text, "inodes"));
	t.spool->space.inodes_floor = 0;
	assert_true(spool_has_room(t.spool, 1, &t.err));
	assert_int_equal(t.spool->space.bytes_promised, 0);
}

/* --- taking out --- */

static void test_busy_and_gone(void **state)
{
	const char *id = commit_good();
	struct spool_message *message = take(id);

	(void)state;
	assert_int_equal(try_take(id), SPOOL_BUSY);
	spool_release(message);
	assert_int_equal(try_take(id), SPOOL_TAKEN);
	message = take(id);
	spool_retire(message);
	assert_int_equal(try_take(id), SPOOL_GONE);
	assert_int_equal(try_take(ID), SPOOL_GONE);
	assert_int_equal(try_take("../state/x"), SPOOL_GONE);
}

static void remove_it(void)
{
	remove(path_of("queue/" ID));
}

static void replace_it(void)
{
	put_message("queue/other", ID);
	assert_int_equal(rename(path_of("queue/other"), path_of("queue/" ID)), 0);
}

/* Another sender has finished with it after we had opened it: the lock is free, and of no use. */
static void test_a_file_without_its_name_is_not_taken(void **state)
{
	(void)state;
	put_message("queue/" ID, ID);
	t.before_lock = remove_it;
	assert_int_equal(try_take(ID), SPOOL_GONE);
	put_message("queue/" ID, ID);
	t.before_lock = replace_it;
	assert_int_equal(try_take(ID), SPOOL_GONE);
	t.before_lock = NULL;
	assert_int_equal(try_take(ID), SPOOL_TAKEN);
}

static void test_what_is_no_plain_file_is_left_alone(void **state)
{
	(void)state;
	mkdir(path_of("queue/" ID), 0700);
	assert_int_equal(try_take(ID), SPOOL_GONE);
	mkfifo(path_of("queue/" ID2), 0600);
	assert_int_equal(try_take(ID2), SPOOL_GONE);
	assert_int_equal(symlink("/etc/passwd", path_of("queue/0d2k1p0a3f7v9c4aa")), 0);
	assert_int_equal(try_take("0d2k1p0a3f7v9c4aa"), SPOOL_GONE);
	assert_int_equal(count_files("queue"), 3);
	assert_int_equal(count_files("failed"), 0);
}

static void truncate_it(void)
{
	struct stat st;

	stat(path_of("queue/" ID), &st);
	assert_int_equal(truncate(path_of("queue/" ID), st.st_size - 1), 0);
}

static void lengthen_it(void)
{
	int fd = open(path_of("queue/" ID), O_WRONLY | O_APPEND);

	assert_int_equal(write(fd, "x", 1), 1);
	close(fd);
}

static void cut_envelope(void)
{
	assert_int_equal(truncate(path_of("queue/" ID), 100), 0);
}

static void empty_it(void)
{
	assert_int_equal(truncate(path_of("queue/" ID), 0), 0);
}

static void fill_with_nothing(void)
{
	put_file("queue/" ID, "", 0);
	assert_int_equal(truncate(path_of("queue/" ID), 5000000), 0);
}

static void give_other_id(void)
{
	put_message("queue/" ID, ID2);
}

static void damage_state(void)
{
	put_file("state/" ID, "nonsense\n", 9);
}

static void make_state_of_another(void)
{
	put_state("state/" ID, ID2, RECIPIENT_PENDING);
}

static void make_state_a_folder(void)
{
	mkdir(path_of("state/" ID), 0700);
}

static const struct {
	const char *label;
	void (*damage)(void);
	const char *why;
} damages[] = {
    {"content that is cut", truncate_it, "its content has"},
    {"content that goes on", lengthen_it, "its content has"},
    {"an envelope that is cut", cut_envelope, "cut off"},
    {"an empty file", empty_it, "cut off"},
    {"a file of zeros", fill_with_nothing, "its envelope is damaged: line 1"},
    {"another message's envelope", give_other_id, "its envelope is that of " ID2},
    {"a damaged state", damage_state, "state/" ID ": line 1"},
    {"another message's state", make_state_of_another, "belongs to another message"},
    {"a folder for a state", make_state_a_folder, "state/" ID},
};

static void test_damaged_messages_go_to_failed(void **state)
{
	struct envelope envelope;
	struct state inspected;
	size_t n;

	(void)state;
	for (size_t i = 0; i < LENGTH(damages); i++) {
		put_message("queue/" ID, ID);
		damages[i].damage();
		bool has_state = is_there("state/" ID);
		enum spool_take result = try_take(ID);
		if (result != SPOOL_DAMAGED || strstr(t.err.text, damages[i].why) == NULL)
			fail_msg("%s: %d %s", damages[i].label, result, t.err.text);
		assert_false(is_there("queue/" ID) || is_there("state/" ID));
		assert_true(is_there("failed/" ID));
		assert_int_equal(is_there("failed/" ID ".state"), has_state);
		char *reason = fs_read_file(t.spool->dirs[DIR_FAILED], ID ".reason", 2000, &n);
		assert_non_null(reason);
		assert_non_null(strstr(reason, damages[i].why));
		free(reason);
		/* A person sees why, and it is not sent by a retry. */
		assert_int_equal(
		    spool_inspect(t.spool, SPOOL_FAILED, ID, &envelope, &inspected, NULL, NULL, &t.err), -1);
		assert_int_equal(errno, EBADMSG);
		assert_int_equal(spool_requeue(t.spool, ID, &t.err), -1);
		assert_int_equal(errno, EBADMSG);
		assert_int_equal(spool_failed_count(t.spool), 1);
		assert_int_equal(count_files("queue"), 0);
		remove(path_of("failed/" ID));
		remove(path_of("failed/" ID ".state"));
		remove(path_of("failed/" ID ".reason"));
	}
}

static void test_trouble_is_not_damage(void **state)
{
	(void)state;
	put_message("queue/" ID, ID);
	struct spool_message *message;
	int dir = t.spool->dirs[DIR_STATE];
	t.spool->dirs[DIR_STATE] = open("/dev/null", O_RDONLY | O_CLOEXEC); /* not a folder: ENOTDIR */
	assert_int_equal(spool_take(t.spool, ID, &message, &t.err), SPOOL_TROUBLE);
	close(t.spool->dirs[DIR_STATE]);
	t.spool->dirs[DIR_STATE] = dir;
	assert_int_equal(try_take(ID), SPOOL_TAKEN);
}

static void set_status(struct spool_message *message, enum recipient_status status)
{
	spool_state(message)->recipients[1].status = status;
	state_set_reason(&spool_state(message)->recipients[1], "submission", recipient_status_name(status));
}

static void test_state_is_kept(void **state)
{
	char id[SPOOL_ID_MAX + 1];

	(void)state;
	strcpy(id, commit_good());
	struct spool_message *message = take(id);
	set_status(message, RECIPIENT_DELIVERED);
	spool_save(message, on_done, "a");
	/* A copy was taken: this is not in the first. */
	set_status(message, RECIPIENT_FAILED);
	spool_save(message, on_done, "b");
	assert_string_equal(t.order, "");
	wait_for(3);
	assert_string_equal(t.order, "ab");
	assert_string_equal(t.error, "");
	spool_release(message);
	spool_close(t.spool);
	open_again();
	message = take(id);
	assert_int_equal(spool_state(message)->recipients[1].status, RECIPIENT_FAILED);
	assert_string_equal(spool_state(message)->recipients[1].reason, "failed");
	spool_release(message);
	assert_int_equal(count_files("state"), 1);
}

static void test_failed_saves(void **state)
{
	const char *id = commit_good();
	struct spool_message *message = take(id);
	char name[64];

	(void)state;
	set_status(message, RECIPIENT_FAILED);
	t.fail_file_sync = true;
	spool_save(message, on_done, NULL);
	wait_for(2);
	assert_non_null(strstr(t.error, "state/"));
	t.fail_file_sync = false;
	assert_int_equal(count_files("state"), 0);
	snprintf(name, sizeof name, "state/%s", id);
	mkdir(path_of(name), 0700);
	spool_save(message, on_done, NULL);
	wait_for(3);
	assert_true(t.error[0] != '\0');
	assert_int_equal(count_files("state"), 1);
	rmdir(path_of(name));
	t.fail_folder_sync = true;
	spool_save(message, on_done, NULL);
	wait_for(4);
	assert_true(t.error[0] != '\0');
	t.fail_folder_sync = false;
	spool_save(message, on_done, NULL);
	wait_for(5);
	assert_string_equal(t.error, "");
	spool_release(message);
}

static void test_the_lock_is_kept_until_the_last_save(void **state)
{
	const char *id = commit_good();
	struct spool_message *message = take(id);

	(void)state;
	spool_save(message, on_done, "a");
	spool_save(message, on_done, "b");
	spool_release(message);
	assert_int_equal(try_take(id), SPOOL_BUSY);
	wait_for(3);
	assert_string_equal(t.order, "ab");
	assert_int_equal(try_take(id), SPOOL_TAKEN);
}

static void test_retire_after_saves_leaves_nothing(void **state)
{
	const char *id = commit_good();
	struct spool_message *message = take(id);

	(void)state;
	spool_save(message, on_done, NULL);
	spool_save(message, on_done, NULL);
	spool_retire(message);
	wait_for(3);
	assert_int_equal(count_files("queue") + count_files("state"), 0);
}

static void release_it(void *arg, const struct spool_result *result)
{
	on_done(NULL, result);
	spool_release(arg);
}

static void test_a_callback_may_release(void **state)
{
	const char *id = commit_good();
	struct spool_message *message = take(id);

	(void)state;
	spool_save(message, release_it, message);
	wait_for(2);
	assert_int_equal(try_take(id), SPOOL_TAKEN);
}

static void test_retires_share_syncs(void **state)
{
	char ids[60][SPOOL_ID_MAX + 1];

	(void)state;
	for (size_t i = 0; i < LENGTH(ids); i++)
		strcpy(ids[i], commit_good());
	t.folder_syncs = 0;
	int64_t begun_ms = clock_mono_ms();
	for (size_t i = 0; i < LENGTH(ids); i++) {
		spool_retire(take(ids[i]));
		run_loop_ms(1);
	}
	assert_int_equal(count_files("queue"), 0);
	run_loop_ms(300);
	/* queue/ and state/ each time, which is every 200 ms at most. */
	assert_in_range(t.folder_syncs, 2, 2 * ((clock_mono_ms() - begun_ms) / 200 + 2));
}

/* While queue/ is no folder nothing can be removed from it: ENOTDIR. */
static int take_queue_away(void)
{
	int dir = t.spool->dirs[DIR_QUEUE];

	t.spool->dirs[DIR_QUEUE] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return dir;
}

static void put_queue_back(int dir)
{
	close(t.spool->dirs[DIR_QUEUE]);
	t.spool->dirs[DIR_QUEUE] = dir;
}

static void retire_in_vain(const char *id)
{
	struct spool_message *message = take(id);
	int dir = take_queue_away();

	for (size_t i = 0; i < LENGTH(recipients); i++)
		spool_state(message)->recipients[i].status = RECIPIENT_DELIVERED;
	spool_retire(message);
	put_queue_back(dir);
}

static void test_what_cannot_be_removed_is_not_sent_again(void **state)
{
	const char *id = commit_good();

	(void)state;
	retire_in_vain(id);
	assert_int_equal(try_take(id), SPOOL_BUSY);
	run_loop_ms(300);
	spool_retry_stuck(t.spool);
	assert_int_equal(try_take(id), SPOOL_GONE);
	assert_int_equal(count_files("state"), 0);
	assert_true(STAILQ_EMPTY(&t.spool->stuck));
}

static void test_what_could_not_be_removed_is_when_the_spool_is_closed(void **state)
{
	const char *id = commit_good();

	(void)state;
	retire_in_vain(id);
	spool_close(t.spool);
	assert_int_equal(count_files("queue") + count_files("state"), 0);
	open_again();
}

static void test_a_restart_knows_that_what_could_not_be_removed_is_delivered(void **state)
{
	const char *id = commit_good();

	(void)state;
	retire_in_vain(id);
	spool_flush(t.spool);
	spool_drop_stuck(t.spool); /* as a kill does */
	struct spool_message *message = take(id);
	for (size_t i = 0; i < LENGTH(recipients); i++)
		assert_int_equal(spool_state(message)->recipients[i].status, RECIPIENT_DELIVERED);
	spool_release(message);
}

static void test_many_that_cannot_be_removed_say_so(void **state)
{
	(void)state;
	for (unsigned i = 0; i < SPOOL_STUCK_MAX; i++) {
		assert_true(spool_can_retire(t.spool, &t.err));
		retire_in_vain(commit_good());
	}
	assert_false(spool_can_retire(t.spool, &t.err));
	assert_non_null(strstr(t.err.text, "10 delivered messages cannot be removed from"));
	run_loop_ms(300);
	spool_retry_stuck(t.spool);
	assert_true(spool_can_retire(t.spool, &t.err));
}

/* --- failed/ --- */

static void assert_in(const char *folder, const char *id, bool is_in)
{
	char name[64];

	snprintf(name, sizeof name, "%s/%s", folder, id);
	assert_int_equal(is_there(name), is_in);
}

static void assert_state_is_in_failed(const char *id, bool is_in)
{
	char name[64];

	snprintf(name, sizeof name, "failed/%s.state", id);
	assert_int_equal(is_there(name), is_in);
}

static void test_given_up(void **state)
{
	const char *id = commit_good();

	(void)state;
	for (int saved_before = 0; saved_before < 2; saved_before++) {
		if (saved_before == 1)
			id = commit_good();
		struct spool_message *message = take(id);
		set_status(message, RECIPIENT_REPORTED);
		if (saved_before == 1) {
			spool_save(message, on_done, NULL);
			wait_for(t.calls + 1);
		}
		unsigned files = t.file_syncs;
		spool_fail(message, on_done, NULL);
		wait_for(t.calls + 1);
		assert_string_equal(t.error, "");
		/* A state that says nothing new needs no new file. */
		assert_int_equal(t.file_syncs - files, saved_before == 1 ? 0 : 1);
		assert_in("failed", id, true);
		assert_state_is_in_failed(id, true);
		assert_in("queue", id, false);
		assert_in("state", id, false);
		assert_int_equal(try_take(id), SPOOL_GONE);
	}
	assert_int_equal(spool_failed_count(t.spool), 2);
}

static void test_failing_to_fail_leaves_it_in_the_queue(void **state)
{
	char id[SPOOL_ID_MAX + 1], name[64];

	(void)state;
	strcpy(id, commit_good());
	struct spool_message *message = take(id);
	set_status(message, RECIPIENT_REPORTED);
	t.fail_file_sync = true; /* the state */
	spool_fail(message, on_done, NULL);
	wait_for(2);
	assert_true(t.error[0] != '\0');
	t.fail_file_sync = false;
	assert_in("queue", id, true);
	message = take(id);
	set_status(message, RECIPIENT_REPORTED);
	snprintf(name, sizeof name, "failed/%s", id);
	mkdir(path_of(name), 0700); /* the move of the message */
	spool_fail(message, on_done, NULL);
	wait_for(3);
	assert_true(t.error[0] != '\0');
	assert_in("queue", id, true);
	rmdir(path_of(name));
	message = take(id);
	assert_int_equal(spool_state(message)->recipients[1].status, RECIPIENT_REPORTED);
	snprintf(name, sizeof name, "failed/%s.state", id);
	mkdir(path_of(name), 0700); /* the move of the state */
	spool_fail(message, on_done, NULL);
	wait_for(4);
	assert_true(t.error[0] != '\0');
	assert_in("queue", id, true);
	assert_in("state", id, true);
	assert_in("failed", id, false);
	rmdir(path_of(name));
	message = take(id);
	spool_save(message, on_done, NULL);
	wait_for(5);
	t.fail_folder_sync = true; /* the folders */
	spool_fail(message, on_done, NULL);
	wait_for(6);
	assert_true(t.error[0] != '\0');
	t.fail_folder_sync = false;
	assert_in("queue", id, true);
	assert_in("state", id, true);
	assert_state_is_in_failed(id, false);
	spool_fail(take(id), on_done, NULL);
	wait_for(7);
	assert_string_equal(t.error, "");
	assert_in("failed", id, true);
}

static void test_requeue(void **state)
{
	(void)state;
	put_message("failed/" ID, ID);
	put_state("failed/" ID ".state", ID, RECIPIENT_REPORTED);
	put_file("failed/" ID ".reason", "old\n", 4);
	assert_int_equal(spool_requeue(t.spool, ID, &t.err), 0);
	assert_int_equal(count_files("failed"), 0);
	struct spool_message *message = take(ID);
	const struct recipient_state *recipient = spool_state(message)->recipients;
	assert_int_equal(recipient[0].status, RECIPIENT_DELIVERED);
	assert_int_equal(recipient[1].status, RECIPIENT_PENDING);
	assert_int_equal(recipient[1].attempts, 0);
	assert_int_equal(recipient[1].waited_ms, 0);
	assert_string_equal(recipient[1].reason, "550 no");
	assert_string_equal(recipient[1].refused_by, "");
	assert_string_equal(recipient[1].perhaps_taken_by, "submission");
	spool_release(message);
}

/* Row 7: the sender died between moving the message and moving its state; the daemon still runs. */
static void test_requeue_after_half_a_move(void **state)
{
	(void)state;
	put_message("failed/" ID, ID);
	put_state("state/" ID, ID, RECIPIENT_REPORTED);
	assert_int_equal(spool_requeue(t.spool, ID, &t.err), 0);
	struct spool_message *message = take(ID);
	assert_int_equal(spool_state(message)->recipients[0].status, RECIPIENT_DELIVERED);
	assert_int_equal(spool_state(message)->recipients[1].status, RECIPIENT_PENDING);
	spool_release(message);
}

/* Whether the file system can rename without replacing. */
static bool can_rename_unless_taken = true;

int renameat2(int old_dir, const char *old_name, int new_dir, const char *new_name, unsigned flags)
{
	if (flags != 0 && !can_rename_unless_taken) {
		errno = EINVAL;
		return -1;
	}
	return (int)syscall(SYS_renameat2, old_dir, old_name, new_dir, new_name, flags);
}

/* A copy that is still being written back by hand must not replace the whole one. */
static void test_a_damaged_copy_never_replaces_what_is_in_failed(void **state)
{
	struct spool_message *message;

	(void)state;
	put_message("failed/" ID, ID);
	put_file("queue/" ID, "mfdrelay-envelope 1\nid: ", 24);
	for (int can = 1; can >= 0; can--) {
		can_rename_unless_taken = can;
		assert_int_equal(spool_take(t.spool, ID, &message, &t.err), SPOOL_TROUBLE);
		assert_true(is_there("queue/" ID) && !is_there("failed/" ID ".reason"));
		assert_true(is_there("failed/" ID));
	}
	remove(path_of("queue/" ID));
	assert_int_equal(spool_requeue(t.spool, ID, &t.err), 0);
	can_rename_unless_taken = true;
	spool_release(take(ID));
}

static char order[8];

static void note_order(void *arg, const struct spool_result *result)
{
	assert_null(result->error);
	strcat(order, arg);
}

static void test_answers_come_in_the_order_of_the_calls_as_the_spool_is_flushed(void **state)
{
	(void)state;
	put_message("queue/" ID, ID);
	struct spool_message *message = take(ID);
	order[0] = '\0';
	spool_state(message)->recipients[0].attempts = 1;
	spool_save(message, note_order, "1");
	spool_state(message)->recipients[0].attempts = 2;
	spool_save(message, note_order, "2");
	spool_save(message, note_order, "3");
	spool_flush(t.spool);
	assert_string_equal(order, "123");
	spool_release(message);
}

static void test_requeue_refused(void **state)
{
	(void)state;
	assert_int_equal(spool_requeue(t.spool, ID, &t.err), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(spool_requeue(t.spool, "../lock", &t.err), -1);
	assert_int_equal(errno, ENOENT);
	put_message("failed/" ID, ID);
	put_message("queue/" ID, ID);
	put_state("state/" ID, ID, RECIPIENT_FAILED);
	assert_int_equal(spool_requeue(t.spool, ID, &t.err), -1);
	assert_int_equal(errno, EEXIST);
	assert_true(is_there("failed/" ID) && is_there("queue/" ID));
	struct spool_message *message = take(ID);
	assert_int_equal(spool_state(message)->recipients[1].status, RECIPIENT_FAILED);
	/* A copy that was put back replaces what is in failed/ when it fails too. */
	spool_fail(message, on_done, NULL);
	wait_for(1);
	assert_string_equal(t.error, "");
	assert_true(is_there("failed/" ID) && !is_there("queue/" ID));
}

/* --- looking --- */

static void collect(void *arg, const char *id)
{
	(void)arg;
	size_t used = strlen(t.error);

	snprintf(t.error + used, sizeof t.error - used, "%s ", id);
}

static bool collect_one(void *arg, const char *id)
{
	collect(arg, id);
	return *(bool *)arg;
}

static void test_lists(void **state)
{
	bool go_on = false;

	(void)state;
	put_message("queue/" ID2, ID2);
	put_message("queue/" ID, ID);
	put_message("queue/" ID "r1", ID "r1");
	put_file("queue/README", "", 0);
	put_file("queue/tmp." ID, "", 0);
	put_file("queue/.hidden", "", 0);
	mkdir(path_of("queue/0d2k1p0a3f7v9c4aa"), 0700);
	put_message("failed/" ID, ID);
	put_file("failed/" ID ".state", "", 0);
	assert_int_equal(spool_list(t.spool, SPOOL_QUEUE, collect, NULL, &t.err), 0);
	assert_string_equal(t.error, ID " " ID "r1 " ID2 " ");
	t.error[0] = '\0';
	assert_int_equal(spool_list(t.spool, SPOOL_FAILED, collect, NULL, &t.err), 0);
	assert_string_equal(t.error, ID " ");
	assert_int_equal(spool_failed_count(t.spool), 1);
	t.error[0] = '\0';
	assert_int_equal(spool_scan(t.spool, collect_one, &go_on, &t.err), 0);
	assert_true(strlen(t.error) == strlen(ID) + 1 || strlen(t.error) == strlen(ID) + 3);
	t.error[0] = '\0';
	go_on = true;
	assert_int_equal(spool_scan(t.spool, collect_one, &go_on, &t.err), 0);
	assert_int_equal(strlen(t.error), 3 * strlen(ID) + 5);
}

static void test_inspect(void **state)
{
	struct envelope envelope;
	struct state inspected;
	char content[10];
	size_t n = sizeof content;

	(void)state;
	put_message("queue/" ID, ID);
	put_message("failed/" ID2, ID2);
	put_state("failed/" ID2 ".state", ID2, RECIPIENT_REPORTED);
	spool_close(t.spool);
	t.spool = spool_open(t.path, NULL, 0, &t.err); /* as the CLI does */
	assert_non_null(t.spool);
	assert_int_equal(
	    spool_inspect(t.spool, SPOOL_QUEUE, ID, &envelope, &inspected, content, &n, &t.err), 0);
	assert_int_equal(n, sizeof content);
	assert_memory_equal(content, CONTENT, n);
	assert_int_equal(inspected.recipients[1].status, RECIPIENT_PENDING);
	envelope_free(&envelope);
	state_free(&inspected);
	assert_int_equal(
	    spool_inspect(t.spool, SPOOL_FAILED, ID2, &envelope, &inspected, NULL, NULL, &t.err), 0);
	assert_int_equal(inspected.recipients[1].status, RECIPIENT_REPORTED);
	envelope_free(&envelope);
	state_free(&inspected);
	assert_int_equal(
	    spool_inspect(t.spool, SPOOL_FAILED, ID, &envelope, &inspected, NULL, NULL, &t.err), -1);
	assert_int_equal(errno, ENOENT);
	put_file("state/" ID, "x", 1);
	assert_int_equal(
	    spool_inspect(t.spool, SPOOL_QUEUE, ID, &envelope, &inspected, NULL, NULL, &t.err), -1);
	assert_int_equal(errno, EBADMSG);
	assert_true(is_there("queue/" ID));
}

/* --- ids --- */

static const struct {
	const char *label, *text;
	bool valid;
} id_cases[] = {
    {"an id", "0d2k1p0a3f7v9c4ef", true},
    {"a report's id", "0d2k1p0a3f7v9c4efr0", true},
    {"a report's id of two digits", "0d2k1p0a3f7v9c4efr1v", true},
    {"that of the report on a report", "0d2k1p0a3f7v9c4efr1vx", true},
    {"nothing", "", false},
    {"a digit less", "0d2k1p0a3f7v9c4e", false},
    {"a digit more", "0d2k1p0a3f7v9c4ef0", false},
    {"a report without its number", "0d2k1p0a3f7v9c4efr", false},
    {"a report on one without its number", "0d2k1p0a3f7v9c4efrx", false},
    {"a report on a report on a report", "0d2k1p0a3f7v9c4efr0xx", false},
    {"a report on what is none", "0d2k1p0a3f7v9c4efx", false},
    {"a report's number too long", "0d2k1p0a3f7v9c4efr1234567", false},
    {"an upper-case letter", "0D2k1p0a3f7v9c4ef", false},
    {"a letter beyond v", "0w2k1p0a3f7v9c4ef", false},
    {"a tag that is not hexadecimal", "0d2k1p0a3f7v9c4eg", false},
    {"a temporary name", "tmp.0d2k1p0a3f7v9c4ef", false},
    {"a path", "../1p0a3f7v9c4e0f", false},
    {"a state's name", "0d2k1p0a3f7v9c4ef.state", false},
};

static void test_id_forms(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(id_cases); i++)
		if (spool_id_valid(id_cases[i].text) != id_cases[i].valid)
			fail_msg("%s: %s", id_cases[i].label, id_cases[i].text);
}

static void test_ids_rise(void **state)
{
	struct id_source source = {.tag = "0bad"};
	char last[SPOOL_ID_MAX + 1] = "", id[SPOOL_ID_MAX + 1];

	(void)state;
	for (int i = 0; i < 20000; i++) {
		id_new(&source, id);
		assert_true(spool_id_valid(id));
		assert_true(strcmp(last, id) < 0);
		strcpy(last, id);
	}
	assert_string_equal(id + 13, "0bad");
	/* The clock was set back by a year. */
	source.last_us += INT64_C(31536000000000);
	for (int i = 0; i < 100; i++) {
		id_new(&source, id);
		assert_true(strcmp(last, id) < 0);
		strcpy(last, id);
	}
}

static void test_report_ids(void **state)
{
	static const unsigned numbers[] = {0, 9, 10, 31, 32, 1023, 1024, 10000, UINT32_MAX / 4};
	char id[SPOOL_ID_MAX + 1], last[SPOOL_ID_MAX + 1] = "";

	(void)state;
	for (size_t i = 0; i < LENGTH(numbers); i++) {
		spool_report_id(id, ID, numbers[i]);
		assert_true(spool_id_valid(id));
		assert_string_not_equal(id, last);
		strcpy(last, id);
	}
	spool_report_id(id, ID, 31);
	assert_string_equal(id, ID "rv");
	spool_report_id(id, ID, 32);
	assert_string_equal(id, ID "r10");
	assert_true(spool_report_id(last, id, 0));
	assert_string_equal(last, ID "r10x");
	assert_false(spool_report_id(id, ID "r0", 1));
	assert_false(spool_report_id(id, ID "r0x", 0));
	assert_false(spool_report_id(id, ID "r000000", 0));
	assert_true(spool_report_of(id, last));
	assert_string_equal(id, ID "r10");
	assert_true(spool_report_of(last, id));
	assert_string_equal(last, ID);
	assert_false(spool_report_of(id, last));
}

/* --- start-up --- */

enum file { QT = 1, Q = 2, ST = 4, S = 8, F = 16, FS = 32, FR = 64 };

static const char *const file_names[] = {"queue/tmp." ID, "queue/" ID, "state/tmp." ID, "state/" ID,
    "failed/" ID, "failed/" ID ".state", "failed/" ID ".reason"};

static const struct {
	const char *row;
	unsigned before, after;
	bool state_moves; /* S replaces FS */
} rows[] = {
    {"0: nothing", 0, 0, false},
    {"1: being taken in", QT, 0, false},
    {"2: a report made once more", QT | Q, Q, false},
    {"2: a report made once more, with a state", QT | Q | S, Q | S, false},
    {"3: waiting", Q, Q, false},
    {"4: waiting with a state", Q | S, Q | S, false},
    {"5: the first save", Q | ST, Q, false},
    {"5: a later save", Q | ST | S, Q | S, false},
    {"6: delivered", S, 0, false},
    {"7: given up, the state not moved", F | S, F | FS, true},
    {"8: given up", F | FS, F | FS, false},
    {"9: on the way back, the state being written", F | FS | ST, F | FS, false},
    {"9: on the way back to all", F | ST, F, false},
    {"9: on the way back, put aside before", F | FR | ST, F | FR, false},
    {"9: on the way back, put aside before with a state", F | FS | FR | ST, F | FS | FR, false},
    {"10: on the way back, the state written", F | FS | S, F | FS, true},
    {"10: on the way back, put aside before, the state written", F | FS | FR | S, F | FS | FR, true},
    {"11: back, the old state not removed", Q | S | FS, Q | S, false},
    {"11: back, the old state and reason not removed", Q | S | FS | FR, Q | S, false},
    {"12: found damaged", Q | FR, Q, false},
    {"12: found damaged, with a state", Q | S | FR, Q | S, false},
    {"13: damaged, the state not moved", F | FR | S, F | FR | FS, true},
    {"14: damaged", F | FR, F | FR, false},
    {"14: damaged, with a state", F | FR | FS, F | FR | FS, false},
    {"15: damaged without a reason", F, F, false},
    {"16: removed by hand, state", FS, 0, false},
    {"16: removed by hand, reason", FR, 0, false},
    {"16: removed by hand, both", FS | FR, 0, false},
    {"17: a copy put back", Q | F, Q | F, false},
    {"17: a copy put back, all files", Q | S | F | FS | FR, Q | S | F | FS | FR, false},
};

static void put_files(unsigned files)
{
	for (unsigned i = 0; i < LENGTH(file_names); i++) {
		remove(path_of(file_names[i]));
		if ((files & 1u << i) == 0)
			continue;
		if (1u << i == S || 1u << i == FS)
			put_state(file_names[i], ID, 1u << i == S ? RECIPIENT_PENDING : RECIPIENT_REPORTED);
		else if (1u << i == Q || 1u << i == F)
			put_message(file_names[i], ID);
		else
			put_file(file_names[i], "x", 1);
	}
}

static unsigned files_there(void)
{
	unsigned files = 0;

	for (unsigned i = 0; i < LENGTH(file_names); i++)
		files |= is_there(file_names[i]) ? 1u << i : 0;
	return files;
}

static enum recipient_status failed_status(void)
{
	struct envelope envelope;
	struct state state;

	if (spool_inspect(t.spool, SPOOL_FAILED, ID, &envelope, &state, NULL, NULL, &t.err) < 0)
		fail_msg("%s", t.err.text);
	enum recipient_status status = state.recipients[1].status;
	envelope_free(&envelope);
	state_free(&state);
	return status;
}

static void test_every_row_at_start_up(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(rows); i++) {
		put_files(rows[i].before);
		assert_int_equal(spool_prepare(t.path, (uid_t)-1, (gid_t)-1, &t.err), 0);
		if (files_there() != rows[i].after)
			fail_msg("%s: 0x%x, not 0x%x", rows[i].row, files_there(), rows[i].after);
		assert_int_equal(try_take(ID), (rows[i].after & Q) != 0 ? SPOOL_TAKEN : SPOOL_GONE);
		if ((rows[i].after & FS) != 0)
			assert_int_equal(
			    failed_status(), rows[i].state_moves ? RECIPIENT_PENDING : RECIPIENT_REPORTED);
		assert_int_equal(spool_prepare(t.path, (uid_t)-1, (gid_t)-1, &t.err), 0);
		assert_int_equal(files_there(), rows[i].after);
	}
}

static void test_foreign_names_stay(void **state)
{
	static const char *const names[] = {"README", "queue/README", "queue/tmp.x", "state/tmp.README",
	    "state/notes.txt", "failed/x.state", "failed/x.reason", "queue/" ID ".state", "var/tokens"};

	(void)state;
	for (size_t i = 0; i < LENGTH(names); i++)
		put_file(names[i], "x", 1);
	mkdir(path_of("queue/tmp." ID), 0700);
	mkdir(path_of("state/" ID), 0700);
	assert_int_equal(spool_prepare(t.path, (uid_t)-1, (gid_t)-1, &t.err), 0);
	for (size_t i = 0; i < LENGTH(names); i++)
		assert_true(is_there(names[i]));
	assert_true(is_there("queue/tmp." ID) && is_there("state/" ID));
}

static void test_the_tag_stays(void **state)
{
	size_t n;

	(void)state;
	char *first = fs_read_file(t.spool->dirs[DIR_VAR], "spool-id", 16, &n);
	assert_int_equal(n, 5);
	assert_int_equal(spool_prepare(t.path, (uid_t)-1, (gid_t)-1, &t.err), 0);
	char *second = fs_read_file(t.spool->dirs[DIR_VAR], "spool-id", 16, &n);
	assert_string_equal(first, second);
	assert_memory_equal(t.spool->ids.tag, first, 4);
	free(first);
	free(second);
	put_file("var/spool-id", "", 0);
	assert_null(spool_open(t.path, t.base, 0, &t.err));
	assert_int_equal(spool_prepare(t.path, (uid_t)-1, (gid_t)-1, &t.err), 0);
	char *third = fs_read_file(t.spool->dirs[DIR_VAR], "spool-id", 16, &n);
	assert_int_equal(n, 5);
	free(third);
}

static mode_t mode_of(const char *name)
{
	struct stat st;

	assert_int_equal(stat(path_of(name), &st), 0);
	return st.st_mode & 07777;
}

static void test_modes(void **state)
{
	char name[64];

	(void)state;
	spool_close(t.spool);
	t.spool = NULL;
	chmod(path_of("queue"), 0777);
	mode_t old = umask(0);
	assert_int_equal(spool_prepare(t.path, (uid_t)-1, (gid_t)-1, &t.err), 0);
	open_again();
	snprintf(name, sizeof name, "queue/%s", commit_good());
	umask(old);
	assert_int_equal(mode_of("queue"), 0700);
	assert_int_equal(mode_of("state"), 0700);
	assert_int_equal(mode_of("failed"), 0700);
	assert_int_equal(mode_of("var"), 0700);
	assert_int_equal(mode_of("var/spool-id"), 0600);
	assert_int_equal(mode_of(name), 0600);
}

static void test_folder_is_made(void **state)
{
	char *path = xasprintf("%s/new", t.path);

	(void)state;
	int fd = spool_lock(path, 0, &t.err);
	assert_true(fd >= 0);
	assert_int_equal(mode_of("new"), 0700);
	assert_int_equal(mode_of("new/lock"), 0600);
	close(fd);
	free(path);
	path = xasprintf("%s/no/new", t.path);
	assert_int_equal(spool_lock(path, 0, &t.err), -1);
	assert_non_null(strstr(t.err.text, "make the folder it is to be in first"));
	free(path);
}

static void test_open_folders(void **state)
{
	(void)state;
	chmod(t.path, 0755);
	int fd = spool_lock(t.path, 0, &t.err); /* empty: it becomes ours */
	assert_true(fd >= 0);
	assert_int_equal(mode_of("."), 0700);
	close(fd);
	remove(path_of("lock"));
	chmod(t.path, 01777);
	put_file("somebody's", "", 0);
	assert_int_equal(spool_lock(t.path, 0, &t.err), -1);
	assert_non_null(strstr(t.err.text, "folder of its own"));
	assert_int_equal(mode_of("."), 01777);
	mkdir(path_of("queue"), 0700); /* a spool with a foreign name in it */
	fd = spool_lock(t.path, 0, &t.err);
	assert_true(fd >= 0);
	assert_int_equal(mode_of("."), 0700);
	close(fd);
}

static void hold_lock_for_ms(int ready, unsigned ms)
{
	int fd = spool_lock(t.path, 0, &t.err);

	if (fd < 0 || write(ready, "x", 1) != 1)
		_exit(1);
	usleep(ms * 1000);
	_exit(0);
}

static pid_t start_holder(unsigned ms)
{
	int ready[2];
	char byte;

	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();
	if (pid == 0)
		hold_lock_for_ms(ready[1], ms);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static void test_lock(void **state)
{
	char number[32];
	int status;

	(void)state;
	pid_t pid = start_holder(300);
	assert_int_equal(spool_lock(t.path, 0, &t.err), -1);
	snprintf(number, sizeof number, "(process %d)", (int)pid);
	assert_non_null(strstr(t.err.text, number));
	assert_non_null(strstr(t.err.text, "another mfdrelay"));
	int fd = spool_lock(t.path, 5000, &t.err);
	assert_true(fd >= 0);
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	close(fd);
}

static void assert_owner(const char *name, uid_t uid)
{
	struct stat st;

	assert_int_equal(lstat(path_of(name), &st), 0);
	if (st.st_uid != uid)
		fail_msg("%s belongs to %u", name, (unsigned)st.st_uid);
}

static void test_owners(void **state)
{
	static const char *const mine[] = {
	    ".", "lock", "queue", "queue/" ID, "state", "failed", "var", "var/spool-id"};

	(void)state;
	if (geteuid() != 0) {
		print_message("changing owners takes root: sudo make check\n");
		skip();
	}
	int fd = spool_lock(t.path, 0, &t.err);
	assert_int_equal(spool_prepare(t.path, (uid_t)-1, (gid_t)-1, &t.err), 0);
	put_message("queue/" ID, ID);
	put_file("queue/" ID2, "", 0);
	assert_int_equal(link(path_of("queue/" ID2), path_of("elsewhere")), 0);
	assert_int_equal(symlink("/etc/passwd", path_of("queue/link")), 0);
	assert_int_equal(spool_prepare(t.path, 65534, 65534, &t.err), 0);
	for (size_t i = 0; i < LENGTH(mine); i++)
		assert_owner(mine[i], 65534);
	assert_owner("elsewhere", 0);
	assert_owner("queue/link", 0);
	struct stat st;
	assert_true(stat("/etc/passwd", &st) == 0 && st.st_uid == 0);
	close(fd);
	/* A folder that holds other things keeps its owner. */
	char *path = xasprintf("%s/other", t.path);
	mkdir(path, 0700);
	put_file("other/file", "", 0);
	assert_int_equal(spool_prepare(path, 65534, 65534, &t.err), -1);
	assert_owner("other", 0);
	free(path);
}

static void test_open_says_what_is_missing(void **state)
{
	(void)state;
	assert_null(spool_open("/nonexistent/spool", t.base, 0, &t.err));
	assert_non_null(strstr(t.err.text, "/nonexistent/spool"));
	assert_null(spool_open(t.path, t.base, 0, &t.err));
	assert_non_null(strstr(t.err.text, "/failed"));
}

/* --- the end --- */

static void test_flush_finishes_and_then_all_is_done_at_once(void **state)
{
	struct envelope envelope = sample();

	(void)state;
	struct spool_draft *late = begin(&envelope, NULL);
	const char *id = commit_good();
	struct spool_message *message = take(id);
	spool_save(message, on_done, "a");
	spool_save(message, on_done, "b");
	spool_fail(message, on_done, "c");
	spool_flush(t.spool);
	assert_int_equal(t.calls, 4);
	assert_string_equal(t.error, "");
	assert_in("failed", id, true);
	spool_commit(late, false, on_done, "d");
	assert_int_equal(t.calls, 5);
	assert_string_equal(t.error, "");
	message = take(envelope.id);
	spool_save(message, on_done, "e");
	assert_int_equal(t.calls, 6);
	spool_retire(message);
	assert_int_equal(count_files("queue") + count_files("state"), 0);
	spool_flush(t.spool);
}

static void test_close_finishes_what_was_submitted(void **state)
{
	struct envelope envelope = sample();

	(void)state;
	spool_commit(begin(&envelope, NULL), false, on_done, NULL);
	spool_close(t.spool);
	t.spool = NULL;
	assert_int_equal(t.calls, 1);
	assert_string_equal(t.error, "");
	assert_int_equal(count_files("queue"), 1);
	spool_close(NULL);
}

/* --- what was sent --- */

static void save_quota(unsigned messages)
{
	struct quota_window window = {.name = "mailbox scanner@contoso.com"};
	const struct quota quota = {.written_ms = 1795459980123, .windows = &window, .count = 1};
	unsigned calls = t.calls;

	window.usage.sent[QUOTA_MINUTE][0] = messages;
	spool_save_quota(t.spool, &quota, on_done, NULL);
	wait_for(calls + 1);
}

static void assert_quota(unsigned messages)
{
	struct quota quota;

	assert_int_equal(spool_load_quota(t.spool, &quota, &t.err), 0);
	assert_int_equal(quota.count, 1);
	assert_int_equal(quota.written_ms, 1795459980123);
	assert_string_equal(quota.windows[0].name, "mailbox scanner@contoso.com");
	assert_int_equal(quota.windows[0].usage.sent[QUOTA_MINUTE][0], messages);
	quota_free(&quota);
}

static void test_the_quota_is_kept(void **state)
{
	struct quota quota;

	(void)state;
	assert_int_equal(spool_load_quota(t.spool, &quota, &t.err), 0);
	assert_int_equal(quota.count, 0);
	put_file("tmp.quota", "left behind", 11);
	save_quota(5);
	assert_string_equal(t.error, "");
	assert_quota(5);
	save_quota(7);
	assert_quota(7);
	assert_false(is_there("tmp.quota"));
	/* At the end too, when all is done at once. */
	spool_flush(t.spool);
	save_quota(8);
	assert_quota(8);
}

static void test_a_failed_save_leaves_the_old_quota(void **state)
{
	(void)state;
	save_quota(5);
	t.fail_file_sync = true;
	save_quota(6);
	t.fail_file_sync = false;
	assert_non_null(strstr(t.error, "quota: syncing the file"));
	assert_quota(5);
	assert_false(is_there("tmp.quota"));
}

static void test_a_damaged_quota_is_set_aside(void **state)
{
	struct quota quota;

	(void)state;
	put_file("quota", "mfdrelay-quota 1\nwritten", 24);
	assert_int_equal(spool_load_quota(t.spool, &quota, &t.err), 1);
	assert_int_equal(quota.count, 0);
	assert_non_null(strstr(t.err.text, "/quota: line 2: the text ends here"));
	assert_true(is_there("quota.damaged") && !is_there("quota"));
	save_quota(1);
	assert_quota(1);
}

int main(void)
{
#define PLAIN(fn) cmocka_unit_test_setup_teardown(fn, setup_folder, teardown)
#define TEST(fn)  cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define NAMED(fn)                                                                                            \
	{                                                                                                    \
		"named: " #fn, fn, setup_named, teardown, NULL                                               \
	}
	const struct CMUnitTest tests[] = {
	    TEST(test_sizes),
	    NAMED(test_sizes),
	    TEST(test_large_envelopes),
	    TEST(test_nothing_before_the_commit_and_after_an_abort),
	    NAMED(test_nothing_before_the_commit_and_after_an_abort),
	    TEST(test_nobody_takes_it_before_it_is_durable),
	    NAMED(test_nobody_takes_it_before_it_is_durable),
	    TEST(test_failed_syncs_leave_nothing),
	    NAMED(test_failed_syncs_leave_nothing),
	    TEST(test_full_disk),
	    NAMED(test_full_disk),
	    TEST(test_many_at_once_share_syncs),
	    NAMED(test_many_at_once_share_syncs),
	    TEST(test_an_id_that_is_taken),
	    NAMED(test_an_id_that_is_taken),
	    TEST(test_a_report_is_made_once),
	    NAMED(test_a_report_is_made_once),
	    NAMED(test_named_draft_that_was_left_behind),
	    TEST(test_room),
	    TEST(test_busy_and_gone),
	    TEST(test_a_file_without_its_name_is_not_taken),
	    TEST(test_what_is_no_plain_file_is_left_alone),
	    TEST(test_damaged_messages_go_to_failed),
	    TEST(test_trouble_is_not_damage),
	    TEST(test_state_is_kept),
	    TEST(test_failed_saves),
	    TEST(test_the_lock_is_kept_until_the_last_save),
	    TEST(test_retire_after_saves_leaves_nothing),
	    TEST(test_a_callback_may_release),
	    TEST(test_retires_share_syncs),
	    TEST(test_what_cannot_be_removed_is_not_sent_again),
	    TEST(test_what_could_not_be_removed_is_when_the_spool_is_closed),
	    TEST(test_a_restart_knows_that_what_could_not_be_removed_is_delivered),
	    TEST(test_many_that_cannot_be_removed_say_so),
	    TEST(test_given_up),
	    TEST(test_failing_to_fail_leaves_it_in_the_queue),
	    TEST(test_requeue),
	    TEST(test_requeue_after_half_a_move),
	    TEST(test_a_damaged_copy_never_replaces_what_is_in_failed),
	    TEST(test_answers_come_in_the_order_of_the_calls_as_the_spool_is_flushed),
	    TEST(test_requeue_refused),
	    TEST(test_lists),
	    TEST(test_inspect),
	    TEST(test_id_forms),
	    TEST(test_ids_rise),
	    TEST(test_report_ids),
	    TEST(test_every_row_at_start_up),
	    TEST(test_foreign_names_stay),
	    TEST(test_the_tag_stays),
	    TEST(test_modes),
	    PLAIN(test_folder_is_made),
	    PLAIN(test_open_folders),
	    PLAIN(test_lock),
	    PLAIN(test_owners),
	    PLAIN(test_open_says_what_is_missing),
	    TEST(test_flush_finishes_and_then_all_is_done_at_once),
	    TEST(test_close_finishes_what_was_submitted),
	    TEST(test_the_quota_is_kept),
	    TEST(test_a_failed_save_leaves_the_old_quota),
	    TEST(test_a_damaged_quota_is_set_aside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
