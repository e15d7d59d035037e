/* inkand with stand-ins for its children (supervisor_fakes.h), asked over its control socket as the console does. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "appliance/base/log.h"
#include "appliance/supervisor/supervisor.h"
#include "appliance/supervisor/watch.h"
#include "provisioning/store/store.h"
#include "tests/unit/supervisor_fakes.h"
#include "tests/unit/test.h"

#define PIN "2468"
#define PATIENCE_MS 15000
#define BACK_WITHIN_MS 2000

static char directory[256], programs[300], state[300];
static pid_t inkand;
static int control = -1;

/* ---- a place to run in ---- */

static void copy_self(const char *name)
{
	struct buf self = {0};
	char path[512];

	snprintf(path, sizeof path, "%s/%s", programs, name);
	CHECK(test_read_file("/proc/self/exe", &self));
	CHECK(test_write_file(path, buf_bytes(&self)));
	CHECK_INT(chmod(path, 0700), 0);
	buf_clear(&self);
}

static void set_token(const char *behaviour)
{
	char path[512], next[520];

	snprintf(path, sizeof path, "%s/token", programs);
	snprintf(next, sizeof next, "%s.new", path);
	CHECK(test_write_file(next, bytes_text(behaviour)));
	CHECK_INT(rename(next, path), 0);
}

/* Each test has an appliance of its own. */
static void prepare(void)
{
	static int number;

	snprintf(directory, sizeof directory, "%s/%d", test_directory(), number++);
	snprintf(programs, sizeof programs, "%s/bin", directory);
	snprintf(state, sizeof state, "%s/state", directory);
	mkdir(directory, 0700);
	mkdir(programs, 0700);
	mkdir(state, 0700);
	copy_self("inkan-relay");
	copy_self("inkan-hsm");
	set_token(PIN);
}

static char *events(void)
{
	struct buf text = {0};
	char path[512], *copy;

	snprintf(path, sizeof path, "%s/events", programs);
	if (!test_read_file(path, &text))
		buf_clear(&text);
	copy = mem_string(buf_text(&text));
	buf_clear(&text);
	return copy;
}

static unsigned count_events(const char *line)
{
	char *all = events(), *wanted = mem_format("%s\n", line);
	unsigned count = 0;

	for (const char *at = all; (at = strstr(at, wanted)) != NULL; at++)
		count++;
	free(all);
	free(wanted);
	return count;
}

static bool wait_for(const char *line, unsigned count)
{
	int64_t deadline_ms = clock_monotonic_ms() + PATIENCE_MS;
	char *all;

	while (clock_monotonic_ms() < deadline_ms) {
		if (count_events(line) >= count)
			return true;
		usleep(10000);
	}
	all = events();
	fprintf(stderr, "no \"%s\" (%u times) in:\n%s", line, count, all);
	free(all);
	return false;
}

/* The last lines of both are in this order. */
static bool happened_before(const char *first, const char *second)
{
	char *all = events(), *one = mem_format("%s\n", first), *two = mem_format("%s\n", second);
	char *at_one = strstr(all, one), *at_two = strstr(all, two);
	bool ordered = at_one != NULL && at_two != NULL && at_one < at_two;

	free(all);
	free(one);
	free(two);
	return ordered;
}

/* ---- configuration ---- */

static uint16_t free_port(int *held)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(bind(fd, (struct sockaddr *)&address, len) == 0 && listen(fd, 1) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)&address, &len) == 0);
	if (held != NULL)
		*held = fd;
	else
		close(fd);
	return ntohs(address.sin_port);
}

static bool can_connect(uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool connected = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;

	close(fd);
	return connected;
}

static void add_listen(struct settings *settings, uint16_t port)
{
	char *path = mem_format("server default smtp listen 127.0.0.1:%u", port);

	settings_add(settings, path, "");
	free(path);
}

static struct settings basic_settings(uint16_t port)
{
	struct settings settings = {0};

