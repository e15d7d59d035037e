#include <stdlib.h>
#include <string.h>

#include "hsm/protocol/sign.h"
#include "hsm/protocol/worker.h"
#include "tests/unit/test.h"

/* A message under test: a sample's octets, and a decoder that says whether it took them and encodes them again. */
struct sample {
	const char *name;
	void (*encode)(struct buf *out);
	bool (*decode)(struct msg *msg, struct buf *again, struct err *err);
};

static void encode_request(struct buf *out)
{
	struct sign_request request = {.id = 7,
				       .certificate = 1234567890123u,
				       .algorithm = SIGN_SHA384,
				       .signing_time = 1795525569,
				       .pss = true,
				       .budget_ms = 20000};

	memset(request.digest, 0xa5, 48);
	sign_request_encode(out, &request);
}

static bool decode_request(struct msg *msg, struct buf *again, struct err *err)
{
	struct sign_request request;

	if (!sign_request_decode(msg, &request, err))
		return false;
	sign_request_encode(again, &request);
	return true;
}

static void encode_tls(struct buf *out)
{
	struct sign_request request = {
	    .id = 8, .certificate = 3, .algorithm = SIGN_SHA512, .pss = true, .budget_ms = 10000, .tls_len = 165};

	memset(request.tls_text, 0x5a, request.tls_len);
	sign_tls_encode(out, &request);
}

static bool decode_tls(struct msg *msg, struct buf *again, struct err *err)
{
	struct sign_request request;

	if (!sign_tls_decode(msg, &request, err))
		return false;
	sign_tls_encode(again, &request);
	return true;
}

static void encode_result(struct buf *out)
{
	sign_result_encode(out, &(struct sign_result){.id = 9, .cms = bytes_text("DER octets")});
}

static bool decode_result(struct msg *msg, struct buf *again, struct err *err)
{
	struct sign_result result;

	if (!sign_result_decode(msg, &result, err))
		return false;
	sign_result_encode(again, &result);
	return true;
}

static void encode_failure(struct buf *out)
{
	sign_failure_encode(out, &(struct sign_failure){.id = 11, .class = SIGN_FAIL_CERTIFICATE, .text = (char[]){"no key"}});
}

static bool decode_failure(struct msg *msg, struct buf *again, struct err *err)
{
	struct sign_failure failure;

	if (!sign_failure_decode(msg, &failure, err))
		return false;
	sign_failure_encode(again, &failure);
	free(failure.text);
	return true;
}

static void encode_health(struct buf *out)
{
	worker_health_encode(out, &(struct worker_health){.milliseconds = 12, .text = (char[]){"C_Sign: CKR_DEVICE_ERROR"}});
}

static bool decode_health(struct msg *msg, struct buf *again, struct err *err)
{
	struct worker_health health;

	if (!worker_health_decode(msg, &health, err))
		return false;
	worker_health_encode(again, &health);
	worker_health_clear(&health);
	return true;
}

static struct bytes chain_of_two[2];
static struct worker_certificate two_certificates[2];

static struct worker_certificates sample_certificates(void)
{
	chain_of_two[0] = bytes_text("leaf");
	chain_of_two[1] = bytes_text("intermediate");
	two_certificates[0] = (struct worker_certificate){3, bytes_text("twenty octets of id."), chain_of_two, 2, false};
	two_certificates[1] = (struct worker_certificate){4, bytes_text("another"), chain_of_two, 1, true};
	return (struct worker_certificates){.items = two_certificates, .count = 2};
}

static void encode_certificates(struct buf *out)
{
	struct worker_certificates certificates = sample_certificates();

	worker_certificates_encode(out, &certificates);
}

static bool decode_certificates(struct msg *msg, struct buf *again, struct err *err)
{
	struct worker_certificates certificates;

	if (!worker_certificates_decode(msg, &certificates, err))
		return false;
	worker_certificates_encode(again, &certificates);
	worker_certificates_clear(&certificates);
	return true;
}

static void encode_start(struct buf *out)
{
	char *environment[] = {(char[]){"SOFTHSM2_CONF=/x/softhsm2.conf"}};
	char *writable[] = {(char[]){"/x/tokens"}, (char[]){"/x/more"}};
	struct worker_start start = {
	    .settings = {.module = (char[]){"/usr/lib/softhsm/libsofthsm2.so"},
			 .token = (char[]){"inkan"},
			 .backend = (char[]){"engine"},
			 .threads = 8,
			 .import_minimum = (char[]){"rewrap"},
			 .environment = environment,
			 .n_environment = 1,
			 .writable = writable,
			 .n_writable = 2,
			 .canary_ms = 60000,
			 .processes = 3},
	    .certificates = sample_certificates(),
	    .pin = bytes_text("1234"),
	    .has_pin = true,
	    .final_try = true,
	};

	worker_start_encode(out, &start);
}

