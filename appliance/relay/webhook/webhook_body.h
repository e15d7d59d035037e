/*
 * What a webhook is sent (../shared/reference/api.md §7): a form of api_key, server_composition, event_type and event, the last
 * one JSON. Pure.
 */
#ifndef INKAN_RELAY_WEBHOOK_WEBHOOK_BODY_H
#define INKAN_RELAY_WEBHOOK_WEBHOOK_BODY_H

#include "appliance/relay/api/api_event_query.h"

/*
 * Appends the form of those of `rows` that are behind event `after` and of the kind (deliveries: all; bounces: failed ones); how
 * many these are; 0: nothing is appended. `api_key` NULL: it is left out.
 */
size_t webhook_body_write(struct buf *out, const char *api_key, const char *server, enum api_event_kind kind,
			  const struct event_row *rows, size_t count, uint64_t after);

/* "v1=" and the HMAC-SHA-256, in hexadecimal digits, of the timestamp's digits, a full stop and the body. */
#define WEBHOOK_SIGNATURE_BYTES 68
void webhook_sign(char out[static WEBHOOK_SIGNATURE_BYTES], struct bytes secret, int64_t timestamp, struct bytes body);

#endif
