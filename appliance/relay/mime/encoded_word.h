/*
 * Encoded words (RFC 2047) in an unfolded field value, for matching and logs; never for choosing a certificate (smime.md §8).
 * Pure but for iconv; any thread.
 */
#ifndef INKAN_RELAY_MIME_ENCODED_WORD_H
#define INKAN_RELAY_MIME_ENCODED_WORD_H

#include "appliance/base/bytes.h"

/*
 * Appends the value as UTF-8. Blanks between two encoded words go (§6.2); neighbours in one charset are converted together, since
 * senders split characters. A word that is malformed, or of a charset that is not known, stays as it is.
 */
void encoded_words_decode(struct buf *out, struct bytes value);

#endif
