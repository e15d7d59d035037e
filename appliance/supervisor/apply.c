#include "appliance/supervisor/apply.h"

#include <event2/event.h>
#include <stdlib.h>

#include "appliance/base/log.h"
#include "appliance/supervisor/supervisor_private.h"

struct apply {
	struct supervisor *supervisor;
	struct configuration *next;
	struct listeners added; /* bound already, not yet adopted */
	bool check;
	bool waits_for_workers;
	struct event *deadline;
	struct event *certificates_timer;
	struct request request;
};

static void apply_free(struct apply *apply)
{
	event_free(apply->deadline);
	event_free(apply->certificates_timer);
	listeners_clear(&apply->added);
	configuration_free(apply->next);
	free(apply);
}

/* `failed` NULL: done. Nothing of an apply that failed stays. */
static void finish(struct apply *apply, const struct err *failed)
{
	struct supervisor *supervisor = apply->supervisor;
	struct request request = apply->request;

	if (failed != NULL)
		log_warning("apply.refused", LOG_NUMBER("revision", apply->next->snapshot->revision), LOG_ERR(failed));
	relay_configure_cancel(supervisor, apply);
	supervisor->apply = NULL;
	apply_free(apply);
	request_answer(&request, failed, -1);
}

static void adopt(struct apply *apply)
{
	struct supervisor *supervisor = apply->supervisor;
	bool hsm_changed = !configuration_same_hsm(supervisor->running, apply->next);

	listeners_adopt(&supervisor->listeners, &apply->added, apply->next->listens);
	configuration_free(supervisor->previous);
	supervisor->previous = supervisor->running;
	supervisor->running = apply->next;
	apply->next = NULL;
	log_info("apply.done", LOG_NUMBER("revision", supervisor->running->snapshot->revision));
	workers_follow(supervisor, hsm_changed);
	login_from_file(supervisor);
	relay_send_locked(supervisor);
	passwords_follow(supervisor, false);
	confirm_follow(supervisor);
	finish(apply, NULL);
}

static void on_relay_configured(const struct err *refused, void *arg)
{
	struct apply *apply = arg;

	if (refused != NULL)
		finish(apply, refused);
	else
		adopt(apply);
}

static void configure_relay(struct apply *apply)
{
	relay_send_listeners(apply->supervisor, &apply->added);
	relay_configure(apply->supervisor, apply->next->snapshot, false, on_relay_configured, apply);
}

static void go_on_when_workers_know(struct apply *apply)
{
	if (!apply->waits_for_workers || workers_unacknowledged(apply->supervisor) > 0)
		return;
	apply->waits_for_workers = false;
	event_del(apply->certificates_timer);
	configure_relay(apply);
}

void apply_worker_changed(struct supervisor *supervisor)
{
	if (supervisor->apply != NULL)
		go_on_when_workers_know(supervisor->apply);
}

static void on_certificates_timer(evutil_socket_t fd, short what, void *arg)
{
	struct apply *apply = arg;

	(void)fd;
	(void)what;
	log_warning("apply.slow_workers", LOG_NUMBER("workers", workers_unacknowledged(apply->supervisor)));
	apply->waits_for_workers = false;
	configure_relay(apply);
}

/* The workers know the certificates before the relay asks for signatures with them. */
static void send_certificates(struct apply *apply)
{
	struct worker_certificates certificates = configuration_certificates(apply->next, apply->supervisor->running);
	struct timeval patience = {.tv_sec = APPLY_CERTIFICATES_MS / 1000};

	workers_send_certificates(apply->supervisor, &certificates);
	free(certificates.items);
	apply->waits_for_workers = true;
	event_add(apply->certificates_timer, &patience);
	go_on_when_workers_know(apply);
}

static void on_relay_checked(const struct err *refused, void *arg)
{
	struct apply *apply = arg;

	if (refused != NULL || apply->check)
		finish(apply, refused);
	else
		send_certificates(apply);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct err late;

	(void)fd;
	(void)what;
	err_set(&late, ERR_TIMEOUT, "the relay did not answer within %d s", APPLY_DEADLINE_MS / 1000);
	finish(arg, &late);
}

/*
 * A relay that is down cannot judge the configuration; it is then started with it, since the running one may be what
 * keeps it down.
 */
static void begin_without_relay(struct apply *apply)
{
	struct supervisor *supervisor = apply->supervisor;

	if (apply->check) {
		finish(apply, NULL);
		return;
	}
	adopt(apply);
	relay_start(supervisor);
}

static bool prepare(struct supervisor *supervisor, uint64_t revision, struct configuration **next, struct listeners *added,
		    struct err *err)
{
	if (supervisor->stopping)
		return err_set(err, ERR_UNAVAILABLE, "inkand is stopping");
	if (supervisor->apply != NULL)
		return err_set(err, ERR_UNAVAILABLE, "another configuration is being applied");
	*next = configuration_load(supervisor->options->state, revision, err);
	if (*next == NULL)
		return false;
	if (listeners_bind_new(&supervisor->listeners, (*next)->listens, added, err))
		return true;
	configuration_free(*next);
	return false;
}

void apply_begin(struct supervisor *supervisor, uint64_t revision, bool check, const struct request *request)
{
	struct timeval deadline = {.tv_sec = APPLY_DEADLINE_MS / 1000};
	struct request asked = *request;
	struct configuration *next = NULL;
	struct listeners added = {0};
	struct apply *apply;
	struct err err;

	if (!prepare(supervisor, revision, &next, &added, &err)) {
		log_warning("apply.refused", LOG_NUMBER("revision", revision), LOG_ERR(&err));
		request_answer(&asked, &err, -1);
		return;
	}
	apply = mem_new(sizeof *apply);
	*apply = (struct apply){.supervisor = supervisor, .next = next, .added = added, .check = check, .request = asked};
	apply->deadline = evtimer_new(supervisor->base, on_deadline, apply);
	apply->certificates_timer = evtimer_new(supervisor->base, on_certificates_timer, apply);
	event_add(apply->deadline, &deadline);
	supervisor->apply = apply;
	if (relay_has_process(supervisor))
		relay_configure(supervisor, next->snapshot, true, on_relay_checked, apply);
	else
		begin_without_relay(apply);
}

void apply_cancel(struct supervisor *supervisor)
{
	struct err stopping;

	err_set(&stopping, ERR_UNAVAILABLE, "inkand is stopping");
	if (supervisor->apply != NULL)
		finish(supervisor->apply, &stopping);
}
