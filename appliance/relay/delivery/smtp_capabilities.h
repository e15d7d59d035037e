/* What a server offers in its EHLO reply (RFC 5321 §4.1.1.1), as far as this client uses it. Pure. */
#ifndef INKAN_RELAY_DELIVERY_SMTP_CAPABILITIES_H
#define INKAN_RELAY_DELIVERY_SMTP_CAPABILITIES_H

#include "appliance/relay/delivery/smtp_reply.h"

struct smtp_capabilities {
	bool pipelining; /* RFC 2920 */
	bool size; /* RFC 1870 */
	uint64_t size_max; /* octets; 0: no limit given */
	bool eight_bit; /* 8BITMIME, RFC 6152 */
	bool smtputf8; /* RFC 6531 */
	bool enhanced_status; /* RFC 2034 */
	bool starttls; /* RFC 3207 */
	bool dsn; /* RFC 3461 */
	bool auth_plain, auth_login; /* RFC 4954 */
};

/* Of a 250 reply to EHLO. Unknown keywords are passed over. */
void smtp_capabilities_parse(const struct smtp_reply *reply, struct smtp_capabilities *capabilities);

#endif
