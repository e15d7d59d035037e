/* How many sessions each client address has. Loop's thread. */
#ifndef INKAN_RELAY_SMTP_CLIENTS_H
#define INKAN_RELAY_SMTP_CLIENTS_H

#include <netinet/in.h>

#include "appliance/base/bytes.h"

struct smtp_clients;

struct smtp_clients *smtp_clients_new(void);
void smtp_clients_free(struct smtp_clients *clients); /* NULL is fine */

/* One more session of this address; false, and nothing counted, when it has `limit` already. */
bool smtp_clients_enter(struct smtp_clients *clients, const struct in6_addr *address, unsigned limit);
void smtp_clients_leave(struct smtp_clients *clients, const struct in6_addr *address);

size_t smtp_clients_count(const struct smtp_clients *clients); /* addresses that have a session */

#endif
