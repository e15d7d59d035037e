/*
 * A request: what travels between the loop's thread and the storekeeper. The first member of every kind of request; made on the
 * loop's thread, worked on by one thread at a time, finished (called back and freed) on the loop's thread.
 */
#ifndef INKAN_QUEUE_REQUEST_H
#define INKAN_QUEUE_REQUEST_H

#include "appliance/base/bytes.h"

struct queue;

struct request {
	struct request *next;
	size_t weight; /* commit: octets of its BLOBs; report: number of results */
	struct err err; /* ERR_NONE: it worked */
	void (*finish)(struct queue *queue, struct request *request);
};

/* First in, first out. Zeroed is empty. */
struct request_list {
	struct request *first, *last;
	size_t count, weight;
};

void request_list_add(struct request_list *list, struct request *request);
void request_list_append(struct request_list *list, struct request_list *from); /* leaves `from` empty */
struct request *request_list_take(struct request_list *list); /* NULL when empty */

/* Moves requests from the front until a limit is passed; always at least one. */
void request_list_take_some(struct request_list *list, size_t count, size_t weight, struct request_list *out);

const struct err *request_err(const struct request *request); /* for callbacks: NULL is success */

#endif
