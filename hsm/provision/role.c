#include "hsm/provision/role.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "appliance/base/frame.h"
#include "appliance/base/log.h"
#include "appliance/base/process.h"
#include "hsm/protocol/provision.h"
#include "hsm/provision/tasks.h"

#define SECURE_HEAP_BYTES (1u << 20) /* decrypted keys: a power of two */
#define SECURE_HEAP_LEAST 32

static const struct task {
	uint16_t frame;
	const char *name;
	enum connection_login login;
	bool (*run)(struct provision *provision, struct msg *msg, struct buf *result, struct err *err);
} tasks[] = {
    {PROVISION_FRAME_DESCRIBE, "describe", CONNECTION_LOGIN_IF_PIN, task_describe},
    {PROVISION_FRAME_INITIALIZE, "initialize", CONNECTION_LOGIN_IF_PIN, task_initialize},
    {PROVISION_FRAME_IMPORT, "import", CONNECTION_LOGIN_NEEDED, task_import},
    {PROVISION_FRAME_REQUEST, "request", CONNECTION_LOGIN_NEEDED, task_request},
    {PROVISION_FRAME_INSTALL, "install", CONNECTION_LOGIN_NEEDED, task_install},
    {PROVISION_FRAME_DELETE, "delete", CONNECTION_LOGIN_NEEDED, task_delete},
    {PROVISION_FRAME_SWEEP, "sweep", CONNECTION_LOGIN_NEEDED, task_sweep},
    {PROVISION_FRAME_TEST, "test", CONNECTION_LOGIN_NEEDED, task_test},
    {PROVISION_FRAME_BENCHMARK, "benchmark", CONNECTION_NONE, task_benchmark},
    {PROVISION_FRAME_SEAL, "seal", CONNECTION_LOGIN_NEEDED, task_seal},
    {PROVISION_FRAME_CHECKPOINT, "checkpoint", CONNECTION_LOGIN_NEEDED, task_checkpoint},
    {PROVISION_FRAME_UNSEAL, "unseal", CONNECTION_LOGIN_NEEDED, task_unseal},
};

/* ---- the start ---- */

static bool receive_start(struct worker_start *start, struct secret **pin, int *console, struct err *err)
{
	struct buf payload = {0};
	struct msg msg;
	uint16_t type = 0;
	bool good =
	    frame_receive(CHILD_CONTROL_FD, &type, &payload, console, clock_monotonic_ms() + PROVISION_START_WAIT_MS, err);

	msg = msg_of(buf_bytes(&payload));
	if (good && (type != WORKER_FRAME_START || *console < 0))
		good = err_set(err, ERR_INVALID, "inkand sent frame %u instead of START with a connection", type);
	good = good && worker_start_decode(&msg, start, err);
	if (good && start->has_pin) {
		*pin = secret_new(start->pin, err);
		good = *pin != NULL;
	}
	buf_wipe_clear(&payload);
	start->pin = (struct bytes){0};
	return good;
}

/* Before the module is loaded: SoftHSM and others look at their environment when they are. */
static bool set_environment(const struct hsm_settings *settings, struct err *err)
{
	for (size_t i = 0; i < settings->n_environment; i++) {
		char *name = mem_string(settings->environment[i]), *equals = strchr(name, '=');
		bool set = equals != NULL && equals != name;

		if (set) {
			*equals = '\0';
			set = setenv(name, equals + 1, 1) == 0;
		}
		free(name);
		if (!set)
			return err_set(err, ERR_INVALID, "hsm environment is NAME=VALUE, not \"%s\"", settings->environment[i]);
	}
	return true;
}

/* The module may read anywhere and use the network; it writes where the operator said. */
static bool confine(const struct hsm_settings *settings, struct err *err)
{
	const char **writable = mem_new_array(settings->n_writable + 1, sizeof *writable);
	bool good;

	for (size_t i = 0; i < settings->n_writable; i++)
		writable[i] = settings->writable[i];
	good = process_confine(&(struct confinement){.writable = writable, .network = true}, err);
	free(writable);
	return good;
}

/* ---- the task ---- */

static bool send_to_console(int console, uint16_t type, struct bytes payload, struct err *err)
{
	return frame_send(console, type, payload, -1, clock_monotonic_ms() + PROVISION_SEND_WAIT_MS, err);
}

