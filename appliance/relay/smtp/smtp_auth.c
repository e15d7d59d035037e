#include "appliance/relay/smtp/smtp_auth.h"

#include <crypt.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/base/pool.h"
#include "appliance/relay/smtp/smtp_limits.h"

bool smtp_auth_start(struct smtp_auth *auth, struct bytes mechanism)
{
	if (bytes_equal_nocase(mechanism, "PLAIN"))
		auth->step = SMTP_AUTH_PLAIN;
	else if (bytes_equal_nocase(mechanism, "LOGIN"))
		auth->step = SMTP_AUTH_LOGIN_USER;
	else
		return false;
	return true;
}

/* A name or password as crypt(3) and the configuration can hold it. */
static bool set_text(struct buf *out, struct bytes text, size_t max)
{
	if (text.len == 0 || text.len > max || memchr(text.data, '\0', text.len) != NULL)
		return false;
	buf_reserve(out, text.len + 1);
	buf_put_bytes(out, text);
	return true;
}

static size_t length_to_nul(struct bytes in)
{
	const uint8_t *nul = in.len == 0 ? NULL : memchr(in.data, '\0', in.len);

	return nul == NULL ? in.len : (size_t)(nul - in.data);
}

/* message = [authzid] UTF8NUL authcid UTF8NUL passwd */
static bool take_plain(struct smtp_auth *auth, struct bytes message)
{
	size_t first = length_to_nul(message);
	struct bytes authzid = bytes_slice(message, 0, first), rest = bytes_slice(message, first + 1, message.len);
	size_t second = length_to_nul(rest);
	struct bytes authcid = bytes_slice(rest, 0, second);

	if (authzid.len > 0 && !bytes_equal(authzid, authcid))
		return false;
	return set_text(&auth->user, authcid, SMTP_USER_MAX_BYTES) &&
	       set_text(&auth->password, bytes_slice(rest, second + 1, rest.len), SMTP_PASSWORD_MAX_BYTES);
}

static enum smtp_auth_result take(struct smtp_auth *auth, struct bytes message)
{
	switch (auth->step) {
	case SMTP_AUTH_PLAIN:
		return take_plain(auth, message) ? SMTP_AUTH_COMPLETE : SMTP_AUTH_INVALID;
	case SMTP_AUTH_LOGIN_USER:
		auth->step = SMTP_AUTH_LOGIN_PASSWORD;
		return set_text(&auth->user, message, SMTP_USER_MAX_BYTES) ? SMTP_AUTH_MORE : SMTP_AUTH_INVALID;
	case SMTP_AUTH_LOGIN_PASSWORD:
		break;
	}
	return set_text(&auth->password, message, SMTP_PASSWORD_MAX_BYTES) ? SMTP_AUTH_COMPLETE : SMTP_AUTH_INVALID;
}

enum smtp_auth_result smtp_auth_feed(struct smtp_auth *auth, struct bytes line)
{
	struct buf message = {0};
	enum smtp_auth_result result = SMTP_AUTH_ENCODING;

	if (bytes_equal_text(line, "*"))
		return SMTP_AUTH_CANCELLED;
	buf_reserve(&message, line.len + 1);
	if (base64_decode(&message, line, NULL))
		result = take(auth, buf_bytes(&message));
	buf_wipe_clear(&message);
	return result;
}

void smtp_auth_clear(struct smtp_auth *auth)
{
	buf_wipe_clear(&auth->user);
	buf_wipe_clear(&auth->password);
}

/* ---- Checks ---- */

struct smtp_auth_checks {
	struct pool *pool;
	unsigned running;
	bool freed; /* by the server: the last check frees it */
};

struct smtp_auth_check {
	struct smtp_auth_checks *checks;
	struct buf user, password; /* NUL-terminated by buf_text */
	char *hash; /* NULL: nobody could be right */
	bool known; /* the hash is this user's, not one that is hashed against to take the same time */
	bool right;
	smtp_auth_done *done; /* NULL: forgotten */
	void *arg;
};

struct smtp_auth_checks *smtp_auth_checks_new(struct pool *pool)
{
	struct smtp_auth_checks *checks = mem_new(sizeof *checks);

	checks->pool = pool;
	return checks;
}

static void checks_free_if_over(struct smtp_auth_checks *checks)
{
	if (checks->freed && checks->running == 0)
		free(checks);
}

void smtp_auth_checks_free(struct smtp_auth_checks *checks)
{
	checks->freed = true;
	checks_free_if_over(checks);
}

/* On a pool thread. */
static void check_work(void *arg)
{
	struct smtp_auth_check *check = arg;
	struct crypt_data *data = mem_new(sizeof *data);
	const char *hashed = check->hash == NULL ? NULL : crypt_rn(buf_text(&check->password), check->hash, data, sizeof *data);

	check->right = hashed != NULL && check->known && strlen(hashed) == strlen(check->hash) &&
		       CRYPTO_memcmp(hashed, check->hash, strlen(hashed)) == 0;
	mem_wipe(data, sizeof *data);
	free(data);
}

static void check_done(void *arg)
{
	struct smtp_auth_check *check = arg;
	struct smtp_auth_checks *checks = check->checks;

	checks->running--;
	if (check->done != NULL)
		check->done(check->right, check->arg);
	buf_wipe_clear(&check->user);
	buf_wipe_clear(&check->password);
	free(check->hash);
	free(check);
	checks_free_if_over(checks);
}

struct smtp_auth_check *smtp_auth_check_start(struct smtp_auth_checks *checks, const struct config_server *server,
					      struct smtp_auth *auth, smtp_auth_done *done, void *arg)
{
	const struct config_user *user = config_find_user(server, buf_text(&auth->user));
	struct smtp_auth_check *check;

	if (checks->running == SMTP_AUTH_CHECKS_MAX)
		return NULL;
	checks->running++;
	check = mem_new(sizeof *check);
	*check = (struct smtp_auth_check){.checks = checks, .known = user != NULL, .done = done, .arg = arg};
	if (user == NULL && server->n_users > 0)
		user = &server->users[0];
	check->hash = user == NULL ? NULL : mem_string(user->password_hash);
	check->user = auth->user;
	check->password = auth->password;
	auth->user = auth->password = (struct buf){0};
	pool_submit(checks->pool, check_work, check_done, check);
	return check;
}

void smtp_auth_check_forget(struct smtp_auth_check *check)
{
	if (check != NULL)
		check->done = NULL;
}

const char *smtp_auth_check_user(struct smtp_auth_check *check)
{
	return buf_text(&check->user);
}
