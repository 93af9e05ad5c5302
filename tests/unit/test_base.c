/* The base: strings, the heap against a sorted list, the log's quoting, secrets, the work pool on a real
 * loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/buf.h"
#include "base/charset.h"
#include "base/clock.h"
#include "base/heap.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"
#include "base/str.h"
#include "base/text.h"
#include "base/work.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static void compares_strings(void **state)
{
	struct str mail = {"MAIL FROM", 4};

	(void)state;
	assert_true(str_eq(mail, "MAIL"));
	assert_false(str_eq(mail, "MAI"));
	assert_false(str_eq(mail, "MAIL "));
	assert_false(str_eq(mail, "mail"));
	assert_true(str_ieq(mail, "mAiL"));
	assert_false(str_ieq(mail, "mail from"));
	assert_true(str_istarts(mail, "ma"));
	assert_true(str_istarts(mail, ""));
	assert_false(str_istarts(mail, "mail from"));
	assert_true(str_eq(str_of(""), ""));
	assert_false(str_ieq((struct str){"a\0b", 3}, "a"));
	assert_false(str_eq((struct str){"a\0b", 3}, "a"));
}

static void trims_strings(void **state)
{
	(void)state;
	assert_true(str_eq(str_trim(str_of(" \t a b\t ")), "a b"));
	assert_true(str_eq(str_trim(str_of(" \t ")), ""));
	assert_true(str_eq(str_trim(str_of("")), ""));
	assert_true(str_eq(str_trim(str_of("\ra\n")), "\ra\n"));
}

static const char *to_utf8(const char *charset, const char *in)
{
	static char out[64];

	out[charset_to_utf8(NULL, charset, in, strlen(in), out, sizeof out - 1)] = '\0';
	return out;
}

static void converts_from_charsets(void **state)
{
	(void)state;
	assert_false(charset_is_known("x-none"));
	assert_string_equal(to_utf8("x-none", "abc"), "");
	assert_string_equal(to_utf8("windows-1250", "abc"), ""); /* nobody has asked about it */
	assert_true(charset_is_known("windows-1250"));
	assert_true(charset_is_known("windows-1250"));
	assert_string_equal(to_utf8("windows-1250", "\xf8"), "\xc5\x99");
	assert_int_equal(charset_to_utf8(NULL, "windows-1250", "abcd", 4, (char[4]){0}, 3), 0);
	/* The last letter of a Vietnamese one is held back: a mark could follow. */
	assert_true(charset_is_known("windows-1258") && charset_is_known("tcvn"));
	assert_string_equal(to_utf8("windows-1258", "Hoa\xec \xd4ng Lan"), "Ho\xc3\xa1 \xc3\x94ng Lan");
	assert_string_equal(to_utf8("tcvn", "Lan"), "Lan");
	assert_int_equal(charset_to_utf8(NULL, "tcvn", "Lan", 3, (char[2]){0}, 2), 0);
	/* What one text has left is none of the next: it begins in ASCII. */
	assert_true(charset_is_known("iso-2022-jp"));
	assert_string_equal(to_utf8("iso-2022-jp", "\x1b$B4A"), "\xe6\xbc\xa2");
	assert_string_equal(to_utf8("iso-2022-jp", "\x1b$B\xff"), "");
	assert_string_equal(to_utf8("iso-2022-jp", "4A"), "4A");
}

static void reads_numbers(void **state)
{
	static const char *const bad[] = {"", " 1", "1 ", "+1", "-1", "0x1", "1.0", "18446744073709551616",
	    "99999999999999999999999", "\xd9\xa1"};
	uint64_t got = 7;

	(void)state;
	for (size_t i = 0; i < LENGTH(bad); i++)
		if (str_u64(str_of(bad[i]), UINT64_MAX, &got) || got != 7)
			fail_msg("\"%s\" was taken", bad[i]);
	assert_false(str_u64(str_of("101"), 100, &got));
	assert_int_equal(got, 7);
	assert_true(str_u64(str_of("100"), 100, &got));
	assert_int_equal(got, 100);
	assert_true(str_u64(str_of("007"), 100, &got));
	assert_int_equal(got, 7);
	assert_true(str_u64(str_of("18446744073709551615"), UINT64_MAX, &got));
	assert_true(got == UINT64_MAX);
}

