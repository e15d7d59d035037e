#include "appliance/supervisor/login.h"

#include <event2/event.h>
#include <stdio.h>

#include "appliance/base/control.h"
#include "appliance/base/log.h"
#include "appliance/supervisor/supervisor_private.h"

static void answer(struct supervisor *supervisor, const struct err *failed)
{
	event_del(supervisor->login.timer);
	request_answer(&supervisor->login.request, failed, -1);
}

/* The workers go on: a slow token may still accept the PIN. */
static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *supervisor = arg;
	struct err late;

	(void)fd;
	(void)what;
	err_set(&late, ERR_TIMEOUT, "the token did not answer in time; the login goes on");
	log_warning("login.slow", LOG_ERR(&late));
	answer(supervisor, &late);
}

static void on_out_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *supervisor = arg;
	struct err late;

	(void)fd;
	(void)what;
	err_set(
	    &late, ERR_TIMEOUT,
	    "inkand has wiped the PIN, but %zu processes that know it have not ended yet: they will when the token answers them",
	    workers_alive(supervisor) + tasks_alive(supervisor));
	log_warning("login.out-slow", LOG_ERR(&late));
	request_answer(&supervisor->login.out, &late, -1);
}

void login_init(struct supervisor *supervisor)
{
	supervisor->login = (struct login){
	    .timer = evtimer_new(supervisor->base, on_deadline, supervisor),
	    .out_timer = evtimer_new(supervisor->base, on_out_deadline, supervisor),
	};
}

void login_clear(struct supervisor *supervisor)
{
	event_free(supervisor->login.timer);
	event_free(supervisor->login.out_timer);
	supervisor->login = (struct login){0};
}

/* Before any token sees it: an empty PIN would use up a try. */
static bool may_log_in(const struct supervisor *supervisor, const struct secret *pin, bool keypad, struct err *err)
{
	if (!keypad && secret_bytes(pin).len == 0)
		return err_set(err, ERR_INVALID, "the PIN is empty");
	if (supervisor->stopping)
		return err_set(err, ERR_UNAVAILABLE, "inkand is stopping");
	if (supervisor->pin.state == PIN_TRIED)
		return err_set(err, ERR_EXISTS, "another login is under way");
	if (supervisor->login.out.done != NULL)
		return err_set(err, ERR_EXISTS, "a logout is under way");
	if (!configuration_has_hsm(supervisor->running))
		return err_set(err, ERR_INVALID, "no HSM is configured: set hsm module and hsm token, then commit");
	return true;
}

static bool same_secret(const struct secret *a, const struct secret *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return bytes_equal(secret_bytes(a), secret_bytes(b));
}

/* With the PIN that is held already the login succeeds when a worker is ready. */
static void begin_while_held(struct supervisor *supervisor, struct secret *pin, const struct request *request)
{
	struct request asked = *request;
	bool same = same_secret(pin, supervisor->pin.secret);
	struct err held;

	secret_free(pin);
	if (same && workers_ready(supervisor) > 0) {
		request_answer(&asked, NULL, -1);
		return;
	}
	if (same)
		err_set(&held, ERR_UNAVAILABLE, "this PIN is held already, but no HSM worker is ready");
	else
		err_set(&held, ERR_EXISTS, "another PIN is held already: hsm logout first");
	request_answer(&asked, &held, -1);
}

void login_begin(struct supervisor *supervisor, struct secret *pin, unsigned flags, const struct request *request)
{
	bool keypad = (flags & CONTROL_LOGIN_KEYPAD) != 0;
	struct timeval deadline = {.tv_sec = (keypad ? LOGIN_KEYPAD_DEADLINE_MS : LOGIN_DEADLINE_MS) / 1000};
	struct request asked = *request;
	struct err refused;

	if (!may_log_in(supervisor, pin, keypad, &refused)) {
		secret_free(pin);
		request_answer(&asked, &refused, -1);
		return;
	}
	if (keypad) {
		secret_free(pin);
		pin = NULL;
	}
	if (supervisor->pin.state == PIN_HELD) {
		begin_while_held(supervisor, pin, request);
		return;
	}
	pin_try(&supervisor->pin, pin, (flags & CONTROL_LOGIN_FINAL_TRY) != 0);
	supervisor->login.request = asked;
	event_add(supervisor->login.timer, &deadline);
	workers_start(supervisor);
}

static void give_up(struct supervisor *supervisor, enum err_code code, const char *why)
{
	struct err failed;

	err_set(&failed, code, "%s", why);
	workers_cancel_starts(supervisor);
	relay_send_locked(supervisor);
	answer(supervisor, &failed);
}

void login_worker_ended(struct supervisor *supervisor)
{
	if (workers_alive(supervisor) > 0 || tasks_alive(supervisor) > 0)
		return;
	event_del(supervisor->login.out_timer);
	request_answer(&supervisor->login.out, NULL, -1);
}

void login_out(struct supervisor *supervisor, const struct request *request)
{
	struct timeval deadline = {.tv_sec = LOGOUT_DEADLINE_MS / 1000};

	request_answer(&supervisor->login.out, NULL, -1); /* an earlier one: this one waits for both */
	supervisor->login.out = *request;
	event_add(supervisor->login.out_timer, &deadline);
	log_info("login.out", LOG_TEXT("pin", "wiped"));
	pin_forget(&supervisor->pin, "");
	passwords_forget(supervisor);
	workers_stop(supervisor);
	give_up(supervisor, ERR_CANCELLED, "an operator logged out");
	login_worker_ended(supervisor);
}

void login_from_file(struct supervisor *supervisor)
{
	const char *path = supervisor->running->pin_file;
	struct err err;

	if (path == NULL || pin_usable(&supervisor->pin) || !configuration_has_hsm(supervisor->running))
		return;
	if (!pin_read_file(&supervisor->pin, path, &err)) {
		log_error("login.file", LOG_ERR(&err));
		if (supervisor->pin.state == PIN_NONE)
			pin_forget(&supervisor->pin, err.text);
		return;
	}
	log_info("login.file", LOG_TEXT("file", path));
	supervisor_audit(supervisor, "PIN read from the file %s", path);
	workers_start(supervisor);
}

void login_succeeded(struct supervisor *supervisor)
{
	if (supervisor->pin.state == PIN_TRIED) {
		log_info("login.accepted", LOG_TEXT("token", supervisor->workers.token.token));
		supervisor_audit(supervisor, "the token %s accepted the PIN (serial %s)", supervisor->workers.token.token,
				 supervisor->workers.token.serial);
	}
	if (pin_usable(&supervisor->pin))
		pin_accepted(&supervisor->pin);
	passwords_follow(supervisor, false);
	relay_send_locked(supervisor);
	answer(supervisor, NULL);
}

void login_rejected(struct supervisor *supervisor, const char *why)
{
	log_error("login.rejected", LOG_TEXT("why", why));
	supervisor_audit(supervisor, "PIN rejected: %s", why);
	pin_reject(&supervisor->pin, why);
	give_up(supervisor, ERR_DENIED, why);
}

/* A PIN that never worked is not kept; one that did is, and the workers try again. */
void login_failed(struct supervisor *supervisor, const char *why)
{
	if (supervisor->pin.state != PIN_TRIED)
		return;
	log_error("login.failed", LOG_TEXT("why", why));
	supervisor_audit(supervisor, "PIN not tried: %s", why);
	pin_forget(&supervisor->pin, why);
	give_up(supervisor, ERR_UNAVAILABLE, why);
}
