/*
 * Reading a PKCS#12 file (RFC 7292) as CAs and tools make them: DER or BER, MAC checked first, the certificates decrypted,
 * the private key left encrypted as it is, so that a token may unwrap it (ladder.h). Pure but for OpenSSL, whose legacy
 * provider is loaded into the process when a file needs RC2. One thread.
 *
 * Errors are one line for the operator: ERR_INVALID what is wrong with the file, ERR_DENIED wrong password, ERR_LIMIT
 * too large, too many certificates or too many iterations.
 */
#ifndef INKAN_HSM_IMPORT_PKCS12_H
#define INKAN_HSM_IMPORT_PKCS12_H

#include <openssl/x509.h>

#include "appliance/base/bytes.h"

#define PKCS12_MAX_BYTES (1u << 20)
#ifndef PKCS12_MAX_ITERATIONS /* the fuzzers have a lower one */
#define PKCS12_MAX_ITERATIONS 10000000 /* of one key derivation */
#endif
#define PKCS12_MAX_ALL_ITERATIONS (4 * PKCS12_MAX_ITERATIONS) /* of the MAC and all parts together */
#define PKCS12_MAX_SCRYPT_COST (1u << 22) /* N * r * p: seconds */
#define PKCS12_MAX_CERTIFICATES 64
#define PKCS12_MAX_SALT_BYTES 256 /* longer ones are left to the host */
#define PKCS12_MAX_NESTING 4 /* SafeContents inside SafeContents */

/* How the key bag is encrypted: what a token can undo itself, or not. */
enum pkcs12_cipher {
	PKCS12_CIPHER_OTHER, /* only the host can decrypt it: RC2, RC4, scrypt, two-key 3DES, … */
	PKCS12_CIPHER_NONE, /* a keyBag: not encrypted by itself */
	PKCS12_CIPHER_AES_CBC,
	PKCS12_CIPHER_DES3_CBC
};

enum pkcs12_kdf { PKCS12_KDF_PBKDF2, PKCS12_KDF_PKCS12_SHA1 }; /* RFC 8018 §5.2; RFC 7292 appendix B with SHA-1 */

enum pkcs12_prf { PKCS12_PRF_SHA1, PKCS12_PRF_SHA224, PKCS12_PRF_SHA256, PKCS12_PRF_SHA384, PKCS12_PRF_SHA512 };

struct pkcs12_scheme {
	enum pkcs12_cipher cipher;
	enum pkcs12_kdf kdf; /* the rest counts for AES_CBC and DES3_CBC alone */
	enum pkcs12_prf prf; /* of PBKDF2 */
	size_t key_bytes; /* 16, 24, 32 */
	uint64_t iterations; /* also of OTHER, as far as known: 0 */
	uint8_t salt[PKCS12_MAX_SALT_BYTES];
	size_t salt_bytes;
	uint8_t iv[16]; /* of PBKDF2 schemes; the PKCS#12 KDF derives its own */
};

struct pkcs12_key {
	struct pkcs12_scheme scheme;
	const X509_ALGOR *algorithm; /* for the host to decrypt with; NULL with CIPHER_NONE */
	struct bytes octets; /* the EncryptedPrivateKeyInfo's ciphertext, or a PrivateKeyInfo with CIPHER_NONE */
};

size_t pkcs12_block_bytes(enum pkcs12_cipher cipher); /* 16, 8; 0 for the others */

/* How many iterations the MAC asks for, before any is run: 0 when that cannot be told. */
uint64_t pkcs12_mac_iterations(struct bytes file);

struct pkcs12; /* owns all that the accessors show */

/*
 * `password` is UTF-8; an empty one is tried in both of the forms that tools write. The MAC is checked before anything
 * else is looked at. NULL with *err: not a PKCS#12 file, wrong password, no private key, several private keys, ….
 */
struct pkcs12 *pkcs12_parse(struct bytes file, struct bytes password, struct err *err);
void pkcs12_free(struct pkcs12 *pkcs12); /* NULL is fine */

const struct pkcs12_key *pkcs12_key(const struct pkcs12 *pkcs12);
STACK_OF(X509) * pkcs12_certificates(const struct pkcs12 *pkcs12); /* in the file's order, without duplicates */

/* Whether the file itself says that this certificate belongs to the key (localKeyId). */
bool pkcs12_is_linked(const struct pkcs12 *pkcs12, int certificate);

/*
 * What only the host can do: the PrivateKeyInfo (DER) in a buffer of OpenSSL's secure heap, *der_len octets; release it
 * with OPENSSL_secure_clear_free. ERR_INVALID when the password does not decrypt the key.
 */
bool pkcs12_decrypt_key(const struct pkcs12 *pkcs12, uint8_t **der, size_t *der_len, struct err *err) MUST_USE;

/*
 * The key that encrypts the key bag (scheme AES_CBC or DES3_CBC), derived on the host: scheme.key_bytes octets to `kek`,
 * the block size's octets to `iv`. The caller wipes both.
 */
#define PKCS12_KEK_MAX_BYTES 32
bool pkcs12_derive(const struct pkcs12 *pkcs12, uint8_t kek[static PKCS12_KEK_MAX_BYTES], uint8_t iv[static 16],
		   struct err *err) MUST_USE;

/*
 * The password for a token that derives the key itself: as PBKDF2 takes it (UTF-8), or as the PKCS#12 KDF does
 * (BMPString with a final zero, RFC 7292 B.1). Valid as long as the struct.
 */
struct bytes pkcs12_password(const struct pkcs12 *pkcs12);

#endif
