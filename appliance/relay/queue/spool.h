/*
 * Body files: spool/NN/NUMBER, one for each body over QUEUE_INLINE_BODY_MAX_BYTES, NN from the number. While a body is received
 * its file has no name (O_TMPFILE), so a crash leaves nothing; where the file system has no such files it is NUMBER.tmp, removed
 * at the next start. A file is opened and named in the same directory, which Landlock allows without further rights.
 *
 * All calls may block; any thread. A full disk is ERR_LIMIT, any other failure ERR_SYSTEM: then the file must be dropped and
 * never synced again, since the kernel reports a lost write once (queue.md §4).
 */
#ifndef INKAN_QUEUE_SPOOL_H
#define INKAN_QUEUE_SPOOL_H

#include "appliance/base/bytes.h"

struct spool {
	int fd; /* of the directory spool/; -1 when closed */
	bool named_temporaries; /* no O_TMPFILE here */
};

/* Makes spool/ and its 256 directories where missing, durably. */
bool spool_open(struct spool *spool, int parent_fd, struct err *err) MUST_USE;
void spool_close(struct spool *spool);

int spool_create(const struct spool *spool, uint64_t number, struct err *err); /* the descriptor, or -1 */
bool spool_write(int fd, struct bytes octets, uint64_t offset, struct err *err) MUST_USE;

/* Gives the file its name, then syncs its data and its directory. *directory_failed: the directory's sync is what failed. */
bool spool_store(const struct spool *spool, int fd, uint64_t number, bool *directory_failed, struct err *err) MUST_USE;

void spool_drop_temporary(const struct spool *spool, uint64_t number); /* of a file that was never stored */
void spool_remove(const struct spool *spool, uint64_t number); /* of a stored file; without sync */

/* ERR_INTEGRITY when it is missing. */
int spool_open_stored(const struct spool *spool, uint64_t number, struct err *err);

/*
 * Removes what an interrupted process left: temporaries, and files whose number is not in `wanted` (rising). To be called
 * before any body is begun, under the lock of the directory, so that everything there is older than this start. Other
 * names are left alone. Ends early when *stop becomes true.
 */
bool spool_sweep(const struct spool *spool, const uint64_t *wanted, size_t n_wanted, const _Atomic bool *stop, uint64_t *removed,
		 struct err *err) MUST_USE;

#endif
