#include "appliance/supervisor/supervisor.h"

#include <event2/event.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/supervisor/state_directory.h"
#include "appliance/supervisor/handover.h"
#include "appliance/supervisor/supervisor_private.h"

#define LISTEN_PATIENCE_MS 5000 /* at the start, for addresses that somebody holds yet; all of them together */
#define LISTEN_AGAIN_MS 50

bool supervisor_locked(const struct supervisor *supervisor, const char **why)
{
	static const char *const reasons[] = {[PIN_NONE] = "no operator has logged in to the HSM",
					      [PIN_TRIED] = "the login to the HSM is under way",
					      [PIN_HELD] = "",
					      [PIN_REJECTED] = "the token rejected the PIN"};
	const struct pin *pin = &supervisor->pin;
	bool locked = pin->state != PIN_HELD && workers_ready(supervisor) == 0;

	*why = !locked ? "" : pin->error[0] != '\0' ? pin->error : reasons[pin->state];
	return locked;
}

struct child *supervisor_spawn(struct supervisor *supervisor, const char *program, const char *role, int death_signal,
			       const struct child_events *events, struct err *err)
{
	const struct supervisor_options *options = supervisor->options;
	bool relay = role == NULL;
	char *path = mem_format("%s/%s", options->programs, program);
	const char *relay_arguments[] = {program, "-C", options->state, "--log", options->log_format, NULL};
	const char *hsm_arguments[] = {program, role, "--log", options->log_format, NULL};
	struct child_program start = {
	    .path = path,
	    .arguments = relay ? relay_arguments : hsm_arguments,
	    .run_as = relay ? options->relay : options->hsm,
	    .death_signal = death_signal,
	};
	struct child *child = child_spawn(supervisor->base, &start, events, err);

	free(path);
	return child;
}

void supervisor_audit(struct supervisor *supervisor, const char *format, ...)
{
	char text[AUDIT_JOURNAL_LINE_MAX_BYTES];
	struct err err;
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (!audit_journal_write(&supervisor->audit, clock_wall_ms(), text, &err))
		log_error("audit.waits", LOG_TEXT("event", text), LOG_ERR(&err));
}

/* ---- stopping ---- */

static void stop(struct supervisor *supervisor)
{
	log_info("stopping", LOG_NUMBER("pid", getpid()));
	supervisor_audit(supervisor, "inkand stops");
	supervisor->stopping = true;
	apply_cancel(supervisor);
	tasks_stop(supervisor);
	workers_cancel_starts(supervisor);
	relay_stop(supervisor);
	supervisor_child_gone(supervisor);
}

/* Who wants it stopped does not want it back, nor waits as long. */
void supervisor_stop(struct supervisor *supervisor)
{
	if (supervisor->stopping && !supervisor->upgrading)
		return;
	supervisor->upgrading = false;
	stop(supervisor);
}

/* Mail stops coming in before the workers go, so that what is being signed can be finished. */
void supervisor_child_gone(struct supervisor *supervisor)
{
	if (!supervisor->stopping || relay_has_process(supervisor))
		return;
	workers_stop(supervisor);
	if (workers_alive(supervisor) == 0 && tasks_alive(supervisor) == 0)
		event_base_loopexit(supervisor->base, NULL);
}

static char *own_program(const struct supervisor *supervisor)
{
	return mem_format("%s/inkand", supervisor->options->programs);
}

/* What could not be executed must not stop what runs. */
void supervisor_upgrade(struct supervisor *supervisor)
{
	char *path = own_program(supervisor);
	struct err err;

	if (supervisor->stopping)
		log_warning("upgrade.refused", LOG_TEXT("why", "inkand is stopping"));
	else if (access(path, X_OK) != 0) {
		err_errno(&err, "%s", path);
		log_error("upgrade.refused", LOG_ERR(&err));
	} else {
		supervisor->upgrading = true;
		stop(supervisor);
	}
	free(path);
}

static void on_upgrade(evutil_socket_t number, short what, void *arg)
{
	(void)number;
	(void)what;
	log_info("upgrade.asked", LOG_TEXT("by", "SIGUSR2"));
	supervisor_upgrade(arg);
}

/* The lock goes with the old program: the new one takes it as ever. */
static bool execute_anew(struct supervisor *supervisor, struct err *err)
{
	char *path = own_program(supervisor);
	int fd = handover_write(&supervisor->listeners, &supervisor->pin, err);
	char *number;

	if (fd >= 0) {
		number = mem_format("%d", fd);
		log_info("upgrade.executing", LOG_TEXT("program", path));
		(void)signal(SIGUSR2, SIG_IGN); /* until the new program attends to it */
		(void)setenv(HANDOVER_VARIABLE, number, 1);
		(void)execv(path, supervisor->options->arguments);
		err_errno(err, "%s", path);
		handover_abandon(&supervisor->listeners, fd);
		free(number);
	}
	free(path);
	return false;
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
	(void)what;
	log_info("stop.asked", LOG_TEXT("by", number == SIGTERM ? "SIGTERM" : "SIGINT"));
	supervisor_stop(arg);
}

/* ---- starting ---- */

