/*
 * Mail exchangers (RFC 5321 §5): which hosts take mail for a domain, in order, by DNS (c-ares; nothing blocks). CNAMEs are
 * followed by the name server, a domain without MX is its own exchanger if it has an address, a null MX (RFC 7505) takes nothing.
 * Of a list that names ourselves only the better ones count; if we are the best, it is a loop. Loop's thread.
 */
#ifndef INKAN_RELAY_DELIVERY_MX_H
#define INKAN_RELAY_DELIVERY_MX_H

#include <stddef.h>
#include <stdint.h>

#include "appliance/base/err.h"

#define MX_HOSTS_MAX 32 /* of one domain; the worse ones are left out */
#define MX_NAME_MAX_BYTES 254 /* with the NUL */

struct dns;
struct mx_lookup;

struct mx_host {
	char name[MX_NAME_MAX_BYTES]; /* a host name, or an address (of a domain literal) */
	uint16_t preference; /* lower first */
};

enum mx_outcome {
	MX_FOUND,
	MX_TEMPORARY, /* no name server answered: later */
	MX_REFUSED /* for good */
};

struct mx_answer {
	enum mx_outcome outcome;
	struct mx_host hosts[MX_HOSTS_MAX]; /* MX_FOUND: by preference, equal ones in random order */
	size_t count;
	uint32_t ttl_seconds; /* how long it holds: its records' TTL, from 30 s to an hour */
	const char *status; /* else: RFC 3463, "5.1.2" */
	char reason[ERR_TEXT_MAX];
};

/* Called once, from the loop; `answer` is valid until return. */
typedef void mx_cb(const struct mx_answer *answer, void *arg);

/* `own_name` is ours, as other hosts know us. */
struct mx_lookup *mx_begin(struct dns *dns, const char *domain, const char *own_name, mx_cb *cb, void *arg);
void mx_cancel(struct mx_lookup *lookup); /* no callback follows; NULL is fine */

/*
 * Reads the answer to an MX query (RFC 1035): MX_FOUND with the hosts, or MX_REFUSED for a null MX. False: no MX record in it, or
 * malformed. Pure.
 */
bool mx_parse(const unsigned char *octets, int len, struct mx_answer *answer);

/* Takes ourselves and what is no better out of the sorted list; MX_REFUSED (5.4.6) when nothing is left of it. Pure. */
void mx_drop_self(struct mx_answer *answer, const char *own_name);

#endif
