/* A running SMTP server with played submissions, for the tests of sessions and of the server. Included once per program. */
#ifndef INKAN_TESTS_SMTP_SERVER_FIXTURE_H
#define INKAN_TESTS_SMTP_SERVER_FIXTURE_H

#include <crypt.h>
#include <signal.h>

#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/base/pool.h"
#include "appliance/relay/smtp/server.h"
#include "tests/unit/fake_submission.h"
#include "tests/unit/smtp_peer.h"
#include "tests/unit/test.h"

#define FIXTURE_HELLO_HEAD                                                                                                       \
	"S: 250-mx.example\nS: 250-PIPELINING\nS: 250-SIZE 1048576\nS: 250-8BITMIME\nS: 250-SMTPUTF8\nS: 250-DSN\n"
#define FIXTURE_HELLO_TAIL "S: 250-ENHANCEDSTATUSCODES\nS: 250 CHUNKING\n"
#define FIXTURE_HELLO FIXTURE_HELLO_HEAD "S: 250-LIMITS MAILMAX=10000 RCPTMAX=1000\n" FIXTURE_HELLO_TAIL
#define FIXTURE_HELLO_AUTH                                                                                                       \
	FIXTURE_HELLO_HEAD "S: 250-LIMITS MAILMAX=10000 RCPTMAX=1000\nS: 250-AUTH PLAIN LOGIN\n" FIXTURE_HELLO_TAIL

static struct {
	struct event_base *base;
	struct pool *pool;
	struct smtp_server *server;
	uint16_t port;
	uint64_t revision;
} fixture;

/* The settings of server `s`, "PATH=VALUE" lines behind "server s ", over what every test has. */
static struct config *fixture_config(const char *const *settings)
{
	static const char *const common[] = {"smtp listen test:25=", "smtp max-message-size=1M", "smtp bad-command-delay=0s",
					     "next-hop 127.0.0.1=", NULL};
	const char *const *const lists[] = {common, settings};
	struct snapshot *snapshot = snapshot_new();
	struct config *config;
	struct err err;

	snapshot->revision = ++fixture.revision;
	settings_add(&snapshot->settings, "system host-name", "mx.example");
	for (size_t l = 0; l < 2; l++) {
		for (size_t i = 0; lists[l] != NULL && lists[l][i] != NULL; i++) {
			const char *equals = strchr(lists[l][i], '=');
			char *path = mem_format("server s %.*s", (int)(equals - lists[l][i]), lists[l][i]);

			settings_add(&snapshot->settings, path, equals + 1);
			free(path);
		}
	}
	config = config_new(snapshot, &err);
	if (!CHECK_OK(config != NULL, &err))
		abort();
	return config;
}

static void fixture_run(struct config *config)
{
	struct err err;

	CHECK_OK(smtp_server_configure(fixture.server, config, false, &err), &err);
	config_unref(config);
}

static void fixture_configure(const char *const *settings)
{
	fixture_run(fixture_config(settings));
}

static void fixture_up(void)
{
	struct submission_context context = {0};
	struct err err;

	signal(SIGPIPE, SIG_IGN);
	log_open("smtp-test", LOG_FORMAT_TEXT, LOG_ERROR);
	fake_reset();
	fixture.base = event_base_new();
	fixture.pool = pool_new(fixture.base, 2, &err);
	CHECK_OK(fixture.pool != NULL, &err);
	context.base = fixture.base;
	context.pool = fixture.pool;
	fixture.server = smtp_server_new(&context);
	smtp_server_add_socket(fixture.server, "test:25", peer_listen(&fixture.port));
	peer_hello = FIXTURE_HELLO;
}

static void fixture_down(void)
{
	smtp_server_free(fixture.server);
	pool_free(fixture.pool);
	event_base_free(fixture.base);
	fake_reset();
}

#endif
