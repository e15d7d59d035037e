/* What CONTROL_STATUS tells. */
#include <stdlib.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "appliance/base/control.h"
#include "appliance/supervisor/supervisor_private.h"

static char *waiting_text(int64_t start_at_ms)
{
	int64_t left_ms = start_at_ms - clock_monotonic_ms();

	return mem_format("waiting %lld s", (long long)(left_ms > 0 ? (left_ms + 999) / 1000 : 0));
}

static void fill_relay(const struct relay *relay, struct child_status *status)
{
	static const char *const names[] = {[RELAY_STOPPED] = "stopped",
					    [RELAY_STARTING] = "starting",
					    [RELAY_RUNNING] = "running",
					    [RELAY_STOPPING] = "stopping"};

	status->name = mem_string("relay");
	status->pid = relay->child != NULL ? child_pid(relay->child) : 0;
	status->state = relay->state == RELAY_WAITING ? waiting_text(relay->start_at_ms) : mem_string(names[relay->state]);
	status->restarts = relay->restarts;
	status->last_error = mem_string(relay->last_error);
	status->health = relay->state == RELAY_RUNNING ? mem_format("loop held up %u ms", relay->held_up_ms) : mem_string("");
}

static char *health_text(const struct worker *worker)
{
	long long ago = (long long)((clock_monotonic_ms() - worker->health_at_ms) / 1000);

	if (worker->health.text == NULL)
		return mem_string("");
	if (worker->health.good)
		return mem_format("canary signed in %u ms, %lld s ago", worker->health.milliseconds, ago);
	return mem_format("canary FAILED %lld s ago: %s", ago, worker->health.text);
}

static void fill_worker(const struct worker *worker, struct child_status *status)
{
	static const char *const names[] = {[WORKER_STOPPED] = "stopped",
					    [WORKER_STARTING] = "starting",
					    [WORKER_READY] = "running",
					    [WORKER_STOPPING] = "stopping"};

	status->name = mem_format("worker %u", worker->number);
	status->pid = worker->child != NULL ? child_pid(worker->child) : 0;
	status->state = worker->state == WORKER_WAITING ? waiting_text(worker->start_at_ms) : mem_string(names[worker->state]);
	status->restarts = worker->restarts;
	status->last_error = mem_string(worker->last_error);
	status->health = health_text(worker);
	if (worker->state == WORKER_READY) {
		status->threads = worker->threads;
		status->rate_tenths = worker->rate_tenths;
	}
}

static char *signing_text(const struct supervisor *supervisor)
{
	const char *why;

	if (supervisor_locked(supervisor, &why))
		return mem_format("locked: %s", why);
	if (supervisor->workers.down)
		return mem_format("no HSM worker has run for %lld s",
				  (long long)(clock_wall_seconds() - supervisor->workers.down_at + WORKERS_DOWN_MS / 1000));
	if (supervisor->relay.suspended != NULL)
		return mem_format("suspended: %s", supervisor->relay.suspended);
	return mem_string("on");
}

static char *text_or_empty(const char *text)
{
	return mem_string(text != NULL ? text : "");
}

void supervisor_status_fill(const struct supervisor *supervisor, struct supervisor_status *status)
{
	const struct worker_ready *token = &supervisor->workers.token;

	*status = (struct supervisor_status){
	    .pid = getpid(),
	    .started = supervisor->started,
	    .revision = supervisor->running->snapshot->revision,
	    .pin = mem_string(pin_state_name(&supervisor->pin)),
	    .pin_error = mem_string(supervisor->pin.error),
	    .token_model = text_or_empty(token->model),
	    .token_serial = text_or_empty(token->serial),
	    .token_firmware = text_or_empty(token->firmware),
	    .signing = signing_text(supervisor),
	    .n_children = 1 + supervisor->workers.count,
	};
	status->children = mem_new_array(status->n_children, sizeof *status->children);
	fill_relay(&supervisor->relay, &status->children[0]);
	for (size_t i = 0; i < supervisor->workers.count; i++)
		fill_worker(supervisor->workers.items[i], &status->children[1 + i]);
}
