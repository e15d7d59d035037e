#include "appliance/relay/delivery/mx.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <event2/event.h>
#include <idn2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "appliance/base/bytes.h"
#include "appliance/relay/delivery/dns.h"

#define TTL_MIN_SECONDS 30 /* a domain is asked for no more often */
#define TTL_MAX_SECONDS 3600 /* a move is noticed in an hour */

struct mx_lookup {
	char *domain, *own_name;
	mx_cb *cb; /* NULL: cancelled */
	void *arg;
	struct event *tell;
	struct mx_answer answer;
	bool asking; /* c-ares still owes an answer */
};

/* ---- reading ---- */

static bool has_suffix_dot(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && name[len - 1] == '.';
}

static bool add_host(struct mx_answer *answer, const char *name, uint16_t preference)
{
	struct mx_host *host;

	if (answer->count == MX_HOSTS_MAX || strlen(name) >= MX_NAME_MAX_BYTES || *name == '\0')
		return false;
	host = &answer->hosts[answer->count++];
	snprintf(host->name, sizeof host->name, "%s", name);
	if (has_suffix_dot(host->name))
		host->name[strlen(host->name) - 1] = '\0';
	host->preference = preference;
	return true;
}

static void refuse(struct mx_answer *answer, const char *status, const char *format, const char *name)
{
	answer->outcome = MX_REFUSED;
	answer->status = status;
	answer->count = 0;
	snprintf(answer->reason, sizeof answer->reason, format, name);
}

static void postpone(struct mx_answer *answer, const char *format, const char *why)
{
	answer->outcome = MX_TEMPORARY;
	answer->status = "4.4.3";
	snprintf(answer->reason, sizeof answer->reason, format, why);
}

/* A shuffle first, so that a stable order by preference leaves equals in random order. */
static void sort(struct mx_answer *answer)
{
	for (size_t i = answer->count; i > 1; i--) {
		size_t j = arc4random_uniform((uint32_t)i);
		struct mx_host host = answer->hosts[i - 1];

		answer->hosts[i - 1] = answer->hosts[j];
		answer->hosts[j] = host;
	}
	for (size_t i = 1; i < answer->count; i++) {
		struct mx_host host = answer->hosts[i];
		size_t at = i;

		for (; at > 0 && answer->hosts[at - 1].preference > host.preference; at--)
			answer->hosts[at] = answer->hosts[at - 1];
		answer->hosts[at] = host;
	}
}

static bool is_null(const char *name)
{
	return *name == '\0' || strcmp(name, ".") == 0;
}

static uint32_t get_number(const unsigned char *at, size_t octets)
{
	uint32_t number = 0;

	for (size_t i = 0; i < octets; i++)
		number = number << 8 | at[i];
	return number;
}

/* Where the name at `at` ends in the message; NULL: it does not. */
static const unsigned char *skip_name(const unsigned char *octets, int len, const unsigned char *at)
{
	char *name;
	long encoded;

	if (at >= octets + len || ares_expand_name(at, octets, len, &name, &encoded) != ARES_SUCCESS)
		return NULL;
	ares_free_string(name);
	return at + encoded;
}

/* The shortest TTL of the answer's records, MX and the CNAMEs on the way (RFC 1035 §4.1); c-ares does not tell it of MX. */
static uint32_t ttl_of(const unsigned char *octets, int len)
{
	const unsigned char *at = octets + NS_HFIXEDSZ, *end = octets + len;
	uint32_t ttl = TTL_MAX_SECONDS, answers = get_number(octets + 6, 2);

	for (uint32_t i = get_number(octets + 4, 2); i > 0; i--) {
		at = skip_name(octets, len, at);
		if (at == NULL || end - at < NS_QFIXEDSZ)
			return TTL_MIN_SECONDS;
		at += NS_QFIXEDSZ;
	}
	for (; answers > 0; answers--) {
		at = skip_name(octets, len, at);
		if (at == NULL || end - at < NS_RRFIXEDSZ || end - at - NS_RRFIXEDSZ < (ptrdiff_t)get_number(at + 8, 2))
			return TTL_MIN_SECONDS;
		if (get_number(at + 4, 4) < ttl)
			ttl = get_number(at + 4, 4);
		at += NS_RRFIXEDSZ + get_number(at + 8, 2);
	}
	return ttl < TTL_MIN_SECONDS ? TTL_MIN_SECONDS : ttl;
}

bool mx_parse(const unsigned char *octets, int len, struct mx_answer *answer)
{
	struct ares_mx_reply *list = NULL;
	bool null = false;
	size_t records = 0;

	if (ares_parse_mx_reply(octets, len, &list) != ARES_SUCCESS)
		return false;
	for (const struct ares_mx_reply *item = list; item != NULL; item = item->next, records++) {
		null |= is_null(item->host);
		if (!is_null(item->host))
			(void)add_host(answer, item->host, item->priority);
	}
	ares_free_data(list);
	if (records == 0)
		return false;
	answer->outcome = MX_FOUND;
	answer->ttl_seconds = ttl_of(octets, len);
	sort(answer);
	if (answer->count == 0 && null)
		refuse(answer, "5.1.10", "the domain takes no mail (null MX)%s", "");
	return answer->count > 0 || null;
}