	settings_add(&settings, "hsm module", "/usr/lib/fake.so");
	settings_add(&settings, "hsm token", "fake");
	settings_add(&settings, "server default", "");
	if (port != 0)
		add_listen(&settings, port);
	return settings;
}

/* Takes the settings. The revision is proposed, and with `accept` the one that a start reads. */
static uint64_t write_revision(struct settings *settings, bool accept)
{
	struct revision revision = {.by = mem_string("test"), .comment = mem_string(""), .settings = *settings};
	struct store *store;
	uint64_t number = 0;
	struct err err;

	store = store_open(state, STORE_READ_WRITE, &err);
	if (CHECK_OK(store != NULL, &err) && CHECK_OK(store_running(store, &revision.base, &err), &err) &&
	    CHECK_OK(store_revision_propose(store, &revision, &number, &err), &err) && accept)
		CHECK_OK(store_revision_accept(store, number, &err), &err);
	store_close(store);
	revision_clear(&revision);
	*settings = (struct settings){0};
	return number;
}

/* ---- the console's side ---- */

static bool ask(uint16_t type, struct buf *payload, struct buf *answer, int *fd, struct err *err)
{
	int64_t deadline_ms = clock_monotonic_ms() + 2 * PATIENCE_MS;
	struct buf got = {0};
	uint16_t answered;
	struct msg msg;
	bool ok;

	ok = frame_send(control, type, buf_bytes(payload), -1, deadline_ms, err) &&
	     frame_receive(control, &answered, &got, fd, deadline_ms, err);
	buf_clear(payload);
	if (ok && answered == CONTROL_ERROR) {
		char *text;
		enum err_code code;

		msg = msg_of(buf_bytes(&got));
		code = msg_get_u8(&msg);
		text = msg_get_text(&msg);
		ok = err_set(err, code, "%s", text);
		free(text);
	}
	if (answer != NULL && ok)
		*answer = got;
	else
		buf_clear(&got);
	return ok;
}

static bool ask_simple(uint16_t type, struct err *err)
{
	struct buf none = {0};

	return ask(type, &none, NULL, NULL, err);
}

static bool log_in(const char *pin, struct err *err)
{
	struct buf payload = {0};

	msg_put_bytes(&payload, bytes_text(pin));
	msg_put_u8(&payload, 0);
	return ask(CONTROL_LOGIN, &payload, NULL, NULL, err);
}

static bool apply(uint64_t revision, bool check, struct err *err)
{
	struct buf payload = {0};

	msg_put_u64(&payload, revision);
	msg_put_u8(&payload, check ? 1 : 0);
	return ask(CONTROL_APPLY, &payload, NULL, NULL, err);
}

static struct supervisor_status status(void)
{
	struct supervisor_status status = {0};
	struct buf none = {0}, answer = {0};
	struct msg msg;
	struct err err;

	if (!CHECK_OK(ask(CONTROL_STATUS, &none, &answer, NULL, &err), &err))
		return status;
	msg = msg_of(buf_bytes(&answer));
	CHECK_OK(supervisor_status_decode(&msg, &status, &err), &err);
	buf_clear(&answer);
	return status;
}

/* The process of a child that is running, or 0. */
static pid_t running_pid(const char *name)
{
	struct supervisor_status now = status();
	pid_t pid = 0;

	for (size_t i = 0; i < now.n_children; i++)
		if (strcmp(now.children[i].name, name) == 0 && strcmp(now.children[i].state, "running") == 0)
			pid = (pid_t)now.children[i].pid;
	supervisor_status_clear(&now);
	return pid;
}

static void check_pin(const char *want)
{
	struct supervisor_status now = status();

	CHECK_TEXT(now.pin, want);
	supervisor_status_clear(&now);
}

static bool connect_console(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int64_t deadline_ms = clock_monotonic_ms() + PATIENCE_MS;
	char *path;

	path = mem_format("%s/run/control.sock", state);
	if (CHECK(strlen(path) < sizeof address.sun_path))
		strcpy(address.sun_path, path);
	free(path);
	while (clock_monotonic_ms() < deadline_ms) {
		control = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (connect(control, (struct sockaddr *)&address, sizeof address) == 0)
			return true;
		close(control);
		usleep(10000);
	}
	return false;
}

