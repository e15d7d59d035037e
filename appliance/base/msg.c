#include "appliance/base/msg.h"

#include <string.h>

static void put_integer(struct buf *out, uint64_t value, unsigned octets)
{
	uint8_t encoded[8];

	for (unsigned i = 0; i < octets; i++)
		encoded[i] = (uint8_t)(value >> 8 * (octets - 1 - i));
	buf_put(out, encoded, octets);
}

void msg_put_u8(struct buf *out, uint8_t value)
{
	put_integer(out, value, 1);
}

void msg_put_u16(struct buf *out, uint16_t value)
{
	put_integer(out, value, 2);
}

void msg_put_u32(struct buf *out, uint32_t value)
{
	put_integer(out, value, 4);
}

void msg_put_u64(struct buf *out, uint64_t value)
{
	put_integer(out, value, 8);
}

void msg_put_i64(struct buf *out, int64_t value)
{
	put_integer(out, (uint64_t)value, 8);
}

void msg_put_bytes(struct buf *out, struct bytes value)
{
	msg_put_u32(out, (uint32_t)value.len);
	buf_put_bytes(out, value);
}

void msg_put_text(struct buf *out, const char *value)
{
	msg_put_bytes(out, bytes_text(value));
}

struct msg msg_of(struct bytes bytes)
{
	return (struct msg){.rest = bytes};
}

static struct bytes take(struct msg *msg, size_t len)
{
	struct bytes taken;

	if (msg->bad || msg->rest.len < len) {
		msg->bad = true;
		return (struct bytes){0};
	}
	taken = bytes_slice(msg->rest, 0, len);
	msg->rest = bytes_slice(msg->rest, len, msg->rest.len);
	return taken;
}

static uint64_t get_integer(struct msg *msg, unsigned octets)
{
	struct bytes taken = take(msg, octets);
	uint64_t value = 0;

	for (size_t i = 0; i < taken.len; i++)
		value = value << 8 | taken.data[i];
	return value;
}

uint8_t msg_get_u8(struct msg *msg)
{
	return (uint8_t)get_integer(msg, 1);
}

uint16_t msg_get_u16(struct msg *msg)
{
	return (uint16_t)get_integer(msg, 2);
}

uint32_t msg_get_u32(struct msg *msg)
{
	return (uint32_t)get_integer(msg, 4);
}

uint64_t msg_get_u64(struct msg *msg)
{
	return get_integer(msg, 8);
}

int64_t msg_get_i64(struct msg *msg)
{
	return (int64_t)get_integer(msg, 8);
}

struct bytes msg_get_bytes(struct msg *msg)
{
	return take(msg, msg_get_u32(msg));
}

char *msg_get_text(struct msg *msg)
{
	struct bytes text = msg_get_bytes(msg);

	if (text.len > 0 && memchr(text.data, '\0', text.len) != NULL)
		msg->bad = true;
	if (msg->bad)
		text = (struct bytes){0};
	return bytes_string(text);
}

uint32_t msg_get_count(struct msg *msg, size_t least)
{
	uint32_t count = msg_get_u32(msg);

	if (least > 0 && count > msg->rest.len / least)
		msg->bad = true;
	return msg->bad ? 0 : count;
}

bool msg_end(const struct msg *msg, const char *what, struct err *err)
{
	if (msg->bad || msg->rest.len > 0)
		return err_set(err, ERR_INVALID, "malformed %s", what);
	return true;
}
