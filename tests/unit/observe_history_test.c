/* The relay's counters over the time behind. */
#include "appliance/relay/observe/history.h"
#include "tests/unit/test.h"

#define START (INT64_C(400000) * 3600)

static void steps_are_differences_oldest_first(void)
{
	struct history history = {0};
	struct buf out = {0};

	for (uint64_t i = 1; i <= HISTORY_STEPS + 2; i++)
		history_add(&history, &(struct history_totals){.messages = i * (i + 1) / 2},
			    START + (int64_t)i * HISTORY_STEP_SECONDS);
	history_put_steps(&out, &history);
	CHECK_CONTAINS(buf_text(&out), ",60,61,62");
	CHECK(buf_text(&out)[0] == '3' && buf_text(&out)[1] == ',');
	buf_clear(&out);
}

static void hours_are_kept_apart_and_forgotten(void)
{
	struct history history = {0};

	history_add(&history, &(struct history_totals){.refused = 2, .octets = 100}, START);
	history_add(&history, &(struct history_totals){.refused = 5, .octets = 150}, START + 3599);
	history_add(&history, &(struct history_totals){.refused = 6, .octets = 150}, START + 3600);
	CHECK_INT(history_hour_of(&history, 400000)->refused, 5);
	CHECK_INT(history_hour_of(&history, 400000)->octets, 150);
	CHECK_INT(history_hour_of(&history, 400001)->refused, 1);
	CHECK(history_hour_of(&history, 400002) == NULL);
	history_add(&history, &(struct history_totals){.refused = 6, .octets = 150}, START + INT64_C(3600) * HISTORY_HOURS);
	CHECK(history_hour_of(&history, 400000) == NULL);
	CHECK_INT(history_hour_of(&history, 400000 + HISTORY_HOURS)->refused, 0);
}

int main(void)
{
	TEST(steps_are_differences_oldest_first);
	TEST(hours_are_kept_apart_and_forgotten);
	return test_finish();
}
