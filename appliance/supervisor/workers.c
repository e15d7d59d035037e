#include "appliance/supervisor/workers.h"

#include <event2/event.h>
#include <stdlib.h>

#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/supervisor/supervisor_private.h"

/* ---- the set ---- */

static const char *last_error(const struct supervisor *supervisor)
{
	const struct workers *workers = &supervisor->workers;

	for (size_t i = 0; i < workers->count; i++)
		if (workers->items[i]->last_error[0] != '\0')
			return workers->items[i]->last_error;
	return "";
}

static void on_down(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *supervisor = arg;

	(void)fd;
	(void)what;
	if (workers_ready(supervisor) > 0 || supervisor->pin.state != PIN_HELD || supervisor->stopping)
		return;
	supervisor->workers.down = true;
	supervisor->workers.down_at = clock_wall_seconds();
	log_error("alarm.hsm-down", LOG_TEXT("error", last_error(supervisor)));
	supervisor_audit(supervisor, "HSM lost: no worker signs (%s)", last_error(supervisor));
}

void workers_judge(struct supervisor *supervisor)
{
	struct timeval patience = {.tv_sec = WORKERS_DOWN_MS / 1000};
	struct workers *workers = &supervisor->workers;

	if (workers_ready(supervisor) == 0 && supervisor->pin.state == PIN_HELD) {
		if (!workers->down && !event_pending(workers->down_timer, EV_TIMEOUT, NULL))
			event_add(workers->down_timer, &patience);
		return;
	}
	event_del(workers->down_timer);
	if (workers->down) {
		log_warning("alarm.hsm-up", LOG_NUMBER("seconds", clock_wall_seconds() - workers->down_at));
		supervisor_audit(supervisor, "HSM back after %lld s", (long long)(clock_wall_seconds() - workers->down_at));
	}
	workers->down = false;
}

void workers_init(struct supervisor *supervisor)
{
	supervisor->workers = (struct workers){.down_timer = evtimer_new(supervisor->base, on_down, supervisor)};
}

void workers_clear(struct supervisor *supervisor)
{
	struct workers *workers = &supervisor->workers;

	for (size_t i = 0; i < workers->count; i++)
		worker_free(workers->items[i]);
	free(workers->items);
	event_free(workers->down_timer);
	worker_ready_clear(&workers->token);
	*workers = (struct workers){0};
}

static size_t count_in(const struct supervisor *supervisor, enum worker_state state)
{
	size_t count = 0;

	for (size_t i = 0; i < supervisor->workers.count; i++)
		count += supervisor->workers.items[i]->state == state;
	return count;
}

size_t workers_ready(const struct supervisor *supervisor)
{
	return count_in(supervisor, WORKER_READY);
}

bool workers_starting(const struct supervisor *supervisor)
{
	return count_in(supervisor, WORKER_STARTING) > 0;
}

size_t workers_alive(const struct supervisor *supervisor)
{
	size_t count = 0;

	for (size_t i = 0; i < supervisor->workers.count; i++)
		count += supervisor->workers.items[i]->child != NULL;
	return count;
}

bool workers_is_surplus(const struct worker *worker)
{
	return worker->number > worker->supervisor->running->processes;
}

void workers_drop_surplus(struct supervisor *supervisor)
{
	struct workers *workers = &supervisor->workers;

	while (workers->count > 0) {
		struct worker *last = workers->items[workers->count - 1];

		if (!workers_is_surplus(last) || last->child != NULL)
			return;
		worker_free(last);
		workers->count--;
	}
}

bool workers_may_start(const struct supervisor *supervisor)
{
	return !supervisor->stopping && pin_usable(&supervisor->pin) && configuration_has_hsm(supervisor->running);
}

void workers_connect_all(struct supervisor *supervisor)
{
	for (size_t i = 0; i < supervisor->workers.count; i++)
		if (supervisor->workers.items[i]->state == WORKER_READY)
			worker_connect(supervisor->workers.items[i]);
}

