#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "tests/unit/tls_stage.h"

#define CROWD 200
#define PATIENCE_MS 20000

#define RSA (1u << TLS_RSA)
#define P256 (1u << TLS_P256)

static void serve(unsigned identities)
{
	struct tls_context *context = stage_context(identities);

	stage_echo(context);
	tls_context_unref(context);
}

static void open_signer(void)
{
	signer_set_locked(stage.signer, false, "");
}

static void one(struct client *client)
{
	clients_start(client, 1);
	clients_wait(client, 1, PATIENCE_MS);
}

static void every_kind_of_handshake(void)
{
	static const struct {
		const char *name;
		unsigned identities;
		struct client client;
		bool fails;
	} cases[] = {
	    {"1.3 P-256", P256, {.version = TLS1_3_VERSION}, false},
	    {"1.3 RSA-PSS", RSA, {.version = TLS1_3_VERSION}, false},
	    {"1.3 RSA-PSS SHA-384", RSA, {.version = TLS1_3_VERSION, .signatures = "rsa_pss_rsae_sha384"}, false},
	    {"1.2 P-256", P256, {.version = TLS1_2_VERSION}, false},
	    {"1.2 RSA PKCS#1", RSA, {.version = TLS1_2_VERSION, .signatures = "RSA+SHA256"}, false},
	    {"1.2 RSA PKCS#1 SHA-512", RSA, {.version = TLS1_2_VERSION, .signatures = "RSA+SHA512"}, false},
	    {"1.2 RSA-PSS", RSA, {.version = TLS1_2_VERSION, .signatures = "rsa_pss_rsae_sha256"}, false},
	    {"1.2 ChaCha20", P256, {.version = TLS1_2_VERSION, .ciphers = "ECDHE+CHACHA20"}, false},
	    {"both certificates, RSA wanted",
	     RSA | P256,
	     {.version = TLS1_3_VERSION, .signatures = "rsa_pss_rsae_sha256"},
	     false},
	    {"both certificates, EC wanted", RSA | P256, {.version = TLS1_3_VERSION, .signatures = "ECDSA+SHA256"}, false},
	    {"1 MB both ways", P256, {.octets = 1 << 20}, false},
	    {"1.1", RSA, {.version = TLS1_1_VERSION, .ciphers = "ALL:@SECLEVEL=0"}, true},
	    {"key transport", RSA, {.version = TLS1_2_VERSION, .ciphers = "AES256-GCM-SHA384"}, true},
	    {"CBC", RSA, {.version = TLS1_2_VERSION, .ciphers = "ECDHE-RSA-AES256-SHA384"}, true},
	};

	stage_begin(1);
	open_signer();
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct client client = cases[i].client;

		test_case("%s", cases[i].name);
		serve(cases[i].identities);
		one(&client);
		CHECK_INT(client.connected, !cases[i].fails);
		CHECK_INT(client.echoed, !cases[i].fails);
		CHECK_INT(client.alert, cases[i].fails);
		SSL_SESSION_free(client.session);
	}
	stage_end();
}

static void many_at_once_wait_together(void)
{
	static struct client clients[CROWD];
	int64_t begin;

	memset(clients, 0, sizeof clients);
	stage_begin(1);
	open_signer();
	stage.worker[0].delay_ms = 50;
	serve(P256);
	begin = clock_monotonic_ms();
	clients_start(clients, CROWD);
	clients_wait(clients, CROWD, PATIENCE_MS);
	CHECK_INT(clients_connected(clients, CROWD), CROWD);
	/* One by one it would be 10 s. The machine may be busy. */
	CHECK(clock_monotonic_ms() - begin < 5000);
	printf("  %d handshakes with 50 ms a signature: %lld ms\n", CROWD, (long long)(clock_monotonic_ms() - begin));
	CHECK_INT(stage.worker[0].asked, CROWD + 1); /* and the trial of the key */
	CHECK_INT(tls_state(stage.tls).done_total, CROWD);
	for (size_t i = 0; i < CROWD; i++)
		SSL_SESSION_free(clients[i].session);
	stage_end();
}

static bool nobody_waits(void *arg)
{
	(void)arg;
	return tls_state(stage.tls).connections == 0;
}