static bool greet(uint32_t version, struct err *err)
{
	struct buf payload = {0};

	msg_put_u32(&payload, version);
	return ask(CONTROL_HELLO, &payload, NULL, NULL, err);
}

/* ---- inkand ---- */

static int run_inkand(void)
{
	struct supervisor_options options = {.state = state, .programs = programs, .log_format = "text"};
	char path[512];
	struct err err;
	int fd;

	snprintf(path, sizeof path, "%s/log", directory);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	dup2(fd, STDERR_FILENO);
	log_open("inkand", LOG_FORMAT_TEXT, LOG_DEBUG);
	return supervisor_run(&options, &err) ? 0 : 1;
}

static void start_inkand(void)
{
	struct err err;

	inkand = fork();
	if (inkand == 0)
		_exit(run_inkand());
	CHECK(connect_console());
	CHECK_OK(greet(CONTROL_VERSION, &err), &err);
}

static void stop_inkand(int signal_number)
{
	int how = -1;

	kill(inkand, signal_number);
	CHECK(waitpid(inkand, &how, 0) == inkand);
	if (signal_number == SIGTERM)
		CHECK_INT(how, 0);
	close(control);
}

static void log_in_and_wait(void)
{
	struct err err;

	CHECK_OK(log_in(PIN, &err), &err);
	CHECK(wait_for("relay worker 2", 1));
}

static void start_logged_in(uint16_t port)
{
	struct settings settings = basic_settings(port);

	write_revision(&settings, true);
	start_inkand();
	log_in_and_wait();
}

/* Milliseconds until a child runs again with another process. */
static int64_t kill_and_wait(const char *name)
{
	int64_t killed_ms = clock_monotonic_ms();
	pid_t before = running_pid(name), after = 0;

	CHECK(before > 0);
	kill(before, SIGKILL);
	while ((after == 0 || after == before) && clock_monotonic_ms() < killed_ms + PATIENCE_MS) {
		usleep(10000);
		after = running_pid(name);
	}
	return clock_monotonic_ms() - killed_ms;
}

/* ---- tests ---- */

static void relay_runs_before_there_is_a_revision(void)
{
	struct err err;

	prepare();
	start_inkand();
	CHECK(wait_for("relay configure 0", 1));
	CHECK(happened_before("relay locked", "relay configure 0"));
	check_pin("none");
	CHECK(!log_in(PIN, &err));
	CHECK_CONTAINS(err.text, "no HSM is configured");
	CHECK_INT(count_events("worker start engine"), 0);
	stop_inkand(SIGTERM);
}

static void console_must_speak_this_version(void)
{
	struct err err;

	prepare();
	start_inkand();
	close(control);
	CHECK(connect_console());
	CHECK(!ask_simple(CONTROL_STATUS, &err));
	CHECK_TEXT(err.text, "the console did not say its version");
	CHECK(!greet(CONTROL_VERSION + 1, &err));
	CHECK_CONTAINS(err.text, "speaks version");
	CHECK(!ask_simple(999, &err));
	CHECK_TEXT(err.text, "unknown request");
	stop_inkand(SIGTERM);
}

static void rejected_pin_is_never_tried_again(void)
{
	struct settings settings = basic_settings(0);
	struct err err;

	prepare();
	write_revision(&settings, true);
	start_inkand();
	CHECK(!log_in("", &err));
	CHECK_TEXT(err.text, "the PIN is empty");
	CHECK(!log_in("1111", &err));
	CHECK_INT(err.code, ERR_DENIED);
	CHECK_TEXT(err.text, "the token refused the PIN");
	usleep(1500000); /* longer than the first waits for a restart */
	CHECK_INT(count_events("worker start engine"), 1);
	check_pin("rejected");
	CHECK_INT(count_events("relay unlocked"), 0);

	log_in_and_wait();
	check_pin("held");
	CHECK_INT(count_events("worker start engine"), 3);
	CHECK_INT(count_events("relay unlocked"), 1);
	stop_inkand(SIGTERM);
}

