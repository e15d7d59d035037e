/* Which certificate of a PKCS#12 file is the private key's, before the key itself can be asked. Pure. */
#ifndef INKAN_HSM_IMPORT_LEAF_H
#define INKAN_HSM_IMPORT_LEAF_H

#include "hsm/import/pkcs12.h"

/*
 * The one that the file links to the key (localKeyId); else one that is no CA's and names the address; of several the one
 * that ends last. A wrong choice is found out by the proof of possession. Never NULL: a view of the file's.
 */
X509 *leaf_choose(const struct pkcs12 *file, const char *address);

#endif
