/*
 * What became of the messages that came in, and how long their signatures took: counters for the metrics. Loop's thread.
 */
#ifndef INKAN_RELAY_SIGNING_TALLY_H
#define INKAN_RELAY_SIGNING_TALLY_H

#include <stddef.h>
#include <stdint.h>

enum tally_interface { TALLY_SMTP, TALLY_API, TALLY_INTERFACES };

/* Why a message was refused at its end. */
enum tally_reason {
	TALLY_CERTIFICATE_EXPIRED,
	TALLY_SIGNING_LOCKED,
	TALLY_TOKEN_ABSENT,
	TALLY_SIGNING_DEADLINE,
	TALLY_SIGNING_SUSPENDED,
	TALLY_SIGNING_FAILED,
	TALLY_SELF_CHECK,
	TALLY_UNSIGNABLE,
	TALLY_SENDER,
	TALLY_MALFORMED,
	TALLY_TOO_LARGE,
	TALLY_STORE_FULL,
	TALLY_STORE_FAILED,
	TALLY_OTHER,
	TALLY_REASONS
};

#define TALLY_BUCKETS 12
extern const unsigned tally_bucket_ms[TALLY_BUCKETS]; /* upper bounds */

struct tally_latency {
	uint64_t buckets[TALLY_BUCKETS + 1]; /* not cumulative; the last: longer than all bounds */
	uint64_t count, sum_ms;
};

struct submission_tally {
	uint64_t signed_messages[TALLY_INTERFACES]; /* at least one recipient got it signed */
	uint64_t plain_messages[TALLY_INTERFACES];
	uint64_t refused[TALLY_INTERFACES][TALLY_REASONS];
	uint64_t signed_recipients, plain_recipients;
	uint64_t octets; /* of stored messages, as they came */
	struct tally_latency signing; /* from the request to the signature; failed ones are not in it */
};

const char *tally_reason_name(enum tally_reason reason); /* "certificate_expired" */

/* By the reply that the client got. */
enum tally_reason tally_reason_of(int code, const char *enhanced, const char *text);

void tally_latency_add(struct tally_latency *latency, int64_t ms);

#endif
