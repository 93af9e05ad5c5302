/* The spool directory: the only hand-over between listener and sender, and the only truth. This is the only code that
 * knows its paths. Promises, layout and ownership rules: the comment on top of spool.c.
 *
 * Every call that must be durable is asynchronous: it runs on the spool's syncer thread, in batches that share one
 * sync of each folder, and answers by a callback from the loop. */
#ifndef MFDRELAY_SPOOL_SPOOL_H
#define MFDRELAY_SPOOL_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/err.h"
#include "spool/envelope.h"
#include "spool/state.h"

struct event_base;
struct quota;
struct spool;
struct spool_draft;
struct spool_message;

/* --- start-up, by the supervisor, before any worker runs --- */

/* Take the spool's lock, waiting up to wait_ms for another daemon to go. Makes the folder if it is missing. Returns the
 * descriptor that holds it (workers inherit it), or -1 with err, which names the other daemon's process when it can. */
int spool_lock(const char *path, unsigned wait_ms, struct err *err);

/* Whether a daemon holds that lock now. */
bool spool_is_locked(const char *path);

/* The supervisor that holds it, as far as can be told: a process named mfdrelay whose number is in the lock file. 0: none. */
pid_t spool_locked_by(const char *path);

/* Whether what lock_fd has locked is still the spool at that path: not when it was moved, removed or replaced. */
bool spool_is_at(const char *path, int lock_fd);

/* Under the lock: make missing sub-folders (0700, owned by uid and gid when run as root; (uid_t)-1: leave), make this
 * spool's two random bytes (var/spool-id), see that its file system has the locks that messages are taken by, remove
 * what a crash can leave (temporary files, states without a message). Foreign names are left alone. Returns 0, or -1 with err. */
int spool_prepare(const char *path, uid_t uid, gid_t gid, struct err *err);

/* --- both workers, and the CLI --- */

/* Open an existing spool. base may be NULL (CLI: then only the read-only calls below work). free_space is limits.free_space
 * of the config. Returns NULL with err. */
struct spool *spool_open(const char *path, struct event_base *base, uint64_t free_space, struct err *err);

/* The folder into which messages are taken: all that spool_begin and spool_commit touch is below it. Borrowed. */
int spool_intake_fd(const struct spool *spool);

/* The folder of small lasting facts, each of whose files has one writer. Borrowed. */
int spool_var_fd(const struct spool *spool);

/* Start the syncer's thread, once: before the first asynchronous call, after whatever must be before any thread. */
void spool_start(struct spool *spool);

/* The process is about to end: finish what was submitted, calling back as it goes, and stop the syncer. From then on
 * each asynchronous call is carried out at once, and its callback runs from inside it. */
void spool_flush(struct spool *spool);

/* Flush, and close. What was taken or begun must have been given back before. NULL is fine. */
void spool_close(struct spool *spool);

/* Whether there is room for bytes more, above the floor of free space and free inodes. Looks at the file system at
 * most once in 200 ms. When false, err says which floor and how much is free (errno ENOSPC), or that the spool is not
 * at its place any more (ENOENT). */
bool spool_has_room(struct spool *spool, uint64_t bytes, struct err *err);

/* --- taking a message in --- */

/* Begin a message: gives it a new id (written into envelope->id) and the envelope at its head. For a report, id names
 * it instead of a new one (NULL: a new id). envelope->content_bytes may hold the size that was announced: other messages
 * are then not let in on that room. Its file is made when 64 KiB are full, or at the commit: it has no name and is
 * locked. Returns NULL with err and errno. The draft ends with spool_commit or spool_abort. */
struct spool_draft *spool_begin(struct spool *spool, struct envelope *envelope, const char *id, struct err *err);

/* Add content in its stored form (CRLF line ends, no dot-stuffing). Buffered to 64 KiB; goes to the page cache without
 * a sync. Returns 0, or -1 with err and errno (ENOSPC, EIO ...): the draft can then only be aborted. ENOSPC comes at
 * the floor already, but for a report. */
int spool_append(struct spool_draft *draft, const void *bytes, size_t n, struct err *err);

/* error NULL: the data and the name are on stable storage. Otherwise nothing of it is in the spool, error says
 * why, and error_number is its errno. exists: a message of that id was there already; for a report error is NULL
 * then: it was made before. */
struct spool_result {
	const char *error;
	int error_number;
	bool exists;
};
typedef void spool_done_fn(void *arg, const struct spool_result *result);

/* Make it durable and name it. fn is called once, later, from the loop. The draft is the spool's from here on. */
void spool_commit(struct spool_draft *draft, bool has_8bit, spool_done_fn *fn, void *arg);

/* Throw it away. NULL is fine. */
void spool_abort(struct spool_draft *draft);

/* --- bringing a message out: by the sender alone --- */

/* Call fn for the id of each message in queue/. Reads names only, in no order. Stops when fn returns false. Returns 0,
 * or -1 with err. */
