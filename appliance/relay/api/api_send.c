#include "appliance/relay/api/api_send.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/relay/api/api_upload.h"

#define RANDOM_BYTES 12 /* of a Message-ID or boundary */
#define EXPIRED_TEXT "S/MIME certificate is expired" /* service.md N4 */

struct api_send {
	struct api_send_context *context;
	struct config *config;
	const struct config_server *server;
	struct http_connection *connection;
	struct api_upload upload;
	struct api_errors errors;
	struct api_mail mail;
	struct login_check *check;
	struct composer *composer;
	struct compose_facts facts;
	struct submission *submission;
	char *user; /* whose requests count this one; NULL: not yet */
	bool japanese, encrypted;
	char message_id[2 * RANDOM_BYTES + 1], boundary[2 * RANDOM_BYTES + 1];
};

/* ---- The end ---- */

static void send_free(struct api_send *send)
{
	login_forget(send->check);
	composer_free(send->composer);
	if (send->user != NULL)
		api_users_leave(send->context->users, send->server->name, send->user);
	free(send->user);
	api_mail_clear(&send->mail);
	api_upload_clear(&send->upload);
	api_errors_clear(&send->errors);
	config_unref(send->config);
	free(send);
}

void api_send_abandon(struct api_send *send)
{
	if (send->submission != NULL)
		submission_abort(send->submission);
	send_free(send);
}

static void reply_errors(struct api_send *send, struct api_errors *errors)
{
	log_info("api.refused", LOG_TEXT("server", send->server->name),
		 LOG_TEXT("client", http_connection_client(send->connection)),
		 LOG_TEXT("user", send->user == NULL ? "" : send->user), LOG_NUMBER("status", api_errors_status(errors)),
		 LOG_TEXT("field", errors->rows[0].field), LOG_TEXT("detail", errors->rows[0].detail));
	send->context->refused_total++;
	http_connection_reply_errors(send->connection, errors, send->japanese);
	send_free(send);
}

static void refuse(struct api_send *send, enum api_fault fault, const char *field, const char *detail)
{
	api_errors_clear(&send->errors);
	api_errors_add(&send->errors, fault, field, detail);
	reply_errors(send, &send->errors);
}

/* ---- The mail's way ---- */

/* The service's id is the Message-ID, angle brackets included (../shared/reference/api.md §3). */
static void reply_stored(struct api_send *send)
{
	struct buf body = {0};

	buf_printf(&body, "{\"id\":\"<%s@%s>\"}", send->message_id, send->config->host_name);
	send->context->accepted_total++;
	http_connection_reply(send->connection, 200, "application/json; charset=UTF-8", "", buf_bytes(&body));
	buf_clear(&body);
	send_free(send);
}

static void on_submitted(const struct submission_reply *reply, void *arg)
{
	struct api_send *send = arg;

	send->submission = NULL; /* it frees itself */
	if (reply->code == 250)
		reply_stored(send);
	else if (strcmp(reply->text, EXPIRED_TEXT) == 0)
		refuse(send, API_FAULT_EXPIRED, "from", "");
	else if (reply->code < 500)
		refuse(send, API_FAULT_BUSY, "", reply->text);
	else if (reply->code == 552)
		refuse(send, API_FAULT_TOO_LARGE, "", "the server's largest message");
	else
		refuse(send, API_FAULT_REFUSED, strcmp(reply->enhanced, "5.7.1") == 0 ? "from" : "", reply->text);
}

static bool read_file(void *data, size_t len, uint64_t offset, void *arg, struct err *err)
{
	struct api_send *send = arg;
	ssize_t got = queue_body_pread(send->upload.body, data, len, offset, err);

	if (got >= 0 && (size_t)got != len)
		return err_set(err, ERR_INTEGRITY, "an attachment is shorter than it was");
	return got >= 0;
}

static void pump(void *arg)
{
	struct api_send *send = arg;
	struct buf octets = {0};
	struct err err = {0};
	bool more = true, right = true;

	while (more && right) {
		buf_reset(&octets);
		right = composer_next(send->composer, &octets, &err);
		if (right && octets.len == 0)
			break;
		more = right && submission_append(send->submission, buf_bytes(&octets));
	}
	buf_clear(&octets);
	if (!right) {
		log_error("api.compose-failed", LOG_ERR(&err));
		submission_abort(send->submission);
		send->submission = NULL;
		refuse(send, API_FAULT_BUSY, "", "The request's attachments could not be read");
	} else if (more) {
		submission_finish(send->submission, on_submitted, send);
	}
}

static size_t list_recipients(const struct api_mail *mail, struct queue_recipient *recipients)
{
	const struct api_mailboxes *lists[] = {&mail->to, &mail->cc, &mail->bcc};
	size_t count = 0;

	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
		for (size_t j = 0; j < lists[i]->n_rows; j++) {
			const char *address = lists[i]->rows[j].address;
			bool known = false;

			for (size_t k = 0; k < count; k++)
				known |= strcmp(recipients[k].address, address) == 0;
			if (!known)
				recipients[count++] = (struct queue_recipient){.address = address};
		}
	}
	return count;
}

static void submit(struct api_send *send)
{
	struct queue_recipient recipients[3 * API_ADDRESSES_MAX];
	char *client = mem_format("[%s]", http_connection_client(send->connection));
	struct submission_envelope envelope = {
	    .config = send->config,
	    .server = send->server,
	    .sender = send->mail.envelope_from,
	    .recipients = recipients,
	    .n_recipients = list_recipients(&send->mail, recipients),
	    .smtputf8 = composer_needs_utf8(&send->mail),
	    .body_type = QUEUE_7BIT,
	    .client = client,
	    .client_ip = http_connection_client(send->connection),
	    .protocol = send->encrypted ? "HTTPS" : "HTTP",
	    .user = send->user,
	};

	send->submission = submission_begin(send->context->submission, &envelope);
	submission_on_resume(send->submission, pump, send);
	free(client);
	pump(send);
}

