#include "appliance/supervisor/relay.h"

#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "appliance/base/control.h"
#include "appliance/base/log.h"
#include "appliance/supervisor/supervisor_private.h"

#define STOP_GRACE_MS 10000 /* from RELAY_STOP to SIGKILL: what was answered with 250 is on disk long before */
#define UPGRADE_GRACE_MS 120000 /* the same where sessions in DATA are to end by themselves; others wait at the open socket */

static void start(struct relay *relay);

static void on_start_timer(evutil_socket_t fd, short what, void *arg)
{
	struct relay *relay = arg;

	(void)fd;
	(void)what;
	if (relay->state == RELAY_WAITING)
		start(relay);
}

void relay_init(struct supervisor *supervisor)
{
	struct relay *relay = &supervisor->relay;

	*relay = (struct relay){.supervisor = supervisor};
	relay->start_timer = evtimer_new(supervisor->base, on_start_timer, relay);
	watch_init(&relay->watch, supervisor->base, RELAY_PING);
}

void relay_clear(struct supervisor *supervisor)
{
	struct relay *relay = &supervisor->relay;

	child_forget(relay->child);
	watch_clear(&relay->watch);
	event_free(relay->start_timer);
	free(relay->answers);
	free(relay->told_locked);
	free(relay->suspended);
	*relay = (struct relay){0};
}

bool relay_has_process(const struct supervisor *supervisor)
{
	return supervisor->relay.child != NULL;
}

/* ---- answers to RELAY_CONFIGURE ---- */

static void expect_answer(struct relay *relay, relay_configured_cb *cb, void *arg)
{
	relay->answers = mem_resize(relay->answers, relay->n_answers + 1, sizeof *relay->answers);
	relay->answers[relay->n_answers++] = (struct relay_answer){.cb = cb, .arg = arg};
}

static void give_answer(struct relay *relay, const struct err *refused)
{
	struct relay_answer answer;

	if (relay->n_answers == 0)
		return;
	answer = relay->answers[0];
	relay->n_answers--;
	memmove(relay->answers, relay->answers + 1, relay->n_answers * sizeof *relay->answers);
	if (answer.cb != NULL)
		answer.cb(refused, answer.arg);
}

void relay_configure_cancel(struct supervisor *supervisor, const void *arg)
{
	struct relay *relay = &supervisor->relay;

	for (size_t i = 0; i < relay->n_answers; i++)
		if (relay->answers[i].arg == arg)
			relay->answers[i] = (struct relay_answer){0};
}

static void on_configured(struct relay *relay, struct msg *msg)
{
	uint64_t revision = msg_get_u64(msg);
	bool ok = msg_get_u8(msg) != 0;
	char *text = msg_get_text(msg);
	struct err refused;

	if (!msg_end(msg, "relay answer", &refused))
		ok = false;
	else if (!ok)
		err_set(&refused, ERR_INVALID, "%s", text);
	if (!ok)
		log_warning("relay.refused", LOG_NUMBER("revision", revision), LOG_ERR(&refused));
	free(text);
	give_answer(relay, ok ? NULL : &refused);
}

/* ---- life and death ---- */

static void on_ready(struct relay *relay)
{
	if (relay->state != RELAY_STARTING)
		return;
	relay->state = RELAY_RUNNING;
	relay->ready_at_ms = clock_monotonic_ms();
	watch_begin(&relay->watch, relay->child);
	log_info("relay.ready", LOG_NUMBER("pid", child_pid(relay->child)));
}

static void on_pong(struct relay *relay, struct msg *msg)
{
	uint64_t number = msg_get_u64(msg);
	uint32_t held_up_ms = msg_get_u32(msg);

	if (!msg_end(msg, "relay answer", NULL))
		return;
	relay->held_up_ms = held_up_ms;
	watch_answered(&relay->watch, number);
}

