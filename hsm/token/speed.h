/*
 * How fast a token signs: threads with a session each sign one digest after the other for a while. Keys are session objects:
 * they are gone with the session that made them.
 */
#ifndef INKAN_HSM_TOKEN_SPEED_H
#define INKAN_HSM_TOKEN_SPEED_H

#include "hsm/token/module.h"

#define SPEED_THREADS_MAX 64
#define SPEED_BUCKETS 256 /* of latencies: eight for each power of two of microseconds */

enum speed_kind { SPEED_RSA_2048, SPEED_RSA_3072, SPEED_RSA_4096, SPEED_EC_P256, SPEED_EC_P384, SPEED_KINDS };
const char *speed_kind_name(enum speed_kind kind); /* "RSA-2048", as struct certificate_facts has it */

struct speed {
	uint64_t signatures, elapsed_us;
	uint32_t latencies[SPEED_BUCKETS];
};

/* A key pair that lasts as long as the session. */
bool speed_make_key(const struct session *session, enum speed_kind kind, unsigned long *key, struct err *err) MUST_USE;

/* Each session belongs to a thread. Adds to *speed. The first error of any thread ends it. */
bool speed_measure(const struct session *sessions, unsigned threads, enum speed_kind kind, unsigned long key, uint32_t ms,
		   struct speed *speed, struct err *err) MUST_USE;

void speed_add(struct speed *sum, const struct speed *other); /* of another process, at the same time */
uint32_t speed_latency_us(const struct speed *speed, unsigned per_mille); /* 500: the median */

#endif
