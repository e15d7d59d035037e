/* What the token says of a private key that has just come to it, or was just born there. */
#ifndef INKAN_HSM_IMPORT_PROTECTION_H
#define INKAN_HSM_IMPORT_PROTECTION_H

#include "hsm/protocol/provision.h"
#include "hsm/token/module.h"

/*
 * Reads the key's attributes back. A token that has ignored SENSITIVE and EXTRACTABLE is told again (C_SetAttributeValue);
 * ERR_UNAVAILABLE when the key stays readable.
 */
bool key_protect(const struct session *session, unsigned long key, struct key_attributes *attributes, struct err *err) MUST_USE;

#endif
