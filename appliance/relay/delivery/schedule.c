#include "appliance/relay/delivery/schedule.h"

static const int64_t default_retry_ms[] = {60 * 1000, 5 * 60 * 1000, 15 * 60 * 1000, 60 * 60 * 1000};

const struct schedule schedule_default = {default_retry_ms, sizeof default_retry_ms / sizeof default_retry_ms[0]};

bool schedule_next(const struct schedule *schedule, int64_t now_ms, int64_t expires_ms, uint32_t attempts, int64_t *due_ms)
{
	int64_t wait_ms;

	if (now_ms >= expires_ms)
		return false;
	if (schedule->n_retry == 0)
		schedule = &schedule_default;
	wait_ms = schedule->retry_ms[attempts < schedule->n_retry ? attempts : schedule->n_retry - 1];
	*due_ms = wait_ms < expires_ms - now_ms ? now_ms + wait_ms : expires_ms;
	return true;
}

int64_t schedule_backoff_ms(unsigned failures)
{
	int64_t backoff_ms = SCHEDULE_BACKOFF_FIRST_MS;

	while (failures-- > 1 && backoff_ms < SCHEDULE_BACKOFF_MAX_MS)
		backoff_ms *= 2;
	return backoff_ms < SCHEDULE_BACKOFF_MAX_MS ? backoff_ms : SCHEDULE_BACKOFF_MAX_MS;
}