static bool decode_start(struct msg *msg, struct buf *again, struct err *err)
{
	struct worker_start start;

	if (!worker_start_decode(msg, &start, err))
		return false;
	worker_start_encode(again, &start);
	worker_start_clear(&start);
	return true;
}

static void encode_ready(struct buf *out)
{
	worker_ready_encode(out, &(struct worker_ready){.token = (char[]){"inkan"},
							.model = (char[]){"SoftHSM v2"},
							.serial = (char[]){"0a1b2c3d"},
							.firmware = (char[]){"2.6"},
							.threads = 8,
							.keys_loaded = 12,
							.keys_missing = 1});
}

static bool decode_ready(struct msg *msg, struct buf *again, struct err *err)
{
	struct worker_ready ready;

	if (!worker_ready_decode(msg, &ready, err))
		return false;
	worker_ready_encode(again, &ready);
	worker_ready_clear(&ready);
	return true;
}

static void encode_failed(struct buf *out)
{
	worker_failed_encode(out, &(struct worker_failed){.exit_code = WORKER_EXIT_PIN_REJECTED, .text = (char[]){"wrong PIN"}});
}

static bool decode_failed(struct msg *msg, struct buf *again, struct err *err)
{
	struct worker_failed failed;

	if (!worker_failed_decode(msg, &failed, err))
		return false;
	worker_failed_encode(again, &failed);
	worker_failed_clear(&failed);
	return true;
}

static const struct sample samples[] = {
    {"request", encode_request, decode_request}, {"result", encode_result, decode_result},
    {"failure", encode_failure, decode_failure}, {"certificates", encode_certificates, decode_certificates},
    {"start", encode_start, decode_start},	 {"ready", encode_ready, decode_ready},
    {"failed", encode_failed, decode_failed},	 {"health", encode_health, decode_health},
    {"TLS request", encode_tls, decode_tls},
};

#define N_SAMPLES (sizeof samples / sizeof samples[0])

static void every_message_reads_as_it_was_written(void)
{
	for (size_t i = 0; i < N_SAMPLES; i++) {
		struct buf out = {0}, again = {0};
		struct msg msg;
		struct err err;

		test_case("%s", samples[i].name);
		samples[i].encode(&out);
		msg = msg_of(buf_bytes(&out));
		if (CHECK_OK(samples[i].decode(&msg, &again, &err), &err))
			CHECK_BYTES(buf_bytes(&again), buf_bytes(&out));
		buf_clear(&out);
		buf_clear(&again);
	}
}

static bool takes(const struct sample *sample, struct bytes octets)
{
	/* A copy of exactly this size, so that a sanitizer sees a read beyond it. */
	uint8_t *copy = mem_copy(octets.data, octets.len);
	struct msg msg = msg_of(bytes_of(copy, octets.len));
	struct buf again = {0};
	struct err err = {0};
	bool took = sample->decode(&msg, &again, &err);

	if (!took)
		CHECK_INT(err.code, ERR_INVALID);
	buf_clear(&again);
	free(copy);
	return took;
}

static void every_cut_and_every_extra_octet_is_refused(void)
{
	for (size_t i = 0; i < N_SAMPLES; i++) {
		struct buf out = {0};

		samples[i].encode(&out);
		for (size_t len = 0; len < out.len; len++) {
			test_case("%s: first %zu octets", samples[i].name, len);
			CHECK(!takes(&samples[i], bytes_of(out.data, len)));
		}
		test_case("%s: one octet more", samples[i].name);
		buf_put_byte(&out, 0);
		CHECK(!takes(&samples[i], buf_bytes(&out)));
		buf_clear(&out);
	}
}

/* Lengths and counts that promise more than there is must neither crash nor allocate. */
static void corrupt_octets_do_no_harm(void)
{
	for (size_t i = 0; i < N_SAMPLES; i++) {
		struct buf out = {0};

		samples[i].encode(&out);
		for (size_t at = 0; at < out.len; at++) {
			uint8_t kept = out.data[at];

			test_case("%s: octet %zu", samples[i].name, at);
			out.data[at] = 0xff;
			(void)takes(&samples[i], buf_bytes(&out));
			out.data[at] = kept;
		}
		CHECK(takes(&samples[i], buf_bytes(&out)));
		buf_clear(&out);
	}
}

