/* PBMAC1 (RFC 8018 §7.1, RFC 9579): the MAC of newer PKCS#12 files. For pkcs12_mac.c alone. */
#ifndef INKAN_HSM_IMPORT_PKCS12_PBMAC1_H
#define INKAN_HSM_IMPORT_PKCS12_PBMAC1_H

#include <openssl/pkcs12.h>

#include "appliance/base/bytes.h"

struct pbmac1;

/* Of a file whose MAC algorithm is PBMAC1. NULL: ERR_INVALID malformed or of unknown kinds, ERR_LIMIT too many iterations. */
struct pbmac1 *pbmac1_read(const PKCS12 *file, struct err *err);
uint64_t pbmac1_iterations(const struct pbmac1 *pbmac1);
void pbmac1_free(struct pbmac1 *pbmac1); /* NULL is fine */

/* Whether the password, as UTF-8, fits. */
bool pbmac1_fits(const struct pbmac1 *pbmac1, struct bytes password);

#endif
