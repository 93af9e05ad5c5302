/* Looking at the spool without owning anything: for the CLI and the status, with the daemon up or down. */
#include "spool/spool_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/mem.h"

struct id_visit {
	bool (*fn)(void *arg, const char *id);
	void *arg;
};

static bool on_name(void *arg, const char *name)
{
	const struct id_visit *visit = arg;

	return !spool_id_valid(name) || visit->fn(visit->arg, name);
}

static int each_id(struct spool *spool, enum spool_dir dir, struct id_visit visit, struct err *err)
{
	if (fs_each_name(spool->dirs[dir], on_name, &visit) < 0)
		return err_sys(err, "%s/%s: reading the folder", spool->path, spool_dir_names[dir]);
	return 0;
}

int spool_scan(struct spool *spool, bool (*fn)(void *arg, const char *id), void *arg, struct err *err)
{
	return each_id(spool, DIR_QUEUE, (struct id_visit){fn, arg}, err);
}

static bool count_one(void *arg, const char *id)
{
	(void)id;
	++*(size_t *)arg;
	return true;
}

size_t spool_failed_count(struct spool *spool)
{
	size_t count = 0;

	each_id(spool, DIR_FAILED, (struct id_visit){count_one, &count}, NULL);
	return count;
}

struct id_list {
	char (*ids)[SPOOL_ID_MAX + 1];
	size_t count, room;
};

static bool keep_id(void *arg, const char *id)
{
	struct id_list *list = arg;

	if (list->count == list->room) {
		list->room = list->room * 2 + 64;
		list->ids = xrealloc(list->ids, list->room * sizeof *list->ids);
	}
	str_copy(list->ids[list->count++], sizeof *list->ids, str_of(id));
	return true;
}

static int compare_ids(const void *a, const void *b)
{
	return strcmp(a, b);
}

static enum spool_dir dir_of(enum spool_folder folder)
{
	return folder == SPOOL_QUEUE ? DIR_QUEUE : DIR_FAILED;
}

int spool_list(struct spool *spool, enum spool_folder folder, void (*fn)(void *arg, const char *id),
    void *arg, struct err *err)
{
	struct id_list list = {NULL, 0, 0};
	int result = each_id(spool, dir_of(folder), (struct id_visit){keep_id, &list}, err);

	if (result == 0 && list.count > 0) {
		qsort(list.ids, list.count, sizeof *list.ids, compare_ids);
		for (size_t i = 0; i < list.count; i++)
			fn(arg, list.ids[i]);
	}
	free(list.ids);
	return result;
}

/* Why a whole message lies in failed/ though its recipients wait: it was put aside. */
static void read_reason(const struct spool *spool, const char *id, struct state *state)
{
	char name[NAME_MAX_BYTES];
	size_t n;
	char *text = fs_read_file(spool->dirs[DIR_FAILED], name_of(name, "", id, ".reason"), REASON_MAX, &n);

	for (size_t i = 0; text != NULL && i < state->count; i++)
		if (state->recipients[i].status == RECIPIENT_PENDING)
			state_set_reason(&state->recipients[i], "mfdrelay", text);
	free(text);
}

static int inspect_open(struct spool *spool, enum spool_dir dir, int fd, const char *id,
    struct envelope *envelope, struct state *state, char *content, size_t *content_n, struct err *err)
{
	struct err why = {""};
	uint64_t offset;

	int result = message_read(fd, id, envelope, &offset, &why);
	if (result == 0)
		result = message_read_state(spool, dir == DIR_QUEUE ? DIR_STATE : DIR_FAILED,
		    dir == DIR_QUEUE ? "" : ".state", envelope, state, NULL, &why);
	if (result == 0 && content != NULL) {
		ssize_t n = message_read_all(fd, content, *content_n, offset);
		result = n < 0 ? err_sys(&why, "reading its content") : 0;
		*content_n = n < 0 ? 0 : (size_t)n;
	}
	if (result == 0 && dir == DIR_FAILED)
		read_reason(spool, id, state);
	if (result == 0)
		return 0;
	if (result > 0)
		errno = EBADMSG;
	return err_set(err, "%s: %s", id, why.text);
}

int spool_inspect(struct spool *spool, enum spool_folder folder, const char *id, struct envelope *envelope,
    struct state *state, char *content, size_t *content_n, struct err *err)
{
	enum spool_dir dir = dir_of(folder);

	*envelope = (struct envelope){.id = ""};
	*state = (struct state){.reports = 0};
	if (!spool_id_valid(id)) {
		errno = ENOENT;
		return err_set(err, "not a message id");
	}
	int fd = openat(spool->dirs[dir], id, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return err_sys(err, "%s/%s/%s", spool->path, spool_dir_names[dir], id);
	int result = inspect_open(spool, dir, fd, id, envelope, state, content, content_n, err);
	int saved_errno = errno;
	if (result < 0) {
		envelope_free(envelope);
		state_free(state);
	}
	close(fd);
	errno = saved_errno;
	return result;
}
