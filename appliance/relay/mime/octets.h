/* What the octets of a body are like: all that decides whether and how it must be encoded. */
#ifndef INKAN_RELAY_MIME_OCTETS_H
#define INKAN_RELAY_MIME_OCTETS_H

#include "appliance/base/bytes.h"

struct octet_counts {
	uint64_t escapes; /* octets that quoted-printable would write as =XX, wherever they stand */
	bool eight_bit; /* any octet >= 0x80 */
	bool nul;
	bool bare; /* a CR or LF that is not part of a CRLF */
};

/*
 * Adds the octets of a line, or of a piece of it, without its CRLF (so any CR in it is a bare one). How a line is cut
 * into pieces makes no difference. Eight octets a step: a clean body costs less than its memory traffic.
 */
void octets_count(struct octet_counts *counts, const uint8_t *data, size_t len);

bool octets_any_8bit(const uint8_t *data, size_t len);

#endif
