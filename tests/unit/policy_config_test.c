#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/relay/policy/config_private.h"
#include "provisioning/store/settings.h"
#include "tests/unit/test.h"

static struct snapshot *snapshot_of(const char *const (*rows)[2])
{
	struct snapshot *snapshot = snapshot_new();

	for (; (*rows)[0] != NULL; rows++)
		settings_add(&snapshot->settings, (*rows)[0], (*rows)[1]);
	return snapshot;
}

static void defaults_fill_what_is_not_set(void)
{
	static const char *const rows[][2] = {{"server default smtp listen 127.0.0.1:2525", ""}, {NULL, NULL}};
	struct err err;
	struct snapshot *snapshot = snapshot_of(rows);
	struct config *config = config_new(snapshot, &err);
	const struct config_server *server;

	if (!CHECK_OK(config != NULL, &err))
		return;
	server = config_find_server(config, "default");
	CHECK_INT(config->n_servers, 1);
	CHECK_INT(config->signing_deadline_ms, 20000);
	CHECK_INT(server->n_listens, 1);
	CHECK_TEXT(server->listens[0].address, "127.0.0.1:2525");
	CHECK_INT(server->limits.message_bytes, 50 << 20);
	CHECK_INT(server->limits.sessions, 2000);
	CHECK(server->limits.sessions_per_client < server->limits.sessions); /* one client leaves room for others */
	CHECK(!server->smime_enabled);
	CHECK(server->refuse_unsignable);
	CHECK(!server->refuse_unsigned_sender);
	CHECK_INT(server->queue_lifetime_ms, 5 * 86400000LL);
	CHECK_INT(server->n_retry, 4);
	CHECK_INT(server->retry_ms[3], 3600000);
	CHECK(config_find_server(config, "other") == NULL);
	config_unref(config);
}

static void everything_is_read(void)
{
	static const char *const rows[][2] = {{"system host-name", "mx1.example.co.jp"},
					      {"server a smtp listen 0.0.0.0:25", ""},
					      {"server a smtp listen [::1]:25", ""},
					      {"server a smtp allow-network", "192.0.2.0/24"},
					      {"server a smtp allow-network", "2001:db8::/32"},
					      {"server a smtp auth", "optional"},
					      {"server a received", "none"},
					      {"server a next-hop backup.example.com priority", "20"},
					      {"server a next-hop backup.example.com", ""},
					      {"server a next-hop [2001:db8::1]:2525", ""},
					      {"server a next-hop maildir:/var/lib/inkan/maildir", ""},
					      {"server a next-hop maildir:/var/lib/inkan/maildir priority", "30"},
					      {"server a smime enabled", ""},
					      {"server a smime unsigned-sender", "refuse"},
					      {"server a smime exclude recipient", "^a@"},
					      {"server a smime exclude recipient", "^b@"},
					      {"server a smime exclude header Subject", "plain"},
					      {"server a user app password", "$y$hash"},
					      {"server a user app certificate", "x@example.com"},
					      {"server a user app certificate", "y@example.com"},
					      {"server a queue retry", "10s,2m"},
					      {"server b smtp max-message-size", "1M"},
					      {NULL, NULL}};
	struct err err;
	struct config *config = config_new(snapshot_of(rows), &err);
	const struct config_server *a;

	if (!CHECK_OK(config != NULL, &err))
		return;
	a = config_find_server(config, "a");
	CHECK_TEXT(config->host_name, "mx1.example.co.jp");
	CHECK_INT(a->n_listens, 2);
	CHECK_INT(a->auth, CONFIG_AUTH_OPTIONAL);
	CHECK_INT(a->received, CONFIG_RECEIVED_NONE);
	if (CHECK_INT(a->n_next_hops, 3)) {
		CHECK_TEXT(a->next_hops[0].host, "2001:db8::1");
		CHECK_INT(a->next_hops[0].port, 2525);
		CHECK_TEXT(a->next_hops[1].host, "backup.example.com");
		CHECK_INT(a->next_hops[1].port, 25);
		CHECK_TEXT(a->next_hops[2].maildir, "/var/lib/inkan/maildir");
	}
	CHECK(a->smime_enabled && a->refuse_unsigned_sender);
	CHECK_INT(a->n_exclude_recipients, 2);
	CHECK_TEXT(a->exclude_headers[0].header, "Subject");
	CHECK_TEXT(a->users[0].password_hash, "$y$hash");
	CHECK_INT(a->users[0].n_certificates, 2);
	CHECK_TEXT(a->users[0].certificates[1], "y@example.com");
	CHECK_INT(a->n_retry, 2);
	CHECK_INT(a->retry_ms[1], 120000);
	CHECK_INT(config_find_server(config, "b")->limits.message_bytes, 1 << 20);
	config_unref(config);
}

