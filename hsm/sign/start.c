#include "hsm/sign/start.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "appliance/base/frame.h"
#include "appliance/base/log.h"
#include "appliance/base/process.h"

#define THREADS_MAX 64 /* of one worker */

static const enum worker_exit exits[] = {
    [TOKEN_FAULT_NONE] = WORKER_EXIT_INTERNAL,	      [TOKEN_FAULT_RETRY] = WORKER_EXIT_TOKEN_FAULT,
    [TOKEN_FAULT_MODULE] = WORKER_EXIT_MODULE,	      [TOKEN_FAULT_ABSENT] = WORKER_EXIT_TOKEN_ABSENT,
    [TOKEN_FAULT_PIN] = WORKER_EXIT_PIN_REJECTED,     [TOKEN_FAULT_KEY] = WORKER_EXIT_TOKEN_FAULT,
    [TOKEN_FAULT_MECHANISM] = WORKER_EXIT_TOKEN_FAULT};

enum worker_exit worker_exit_of(enum token_fault fault)
{
	return exits[fault];
}

void worker_fail(enum worker_exit code, const char *text)
{
	struct buf out = {0};
	struct worker_failed failed = {.exit_code = code, .text = mem_string(text)};
	bool told;

	worker_failed_encode(&out, &failed);
	told =
	    frame_send(CHILD_CONTROL_FD, WORKER_FRAME_FAILED, buf_bytes(&out), -1, clock_monotonic_ms() + REPORT_WAIT_MS, NULL);
	if (!told) /* else inkand logs it, and not each of many alike */
		log_error("worker.failed", LOG_NUMBER("exit", code), LOG_TEXT("error", text));
	_exit((int)code);
}

static bool memory_is_locked;

void start_warn(void)
{
	if (!memory_is_locked)
		log_warning("worker.memory-not-locked", LOG_TEXT("hint", "raise the limit of locked memory"));
}

static bool decode(struct buf *payload, struct worker_start *start, struct secret **pin, struct err *err)
{
	struct msg msg = msg_of(buf_bytes(payload));

	if (!worker_start_decode(&msg, start, err))
		return false;
	if (!start->has_pin)
		return true;
	*pin = secret_new(start->pin, err);
	start->pin = (struct bytes){0};
	if (*pin != NULL)
		return true;
	worker_start_clear(start);
	return false;
}

static bool receive(struct worker_start *start, struct secret **pin, struct err *err)
{
	struct buf payload = {0};
	uint16_t type;
	bool good;

	if (!frame_receive(CHILD_CONTROL_FD, &type, &payload, NULL, clock_monotonic_ms() + START_WAIT_MS, err)) {
		buf_wipe_clear(&payload);
		return false;
	}
	good = type == WORKER_FRAME_START ? decode(&payload, start, pin, err)
					  : err_set(err, ERR_INVALID, "frame %u came before START", type);
	buf_wipe_clear(&payload);
	return good;
}

static bool set_environment(const struct hsm_settings *settings, struct err *err)
{
	for (size_t i = 0; i < settings->n_environment; i++) {
		char *name = settings->environment[i], *equals = strchr(name, '=');
		bool set = false;

		if (equals != NULL && equals != name) {
			*equals = '\0';
			set = setenv(name, equals + 1, 1) == 0;
			*equals = '=';
		}
		if (!set)
			return err_set(err, ERR_INVALID, "environment of the module: \"%s\" is not NAME=VALUE", name);
	}
	return true;
}

/* A module reads what it likes, uses sockets and devices, and writes where the operator allows. */
static bool confine(const struct hsm_settings *settings, struct err *err)
{
	const char **writable = mem_new_array(settings->n_writable + 2, sizeof *writable);
	struct confinement confinement = {.writable = writable, .network = true};
	bool confined;

	writable[0] = "/dev";
	for (size_t i = 0; i < settings->n_writable; i++)
		writable[i + 1] = settings->writable[i];
	confined = process_confine(&confinement, err);
	free(writable);
	return confined;
}

bool start_receive(struct worker_start *start, struct secret **pin, struct err *err)
{
	process_no_dump();
	memory_is_locked = process_lock_memory();
	if (!receive(start, pin, err))
		return false;
	if (set_environment(&start->settings, err) && confine(&start->settings, err))
		return true;
	worker_start_clear(start);
	secret_free(*pin);
	*pin = NULL;
	return false;
}

const char *start_backend(const struct hsm_settings *settings)
{
	if (strcmp(settings->backend, "engine") != 0 || token_backend_threads("engine") > 0)
		return settings->backend;
	log_warning("worker.no-engine", LOG_TEXT("hint", "this OpenSSL has no ENGINE: set hsm backend cryptoki"));
	return "cryptoki";
}

unsigned start_threads(const struct hsm_settings *settings)
{
	unsigned most = token_backend_threads(token_backend_threads(settings->backend) > 0 ? settings->backend : "cryptoki"),
		 threads = settings->threads;

	if (most > THREADS_MAX)
		most = THREADS_MAX;
	if (threads > most)
		threads = most;
	return threads > 0 ? threads : 1;
}
