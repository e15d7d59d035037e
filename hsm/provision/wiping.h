/*
 * OpenSSL frees some of the memory that held a decrypted key without wiping it (d2i_ECPrivateKey, for one). In the program
 * that imports keys every octet that OpenSSL frees is overwritten.
 */
#ifndef INKAN_HSM_PROVISION_WIPING_H
#define INKAN_HSM_PROVISION_WIPING_H

/* Before anything of OpenSSL is called; ends the program when it is too late for that. */
void wiping_begin(void);

#endif
