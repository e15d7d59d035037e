/* The MAC of a PKCS#12 file and the forms of its password: for pkcs12.c alone. */
#ifndef INKAN_HSM_IMPORT_PKCS12_MAC_H
#define INKAN_HSM_IMPORT_PKCS12_MAC_H

#include <openssl/pkcs12.h>

#include "appliance/base/secret.h"

/* The password as given, and in the form that fits the MAC. */
struct pkcs12_password {
	struct secret *text; /* UTF-8; what PBKDF2 takes */
	struct secret *kdf; /* owns for_kdf, when that is not `text` */
	struct secret *wide; /* owns bmp */
	struct bytes for_kdf; /* what OpenSSL's PKCS#12 functions take; data NULL and "" differ */
	struct bytes bmp; /* the same as a BMPString with its final zero (RFC 7292 B.1) */
};

/*
 * Tries the password in the forms that tools use (RFC 7292: UTF-8 as BMPString; an empty one also as no password at
 * all; OpenSSL before 1.1: each octet as one character) and fills *password with the one that fits, *iterations with
 * what that cost. ERR_DENIED none does.
 */
bool pkcs12_check_mac(PKCS12 *file, struct bytes text, struct pkcs12_password *password, uint64_t *iterations,
		      struct err *err) MUST_USE;
uint64_t pkcs12_mac_cost(const PKCS12 *file); /* iterations of the MAC; 0 when it has none or too many */
void pkcs12_password_clear(struct pkcs12_password *password);

#endif