static void on_signing(struct relay *relay, struct msg *msg)
{
	bool suspended = msg_get_u8(msg) != 0;
	char *why = msg_get_text(msg);

	if (suspended && relay->suspended == NULL)
		supervisor_audit(relay->supervisor, "HSM alarm: signing is suspended: %s", why);
	else if (!suspended && relay->suspended != NULL)
		supervisor_audit(relay->supervisor, "signing goes on");
	free(relay->suspended);
	relay->suspended = suspended ? mem_string(why) : NULL;
	free(why);
}

static void on_message(struct channel *channel, uint16_t type, struct msg *msg, int fd, void *arg)
{
	struct relay *relay = arg;

	(void)channel;
	if (fd >= 0)
		close(fd);
	if (type == RELAY_CONFIGURED)
		on_configured(relay, msg);
	else if (type == RELAY_READY)
		on_ready(relay);
	else if (type == RELAY_PONG)
		on_pong(relay, msg);
	else if (type == RELAY_SIGNING)
		on_signing(relay, msg);
}

static void wait_to_start(struct relay *relay, int64_t wait_ms)
{
	struct timeval after = {.tv_sec = wait_ms / 1000, .tv_usec = (wait_ms % 1000) * 1000};

	relay->state = RELAY_WAITING;
	relay->start_at_ms = clock_monotonic_ms() + wait_ms;
	event_add(relay->start_timer, &after);
}

static void start_again(struct relay *relay)
{
	int64_t ran_ms = relay->ready_at_ms != 0 ? clock_monotonic_ms() - relay->ready_at_ms : 0;
	int64_t wait_ms = backoff_next(&relay->backoff, ran_ms);

	relay->restarts++;
	log_warning("relay.ended", LOG_TEXT("how", relay->last_error), LOG_NUMBER("wait_ms", wait_ms));
	wait_to_start(relay, wait_ms);
}

static void drop_answers(struct relay *relay)
{
	struct err gone;

	err_set(&gone, ERR_UNAVAILABLE, "the relay ended before it answered: %s", relay->last_error);
	while (relay->n_answers > 0)
		give_answer(relay, &gone);
}

static void on_ended(const struct child_end *end, void *arg)
{
	struct relay *relay = arg;
	bool stopping = relay->state == RELAY_STOPPING;

	relay->child = NULL;
	watch_end(&relay->watch);
	free(relay->suspended);
	free(relay->told_locked);
	relay->suspended = relay->told_locked = NULL;
	child_end_text(end, relay->last_error, sizeof relay->last_error);
	if (stopping) {
		relay->state = RELAY_STOPPED;
		log_info("relay.stopped", LOG_TEXT("how", relay->last_error));
	} else {
		start_again(relay);
	}
	drop_answers(relay);
	supervisor_child_gone(relay->supervisor);
}

static void send_everything(struct supervisor *supervisor)
{
	relay_send_listeners(supervisor, &supervisor->listeners);
	relay_send_locked(supervisor);
	relay_configure(supervisor, supervisor->running->snapshot, false, NULL, NULL);
	passwords_follow(supervisor, true);
	workers_connect_all(supervisor);
}

static void start(struct relay *relay)
{
	struct child_events events = {.message = on_message, .ended = on_ended, .arg = relay};
	struct err err;

	relay->ready_at_ms = 0;
	relay->child = supervisor_spawn(relay->supervisor, "inkan-relay", NULL, SIGTERM, &events, &err);
	if (relay->child == NULL) {
		snprintf(relay->last_error, sizeof relay->last_error, "%s", err.text);
		start_again(relay);
		return;
	}
	relay->state = RELAY_STARTING;
	log_info("relay.started", LOG_NUMBER("pid", child_pid(relay->child)));
	send_everything(relay->supervisor);
}

void relay_start(struct supervisor *supervisor)
{
	struct relay *relay = &supervisor->relay;

	if (relay->child != NULL || supervisor->stopping)
		return;
	event_del(relay->start_timer);
	start(relay);
}

