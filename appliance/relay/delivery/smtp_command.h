/* The envelope commands (RFC 5321 §4.1.1.2, §4.1.1.3) of a delivery, as text. Pure. */
#ifndef INKAN_RELAY_DELIVERY_SMTP_COMMAND_H
#define INKAN_RELAY_DELIVERY_SMTP_COMMAND_H

#include "appliance/relay/delivery/group.h"
#include "appliance/relay/delivery/smtp_capabilities.h"
#include "appliance/relay/queue/queue.h"

/* RFC 5321 §4.5.3.1.3 says 256; longer ones than we accept from clients are no address of ours. */
#define SMTP_PATH_MAX_BYTES 1024

/* May this text stand between < and >: no control octet, no angle bracket outside quotes, not too long. "" is the null sender. */
bool smtp_path_safe(const char *address);

/* Does the text hold an octet >= 0x80 (an address that needs SMTPUTF8)? */
bool smtp_path_needs_utf8(const char *address);

/*
 * MAIL FROM with what the server offers: SIZE= (of what goes out), BODY= (7BIT for the signed rendering, which is 7-bit by
 * construction; 8BITMIME for plain 8-bit mail that is not converted), SMTPUTF8, RET= and ENVID= (RFC 3461).
 */
void smtp_command_mail(struct buf *out, const struct queue_stored *message, enum queue_rendering rendering, uint64_t size,
		       const struct smtp_capabilities *capabilities);

/* RCPT TO with NOTIFY= and ORCPT= (RFC 3461) as they came, where the server takes them. */
void smtp_command_rcpt(struct buf *out, const struct group_recipient *recipient, const struct smtp_capabilities *capabilities);

#endif
