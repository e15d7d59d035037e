#include "appliance/relay/api/charset.h"

#include <errno.h>
#include <iconv.h>
#include <string.h>
#include <strings.h>

static const char *const names[] = {[CHARSET_UTF8] = "UTF-8", [CHARSET_ISO_2022_JP] = "ISO-2022-JP"};

const char *charset_name(enum charset charset)
{
	return names[charset];
}

bool charset_find(const char *name, enum charset *charset)
{
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (strcasecmp(name, names[i]) == 0) {
			*charset = (enum charset)i;
			return true;
		}
	}
	return false;
}

bool text_is_ascii(struct bytes text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] >= 0x80)
			return false;
	}
	return true;
}

size_t utf8_octets(uint8_t first)
{
	return first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/* The code point at the front of valid text. */
static uint32_t code_point(const uint8_t *at)
{
	size_t octets = utf8_octets(*at);
	uint32_t value = octets == 1 ? *at : *at & (0x7fu >> octets);

	for (size_t i = 1; i < octets; i++)
		value = value << 6 | (at[i] & 0x3fu);
	return value;
}

static bool is_character(const uint8_t *at, size_t left)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t octets = utf8_octets(*at);
	uint32_t value;

	if (*at < 0x80)
		return true;
	if (*at < 0xc2 || *at > 0xf4 || octets > left)
		return false;
	for (size_t i = 1; i < octets; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return false;
	}
	value = code_point(at);
	return value >= least[octets] && value <= 0x10ffff && (value < 0xd800 || value > 0xdfff);
}

bool utf8_is_valid(struct bytes text)
{
	for (size_t i = 0; i < text.len; i += utf8_octets(text.data[i])) {
		if (!is_character(text.data + i, text.len - i))
			return false;
	}
	return true;
}

void latin1_to_utf8(struct buf *out, struct bytes in)
{
	buf_reserve(out, in.len * 2);
	for (size_t i = 0; i < in.len; i++) {
		if (in.data[i] < 0x80) {
			buf_put_byte(out, in.data[i]);
		} else {
			buf_put_byte(out, (uint8_t)(0xc0 | in.data[i] >> 6));
			buf_put_byte(out, (uint8_t)(0x80 | (in.data[i] & 0x3f)));
		}
	}
}

/* ---- What JIS writes otherwise ---- */

#define HALF_WIDTH_FIRST 0xff61u
#define HALF_WIDTH_LAST 0xff9fu
#define VOICED_MARK 0xff9eu
#define SEMI_VOICED_MARK 0xff9fu

/* U+FF61 to U+FF9F. */
static const uint16_t full_width[] = {
    0x3002, 0x300c, 0x300d, 0x3001, 0x30fb, 0x30f2, 0x30a1, 0x30a3, 0x30a5, 0x30a7, 0x30a9, 0x30e3, 0x30e5,
    0x30e7, 0x30c3, 0x30fc, 0x30a2, 0x30a4, 0x30a6, 0x30a8, 0x30aa, 0x30ab, 0x30ad, 0x30af, 0x30b1, 0x30b3,
    0x30b5, 0x30b7, 0x30b9, 0x30bb, 0x30bd, 0x30bf, 0x30c1, 0x30c4, 0x30c6, 0x30c8, 0x30ca, 0x30cb, 0x30cc,
    0x30cd, 0x30ce, 0x30cf, 0x30d2, 0x30d5, 0x30d8, 0x30db, 0x30de, 0x30df, 0x30e0, 0x30e1, 0x30e2, 0x30e4,
    0x30e6, 0x30e8, 0x30e9, 0x30ea, 0x30eb, 0x30ec, 0x30ed, 0x30ef, 0x30f3, 0x309b, 0x309c,
};

static const struct {
	uint32_t from, to;
} windows_forms[] = {
    {0xff5e, 0x301c}, {0x2225, 0x2016}, {0xff0d, 0x2212}, {0xffe0, 0xa2}, {0xffe1, 0xa3}, {0xffe2, 0xac}, {0x2014, 0x2015},
};

