/*
 * Certificates parsed for verification, kept from message to message: parsing one costs more than verifying with it.
 * Loop's thread; an identity that was taken may be used by other threads until it is given back.
 */
#ifndef INKAN_RELAY_SIGNING_IDENTITIES_H
#define INKAN_RELAY_SIGNING_IDENTITIES_H

#include "hsm/cms/cms.h"
#include "provisioning/store/snapshot.h"

#define IDENTITIES_KEPT_MAX 256 /* that nobody uses */

struct identities;
struct identity;

struct identities *identities_new(void);
void identities_free(struct identities *identities); /* every one has been given back; NULL is fine */

/* The certificate with its chain; NULL when it cannot be parsed. A certificate's id names its octets for ever. */
struct identity *identities_take(struct identities *identities, const struct certificate *certificate, struct err *err);
void identity_give_back(struct identity *identity); /* NULL is fine */

const struct cms_identity *identity_cms(const struct identity *identity);

#endif
