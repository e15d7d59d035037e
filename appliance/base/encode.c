#include <string.h>

#include "appliance/base/bytes.h"

void hex_encode(char *out, struct bytes in)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < in.len; i++) {
		*out++ = digits[in.data[i] >> 4];
		*out++ = digits[in.data[i] & 15];
	}
	*out = '\0';
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool hex_decode(struct buf *out, const char *text, struct err *err)
{
	size_t len = strlen(text);

	if (len % 2 != 0)
		return err_set(err, ERR_INVALID, "odd number of hexadecimal digits");
	for (size_t i = 0; i < len; i++) {
		if (hex_value(text[i]) < 0)
			return err_set(err, ERR_INVALID, "not a hexadecimal digit at %zu", i + 1);
	}
	for (size_t i = 0; i < len; i += 2)
		buf_put_byte(out, (uint8_t)(hex_value(text[i]) << 4 | hex_value(text[i + 1])));
	return true;
}

static const char base64_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct buf *out, struct bytes in)
{
	buf_reserve(out, (in.len + 2) / 3 * 4);
	for (size_t i = 0; i < in.len; i += 3) {
		size_t have = in.len - i < 3 ? in.len - i : 3;
		uint32_t group = (uint32_t)in.data[i] << 16;
		char quad[4];

		if (have > 1)
			group |= (uint32_t)in.data[i + 1] << 8;
		if (have > 2)
			group |= in.data[i + 2];
		quad[0] = base64_alphabet[group >> 18 & 63];
		quad[1] = base64_alphabet[group >> 12 & 63];
		quad[2] = have > 1 ? base64_alphabet[group >> 6 & 63] : '=';
		quad[3] = have > 2 ? base64_alphabet[group & 63] : '=';
		buf_put(out, quad, sizeof quad);
	}
}

static int base64_value(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

bool base64_decode(struct buf *out, struct bytes in, struct err *err)
{
	size_t start = out->len, padding = 0;
	uint32_t group = 0, count = 0;

	for (size_t i = 0; i < in.len; i++) {
		uint8_t c = in.data[i];
		int value = base64_value(c);

		if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
			continue;
		if (c == '=' && ++padding <= 2)
			continue;
		if (value < 0 || padding > 0) {
			out->len = start;
			return err_set(err, ERR_INVALID, "not base64 at octet %zu", i + 1);
		}
		group = group << 6 | (uint32_t)value;
		if (++count % 4 == 0) {
			const uint8_t triple[3] = {(uint8_t)(group >> 16), (uint8_t)(group >> 8), (uint8_t)group};

			buf_put(out, triple, sizeof triple);
			group = 0;
		}
	}
	if (count % 4 == 1 || (padding > 0 && (count + padding) % 4 != 0)) {
		out->len = start;
		return err_set(err, ERR_INVALID, "base64 ends in the middle of a group");
	}
	if (count % 4 == 2)
		buf_put_byte(out, (uint8_t)(group >> 4));
	if (count % 4 == 3) {
		buf_put_byte(out, (uint8_t)(group >> 10));
		buf_put_byte(out, (uint8_t)(group >> 2));
	}
	return true;
}