static void who_leaves_leaves_no_fibre(void)
{
	static struct client clients[CROWD];

	memset(clients, 0, sizeof clients);
	for (size_t i = 0; i < CROWD; i++)
		clients[i].leave = true;
	stage_begin(1);
	open_signer();
	stage.worker[0].delay_ms = 5000;
	serve(P256);
	clients_start(clients, CROWD);
	clients_wait(clients, CROWD, PATIENCE_MS);
	stage_run(nobody_waits, NULL, PATIENCE_MS);
	CHECK(tls_state(stage.tls).cancelled_total > CROWD / 2);
	CHECK_INT(tls_state(stage.tls).done_total, 0);
	stage_end();
}

static bool somebody_waits(void *arg)
{
	return tls_state(stage.tls).waiting >= *(unsigned *)arg;
}

static void a_dead_worker_s_handshakes_go_to_another(void)
{
	struct client clients[8] = {0};
	unsigned all = 8;

	stage_begin(2);
	open_signer();
	stage.worker[0].silent = true;
	stage.worker[1].delay_ms = 300;
	serve(P256);
	clients_start(clients, 8);
	stage_run(somebody_waits, &all, PATIENCE_MS);
	stage_kill_worker(0);
	clients_wait(clients, 8, PATIENCE_MS);
	CHECK_INT(clients_connected(clients, 8), 8);
	CHECK(signer_state(stage.signer).resubmitted_total > 0);
	for (size_t i = 0; i < 8; i++)
		SSL_SESSION_free(clients[i].session);
	stage_end();
}

static void a_silent_worker_is_waited_for_only_so_long(void)
{
	struct client clients[8] = {0};
	int64_t begin = clock_monotonic_ms();

	stage_begin(1);
	open_signer();
	tls_set_limits(stage.tls, &(struct tls_limits){.handshake_ms = 2000, .handshakes = 100, .per_client = 100});
	stage.worker[0].silent = true;
	serve(P256);
	clients_start(clients, 8);
	clients_wait(clients, 8, PATIENCE_MS);
	CHECK_INT(clients_connected(clients, 8), 0);
	CHECK(clock_monotonic_ms() - begin >= 1000);
	CHECK(clients[0].alert);
	CHECK_INT(tls_state(stage.tls).failed_total, 8);
	stage_end();
}

static void without_a_signature_there_is_an_alert(void)
{
	struct client client = {0};

	stage_begin(1);
	signer_set_locked(stage.signer, true, "no PIN");
	CHECK(!tls_is_ready(stage.tls));
	serve(P256);
	one(&client);
	CHECK(!client.connected);
	CHECK(client.alert);
	CHECK_INT(tls_state(stage.tls).unsigned_total, 1);
	open_signer();
	CHECK(tls_is_ready(stage.tls));
	client = (struct client){0};
	one(&client);
	CHECK(client.connected && client.echoed);
	SSL_SESSION_free(client.session);
	stage_end();
}

static struct client again(struct client *before)
{
	struct client client = {.resume = before->session, .version = before->version};

	one(&client);
	CHECK(client.connected && client.echoed);
	return client;
}

static void sessions_are_resumed_without_the_token(void)
{
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

	stage_begin(1);
	open_signer();
	for (size_t i = 0; i < 2; i++) {
		struct client client = {.version = versions[i]};
		unsigned asked;

		test_case("TLS 1.%zu", i + 2);
		serve(P256);
		one(&client);
		asked = stage.worker[0].asked;
		client = again(&client);
		CHECK(client.resumed);
		test_case("TLS 1.%zu after a commit of the same certificate", i + 2);
		serve(P256);
		client = again(&client);
		CHECK(client.resumed);
		CHECK_INT(stage.worker[0].asked, asked + 1); /* the trial of the key */
		test_case("TLS 1.%zu after a commit of another certificate", i + 2);
		serve(RSA);
		client = again(&client);
		CHECK(!client.resumed);
		SSL_SESSION_free(client.session);
	}
	stage_end();
}

static bool text_is_known(void *arg)
{
	(void)arg;
	return stage.worker[0].asked >= 2;
}

static void a_token_without_pss_serves_tls_1_2(void)
{
	struct client client = {0};

	stage_begin(1);
	open_signer();
	stage.worker[0].no_pss = true;
	serve(RSA);
	stage_run(text_is_known, NULL, PATIENCE_MS); /* the trial */
	one(&client);
	CHECK(client.connected && client.echoed);
	CHECK_TEXT(client.version_text, "TLSv1.2");
	SSL_SESSION_free(client.session);
	stage_end();
}

