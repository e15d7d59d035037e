/* Encoded words of a field's value: text without any stays as it is, and what comes out is bounded by what went in. */
#include "appliance/relay/mime/encoded_word.h"
#include "tests/fuzz/fuzz.h"

#define GROWTH 6 /* UTF-8 octets for one of any charset's, or for the base64 of one */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = size == 0 ? NULL : mem_copy(data, size); /* of just this size */
	struct bytes value = bytes_of(copy, size);
	struct buf out = {0}, behind = {0};

	encoded_words_decode(&out, value);
	require(out.len <= GROWTH * size);
	if (size == 0 || memmem(copy, size, "=?", 2) == NULL)
		require(bytes_equal(buf_bytes(&out), value));
	buf_put_text(&behind, "before");
	encoded_words_decode(&behind, value);
	require(behind.len == out.len + 6 && (out.len == 0 || memcmp(behind.data + 6, out.data, out.len) == 0));
	buf_clear(&out);
	buf_clear(&behind);
	free(copy);
	return 0;
}
