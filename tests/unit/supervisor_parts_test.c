/* The parts of inkand that need no process: back-off, sockets, what it reads out of a revision, the PIN. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "appliance/supervisor/backoff.h"
#include "appliance/supervisor/configuration.h"
#include "appliance/supervisor/listeners.h"
#include "appliance/supervisor/pin.h"
#include "appliance/supervisor/state_directory.h"
#include "tests/unit/test.h"

/* ---- back-off ---- */

static void waits_double_up_to_a_minute(void)
{
	static const int64_t want_ms[] = {100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000};
	struct backoff backoff = {0};

	for (size_t i = 0; i < sizeof want_ms / sizeof *want_ms; i++) {
		test_case("failure %zu", i + 1);
		CHECK_INT(backoff_next(&backoff, (int64_t)i * 1000), want_ms[i]);
	}
	for (int i = 0; i < 1000; i++)
		CHECK_INT(backoff_next(&backoff, 0), 60000);
}

static void a_healthy_minute_forgives(void)
{
	struct backoff backoff = {.failures = 5};

	CHECK_INT(backoff_next(&backoff, BACKOFF_HEALTHY_MS - 1), 3200);
	CHECK_INT(backoff_next(&backoff, BACKOFF_HEALTHY_MS), BACKOFF_FIRST_MS);
	CHECK_INT(backoff_next(&backoff, 0), 2 * BACKOFF_FIRST_MS);
}

static void a_worker_waits_three_seconds_at_most(void)
{
	struct backoff backoff = {0};

	CHECK_INT(backoff_next_of_worker(&backoff, 0), BACKOFF_FIRST_MS);
	for (int i = 0; i < 100; i++)
		CHECK(backoff_next_of_worker(&backoff, BACKOFF_WORKER_HEALTHY_MS - 1) <= BACKOFF_WORKER_LONGEST_MS);
	CHECK_INT(backoff_next_of_worker(&backoff, 0), BACKOFF_WORKER_LONGEST_MS);
	CHECK_INT(backoff_next_of_worker(&backoff, BACKOFF_WORKER_HEALTHY_MS), BACKOFF_FIRST_MS);
}

/* ---- listeners ---- */

static unsigned free_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(bind(fd, (struct sockaddr *)&address, len) == 0 && getsockname(fd, (struct sockaddr *)&address, &len) == 0);
	close(fd);
	return ntohs(address.sin_port);
}

static char *address_of(const char *host, unsigned port)
{
	return mem_format("%s:%u", host, port);
}

/* Moves the set to what is wanted; the count afterwards, or -1 when something cannot be bound. */
static int move(struct listeners *listeners, char *const *wanted, struct err *err)
{
	struct listeners added = {0};

	if (!listeners_bind_new(listeners, wanted, &added, err))
		return -1;
	listeners_adopt(listeners, &added, wanted);
	return (int)listeners->count;
}

static void sockets_follow_what_is_wanted(void)
{
	char *one = address_of("127.0.0.1", free_port()), *two = address_of("127.0.0.1", free_port());
	char *v6 = address_of("[::1]", free_port());
	struct listeners listeners = {0};
	struct err err = {0};
	int kept;

	CHECK_INT(move(&listeners, (char *[]){one, NULL}, &err), 1);
	kept = listeners.items[0].fd;
	CHECK_INT(move(&listeners, (char *[]){two, one, v6, NULL}, &err), 3);
	CHECK_TEXT(listeners.items[0].address, one);
	CHECK_INT(listeners.items[0].fd, kept);
	CHECK_INT(move(&listeners, (char *[]){v6, NULL}, &err), 1);
	CHECK_TEXT(listeners.items[0].address, v6);
	CHECK_INT(move(&listeners, (char *[]){NULL}, &err), 0);
	listeners_clear(&listeners);
	free(one);
	free(two);
	free(v6);
}

/* The name of an API's socket begins with its service: it must stay open over commits like any other. */
static void an_api_socket_stays_over_commits(void)
{
	char *smtp = address_of("127.0.0.1", free_port()), *address = address_of("127.0.0.1", free_port());
	char *api = mem_format("api %s", address);
	struct listeners listeners = {0};
	struct err err = {0};
	int kept, again;

	CHECK_INT(move(&listeners, (char *[]){smtp, api, NULL}, &err), 2);
	kept = listeners.items[1].fd;
	again = dup(kept); /* the relay holds it too */
	for (int i = 0; i < 2; i++) {
		CHECK_INT(move(&listeners, (char *[]){smtp, api, NULL}, &err), 2);
		CHECK_INT(listeners.items[1].fd, kept);
	}
	close(again);
	listeners_clear(&listeners);
	free(smtp);
	free(address);
	free(api);
}

