#include "hsm/token/speed.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "hsm/token/cryptoki.h"

#define SIGNATURE_MAX_BYTES 1024
#define DIGEST_INFO_BYTES 19

static const uint8_t p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
static const uint8_t p384[] = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22};

static const struct {
	const char *name;
	unsigned bits; /* RSA; 0: EC */
	struct bytes curve;
} kinds[SPEED_KINDS] = {
    [SPEED_RSA_2048] = {"RSA-2048", 2048, {0}},
    [SPEED_RSA_3072] = {"RSA-3072", 3072, {0}},
    [SPEED_RSA_4096] = {"RSA-4096", 4096, {0}},
    [SPEED_EC_P256] = {"EC-P256", 0, {p256, sizeof p256}},
    [SPEED_EC_P384] = {"EC-P384", 0, {p384, sizeof p384}},
};

/* DigestInfo of SHA-256 before a digest (RFC 8017 §9.2); ECDSA signs the digest alone. */
static const uint8_t text[DIGEST_INFO_BYTES + 32] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
						     0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};

const char *speed_kind_name(enum speed_kind kind)
{
	return kinds[kind].name;
}

bool speed_make_key(const struct session *session, enum speed_kind kind, unsigned long *key, struct err *err)
{
	static const uint8_t exponent[] = {0x01, 0x00, 0x01};
	bool rsa = kinds[kind].bits != 0;
	CK_MECHANISM mechanism = {rsa ? CKM_RSA_PKCS_KEY_PAIR_GEN : CKM_EC_KEY_PAIR_GEN, NULL, 0};
	struct template public_key = {0}, private_key = {0};
	CK_OBJECT_HANDLE public_handle;
	CK_RV rv;

	template_flag(&public_key, CKA_TOKEN, false);
	template_flag(&public_key, CKA_VERIFY, true);
	if (rsa) {
		template_number(&public_key, CKA_MODULUS_BITS, kinds[kind].bits);
		template_bytes(&public_key, CKA_PUBLIC_EXPONENT, bytes_of(exponent, sizeof exponent));
	} else {
		template_bytes(&public_key, CKA_EC_PARAMS, kinds[kind].curve);
	}
	template_flag(&private_key, CKA_TOKEN, false);
	template_flag(&private_key, CKA_PRIVATE, true);
	template_flag(&private_key, CKA_SENSITIVE, true);
	template_flag(&private_key, CKA_EXTRACTABLE, false);
	template_flag(&private_key, CKA_SIGN, true);
	rv = session_functions(session)->C_GenerateKeyPair(session->handle, &mechanism, public_key.items, public_key.count,
							   private_key.items, private_key.count, &public_handle, key);
	return rv == CKR_OK || cryptoki_fail(err, rv, "C_GenerateKeyPair of session keys");
}

/* ---- measuring ---- */

struct race {
	enum speed_kind kind;
	CK_OBJECT_HANDLE key;
	uint64_t end_us;
	_Atomic(CK_RV) failed;
};

struct runner {
	struct race *race;
	const struct session *session;
	struct speed speed;
};

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static unsigned bucket_of(uint64_t us)
{
	unsigned power = 0;

	if (us < 8)
		return (unsigned)us;
	while (us >> (power + 1) != 0)
		power++;
	power = (power - 2) * 8 + (unsigned)(us >> (power - 3) & 7);
	return power < SPEED_BUCKETS ? power : SPEED_BUCKETS - 1;
}

static uint64_t bucket_us(unsigned bucket)
{
	return bucket < 8 ? bucket : (uint64_t)(8 + bucket % 8) << (bucket / 8 - 1);
}

static CK_RV sign_once(const struct runner *runner)
{
	CK_FUNCTION_LIST *p11 = session_functions(runner->session);
	bool rsa = kinds[runner->race->kind].bits != 0;
	CK_MECHANISM mechanism = {rsa ? CKM_RSA_PKCS : CKM_ECDSA, NULL, 0};
	CK_BYTE *data = (CK_BYTE *)text + (rsa ? 0 : DIGEST_INFO_BYTES), signature[SIGNATURE_MAX_BYTES];
	CK_ULONG len = sizeof signature;
	CK_RV rv = p11->C_SignInit(runner->session->handle, &mechanism, runner->race->key);

	return rv != CKR_OK ? rv
			    : p11->C_Sign(runner->session->handle, data, rsa ? sizeof text : sizeof text - DIGEST_INFO_BYTES,
					  signature, &len);
}

static void *run(void *arg)
{
	struct runner *runner = arg;
	uint64_t before = now_us(), after;

	while (before < runner->race->end_us && atomic_load(&runner->race->failed) == CKR_OK) {
		CK_RV rv = sign_once(runner);

		if (rv != CKR_OK) {
			atomic_store(&runner->race->failed, rv);
			return NULL;
		}
		after = now_us();
		runner->speed.signatures++;
		runner->speed.latencies[bucket_of(after - before)]++;
		before = after;
	}
	return NULL;
}

bool speed_measure(const struct session *sessions, unsigned threads, enum speed_kind kind, unsigned long key, uint32_t ms,
		   struct speed *speed, struct err *err)
{
	uint64_t begin = now_us();
	struct race race = {.kind = kind, .key = key, .end_us = begin + (uint64_t)ms * 1000};
	struct runner runners[SPEED_THREADS_MAX] = {{0}};
	pthread_t ids[SPEED_THREADS_MAX];
	unsigned started = 0;
	CK_RV failed;

	for (; started < threads && started < SPEED_THREADS_MAX; started++) {
		runners[started].race = &race;
		runners[started].session = &sessions[started];
		if (pthread_create(&ids[started], NULL, run, &runners[started]) != 0)
			break;
	}
	for (unsigned i = 0; i < started; i++) {
		pthread_join(ids[i], NULL);
		speed_add(speed, &runners[i].speed);
	}
	speed->elapsed_us = now_us() - begin;
	failed = atomic_load(&race.failed);
	if (started < threads)
		return err_set(err, ERR_LIMIT, "no more than %u threads could be started", started);
	return failed == CKR_OK || cryptoki_fail(err, failed, "C_Sign");
}

void speed_add(struct speed *sum, const struct speed *other)
{
	sum->signatures += other->signatures;
	if (other->elapsed_us > sum->elapsed_us)
		sum->elapsed_us = other->elapsed_us;
	for (unsigned i = 0; i < SPEED_BUCKETS; i++)
		sum->latencies[i] += other->latencies[i];
}

uint32_t speed_latency_us(const struct speed *speed, unsigned per_mille)
{
	uint64_t wanted = speed->signatures * per_mille / 1000, seen = 0;

	for (unsigned i = 0; i < SPEED_BUCKETS; i++) {
		seen += speed->latencies[i];
		if (seen > wanted)
			return bucket_us(i) < UINT32_MAX ? (uint32_t)bucket_us(i) : UINT32_MAX;
	}
	return 0;
}
