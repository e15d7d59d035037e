/*
 * CMS SignedData from a digest (RFC 5652, RFC 8551): detached, DER, one signer. signedAttrs are contentType,
 * messageDigest, signingTime when asked for, and signingCertificateV2 (RFC 5035); the certificates are the leaf and its
 * intermediates without a root, in the order that DER gives a SET; the signer is named by issuerAndSerialNumber. No
 * sMIMECapabilities, no CRLs.
 * Whoever holds the key signs signedAttrs through a callback: this folder knows no token.
 * Any thread; one identity may be used by many threads at once.
 */
#ifndef INKAN_HSM_CMS_CMS_H
#define INKAN_HSM_CMS_CMS_H

#include <openssl/evp.h>

#include "appliance/base/bytes.h"
#include "hsm/protocol/sign.h"

/* A certificate with its chain, parsed once. */
struct cms_identity;

/*
 * `chain` is DER, leaf first; a repeated certificate and a self-signed root are left out. ERR_INVALID: malformed, or a key
 * that is none of RSA 2048 to 4096 (rsaEncryption), P-256 and P-384.
 */
struct cms_identity *cms_identity_new(const struct bytes *chain, size_t n_chain, struct err *err);
void cms_identity_free(struct cms_identity *identity); /* NULL is fine */
EVP_PKEY *cms_identity_key(const struct cms_identity *identity); /* the public key of the leaf; stays the identity's */

struct cms_content {
	enum sign_digest algorithm; /* of the content, and of the signature */
	struct bytes digest; /* sign_digest_bytes(algorithm) octets */
	int64_t signing_time; /* seconds since 1970, 0: no such attribute */
	bool pss; /* RSASSA-PSS instead of PKCS #1 v1.5; an EC key cannot */
};

/* Appends the signature of `text` by its digest: RSA octets, or DER ECDSA-Sig-Value. Its *err is handed through. */
typedef bool cms_signature(void *arg, enum sign_digest algorithm, bool pss, struct bytes text, struct buf *signature,
			   struct err *err);

/*
 * Appends the DER of the ContentInfo, after it has been parsed again and verified with the certificate. ERR_INTEGRITY when
 * that fails: nothing is appended, and what the callback made must not leave the process. ERR_INVALID: bad content.
 */
bool cms_sign(const struct cms_identity *identity, const struct cms_content *content, cms_signature *sign, void *arg,
	      struct buf *der, struct err *err) MUST_USE;

/*
 * Is it a SignedData of this content (whatever its signingTime), signed by this identity as the profile above says, and nothing
 * more? ERR_INTEGRITY when not. Reads the octets afresh with a strict reader of its own.
 */
bool cms_verify(const struct cms_identity *identity, const struct cms_content *content, struct bytes octets,
		struct err *err) MUST_USE;

#endif
