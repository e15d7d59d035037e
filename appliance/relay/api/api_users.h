/* How many requests of each user are being served. Loop's thread. */
#ifndef INKAN_RELAY_API_USERS_H
#define INKAN_RELAY_API_USERS_H

#include "appliance/base/bytes.h"

struct api_users;

struct api_users *api_users_new(void);
void api_users_free(struct api_users *users); /* NULL is fine */

/* One more request of this user of this server; false, and nothing counted, when there are `limit` already. */
bool api_users_enter(struct api_users *users, const char *server, const char *user, unsigned limit);
void api_users_leave(struct api_users *users, const char *server, const char *user);

#endif