static void workers_start_one_at_a_time(void)
{
	struct settings settings = basic_settings(0);
	struct buf payload = {0};
	struct err err;

	prepare();
	write_revision(&settings, true);
	start_inkand();
	set_token("slow");
	msg_put_bytes(&payload, bytes_text(PIN));
	msg_put_u8(&payload, 0);
	CHECK_OK(frame_send(control, CONTROL_LOGIN, buf_bytes(&payload), -1, clock_monotonic_ms() + PATIENCE_MS, &err), &err);
	buf_clear(&payload);
	CHECK(wait_for("worker start engine", 1));
	usleep(300000);
	CHECK_INT(count_events("worker start engine"), 1);
	set_token(PIN);
	CHECK(wait_for("relay worker 2", 1));
	CHECK(happened_before("relay worker 1", "relay worker 2"));
	stop_inkand(SIGTERM);
}

static void absent_token_fails_the_login_only(void)
{
	struct settings settings = basic_settings(0);
	struct err err;

	prepare();
	write_revision(&settings, true);
	set_token("absent");
	start_inkand();
	CHECK(!log_in(PIN, &err));
	CHECK_INT(err.code, ERR_UNAVAILABLE);
	CHECK_TEXT(err.text, "no token of that label");
	check_pin("none");
	usleep(1200000);
	CHECK_INT(count_events("worker start engine"), 1);
	set_token(PIN);
	log_in_and_wait();
	stop_inkand(SIGTERM);
}

static void logout_stops_the_workers(void)
{
	struct err err;

	prepare();
	start_logged_in(0);
	CHECK(!log_in("1111", &err));
	CHECK_CONTAINS(err.text, "another PIN is held");
	CHECK_OK(log_in(PIN, &err), &err);
	CHECK_OK(ask_simple(CONTROL_LOGOUT, &err), &err);
	CHECK(wait_for("worker stop", 2));
	check_pin("none");
	log_in_and_wait();
	CHECK(wait_for("relay worker 2", 2));
	stop_inkand(SIGTERM);
}

static void killed_children_are_back_at_once(void)
{
	uint16_t port = free_port(NULL);
	char listener[64];
	int64_t took_ms;

	prepare();
	start_logged_in(port);
	snprintf(listener, sizeof listener, "relay listener 127.0.0.1:%u", port);

	took_ms = kill_and_wait("worker 1");
	CHECK(took_ms < BACK_WITHIN_MS);
	CHECK(wait_for("relay worker 1", 2));

	took_ms = kill_and_wait("relay");
	CHECK(took_ms < BACK_WITHIN_MS);
	CHECK(can_connect(port));
	CHECK(wait_for(listener, 2));
	CHECK(wait_for("relay worker 2", 2));
	CHECK(wait_for("worker channel", 5));
	stop_inkand(SIGTERM);
	CHECK(!can_connect(port));
}

static void set_silent(bool silent)
{
	char *path = mem_format("%s/silent", programs);

	if (silent)
		CHECK(test_write_file(path, bytes_text("")));
	else
		unlink(path);
	free(path);
}

/* They live, but their loops do not turn: after WATCH_TICK_MS * WATCH_UNANSWERED_MAX they are ended and started again. */
static void hanging_children_are_ended_and_started_again(void)
{
	int64_t end = clock_monotonic_ms() + WATCH_TICK_MS * (WATCH_UNANSWERED_MAX + 5);

	prepare();
	start_logged_in(free_port(NULL));
	usleep((WATCH_TICK_MS + 500) * 1000);
	CHECK_INT(count_events("relay start"), 1);
	set_silent(true);
	while ((count_events("relay start") < 2 || count_events("worker start engine") < 4) && clock_monotonic_ms() < end)
		usleep(50000);
	set_silent(false);
	CHECK_INT(count_events("relay start"), 2);
	CHECK_INT(count_events("worker start engine"), 4);
	stop_inkand(SIGTERM);
}

