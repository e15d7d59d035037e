#include "appliance/relay/signing/tally.h"

#include <string.h>

const unsigned tally_bucket_ms[TALLY_BUCKETS] = {2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000};

static const char *const names[TALLY_REASONS] = {
    [TALLY_CERTIFICATE_EXPIRED] = "certificate_expired",
    [TALLY_SIGNING_LOCKED] = "signing_locked",
    [TALLY_TOKEN_ABSENT] = "token_absent",
    [TALLY_SIGNING_DEADLINE] = "signing_deadline",
    [TALLY_SIGNING_SUSPENDED] = "signing_suspended",
    [TALLY_SIGNING_FAILED] = "signing_failed",
    [TALLY_SELF_CHECK] = "self_check",
    [TALLY_UNSIGNABLE] = "unsignable",
    [TALLY_SENDER] = "sender_not_allowed",
    [TALLY_MALFORMED] = "malformed",
    [TALLY_TOO_LARGE] = "too_large",
    [TALLY_STORE_FULL] = "store_full",
    [TALLY_STORE_FAILED] = "store_failed",
    [TALLY_OTHER] = "other",
};

const char *tally_reason_name(enum tally_reason reason)
{
	return names[reason];
}

/* The first row that fits; 0 and "" fit anything. */
static const struct {
	int code;
	const char *enhanced, *begins;
	enum tally_reason reason;
} replies[] = {
    {451, "", "S/MIME certificate is expired", TALLY_CERTIFICATE_EXPIRED},
    {451, "", "Signing is locked", TALLY_SIGNING_LOCKED},
    {451, "", "Signing is not available", TALLY_TOKEN_ABSENT},
    {451, "", "Signing did not finish", TALLY_SIGNING_DEADLINE},
    {451, "", "Signing is suspended", TALLY_SIGNING_SUSPENDED},
    {451, "", "Signing failed", TALLY_SIGNING_FAILED},
    {451, "", "The message could not be prepared", TALLY_SIGNING_FAILED},
    {451, "", "The signed message did not pass", TALLY_SELF_CHECK},
    {451, "", "The message could not be stored", TALLY_STORE_FAILED},
    {452, "4.3.1", "", TALLY_STORE_FULL},
    {552, "", "", TALLY_TOO_LARGE},
    {554, "5.6.3", "", TALLY_UNSIGNABLE},
    {550, "5.7.1", "", TALLY_SENDER},
    {0, "5.6.0", "", TALLY_MALFORMED},
};

enum tally_reason tally_reason_of(int code, const char *enhanced, const char *text)
{
	for (size_t i = 0; i < sizeof replies / sizeof *replies; i++) {
		if ((replies[i].code == 0 || replies[i].code == code) &&
		    (*replies[i].enhanced == '\0' || strcmp(replies[i].enhanced, enhanced) == 0) &&
		    strncmp(text, replies[i].begins, strlen(replies[i].begins)) == 0)
			return replies[i].reason;
	}
	return TALLY_OTHER;
}

void tally_latency_add(struct tally_latency *latency, int64_t ms)
{
	size_t i = 0;

	while (i < TALLY_BUCKETS && ms > (int64_t)tally_bucket_ms[i])
		i++;
	latency->buckets[i]++;
	latency->count++;
	latency->sum_ms += ms > 0 ? (uint64_t)ms : 0;
}
