#include "appliance/relay/observe/history.h"

#include <inttypes.h>

static struct history_hour *place_of(struct history *history, int64_t hour)
{
	return &history->hours[(uint64_t)hour % HISTORY_HOURS];
}

void history_add(struct history *history, const struct history_totals *totals, int64_t now_seconds)
{
	int64_t hour = now_seconds / 3600;
	struct history_hour *place = place_of(history, hour);

	history->steps[history->next] = totals->messages - history->last.messages;
	history->next = (history->next + 1) % HISTORY_STEPS;
	if (place->hour != hour)
		*place = (struct history_hour){.hour = hour};
	place->refused += totals->refused - history->last.refused;
	place->octets += totals->octets - history->last.octets;
	history->last = *totals;
}

void history_put_steps(struct buf *out, const struct history *history)
{
	for (unsigned i = 0; i < HISTORY_STEPS; i++)
		buf_printf(out, "%s%" PRIu64, i == 0 ? "" : ",", history->steps[(history->next + i) % HISTORY_STEPS]);
}

const struct history_hour *history_hour_of(const struct history *history, int64_t hour)
{
	const struct history_hour *place = &history->hours[(uint64_t)hour % HISTORY_HOURS];

	return place->hour == hour ? place : NULL;
}
