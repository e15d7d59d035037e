/* Time. Monotonic milliseconds for deadlines, wall-clock seconds for what people and other hosts read. Any thread. */
#ifndef INKAN_BASE_CLOCK_H
#define INKAN_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

int64_t clock_monotonic_ms(void);
int64_t clock_wall_ms(void); /* since 1970-01-01 UTC */
int64_t clock_wall_seconds(void); /* since 1970-01-01 UTC */

/* "2026-11-24T13:06:09.123Z" */
#define CLOCK_ISO_BYTES 32
void clock_iso(char out[static CLOCK_ISO_BYTES], int64_t wall_ms);

/* RFC 5322 §3.3 date-time in local time: "Tue, 24 Nov 2026 13:06:09 +0900" */
#define CLOCK_RFC5322_BYTES 48
void clock_rfc5322(char out[static CLOCK_RFC5322_BYTES], int64_t wall_seconds);

#endif
