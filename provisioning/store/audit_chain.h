/*
 * The arithmetic of the audit chain, for the store that writes it and for `inkan audit verify`, which has no store. Pure.
 *
 * The hash of a row is SHA-256 over the hash of the row before (32 zero octets for the first) and the msg.h encoding of: u64
 * number, i64 time, and the texts who, from, what, result.
 *
 * A checkpoint is a signature, by the token's audit key, of the text
 *
 *     Inkan audit checkpoint 1 LF
 *     rows NUMBER LF
 *     hash HEX LF
 *     time MILLISECONDS LF
 *
 * which says that at that time the chain had NUMBER rows, the last with that hash. ECDSA (as ECDSA-Sig-Value) or
 * RSASSA-PKCS1-v1_5, with SHA-256.
 */
#ifndef INKAN_STORE_AUDIT_CHAIN_H
#define INKAN_STORE_AUDIT_CHAIN_H

#include "provisioning/store/store.h"

#define AUDIT_HASH_BYTES 32

struct audit_link {
	uint8_t hash[AUDIT_HASH_BYTES];
};

struct audit_link audit_link_next(const struct audit_link *previous, const struct audit_entry *entry);

struct audit_checkpoint {
	uint64_t number; /* rows that it covers */
	int64_t time_ms;
	struct audit_link link; /* of the last of them */
	struct audit_link key; /* SHA-256 of the key's SubjectPublicKeyInfo */
	struct bytes signature; /* owned */
};

struct audit_checkpoints {
	struct audit_checkpoint *items;
	size_t count;
};

struct audit_key {
	struct audit_link fingerprint;
	struct bytes public_key; /* SubjectPublicKeyInfo, DER; owned */
	int64_t since_ms;
};

struct audit_keys {
	struct audit_key *items;
	size_t count;
};

void audit_checkpoint_clear(struct audit_checkpoint *checkpoint);
void audit_checkpoints_clear(struct audit_checkpoints *checkpoints);
void audit_keys_clear(struct audit_keys *keys);

struct audit_link audit_fingerprint(struct bytes public_key);

/* Is the signature that of the key? A malformed key or signature is none. */
bool audit_checkpoint_verifies(const struct audit_checkpoint *checkpoint, struct bytes public_key);

/* ---- in inkan.db ---- */

/* Number and hash of the last row; 0 and zeroes: there is none. */
bool store_audit_head(struct store *store, uint64_t *number, struct audit_link *link, struct err *err) MUST_USE;

/* What has come since the last checkpoint. */
struct audit_unsigned {
	uint64_t rows;
	uint64_t changes; /* of them: more than logins and what inkand reports */
	int64_t last_ms; /* time of the last checkpoint; 0: there is none */
};
bool store_audit_unsigned(struct store *store, struct audit_unsigned *since, struct err *err) MUST_USE;

/* With its key, of which a new one leaves a row. ERR_INTEGRITY: the signature does not verify; nothing is stored. */
bool store_checkpoint_add(struct store *store, const struct audit_checkpoint *checkpoint, struct bytes public_key,
			  struct err *err) MUST_USE;

bool store_checkpoints(struct store *store, struct audit_checkpoints *checkpoints, struct err *err) MUST_USE; /* in order */
bool store_audit_keys(struct store *store, struct audit_keys *keys, struct err *err) MUST_USE;

#endif
