/*
 * What is remembered of each client address: its sessions, its rate of messages, its failed logins. Times are
 * clock_monotonic_ms. Loop's thread.
 */
#ifndef INKAN_RELAY_SMTP_CLIENTS_H
#define INKAN_RELAY_SMTP_CLIENTS_H

#include <netinet/in.h>

#include "appliance/base/bytes.h"

struct smtp_clients;

struct smtp_clients *smtp_clients_new(void);
void smtp_clients_free(struct smtp_clients *clients); /* NULL is fine */

/* One more session of this address; false, and nothing counted, when it has `limit` already. */
bool smtp_clients_enter(struct smtp_clients *clients, const struct in6_addr *address, unsigned limit, int64_t now_ms);
void smtp_clients_leave(struct smtp_clients *clients, const struct in6_addr *address, int64_t now_ms);

/* The rest is for addresses that have a session. */

/*
 * One more message: false, and nothing counted, if that is over `per_minute` (0: any number) or would have to wait too long.
 * *wait_ms is how long to wait so that `interval_ms` (0: none) pass between two.
 */
bool smtp_clients_message(struct smtp_clients *clients, const struct in6_addr *address, unsigned per_minute, int64_t interval_ms,
			  int64_t now_ms, int64_t *wait_ms);

/* A login: a right one forgets the failures. */
void smtp_clients_login(struct smtp_clients *clients, const struct in6_addr *address, bool right, int64_t now_ms);

/* May it try to log in: not for 1, 2, 4 … seconds after the `failures`th failure in a row and each further one. */
bool smtp_clients_may_log_in(const struct smtp_clients *clients, const struct in6_addr *address, unsigned failures,
			     int64_t now_ms);

size_t smtp_clients_count(const struct smtp_clients *clients); /* addresses that are remembered */

#endif