static void mistakes_name_the_setting(void)
{
	static const struct {
		const char *path, *value, *error;
	} cases[] = {
	    {"server a smime exclude recipient", "(",
	     "server a smime exclude recipient: expression \"(\": missing closing parenthesis"},
	    {"server a smime exclude header Subject", "[", "server a smime exclude header Subject: expression \"[\""},
	    {"server a smime certificate", "x@example.com", "no certificate is registered for x@example.com"},
	    {"server a smtp allow-network", "192.0.2.0/33", "\"192.0.2.0/33\" is not a network"},
	    {"server a next-hop host:0", "", "the port is a number from 1 to 65535"},
	    {"server a queue retry", "1m,,5m", "\"\" is not a duration"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *const rows[][2] = {{cases[i].path, cases[i].value}, {NULL, NULL}};
		struct snapshot *snapshot = snapshot_of(rows);
		struct err err = {0};

		test_case("%s %s", cases[i].path, cases[i].value);
		CHECK(config_new(snapshot, &err) == NULL);
		CHECK_CONTAINS(err.text, cases[i].error);
		snapshot_free(snapshot);
	}
}

static bool allowed(const struct config_server *server, const char *client)
{
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	struct sockaddr_in v4 = {.sin_family = AF_INET};

	if (inet_pton(AF_INET, client, &v4.sin_addr) == 1)
		return config_network_allows(server, (struct sockaddr *)&v4);
	inet_pton(AF_INET6, client, &v6.sin6_addr);
	return config_network_allows(server, (struct sockaddr *)&v6);
}

static void networks_match_by_bits(void)
{
	static const struct {
		const char *network, *client;
		bool allowed;
	} cases[] = {
	    {"192.0.2.0/24", "192.0.2.255", true},
	    {"192.0.2.0/24", "192.0.3.0", false},
	    {"192.0.2.128/25", "192.0.2.127", false},
	    {"192.0.2.128/25", "192.0.2.128", true},
	    {"192.0.2.1", "192.0.2.1", true},
	    {"192.0.2.1", "192.0.2.2", false},
	    {"0.0.0.0/0", "203.0.113.9", true},
	    {"0.0.0.0/0", "2001:db8::1", false},
	    {"2001:db8::/32", "2001:db8:ffff::1", true},
	    {"2001:db8::/32", "2001:db9::1", false},
	    {"192.0.2.0/24", "::ffff:192.0.2.7", true},
	    {"::/0", "2001:db8::1", true},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *const rows[][2] = {{"server a smtp allow-network", cases[i].network}, {NULL, NULL}};
		struct err err;
		struct config *config = config_new(snapshot_of(rows), &err);

		test_case("%s in %s", cases[i].client, cases[i].network);
		if (CHECK_OK(config != NULL, &err))
			CHECK_INT(allowed(&config->servers[0], cases[i].client), cases[i].allowed);
		config_unref(config);
	}
}

int main(void)
{
	TEST(defaults_fill_what_is_not_set);
	TEST(everything_is_read);
	TEST(mistakes_name_the_setting);
	TEST(networks_match_by_bits);
	return test_finish();
}
