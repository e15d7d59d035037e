/* Mechanisms and parameters of PKCS#11 2.40 and 3.0 that p11-kit's header does not have. */
#ifndef INKAN_HSM_IMPORT_MECHANISMS_H
#define INKAN_HSM_IMPORT_MECHANISMS_H

#include <p11-kit/pkcs11.h>

#define CKM_AES_KEY_WRAP_KWP_V3 0x210BUL /* RFC 5649 in PKCS#11 3.0 */
#define CKM_AES_KEY_WRAP_PAD_V2 0x210AUL /* RFC 5649 on SoftHSM and others */

#define CKP_PKCS5_PBKD2_HMAC_SHA1_PRF 1UL
#define CKP_PKCS5_PBKD2_HMAC_SHA224_PRF 3UL
#define CKP_PKCS5_PBKD2_HMAC_SHA256_PRF 4UL
#define CKP_PKCS5_PBKD2_HMAC_SHA384_PRF 5UL
#define CKP_PKCS5_PBKD2_HMAC_SHA512_PRF 6UL
#define CKZ_PKCS5_SALT_SPECIFIED 1UL

/* NSS: the public point that goes with an EC private key. */
#define CKA_NSS_PUBLIC_VALUE 0xD5A0DB00UL

struct pbe_params { /* CK_PBE_PARAMS */
	unsigned char *iv;
	unsigned char *password;
	unsigned long password_len;
	unsigned char *salt;
	unsigned long salt_len;
	unsigned long iterations;
};

/*
 * CK_PKCS5_PBKD2_PARAMS up to PKCS#11 2.40, where the length of the password is a pointer by mistake, and
 * CK_PKCS5_PBKD2_PARAMS2 since 3.0, where it is a number.
 */
struct pbkd2_params {
	unsigned long salt_source;
	void *salt;
	unsigned long salt_len;
	unsigned long iterations;
	unsigned long prf;
	void *prf_data;
	unsigned long prf_data_len;
	unsigned char *password;
	union {
		unsigned long *pointer;
		unsigned long number;
	} password_len;
};

#endif
