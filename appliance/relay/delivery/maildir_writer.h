/*
 * Delivers groups into a Maildir: reads the rendering from the queue on the loop's thread, writes on the pool. One group at a
 * time, one file a recipient. Loop's thread.
 */
#ifndef INKAN_RELAY_DELIVERY_MAILDIR_WRITER_H
#define INKAN_RELAY_DELIVERY_MAILDIR_WRITER_H

#include "appliance/relay/delivery/group.h"

struct event_base;
struct pool;
struct maildir_writer;

/* Every recipient is settled; the group is the callee's. From the loop; may call maildir_writer_send, not _free. */
typedef void maildir_finished_cb(struct group *group, void *arg);

struct maildir_writer *maildir_writer_new(struct event_base *base, struct queue *queue, struct pool *pool, const char *path,
					  maildir_finished_cb *finished, void *arg);
void maildir_writer_send(struct maildir_writer *writer, struct group *group); /* when none runs; takes it */

/* A running group is freed, its unfinished file removed (by the pool, later). NULL is fine. */
void maildir_writer_free(struct maildir_writer *writer);

#endif
