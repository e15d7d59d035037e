#include "appliance/relay/api/form.h"

#include <string.h>

#include "appliance/relay/api/charset.h"

static int hex_value(uint8_t digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	digit |= 0x20;
	return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

static bool percent_decode(struct buf *out, struct bytes in)
{
	for (size_t i = 0; i < in.len; i++) {
		int high, low;

		if (in.data[i] != '%') {
			buf_put_byte(out, in.data[i] == '+' ? ' ' : in.data[i]);
			continue;
		}
		high = i + 2 < in.len ? hex_value(in.data[i + 1]) : -1;
		low = high < 0 ? -1 : hex_value(in.data[i + 2]);
		if (low < 0)
			return false;
		buf_put_byte(out, (uint8_t)(high << 4 | low));
		i += 2;
	}
	return true;
}

bool form_set(json_t *object, struct bytes name, struct bytes value, bool latin1, struct err *err)
{
	struct buf text = {0}, key = {0};
	bool set = false;

	buf_put_bytes(&key, name);
	if (utf8_is_valid(value))
		buf_put_bytes(&text, value);
	else if (latin1)
		latin1_to_utf8(&text, value);
	if (!utf8_is_valid(name) || memchr(key.data, '\0', key.len) != NULL)
		err_set(err, ERR_INVALID, "the name of a field is not UTF-8");
	else if (text.len == 0 && value.len > 0)
		err_set(err, ERR_INVALID, "%.64s is not UTF-8", buf_text(&key));
	else if (json_object_size(object) >= API_FIELDS_MAX)
		err_set(err, ERR_LIMIT, "it has more than %d fields", API_FIELDS_MAX);
	else
		set = json_object_set_new(object, buf_text(&key), json_stringn(buf_text(&text), text.len)) == 0 ||
		      err_set(err, ERR_INVALID, "%.64s is not UTF-8", buf_text(&key));
	buf_clear(&text);
	buf_clear(&key);
	return set;
}

static bool decode_pair(json_t *object, struct bytes pair, struct err *err)
{
	const uint8_t *equals = pair.len == 0 ? NULL : memchr(pair.data, '=', pair.len);
	size_t end = equals == NULL ? pair.len : (size_t)(equals - pair.data);
	struct buf name = {0}, value = {0};
	bool set;

	if (percent_decode(&name, bytes_slice(pair, 0, end)) &&
	    (equals == NULL || percent_decode(&value, bytes_slice(pair, end + 1, pair.len))))
		set = form_set(object, buf_bytes(&name), buf_bytes(&value), false, err);
	else
		set =
		    err_set(err, ERR_INVALID, "%.*s is not percent-encoded", name.len > 64 ? 64 : (int)name.len, buf_text(&name));
	buf_wipe_clear(&name);
	buf_wipe_clear(&value);
	return set;
}

bool form_decode(json_t *object, struct bytes body, struct err *err)
{
	while (body.len > 0) {
		const uint8_t *ampersand = memchr(body.data, '&', body.len);
		size_t end = ampersand == NULL ? body.len : (size_t)(ampersand - body.data);

		if (end > 0 && !decode_pair(object, bytes_slice(body, 0, end), err))
			return false;
		body = bytes_slice(body, end + 1, body.len);
	}
	return true;
}
