/* What the files of the spool share among themselves. Nobody else includes this, but for their tests. */
#ifndef MFDRELAY_SPOOL_SPOOL_PRIVATE_H
#define MFDRELAY_SPOOL_SPOOL_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>
#include "spool/spool.h"
#include "spool/syncer.h"

struct event;
struct whole_sync;

/* The sub-folders, in the order in which the syncer syncs them: a message that moves is in its new place before it is
 * out of the old one, on any file system. */
enum spool_dir { DIR_FAILED, DIR_QUEUE, DIR_STATE, DIR_VAR, DIR_COUNT };
extern const char *const spool_dir_names[DIR_COUNT];

#define DIR_BIT(dir) (1u << (dir))
#define NAME_MAX_BYTES (SPOOL_ID_MAX + 16)	/* an id with a prefix or suffix, and the NUL */
#define REASON_MAX 1024				/* octets of failed/<id>.reason */

struct space {
	bool known;
	int64_t sampled_ms;			/* monotonic */
	uint64_t bytes_free, bytes_floor;
	uint64_t inodes_free, inodes_floor;	/* floor 0: the file system has no such limit */
	uint64_t bytes_taken, inodes_taken;	/* by us since the sample */
	uint64_t bytes_promised;		/* announced for open drafts, not written yet */
};

#define ID_TAG_SIZE 5		/* four hexadecimal digits, and the NUL */

struct id_source {
	int64_t last_us;
	char tag[ID_TAG_SIZE];	/* this spool's, as in var/spool-id */
};

STAILQ_HEAD(message_list, spool_message);
STAILQ_HEAD(operation_list, operation);

struct spool {
	char *path;
	int root;			/* the folder itself */
	int dirs[DIR_COUNT];
	uint64_t free_space;		/* limits.free_space */
	bool can_link_unnamed;		/* else drafts have the name tmp.<id>; decided once, when it is opened */
	struct id_source ids;
	struct space space;
	struct event_base *base;	/* NULL: only to look */
	struct whole_sync *whole_sync;	/* NULL where it cannot be had */
	struct syncer *syncer;		/* NULL until it is started */
	bool closing;			/* flushed: no timers any more, the syncer does each job at once */
	/* Folder syncs that nobody waits for, put together. */
	struct sync_job tidy;
	struct event *tidy_timer;
	unsigned tidy_folders;		/* touched since the last one began */
	bool tidy_running;
	int64_t tidy_started_ms;
	/* Retired, but the file could not be removed: kept locked, so that it is not sent again. */
	struct message_list stuck;
	size_t stuck_count;
	struct event *stuck_timer;
};

/* A message that is taken (take.c); the rest of its life is message.c's. */
struct spool_message {
	struct spool *spool;
	int fd;				/* holds the lock */
	struct envelope envelope;
	struct state state;
	uint64_t content_offset;
	uint64_t state_hash;		/* of the text that is durable; 0: none known */
	bool has_state;			/* there is, or may be, a file in state/ */
	struct operation_list operations;	/* the first one runs when is_running */
	bool is_running;
	enum { END_NONE, END_RELEASE, END_RETIRE, END_FAIL } end;	/* after the last operation */
	STAILQ_ENTRY(spool_message) next;	/* in spool->stuck */
};

/* Close it, and with that give up its lock. */
void spool_message_free(struct spool_message *message);

/* The touched folders are to be synced soon. */
void spool_tidy(struct spool *spool, unsigned folders);

/* Try again to remove what could not be removed; or give it up: the process ends. */
void spool_retry_stuck(struct spool *spool);
void spool_drop_stuck(struct spool *spool);

/* What became of a job, for the caller's callback: error NULL, or "queue/<id>: step: errno" in text. */
const char *spool_job_error(const struct sync_job *job, enum spool_dir dir, const char *id, char *text, size_t size);

/* Whether a draft to which promised bytes are still promised has room for n that are not written yet: on what was
 * promised to others only as far as its own promise goes. */
bool space_fits(struct spool *spool, uint64_t promised, uint64_t n, struct err *err);

/* Whether n bytes more may be written: above the floor unless below_floor. Counts them as taken when they may. */
bool space_take(struct spool *spool, uint64_t n, bool below_floor, struct err *err);

/* Read the spool's tag from the folder var. Returns 0, or -1 with errno (EBADMSG: the file holds none). */
int id_read_tag(int var, char tag[ID_TAG_SIZE]);

/* A new id into out (SPOOL_ID_MAX + 1), higher than all before in this process. */
void id_new(struct id_source *source, char *out);

/* Whether a valid id is that of a report. */
bool id_is_report(const char *id);

/* pread(2), begun again where a signal broke it off; and until n bytes are read or the file ends. */
ssize_t message_read_at(int fd, void *bytes, size_t n, uint64_t offset);
ssize_t message_read_all(int fd, char *bytes, size_t n, uint64_t offset);

/* Read the file of a message, which is open: parse the envelope and compare the size with it. Returns 0 with *out
 * (the caller frees) and *offset, the content's; 1 with err when the file is damaged; -1 with err and errno. */
int message_read(int fd, const char *id, struct envelope *out, uint64_t *offset, struct err *err);

/* Read the state of a message from dir (its name is id + suffix); none gives one with all pending, and *exists (exists may
 * be NULL) says so. Returns as message_read. */
int message_read_state(const struct spool *spool, enum spool_dir dir, const char *suffix,
    const struct envelope *envelope, struct state *out, bool *exists, struct err *err);

/* Write prefix + id + suffix into a buffer of NAME_MAX_BYTES. Returns it. */
const char *name_of(char *out, const char *prefix, const char *id, const char *suffix);

#endif
