/*
 * The certificates that a worker signs with, and their keys on the token. A key is loaded once: at the start, in the
 * background, or by the first signature that needs it. The list belongs to the main thread; an entry that a job holds
 * lives until it is released, so that a commit takes nothing away from a running signature.
 */
#ifndef INKAN_HSM_SIGN_KEYRING_H
#define INKAN_HSM_SIGN_KEYRING_H

#include "hsm/cms/cms.h"
#include "hsm/protocol/worker.h"
#include "hsm/token/token.h"

struct keyring;
struct keyring_entry;

struct keyring *keyring_new(struct token *token);

/* Replaces the list. What is the same as before keeps its key; a key that was missing will be looked for again. */
void keyring_replace(struct keyring *keyring, const struct worker_certificates *certificates);

/* NULL: no such certificate. Each found entry is released once. */
struct keyring_entry *keyring_find(struct keyring *keyring, uint64_t certificate);
void keyring_release(struct keyring_entry *entry); /* any thread; NULL is fine */

/* An entry whose key has not been looked for yet, to be released; NULL when there is none. */
struct keyring_entry *keyring_find_unloaded(struct keyring *keyring);

/* A loaded entry, to be released: another one each time, in turn; NULL when there is none. */
struct keyring_entry *keyring_next_loaded(struct keyring *keyring);

/* Any thread. Looks for the key unless that has been done. False when there is none, with the fault that says why. */
bool keyring_load(struct keyring_entry *entry, enum token_fault *fault, struct err *err) MUST_USE;

/* Any thread. Loads the key if need be, signs, appends the verified CMS. fault is TOKEN_FAULT_NONE for faults of the content. */
bool keyring_sign(struct keyring_entry *entry, const struct cms_content *content, struct buf *der, enum token_fault *fault,
		  struct err *err) MUST_USE;

/*
 * The same for a TLS handshake: appends the signature, verified with the certificate. A certificate does one of the two, and a
 * text that no TLS server signs (tls_text.h) is refused: TOKEN_FAULT_NONE with ERR_INVALID.
 */
bool keyring_sign_tls(struct keyring_entry *entry, const struct sign_request *request, struct buf *signature,
		      enum token_fault *fault, struct err *err) MUST_USE;

/* A signature of nothing in particular, of the kind that the certificate is for. */
bool keyring_try(struct keyring_entry *entry, const uint8_t random[static 32], enum token_fault *fault, struct err *err) MUST_USE;

struct keyring_count {
	unsigned loaded, missing, unloaded;
};
struct keyring_count keyring_count(struct keyring *keyring);

#endif