/* ---- the order of starts ---- */

static struct worker *next_to_start(struct supervisor *supervisor)
{
	int64_t now_ms = clock_monotonic_ms();

	for (size_t i = 0; i < supervisor->workers.count; i++) {
		struct worker *worker = supervisor->workers.items[i];

		if (worker->state == WORKER_WAITING && worker->start_at_ms <= now_ms)
			return worker;
	}
	return NULL;
}

/* None while another waits for its start: new settings that fail must not take down the workers that still run. */
static struct worker *next_to_renew(struct supervisor *supervisor)
{
	if (count_in(supervisor, WORKER_WAITING) > 0)
		return NULL;
	for (size_t i = 0; i < supervisor->workers.count; i++) {
		struct worker *worker = supervisor->workers.items[i];

		if (worker->state == WORKER_READY && (worker->outdated || workers_is_surplus(worker)))
			return worker;
	}
	return NULL;
}

void workers_go_on(struct supervisor *supervisor)
{
	struct worker *worker;

	if (!workers_may_start(supervisor) || tasks_logging_in(supervisor) || count_in(supervisor, WORKER_STARTING) > 0 ||
	    count_in(supervisor, WORKER_STOPPING) > 0)
		return;
	worker = next_to_start(supervisor);
	if (worker != NULL) {
		worker_start(worker);
		return;
	}
	worker = next_to_renew(supervisor);
	if (worker != NULL)
		worker_stop(worker);
}

static void add_missing(struct supervisor *supervisor)
{
	struct workers *workers = &supervisor->workers;

	while (workers->count < supervisor->running->processes) {
		workers->items = mem_resize(workers->items, workers->count + 1, sizeof *workers->items);
		workers->items[workers->count] = worker_new(supervisor, (unsigned)workers->count + 1);
		workers->count++;
	}
}

void workers_start(struct supervisor *supervisor)
{
	if (!workers_may_start(supervisor))
		return;
	add_missing(supervisor);
	for (size_t i = 0; i < supervisor->workers.count; i++) {
		struct worker *worker = supervisor->workers.items[i];

		worker->backoff = (struct backoff){0};
		if (worker->child == NULL && !workers_is_surplus(worker))
			worker_wait_to_start(worker, 0);
	}
	workers_go_on(supervisor);
}

void workers_stop(struct supervisor *supervisor)
{
	for (size_t i = 0; i < supervisor->workers.count; i++)
		worker_stop(supervisor->workers.items[i]);
}

void workers_cancel_starts(struct supervisor *supervisor)
{
	for (size_t i = 0; i < supervisor->workers.count; i++)
		if (supervisor->workers.items[i]->child == NULL)
			worker_stop(supervisor->workers.items[i]);
}

void workers_follow(struct supervisor *supervisor, bool hsm_changed)
{
	for (size_t i = 0; i < supervisor->workers.count; i++) {
		struct worker *worker = supervisor->workers.items[i];

		if (worker->child != NULL)
			worker->outdated |= hsm_changed;
		else if (workers_is_surplus(worker))
			worker_stop(worker);
	}
	workers_drop_surplus(supervisor);
	if (hsm_changed || supervisor->workers.count < supervisor->running->processes)
		workers_start(supervisor);
	else
		workers_go_on(supervisor);
}

/* ---- certificates ---- */

void workers_send_certificates(struct supervisor *supervisor, const struct worker_certificates *certificates)
{
	struct buf payload = {0};

	worker_certificates_encode(&payload, certificates);
	for (size_t i = 0; i < supervisor->workers.count; i++) {
		if (supervisor->workers.items[i]->state == WORKER_READY)
			worker_send_certificates(supervisor->workers.items[i], buf_bytes(&payload));
	}
	buf_clear(&payload);
}

size_t workers_unacknowledged(const struct supervisor *supervisor)
{
	size_t count = 0;

	for (size_t i = 0; i < supervisor->workers.count; i++)
		count += supervisor->workers.items[i]->must_acknowledge;
	return count;
}
