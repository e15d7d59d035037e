/*
 * The way of a message with the real store and scanner; the HSM worker is played here, over the real protocol, so that it
 * can sign, fail, keep silent or be absent.
 */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/base/channel.h"
#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/base/pool.h"
#include "appliance/relay/mime/rendering.h"
#include "appliance/relay/signing/identities.h"
#include "appliance/relay/signing/submission.h"
#include "hsm/cms/cms.h"
#include "tests/unit/identity.h"
#include "tests/unit/test.h"

enum worker_mood {
	WORKER_SIGNS,
	WORKER_REFUSES,
	WORKER_SILENT,
	WORKER_SIGNS_ANOTHER_DIGEST,
	WORKER_SIGNS_WITH_ANOTHER_KEY,
	WORKER_SENDS_NOISE
};

static struct event_base *base;
static struct submission_context context;
static struct config *config;
static struct channel *worker;
static enum worker_mood mood;
static unsigned requests, cancelled;
static bool requested;
static struct sign_request last_request;
static struct submission_reply reply;
static bool replied, store_ready;

/* ---- The worker ---- */

static EVP_PKEY *key;
static struct bytes leaf;

static bool make_signature(void *arg, enum sign_digest algorithm, bool pss, struct bytes text, struct buf *signature,
			   struct err *err)
{
	EVP_MD_CTX *sign = EVP_MD_CTX_new();
	uint8_t room[512];
	size_t len = sizeof room;
	bool made = EVP_DigestSignInit(sign, NULL, algorithm == SIGN_SHA384 ? EVP_sha384() : EVP_sha256(), NULL, key) == 1 &&
		    EVP_DigestSign(sign, room, &len, text.data, text.len) == 1;

	(void)arg;
	(void)pss;
	EVP_MD_CTX_free(sign);
	buf_put(signature, room, made ? len : 0);
	return made || err_set(err, ERR_INTERNAL, "no signature");
}

static void make_cms(struct buf *der)
{
	struct cms_content content = {.algorithm = last_request.algorithm, .signing_time = last_request.signing_time};
	struct cms_identity *identity;
	uint8_t digest[SIGN_DIGEST_MAX_BYTES];
	struct err err;

	if (mood == WORKER_SENDS_NOISE) {
		buf_put_text(der, "noise");
		return;
	}
	memcpy(digest, last_request.digest, sizeof digest);
	digest[0] ^= mood == WORKER_SIGNS_ANOTHER_DIGEST;
	content.digest = bytes_of(digest, sign_digest_bytes(content.algorithm));
	identity = cms_identity_new(&leaf, 1, &err);
	CHECK_OK(cms_sign(identity, &content, make_signature, NULL, der, &err), &err);
	cms_identity_free(identity);
	if (mood == WORKER_SIGNS_WITH_ANOTHER_KEY)
		der->data[der->len - 1] ^= 1;
}

static void on_request(struct channel *channel, uint16_t type, struct msg *msg, int fd, void *arg)
{
	struct sign_result result = {0};
	struct sign_failure failure = {.class = SIGN_FAIL_REQUEST, .text = (char[]){"no such key"}};
	struct buf out = {0}, der = {0};
	struct err err;

	(void)fd;
	(void)arg;
	if (type == SIGN_FRAME_CANCEL) {
		cancelled++;
		return;
	}
	if (!CHECK_OK(sign_request_decode(msg, &last_request, &err), &err))
		return;
	requests++;
	requested = true;
	result.id = failure.id = last_request.id;
	if (mood != WORKER_REFUSES && mood != WORKER_SILENT) {
		make_cms(&der);
		result.cms = buf_bytes(&der);
		sign_result_encode(&out, &result);
		channel_send(channel, SIGN_FRAME_RESULT, buf_bytes(&out), -1);
	} else if (mood == WORKER_REFUSES) {
		sign_failure_encode(&out, &failure);
		channel_send(channel, SIGN_FRAME_FAILURE, buf_bytes(&out), -1);
	}
	buf_clear(&out);
	buf_clear(&der);
}

static void on_worker_closed(struct channel *channel, const struct err *why, void *arg)
{
	(void)channel;
	(void)why;
	(void)arg;
}

