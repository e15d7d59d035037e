/* The TLS of the API's listeners, by address, as the running configuration has it. Loop's thread. */
#ifndef INKAN_RELAY_API_TLS_H
#define INKAN_RELAY_API_TLS_H

#include "appliance/relay/policy/config.h"
#include "appliance/relay/tls/tls.h"

struct api_tls;

/* Of every `api listen` with TLS; NULL: one of them cannot be, *err says why. */
struct api_tls *api_tls_new(struct tls *tls, const struct config *config, struct err *err);
void api_tls_free(struct api_tls *all); /* connections keep theirs; NULL is fine */

struct tls_context *api_tls_find(const struct api_tls *all, const char *address); /* NULL: none; stays the list's */

#endif
