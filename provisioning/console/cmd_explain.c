/* explain: asks the relay what it would decide. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "provisioning/console/commands.h"
#include "provisioning/console/relay_client.h"

static const struct report_column columns[] = {
    {"Recipient", "recipient", false}, {"Verdict", "verdict", false}, {"Because of", "rule", false}, {"Note", "note", false}};

static bool add_row(char *const *cells, void *arg)
{
	struct report *report = arg;

	for (size_t i = 0; i < QUERY_EXPLAIN_COLUMNS; i++)
		report_cell(report, "%s", cells[i]);
	return true;
}

/* The last word, after which the question is of the candidate; it is no address. */
static bool takes_candidate(const struct parsed *parsed)
{
	return strcmp(parsed->words[parsed->count - 1], "candidate") == 0;
}

static bool send_candidate(struct console *console, struct relay_client *client, struct err *err)
{
	struct snapshot *snapshot = candidate_snapshot(console, err);
	bool fine = snapshot != NULL && relay_configuration(client, snapshot, err);

	snapshot_free(snapshot);
	return fine;
}

static bool ask(struct console *console, struct query *query, bool candidate, struct bytes message, struct err *err)
{
	struct report report = report_of(REPORT_RECORDS, columns, sizeof columns / sizeof *columns);
	struct relay_client client;
	bool fine = relay_open(&client, console->state, err);

	if (fine) {
		fine = (!candidate || send_candidate(console, &client, err)) && relay_content(&client, message, err) &&
		       relay_ask_all(&client, query, QUERY_EXPLAIN_COLUMNS, 0, add_row, &report, NULL, err);
		relay_close(&client);
	}
	if (fine)
		console_show(console, &report);
	report_clear(&report);
	return fine;
}

/* ---- explain server NAME from A to B [B...] [header 'H: v']... [user U] [candidate] ---- */

static bool put_field(struct buf *message, const char *field, struct err *err)
{
	const char *colon = strchr(field, ':');

	if (colon == NULL || colon == field || strpbrk(field, "\r\n") != NULL)
		return err_set(err, ERR_INVALID, "\"%s\" is no field: header 'Name: value'", field);
	buf_printf(message, "%s\r\n", field);
	return true;
}

/* Words behind `to`: recipients, a field behind each word `header`, a name behind `user`. */
static bool read_words(const struct parsed *parsed, size_t from, struct query *query, struct buf *message, struct err *err)
{
	size_t end = parsed->n_typed - takes_candidate(parsed);

	for (size_t i = from; i < end; i++) {
		const char *word = parsed->typed[i];
		bool header = strcmp(word, "header") == 0;

		if (!header && strcmp(word, "user") != 0) {
			query_add(query, "to", word);
			continue;
		}
		if (++i == end)
			return err_set(err, ERR_INVALID, "a word is missing behind \"%s\"", word);
		if (!header)
			query_add(query, "user", parsed->typed[i]);
		else if (!put_field(message, parsed->typed[i], err))
			return false;
	}
	return true;
}

bool explain_envelope(struct console *console, const struct parsed *parsed, struct err *err)
{
	struct query query = {.kind = QUERY_EXPLAIN};
	struct buf message = {0};
	char *from = mem_format("From: %s", parsed->typed[1]);
	bool fine;

	query_add(&query, "server", parsed->typed[0]);
	fine = put_field(&message, from, err) && read_words(parsed, 2, &query, &message, err);
	buf_put_text(&message, "\r\n");
	fine = fine && ask(console, &query, takes_candidate(parsed), buf_bytes(&message), err);
	free(from);
	buf_clear(&message);
	query_clear(&query);
	return fine;
}

/* ---- explain message FILE server NAME [to B...] [candidate] ---- */

/* As a mail program stores it: a file whose lines end with LF alone is a message with CRLF. */
static void put_crlf(struct buf *out, struct bytes text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] == '\n' && (i == 0 || text.data[i - 1] != '\r'))
			buf_put_byte(out, '\r');
		buf_put_byte(out, text.data[i]);
	}
}

static bool read_message(const char *path, struct buf *message, struct err *err)
{
	FILE *file = fopen(path, "rb");
	struct buf text = {0};
	char room[65536];
	size_t got;
	bool fine;

	if (file == NULL)
		return err_errno(err, "%s", path);
	while ((got = fread(room, 1, sizeof room, file)) > 0)
		buf_put(&text, room, got);
	fine = !ferror(file) || err_errno(err, "%s", path);
	fclose(file);
	if (fine)
		put_crlf(message, buf_bytes(&text));
	buf_clear(&text);
	return fine;
}

/* The addresses of To and Cc as far as a glance tells them: what stands around an @. */
static void add_named(struct query *query, struct bytes value)
{
	static const char stops[] = " \t\r\n<>,;:\"()";

	for (size_t i = 0; i < value.len; i++) {
		size_t from = i, to = i;

		if (value.data[i] != '@')
			continue;
		while (from > 0 && strchr(stops, value.data[from - 1]) == NULL)
			from--;
		while (to < value.len && strchr(stops, value.data[to]) == NULL)
			to++;
		if (from < i && to > i + 1) {
			char *address = bytes_string(bytes_slice(value, from, to));

			query_add(query, "to", address);
			free(address);
		}
		i = to;
	}
}

static void add_header_recipients(struct query *query, struct bytes message)
{
	bool wanted = false;

	while (message.len > 0) {
		const uint8_t *end = memchr(message.data, '\n', message.len);
		size_t len = end == NULL ? message.len : (size_t)(end - message.data) + 1;
		struct bytes line = bytes_slice(message, 0, len);

		if (bytes_trim(line).len == 0)
			return;
		if (line.data[0] != ' ' && line.data[0] != '\t')
			wanted = bytes_starts_nocase(line, "To:") || bytes_starts_nocase(line, "Cc:");
		if (wanted)
			add_named(query, line);
		message = bytes_slice(message, len, message.len);
	}
}

bool explain_message(struct console *console, const struct parsed *parsed, struct err *err)
{
	struct query query = {.kind = QUERY_EXPLAIN};
	size_t end = parsed->n_typed > 2 ? parsed->n_typed - takes_candidate(parsed) : parsed->n_typed;
	struct buf message = {0};
	bool fine;

	query_add(&query, "server", parsed->typed[1]);
	fine = read_message(parsed->typed[0], &message, err);
	for (size_t i = 2; i < end; i++)
		query_add(&query, "to", parsed->typed[i]);
	if (fine && end == 2)
		add_header_recipients(&query, buf_bytes(&message));
	fine = fine && ask(console, &query, takes_candidate(parsed), buf_bytes(&message), err);
	buf_clear(&message);
	query_clear(&query);
	return fine;
}