static void copies_what_fits(void **state)
{
	char *dst = malloc(4);

	(void)state;
	assert_true(str_copy(dst, 4, str_of("abc")));
	assert_string_equal(dst, "abc");
	assert_false(str_copy(dst, 4, str_of("abcd")));
	assert_string_equal(dst, "");
	assert_false(str_copy(dst, 4, (struct str){"a\0b", 3}));
	assert_string_equal(dst, "");
	assert_true(str_copy(dst, 4, str_of("")));
	free(dst);
}

#define ITEMS 200

struct thing {
	int number;
	struct heap_item item;
};

static int compare_keys(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* The keys of all that are in, sorted: what the heap's first must be the least of. */
static size_t sorted_keys(const struct thing *things, int64_t *keys)
{
	size_t n = 0;

	for (size_t i = 0; i < ITEMS; i++)
		if (things[i].item.place != 0)
			keys[n++] = things[i].item.key;
	qsort(keys, n, sizeof *keys, compare_keys);
	return n;
}

static void heap_agrees_with_a_sorted_list(void **state)
{
	static struct thing things[ITEMS];
	int64_t keys[ITEMS];
	struct heap heap = {NULL, 0, 0};

	(void)state;
	srandom(3);
	for (int round = 0; round < 20000; round++) {
		struct heap_item *item = &things[random() % ITEMS].item;
		if (item->place != 0)
			heap_remove(&heap, item);
		else
			heap_push(&heap, item, random() % 100 - 50);
		size_t n = sorted_keys(things, keys);
		assert_int_equal(heap.count, n);
		if (n == 0)
			assert_null(heap_first(&heap));
		else
			assert_true(heap_first(&heap)->key == keys[0]);
	}
	size_t n = sorted_keys(things, keys);
	assert_true(n > 10);
	for (size_t i = 0; i < n; i++) {
		struct heap_item *first = heap_first(&heap);
		assert_true(first->key == keys[i]);
		heap_remove(&heap, first);
		assert_int_equal(first->place, 0);
		heap_remove(&heap, first);
		assert_int_equal(heap.count, n - i - 1);
	}
	heap_free(&heap);
	assert_null(heap_first(&heap));
}

static void builds_texts(void **state)
{
	char bytes[32], little[8], one[1];
	struct text text = text_in(bytes, sizeof bytes);

	(void)state;
	assert_string_equal(bytes, "");
	text_join(&text, "a", "", "bc", NULL);
	text_add(&text, (struct str){"d\0e", 3});
	assert_int_equal(text.n, 6);
	assert_memory_equal(bytes, "abcd\0e", 7);
	text = text_in(bytes, sizeof bytes);
	text_number(&text, 0, 0);
	text_number(&text, 7, 3);
	text_number(&text, 1234, 3);
	assert_string_equal(bytes, "00071234");
	text = text_in(bytes, sizeof bytes);
	text_number(&text, UINT64_MAX, 20);
	assert_string_equal(bytes, "18446744073709551615");
	text = text_in(bytes, sizeof bytes);
	text_number(&text, 9, 20);
	assert_string_equal(bytes, "00000000000000000009");
	text = text_in(little, sizeof little);
	text_join(&text, "abcd", "efgh", "i", NULL);
	assert_string_equal(little, "abcdefg");
	assert_int_equal(text.n, 7);
	text = text_in(one, sizeof one);
	text_join(&text, "a", NULL);
	assert_string_equal(one, "");

	char digits[TEXT_NUMBER_SIZE];
	assert_string_equal(text_of_number(digits, 0), "0");
	assert_string_equal(text_of_number(digits, UINT64_MAX), "18446744073709551615");
}

static void buffers_grow(void **state)
{
	struct buf buf = {0};

	(void)state;
	buf_join(&buf, "a", "", "bc", NULL);
	assert_true(str_eq(buf_str(&buf), "abc"));
	for (size_t i = 3; i < 1000; i++)
		buf_add_char(&buf, (char)('0' + i % 10));
	assert_int_equal(buf.n, 1000);
	assert_memory_equal(buf.p + 990, "0123456789", 10);
	assert_memory_equal(buf.p, "abc3456789", 10);
	buf_free(&buf);
	assert_null(buf.p);
}

struct quote_case {
	const char *label, *in;
	size_t n;
	const char *want;
};

#define CASE(label, in, want)                                                                                \
	{                                                                                                    \
		label, in, sizeof(in) - 1, want                                                              \
	}

static const struct quote_case quote_cases[] = {
    CASE("harmless text stays bare", "scan@contoso.com", "scan@contoso.com"),
    CASE("an address in brackets stays bare", "<a@[10.0.0.1]>", "<a@[10.0.0.1]>"),
    CASE("the empty value is quoted", "", "\"\""),
    CASE("a blank is quoted", "a b", "\"a b\""),
    CASE("an '=' could be a key", "a=b", "\"a=b\""),
    CASE("quotes are escaped", "a\"b", "\"a\\\"b\""),
    CASE("backslashes are escaped", "a\\nb", "\"a\\\\nb\""),
    CASE("a line end cannot forge a line", "a\r\nlistener accepted", "\"a\\x0d\\x0alistener accepted\""),
    CASE("an escape sequence is shown", "\x1b[2J", "\"\\x1b[2J\""),
    CASE("a NUL is shown", "a\0b", "\"a\\x00b\""),
    CASE("bytes above 127 are shown", "\xc3\xa4", "\"\\xc3\\xa4\""),
    CASE("a DEL is shown", "\x7f", "\"\\x7f\""),
};

static void quotes_for_the_log(void **state)
{
	char got[128];

	(void)state;
	for (size_t i = 0; i < LENGTH(quote_cases); i++) {
		const struct quote_case *c = &quote_cases[i];
		if (strcmp(log_quote(got, sizeof got, (struct str){c->in, c->n}), c->want) != 0)
			fail_msg("%s: %s", c->label, got);
	}
}

static void cuts_for_the_log(void **state)
{
	char value[LOG_VALUE_MAX + 1], got[LOG_VALUE_MAX * 4 + 16], little[8];

	(void)state;
	memset(value, 'a', sizeof value);
	log_quote(got, sizeof got, (struct str){value, LOG_VALUE_MAX});
	assert_int_equal(strlen(got), LOG_VALUE_MAX);
	log_quote(got, sizeof got, (struct str){value, LOG_VALUE_MAX + 1});
	assert_int_equal(strlen(got), LOG_VALUE_MAX + 5);
	assert_string_equal(got + LOG_VALUE_MAX, "a...\"");
	memset(value, '\xff', sizeof value);
	log_quote(got, sizeof got, (struct str){value, sizeof value});
	assert_int_equal(strlen(got), LOG_VALUE_MAX * 4 + 5);
	assert_string_equal(log_quote(little, sizeof little, str_of("a b c d e")), "\"a b c ");
}

/* What log_event writes, with stderr on a pipe. */
static void logged_line(char *line, size_t size, const char *value)
{
	int fds[2], saved = dup(STDERR_FILENO);

	assert_int_equal(pipe(fds), 0);
	assert_true(dup2(fds[1], STDERR_FILENO) >= 0);
	errno = ENOSPC;
	log_event(LOG_LEVEL_INFO, "tried", kv_str("value", value), kv_u64("n", UINT64_MAX), kv_i64("i", -1));
	int error = errno;
	log_event(LOG_LEVEL_DEBUG, "not-shown");
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	ssize_t n = read(fds[0], line, size - 1);
	close(fds[0]);
	close(fds[1]);
	close(saved);
	assert_true(n > 0);
	line[n] = '\0';
	assert_int_equal(error, ENOSPC);
}

static void logs_one_line(void **state)
{
	char line[4096], long_value[8192];

	(void)state;
	log_init("tester");
	logged_line(line, sizeof line, "a\nb");
	assert_non_null(strstr(line, "tester tried value=\"a\\x0ab\" n=18446744073709551615 i=-1\n"));
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
	logged_line(line, sizeof line, NULL);
	assert_non_null(strstr(line, "tester tried value=\"\" n="));
	memset(long_value, '\n', sizeof long_value);
	long_value[sizeof long_value - 1] = '\0';
	logged_line(line, sizeof line, long_value);
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

/* Whether a line begins with its priority, where JOURNAL_STREAM is that file's with so much added to its inode. */
static bool is_for_the_journal(unsigned added)
{
	char name[64], line[200] = "";
	int saved = dup(STDERR_FILENO);
	FILE *file = tmpfile();
	struct stat st;

	assert_non_null(file);
	assert_int_equal(fstat(fileno(file), &st), 0);
	snprintf(name, sizeof name, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino + added);
	setenv("JOURNAL_STREAM", name, 1);
	assert_true(dup2(fileno(file), STDERR_FILENO) >= 0);
	log_init("tester");
	log_event(LOG_LEVEL_INFO, "tried");
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	close(saved);
	unsetenv("JOURNAL_STREAM");
	log_init("tester");
	rewind(file);
	assert_non_null(fgets(line, sizeof line, file));
	assert_non_null(strstr(line, "tester tried\n"));
	fclose(file);
	return strncmp(line, "<6>tester", 9) == 0;
}

static void leaves_the_time_to_the_journal_alone(void **state)
{
	(void)state;
	assert_true(is_for_the_journal(0));
	assert_false(is_for_the_journal(1));
}

static void writes_times_in_english(void **state)
{
	char text[40];

	(void)state;
	assert_string_equal(
	    clock_rfc5322(text, sizeof text, 1795458540000), "Mon, 23 Nov 2026 18:29:00 +0000");
	assert_string_equal(clock_rfc3339(text, sizeof text, 1795458540999), "2026-11-23T18:29:00Z");
	assert_string_equal(clock_rfc3339_ms(text, sizeof text, 1795458540099), "2026-11-23T18:29:00.099Z");
	assert_string_equal(clock_rfc5322(text, sizeof text, 0), "Thu, 01 Jan 1970 00:00:00 +0000");
	assert_true(clock_mono_ms() > 0);
	assert_true(clock_wall_us() / 1000 - clock_wall_ms() < 1000);
	int64_t before_ms = clock_mono_ms();
	clock_rest_us(20000);
	assert_in_range(clock_mono_ms() - before_ms, 19, 10000);
}

struct folder {
	char path[64], file[96], source[128];
};

static int make_folder(void **state)
{
	static struct folder folder;

	strcpy(folder.path, "/tmp/test_base.XXXXXX");
	if (mkdtemp(folder.path) == NULL)
		return -1;
	snprintf(folder.file, sizeof folder.file, "%s/secret", folder.path);
	snprintf(folder.source, sizeof folder.source, "file:%s", folder.file);
	*state = &folder;
	return 0;
}

static int remove_folder(void **state)
{
	const struct folder *folder = *state;

	unlink(folder->file);
	return rmdir(folder->path);
}

static void write_secret(const struct folder *folder, const char *bytes, size_t n, mode_t mode)
{
	unlink(folder->file);
	int fd = open(folder->file, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, n), n);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void check_refused(const char *label, const char *source, const char *reason)
{
	struct secret secret = {"x", 1};
	struct err err = {""};

	if (secret_read(&secret, source, &err) == 0)
		fail_msg("%s: was read", label);
	if (strstr(err.text, reason) == NULL)
		fail_msg("%s: says \"%s\"", label, err.text);
	assert_null(secret.bytes);
	assert_int_equal(secret.n, 0);
	assert_int_equal(secret_read(&secret, source, NULL), -1);
}

struct secret_case {
	const char *label, *bytes;
	size_t n;
	mode_t mode;
	const char *want;   /* the secret, or NULL */
	const char *reason; /* why it is refused */
};

#define SECRET(label, bytes, mode, want, reason)                                                             \
	{                                                                                                    \
		label, bytes, sizeof(bytes) - 1, mode, want, reason                                          \
	}

static const struct secret_case secret_cases[] = {
    SECRET("a line", "s3cret\n", 0600, "s3cret", NULL),
    SECRET("without a line end", "s3cret", 0400, "s3cret", NULL),
    SECRET("a line end of another system", "s3cret\r\n", 0600, "s3cret", NULL),
    SECRET("blanks are part of it", " s3 cret \n", 0600, " s3 cret ", NULL),
    SECRET("its group may read it", "s3cret\n", 0640, "s3cret", NULL),
    SECRET("others can read it", "s3cret\n", 0604, NULL, "run: chmod o="),
    SECRET("others can write it", "s3cret\n", 0602, NULL, "run: chmod o="),
    SECRET("all can read it", "s3cret\n", 0644, NULL, "others can read this secret"),
    SECRET("nothing in it", "", 0600, NULL, "the file is empty"),
    SECRET("a line end alone", "\n", 0600, NULL, "one line of text"),
    SECRET("two lines", "a\nb\n", 0600, NULL, "one line of text"),
    SECRET("two line ends", "a\n\n", 0600, NULL, "one line of text"),
    SECRET("a NUL inside", "a\0b\n", 0600, NULL, "one line of text"),
};

static void reads_secrets(void **state)
{
	const struct folder *folder = *state;
	struct secret secret;

	for (size_t i = 0; i < LENGTH(secret_cases); i++) {
		const struct secret_case *c = &secret_cases[i];
		struct err err = {""};
		write_secret(folder, c->bytes, c->n, c->mode);
		if (c->want == NULL) {
			check_refused(c->label, folder->source, c->reason);
			continue;
		}
		if (secret_read(&secret, folder->source, &err) != 0)
			fail_msg("%s: %s", c->label, err.text);
		assert_string_equal(secret.bytes, c->want);
		assert_int_equal(secret.n, strlen(c->want));
		secret_free(&secret);
		assert_null(secret.bytes);
	}
}

static void refuses_what_is_no_secret(void **state)
{
	const struct folder *folder = *state;
	static char big[SECRET_MAX + 1];
	char source[128];

	check_refused("the secret itself", "s3cret", "\"file:/absolute/path\"");
	check_refused("a relative path", "file:secret", "\"file:/absolute/path\"");
	check_refused("nothing", "", "\"file:/absolute/path\"");
	check_refused("a credential outside its folder", "credential:../x", "\"file:/absolute/path\"");
	unsetenv("CREDENTIALS_DIRECTORY");
	check_refused("a credential without systemd", "credential:x", "LoadCredential=x:PATH");
	unlink(folder->file);
	check_refused("no file", folder->source, "No such file");
	snprintf(source, sizeof source, "file:%s", folder->path);
	check_refused("a folder", source, "not a plain file");
	assert_int_equal(mkfifo(folder->file, 0600), 0);
	check_refused("a pipe, at once", folder->source, "not a plain file");
	memset(big, 'x', sizeof big);
	write_secret(folder, big, sizeof big, 0600);
	check_refused("a byte too long", folder->source, "larger than");
}

static void takes_the_largest_secret(void **state)
{
	const struct folder *folder = *state;
	static char big[SECRET_MAX];
	struct secret secret;
	struct err err;

	memset(big, 'x', sizeof big);
	write_secret(folder, big, sizeof big, 0600);
	assert_int_equal(secret_read(&secret, folder->source, &err), 0);
	assert_int_equal(secret.n, SECRET_MAX);
	secret_free(&secret);
	secret_free(&secret);
}

static void reads_a_credential_of_systemd(void **state)
{
	const struct folder *folder = *state;
	struct secret secret;
	struct err err = {""};

	write_secret(folder, "s3cret\n", 7, 0400);
	setenv("CREDENTIALS_DIRECTORY", folder->path, 1);
	if (secret_read(&secret, "credential:secret", &err) != 0)
		fail_msg("%s", err.text);
	unsetenv("CREDENTIALS_DIRECTORY");
	assert_string_equal(secret.bytes, "s3cret");
	secret_free(&secret);
}

#define JOBS	  300
#define BATCH_MAX 7

struct job {
	struct work_job job;
	struct test *test;
	int number;
	bool has_run, is_done;
};

struct test {
	struct event_base *base;
	struct work_pool *pool;
	struct job jobs[JOBS];
	int done;
	pthread_t loop;
	atomic_int batches, largest, disorder, on_loop;
};

static void run_jobs(struct work_job *const *jobs, size_t n, void *arg)
{
	struct test *test = arg;

	atomic_fetch_add(&test->batches, 1);
	if ((int)n > atomic_load(&test->largest))
		atomic_store(&test->largest, (int)n);
	if (pthread_equal(pthread_self(), test->loop))
		atomic_fetch_add(&test->on_loop, 1);
	for (size_t i = 0; i < n; i++) {
		struct job *job = (struct job *)jobs[i];
		if (i > 0 && job->number <= ((struct job *)jobs[i - 1])->number)
			atomic_fetch_add(&test->disorder, 1);
		job->has_run = true;
	}
	usleep(200);
}

static void on_done(struct work_job *base)
{
	struct job *job = (struct job *)base;

	assert_true(job->has_run);
	assert_false(job->is_done);
	assert_true(pthread_equal(pthread_self(), job->test->loop));
	job->is_done = true;
	if (++job->test->done == JOBS)
		event_base_loopbreak(job->test->base);
}

static struct test *start_pool(size_t threads)
{
	struct test *test = calloc(1, sizeof *test);

	test->base = event_base_new();
	test->loop = pthread_self();
	test->pool = work_pool_new(test->base, "test", threads, BATCH_MAX, run_jobs, test);
	for (int i = 0; i < JOBS; i++)
		test->jobs[i] = (struct job){.job.done = on_done, .test = test, .number = i};
	return test;
}

static void free_test(struct test *test)
{
	event_base_free(test->base);
	free(test);
}

static void check_batches(struct test *test)
{
	assert_int_equal(test->done, JOBS);
	assert_int_equal(atomic_load(&test->disorder), 0);
	assert_int_equal(atomic_load(&test->on_loop), 0);
	assert_in_range(atomic_load(&test->largest), 2, BATCH_MAX);
	assert_in_range(atomic_load(&test->batches), JOBS / BATCH_MAX, JOBS);
}

/* All are done, each once, on the loop's thread; waiting ones gather into batches. */
static void pool_does_all_jobs(void **state)
{
	struct timeval limit = {20, 0};

	(void)state;
	for (size_t threads = 1; threads <= 3; threads += 2) {
		struct test *test = start_pool(threads);
		for (int i = 0; i < JOBS; i++)
			work_submit(test->pool, &test->jobs[i].job);
		assert_int_equal(work_pending(test->pool), JOBS);
		assert_int_equal(test->done, 0);
		event_base_loopexit(test->base, &limit);
		event_base_dispatch(test->base);
		assert_int_equal(work_pending(test->pool), 0);
		check_batches(test);
		work_pool_free(test->pool);
		free_test(test);
	}
}

static void pool_finishes_before_it_is_freed(void **state)
{
	struct test *test = start_pool(2);

	(void)state;
	for (int i = 0; i < JOBS; i++)
		work_submit(test->pool, &test->jobs[i].job);
	work_pool_free(test->pool);
	check_batches(test);
	free_test(test);
	work_pool_free(NULL);
}

/* done may submit again, the same job too: that is how a session asks once more. */
static void on_done_again(struct work_job *base)
{
	struct job *job = (struct job *)base;

	job->has_run = false;
	if (++job->test->done < 50)
		work_submit(job->test->pool, base);
	else
		event_base_loopbreak(job->test->base);
}

static void pool_takes_jobs_from_done(void **state)
{
	struct test *test = start_pool(1);
	struct timeval limit = {20, 0};

	(void)state;
	test->jobs[0].job.done = on_done_again;
	work_submit(test->pool, &test->jobs[0].job);
	event_base_loopexit(test->base, &limit);
	event_base_dispatch(test->base);
	assert_int_equal(test->done, 50);
	assert_int_equal(work_pending(test->pool), 0);
	work_pool_free(test->pool);
	free_test(test);
}

/* What a size from outside would ask for where it is not bounded is a fault, not a shortage: ended by SIGABRT on every machine. */
static void a_request_without_bound_is_a_fault(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		int status = 0;
		pid_t pid = fork();
		if (pid == 0) {
			/* No core, no words among those of the test. */
			setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
			close(STDERR_FILENO);
			free(i == 0 ? xrealloc(NULL, (size_t)2 << 30) : xcalloc(1 << 16, 1 << 16));
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(compares_strings),
	    cmocka_unit_test(trims_strings),
	    cmocka_unit_test(converts_from_charsets),
	    cmocka_unit_test(reads_numbers),
	    cmocka_unit_test(copies_what_fits),
	    cmocka_unit_test(heap_agrees_with_a_sorted_list),
	    cmocka_unit_test(builds_texts),
	    cmocka_unit_test(buffers_grow),
	    cmocka_unit_test(quotes_for_the_log),
	    cmocka_unit_test(cuts_for_the_log),
	    cmocka_unit_test(a_request_without_bound_is_a_fault),
	    cmocka_unit_test(logs_one_line),
	    cmocka_unit_test(leaves_the_time_to_the_journal_alone),
	    cmocka_unit_test(writes_times_in_english),
	    cmocka_unit_test_setup_teardown(reads_secrets, make_folder, remove_folder),
	    cmocka_unit_test_setup_teardown(refuses_what_is_no_secret, make_folder, remove_folder),
	    cmocka_unit_test_setup_teardown(takes_the_largest_secret, make_folder, remove_folder),
	    cmocka_unit_test_setup_teardown(reads_a_credential_of_systemd, make_folder, remove_folder),
	    cmocka_unit_test(pool_does_all_jobs),
	    cmocka_unit_test(pool_finishes_before_it_is_freed),
	    cmocka_unit_test(pool_takes_jobs_from_done),
	};

	unsetenv("JOURNAL_STREAM");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
