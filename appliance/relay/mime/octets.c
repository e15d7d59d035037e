#include "appliance/relay/mime/octets.h"

#include <string.h>

#define ONES 0x0101010101010101u
#define HIGHS 0x8080808080808080u
#define BLANKS 0x2020202020202020u

static inline uint64_t load(const uint8_t *data)
{
	uint64_t word;

	memcpy(&word, data, sizeof word);
	return word;
}

/* These three set the high bit of each octet that is zero, equal to c, below 0x20. Exact: no carry leaves an octet. */
static inline uint64_t zeros(uint64_t word)
{
	return ~(((word & ~HIGHS) + ~HIGHS) | word | ~HIGHS);
}

static inline uint64_t equals(uint64_t word, uint8_t c)
{
	return zeros(word ^ (ONES * c));
}

static inline uint64_t controls(uint64_t word)
{
	return ~(((word & ~HIGHS) + 0x60 * ONES) | word) & HIGHS;
}

static inline unsigned marked(uint64_t highs)
{
	return (unsigned)((highs >> 7) * ONES >> 56);
}

static inline void count_word(struct octet_counts *counts, uint64_t word)
{
	uint64_t odd = controls(word) & ~equals(word, '\t');
	uint64_t escapes = (word & HIGHS) | equals(word, '=') | odd;

	if (escapes == 0)
		return;
	counts->escapes += marked(escapes);
	counts->eight_bit |= (word & HIGHS) != 0;
	if (odd == 0)
		return;
	counts->nul |= zeros(word) != 0;
	counts->bare |= equals(word, '\r') != 0;
}

void octets_count(struct octet_counts *counts, const uint8_t *data, size_t len)
{
	uint64_t word = BLANKS;

	for (; len >= sizeof word; data += sizeof word, len -= sizeof word)
		count_word(counts, load(data));
	if (len == 0)
		return;
	memcpy(&word, data, len);
	count_word(counts, word);
}

bool octets_any_8bit(const uint8_t *data, size_t len)
{
	uint64_t all = 0;
	size_t i = 0;

	for (; i + 32 <= len; i += 32)
		all |= load(data + i) | load(data + i + 8) | load(data + i + 16) | load(data + i + 24);
	for (; i < len; i++)
		all |= data[i];
	return (all & HIGHS) != 0;
}
