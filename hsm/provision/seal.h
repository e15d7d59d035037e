/*
 * The seal: short secrets (passwords of PKCS#12 files) encrypted under a token key that nobody can read. AES-256-GCM
 * where the token does it, else AES-256-CBC and HMAC-SHA256 of a second key (encrypt-then-MAC), found by trying when
 * the keys are made. `context` is authenticated with the secret and must be the same to open it. A sealed secret is
 *
 *     u8 version (1) | u8 mechanism | bytes IV | bytes ciphertext | bytes MAC (empty with GCM)      (msg.h)
 *
 * The session is logged in. Errors: ERR_INTEGRITY sealed or opened with something else; ERR_NOT_FOUND no seal key.
 */
#ifndef INKAN_HSM_PROVISION_SEAL_H
#define INKAN_HSM_PROVISION_SEAL_H

#include "appliance/base/secret.h"
#include "hsm/token/module.h"

#define SEAL_KEY_LABEL "inkan-seal"
#define SEAL_MAC_KEY_LABEL "inkan-seal-mac"

enum seal_mechanism { SEAL_NONE = 0, SEAL_GCM = 1, SEAL_CBC_HMAC = 2 };

struct seal {
	enum seal_mechanism mechanism; /* SEAL_NONE: there is no key */
	unsigned long key, mac_key;
};

const char *seal_name(enum seal_mechanism mechanism); /* "AES-256-GCM", …; "" for none */

/* What is on the token. */
bool seal_find(const struct session *session, struct seal *seal, struct err *err) MUST_USE;

/*
 * The same, or new keys where there are none. Keys that do not work are gone again. ERR_INVALID: this token makes no such
 * keys, or they cannot seal; it can be worked with all the same, without keeping secrets.
 */
bool seal_prepare(const struct session *session, struct seal *seal, struct err *err) MUST_USE;

/* Appends the sealed secret to *out. */
bool seal_close(const struct session *session, const struct seal *seal, struct bytes context, struct bytes secret,
		struct buf *out, struct err *err) MUST_USE;

/* The secret, or NULL with *err. */
struct secret *seal_open(const struct session *session, const struct seal *seal, struct bytes context, struct bytes sealed,
			 struct err *err);

#endif
