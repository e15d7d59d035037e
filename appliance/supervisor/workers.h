/*
 * The HSM workers: P processes of inkan-hsm in role sign. They start one at a time, since two processes that log in to
 * a token at the same moment may fail (reference pkcs11.md §8), and are never killed while they start unless a long
 * grace has passed, since that can destroy a token.
 */
#ifndef INKAN_SUPERVISOR_WORKERS_H
#define INKAN_SUPERVISOR_WORKERS_H

#include "appliance/supervisor/worker.h"

struct workers {
	struct worker **items;
	size_t count;
	struct event *down_timer; /* no worker is ready, though they may log in */
	bool down; /* for so long that the alarm was given */
	int64_t down_at; /* wall seconds */
	struct worker_ready token; /* what the last ready worker said; empty strings before */
};

#define WORKERS_DOWN_MS 5000

void workers_init(struct supervisor *supervisor);
void workers_clear(struct supervisor *supervisor);

void workers_start(struct supervisor *supervisor); /* as many as configured; those that run are left alone */
void workers_stop(struct supervisor *supervisor); /* each ends when its signatures are done */
void workers_cancel_starts(struct supervisor *supervisor); /* none that waits is started; those that run are left alone */

/* Another configuration is applied: more or fewer workers, and all of them anew, one by one, when HSM settings changed. */
void workers_follow(struct supervisor *supervisor, bool hsm_changed);

/* Starts, or stops for a restart, the next worker, when none is on its way up or down. */
void workers_go_on(struct supervisor *supervisor);

/* Gives the alarm when no worker has been ready for WORKERS_DOWN_MS although signing is not locked, and takes it back. */
void workers_judge(struct supervisor *supervisor);

size_t workers_ready(const struct supervisor *supervisor);
size_t workers_alive(const struct supervisor *supervisor); /* with a process */
bool workers_starting(const struct supervisor *supervisor);
bool workers_may_start(const struct supervisor *supervisor); /* a usable PIN and an HSM are there */
bool workers_is_surplus(const struct worker *worker); /* above the configured number: goes for good when it has ended */
void workers_drop_surplus(struct supervisor *supervisor); /* frees those that have no process */

void workers_connect_all(struct supervisor *supervisor); /* the relay is new: a connection to each ready worker */

/* Sends the certificates to the ready workers, and says how many have yet to answer that they know them. */
void workers_send_certificates(struct supervisor *supervisor, const struct worker_certificates *certificates);
size_t workers_unacknowledged(const struct supervisor *supervisor);

#endif
