#include "appliance/base/checkpoint_text.h"

void checkpoint_text(struct buf *out, uint64_t rows, const uint8_t hash[static CHECKPOINT_HASH_BYTES], int64_t time_ms)
{
	char hex[2 * CHECKPOINT_HASH_BYTES + 1];

	hex_encode(hex, bytes_of(hash, CHECKPOINT_HASH_BYTES));
	buf_printf(out, "Inkan audit checkpoint 1\nrows %llu\nhash %s\ntime %lld\n", (unsigned long long)rows, hex,
		   (long long)time_ms);
}
