#include "appliance/supervisor/login.h"

#include <event2/event.h>
#include <stdio.h>

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
	err_set(&late, ERR_TIMEOUT, "the token did not answer within %d s; the login goes on", LOGIN_DEADLINE_MS / 1000);
	log_warning("login.slow", LOG_ERR(&late));
	answer(supervisor, &late);
}

void login_init(struct supervisor *supervisor)
{
	supervisor->login = (struct login){.timer = evtimer_new(supervisor->base, on_deadline, supervisor)};
}

void login_clear(struct supervisor *supervisor)
{
	event_free(supervisor->login.timer);
	supervisor->login = (struct login){0};
}

/* Before any token sees it: an empty PIN would use up a try. */
static bool may_log_in(const struct supervisor *supervisor, const struct secret *pin, struct err *err)
{
	if (secret_bytes(pin).len == 0)
		return err_set(err, ERR_INVALID, "the PIN is empty");
	if (supervisor->stopping)
		return err_set(err, ERR_UNAVAILABLE, "inkand is stopping");
	if (supervisor->pin.state == PIN_TRIED)
		return err_set(err, ERR_EXISTS, "another login is under way");
	if (!configuration_has_hsm(supervisor->running))
		return err_set(err, ERR_INVALID, "no HSM is configured: set hsm module and hsm token, then commit");
	return true;
}

static bool same_secret(const struct secret *a, const struct secret *b)
{
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

void login_begin(struct supervisor *supervisor, struct secret *pin, const struct request *request)
{
	struct timeval deadline = {.tv_sec = LOGIN_DEADLINE_MS / 1000};
	struct request asked = *request;
	struct err refused;

	if (!may_log_in(supervisor, pin, &refused)) {
		secret_free(pin);
		request_answer(&asked, &refused, -1);
		return;
	}
	if (supervisor->pin.state == PIN_HELD) {
		begin_while_held(supervisor, pin, request);
		return;
	}
	pin_try(&supervisor->pin, pin);
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

void login_out(struct supervisor *supervisor)
{
	log_info("login.out", LOG_TEXT("pin", "wiped"));
	pin_forget(&supervisor->pin, "");
	workers_stop(supervisor);
	give_up(supervisor, ERR_CANCELLED, "an operator logged out");
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
	workers_start(supervisor);
}

void login_succeeded(struct supervisor *supervisor)
{
	if (supervisor->pin.state == PIN_TRIED)
		log_info("login.accepted", LOG_TEXT("token", supervisor->workers.token.token));
	if (pin_usable(&supervisor->pin))
		pin_accepted(&supervisor->pin);
	relay_send_locked(supervisor);
	answer(supervisor, NULL);
}

void login_rejected(struct supervisor *supervisor, const char *why)
{
	log_error("login.rejected", LOG_TEXT("why", why));
	pin_reject(&supervisor->pin, why);
	give_up(supervisor, ERR_DENIED, why);
}

/* A PIN that never worked is not kept; one that did is, and the workers try again. */
void login_failed(struct supervisor *supervisor, const char *why)
{
	if (supervisor->pin.state != PIN_TRIED)
		return;
	log_error("login.failed", LOG_TEXT("why", why));
	pin_forget(&supervisor->pin, why);
	give_up(supervisor, ERR_UNAVAILABLE, why);
}
