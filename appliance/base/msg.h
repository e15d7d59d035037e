/*
 * The typed codec of every message between our processes and of every record we serialise: big-endian integers,
 * length-prefixed octets. Pure; any thread. A reader is fed untrusted octets: every read is checked, the first
 * fault sticks, and msg_end() fails on a fault or on octets left over, so a decoder reads all its fields first and
 * asks once.
 */
#ifndef INKAN_BASE_MSG_H
#define INKAN_BASE_MSG_H

#include "appliance/base/bytes.h"

void msg_put_u8(struct buf *out, uint8_t value);
void msg_put_u16(struct buf *out, uint16_t value);
void msg_put_u32(struct buf *out, uint32_t value);
void msg_put_u64(struct buf *out, uint64_t value);
void msg_put_i64(struct buf *out, int64_t value);
void msg_put_bytes(struct buf *out, struct bytes value); /* u32 length, octets */
void msg_put_text(struct buf *out, const char *value); /* NULL is written as "" */

struct msg {
	struct bytes rest;
	bool bad;
};

struct msg msg_of(struct bytes bytes);
uint8_t msg_get_u8(struct msg *msg); /* each returns 0 or empty once the reader is bad */
uint16_t msg_get_u16(struct msg *msg);
uint32_t msg_get_u32(struct msg *msg);
uint64_t msg_get_u64(struct msg *msg);
int64_t msg_get_i64(struct msg *msg);
struct bytes msg_get_bytes(struct msg *msg); /* a view into the message */
char *msg_get_text(struct msg *msg); /* never NULL; free() it; a NUL inside makes the reader bad */

/* An element count for a list whose elements take at least `least` octets each: bad when that cannot fit. */
uint32_t msg_get_count(struct msg *msg, size_t least);

/* True when every field was there and nothing is left over; else ERR_INVALID "malformed WHAT". */
bool msg_end(const struct msg *msg, const char *what, struct err *err) MUST_USE;

#endif
