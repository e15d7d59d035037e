/* Objects on the token, by CKA_ID. The session must be logged in to see private ones. */
#ifndef INKAN_HSM_TOKEN_OBJECT_H
#define INKAN_HSM_TOKEN_OBJECT_H

#include "hsm/token/module.h"

#define KEY_ID_BYTES 20 /* CKA_ID of the keys that we make: random octets */

/* CKA_ID and label of the key that signs the audit: of another length than those, so that it can be no certificate's. */
#define AUDIT_KEY_ID "inkan-audit"
bool key_id_is_audit(struct bytes key_id);

/* C_GenerateRandom. */
bool session_random(const struct session *session, uint8_t *out, size_t len, struct err *err) MUST_USE;

/* The private key of that CKA_ID. ERR_NOT_FOUND when the token holds none. */
bool object_find_private_key(const struct session *session, struct bytes key_id, unsigned long *key, struct err *err) MUST_USE;

/* Destroys every object (private key, public key, certificate) of that CKA_ID; *destroyed may be 0. An empty id is ERR_INVALID.
 */
bool objects_destroy(const struct session *session, struct bytes key_id, uint32_t *destroyed, struct err *err) MUST_USE;

/*
 * Destroys what a process left that died while the token made an object: keys with neither CKA_ID nor label nor any number of
 * a key, which nothing can use. One that is being made this moment looks the same, so only those go that are still so
 * OBJECT_SETTLE_MS later. *destroyed may be 0. Sleeps only when there is one.
 */
#define OBJECT_SETTLE_MS 2000
bool objects_destroy_unfinished(const struct session *session, uint32_t *destroyed, struct err *err) MUST_USE;

/* But for the audit key. */
bool objects_count_private_keys(const struct session *session, uint32_t *count, struct err *err) MUST_USE;

#endif
