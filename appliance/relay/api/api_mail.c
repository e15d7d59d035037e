#include "appliance/relay/api/api_mail.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "appliance/relay/smtp/smtp_address.h"

#define DIGITS(number) DIGITS_OF(number)
#define DIGITS_OF(number) #number

static bool has_control(const char *text, bool lines)
{
	for (; *text != '\0'; text++) {
		if ((unsigned char)*text < ' ' || *text == 0x7f) {
			if (*text != '\t' && !(lines && (*text == '\n' || *text == '\r')))
				return true;
		}
	}
	return false;
}

/* ---- Members ---- */

static bool is_empty(const json_t *value)
{
	return value == NULL || json_is_null(value) || (json_is_string(value) && json_string_length(value) == 0) ||
	       (json_is_array(value) && json_array_size(value) == 0) || (json_is_object(value) && json_object_size(value) == 0);
}

static const json_t *member(const json_t *fields, const char *name)
{
	const json_t *value = json_object_get(fields, name);

	return is_empty(value) ? NULL : value;
}

const char *api_field_text(const json_t *fields, const char *name, char number[static API_NUMBER_BYTES])
{
	const json_t *value = member(fields, name);

	if (json_is_integer(value)) {
		snprintf(number, API_NUMBER_BYTES, "%lld", (long long)json_integer_value(value));
		return number;
	}
	return json_string_value(value);
}

/* A string that holds JSON counts as that JSON. *parsed must be released. */
static const json_t *unwrapped(const json_t *value, json_t **parsed)
{
	const char *text = json_string_value(value);
	size_t blanks = text == NULL ? 0 : strspn(text, " \t\r\n");

	*parsed = NULL;
	if (text != NULL && (text[blanks] == '{' || text[blanks] == '['))
		*parsed = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	return *parsed == NULL ? value : is_empty(*parsed) ? NULL : *parsed;
}

static char *text_member(const json_t *fields, const char *name, bool lines, struct api_errors *errors)
{
	const json_t *value = member(fields, name);
	char digits[API_NUMBER_BYTES];
	const char *text = api_field_text(fields, name, digits);

	if (value == NULL)
		return NULL;
	if (text == NULL)
		api_errors_add(errors, API_FAULT_FORM, name, "a string");
	else if (has_control(text, lines) || strlen(text) != (json_is_string(value) ? json_string_length(value) : strlen(text)))
		api_errors_add(errors, API_FAULT_ENCODING, name, "");
	else
		return mem_string(text);
	return NULL;
}

/* ---- Addresses ---- */

static void add_mailbox(struct api_mailboxes *boxes, const char *field, const char *name, const char *address,
			struct api_errors *errors)
{
	char parsed[SMTP_ADDRESS_MAX_BYTES + 1];
	struct bytes in = bytes_trim(bytes_text(address));

	if (name != NULL && (has_control(name, false) || strlen(name) > API_NAME_MAX_BYTES))
		api_errors_add(errors, has_control(name, false) ? API_FAULT_ENCODING : API_FAULT_TOO_LONG, field,
			       DIGITS(API_NAME_MAX_BYTES) " octets in a name");
	else if (in.len == 0)
		api_errors_add(errors, API_FAULT_REQUIRED, field, "");
	else if (smtp_path_parse(&in, SMTP_PATH_UTF8, parsed) != SMTP_PATH_OK || in.len > 0)
		api_errors_add(errors, API_FAULT_ADDRESS, field, has_control(address, false) ? "" : address);
	else
		boxes->rows[boxes->n_rows++] = (struct header_mailbox){mem_string(name == NULL ? "" : name), mem_string(parsed)};
}