static void put_code_point(struct buf *out, uint32_t value)
{
	if (value < 0x80) {
		buf_put_byte(out, (uint8_t)value);
		return;
	}
	if (value < 0x800) {
		buf_put_byte(out, (uint8_t)(0xc0 | value >> 6));
	} else if (value < 0x10000) {
		buf_put_byte(out, (uint8_t)(0xe0 | value >> 12));
		buf_put_byte(out, (uint8_t)(0x80 | (value >> 6 & 0x3f)));
	} else {
		buf_put_byte(out, (uint8_t)(0xf0 | value >> 18));
		buf_put_byte(out, (uint8_t)(0x80 | (value >> 12 & 0x3f)));
		buf_put_byte(out, (uint8_t)(0x80 | (value >> 6 & 0x3f)));
	}
	buf_put_byte(out, (uint8_t)(0x80 | (value & 0x3f)));
}

/* KA to TO and HA to HO have a voiced form one further, HA to HO a semi-voiced one two further; U has VU. */
static uint32_t joined(uint32_t kana, uint32_t mark)
{
	bool ha_row = kana >= 0x30cf && kana <= 0x30db && (kana - 0x30cf) % 3 == 0;
	bool ka_to_chi = kana >= 0x30ab && kana <= 0x30c1 && (kana - 0x30ab) % 2 == 0;
	bool tsu_to_to = kana == 0x30c4 || kana == 0x30c6 || kana == 0x30c8;

	if (mark == VOICED_MARK && kana == 0x30a6)
		return 0x30f4;
	if (mark == VOICED_MARK && (ha_row || ka_to_chi || tsu_to_to))
		return kana + 1;
	return mark == SEMI_VOICED_MARK && ha_row ? kana + 2 : 0;
}

static uint32_t jis_form(uint32_t value)
{
	if (value >= HALF_WIDTH_FIRST && value <= HALF_WIDTH_LAST)
		return full_width[value - HALF_WIDTH_FIRST];
	for (size_t i = 0; i < sizeof windows_forms / sizeof *windows_forms; i++) {
		if (windows_forms[i].from == value)
			return windows_forms[i].to;
	}
	return value;
}

void charset_adapt(struct buf *out, enum charset charset, struct bytes utf8)
{
	size_t i = 0;

	if (charset == CHARSET_UTF8) {
		buf_put_bytes(out, utf8);
		return;
	}
	buf_reserve(out, utf8.len);
	while (i < utf8.len) {
		uint32_t value = code_point(utf8.data + i), form = jis_form(value), both = 0;

		i += utf8_octets(utf8.data[i]);
		if (value >= HALF_WIDTH_FIRST && value <= HALF_WIDTH_LAST && i < utf8.len)
			both = joined(form, code_point(utf8.data + i));
		if (both != 0)
			i += utf8_octets(utf8.data[i]);
		put_code_point(out, both != 0 ? both : form);
	}
}

/* ---- Conversion ---- */

static bool lacks(enum charset charset, const char *at, struct err *err)
{
	return err_set(err, ERR_INVALID, "%s has no character U+%04X %.*s", charset_name(charset),
		       (unsigned)code_point((const uint8_t *)at), (int)utf8_octets((uint8_t)*at), at);
}

static bool convert_all(struct buf *out, iconv_t converter, enum charset charset, struct bytes in, struct err *err)
{
	char octets[4096], *from = (char *)(uintptr_t)in.data;
	size_t left = in.len;
	bool flushing = left == 0;

	for (;;) {
		char *to = octets;
		size_t room = sizeof octets;
		size_t done = flushing ? iconv(converter, NULL, NULL, &to, &room) : iconv(converter, &from, &left, &to, &room);

		buf_put(out, octets, sizeof octets - room);
		if (done == (size_t)-1 && errno != E2BIG)
			return lacks(charset, from, err);
		if (done != (size_t)-1 && flushing)
			return true;
		flushing = flushing || left == 0;
	}
}

bool charset_convert(struct buf *out, enum charset charset, struct bytes utf8, struct err *err)
{
	size_t before = out->len;
	iconv_t converter;
	bool converted;

	if (charset == CHARSET_UTF8 || text_is_ascii(utf8)) {
		buf_put_bytes(out, utf8);
		return true;
	}
	converter = iconv_open(charset_name(charset), "UTF-8");
	if (converter == (iconv_t)-1)
		return err_errno(err, "iconv_open %s", charset_name(charset));
	converted = convert_all(out, converter, charset, utf8, err);
	iconv_close(converter);
	if (!converted)
		out->len = before;
	return converted;
}
