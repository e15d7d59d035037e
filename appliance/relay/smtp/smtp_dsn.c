#include "appliance/relay/smtp/smtp_dsn.h"

#include <string.h>

#include "appliance/relay/smtp/smtp_address.h"

bool smtp_parse_return(struct bytes value, enum queue_return *ret)
{
	if (bytes_equal_nocase(value, "FULL"))
		*ret = QUEUE_RETURN_FULL;
	else if (bytes_equal_nocase(value, "HDRS"))
		*ret = QUEUE_RETURN_HEADERS;
	else
		return false;
	return true;
}

static uint32_t notify_bit(struct bytes word)
{
	static const struct {
		const char *name;
		uint32_t bit;
	} bits[] = {{"NEVER", QUEUE_NOTIFY_NEVER},
		    {"SUCCESS", QUEUE_NOTIFY_SUCCESS},
		    {"FAILURE", QUEUE_NOTIFY_FAILURE},
		    {"DELAY", QUEUE_NOTIFY_DELAY}};

	for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++) {
		if (bytes_equal_nocase(word, bits[i].name))
			return bits[i].bit;
	}
	return 0;
}

bool smtp_parse_notify(struct bytes value, uint32_t *notify)
{
	uint32_t all = 0;
	bool more = true;

	while (more) {
		const uint8_t *comma = value.len == 0 ? NULL : memchr(value.data, ',', value.len);
		size_t len = comma == NULL ? value.len : (size_t)(comma - value.data);
		uint32_t bit = notify_bit(bytes_slice(value, 0, len));

		if (bit == 0 || (all & bit) != 0)
			return false;
		all |= bit;
		more = comma != NULL;
		value = bytes_slice(value, len + 1, value.len);
	}
	if ((all & QUEUE_NOTIFY_NEVER) != 0 && all != QUEUE_NOTIFY_NEVER)
		return false;
	*notify = all;
	return true;
}

/* Upper case only, RFC 3461 §4. */
static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The octets of one xchar, hexchar or UTF-8 sequence at the front; 0: none of them. */
static size_t xtext_octets(struct bytes text, bool utf8)
{
	int high, low;

	if (text.data[0] >= 0x80)
		return utf8 ? smtp_utf8_length(text.data, text.len) : 0;
	if (text.data[0] != '+')
		return text.data[0] > ' ' && text.data[0] < 0x7f && text.data[0] != '=' ? 1 : 0;
	if (text.len < 3)
		return 0;
	high = hex_digit(text.data[1]);
	low = hex_digit(text.data[2]);
	return high >= 2 && high <= 7 && low >= 0 && !(high == 7 && low == 15) ? 3 : 0;
}

static bool is_xtext(struct bytes text, bool utf8)
{
	while (text.len > 0) {
		size_t len = xtext_octets(text, utf8);

		if (len == 0)
			return false;
		text = bytes_slice(text, len, text.len);
	}
	return true;
}

bool smtp_is_envelope_id(struct bytes value)
{
	return value.len > 0 && value.len <= SMTP_ENVID_MAX_BYTES && is_xtext(value, false);
}

/* addr-type: an atom (RFC 3461 §4.2) */
static bool is_type(struct bytes type)
{
	for (size_t i = 0; i < type.len; i++) {
		uint8_t c = type.data[i];

		if (!((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '-' || c == '_'))
			return false;
	}
	return type.len > 0;
}

bool smtp_is_original_recipient(struct bytes value, bool utf8)
{
	const uint8_t *semicolon = value.len == 0 ? NULL : memchr(value.data, ';', value.len);
	struct bytes type, address;

	if (semicolon == NULL || value.len > SMTP_ORCPT_MAX_BYTES)
		return false;
	type = bytes_slice(value, 0, (size_t)(semicolon - value.data));
	address = bytes_slice(value, type.len + 1, value.len);
	return is_type(type) && address.len > 0 && is_xtext(address, utf8 && bytes_equal_nocase(type, "utf-8"));
}