static void read_mailbox(struct api_mailboxes *boxes, const char *field, const json_t *value, struct api_errors *errors)
{
	const json_t *name = json_object_get(value, "name"), *address = json_object_get(value, "address");

	if (json_is_string(value))
		add_mailbox(boxes, field, NULL, json_string_value(value), errors);
	else if (!json_is_object(value) || (name != NULL && !json_is_string(name) && !json_is_null(name)) ||
		 (address != NULL && !json_is_string(address) && !json_is_null(address)))
		api_errors_add(errors, API_FAULT_FORM, field, "an address or {\"name\",\"address\"}");
	else
		add_mailbox(boxes, field, json_string_value(name), is_empty(address) ? "" : json_string_value(address), errors);
}

static void read_mailboxes(struct api_mailboxes *boxes, const json_t *fields, const char *field, size_t most,
			   struct api_errors *errors)
{
	json_t *parsed;
	const json_t *value = unwrapped(member(fields, field), &parsed);
	char limit[API_NUMBER_BYTES];

	snprintf(limit, sizeof limit, "%zu", most);
	if (json_array_size(value) > most) {
		api_errors_add(errors, API_FAULT_TOO_MANY, field, limit);
	} else if (json_is_array(value)) {
		for (size_t i = 0; i < json_array_size(value); i++)
			read_mailbox(boxes, field, json_array_get(value, i), errors);
	} else if (value != NULL) {
		read_mailbox(boxes, field, value, errors);
	}
	json_decref(parsed);
}

/* The one that was not left out: the documented name, or what the Java client sends. */
static const char *present(const json_t *fields, const char *name, const char *other)
{
	return member(fields, name) == NULL && member(fields, other) != NULL ? other : name;
}

static void read_addresses(struct api_mail *mail, const json_t *fields, struct api_errors *errors)
{
	size_t before = errors->n_rows;

	read_mailboxes(&mail->to, fields, "to", API_ADDRESSES_MAX, errors);
	if (mail->to.n_rows == 0 && errors->n_rows == before)
		api_errors_add(errors, API_FAULT_REQUIRED, "to", "");
	read_mailboxes(&mail->cc, fields, "cc", API_ADDRESSES_MAX, errors);
	read_mailboxes(&mail->bcc, fields, "bcc", API_ADDRESSES_MAX, errors);
	before = errors->n_rows;
	read_mailboxes(&mail->from, fields, "from", 1, errors);
	if (mail->from.n_rows == 0 && errors->n_rows == before)
		api_errors_add(errors, API_FAULT_REQUIRED, "from", "");
	read_mailboxes(&mail->reply_to, fields, present(fields, "replyto", "reply_to"), 1, errors);
}

static void read_envelope_from(struct api_mail *mail, const json_t *fields, struct api_errors *errors)
{
	const char *field = present(fields, "envfrom", "env_from");
	struct api_mailboxes box = {0};

	read_mailboxes(&box, fields, field, 1, errors);
	if (box.n_rows == 1)
		mail->envelope_from = mem_string(box.rows[0].address);
	else if (mail->from.n_rows == 1)
		mail->envelope_from = mem_string(mail->from.rows[0].address);
	for (size_t i = 0; i < box.n_rows; i++) {
		free(box.rows[i].name);
		free(box.rows[i].address);
	}
}

/* ---- Custom header fields ---- */

bool api_header_may_be_set(const char *name)
{
	/* what Inkan writes, what names the sender, and what a mail server writes on the way */
	static const char *const reserved[] = {
	    "From",
	    "Sender",
	    "Reply-To",
	    "To",
	    "Cc",
	    "Bcc",
	    "Subject",
	    "Date",
	    "Message-ID",
	    "MIME-Version",
	    "Received",
	    "Return-Path",
	    "Delivered-To",
	    "DKIM-Signature",
	    "Authentication-Results",
	    "ARC-Seal",
	    "ARC-Message-Signature",
	    "ARC-Authentication-Results",
	};
	size_t len = strlen(name);

	if (len == 0 || len > API_HEADER_NAME_MAX_BYTES)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (name[i] <= ' ' || name[i] >= 0x7f || name[i] == ':')
			return false;
	}
	for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++) {
		if (strcasecmp(name, reserved[i]) == 0)
			return false;
	}
	return strncasecmp(name, "Content-", 8) != 0 && strncasecmp(name, "Resent-", 7) != 0;
}