static void apply_moves_sockets_and_configuration(void)
{
	uint16_t first = free_port(NULL), second = free_port(NULL);
	struct settings settings;
	uint64_t revision;
	char line[64];
	struct err err;

	prepare();
	start_logged_in(first);
	settings = basic_settings(second);
	revision = write_revision(&settings, false);

	CHECK_OK(apply(revision, true, &err), &err);
	CHECK(!can_connect(second));
	CHECK_OK(apply(revision, false, &err), &err);
	CHECK(can_connect(second));
	CHECK(!can_connect(first));
	snprintf(line, sizeof line, "relay configure %u", (unsigned)revision);
	CHECK_INT(count_events(line), 1);
	CHECK_INT(count_events("worker certificates"), 2);
	CHECK(happened_before("worker certificates", line));
	stop_inkand(SIGTERM);
}

static void apply_that_cannot_be_changes_nothing(void)
{
	uint16_t first = free_port(NULL), taken;
	struct settings settings;
	struct supervisor_status now;
	uint64_t revision;
	struct err err;
	int held;

	prepare();
	start_logged_in(first);
	taken = free_port(&held);
	settings = basic_settings(taken);
	revision = write_revision(&settings, false);
	CHECK(!apply(revision, false, &err));
	CHECK_CONTAINS(err.text, "cannot listen on 127.0.0.1:");
	CHECK_CONTAINS(err.text, "Address already in use");

	settings = basic_settings(first);
	settings_add(&settings, "system host-name", FAKE_REFUSED_HOST);
	revision = write_revision(&settings, false);
	CHECK(!apply(revision, false, &err));
	CHECK_TEXT(err.text, "the fake relay refuses this host name");

	CHECK(!apply(4711, false, &err));
	CHECK_INT(err.code, ERR_NOT_FOUND);
	CHECK(can_connect(first));
	now = status();
	CHECK_INT(now.revision, 1);
	supervisor_status_clear(&now);
	close(held);
	stop_inkand(SIGTERM);
}

static void hsm_settings_restart_the_workers_in_turn(void)
{
	struct settings settings;
	uint64_t revision;
	struct err err;

	prepare();
	start_logged_in(0);
	settings = basic_settings(0);
	settings_add(&settings, "hsm backend", "cryptoki");
	settings_add(&settings, "hsm processes", "3");
	revision = write_revision(&settings, false);
	CHECK_OK(apply(revision, false, &err), &err);
	CHECK(wait_for("worker start cryptoki", 3));
	CHECK(wait_for("relay worker 3", 1));
	CHECK(wait_for("worker stop", 2));

	settings = basic_settings(0);
	settings_add(&settings, "hsm backend", "cryptoki");
	settings_add(&settings, "hsm processes", "1");
	revision = write_revision(&settings, false);
	CHECK_OK(apply(revision, false, &err), &err);
	/* The one that stays has more of the token's sessions than before. */
	CHECK(wait_for("worker stop", 5));
	CHECK(wait_for("worker start cryptoki", 4));
	CHECK_INT(count_events("worker start cryptoki"), 4);
	CHECK(running_pid("worker 1") > 0);
	stop_inkand(SIGTERM);
}

static void second_inkand_is_refused(void)
{
	struct supervisor_options options = {.state = state, .programs = programs, .log_format = "text"};
	struct err err;

	prepare();
	start_inkand();
	CHECK(!supervisor_run(&options, &err));
	CHECK_INT(err.code, ERR_EXISTS);
	CHECK_CONTAINS(err.text, "another inkand (process ");
	stop_inkand(SIGTERM);
}

static void check_task(const char *want)
{
	struct buf none = {0}, answer = {0};
	uint16_t type;
	struct msg msg;
	struct err err;
	char *text;
	int fd = -1;

	if (!CHECK_OK(ask(CONTROL_PROVISION, &none, NULL, &fd, &err), &err) || !CHECK(fd >= 0))
		return;
	if (!CHECK_OK(frame_receive(fd, &type, &answer, NULL, clock_monotonic_ms() + PATIENCE_MS, &err), &err))
		return;
	msg = msg_of(buf_bytes(&answer));
	text = msg_get_text(&msg);
	CHECK_INT(type, PROVISION_FRAME_RESULT);
	CHECK_TEXT(text, want);
	free(text);
	buf_clear(&answer);
	close(fd);
}

