/*
 * application/x-www-form-urlencoded (WHATWG URL §5.1) as a JSON object of strings. Pure; fuzzed.
 */
#ifndef INKAN_RELAY_API_FORM_H
#define INKAN_RELAY_API_FORM_H

#include <jansson.h>

#include "appliance/base/bytes.h"

#define API_FIELDS_MAX 300 /* of one request; the documented ones are below 40 */

/*
 * Adds NAME=VALUE pairs to `object`; the last of two with the same name counts. ERR_INVALID names what is no UTF-8 or no
 * percent-encoding, ERR_LIMIT: too many fields.
 */
bool form_decode(json_t *object, struct bytes body, struct err *err) MUST_USE;

/* Sets one member to a text that came as octets; ERR_INVALID: neither UTF-8, nor ISO-8859-1 where `latin1` allows that. */
bool form_set(json_t *object, struct bytes name, struct bytes value, bool latin1, struct err *err) MUST_USE;

#endif
