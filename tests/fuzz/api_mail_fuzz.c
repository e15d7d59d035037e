/* Forms and JSON, and the mail that comes of them: no line too long, no line end but CRLF, no field that nobody asked for. */
#include <stdlib.h>
#include <string.h>

#include "appliance/relay/api/compose.h"
#include "appliance/relay/api/form.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

static bool no_file(void *data, size_t len, uint64_t offset, void *arg, struct err *err)
{
	(void)data;
	(void)len;
	(void)offset;
	(void)arg;
	return err_set(err, ERR_INTERNAL, "there is no file");
}

static void check_lines(struct bytes mail)
{
	size_t line = 0;

	for (size_t i = 0; i < mail.len; i++) {
		require(mail.data[i] != '\r' || (i + 1 < mail.len && mail.data[i + 1] == '\n'));
		require(mail.data[i] != '\n' || (i > 0 && mail.data[i - 1] == '\r'));
		require(mail.data[i] != '\0');
		line = mail.data[i] == '\n' ? 0 : line + 1;
		require(line <= 999);
	}
}

/* Field names at the top of the header are those that the composer writes and those that were given. */
static void check_header(struct bytes mail, const struct api_mail *given)
{
	size_t fields = 0;

	for (size_t at = 0; at + 1 < mail.len && memcmp(mail.data + at, "\r\n", 2) != 0;) {
		const uint8_t *end = memmem(mail.data + at, mail.len - at, "\r\n", 2);

		require(end != NULL);
		if (mail.data[at] != ' ' && mail.data[at] != '\t')
			fields++;
		at = (size_t)(end - mail.data) + 2;
	}
	require(fields <= 10 + given->n_headers);
}

static void compose(const struct api_mail *mail)
{
	struct compose_facts facts = {.host_name = "h.example", .message_id = "1", .now = 0, .boundary = "x"};
	struct composer *composer = composer_new(mail, NULL, 0, &facts, no_file, NULL, NULL);
	struct buf out = {0};
	size_t before;

	require(composer != NULL);
	do {
		before = out.len;
		require(composer_next(composer, &out, NULL));
	} while (out.len > before);
	check_lines(buf_bytes(&out));
	check_header(buf_bytes(&out), mail);
	composer_free(composer);
	buf_clear(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *fields = size > 0 && data[0] == '{' ? json_loadb((const char *)data, size, 0, NULL) : json_object();
	struct api_errors errors = {0};
	struct api_mail mail;
	struct err err;

	if (fields == NULL)
		return 0;
	if (size > 0 && data[0] != '{' && !form_decode(fields, bytes_of(data, size), &err)) {
		json_decref(fields);
		return 0;
	}
	if (api_mail_read(fields, &mail, &errors))
		compose(&mail);
	require((errors.n_rows == 0) || api_errors_status(&errors) == 400);
	api_mail_clear(&mail);
	api_errors_clear(&errors);
	json_decref(fields);
	return 0;
}