static void bad_values_are_refused(void)
{
	static const struct {
		const char *name;
		unsigned algorithm, pss;
		size_t digest;
		int64_t time;
		bool good;
	} cases[] = {
	    {"SHA-256", 1, 0, 32, 0, true},	  {"SHA-512, PSS", 3, 1, 64, 1, true},
	    {"algorithm 0", 0, 0, 0, 0, false},	  {"algorithm 4", 4, 0, 64, 0, false},
	    {"short digest", 1, 0, 31, 0, false}, {"digest of another", 1, 0, 48, 0, false},
	    {"no digest", 2, 0, 0, 0, false},	  {"pss neither 0 nor 1", 1, 2, 32, 0, false},
	    {"before 1970", 1, 0, 32, -1, false},
	};
	uint8_t digest[SIGN_DIGEST_MAX_BYTES] = {1};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct buf out = {0};

		test_case("%s", cases[i].name);
		msg_put_u64(&out, 1);
		msg_put_u64(&out, 2);
		msg_put_u8(&out, (uint8_t)cases[i].algorithm);
		msg_put_bytes(&out, bytes_of(digest, cases[i].digest));
		msg_put_i64(&out, cases[i].time);
		msg_put_u8(&out, (uint8_t)cases[i].pss);
		msg_put_u32(&out, 100);
		CHECK_INT(takes(&samples[0], buf_bytes(&out)), cases[i].good);
		buf_clear(&out);
	}
}

static void a_failure_needs_a_known_class(void)
{
	for (unsigned value = 0; value < 7; value++) {
		struct buf out = {0};

		test_case("class %u", value);
		msg_put_u64(&out, 1);
		msg_put_u8(&out, (uint8_t)value);
		msg_put_text(&out, "why");
		CHECK_INT(takes(&samples[2], buf_bytes(&out)), value >= SIGN_FAIL_RETRY && value <= SIGN_FAIL_WRONG);
		buf_clear(&out);
	}
}

static void decoded_certificates_outlive_the_frame(void)
{
	struct worker_start start;
	struct buf out = {0};
	struct msg msg;
	struct err err;

	encode_start(&out);
	msg = msg_of(buf_bytes(&out));
	if (!CHECK_OK(worker_start_decode(&msg, &start, &err), &err))
		return;
	CHECK_BYTES(start.pin, bytes_text("1234"));
	buf_wipe_clear(&out);
	CHECK_INT(start.certificates.count, 2);
	CHECK_INT(start.certificates.items[1].id, 4);
	CHECK_BYTES(start.certificates.items[0].key_id, bytes_text("twenty octets of id."));
	CHECK_BYTES(start.certificates.items[0].chain[1], bytes_text("intermediate"));
	CHECK_TEXT(start.settings.environment[0], "SOFTHSM2_CONF=/x/softhsm2.conf");
	CHECK_TEXT(start.settings.writable[1], "/x/more");
	CHECK(memmem(start.certificates.storage.data, start.certificates.storage.len, "1234", 4) == NULL);
	worker_start_clear(&start);
}

static void digests_have_their_sizes_and_names(void)
{
	CHECK_INT(sign_digest_bytes(SIGN_SHA256), 32);
	CHECK_INT(sign_digest_bytes(SIGN_SHA384), 48);
	CHECK_INT(sign_digest_bytes(SIGN_SHA512), 64);
	CHECK_INT(sign_digest_bytes((enum sign_digest)0), 0);
	CHECK_INT(sign_digest_bytes((enum sign_digest)4), 0);
	CHECK_TEXT(sign_digest_micalg(SIGN_SHA256), "sha-256");
	CHECK_TEXT(sign_digest_micalg(SIGN_SHA384), "sha-384");
	CHECK_TEXT(sign_digest_micalg(SIGN_SHA512), "sha-512");
	CHECK(sign_digest_micalg((enum sign_digest)9) == NULL);
}

int main(void)
{
	TEST(every_message_reads_as_it_was_written);
	TEST(every_cut_and_every_extra_octet_is_refused);
	TEST(corrupt_octets_do_no_harm);
	TEST(bad_values_are_refused);
	TEST(a_failure_needs_a_known_class);
	TEST(decoded_certificates_outlive_the_frame);
	TEST(digests_have_their_sizes_and_names);
	return test_finish();
}
