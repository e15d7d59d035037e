/*
 * What a next hop and a name server may answer: the reply reader must not depend on how the octets are cut, its one-line form and
 * status stay within their bounds; capabilities and MX answers are read without harm. The first octet of the input chooses
 * the size of the pieces.
 */
#include <stdlib.h>
#include <string.h>

#include "appliance/relay/delivery/mx.h"
#include "appliance/relay/delivery/smtp_capabilities.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

static void take_reply(const struct smtp_reply *reply, struct buf *seen)
{
	char line[SMTP_REPLY_TEXT_MAX_BYTES], status[SMTP_REPLY_STATUS_MAX_BYTES];
	struct smtp_capabilities capabilities;

	require(reply->code >= 200 && reply->code <= 599);
	smtp_reply_one_line(reply, line);
	smtp_reply_status(reply, status);
	require(strlen(line) < sizeof line && strlen(status) < sizeof status && status[0] == '0' + reply->code / 100);
	smtp_capabilities_parse(reply, &capabilities);
	buf_printf(seen, "%s %s %d\n", line, status, capabilities.starttls);
}

/* False: malformed. */
static bool feed(struct smtp_reply_parser *parser, struct bytes in, struct buf *seen)
{
	while (in.len > 0) {
		enum smtp_reply_progress progress = smtp_reply_feed(parser, &in);

		if (progress == SMTP_REPLY_MALFORMED)
			return false;
		if (progress == SMTP_REPLY_COMPLETE)
			take_reply(&parser->reply, seen);
	}
	return true;
}

static void read_replies(struct bytes in, size_t step, struct buf *seen)
{
	struct smtp_reply_parser parser = {0};

	for (size_t at = 0; at < in.len; at += step) {
		struct bytes part = bytes_slice(in, at, at + step);
		uint8_t *copy = mem_copy(part.data, part.len);
		bool good = feed(&parser, bytes_of(copy, part.len), seen);

		free(copy);
		if (!good)
			break;
	}
	smtp_reply_parser_clear(&parser);
}

static void read_exchangers(struct bytes in)
{
	struct mx_answer answer = {0};

	if (!mx_parse(in.data, (int)in.len, &answer))
		return;
	require(answer.count <= MX_HOSTS_MAX);
	for (size_t i = 1; i < answer.count; i++)
		require(answer.hosts[i - 1].preference <= answer.hosts[i].preference);
	if (answer.count > 0) {
		char own[MX_NAME_MAX_BYTES];

		memcpy(own, answer.hosts[answer.count - 1].name, sizeof own);
		mx_drop_self(&answer, own);
		require(answer.count > 0 || answer.outcome == MX_REFUSED);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole = {0}, pieces = {0};
	struct bytes in;

	if (size < 2)
		return 0;
	in = bytes_of(data + 1, size - 1);
	read_replies(in, in.len, &whole);
	read_replies(in, (size_t)data[0] % 37 + 1, &pieces);
	require(bytes_equal(buf_bytes(&whole), buf_bytes(&pieces)));
	read_exchangers(in);
	buf_clear(&whole);
	buf_clear(&pieces);
	return 0;
}
