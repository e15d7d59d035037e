/*
 * The range is cut where it can be written digit by digit: upwards from the least number at those that end in nines, then
 * downwards to the most at those that end in zeros.
 */
#include "provisioning/console/range_pattern.h"

#include <stdio.h>
#include <string.h>

#define DIGITS 20 /* of 2^64 */

/* `from` and `to` have as many digits, and each place may be anything between the two. */
static void put_piece(struct buf *out, uint64_t from, uint64_t to)
{
	char least[DIGITS + 1], most[DIGITS + 1];

	snprintf(least, sizeof least, "%llu", (unsigned long long)from);
	snprintf(most, sizeof most, "%llu", (unsigned long long)to);
	for (size_t i = 0; least[i] != '\0'; i++) {
		if (least[i] == most[i])
			buf_put_byte(out, (uint8_t)least[i]);
		else
			buf_printf(out, "[%c-%c]", least[i], most[i]);
	}
}

/* The largest number of the piece that begins at `from`: as many nines at its end as zeros allow and `most` permits. */
static uint64_t end_of_piece(uint64_t from, uint64_t most)
{
	uint64_t power = 1, end = from;

	while (from % (power * 10) == 0 && from + power * 10 - 1 <= most && power * 10 <= from) {
		power *= 10;
		end = from + power - 1;
	}
	/* the digit above may go on up to nine, as far as whole steps of `power` fit */
	while (end / power % 10 != 9 && end + power <= most)
		end += power;
	return end;
}

void range_pattern(struct buf *out, uint64_t least, uint64_t most)
{
	const char *between = "";

	for (uint64_t from = least; from <= most;) {
		uint64_t end = end_of_piece(from, most);

		buf_put_text(out, between);
		put_piece(out, from, end);
		between = "|";
		from = end + 1;
	}
}