static void attach_worker(void)
{
	int pair[2];
	struct err err;

	CHECK_OK(frame_socketpair(pair, true, &err), &err);
	worker = channel_new(base, pair[0], on_request, on_worker_closed, NULL);
	signer_attach(context.signer, 1, pair[1], 4);
	signer_set_locked(context.signer, false, "");
}

/* ---- The surroundings ---- */

static void on_ready(const struct err *err, void *arg)
{
	(void)arg;
	CHECK(err == NULL);
	store_ready = true;
}

static void ignore(void *arg)
{
	(void)arg;
}

static void ignore_health(enum queue_health health, const struct err *err, void *arg)
{
	(void)health;
	(void)err;
	(void)arg;
}

static struct config *make_config(const char *deadline)
{
	struct snapshot *snapshot = snapshot_new();
	struct config *made;
	struct err err;

	settings_add(&snapshot->settings, "server s smime enabled", "");
	settings_add(&snapshot->settings, "server s smime certificate", "alice@example.com");
	settings_add(&snapshot->settings, "server s smime exclude recipient", "@plain\\.example$");
	settings_add(&snapshot->settings, "server s smtp max-message-size", "1M");
	settings_add(&snapshot->settings, "hsm deadline", deadline);
	snapshot->certificates = mem_new_array(1, sizeof *snapshot->certificates);
	snapshot->n_certificates = 1;
	snapshot->certificates[0] =
	    (struct certificate){.id = 7,
				 .address = mem_string("alice@example.com"),
				 .key_type = mem_string("EC-P384"),
				 .chain = mem_copy(&(struct bytes){mem_copy(leaf.data, leaf.len), leaf.len}, sizeof leaf),
				 .n_chain = 1,
				 .not_before = 0,
				 .not_after = INT64_MAX};
	made = config_new(snapshot, &err);
	CHECK_OK(made != NULL, &err);
	return made;
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

/* The loop wakes now and then, or a deadline would be looked at only when something happens. */
static void start_ticking(void)
{
	event_add(event_new(base, -1, EV_PERSIST, on_tick, NULL), &(struct timeval){.tv_usec = 200000});
}

static void run_until(const bool *flag)
{
	int64_t deadline = clock_monotonic_ms() + 10000;

	while (!*flag && clock_monotonic_ms() < deadline)
		event_base_loop(base, EVLOOP_ONCE);
	CHECK(*flag);
}

static void make_identity(void)
{
	static struct buf der;
	struct test_ca ca;
	X509 *certificate;

	test_ca_init(&ca);
	key = test_key("p384");
	certificate = test_certificate(&ca, key, "alice@example.com");
	test_put_der(&der, certificate);
	leaf = buf_bytes(&der);
	X509_free(certificate);
	test_ca_clear(&ca);
}

static void set_up(void)
{
	const struct queue_events events = {.ready = on_ready, .due = ignore, .health = ignore_health};
	const struct queue_settings settings = {.directory = test_directory(), .min_free_bytes = 1};
	struct err err;

	make_identity();
	base = event_base_new();
	start_ticking();
	context.base = base;
	context.pool = pool_new(base, 2, &err);
	context.identities = identities_new();
	context.queue = queue_open(base, &settings, &events, &err);
	context.signer = signer_new(base);
	if (!CHECK_OK(context.queue != NULL, &err))
		exit(1);
	run_until(&store_ready);
	attach_worker();
	config = make_config("2s");
}

static void on_reply(const struct submission_reply *got, void *arg)
{
	(void)arg;
	reply = *got;
	replied = true;
}

static struct submission *begin(const char *recipients)
{
	struct queue_recipient list[4] = {0};
	struct submission_envelope envelope = {.config = config,
					       .server = config_find_server(config, "s"),
					       .sender = "alice@example.com",
					       .recipients = list,
					       .client = "test ([127.0.0.1])",
					       .protocol = "ESMTP"};
	char *copy = mem_string(recipients), *rest = copy, *one;
	struct submission *submission;