void mx_drop_self(struct mx_answer *answer, const char *own_name)
{
	size_t kept = 0;
	uint16_t ours = 0;
	bool found = false;

	for (size_t i = 0; i < answer->count && !found; i++) {
		found = strcasecmp(answer->hosts[i].name, own_name) == 0;
		ours = answer->hosts[i].preference;
	}
	if (!found || answer->outcome != MX_FOUND)
		return;
	while (kept < answer->count && answer->hosts[kept].preference < ours)
		kept++;
	answer->count = kept;
	if (kept == 0)
		refuse(answer, "5.4.6", "mail loops back to us: %s is the best mail exchanger of its domain", own_name);
}

/* ---- asking ---- */

static void lookup_free(struct mx_lookup *lookup)
{
	event_free(lookup->tell);
	free(lookup->domain);
	free(lookup->own_name);
	free(lookup);
}

static void on_tell(evutil_socket_t fd, short what, void *arg)
{
	struct mx_lookup *lookup = arg;

	(void)fd;
	(void)what;
	lookup->cb(&lookup->answer, lookup->arg);
	lookup_free(lookup);
}

/* RFC 5321 §5.1: no MX at all: the domain itself. Whether it has an address shows when it is connected to. */
static void take_implicit(struct mx_lookup *lookup)
{
	lookup->answer = (struct mx_answer){.outcome = MX_FOUND, .ttl_seconds = TTL_MIN_SECONDS};
	if (!add_host(&lookup->answer, lookup->domain, 0))
		refuse(&lookup->answer, "5.1.2", "%s is no domain", lookup->domain);
}

static void take_answer(struct mx_lookup *lookup, int status, const unsigned char *octets, int len)
{
	switch (status) {
	case ARES_SUCCESS:
		if (!mx_parse(octets, len, &lookup->answer))
			take_implicit(lookup);
		break;
	case ARES_ENODATA:
		take_implicit(lookup);
		break;
	case ARES_ENOTFOUND:
		refuse(&lookup->answer, "5.1.2", "the domain %s does not exist", lookup->domain);
		break;
	case ARES_EBADNAME:
		refuse(&lookup->answer, "5.1.2", "%s is no domain", lookup->domain);
		break;
	default:
		postpone(&lookup->answer, "the name servers do not answer: %s", ares_strerror(status));
		break;
	}
	mx_drop_self(&lookup->answer, lookup->own_name);
}

/* Also from within ares_query, and with ARES_EDESTRUCTION. */
static void on_answer(void *arg, int status, int timeouts, unsigned char *octets, int len)
{
	struct mx_lookup *lookup = arg;

	(void)timeouts;
	lookup->asking = false;
	if (lookup->cb == NULL) {
		lookup_free(lookup);
		return;
	}
	take_answer(lookup, status, octets, len);
	event_active(lookup->tell, 0, 0);
}

/* RFC 5321 §4.1.3: [192.0.2.1], [IPv6:2001:db8::1] */
static bool take_literal(struct mx_lookup *lookup)
{
	size_t len = strlen(lookup->domain);
	const char *inside = lookup->domain + 1;
	uint8_t octets[16];
	char *address;
	int family = AF_INET;

	if (len < 3 || lookup->domain[0] != '[' || lookup->domain[len - 1] != ']')
		return false;
	if (strncasecmp(inside, "IPv6:", 5) == 0) {
		inside += 5;
		family = AF_INET6;
	}
	address = mem_string_n(inside, (size_t)(lookup->domain + len - 1 - inside));
	take_implicit(lookup);
	if (inet_pton(family, address, octets) == 1)
		snprintf(lookup->answer.hosts[0].name, sizeof lookup->answer.hosts[0].name, "%s", address);
	else
		refuse(&lookup->answer, "5.1.2", "%s is no address", lookup->domain);
	free(address);
	return true;
}

/* As DNS has it: labels beyond ASCII as A-labels (RFC 5891). What is no such name stays, and does not exist. */
static char *dns_name(const char *domain)
{
	char *ascii = NULL, *name;

	if (idn2_to_ascii_8z(domain, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
		return mem_string(domain);
	name = mem_string(ascii);
	idn2_free(ascii);
	return name;
}

struct mx_lookup *mx_begin(struct dns *dns, const char *domain, const char *own_name, mx_cb *cb, void *arg)
{
	struct mx_lookup *lookup = mem_new(sizeof *lookup);
	ares_channel channel;
	struct err err;

	lookup->domain = *domain == '[' ? mem_string(domain) : dns_name(domain);
	lookup->own_name = mem_string(own_name);
	lookup->cb = cb;
	lookup->arg = arg;
	lookup->tell = event_new(dns_base(dns), -1, 0, on_tell, lookup);
	if (take_literal(lookup)) {
		event_active(lookup->tell, 0, 0);
		return lookup;
	}
	channel = dns_channel(dns, &err);
	if (channel == NULL) {
		postpone(&lookup->answer, "%s", err.text);
		event_active(lookup->tell, 0, 0);
		return lookup;
	}
	lookup->asking = true;
	ares_query(channel, lookup->domain, ns_c_in, ns_t_mx, on_answer, lookup);
	dns_started(dns);
	return lookup;
}

void mx_cancel(struct mx_lookup *lookup)
{
	if (lookup == NULL)
		return;
	lookup->cb = NULL;
	if (!lookup->asking)
		lookup_free(lookup);
}
