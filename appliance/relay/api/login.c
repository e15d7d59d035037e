#include "appliance/relay/api/login.h"

#include <event2/event.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "appliance/relay/api/login_failures.h"
#include "appliance/relay/smtp/smtp_auth.h"

#define TAG_BYTES 32 /* HMAC-SHA-256 */

struct login {
	struct event_base *base;
	struct smtp_auth_checks *checks;
	struct login_check *running;
	uint8_t key[TAG_BYTES];
	uint8_t right[LOGIN_REMEMBERED_MAX][TAG_BYTES];
	size_t n_right, next;
	struct login_failures failures;
};

struct login_check {
	struct login *login;
	struct login_check *after, **at; /* of those that run */
	struct smtp_auth_check *check;
	struct event *delay;
	uint8_t tag[TAG_BYTES];
	char client[LOGIN_CLIENT_BYTES];
	login_done *done; /* NULL: forgotten */
	void *arg;
};

struct login *login_new(struct event_base *base, struct pool *pool)
{
	struct login *login = mem_new(sizeof *login);

	login->base = base;
	login->checks = smtp_auth_checks_new(pool);
	if (RAND_bytes(login->key, sizeof login->key) != 1)
		abort();
	return login;
}

static void check_free(struct login_check *check)
{
	*check->at = check->after;
	if (check->after != NULL)
		check->after->at = check->at;
	smtp_auth_check_forget(check->check);
	if (check->delay != NULL)
		event_free(check->delay);
	free(check);
}

void login_free(struct login *login)
{
	if (login == NULL)
		return;
	while (login->running != NULL)
		check_free(login->running);
	smtp_auth_checks_free(login->checks);
	mem_wipe(login, sizeof *login);
	free(login);
}

void login_forget(struct login_check *check)
{
	if (check != NULL)
		check_free(check);
}

/* Each part with its NUL, so that no two triples read the same. */
static void tag_of(const struct login *login, const char *user, const char *key, const char *hash, uint8_t tag[TAG_BYTES])
{
	struct buf text = {0};
	unsigned len = TAG_BYTES;

	buf_put(&text, user, strlen(user) + 1);
	buf_put(&text, hash, strlen(hash) + 1);
	buf_put(&text, key, strlen(key) + 1);
	if (HMAC(EVP_sha256(), login->key, sizeof login->key, text.data, text.len, tag, &len) == NULL)
		abort();
	buf_wipe_clear(&text);
}

static bool is_remembered(const struct login *login, const uint8_t tag[TAG_BYTES])
{
	bool found = false;

	for (size_t i = 0; i < login->n_right; i++)
		found |= CRYPTO_memcmp(login->right[i], tag, TAG_BYTES) == 0;
	return found;
}

static void remember(struct login *login, const uint8_t tag[TAG_BYTES])
{
	memcpy(login->right[login->next], tag, TAG_BYTES);
	login->next = (login->next + 1) % LOGIN_REMEMBERED_MAX;
	if (login->n_right < LOGIN_REMEMBERED_MAX)
		login->n_right++;
}

static void finish(struct login_check *check, enum login_result result)
{
	login_done *done = check->done;
	void *arg = check->arg;

	if (result == LOGIN_RIGHT)
		login_failures_forget(&check->login->failures, check->client);
	check_free(check);
	done(result, arg);
}

static void on_delay(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	finish(arg, LOGIN_WRONG);
}

static void on_checked(bool right, void *arg)
{
	struct login_check *check = arg;
	struct timeval wait;
	unsigned wait_ms;

	check->check = NULL;
	if (right) {
		remember(check->login, check->tag);
		finish(check, LOGIN_RIGHT);
		return;
	}
	wait_ms = login_failures_add(&check->login->failures, check->client, clock_monotonic_ms());
	wait = (struct timeval){.tv_sec = wait_ms / 1000, .tv_usec = (suseconds_t)(wait_ms % 1000) * 1000};
	check->delay = evtimer_new(check->login->base, on_delay, check);
	if (check->delay == NULL)
		abort();
	evtimer_add(check->delay, &wait);
}

struct login_check *login_check(struct login *login, const struct config_server *server, const char *client, const char *user,
				const char *key, login_done *done, void *arg)
{
	const struct config_user *known = config_find_user(server, user);
	struct login_check *check = mem_new(sizeof *check);
	struct smtp_auth auth = {0};

	*check = (struct login_check){.login = login, .after = login->running, .at = &login->running, .done = done, .arg = arg};
	snprintf(check->client, sizeof check->client, "%s", client);
	if (login->running != NULL)
		login->running->at = &check->after;
	login->running = check;
	tag_of(login, user, key, known == NULL ? "" : known->password_hash, check->tag);
	if (known != NULL && is_remembered(login, check->tag)) {
		finish(check, LOGIN_RIGHT);
		return NULL;
	}
	buf_put_text(&auth.user, user);
	buf_put_text(&auth.password, key);
	check->check = smtp_auth_check_start(login->checks, server, &auth, on_checked, check);
	smtp_auth_clear(&auth);
	if (check->check != NULL)
		return check;
	finish(check, LOGIN_BUSY);
	return NULL;
}
