/* The Received field that a server puts on top (RFC 5321 §4.4; service.md L3). Pure. */
#ifndef INKAN_RELAY_SIGNING_RECEIVED_H
#define INKAN_RELAY_SIGNING_RECEIVED_H

#include "appliance/relay/policy/config.h"

struct received_facts {
	enum config_received mode;
	const char *client; /* "helo.example ([192.0.2.1])" */
	const char *by; /* our host name */
	const char *protocol; /* RFC 3848: "ESMTP", "ESMTPA", "HTTP" */
	const char *id;
	const char *recipient; /* the only one, or NULL when there are several: a copy must not tell of the others */
	int64_t time; /* wall seconds */
};

/* Appends the whole field with CRLF; nothing in mode none. Abbreviated leaves out the client and the recipient. */
void received_field(struct buf *out, const struct received_facts *facts);

#endif
