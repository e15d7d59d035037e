/* What the relay's counters were in the time behind: steps of the last minutes, and hours. Pure. */
#ifndef INKAN_RELAY_OBSERVE_HISTORY_H
#define INKAN_RELAY_OBSERVE_HISTORY_H

#include "appliance/base/bytes.h"

#define HISTORY_STEP_SECONDS 10
#define HISTORY_STEPS 60 /* ten minutes */
#define HISTORY_HOURS 192 /* eight days */

/* Totals since the start. */
struct history_totals {
	uint64_t messages; /* that came in: taken or refused */
	uint64_t refused, octets;
};

struct history_hour {
	int64_t hour; /* wall seconds / 3600 */
	uint64_t refused, octets;
};

struct history {
	struct history_totals last;
	uint64_t steps[HISTORY_STEPS]; /* messages of each, a ring */
	unsigned next;
	struct history_hour hours[HISTORY_HOURS]; /* a ring by the hour */
};

/* To be called once a step. */
void history_add(struct history *history, const struct history_totals *totals, int64_t now_seconds);

/* The steps "N,N,…", oldest first. */
void history_put_steps(struct buf *out, const struct history *history);

/* NULL: nothing is known of this hour. */
const struct history_hour *history_hour_of(const struct history *history, int64_t hour);

#endif
