/* Passwords of accounts and of senders: yescrypt hashes of libxcrypt (crypt(5)). Slow on purpose; any thread. */
#ifndef INKAN_STORE_PASSWORD_H
#define INKAN_STORE_PASSWORD_H

#include "appliance/base/bytes.h"

#define PASSWORD_LEAST_BYTES 8
#define PASSWORD_MOST_BYTES 256

/* A fresh salted hash; free() it. NULL: too short, too long, or holding a NUL (ERR_INVALID). */
char *password_hash(const char *password, struct err *err);

/* False for a wrong password and for a hash that libxcrypt does not know. */
bool password_matches(const char *hash, const char *password);

#endif
