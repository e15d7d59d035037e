/* From the greeting until the connection can carry mail: EHLO, TLS, AUTH. */
#include <event2/bufferevent.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/base/log.h"
#include "appliance/relay/delivery/smtp_client_private.h"

static bool wants_tls_first(const struct smtp_client *client)
{
	return client->hop->tls == CONFIG_TLS_IMPLICIT;
}

static bool requires_tls(const struct smtp_client *client)
{
	return client->hop->tls == CONFIG_TLS_REQUIRE || client->hop->tls == CONFIG_TLS_IMPLICIT;
}

#define STATUS_UNDEFINED "4.7.0"
#define STATUS_NOT_SUPPORTED "4.7.4" /* RFC 3463 §3.8: security features not supported */
#define STATUS_CRYPTOGRAPHIC "4.7.5" /* RFC 3463 §3.8: cryptographic failure */
#define STATUS_CREDENTIALS "4.7.8" /* RFC 4954 §6: authentication credentials invalid */

static bool fail_security(struct smtp_client *client, const char *status, const char *why)
{
	struct err err;

	err_set(&err, ERR_DENIED, "%s", why);
	return smtp_client_fail_security(client, status, &err);
}

static bool established(struct smtp_client *client)
{
	client->closed.established = true;
	smtp_client_become_idle(client);
	return true;
}

static bool begin_ehlo(struct smtp_client *client)
{
	smtp_client_command(client, "EHLO %s\r\n", client->helo);
	smtp_client_enter(client, CLIENT_EHLO);
	return true;
}

/* ---- AUTH ---- */

static void put_base64(struct buf *out, struct bytes octets)
{
	size_t len = (octets.len + 2) / 3 * 4;

	buf_reserve(out, len + 1);
	out->len += (size_t)EVP_EncodeBlock(out->data + out->len, octets.data, (int)octets.len);
}

/* The line goes straight to the connection; our copies are wiped. */
static bool send_secret(struct smtp_client *client, const char *command, struct bytes octets, enum smtp_client_state state)
{
	struct buf line = {0};

	buf_reserve(&line, strlen(command) + octets.len * 4 / 3 + 8);
	buf_put_text(&line, command);
	put_base64(&line, octets);
	buf_put_text(&line, "\r\n");
	bufferevent_write(client->connection, line.data, line.len);
	buf_wipe_clear(&line);
	smtp_client_enter(client, state);
	return true;
}

/* RFC 4616 */
static bool send_plain(struct smtp_client *client, const struct secret *password)
{
	struct bytes user = bytes_text(client->hop->user), octets = secret_bytes(password);
	struct buf message = {0};

	buf_reserve(&message, user.len + octets.len + 2);
	buf_put_byte(&message, '\0');
	buf_put_bytes(&message, user);
	buf_put_byte(&message, '\0');
	buf_put_bytes(&message, octets);
	send_secret(client, "AUTH PLAIN ", buf_bytes(&message), CLIENT_AUTH);
	buf_wipe_clear(&message);
	return true;
}

static const struct secret *password_of(const struct smtp_client *client)
{
	return passwords_find(client->passwords, client->hop->sealed_password);
}

static bool log_in(struct smtp_client *client)
{
	const struct secret *password;

	if (client->hop->user == NULL)
		return established(client);
	password = password_of(client);
	if (password == NULL)
		return fail_security(client, STATUS_UNDEFINED, "the password is locked: hsm login");
	if (!client->encrypted && !client->hop->auth_without_tls)
		return fail_security(client, STATUS_NOT_SUPPORTED, "no password is sent without TLS");
	if (client->capabilities.auth_plain)
		return send_plain(client, password);
	if (!client->capabilities.auth_login)
		return fail_security(client, STATUS_NOT_SUPPORTED, "the server offers neither AUTH PLAIN nor AUTH LOGIN");
	smtp_client_command(client, "AUTH LOGIN\r\n");
	smtp_client_enter(client, CLIENT_AUTH_USER);
	return true;
}

/* A temporary refusal (454 4.7.0) is one of the login, too. */
static bool refused_login(struct smtp_client *client, const struct smtp_reply *reply)
{
	char line[SMTP_REPLY_TEXT_MAX_BYTES];
	struct err err;

	if (reply->code == 421)
		return smtp_client_fail_reply(client, reply);
	smtp_reply_one_line(reply, line);
	err_set(&err, ERR_DENIED, "the login of %s is refused: %s", client->hop->user, line);
	return smtp_client_fail_security(client, reply->code / 100 == 5 ? STATUS_CREDENTIALS : STATUS_UNDEFINED, &err);
}

bool smtp_hello_auth(struct smtp_client *client, const struct smtp_reply *reply)
{
	if (reply->code / 100 != 2)
		return refused_login(client, reply);
	return established(client);
}

