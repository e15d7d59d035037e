/* The parameters of delivery status notifications (RFC 3461 §4, RFC 6533 §3). Pure: octets in, checked values out; fuzzed. */
#ifndef INKAN_RELAY_SMTP_DSN_H
#define INKAN_RELAY_SMTP_DSN_H

#include "appliance/base/bytes.h"
#include "appliance/relay/queue/queue.h"

#define SMTP_ENVID_MAX_BYTES 100 /* RFC 3461 §4.4 */
#define SMTP_ORCPT_MAX_BYTES 500 /* RFC 3461 §4.2 */

bool smtp_parse_return(struct bytes value, enum queue_return *ret); /* FULL or HDRS */

/* NEVER, or a list of SUCCESS, FAILURE and DELAY, each once; `notify` gets enum queue_notify bits. */
bool smtp_parse_notify(struct bytes value, uint32_t *notify);

/*
 * An ENVID: xtext whose decoded octets are printable, so that it cannot write a field of its own into a report. It is kept
 * as it came.
 */
bool smtp_is_envelope_id(struct bytes value);

/* addr-type ";" xtext, the same; octets >= 0x80 only in well-formed UTF-8 behind "utf-8;" and with `utf8` (SMTPUTF8). */
bool smtp_is_original_recipient(struct bytes value, bool utf8);

#endif