int spool_scan(struct spool *spool, bool (*fn)(void *arg, const char *id), void *arg, struct err *err);

enum spool_take {
	SPOOL_TAKEN,	/* *out is it, owned by us until it is released, retired or failed */
	SPOOL_BUSY,	/* somebody else holds it: look again later */
	SPOOL_GONE,	/* no such message any more */
	SPOOL_DAMAGED,	/* moved to failed/ with the reason; err says it too */
	SPOOL_TROUBLE,	/* the disk or a limit (err): look again later */
};
enum spool_take spool_take(struct spool *spool, const char *id, struct spool_message **out, struct err *err);

/* Move it to failed/ without reading it, with reason as for a damaged one: SPOOL_DAMAGED. What stands in the way comes as from
 * spool_take. */
enum spool_take spool_set_aside(struct spool *spool, const char *id, const char *reason, struct err *err);

/* Borrowed until it is released; state may be edited, and is written by spool_save. */
const struct envelope *spool_envelope(const struct spool_message *message);
struct state *spool_state(struct spool_message *message);

/* Read up to n content bytes at offset. Returns their number, 0 at the end, -1 with errno. */
ssize_t spool_read(const struct spool_message *message, uint64_t offset, void *bytes, size_t n);

/* Make the state durable as it is now (a copy is taken). fn from the loop. Calls for one message are carried out one
 * after the other, in order. */
void spool_save(struct spool_message *message, spool_done_fn *fn, void *arg);

/* Give up ownership; message is gone for the caller. */
void spool_release(struct spool_message *message);

/* All is delivered: remove the message, then its state. At once, and message is gone for the caller; the folder's sync follows
 * shortly on the syncer. A failure is logged by the spool, which keeps the lock, tries again until it is closed, and writes the
 * state as it is now: whoever takes the message after a restart finds that nothing is left to be sent. */
void spool_retire(struct spool_message *message);

/* False, with err for people: so many retired messages cannot be removed that the disk is at fault and not one file. What is sent
 * then would be sent again where the state cannot be written either. True again when they could be removed. */
#define SPOOL_STUCK_MAX 10
bool spool_can_retire(const struct spool *spool, struct err *err);

/* Move it to failed/ with its state as it is now. fn from the loop; message is freed before fn is called, whatever the
 * result (on an error it stays in queue/). */
void spool_fail(struct spool_message *message, spool_done_fn *fn, void *arg);

/* Move failed/<id> back to queue/, its failed recipients pending again with no attempts charged and for any upstream, also those
 * that left them to others. Blocks (syncs): for the sender's control socket, which is used by a person. Returns 0, or -1 with
 * err (errno ENOENT: no such message). */
int spool_requeue(struct spool *spool, const char *id, struct err *err);

/* The number of messages in failed/, counted afresh from the folder. */
size_t spool_failed_count(struct spool *spool);

/* --- what was sent in each send window: by the sender alone --- */

/* Read the file quota, before anything is saved. Returns 0 with *out filled (empty where there is none; the caller frees it
 * with quota_free); 1 with err when it is damaged, then it has been set aside as quota.damaged; -1 with err when it cannot be
 * read. Blocks, for the time of a read. */
int spool_load_quota(struct spool *spool, struct quota *out, struct err *err);

/* Replace the file by a copy of quota, in one step: after a crash it is the old or the new one. fn from the loop; until
 * then not to be called again. */
void spool_save_quota(struct spool *spool, const struct quota *quota, spool_done_fn *fn, void *arg);

/* --- reading it from outside: CLI, daemon up or down --- */

enum spool_folder { SPOOL_QUEUE, SPOOL_FAILED };

/* Call fn for each id of a folder, sorted by id (= by time). Returns 0, or -1 with err. */
int spool_list(struct spool *spool, enum spool_folder folder, void (*fn)(void *arg, const char *id), void *arg,
    struct err *err);

/* Read envelope and state of a message without owning it. A missing state gives one with all pending. The caller frees
 * both. content (may be NULL) gets the first *content_n bytes of the content, *content_n what was had. Returns 0; -1
 * with err (errno ENOENT: not there any more). */
int spool_inspect(struct spool *spool, enum spool_folder folder, const char *id, struct envelope *envelope,
    struct state *state, char *content, size_t *content_n, struct err *err);

/* Whether text has the form of an id. Every id that comes from outside goes through this before it meets a path. */
bool spool_id_valid(const char *text);

/* Whether id is that of a report; then out (SPOOL_ID_MAX + 1) gets the id of the message, or report, it is about. */
bool spool_report_of(char *out, const char *id);

/* When the message of that (valid) id came: wall clock, ms. */
int64_t spool_id_time_ms(const char *id);

/* The id of the nth report (from 0) on a message, derived from the message's, into out (SPOOL_ID_MAX + 1). Returns false where
 * there is none: a report can be the subject of one more, and that of none. */
bool spool_report_id(char *out, const char *id, unsigned nth);

#endif