static void all_or_none_are_bound(void)
{
	char *good = address_of("127.0.0.1", free_port()), *taken = address_of("127.0.0.1", free_port());
	struct listeners holder = {0}, listeners = {0};
	struct err err = {0};
	int probe;

	CHECK_INT(move(&holder, (char *[]){taken, NULL}, &err), 1);
	CHECK_INT(move(&listeners, (char *[]){good, taken, NULL}, &err), -1);
	CHECK_CONTAINS(err.text, "cannot listen on 127.0.0.1:");
	CHECK_CONTAINS(err.text, "Address already in use");
	CHECK_INT(listeners.count, 0);
	probe = move(&listeners, (char *[]){good, NULL}, &err);
	CHECK_INT(probe, 1);
	listeners_clear(&listeners);
	listeners_clear(&holder);
	free(good);
	free(taken);
}

/* The kernel refuses to bind one address of a port while all of them are listened on: inkand's own may overlap. */
static void any_address_gives_way_to_one(void)
{
	unsigned port = free_port();
	char *any = address_of("0.0.0.0", port), *one = address_of("127.0.0.1", port);
	struct listeners listeners = {0}, stranger = {0};
	struct err err = {0};

	CHECK_INT(move(&listeners, (char *[]){any, NULL}, &err), 1);
	CHECK_INT(move(&listeners, (char *[]){one, NULL}, &err), 1);
	CHECK_INT(move(&stranger, (char *[]){any, NULL}, &err), -1);
	CHECK_INT(move(&listeners, (char *[]){any, NULL}, &err), 1);
	CHECK_INT(move(&stranger, (char *[]){one, NULL}, &err), -1);
	listeners_clear(&listeners);
	free(any);
	free(one);
}

static void bad_addresses_are_named(void)
{
	static char *const bad[] = {"",	      "25",	 "localhost:25",   "127.0.0.1",	  "127.0.0.1:0", "127.0.0.1:65536",
				    "::1:25", "[::1]25", "[127.0.0.1]:25", "127.0.0.1:2x"};
	struct listeners listeners = {0};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct err err = {0};

		test_case("\"%s\"", bad[i]);
		CHECK_INT(move(&listeners, (char *[]){bad[i], NULL}, &err), -1);
		CHECK_CONTAINS(err.text, "is not an ADDRESS:PORT");
	}
}

/* ---- configuration ---- */

static struct configuration *read_settings(const char *const (*rows)[2], size_t count, struct err *err)
{
	struct snapshot *snapshot = snapshot_new();

	for (size_t i = 0; i < count; i++)
		settings_add(&snapshot->settings, rows[i][0], rows[i][1]);
	return configuration_new(snapshot, err);
}

static void empty_configuration_has_the_defaults(void)
{
	struct configuration *empty = configuration_empty();

	CHECK(!configuration_has_hsm(empty));
	CHECK_INT(empty->processes, 2);
	CHECK_INT(empty->hsm.threads, 8);
	CHECK_TEXT(empty->hsm.backend, "engine");
	CHECK_TEXT(empty->hsm.import_minimum, "rewrap");
	CHECK(empty->pin_file == NULL);
	CHECK(empty->listens[0] == NULL);
	configuration_free(empty);
}

