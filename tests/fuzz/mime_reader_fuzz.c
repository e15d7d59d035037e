/* Any octets to the reader of the self-check: it ends, verifies nothing that nobody signed, and says the same at every cut. */
#include "appliance/relay/mime/presigned.h"
#include "appliance/relay/mime/signed_reader.h"
#include "tests/fuzz/fuzz.h"

static bool read(struct bytes message, size_t step, struct err *err)
{
	struct signed_reader *reader = signed_reader_new();
	bool fine;

	for (size_t at = 0; at < message.len; at += step) {
		struct bytes part = bytes_slice(message, at, at + step);
		uint8_t *copy = mem_copy(part.data, part.len);

		signed_reader_feed(reader, bytes_of(copy, part.len));
		free(copy);
	}
	fine = signed_reader_verify(reader, NULL, false, err);
	signed_reader_free(reader);
	return fine;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err whole = {0}, pieces = {0};

	require(!read(bytes_of(data, size), size + 1, &whole));
	require(!read(bytes_of(data, size), 1 + size % 7, &pieces));
	require(whole.code == ERR_INTEGRITY && pieces.code == whole.code && strcmp(whole.text, pieces.text) == 0);
	return 0;
}