bool smtp_hello_auth_user(struct smtp_client *client, const struct smtp_reply *reply)
{
	if (reply->code != 334)
		return refused_login(client, reply);
	return send_secret(client, "", bytes_text(client->hop->user), CLIENT_AUTH_PASSWORD);
}

bool smtp_hello_auth_password(struct smtp_client *client, const struct smtp_reply *reply)
{
	const struct secret *password = password_of(client);

	if (reply->code != 334)
		return refused_login(client, reply);
	if (password == NULL)
		return fail_security(client, STATUS_UNDEFINED, "the password is locked: hsm login");
	return send_secret(client, "", secret_bytes(password), CLIENT_AUTH);
}

/* ---- TLS ---- */

/* The socket changes from one bufferevent to another. */
static bool begin_tls(struct smtp_client *client)
{
	evutil_socket_t fd = bufferevent_getfd(client->connection);
	struct bufferevent *encrypted;
	struct err err;

	if (bufferevent_setfd(client->connection, -1) != 0)
		return smtp_client_fail(client, ERR_INTERNAL, "the connection cannot be encrypted");
	encrypted = tls_client_begin(client->tls, client->base, fd, &err);
	if (encrypted == NULL) {
		close(fd);
		return smtp_client_fail(client, err.code, "%s", err.text);
	}
	bufferevent_free(client->connection);
	smtp_client_take_connection(client, encrypted);
	smtp_client_enter(client, CLIENT_TLS);
	return false; /* what was read of the plain connection is over */
}

bool smtp_hello_starttls(struct smtp_client *client, const struct smtp_reply *reply)
{
	if (reply->code / 100 == 2 && client->unread > 0)
		return smtp_client_fail(client, ERR_INVALID, "the server sent more before TLS began");
	if (reply->code / 100 == 2)
		return begin_tls(client);
	if (reply->code == 421)
		return smtp_client_fail_reply(client, reply);
	if (requires_tls(client))
		return fail_security(client, STATUS_NOT_SUPPORTED, "TLS is required, but the server refuses STARTTLS");
	return log_in(client);
}

void smtp_hello_tls_failed(struct smtp_client *client, int socket_error)
{
	struct err err;

	tls_client_failure(client->connection, socket_error, &err);
	if (requires_tls(client)) {
		smtp_client_fail_security(client, STATUS_CRYPTOGRAPHIC, &err);
		return;
	}
	log_info("delivery.tls-failed", LOG_TEXT("next_hop", client->label), LOG_ERR(&err), LOG_TEXT("then", "without TLS"));
	smtp_client_reconnect_plain(client);
}

void smtp_hello_encrypted(struct smtp_client *client)
{
	struct err err;

	if (!tls_client_trusts(client->tls, client->connection, &err)) {
		smtp_client_fail_security(client, STATUS_CRYPTOGRAPHIC, &err);
		return;
	}
	client->encrypted = true;
	log_debug("delivery.tls", LOG_TEXT("next_hop", client->label),
		  LOG_TEXT("tls", tls_client_description(client->connection)));
	if (wants_tls_first(client))
		smtp_client_enter(client, CLIENT_GREETING);
	else
		begin_ehlo(client);
}

void smtp_hello_connected(struct smtp_client *client)
{
	if (wants_tls_first(client))
		begin_tls(client);
	else
		smtp_client_enter(client, CLIENT_GREETING);
}

/* ---- EHLO ---- */

bool smtp_hello_greeting(struct smtp_client *client, const struct smtp_reply *reply)
{
	if (reply->code / 100 != 2)
		return smtp_client_fail_reply(client, reply);
	return begin_ehlo(client);
}

/* RFC 5321 §3.2: a server that does not know EHLO answers 5xx and gets HELO. */
bool smtp_hello_ehlo(struct smtp_client *client, const struct smtp_reply *reply)
{
	if (reply->code / 100 == 5) {
		smtp_client_command(client, "HELO %s\r\n", client->helo);
		smtp_client_enter(client, CLIENT_HELO);
		return true;
	}
	if (reply->code / 100 != 2)
		return smtp_client_fail_reply(client, reply);
	smtp_capabilities_parse(reply, &client->capabilities);
	if (client->encrypted || client->plain || client->tls == NULL)
		return log_in(client);
	if (client->capabilities.starttls) {
		smtp_client_command(client, "STARTTLS\r\n");
		smtp_client_enter(client, CLIENT_STARTTLS);
		return true;
	}
	if (requires_tls(client))
		return fail_security(client, STATUS_NOT_SUPPORTED, "TLS is required, but the server does not offer STARTTLS");
	return log_in(client);
}

bool smtp_hello_helo(struct smtp_client *client, const struct smtp_reply *reply)
{
	if (reply->code / 100 != 2)
		return smtp_client_fail_reply(client, reply);
	if (requires_tls(client) && !client->encrypted)
		return fail_security(client, STATUS_NOT_SUPPORTED, "TLS is required, but the server does not offer STARTTLS");
	return log_in(client);
}
