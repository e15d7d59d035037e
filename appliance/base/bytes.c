#include "appliance/base/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static void out_of_memory(void)
{
	static const char text[] = "out of memory\n";

	if (write(STDERR_FILENO, text, sizeof text - 1) < 0)
		abort();
	abort();
}

void *mem_new(size_t size)
{
	return mem_new_array(1, size);
}

void *mem_new_array(size_t count, size_t size)
{
	void *memory = calloc(count > 0 ? count : 1, size > 0 ? size : 1);

	if (memory == NULL)
		out_of_memory();
	return memory;
}

void *mem_resize(void *memory, size_t count, size_t size)
{
	void *resized = reallocarray(memory, count > 0 ? count : 1, size > 0 ? size : 1);

	if (resized == NULL)
		out_of_memory();
	return resized;
}

void *mem_copy(const void *from, size_t size)
{
	void *copy = mem_new(size);

	if (size > 0)
		memcpy(copy, from, size);
	return copy;
}

char *mem_string(const char *text)
{
	return mem_string_n(text, strlen(text));
}

char *mem_string_n(const char *text, size_t len)
{
	char *copy = mem_new(len + 1);

	if (len > 0)
		memcpy(copy, text, len);
	return copy;
}

char *mem_format(const char *format, ...)
{
	char *text = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		out_of_memory();
	va_end(args);
	return text;
}

void mem_wipe(void *memory, size_t size)
{
	if (memory != NULL)
		explicit_bzero(memory, size);
}

struct bytes bytes_of(const void *data, size_t len)
{
	return (struct bytes){.data = data, .len = len};
}

struct bytes bytes_text(const char *text)
{
	return bytes_of(text, text == NULL ? 0 : strlen(text));
}

bool bytes_equal(struct bytes a, struct bytes b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

bool bytes_equal_text(struct bytes a, const char *text)
{
	return bytes_equal(a, bytes_text(text));
}

bool bytes_equal_nocase(struct bytes a, const char *text)
{
	return a.len == strlen(text) && bytes_starts_nocase(a, text);
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

bool bytes_starts_nocase(struct bytes a, const char *prefix)
{
	size_t len = strlen(prefix);

	if (a.len < len)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (lower(a.data[i]) != lower((uint8_t)prefix[i]))
			return false;
	}
	return true;
}

struct bytes bytes_slice(struct bytes a, size_t from, size_t to)
{
	if (to > a.len)
		to = a.len;
	if (from >= to)
		return (struct bytes){0};
	return bytes_of(a.data + from, to - from);
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct bytes bytes_trim(struct bytes a)
{
	size_t from = 0, to = a.len;

	while (from < to && is_blank(a.data[from]))
		from++;
	while (to > from && is_blank(a.data[to - 1]))
		to--;
	return bytes_slice(a, from, to);
}

char *bytes_string(struct bytes a)
{
	return mem_string_n((const char *)a.data, a.len);
}

void buf_clear(struct buf *buf)
{
	if (buf == NULL)
		return;
	free(buf->data);
	*buf = (struct buf){0};
}

void buf_wipe_clear(struct buf *buf)
{
	if (buf == NULL)
		return;
	mem_wipe(buf->data, buf->capacity);
	buf_clear(buf);
}

void buf_reset(struct buf *buf)
{
	buf->len = 0;
}

/* Growing copies by hand and wipes the old block, so that no secret stays behind in freed memory. */
void buf_reserve(struct buf *buf, size_t more)
{
	size_t needed, capacity;
	uint8_t *data;

	if (__builtin_add_overflow(buf->len, more, &needed))
		out_of_memory();
	if (needed <= buf->capacity)
		return;
	capacity = buf->capacity < 64 ? 64 : buf->capacity + buf->capacity / 2;
	if (capacity < needed)
		capacity = needed;
	data = malloc(capacity);
	if (data == NULL)
		out_of_memory();
	if (buf->len > 0) {
		memcpy(data, buf->data, buf->len);
		mem_wipe(buf->data, buf->len);
	}
	free(buf->data);
	buf->data = data;
	buf->capacity = capacity;
}

void buf_put(struct buf *buf, const void *data, size_t len)
{
	if (len == 0)
		return;
	buf_reserve(buf, len);
	memcpy(buf->data + buf->len, data, len);
	buf->len += len;
}

void buf_put_bytes(struct buf *buf, struct bytes bytes)
{
	buf_put(buf, bytes.data, bytes.len);
}

void buf_put_text(struct buf *buf, const char *text)
{
	buf_put(buf, text, strlen(text));
}

void buf_put_byte(struct buf *buf, uint8_t octet)
{
	buf_put(buf, &octet, 1);
}

void buf_vprintf(struct buf *buf, const char *format, va_list args)
{
	va_list again;
	int len;

	va_copy(again, args);
	len = vsnprintf(NULL, 0, format, again);
	va_end(again);
	if (len < 0)
		out_of_memory();
	buf_reserve(buf, (size_t)len + 1);
	vsnprintf((char *)buf->data + buf->len, (size_t)len + 1, format, args);
	buf->len += (size_t)len;
}

void buf_printf(struct buf *buf, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	buf_vprintf(buf, format, args);
	va_end(args);
}

void buf_consume(struct buf *buf, size_t len)
{
	if (len >= buf->len) {
		buf->len = 0;
		return;
	}
	memmove(buf->data, buf->data + len, buf->len - len);
	buf->len -= len;
}

struct bytes buf_bytes(const struct buf *buf)
{
	return bytes_of(buf->data, buf->len);
}

const char *buf_text(struct buf *buf)
{
	buf_reserve(buf, 1);
	buf->data[buf->len] = '\0';
	return (const char *)buf->data;
}