static void add_header(struct api_mail *mail, const char *name, const json_t *json, struct api_errors *errors)
{
	char digits[API_NUMBER_BYTES];
	const char *value = json_string_value(json);

	if (json_is_integer(json)) {
		snprintf(digits, sizeof digits, "%lld", (long long)json_integer_value(json));
		value = digits;
	}
	if (mail->n_headers == API_HEADERS_MAX)
		api_errors_add(errors, API_FAULT_TOO_MANY, "headers", DIGITS(API_HEADERS_MAX));
	else if (!api_header_may_be_set(name))
		api_errors_add(errors, API_FAULT_HEADER, "headers", has_control(name, false) ? "" : name);
	else if (value == NULL)
		api_errors_add(errors, API_FAULT_FORM, "headers", "an array of {\"name\",\"value\"}");
	else if (has_control(value, false))
		api_errors_add(errors, API_FAULT_ENCODING, "headers", "");
	else if (strlen(value) > API_HEADER_VALUE_MAX_BYTES)
		api_errors_add(errors, API_FAULT_TOO_LONG, "headers", DIGITS(API_HEADER_VALUE_MAX_BYTES) " octets in a value");
	else
		mail->headers[mail->n_headers++] = (struct api_header){mem_string(name), mem_string(value)};
}

static void read_headers(struct api_mail *mail, const json_t *fields, struct api_errors *errors)
{
	json_t *parsed;
	const json_t *value = unwrapped(member(fields, "headers"), &parsed);

	mail->headers = mem_new_array(API_HEADERS_MAX, sizeof *mail->headers);
	if (json_is_array(value)) {
		for (size_t i = 0; i < json_array_size(value); i++) {
			const json_t *item = json_array_get(value, i);
			const char *name = json_string_value(json_object_get(item, "name"));

			add_header(mail, name == NULL ? "" : name, json_object_get(item, "value"), errors);
		}
	} else if (json_is_object(value)) {
		void *at = json_object_iter((json_t *)(uintptr_t)value);

		for (; at != NULL; at = json_object_iter_next((json_t *)(uintptr_t)value, at))
			add_header(mail, json_object_iter_key(at), json_object_iter_value(at), errors);
	} else if (value != NULL) {
		api_errors_add(errors, API_FAULT_FORM, "headers", "an array of {\"name\",\"value\"}");
	}
	json_decref(parsed);
	for (size_t i = 0; i < mail->n_headers; i++) {
		if (strcasecmp(mail->headers[i].name, "X-Api-Data") == 0 && mail->api_data == NULL)
			mail->api_data = mem_string(mail->headers[i].value);
	}
}

/* ---- The rest ---- */

static void check_characters(const struct api_mail *mail, const char *text, const char *field, struct api_errors *errors)
{
	struct buf adapted = {0}, converted = {0};
	struct err err;

	if (text == NULL || mail->charset == CHARSET_UTF8)
		return;
	charset_adapt(&adapted, mail->charset, bytes_text(text));
	if (!charset_convert(&converted, mail->charset, buf_bytes(&adapted), &err))
		api_errors_add(errors, API_FAULT_CHARACTER, field, err.text);
	buf_clear(&adapted);
	buf_clear(&converted);
}

static void check_all_characters(const struct api_mail *mail, struct api_errors *errors)
{
	const struct {
		const struct api_mailboxes *boxes;
		const char *field;
	} lists[] = {{&mail->to, "to"}, {&mail->cc, "cc"}, {&mail->from, "from"}, {&mail->reply_to, "replyto"}};

	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
		for (size_t j = 0; j < lists[i].boxes->n_rows; j++)
			check_characters(mail, lists[i].boxes->rows[j].name, lists[i].field, errors);
	}
	for (size_t i = 0; i < mail->n_headers; i++)
		check_characters(mail, mail->headers[i].value, "headers", errors);
	check_characters(mail, mail->subject, "subject", errors);
	check_characters(mail, mail->text, "text", errors);
	check_characters(mail, mail->html, "html", errors);
}

