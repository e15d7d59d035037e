/* What the commands on certificates share. */
#ifndef INKAN_CONSOLE_CERTIFICATE_H
#define INKAN_CONSOLE_CERTIFICATE_H

#include "hsm/protocol/provision.h"
#include "provisioning/console/console.h"

/* Authenticated with a sealed password, so that it opens for no other address. */
#define SEAL_CONTEXT "inkan certificate password "

/* `certificate … tls NAME` and `certificate … --tls NAME` are of the kind TLS. */
enum certificate_kind certificate_kind_of(const struct parsed *parsed);

/* What is left to do for a registered certificate, in one line. */
void registered_say(struct console *console, enum certificate_kind kind, const char *name, bool renewal);

/* The result of an import as the store takes it: views of `result` and `console`, but for what imported_clear releases. */
struct imported {
	struct stored_certificate certificate;
	char *attributes;
};

void imported_fill(struct imported *imported, const struct console *console, enum certificate_kind kind, const char *address,
		   const struct import_result *result);
void imported_clear(struct imported *imported);

/* The certificate, how its key came, and the warnings; for the audit row, too, how the key came and what is read back of it. */
void imported_show(struct console *console, const char *address, const struct import_result *result);
void imported_audit(struct console *console, const struct import_result *result);

char *attributes_text(const struct key_attributes *attributes); /* free() it */

#endif
