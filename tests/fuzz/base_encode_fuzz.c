/* What an operator pastes: base64 and hexadecimal of any text are refused with a reason, or are the encoding of what comes out.
 */
#include "tests/fuzz/fuzz.h"

static void check_base64(struct bytes text)
{
	struct buf octets = {0}, again = {0}, twice = {0};
	struct err err = {0};

	if (!base64_decode(&octets, text, &err)) {
		require(err.text[0] != '\0');
		buf_clear(&octets);
		return;
	}
	require(octets.len <= text.len);
	base64_encode(&again, buf_bytes(&octets));
	require(base64_decode(&twice, buf_bytes(&again), &err));
	require(bytes_equal(buf_bytes(&octets), buf_bytes(&twice)));
	buf_clear(&octets);
	buf_clear(&again);
	buf_clear(&twice);
}

static void check_hex(const char *text)
{
	struct buf octets = {0};
	struct err err = {0};

	if (hex_decode(&octets, text, &err))
		require(octets.len * 2 == strlen(text));
	else
		require(err.text[0] != '\0');
	buf_clear(&octets);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = bytes_string(bytes_of(data, size));
	uint8_t *copy = size == 0 ? NULL : mem_copy(data, size); /* of just this size */

	check_base64(bytes_of(copy, size));
	check_hex(text);
	free(copy);
	free(text);
	return 0;
}