static void configuration_is_read_from_settings(void)
{
	static const char *const rows[][2] = {
	    {"hsm module", "/usr/lib/module.so"},
	    {"hsm token", "main token"},
	    {"hsm backend", "cryptoki"},
	    {"hsm threads", "3"},
	    {"hsm processes", "5"},
	    {"hsm pin-source", "file:/run/pin"},
	    {"hsm module-environment SOFTHSM2_CONF", "/etc/x.conf"},
	    {"hsm module-writable", "/var/a"},
	    {"hsm module-writable", "/var/b"},
	    {"server one smtp listen 127.0.0.1:25", ""},
	    {"server two smtp listen [::1]:25", ""},
	    {"server two smtp listen [::1]:25 tls", "none"},
	};
	struct configuration *configuration, *empty = configuration_empty();
	struct err err;

	configuration = read_settings(rows, sizeof rows / sizeof *rows, &err);
	if (!CHECK_OK(configuration != NULL, &err))
		return;
	CHECK(configuration_has_hsm(configuration));
	CHECK_TEXT(configuration->hsm.module, "/usr/lib/module.so");
	CHECK_TEXT(configuration->hsm.token, "main token");
	CHECK_INT(configuration->processes, 5);
	CHECK_TEXT(configuration->pin_file, "/run/pin");
	CHECK_INT(configuration->hsm.n_environment, 1);
	CHECK_TEXT(configuration->hsm.environment[0], "SOFTHSM2_CONF=/etc/x.conf");
	CHECK_INT(configuration->hsm.n_writable, 2);
	CHECK_TEXT(configuration->hsm.writable[1], "/var/b");
	CHECK_TEXT(configuration->listens[0], "127.0.0.1:25");
	CHECK_TEXT(configuration->listens[1], "[::1]:25");
	CHECK(configuration->listens[2] == NULL);
	CHECK(configuration_same_hsm(configuration, configuration));
	CHECK(!configuration_same_hsm(configuration, empty));
	configuration_free(configuration);
	configuration_free(empty);
}

static void two_servers_on_one_address_are_refused(void)
{
	static const char *const rows[][2] = {{"server one smtp listen 127.0.0.1:25", ""},
					      {"server two smtp listen 127.0.0.1:25", ""}};
	struct err err = {0};

	CHECK(read_settings(rows, 2, &err) == NULL);
	CHECK_TEXT(err.text, "server two smtp listen 127.0.0.1:25: another listener has this address");
}

static void add_certificate(struct configuration *configuration, uint64_t id)
{
	struct snapshot *snapshot = configuration->snapshot;

	snapshot->certificates = mem_resize(snapshot->certificates, snapshot->n_certificates + 1, sizeof *snapshot->certificates);
	snapshot->certificates[snapshot->n_certificates++] =
	    (struct certificate){.id = id, .address = mem_string("a@example.com"), .key_type = mem_string("EC-P256")};
}

static void workers_know_both_revisions(void)
{
	struct configuration *running = configuration_empty(), *other = configuration_empty();
	struct worker_certificates both;

	add_certificate(running, 7);
	add_certificate(running, 8);
	add_certificate(other, 8);
	add_certificate(other, 9);
	both = configuration_certificates(running, other);
	CHECK_INT(both.count, 3);
	CHECK_INT(both.items[0].id, 7);
	CHECK_INT(both.items[1].id, 8);
	CHECK_INT(both.items[2].id, 9);
	free(both.items);
	both = configuration_certificates(running, NULL);
	CHECK_INT(both.count, 2);
	free(both.items);
	configuration_free(running);
	configuration_free(other);
}

static void no_database_is_the_empty_configuration(void)
{
	const char *directory = test_directory();
	struct configuration *configuration;
	struct err err;

	configuration = configuration_load(directory, CONFIGURATION_RUNNING, &err);
	if (CHECK_OK(configuration != NULL, &err))
		CHECK_INT(configuration->snapshot->revision, 0);
	configuration_free(configuration);
	CHECK(configuration_load(directory, 3, &err) == NULL);
	CHECK_INT(err.code, ERR_NOT_FOUND);
}

/* ---- PIN ---- */

static struct secret *secret_of(const char *text)
{
	return secret_new(bytes_text(text), NULL);
}

static void pin_goes_through_its_states(void)
{
	struct pin pin;

	pin_init(&pin, test_directory());
	CHECK_TEXT(pin_state_name(&pin), "none");
	CHECK(!pin_usable(&pin));
	pin_try(&pin, secret_of("1234"), false);
	CHECK_TEXT(pin_state_name(&pin), "none");
	CHECK(pin_usable(&pin));
	pin_accepted(&pin);
	CHECK_TEXT(pin_state_name(&pin), "held");
	pin_reject(&pin, "CKR_PIN_INCORRECT");
	CHECK_TEXT(pin_state_name(&pin), "rejected");
	CHECK_TEXT(pin.error, "CKR_PIN_INCORRECT");
	CHECK(!pin_usable(&pin));
	CHECK(pin.secret == NULL);
	pin_try(&pin, secret_of("5678"), false);
	CHECK(pin_usable(&pin));
	CHECK_TEXT(pin.error, "");
	pin_forget(&pin, "");
	CHECK_TEXT(pin_state_name(&pin), "none");
	CHECK(pin.secret == NULL);
	pin_clear(&pin);
}