static void tasks_get_the_pin_when_it_is_held(void)
{
	struct settings settings = basic_settings(0);

	prepare();
	write_revision(&settings, true);
	start_inkand();
	check_task("without a PIN");
	log_in_and_wait();
	check_task("with a PIN");
	stop_inkand(SIGTERM);
}

static void relay_connection_is_handed_out(void)
{
	struct buf none = {0}, answer = {0};
	uint16_t type = 0;
	struct err err;
	int fd = -1;

	prepare();
	start_inkand();
	CHECK(wait_for("relay configure 0", 1));
	while (running_pid("relay") == 0)
		usleep(10000);
	CHECK_OK(ask(CONTROL_RELAY, &none, NULL, &fd, &err), &err);
	CHECK_OK(frame_receive(fd, &type, &answer, NULL, clock_monotonic_ms() + PATIENCE_MS, &err), &err);
	CHECK_INT(type, 77);
	close(fd);
	stop_inkand(SIGTERM);
}

static void stops_the_relay_before_the_workers(void)
{
	char path[512];
	struct err err;
	int how = -1;

	prepare();
	start_logged_in(0);
	CHECK_OK(ask_simple(CONTROL_STOP, &err), &err);
	CHECK(waitpid(inkand, &how, 0) == inkand);
	CHECK_INT(how, 0);
	close(control);
	CHECK(happened_before("relay stop", "worker stop"));
	CHECK_INT(count_events("worker stop"), 2);
	snprintf(path, sizeof path, "%s/run/control.sock", state);
	CHECK(access(path, F_OK) != 0);
}

static void rejected_pin_file_is_not_tried_after_a_crash(void)
{
	struct settings settings = basic_settings(0);
	char path[512], *source;

	prepare();
	snprintf(path, sizeof path, "%s/pin", directory);
	CHECK(test_write_file(path, bytes_text("1111\n")));
	source = mem_format("file:%s", path);
	settings_add(&settings, "hsm pin-source", source);
	free(source);
	write_revision(&settings, true);

	start_inkand();
	CHECK(wait_for("worker start engine", 1));
	while (count_events("relay locked") == 0)
		usleep(10000);
	check_pin("rejected");
	stop_inkand(SIGKILL);

	start_inkand();
	usleep(700000);
	CHECK_INT(count_events("worker start engine"), 1);
	stop_inkand(SIGTERM);

	CHECK(test_write_file(path, bytes_text(PIN "\n")));
	start_inkand();
	CHECK(wait_for("relay worker 2", 1));
	check_pin("held");
	stop_inkand(SIGTERM);
}

int main(int argc, char **argv)
{
	int fake = fake_run(argc, argv);

	if (fake >= 0)
		_exit(fake); /* without the leak checker: it ends in the middle */
	TEST(relay_runs_before_there_is_a_revision);
	TEST(console_must_speak_this_version);
	TEST(rejected_pin_is_never_tried_again);
	TEST(workers_start_one_at_a_time);
	TEST(absent_token_fails_the_login_only);
	TEST(logout_stops_the_workers);
	TEST(killed_children_are_back_at_once);
	TEST(hanging_children_are_ended_and_started_again);
	TEST(apply_moves_sockets_and_configuration);
	TEST(apply_that_cannot_be_changes_nothing);
	TEST(hsm_settings_restart_the_workers_in_turn);
	TEST(second_inkand_is_refused);
	TEST(tasks_get_the_pin_when_it_is_held);
	TEST(relay_connection_is_handed_out);
	TEST(stops_the_relay_before_the_workers);
	TEST(rejected_pin_file_is_not_tried_after_a_crash);
	return test_finish();
}
