/*
 * Who a message says it is from (smime.md §8). Pure; fuzzed.
 */
#ifndef INKAN_RELAY_MIME_ADDRESS_H
#define INKAN_RELAY_MIME_ADDRESS_H

#include "appliance/relay/mime/scan.h"

enum mime_from {
	MIME_FROM_ONE, /* exactly one From field with exactly one plain mailbox: *address is set */
	MIME_FROM_NONE, /* no From field, or an empty one */
	MIME_FROM_SEVERAL_FIELDS, /* refused 550 5.7.1 where S/MIME is enabled */
	MIME_FROM_SEVERAL_MAILBOXES,
	MIME_FROM_GROUP,
	MIME_FROM_UNUSABLE, /* comments or a route inside the address, text behind it, not an address */
	MIME_FROM_CONTROL /* control octets: refused */
};

#define MIME_FROM_FIELD_MAX_BYTES 10240

/* On MIME_FROM_ONE *address gets a new string: local part (unquoted where that is a dot-atom) @ domain as written. */
enum mime_from mime_header_from(const struct mime_header *header, char **address);

const char *mime_from_phrase(enum mime_from from); /* "several From fields", for replies and logs */

/* Seconds since 1970 of the Date field (RFC 5322 §3.3, obsolete zones too); false when absent or malformed. */
bool mime_header_date(const struct mime_header *header, int64_t *seconds);

#endif
