/*
 * Free space below the queue: measured once a second, counted down by what is written meanwhile; and the ballast, a file
 * that is given back when a full disk would not even let rows be deleted (queue.md §4 rule 3).
 */
#ifndef INKAN_QUEUE_SPACE_H
#define INKAN_QUEUE_SPACE_H

#include <stdatomic.h>

#include "appliance/base/bytes.h"

enum space_level {
	SPACE_OK,
	SPACE_LOW, /* below the limit: no new transactions (QUEUE_FULL), those that run may finish */
	SPACE_EXHAUSTED /* below half of it, or the ballast had to be released: large bodies and commits are refused too, results
			   still go through */
};

struct space {
	int directory_fd;
	uint64_t min_free_bytes; /* 0: max(5 % of the file system, 256 MiB) */
	uint64_t ballast_bytes;
	_Atomic int64_t available; /* octets, as measured and counted down */
	_Atomic uint64_t limit;
	_Atomic bool few_inodes;
	_Atomic int level; /* of the last measurement */
	_Atomic bool ballast_released; /* no new mail until it is back */
	_Atomic bool ballast; /* the file is there */
};

bool space_measure(struct space *space, struct err *err) MUST_USE; /* any one thread */
void space_written(struct space *space, uint64_t octets); /* any thread, as the next */
enum space_level space_level(const struct space *space);
bool space_admits(const struct space *space, uint64_t octets); /* would leave more than the exhausted level */

/* Writes the ballast if it is missing and there is room for it. May take seconds; ends early when *stop becomes true. */
void space_keep_ballast(struct space *space, const _Atomic bool *stop);
void space_release_ballast(struct space *space);

#endif