static void random_text(char out[2 * RANDOM_BYTES + 1])
{
	uint8_t octets[RANDOM_BYTES];

	if (RAND_bytes(octets, sizeof octets) != 1)
		abort();
	hex_encode(out, bytes_of(octets, sizeof octets));
}

static void compose(struct api_send *send)
{
	struct err err;

	random_text(send->message_id);
	random_text(send->boundary);
	send->facts = (struct compose_facts){.host_name = send->config->host_name,
					     .message_id = send->message_id,
					     .now = clock_wall_seconds(),
					     .boundary = send->boundary};
	send->composer = composer_new(&send->mail, send->upload.files, send->upload.n_files, &send->facts, read_file, send, &err);
	if (send->composer == NULL)
		refuse(send, API_FAULT_CHARACTER, "", err.text);
	else
		submit(send);
}

static void on_sealed(const struct err *err, void *arg)
{
	struct api_send *send = arg;

	if (err != NULL)
		refuse(send, API_FAULT_BUSY, "", err->text);
	else
		compose(send);
}

/* ---- From a complete body to a mail ---- */

static void check_attachments(struct api_send *send)
{
	size_t came = send->upload.n_files;
	char *detail;

	if (send->mail.attachments < 0 || (size_t)send->mail.attachments == came)
		return;
	detail = mem_format("attachments says %ld, %zu came", send->mail.attachments, came);
	api_errors_add(&send->errors, API_FAULT_ATTACHMENTS, "attachments", detail);
	free(detail);
}

static void on_login(enum login_result result, void *arg)
{
	struct api_send *send = arg;
	char digits[API_NUMBER_BYTES], limit[16];
	const char *user = api_field_text(send->upload.fields, "api_user", digits);

	send->check = NULL;
	if (result != LOGIN_RIGHT) {
		refuse(send, result == LOGIN_WRONG ? API_FAULT_LOGIN : API_FAULT_BUSY, result == LOGIN_WRONG ? "api_key" : "",
		       "Too many logins at once");
		return;
	}
	snprintf(limit, sizeof limit, "%d", API_REQUESTS_PER_USER_MAX);
	if (!api_users_enter(send->context->users, send->server->name, user, API_REQUESTS_PER_USER_MAX)) {
		refuse(send, API_FAULT_CONNECTIONS, "api_user", limit);
		return;
	}
	send->user = mem_string(user);
	if (api_mail_read(send->upload.fields, &send->mail, &send->errors))
		check_attachments(send);
	if (send->errors.n_rows > 0)
		reply_errors(send, &send->errors);
	else if (send->upload.body != NULL)
		queue_body_seal(send->upload.body, on_sealed, send);
	else
		compose(send);
}

static bool login_field(struct api_send *send, const char *name, char digits[static API_NUMBER_BYTES], const char **value)
{
	*value = api_field_text(send->upload.fields, name, digits);
	if (*value == NULL)
		api_errors_add(&send->errors, API_FAULT_REQUIRED, name, "");
	else if (strlen(*value) > API_LOGIN_MAX_BYTES)
		api_errors_add(&send->errors, API_FAULT_TOO_LONG, name, "256 octets");
	return send->errors.n_rows == 0;
}

void api_send_complete(struct api_send *send)
{
	char user_digits[API_NUMBER_BYTES], key_digits[API_NUMBER_BYTES];
	const char *user, *key;
	struct login_check *check;

	if (!api_upload_finish(&send->upload)) {
		reply_errors(send, &send->upload.errors);
		return;
	}
	if (!login_field(send, "api_user", user_digits, &user) || !login_field(send, "api_key", key_digits, &key)) {
		reply_errors(send, &send->errors);
		return;
	}
	check =
	    login_check(send->context->login, send->server, http_connection_client(send->connection), user, key, on_login, send);
	if (check != NULL) /* else `send` may be gone */
		send->check = check;
}

/* ---- The body ---- */

static void on_body_resume(void *arg)
{
	struct api_send *send = arg;

	send->upload.waiting = false;
	http_connection_resume(send->connection);
}

bool api_send_body(struct api_send *send, struct bytes octets)
{
	bool had_body = send->upload.body != NULL, more = api_upload_append(&send->upload, octets);

	if (!had_body && send->upload.body != NULL)
		queue_body_on_resume(send->upload.body, on_body_resume, send);
	if (send->upload.failed) {
		reply_errors(send, &send->upload.errors);
		return true;
	}
	return more;
}

struct api_send *api_send_begin(struct api_send_context *context, struct config *config, const struct config_server *server,
				struct http_connection *connection, const struct http_head *head, bool encrypted)
{
	struct api_send *send = mem_new(sizeof *send);
	uint64_t limit = server->limits.message_bytes;

	*send = (struct api_send){.context = context,
				  .config = config_ref(config),
				  .server = server,
				  .connection = connection,
				  .japanese = api_language_is_japanese(head->accept_language),
				  .encrypted = encrypted};
	if (api_upload_begin(&send->upload, context->submission->queue, &context->buffered, limit, head->content_type) ==
	    API_MEDIA_NONE) {
		refuse(send, API_FAULT_MEDIA_TYPE, "", "");
		return NULL;
	}
	if (head->content_length != UINT64_MAX && head->content_length > limit + API_FIELDS_MAX_BYTES) {
		refuse(send, API_FAULT_TOO_LARGE, "", "the server's largest message");
		return NULL;
	}
	return send;
}