	while ((one = strsep(&rest, " ")) != NULL)
		list[envelope.n_recipients++].address = one;
	submission = submission_begin(&context, &envelope);
	free(copy);
	return submission;
}

static void send_message(const char *recipients, const char *message, size_t chunk)
{
	struct submission *submission = begin(recipients);
	size_t len = strlen(message);

	for (size_t at = 0; at < len; at += chunk)
		submission_append(submission, bytes_slice(bytes_text(message), at, at + chunk));
	replied = false;
	submission_finish(submission, on_reply, NULL);
	CHECK(!replied);
	run_until(&replied);
}

static struct queue_claim *claimed;
static bool claim_done;

static void on_claim(struct queue_claim *claim, const struct err *err, void *arg)
{
	(void)arg;
	CHECK(err == NULL);
	claimed = claim;
	claim_done = true;
}

/* Takes everything out of the queue: the items of the message that was stored last. */
static struct queue_claim *take(void)
{
	struct queue_result results[8];

	claim_done = false;
	queue_claim(context.queue, 8, on_claim, NULL);
	run_until(&claim_done);
	for (size_t i = 0; i < claimed->count; i++)
		results[i] =
		    (struct queue_result){.recipient = claimed->items[i].recipient, .kind = QUEUE_DELIVERED, .reply = "ok"};
	queue_report(context.queue, claimed->token, results, claimed->count, NULL, NULL, NULL);
	return claimed;
}

/* ---- Tests ---- */

#define FAST "From: alice@example.com\r\nSubject: x\r\n\r\nplain text\r\n"
#define EIGHT_BIT "From: alice@example.com\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\xe5\x8d\xb0\xe9\x91\x91\r\n"

static void check_signed_item(const struct queue_item *item)
{
	struct rendering rendering = {0};
	struct err err;

	CHECK_INT(item->rendering, QUEUE_SIGNED);
	CHECK_TEXT(item->rule, "smime certificate alice@example.com");
	if (CHECK_OK(rendering_decode(buf_bytes(&item->message->addition), &rendering, &err), &err)) {
		CHECK_INT(rendering.size + item->message->prefix.len, item->message->signed_size);
		CHECK_CONTAINS(buf_text(&rendering.literal), "micalg=sha-384");
	}
	rendering_clear(&rendering);
}

static void signed_and_excluded_recipients_are_split(void)
{
	struct queue_claim *claim;

	mood = WORKER_SIGNS;
	requests = 0;
	send_message("bob@example.net tel@plain.example eve@example.net", FAST, 1000);
	CHECK_INT(reply.code, 250);
	CHECK_CONTAINS(reply.text, "Ok: queued as ");
	CHECK_INT(requests, 1);
	CHECK_INT(last_request.certificate, 7);
	CHECK_INT(last_request.algorithm, SIGN_SHA384);
	claim = take();
	if (CHECK_INT(claim->count, 3)) {
		check_signed_item(&claim->items[0]);
		CHECK_INT(claim->items[1].rendering, QUEUE_PLAIN);
		CHECK_TEXT(claim->items[1].rule, "smime exclude recipient @plain\\.example$");
		check_signed_item(&claim->items[2]);
	}
	queue_claim_free(claim);
}

static void the_digest_does_not_depend_on_the_chunks(void)
{
	struct sign_request whole;

	mood = WORKER_SIGNS;
	send_message("bob@example.net", FAST, 1000);
	whole = last_request;
	queue_claim_free(take());
	for (size_t chunk = 1; chunk < 12; chunk++) {
		test_case("chunks of %zu", chunk);
		send_message("bob@example.net", FAST, chunk);
		CHECK_BYTES(bytes_of(last_request.digest, 48), bytes_of(whole.digest, 48));
		queue_claim_free(take());
	}
}

static void eight_bit_text_is_encoded(void)
{
	struct queue_claim *claim;

	mood = WORKER_SIGNS;
	send_message("bob@example.net", EIGHT_BIT, 1000);
	CHECK_INT(reply.code, 250);
	claim = take();
	if (CHECK_INT(claim->count, 1))
		check_signed_item(&claim->items[0]);
	queue_claim_free(claim);
}

static void nothing_is_stored_when_signing_fails(void)
{
	mood = WORKER_REFUSES;
	send_message("bob@example.net tel@plain.example", FAST, 1000);
	CHECK_INT(reply.code, 451);
	CHECK_TEXT(reply.text, "Signing failed");

	mood = WORKER_SILENT;
	send_message("bob@example.net", FAST, 1000);
	CHECK_INT(reply.code, 451);
	CHECK_TEXT(reply.text, "Signing did not finish in time");

	signer_set_locked(context.signer, true, "no PIN");
	send_message("bob@example.net", FAST, 1000);
	CHECK_INT(reply.code, 451);
	CHECK_TEXT(reply.enhanced, "4.3.0");
	CHECK_TEXT(reply.text, "Signing is locked");
	send_message("tel@plain.example", FAST, 1000);
	CHECK_INT(reply.code, 250);
	signer_set_locked(context.signer, false, "");

	struct queue_claim *claim = take();

	CHECK_INT(claim->count, 1);
	queue_claim_free(claim);
}

/* What does not verify is not stored, in memory or as a file, edited or not. */
static void what_does_not_verify_is_not_stored(void)
{
	static const enum worker_mood moods[] = {WORKER_SIGNS_ANOTHER_DIGEST, WORKER_SIGNS_WITH_ANOTHER_KEY, WORKER_SENDS_NOISE};
	struct buf large = {0};
	struct queue_claim *claim;

	buf_put_text(&large, FAST);
	while (large.len < 100000)
		buf_put_text(&large, "a line of a body that becomes a file\r\n");
	for (size_t i = 0; i < sizeof moods / sizeof *moods; i++) {
		const char *const messages[] = {FAST, EIGHT_BIT, buf_text(&large)};

		mood = moods[i];
		for (size_t m = 0; m < 3; m++) {
			test_case("mood %zu, message %zu", i, m);
			send_message("bob@example.net tel@plain.example", messages[m], 30000);
			CHECK_INT(reply.code, 451);
			CHECK_TEXT(reply.enhanced, "4.3.0");
			CHECK_TEXT(reply.text, "The signed message did not pass its own check");
		}
	}
	mood = WORKER_SIGNS;
	send_message("bob@example.net", buf_text(&large), 30000);
	CHECK_INT(reply.code, 250);
	claim = take();
	CHECK_INT(claim->count, 1);
	queue_claim_free(claim);
	buf_clear(&large);
}

static void limits_have_their_replies(void)
{
	static const struct {
		const char *name, *field;
		unsigned repeat;
		int code;
		const char *text;
	} cases[] = {
	    {"too large", "x", 1100000, 552, "Message is larger than 1048576 bytes"},
	    {"header too large", "X: 0123456789012345678901234567890123456789\r\n", 7000, 554, "header is larger"},
	    {"loop", "Received: by x\r\n", 101, 554, "Mail loop"},
	    {"not a loop", "Received: by x\r\n", 100, 250, "Ok"},
	};

	mood = WORKER_SIGNS;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct buf message = {0};

		test_case("%s", cases[i].name);
		for (unsigned n = 0; n < cases[i].repeat; n++)
			buf_put_text(&message, cases[i].field);
		buf_put_text(&message, FAST);
		send_message("bob@example.net", buf_text(&message), 10000);
		CHECK_INT(reply.code, cases[i].code);
		CHECK_CONTAINS(reply.text, cases[i].text);
		buf_clear(&message);
	}
	queue_claim_free(take());
}

static void an_abort_leaves_nothing(void)
{
	struct submission *submission = begin("bob@example.net");
	struct queue_claim *claim;

	submission_append(submission, bytes_text(FAST));
	submission_abort(submission);

	mood = WORKER_SILENT;
	requests = cancelled = 0;
	requested = false;
	submission = begin("bob@example.net");
	submission_append(submission, bytes_text(FAST));
	replied = false;
	submission_finish(submission, on_reply, NULL);
	run_until(&requested);
	submission_abort(submission);
	event_base_loop(base, EVLOOP_NONBLOCK);
	CHECK(!replied);
	claim = take();
	CHECK_INT(claim->count, 0);
	queue_claim_free(claim);
}

int main(void)
{
	log_open("signing_submission_test", LOG_FORMAT_TEXT, LOG_ERROR);
	set_up();
	TEST(signed_and_excluded_recipients_are_split);
	TEST(the_digest_does_not_depend_on_the_chunks);
	TEST(eight_bit_text_is_encoded);
	TEST(nothing_is_stored_when_signing_fails);
	TEST(what_does_not_verify_is_not_stored);
	TEST(limits_have_their_replies);
	TEST(an_abort_leaves_nothing);
	return test_finish();
}
