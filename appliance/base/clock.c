#include "appliance/base/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t clock_ms(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t clock_monotonic_ms(void)
{
	return clock_ms(CLOCK_MONOTONIC);
}

int64_t clock_wall_ms(void)
{
	return clock_ms(CLOCK_REALTIME);
}

int64_t clock_wall_seconds(void)
{
	return clock_wall_ms() / 1000;
}

void clock_iso(char out[static CLOCK_ISO_BYTES], int64_t wall_ms)
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm tm;
	size_t len;

	gmtime_r(&seconds, &tm);
	len = strftime(out, CLOCK_ISO_BYTES, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + len, CLOCK_ISO_BYTES - len, ".%03dZ", (int)(wall_ms % 1000));
}

/* strftime would use the locale's names of days and months. */
void clock_rfc5322(char out[static CLOCK_RFC5322_BYTES], int64_t wall_seconds)
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	time_t seconds = (time_t)wall_seconds;
	struct tm tm;
	long offset;

	localtime_r(&seconds, &tm);
	offset = tm.tm_gmtoff / 60;
	snprintf(out, CLOCK_RFC5322_BYTES, "%.3s, %d %.3s %d %02d:%02d:%02d %c%02ld%02ld", days + 3 * tm.tm_wday, tm.tm_mday,
		 months + 3 * tm.tm_mon, tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec, offset < 0 ? '-' : '+',
		 (offset < 0 ? -offset : offset) / 60 % 100, (offset < 0 ? -offset : offset) % 60);
}
