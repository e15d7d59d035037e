/*
 * The passwords that the relay logs in to next hops with, in clear: inkand has them opened by the token and hands them over.
 * Found by their sealed form, which is what the configuration holds. Loop's thread.
 */
#ifndef INKAN_RELAY_DELIVERY_PASSWORDS_H
#define INKAN_RELAY_DELIVERY_PASSWORDS_H

#include "appliance/base/secret.h"

/* Zero-initialise. */
struct passwords {
	struct password *items;
	size_t count;
};

/* Takes the secret; an earlier one of the same sealed form is wiped. */
void passwords_put(struct passwords *passwords, const char *sealed, struct secret *secret);
const struct secret *passwords_find(const struct passwords *passwords, const char *sealed); /* NULL: it is locked */
void passwords_clear(struct passwords *passwords); /* wipes */

#endif
