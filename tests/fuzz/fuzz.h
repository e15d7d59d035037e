/* What the fuzzers share: a property that does not hold ends the program, so that libFuzzer and the replay see it. */
#ifndef INKAN_TESTS_FUZZ_H
#define INKAN_TESTS_FUZZ_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/base/msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void require(bool condition)
{
	if (!condition)
		abort();
}

/* A decoder and its encoder: what is decoded, encoded and decoded again must be encoded the same. */
#define FUZZ_CODEC(function, type, decode, encode, clear)                                                                        \
	static void function(struct bytes in)                                                                                    \
	{                                                                                                                        \
		struct msg msg = msg_of(in);                                                                                     \
		struct buf once = {0}, twice = {0};                                                                              \
		type value = {0}, again = {0};                                                                                   \
		struct err err = {0};                                                                                            \
                                                                                                                                 \
		if (!decode(&msg, &value, &err)) {                                                                               \
			require(err.text[0] != '\0');                                                                            \
			return;                                                                                                  \
		}                                                                                                                \
		encode(&once, &value);                                                                                           \
		msg = msg_of(buf_bytes(&once));                                                                                  \
		require(decode(&msg, &again, &err));                                                                             \
		encode(&twice, &again);                                                                                          \
		require(bytes_equal(buf_bytes(&once), buf_bytes(&twice)));                                                       \
		clear(&value);                                                                                                   \
		clear(&again);                                                                                                   \
		buf_clear(&once);                                                                                                \
		buf_clear(&twice);                                                                                               \
	}

#endif