/* Without what was handed over a new program begins as any other: mail waits for an operator, and none is lost. */
static void take_over(struct supervisor *supervisor)
{
	const char *number = getenv(HANDOVER_VARIABLE);
	struct secret *pin;
	struct err err;
	int fd;

	if (number == NULL)
		return;
	fd = atoi(number);
	(void)unsetenv(HANDOVER_VARIABLE);
	if (!handover_read(fd, &supervisor->listeners, &pin, &err)) {
		log_error("upgrade.handover", LOG_ERR(&err));
		return;
	}
	log_info("upgrade.took-over", LOG_NUMBER("listeners", supervisor->listeners.count), LOG_NUMBER("pin", pin != NULL));
	if (pin == NULL)
		return;
	pin_try(&supervisor->pin, pin, false);
	pin_accepted(&supervisor->pin); /* it was, by the old program's workers */
}

/* The PIN first, so that the relay is not told that signing is locked when it will not be. */
static void start_children(struct supervisor *supervisor)
{
	if (pin_usable(&supervisor->pin) && configuration_has_hsm(supervisor->running))
		workers_start(supervisor);
	login_from_file(supervisor);
	relay_start(supervisor);
}

/* The relay of an inkand that was killed may hold its addresses for a moment yet. */
static bool bind_patiently(const struct supervisor *supervisor, char *address, int64_t deadline_ms, struct listeners *added,
			   struct err *err)
{
	char *one[] = {address, NULL};

	while (!listeners_bind_new(&supervisor->listeners, one, added, err)) {
		if (clock_monotonic_ms() >= deadline_ms)
			return false;
		(void)usleep(LISTEN_AGAIN_MS * 1000);
	}
	return true;
}

/* The configuration that runs was checked when it was committed; an address that has gone since must not keep the rest down. */
static void bind_listeners(struct supervisor *supervisor)
{
	int64_t deadline_ms = clock_monotonic_ms() + LISTEN_PATIENCE_MS;
	struct listeners none = {0};
	struct err err;

	listeners_adopt(&supervisor->listeners, &none, supervisor->running->listens);

	for (char **wanted = supervisor->running->listens; *wanted != NULL; wanted++) {
		struct listeners added;

		if (bind_patiently(supervisor, *wanted, deadline_ms, &added, &err))
			listeners_adopt(&supervisor->listeners, &added, supervisor->running->listens);
		else
			log_error("listen", LOG_ERR(&err));
	}
}

static bool begin(struct supervisor *supervisor, struct err *err)
{
	supervisor->running = confirm_load(supervisor->options->state, err);
	if (supervisor->running == NULL)
		return false;
	take_over(supervisor);
	bind_listeners(supervisor);
	if (!control_open(supervisor, err))
		return false;
	log_info("started", LOG_NUMBER("pid", getpid()), LOG_TEXT("state", supervisor->options->state),
		 LOG_NUMBER("revision", supervisor->running->snapshot->revision),
		 LOG_NUMBER("listeners", supervisor->listeners.count));
	supervisor_audit(supervisor, "inkand started, revision %llu",
			 (unsigned long long)supervisor->running->snapshot->revision);
	start_children(supervisor);
	confirm_follow(supervisor);
	return true;
}

static bool loop(struct supervisor *supervisor, struct err *err)
{
	struct event *terminate = evsignal_new(supervisor->base, SIGTERM, on_signal, supervisor);
	struct event *interrupt = evsignal_new(supervisor->base, SIGINT, on_signal, supervisor);
	struct event *upgrade = evsignal_new(supervisor->base, SIGUSR2, on_upgrade, supervisor);
	bool looped;

	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	event_add(terminate, NULL);
	event_add(interrupt, NULL);
	event_add(upgrade, NULL);
	looped = begin(supervisor, err);
	if (looped && event_base_dispatch(supervisor->base) != 0)
		looped = err_set(err, ERR_INTERNAL, "the event loop failed");
	event_free(terminate);
	event_free(interrupt);
	event_free(upgrade);
	return looped;
}

static void init(struct supervisor *supervisor, const struct supervisor_options *options, struct event_base *base)
{
	*supervisor = (struct supervisor){.base = base, .options = options, .started = clock_wall_seconds()};
	audit_journal_init(&supervisor->audit, options->state);
	pin_init(&supervisor->pin, options->state);
	relay_init(supervisor);
	workers_init(supervisor);
	login_init(supervisor);
	passwords_init(supervisor);
	confirm_init(supervisor);
}

static void clear(struct supervisor *supervisor)
{
	control_close(supervisor);
	confirm_clear(supervisor);
	tasks_clear(supervisor);
	passwords_clear(supervisor);
	workers_clear(supervisor);
	relay_clear(supervisor);
	login_clear(supervisor);
	pin_clear(&supervisor->pin);
	audit_journal_clear(&supervisor->audit);
	listeners_clear(&supervisor->listeners);
	configuration_free(supervisor->previous);
	configuration_free(supervisor->running);
	event_base_free(supervisor->base);
}

bool supervisor_run(const struct supervisor_options *options, struct err *err)
{
	struct supervisor supervisor;
	struct event_base *base;
	int lock;
	bool ran;

	if (!state_directory_prepare(options->state, &options->relay, &lock, err))
		return false;
	base = event_base_new();
	if (base == NULL) {
		close(lock);
		return err_set(err, ERR_SYSTEM, "no event loop");
	}
	init(&supervisor, options, base);
	ran = loop(&supervisor, err);
	if (ran && supervisor.upgrading)
		ran = execute_anew(&supervisor, err);
	clear(&supervisor);
	close(lock);
	if (ran)
		log_info("stopped", LOG_NUMBER("pid", getpid()));
	return ran;
}