static void send_progress(const char *text, void *arg)
{
	struct buf payload = {0};

	/* A console that is gone is noticed with the result. */
	msg_put_text(&payload, text);
	(void)!send_to_console(*(const int *)arg, PROVISION_FRAME_PROGRESS, buf_bytes(&payload), NULL);
	buf_clear(&payload);
}

static void send_error(int console, const struct err *why, bool left)
{
	struct buf payload = {0};

	msg_put_u8(&payload, (uint8_t)why->code);
	msg_put_text(&payload, why->text);
	msg_put_u8(&payload, left);
	(void)!send_to_console(console, PROVISION_FRAME_ERROR, buf_bytes(&payload), NULL);
	buf_clear(&payload);
}

static const struct task *task_of(uint16_t frame)
{
	for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++)
		if (tasks[i].frame == frame)
			return &tasks[i];
	return NULL;
}

static void report(const struct task *task, bool done, const struct err *why)
{
	if (done)
		log_info("provision.done", LOG_TEXT("task", task->name));
	else
		log_warning("provision.failed", LOG_TEXT("task", task->name), LOG_ERR(why));
}

/* So that inkand lets nobody else log in meanwhile. */
static void tell_login_is_past(void)
{
	(void)!frame_send(CHILD_CONTROL_FD, WORKER_FRAME_LOGGED_IN, (struct bytes){0}, -1,
			  clock_monotonic_ms() + PROVISION_SEND_WAIT_MS, NULL);
}

/* Does the task and answers it. What was made for a console that no longer hears of it is destroyed. */
static void run_task(struct provision *provision, const struct task *task, struct msg *msg, int console)
{
	struct buf result = {0};
	struct err why = {0};
	bool done;

	if (task->login != CONNECTION_NONE) {
		connection_open(&provision->connection, provision->settings, provision->pin, task->login);
		tell_login_is_past();
	}
	done = task->run(provision, msg, &result, &why);
	if (!done)
		send_error(console, &why, provision->left);
	else if (!send_to_console(console, PROVISION_FRAME_RESULT, buf_bytes(&result), &why)) {
		done = false;
		provision_undo(provision);
	}
	report(task, done, &why);
	provision_keep(provision);
	buf_wipe_clear(&result);
	connection_close(&provision->connection);
}

static bool serve(const struct worker_start *start, const struct secret *pin, int console, int *exit_code, struct err *err)
{
	struct provision provision = {.settings = &start->settings,
				      .pin = pin,
				      .progress = send_progress,
				      .arg = &console,
				      .login_is_past = tell_login_is_past};
	struct buf payload = {0};
	uint16_t type = 0;
	const struct task *task;
	struct msg msg;
	int lock = -1; /* held to the end of the process: provision.h says why */
	bool good = frame_receive(console, &type, &payload, &lock, clock_monotonic_ms() + PROVISION_TASK_WAIT_MS, err);

	task = good ? task_of(type) : NULL;
	if (good && task == NULL)
		good = err_set(err, ERR_INVALID, "unknown provisioning task %u", type);
	if (good) {
		alarm(PROVISION_TASK_MAX_SECONDS);
		msg = msg_of(buf_bytes(&payload));
		run_task(&provision, task, &msg, console);
		*exit_code = (int)provision.connection.exit;
	}
	buf_wipe_clear(&payload);
	return good;
}

int provision_role(void)
{
	struct worker_start start = {0};
	struct secret *pin = NULL;
	int console = -1, exit_code = WORKER_EXIT_INTERNAL;
	struct err err;
	bool good;

	process_no_dump();
	(void)process_lock_memory();
	(void)CRYPTO_secure_malloc_init(SECURE_HEAP_BYTES, SECURE_HEAP_LEAST);
	good = receive_start(&start, &pin, &console, &err) && set_environment(&start.settings, &err) &&
	       confine(&start.settings, &err) && serve(&start, pin, console, &exit_code, &err);
	if (!good) {
		log_error("provision.broken", LOG_ERR(&err));
		if (console >= 0)
			send_error(console, &err, false);
	}
	secret_free(pin);
	worker_start_clear(&start);
	if (console >= 0)
		close(console);
	/* Past the exit handlers of OpenSSL and of the module, which are known to crash. */
	_exit(exit_code);
}
