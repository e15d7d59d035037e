#include "hsm/sign/role.h"

#include <event2/event.h>
#include <unistd.h>

#include "appliance/base/channel.h"
#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/base/pool.h"
#include "hsm/sign/jobs.h"
#include "hsm/sign/start.h"
#include "hsm/sign/upkeep.h"

#define KEYS_AT_START_MS 2000 /* of loading keys before READY; the rest follows in the background */
#define STOP_MS 30000 /* for running signatures */

struct worker {
	struct event_base *base;
	struct token *token;
	struct keyring *keyring;
	struct jobs *jobs;
	struct upkeep *upkeep;
	struct channel *control;
	unsigned threads;
	uint32_t canary_ms;
};

_Noreturn static void leave(void *arg)
{
	(void)arg;
	log_info("worker.stopped", LOG_NUMBER("exit", WORKER_EXIT_OK));
	_exit(WORKER_EXIT_OK);
}

static void on_fatal(enum token_fault fault, const char *text, void *arg)
{
	(void)fault;
	(void)arg;
	worker_fail(WORKER_EXIT_TOKEN_FAULT, text);
}

static void on_stop_timeout(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	leave(arg);
}

static void on_stop(struct worker *worker)
{
	static const struct timeval limit = {.tv_sec = STOP_MS / 1000};

	event_base_once(worker->base, -1, EV_TIMEOUT, on_stop_timeout, worker, &limit);
	jobs_stop(worker->jobs, leave, worker);
}

static bool report_ready(struct worker *worker, struct err *err)
{
	const struct token_info *info = token_describe(worker->token);
	struct keyring_count keys = keyring_count(worker->keyring);
	struct worker_ready ready = {
	    .token = (char *)info->label,
	    .model = (char *)info->model,
	    .serial = (char *)info->serial,
	    .firmware = (char *)info->firmware,
	    .threads = worker->threads,
	    .keys_loaded = keys.loaded,
	    .keys_missing = keys.missing,
	};
	struct buf out = {0};
	bool told;

	worker_ready_encode(&out, &ready);
	told = frame_send(CHILD_CONTROL_FD, WORKER_FRAME_READY, buf_bytes(&out), -1, clock_monotonic_ms() + REPORT_WAIT_MS, err);
	buf_clear(&out);
	log_info("worker.ready", LOG_TEXT("token", info->label), LOG_TEXT("serial", info->serial),
		 LOG_NUMBER("threads", ready.threads), LOG_NUMBER("keys", keys.loaded), LOG_NUMBER("missing", keys.missing),
		 LOG_NUMBER("later", keys.unloaded));
	return told;
}

static void on_keys_loaded(void *arg)
{
	struct worker *worker = arg;
	struct err err;

	if (!report_ready(worker, &err))
		worker_fail(WORKER_EXIT_INTERNAL, err.text);
}

/* READY again tells inkand that the relay may ask for signatures with these. */
static void on_certificates(struct worker *worker, struct msg *msg)
{
	struct worker_certificates certificates;
	struct err err;

	if (!worker_certificates_decode(msg, &certificates, &err))
		worker_fail(WORKER_EXIT_INTERNAL, err.text);
	keyring_replace(worker->keyring, &certificates);
	log_info("worker.certificates", LOG_NUMBER("count", certificates.count));
	worker_certificates_clear(&certificates);
	upkeep_load_now(worker->upkeep, on_keys_loaded, worker);
}

static void on_ping(struct worker *worker, struct msg *msg)
{
	struct buf out = {0};

	msg_put_u64(&out, msg_get_u64(msg));
	msg_put_u64(&out, jobs_signatures(worker->jobs));
	channel_send(worker->control, WORKER_FRAME_PONG, buf_bytes(&out), -1);
	buf_clear(&out);
}

static void report_health(bool good, int64_t ms, const char *text, void *arg)
{
	struct worker *worker = arg;
	struct worker_health health = {.good = good, .milliseconds = (uint32_t)ms, .text = mem_string(text)};
	struct buf out = {0};

	worker_health_encode(&out, &health);
	channel_send(worker->control, WORKER_FRAME_HEALTH, buf_bytes(&out), -1);
	buf_clear(&out);
	worker_health_clear(&health);
}

