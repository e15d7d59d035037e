/* A strict reader of DER (X.690): definite lengths in their shortest form, tags of one octet. The first fault sticks. */
#ifndef INKAN_HSM_CMS_DER_H
#define INKAN_HSM_CMS_DER_H

#include "appliance/base/bytes.h"

enum der_tag {
	DER_INTEGER = 0x02,
	DER_OCTET_STRING = 0x04,
	DER_OID = 0x06,
	DER_UTC_TIME = 0x17,
	DER_GENERALIZED_TIME = 0x18,
	DER_SEQUENCE = 0x30,
	DER_SET = 0x31,
	DER_CONTEXT_0 = 0xa0, /* constructed */
	DER_CONTEXT_4 = 0xa4
};

struct der {
	struct bytes rest;
	bool bad;
};

struct der der_of(struct bytes octets);
struct der der_enter(struct der *der, enum der_tag tag); /* the next value must have that tag: its contents */
struct bytes der_octets(struct der *der, enum der_tag tag); /* the same as octets */
struct bytes der_whole(struct der *der, enum der_tag tag); /* with tag and length */
bool der_is(struct der *der, struct bytes encoding); /* the next octets are exactly these, and are taken */
bool der_end(const struct der *der); /* no fault, and nothing left over */

#endif