static void a_client_has_so_many_handshakes_at_once(void)
{
	struct client clients[8] = {0};

	stage_begin(1);
	open_signer();
	tls_set_limits(stage.tls, &(struct tls_limits){.handshake_ms = 10000, .handshakes = 100, .per_client = 3});
	stage.worker[0].delay_ms = 900;
	serve(P256);
	clients_start(clients, 8);
	clients_wait(clients, 8, PATIENCE_MS);
	CHECK_INT(clients_connected(clients, 8), 3);
	CHECK_INT(tls_state(stage.tls).refused_total, 5);
	stage.worker[0].delay_ms = 0;
	for (size_t i = 0; i < 8; i++)
		SSL_SESSION_free(clients[i].session);
	clients[0] = (struct client){0};
	one(&clients[0]);
	CHECK(clients[0].connected);
	SSL_SESSION_free(clients[0].session);
	stage_end();
}

static void a_client_has_so_many_signatures_a_minute_and_resumes_freely(void)
{
	struct client clients[5] = {0};

	stage_begin(1);
	open_signer();
	tls_set_limits(stage.tls, &(struct tls_limits){.handshake_ms = 10000, .handshakes = 9, .per_client = 9, .per_minute = 3});
	serve(P256);
	for (size_t i = 0; i < 4; i++) {
		one(&clients[i]);
		CHECK_INT(clients[i].connected, i < 3);
		CHECK_INT(clients[i].alert, i == 3);
	}
	CHECK_INT(tls_state(stage.tls).refused_total, 1);
	clients[4] = again(&clients[0]);
	CHECK(clients[4].resumed);
	for (size_t i = 1; i < 5; i++)
		SSL_SESSION_free(clients[i].session);
	stage_end();
}

static void on_trial(const struct err *refused, void *arg)
{
	struct err *told = arg;

	if (refused != NULL)
		*told = *refused;
	else
		err_set(told, ERR_NONE, "good");
}

static bool is_told(void *arg)
{
	return ((struct err *)arg)->text[0] != '\0';
}

static enum tls_key_state try_key(const char *key_type, struct err *told)
{
	struct certificate certificate = {.id = 77, .address = (char *)"mx.example.com", .key_type = (char *)key_type};
	const struct certificate *one_of_them = &certificate;
	struct tls_trial *trial = tls_trial_new(stage.tls, &one_of_them, 1, on_trial, told);
	const char *why;

	*told = (struct err){0};
	stage_run(is_told, told, PATIENCE_MS);
	tls_trial_free(trial);
	return tls_key_state(stage.tls, 77, &why);
}

static void a_key_is_tried_before_it_serves(void)
{
	struct err told;

	stage_begin(1);
	signer_set_locked(stage.signer, true, "no PIN");
	CHECK_INT(try_key("EC-P256", &told), TLS_KEY_UNTRIED); /* nobody can tell */
	CHECK_TEXT(told.text, "good");
	open_signer();
	CHECK_INT(try_key("EC-P256", &told), TLS_KEY_FAILS); /* the worker has no such certificate */
	CHECK(strstr(told.text, "mx.example.com") != NULL);
	stage_end();
}

static void garbage_is_no_handshake(void)
{
	struct client clients[4] = {{.version = TLS1_2_VERSION, .ciphers = "AES256-SHA"}, {.leave = true}, {.leave = true}, {0}};

	stage_begin(1);
	open_signer();
	serve(P256);
	clients_start(clients, 4);
	clients_wait(clients, 4, PATIENCE_MS);
	CHECK(clients[3].connected && clients[3].echoed);
	CHECK(!clients[0].connected);
	SSL_SESSION_free(clients[3].session);
	stage_end();
}

int main(void)
{
	TEST(every_kind_of_handshake);
	TEST(many_at_once_wait_together);
	TEST(who_leaves_leaves_no_fibre);
	TEST(a_dead_worker_s_handshakes_go_to_another);
	TEST(a_silent_worker_is_waited_for_only_so_long);
	TEST(without_a_signature_there_is_an_alert);
	TEST(sessions_are_resumed_without_the_token);
	TEST(a_token_without_pss_serves_tls_1_2);
	TEST(a_client_has_so_many_handshakes_at_once);
	TEST(a_client_has_so_many_signatures_a_minute_and_resumes_freely);
	TEST(a_key_is_tried_before_it_serves);
	TEST(garbage_is_no_handshake);
	return test_finish();
}
