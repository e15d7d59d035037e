#include "hsm/provision/connection.h"

#include <time.h>

static void wait_ms(long ms)
{
	struct timespec left = {ms / 1000, ms % 1000 * 1000000};

	while (nanosleep(&left, &left) != 0)
		;
}

static bool log_in(struct connection *c, const struct secret *pin, enum connection_login login)
{
	if (pin == NULL && !(login == CONNECTION_LOGIN_NEEDED && c->info.protected_path))
		return err_set(&c->why, ERR_DENIED, "No PIN: log in with 'hsm login' first");
	c->logged_in = session_login(&c->session, pin != NULL ? secret_bytes(pin) : (struct bytes){0}, &c->why);
	if (!c->logged_in)
		c->exit = c->why.code == ERR_DENIED ? WORKER_EXIT_PIN_REJECTED : WORKER_EXIT_TOKEN_FAULT;
	return c->logged_in;
}

static bool connect_once(struct connection *c, const struct hsm_settings *settings, const struct secret *pin,
			 enum connection_login login)
{
	unsigned long slot;

	*c = (struct connection){.exit = WORKER_EXIT_MODULE};
	c->module = module_open(settings->module, &c->why);
	if (c->module == NULL)
		return false;
	c->exit = WORKER_EXIT_TOKEN_ABSENT;
	if (!module_find_token(c->module, settings->token, &slot, &c->info, &c->why) ||
	    !session_open(c->module, slot, &c->session, &c->why))
		return false;
	c->present = true;
	c->exit = WORKER_EXIT_OK;
	return log_in(c, pin, login);
}

static bool may_pass(const struct connection *c)
{
	return c->why.code == ERR_UNAVAILABLE || (c->why.code == ERR_NOT_FOUND && c->module != NULL);
}

void connection_open(struct connection *c, const struct hsm_settings *settings, const struct secret *pin,
		     enum connection_login login)
{
	long pause = CONNECTION_FIRST_WAIT_MS;

	for (int tries = 1; !connect_once(c, settings, pin, login) && may_pass(c) && tries < CONNECTION_TRIES; tries++) {
		connection_close(c);
		wait_ms(pause);
		pause *= 2;
	}
}

void connection_close(struct connection *c)
{
	session_close(&c->session);
	module_close(c->module);
	c->module = NULL;
}

bool connection_require_login(const struct connection *c, struct err *err)
{
	if (c->logged_in)
		return true;
	if (err != NULL)
		*err = c->why;
	return false;
}