static size_t characters(const char *text)
{
	size_t count = 0;

	for (; *text != '\0'; text += utf8_octets((uint8_t)*text))
		count++;
	return count;
}

static void read_subject(struct api_mail *mail, const json_t *fields, struct api_errors *errors)
{
	size_t before = errors->n_rows;

	mail->subject = text_member(fields, "subject", false, errors);
	if (mail->subject == NULL && errors->n_rows == before)
		api_errors_add(errors, API_FAULT_REQUIRED, "subject", "");
	else if (mail->subject != NULL && characters(mail->subject) > API_SUBJECT_MAX_CHARACTERS)
		api_errors_add(errors, API_FAULT_TOO_LONG, "subject", DIGITS(API_SUBJECT_MAX_CHARACTERS) " characters");
}

static void read_charset(struct api_mail *mail, const json_t *fields, struct api_errors *errors)
{
	char *name = text_member(fields, "charset", false, errors);

	mail->charset = CHARSET_UTF8;
	if (name != NULL && !charset_find(name, &mail->charset))
		api_errors_add(errors, API_FAULT_FORM, "charset", "UTF-8 or ISO-2022-JP");
	free(name);
}

static void read_attachment_count(struct api_mail *mail, const json_t *fields, struct api_errors *errors)
{
	char digits[API_NUMBER_BYTES], *end = NULL;
	const char *text = api_field_text(fields, "attachments", digits);
	const json_t *value = member(fields, "attachments");

	mail->attachments = -1;
	if (value == NULL)
		return;
	if (text != NULL)
		mail->attachments = strtol(text, &end, 10);
	if (text == NULL || *end != '\0' || mail->attachments < 0)
		api_errors_add(errors, API_FAULT_FORM, "attachments", "the number of files");
	else if (mail->attachments > API_ATTACHMENTS_MAX)
		api_errors_add(errors, API_FAULT_TOO_MANY, "attachments", DIGITS(API_ATTACHMENTS_MAX));
}

bool api_mail_read(const json_t *fields, struct api_mail *mail, struct api_errors *errors)
{
	size_t before = errors->n_rows, body;

	*mail = (struct api_mail){0};
	read_addresses(mail, fields, errors);
	read_envelope_from(mail, fields, errors);
	read_headers(mail, fields, errors);
	read_charset(mail, fields, errors);
	read_subject(mail, fields, errors);
	body = errors->n_rows;
	mail->text = text_member(fields, "text", true, errors);
	mail->html = text_member(fields, "html", true, errors);
	if (mail->text == NULL && mail->html == NULL && errors->n_rows == body)
		api_errors_add(errors, API_FAULT_REQUIRED, "text", "");
	read_attachment_count(mail, fields, errors);
	check_all_characters(mail, errors);
	return errors->n_rows == before;
}

static void mailboxes_clear(struct api_mailboxes *boxes)
{
	for (size_t i = 0; i < boxes->n_rows; i++) {
		free(boxes->rows[i].name);
		free(boxes->rows[i].address);
	}
}

void api_mail_clear(struct api_mail *mail)
{
	struct api_mailboxes *boxes[] = {&mail->to, &mail->cc, &mail->bcc, &mail->from, &mail->reply_to};

	for (size_t i = 0; i < sizeof boxes / sizeof *boxes; i++)
		mailboxes_clear(boxes[i]);
	for (size_t i = 0; i < mail->n_headers; i++) {
		free(mail->headers[i].name);
		free(mail->headers[i].value);
	}
	free(mail->headers);
	free(mail->subject);
	free(mail->text);
	free(mail->html);
	free(mail->envelope_from);
	free(mail->api_data);
	*mail = (struct api_mail){0};
}
