/* What the audit key of the token signs, for the HSM program that signs it and for who verifies it. Pure. */
#ifndef INKAN_BASE_CHECKPOINT_TEXT_H
#define INKAN_BASE_CHECKPOINT_TEXT_H

#include "appliance/base/bytes.h"

#define CHECKPOINT_HASH_BYTES 32

/* Appends the text of provisioning/store/audit_chain.h. */
void checkpoint_text(struct buf *out, uint64_t rows, const uint8_t hash[static CHECKPOINT_HASH_BYTES], int64_t time_ms);

#endif