static void rejected_file_is_remembered(void)
{
	const char *directory = test_directory();
	char *path = mem_format("%s/pin", directory), *run = mem_format("%s/run", directory);
	struct pin pin, later;
	struct err err;

	CHECK_INT(mkdir(run, 0700), 0);
	CHECK(test_write_file(path, bytes_text("1111\nnot the PIN\n")));
	pin_init(&pin, directory);
	CHECK_OK(pin_read_file(&pin, path, &err), &err);
	CHECK_TEXT(secret_text(pin.secret), "1111");
	pin_reject(&pin, "wrong");
	pin_clear(&pin);

	pin_init(&later, directory);
	CHECK(!pin_read_file(&later, path, &err));
	CHECK_INT(err.code, ERR_DENIED);
	CHECK(!pin_usable(&later));
	usleep(20000); /* the clock of the file system is coarse */
	CHECK(test_write_file(path, bytes_text("2222\n")));
	CHECK_OK(pin_read_file(&later, path, &err), &err);
	pin_accepted(&later);
	CHECK(test_write_file(path, bytes_text("")));
	CHECK(!pin_read_file(&later, path, &err));
	CHECK_CONTAINS(err.text, "the first line is empty");
	pin_clear(&later);
	free(path);
	free(run);
}

/* ---- state directory ---- */

static void check_directory(const char *state, const char *name, mode_t mode, uid_t owner)
{
	char *path = mem_format("%s%s", state, name);
	struct stat status = {0};

	test_case("%s", name);
	CHECK_INT(stat(path, &status), 0);
	CHECK_INT(status.st_mode & 07777, mode);
	CHECK_INT(status.st_uid, owner);
	free(path);
}

static void state_directory_is_made_and_mended(void)
{
	bool root = geteuid() == 0;
	struct run_as relay = {.uid = root ? 61301 : geteuid(), .gid = root ? 61301 : getegid(), .change = root};
	char *state = mem_format("%s/state", test_directory());
	struct err err;
	int lock = -1, second = -1;

	CHECK_OK(state_directory_prepare(state, &relay, &lock, &err), &err);
	CHECK(!state_directory_prepare(state, &relay, &second, &err));
	CHECK_CONTAINS(err.text, "another inkand (process ");
	close(lock);
	CHECK_INT(chmod(state, 0777), 0);
	CHECK_OK(state_directory_prepare(state, &relay, &lock, &err), &err);
	check_directory(state, "", 0711, geteuid());
	check_directory(state, "/run", 0700, geteuid());
	check_directory(state, "/mail", 0700, relay.uid);
	check_directory(state, "/maildir", 0700, relay.uid);
	close(lock);
	free(state);
}

static void directories_of_strangers_are_refused(void)
{
	struct run_as relay = {.uid = 61301, .gid = 61301, .change = true};
	char *state = mem_format("%s/strange", test_directory()), *mail = mem_format("%s/mail", state);
	struct err err;
	int lock = -1;

	CHECK_INT(mkdir(state, 0711), 0);
	CHECK_INT(symlink("/tmp", mail), 0);
	CHECK(!state_directory_prepare(state, &relay, &lock, &err));
	CHECK_CONTAINS(err.text, "/mail: ");
	if (geteuid() == 0) {
		CHECK_INT(unlink(mail), 0);
		CHECK_INT(mkdir(mail, 0700), 0);
		CHECK_INT(chown(mail, 61999, 61999), 0);
		CHECK(!state_directory_prepare(state, &relay, &lock, &err));
		CHECK_CONTAINS(err.text, "belongs to user 61999, but must belong to user 61301");
	}
	free(state);
	free(mail);
}

int main(void)
{
	TEST(waits_double_up_to_a_minute);
	TEST(a_healthy_minute_forgives);
	TEST(a_worker_waits_three_seconds_at_most);
	TEST(sockets_follow_what_is_wanted);
	TEST(an_api_socket_stays_over_commits);
	TEST(all_or_none_are_bound);
	TEST(any_address_gives_way_to_one);
	TEST(bad_addresses_are_named);
	TEST(empty_configuration_has_the_defaults);
	TEST(configuration_is_read_from_settings);
	TEST(two_servers_on_one_address_are_refused);
	TEST(workers_know_both_revisions);
	TEST(no_database_is_the_empty_configuration);
	TEST(pin_goes_through_its_states);
	TEST(rejected_file_is_remembered);
	TEST(state_directory_is_made_and_mended);
	TEST(directories_of_strangers_are_refused);
	return test_finish();
}
