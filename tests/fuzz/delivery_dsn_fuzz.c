/*
 * A report (RFC 3464) of any values that a client, a next hop or a mail can have given: it is a message of whole lines, no line
 * is too long, and no value gets a line of its own.
 */
#include "appliance/relay/delivery/dsn.h"
#include "appliance/relay/smtp/smtp_dsn.h"
#include "tests/fuzz/fuzz.h"

#define LINE_MAX_BYTES 998

/* The values are divided by NUL. */
static char *next_value(struct bytes *in)
{
	const uint8_t *end = in->len > 0 ? memchr(in->data, '\0', in->len) : NULL;
	size_t len = end != NULL ? (size_t)(end - in->data) : in->len;
	char *value = bytes_string(bytes_slice(*in, 0, len));

	*in = bytes_slice(*in, len + (end != NULL), in->len);
	return value;
}

static char *checked(char *value, bool fine)
{
	if (fine)
		return value;
	free(value);
	return NULL;
}

static size_t count_lines(struct bytes text, const char *beginning)
{
	size_t count = 0, len = strlen(beginning);

	for (size_t at = 0; at + len <= text.len; at++)
		count += memcmp(text.data + at, beginning, len) == 0 && (at == 0 || text.data[at - 1] == '\n');
	return count;
}

/* Of our own part: what is returned of the original stands behind it and is what it was. */
static void check_lines(struct bytes text)
{
	size_t line = 0;

	for (size_t i = 0; i < text.len; i++) {
		require(text.data[i] != '\0');
		require(text.data[i] != '\r' || (i + 1 < text.len && text.data[i + 1] == '\n'));
		require(text.data[i] != '\n' || (i > 0 && text.data[i - 1] == '\r'));
		line = text.data[i] == '\n' ? 0 : line + (text.data[i] != '\r');
		require(line <= LINE_MAX_BYTES);
	}
	require(line == 0);
}

static void compose(struct dsn *dsn)
{
	struct buf out = {0};
	bool eight_bit = false;

	dsn_compose(&out, dsn, &eight_bit);
	check_lines(buf_bytes(&out));
	require(count_lines(buf_bytes(&out), "Final-Recipient:") == dsn->n_recipients);
	require(count_lines(buf_bytes(&out), "Action:") == dsn->n_recipients);
	require(count_lines(buf_bytes(&out), "To:") == 1);
	buf_clear(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = bytes_of(data, size);
	char *envelope_id = next_value(&in), *original = next_value(&in), *reply = next_value(&in), *references = next_value(&in);
	struct dsn_recipient recipient = {.action = (enum dsn_action)(size % 4),
					  .address = "b@example.com",
					  .status = "5.1.1",
					  .reply = reply,
					  .hop = "hop:25"};
	struct dsn dsn = {
	    .host_name = "mx.example.com", .id = 1, .message_id = 2, .sender = "a@example.com", .references = references};

	envelope_id = checked(envelope_id, smtp_is_envelope_id(bytes_text(envelope_id)));
	original = checked(original, smtp_is_original_recipient(bytes_text(original), true));
	recipient.original = original;
	dsn.envelope_id = envelope_id;
	dsn.now = dsn.expires = dsn.received = 1795500000;
	dsn.recipients = &recipient;
	dsn.n_recipients = 1;
	compose(&dsn);
	free(envelope_id);
	free(original);
	free(reply);
	free(references);
	return 0;
}
