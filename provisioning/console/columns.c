#include "provisioning/console/columns.h"

/* Unicode 15 East_Asian_Width W and F, in blocks. */
static const struct range {
	uint32_t first, last;
} wide[] =
    {
	{0x1100, 0x115f},   {0x2e80, 0x303e},	{0x3041, 0x33ff},   {0x3400, 0x4dbf},	{0x4e00, 0x9fff},   {0xa000, 0xa4cf},
	{0xa960, 0xa97f},   {0xac00, 0xd7a3},	{0xf900, 0xfaff},   {0xfe30, 0xfe6f},	{0xff00, 0xff60},   {0xffe0, 0xffe6},
	{0x1b000, 0x1b2fb}, {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd},
},
  narrowest[] = {
      {0x0300, 0x036f}, {0x200b, 0x200f}, {0x3099, 0x309a}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0xfeff, 0xfeff},
};

static bool is_in(const struct range *ranges, size_t count, uint32_t character)
{
	for (size_t i = 0; i < count; i++)
		if (character >= ranges[i].first && character <= ranges[i].last)
			return true;
	return false;
}

/* The octets of the first character; 1 where it is malformed. */
static size_t decode(struct bytes text, uint32_t *character)
{
	uint8_t first = text.data[0];
	size_t len = first < 0xc2 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 1;

	*character = len == 1 ? first : (uint32_t)first & (0x7f >> len);
	for (size_t i = 1; i < len; i++) {
		if (i >= text.len || (text.data[i] & 0xc0) != 0x80) {
			*character = first;
			return 1;
		}
		*character = *character << 6 | (text.data[i] & 0x3f);
	}
	return len;
}

static size_t columns_of(uint32_t character)
{
	if (is_in(narrowest, sizeof narrowest / sizeof *narrowest, character))
		return 0;
	return is_in(wide, sizeof wide / sizeof *wide, character) ? 2 : 1;
}

size_t text_fit(struct bytes text, size_t columns)
{
	size_t used = 0, at = 0;

	while (at < text.len) {
		uint32_t character;
		size_t len = decode(bytes_slice(text, at, text.len), &character);

		used += columns_of(character);
		if (used > columns)
			return at;
		at += len;
	}
	return at;
}

size_t text_columns(struct bytes text)
{
	size_t columns = 0;

	for (size_t at = 0; at < text.len;) {
		uint32_t character;

		at += decode(bytes_slice(text, at, text.len), &character);
		columns += columns_of(character);
	}
	return columns;
}