void relay_stop(struct supervisor *supervisor)
{
	struct relay *relay = &supervisor->relay;
	uint32_t grace_ms = supervisor->upgrading ? UPGRADE_GRACE_MS : STOP_GRACE_MS;
	struct buf payload = {0};

	event_del(relay->start_timer);
	if (relay->child == NULL) {
		relay->state = RELAY_STOPPED;
		return;
	}
	relay->state = RELAY_STOPPING;
	watch_end(&relay->watch);
	msg_put_u32(&payload, grace_ms);
	child_send(relay->child, RELAY_STOP, buf_bytes(&payload), -1);
	child_kill_after(relay->child, grace_ms);
	buf_clear(&payload);
}

/* ---- frames ---- */

static void send_frame(struct relay *relay, uint16_t type, struct buf *payload, int fd)
{
	if (relay->child != NULL)
		child_send(relay->child, type, buf_bytes(payload), fd);
	else if (fd >= 0)
		close(fd);
	buf_clear(payload);
}

void relay_send_listeners(struct supervisor *supervisor, const struct listeners *listeners)
{
	for (size_t i = 0; i < listeners->count; i++) {
		struct buf payload = {0};
		int fd = dup(listeners->items[i].fd);

		if (fd < 0)
			continue;
		msg_put_text(&payload, listeners->items[i].address);
		send_frame(&supervisor->relay, RELAY_LISTENER, &payload, fd);
	}
}

void relay_send_worker(struct supervisor *supervisor, const struct worker *worker, int fd)
{
	struct buf payload = {0};

	msg_put_u32(&payload, worker->number);
	msg_put_u32(&payload, worker->threads);
	send_frame(&supervisor->relay, RELAY_WORKER, &payload, fd);
}

void relay_send_locked(struct supervisor *supervisor)
{
	struct relay *relay = &supervisor->relay;
	struct buf payload = {0};
	const char *why;
	bool locked = supervisor_locked(supervisor, &why);

	if (relay->child == NULL || (relay->told_locked != NULL && strcmp(relay->told_locked, why) == 0))
		return;
	free(relay->told_locked);
	relay->told_locked = mem_string(why);
	if (locked) {
		free(relay->suspended);
		relay->suspended = NULL;
	}
	msg_put_u8(&payload, locked ? 1 : 0);
	msg_put_text(&payload, why);
	send_frame(relay, RELAY_LOCKED, &payload, -1);
}

void relay_send_password(struct supervisor *supervisor, const char *sealed, const struct secret *password)
{
	struct buf payload = {0};

	if (supervisor->relay.child == NULL)
		return;
	buf_reserve(&payload, strlen(sealed) + secret_bytes(password).len + 16);
	msg_put_text(&payload, sealed);
	msg_put_bytes(&payload, secret_bytes(password));
	child_send(supervisor->relay.child, RELAY_PASSWORD, buf_bytes(&payload), -1);
	buf_wipe_clear(&payload);
}

bool relay_send_console(struct supervisor *supervisor, int fd, struct err *err)
{
	struct relay *relay = &supervisor->relay;

	if (relay->state != RELAY_RUNNING) {
		close(fd);
		return err_set(err, ERR_UNAVAILABLE, "the relay is not running");
	}
	child_send(relay->child, RELAY_CONSOLE, (struct bytes){0}, fd);
	return true;
}

void relay_configure(struct supervisor *supervisor, const struct snapshot *snapshot, bool check, relay_configured_cb *cb,
		     void *arg)
{
	struct relay *relay = &supervisor->relay;
	struct buf encoded = {0}, payload = {0};

	snapshot_encode(&encoded, snapshot);
	msg_put_u8(&payload, check ? 1 : 0);
	msg_put_bytes(&payload, buf_bytes(&encoded));
	buf_clear(&encoded);
	expect_answer(relay, cb, arg);
	send_frame(relay, RELAY_CONFIGURE, &payload, -1);
}
