/*
 * Byte views, growable buffers and the memory idiom.
 *
 * Memory: mem_* never return NULL. When memory is exhausted the process writes one line to standard error and
 * aborts; the supervisor restarts it, and nothing that was answered with 250 is lost, since that is on disk.
 * Amounts that a peer chooses are always bounded by a named limit before they get here.
 *
 * Ownership: x_new()/x_free(x) on the heap, x_init()/x_clear() in place; both destructors accept NULL or zeroed
 * objects. A `struct bytes` never owns what it shows. Any thread; no object is shared between threads unless its
 * header says so.
 */
#ifndef INKAN_BASE_BYTES_H
#define INKAN_BASE_BYTES_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "appliance/base/err.h"

void *mem_new(size_t size) __attribute__((malloc, returns_nonnull)); /* zeroed */
void *mem_new_array(size_t count, size_t size) __attribute__((returns_nonnull)); /* zeroed */
void *mem_resize(void *memory, size_t count, size_t size) __attribute__((returns_nonnull));
void *mem_copy(const void *from, size_t size) __attribute__((returns_nonnull));
char *mem_string(const char *text) __attribute__((returns_nonnull)); /* free() it */
char *mem_string_n(const char *text, size_t len) __attribute__((returns_nonnull)); /* adds the NUL */
char *mem_format(const char *format, ...) PRINTF_LIKE(1, 2) __attribute__((returns_nonnull));
void mem_wipe(void *memory, size_t size); /* overwrites; never optimised away */

/* A view of somebody else's octets; {NULL, 0} is empty. */
struct bytes {
	const uint8_t *data;
	size_t len;
};

struct bytes bytes_of(const void *data, size_t len);
struct bytes bytes_text(const char *text); /* without the NUL; NULL is empty */
bool bytes_equal(struct bytes a, struct bytes b);
bool bytes_equal_text(struct bytes a, const char *text);
bool bytes_equal_nocase(struct bytes a, const char *text); /* ASCII case only */
bool bytes_starts_nocase(struct bytes a, const char *prefix); /* ASCII case only */
struct bytes bytes_slice(struct bytes a, size_t from, size_t to); /* clamped to a */
struct bytes bytes_trim(struct bytes a); /* without SP HT CR LF at both ends */
char *bytes_string(struct bytes a) __attribute__((returns_nonnull)); /* NUL-terminated copy; free() it */

/* Growable octets. Zero-initialise or `struct buf b = {0}`; release with buf_clear. */
struct buf {
	uint8_t *data;
	size_t len;
	size_t capacity;
};

void buf_clear(struct buf *buf); /* frees, leaves {0} */
void buf_wipe_clear(struct buf *buf); /* overwrites, frees, leaves {0}: for anything secret */
void buf_reset(struct buf *buf); /* len = 0, keeps the memory */
void buf_reserve(struct buf *buf, size_t more);
void buf_put(struct buf *buf, const void *data, size_t len);
void buf_put_bytes(struct buf *buf, struct bytes bytes);
void buf_put_text(struct buf *buf, const char *text);
void buf_put_byte(struct buf *buf, uint8_t octet);
void buf_printf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);
void buf_vprintf(struct buf *buf, const char *format, va_list args) PRINTF_LIKE(2, 0);
void buf_consume(struct buf *buf, size_t len); /* drops octets from the front */
struct bytes buf_bytes(const struct buf *buf);
const char *buf_text(struct buf *buf); /* NUL-terminated view, valid until the next change */

/* Lower-case hexadecimal. hex_encode writes 2*len+1 bytes with the NUL. */
void hex_encode(char *out, struct bytes in);
bool hex_decode(struct buf *out, const char *text, struct err *err) MUST_USE;

/* RFC 4648 base64, padded, without line ends; the decoder skips SP HT CR LF and refuses anything else. */
void base64_encode(struct buf *out, struct bytes in);
bool base64_decode(struct buf *out, struct bytes in, struct err *err) MUST_USE;

#endif
