#include <string.h>

#include "appliance/relay/mime/address.h"
#include "appliance/relay/mime/syntax.h"

static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/* RFC 5322 §4.3; all other names, the single letters too, mean an unknown offset and count as +0000. */
static const struct {
	char name[4];
	int hours;
} zones[] = {
    {"EDT", -4}, {"EST", -5}, {"CDT", -5}, {"CST", -6}, {"MDT", -6}, {"MST", -7}, {"PDT", -7}, {"PST", -8},
};

struct date {
	unsigned year, month, day, hour, minute, second; /* month 1..12 */
	int offset_minutes;
};

static void skip(struct bytes *rest, size_t count)
{
	*rest = bytes_slice(*rest, count, rest->len);
}

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(uint8_t c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool take_number(struct bytes *rest, size_t least, size_t most, unsigned *value)
{
	size_t len = 0;

	mime_skip_cfws(rest);
	*value = 0;
	while (len < rest->len && is_digit(rest->data[len]) && len <= most)
		*value = *value * 10 + (unsigned)(rest->data[len++] - '0');
	skip(rest, len);
	return len >= least && len <= most;
}

static struct bytes take_word(struct bytes *rest)
{
	struct bytes word;
	size_t len = 0;

	mime_skip_cfws(rest);
	while (len < rest->len && is_letter(rest->data[len]))
		len++;
	word = bytes_slice(*rest, 0, len);
	skip(rest, len);
	return word;
}

static bool take_char(struct bytes *rest, char c)
{
	mime_skip_cfws(rest);
	if (rest->len == 0 || rest->data[0] != (uint8_t)c)
		return false;
	skip(rest, 1);
	return true;
}

static bool take_month(struct bytes *rest, unsigned *month)
{
	struct bytes word = take_word(rest);

	for (*month = 1; *month <= 12; ++*month) {
		if (bytes_equal_nocase(word, months[*month - 1]))
			return true;
	}
	return false;
}

/* RFC 5322 §4.3: two digits are 1950..2049, three count from 1900. */
static bool take_year(struct bytes *rest, unsigned *year)
{
	size_t before;

	mime_skip_cfws(rest);
	before = rest->len;
	if (!take_number(rest, 2, 4, year))
		return false;
	if (before - rest->len == 2)
		*year += *year < 50 ? 2000 : 1900;
	else if (before - rest->len == 3)
		*year += 1900;
	return *year >= 1900;
}

static bool take_time(struct bytes *rest, struct date *date)
{
	if (!take_number(rest, 1, 2, &date->hour) || !take_char(rest, ':') || !take_number(rest, 1, 2, &date->minute))
		return false;
	if (take_char(rest, ':') && !take_number(rest, 1, 2, &date->second))
		return false;
	return date->hour < 24 && date->minute < 60 && date->second <= 60;
}

static bool take_zone(struct bytes *rest, int *minutes)
{
	bool minus = take_char(rest, '-');
	unsigned digits;
	struct bytes word;

	if (minus || take_char(rest, '+')) {
		if (rest->len == 0 || !is_digit(rest->data[0]) || !take_number(rest, 4, 4, &digits) || digits % 100 >= 60)
			return false;
		*minutes = (int)(digits / 100 * 60 + digits % 100);
		if (minus)
			*minutes = -*minutes;
		return true;
	}
	word = take_word(rest);
	*minutes = 0;
	for (size_t i = 0; i < sizeof zones / sizeof *zones; i++) {
		if (bytes_equal_nocase(word, zones[i].name))
			*minutes = zones[i].hours * 60;
	}
	return word.len > 0;
}

static unsigned days_in(unsigned month, unsigned year)
{
	static const unsigned char days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return month == 2 && leap ? 29 : days[month - 1];
}

static bool parse(struct bytes text, struct date *date)
{
	struct bytes day_name = take_word(&text);

	if (day_name.len > 0)
		take_char(&text, ',');
	if (!take_number(&text, 1, 2, &date->day) || !take_month(&text, &date->month) || !take_year(&text, &date->year) ||
	    !take_time(&text, date) || !take_zone(&text, &date->offset_minutes))
		return false;
	mime_skip_cfws(&text);
	return text.len == 0 && date->day >= 1 && date->day <= days_in(date->month, date->year);
}

/* Days since 1970-01-01 of the proleptic Gregorian calendar, from the count of days before 1 March of year 0. */
static int64_t days_since_epoch(const struct date *date)
{
	int64_t year = (int64_t)date->year - (date->month <= 2), month = (date->month + 9) % 12;

	return year * 365 + year / 4 - year / 100 + year / 400 + (month * 306 + 5) / 10 + date->day - 1 - 719468;
}

bool mime_header_date(const struct mime_header *header, int64_t *seconds)
{
	size_t count;
	const struct mime_field *field = mime_header_find(header, "date", &count);
	struct date date = {0};
	struct buf value = {0};
	bool ok;

	if (count != 1)
		return false;
	mime_field_unfold(&value, field);
	ok = parse(buf_bytes(&value), &date);
	buf_clear(&value);
	if (ok)
		*seconds = days_since_epoch(&date) * 86400 + date.hour * 3600 + date.minute * 60 + date.second -
			   (int64_t)date.offset_minutes * 60;
	return ok;
}