static void on_control(struct channel *channel, uint16_t type, struct msg *msg, int fd, void *arg)
{
	struct worker *worker = arg;

	(void)channel;
	if (type == WORKER_FRAME_CHANNEL && fd >= 0) {
		jobs_connect(worker->jobs, fd);
		return;
	}
	if (fd >= 0)
		close(fd);
	if (type == WORKER_FRAME_CERTIFICATES)
		on_certificates(worker, msg);
	else if (type == WORKER_FRAME_STOP)
		on_stop(worker);
	else if (type == WORKER_FRAME_PING)
		on_ping(worker, msg);
	else
		worker_fail(WORKER_EXIT_INTERNAL, "unknown order from inkand");
}

static void on_control_closed(struct channel *channel, const struct err *why, void *arg)
{
	(void)channel;
	log_warning("inkand.gone", LOG_ERR(why));
	leave(arg);
}

/* A token that breaks down here is not ready; a key that is missing is a matter of its certificate alone. */
static void load_keys(struct worker *worker)
{
	int64_t end = clock_monotonic_ms() + KEYS_AT_START_MS;
	struct keyring_entry *entry;

	while (clock_monotonic_ms() < end && (entry = keyring_find_unloaded(worker->keyring)) != NULL) {
		enum token_fault fault;
		struct err err;
		bool loaded = keyring_load(entry, &fault, &err);

		keyring_release(entry);
		if (loaded)
			continue;
		log_warning("key.missing", LOG_ERR(&err));
		if (fault != TOKEN_FAULT_KEY && fault != TOKEN_FAULT_MECHANISM)
			worker_fail(WORKER_EXIT_TOKEN_FAULT, err.text);
	}
}

static void open_token(struct worker *worker, const struct hsm_settings *settings, bool final_try, const struct secret *pin)
{
	struct token_place place = {
	    .backend = start_backend(settings),
	    .module = settings->module,
	    .label = settings->token,
	    .threads = worker->threads,
	    .processes = settings->processes,
	    .final_try = final_try,
	};
	enum token_fault fault = TOKEN_FAULT_NONE;
	struct err err;

	worker->token = token_open(&place, pin, &fault, &err);
	if (worker->token == NULL)
		worker_fail(worker_exit_of(fault), err.text);
	if (token_threads(worker->token) < worker->threads)
		log_warning("worker.fewer-threads", LOG_NUMBER("wanted", worker->threads),
			    LOG_NUMBER("threads", token_threads(worker->token)),
			    LOG_NUMBER("sessions", token_describe(worker->token)->max_sessions));
	worker->threads = token_threads(worker->token);
}

static void set_up(struct worker *worker, struct err *err)
{
	struct worker_start start = {0};
	struct secret *pin = NULL;

	if (!start_receive(&start, &pin, err))
		worker_fail(WORKER_EXIT_INTERNAL, err->text);
	worker->threads = start_threads(&start.settings);
	worker->canary_ms = start.settings.canary_ms;
	open_token(worker, &start.settings, start.final_try, pin);
	secret_free(pin);
	worker->keyring = keyring_new(worker->token);
	keyring_replace(worker->keyring, &start.certificates);
	worker_start_clear(&start);
	load_keys(worker);
}

int sign_role(void)
{
	struct worker worker = {.base = event_base_new()};
	struct pool *pool;
	struct err err;

	set_up(&worker, &err);
	start_warn();
	pool = pool_new(worker.base, worker.threads, &err);
	if (pool == NULL || !report_ready(&worker, &err))
		worker_fail(WORKER_EXIT_INTERNAL, err.text);
	worker.jobs = jobs_new(worker.base, pool, worker.keyring, on_fatal, &worker);
	worker.control = channel_new(worker.base, CHILD_CONTROL_FD, on_control, on_control_closed, &worker);
	worker.upkeep = upkeep_new(&(struct upkeep_place){.base = worker.base,
							  .pool = pool,
							  .token = worker.token,
							  .keyring = worker.keyring,
							  .jobs = worker.jobs,
							  .canary_ms = worker.canary_ms,
							  .report = report_health,
							  .arg = &worker});
	upkeep_load_keys(worker.upkeep);
	event_base_dispatch(worker.base);
	worker_fail(WORKER_EXIT_INTERNAL, "the event loop ended");
}
