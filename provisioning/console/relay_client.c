#include "provisioning/console/relay_client.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "appliance/base/frame.h"
#include "provisioning/console/control_client.h"

bool relay_open(struct relay_client *client, const char *state, struct err *err)
{
	return relay_open_within(client, state, RELAY_CALL_MS, err);
}

bool relay_open_within(struct relay_client *client, const char *state, int call_ms, struct err *err)
{
	struct control_client control;
	bool fine;

	client->call_ms = call_ms;
	if (!control_open_within(&control, state, call_ms, err))
		return false;
	fine = control_relay(&control, &client->fd, err);
	control_close(&control);
	return fine;
}

void relay_close(struct relay_client *client)
{
	close(client->fd);
	client->fd = -1;
}

static bool read_refusal(struct msg *msg, struct err *err)
{
	enum err_code code = (enum err_code)msg_get_u8(msg);
	char *text = msg_get_text(msg);

	if (msg_end(msg, "answer of the relay", err))
		err_set(err, code == ERR_NONE ? ERR_INTERNAL : code, "%s", text);
	free(text);
	return false;
}

static bool read_answer(uint16_t type, struct msg *msg, uint32_t n_columns, struct query_rows *rows, struct err *err)
{
	if (type == QUERY_REFUSED)
		return read_refusal(msg, err);
	if (type != QUERY_ROWS)
		return err_set(err, ERR_INVALID, "the relay answered with frame %u", type);
	if (!query_rows_decode(msg, rows, err))
		return false;
	if (rows->n_columns == n_columns)
		return true;
	err_set(err, ERR_INVALID, "the relay is of another release: restart inkand");
	query_rows_clear(rows);
	return false;
}

bool relay_ask(struct relay_client *client, struct query *query, uint32_t n_columns, struct query_rows *rows, struct err *err)
{
	int64_t deadline_ms = clock_monotonic_ms() + client->call_ms;
	struct buf out = {0}, answer = {0};
	uint16_t type = 0;
	struct msg msg;
	bool fine;

	query_encode(&out, query);
	fine = frame_send(client->fd, QUERY_ASK, buf_bytes(&out), -1, deadline_ms, err) &&
	       frame_receive(client->fd, &type, &answer, NULL, deadline_ms, err);
	if (!fine)
		err_prefix(err, "the relay");
	msg = msg_of(buf_bytes(&answer));
	fine = fine && read_answer(type, &msg, n_columns, rows, err);
	if (fine) {
		free(query->cursor);
		query->cursor = mem_string(rows->cursor);
	}
	buf_clear(&answer);
	buf_clear(&out);
	return fine;
}

bool relay_ask_all(struct relay_client *client, struct query *query, uint32_t n_columns, size_t most, relay_row *each, void *arg,
		   bool *more, struct err *err)
{
	size_t shown = 0, at = 0;
	bool going = true, left = false;

	do {
		struct query_rows rows;

		if (!relay_ask(client, query, n_columns, &rows, err))
			return false;
		for (at = 0; going && at < rows.n_cells; at += n_columns) {
			going = (most == 0 || shown < most) && each(rows.cells + at, arg);
			left |= !going;
			shown++;
		}
		query_rows_clear(&rows);
	} while (going && query->cursor[0] != '\0');
	if (more != NULL)
		*more = left;
	return true;
}

static bool send_octets(struct relay_client *client, uint16_t type, struct bytes octets, struct err *err)
{
	int64_t deadline_ms = clock_monotonic_ms() + client->call_ms;

	while (octets.len > 0) {
		struct bytes piece = bytes_slice(octets, 0, QUERY_CONTENT_MAX_BYTES);

		if (!frame_send(client->fd, type, piece, -1, deadline_ms, err))
			return err_prefix(err, "the relay");
		octets = bytes_slice(octets, piece.len, octets.len);
	}
	return true;
}

bool relay_content(struct relay_client *client, struct bytes octets, struct err *err)
{
	return send_octets(client, QUERY_CONTENT, octets, err);
}

bool relay_configuration(struct relay_client *client, const struct snapshot *snapshot, struct err *err)
{
	struct buf octets = {0};
	bool fine;

	snapshot_encode(&octets, snapshot);
	fine = send_octets(client, QUERY_CONFIGURATION, buf_bytes(&octets), err);
	buf_clear(&octets);
	return fine;
}
