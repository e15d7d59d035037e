/* test mail: one message on the way of every other one, followed to its end. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "provisioning/console/commands.h"
#include "provisioning/console/relay_client.h"
#include "provisioning/console/terminal.h"

#define LOOK_MS 250
#define FOLLOW_MS 120000

struct follow {
	struct console *console;
	const char *from, *to, *server, *id;
	char status[16], reason[400]; /* as last said */
	bool decided, ended;
};

/* ---- steps ---- */

static void say_certificate(const struct follow *follow)
{
	struct stored_certificates found;
	struct revision running;
	char date[CONSOLE_TIME_BYTES];

	if (!store_revision(follow->console->store, 0, &running, NULL))
		return;
	if (store_certificates(follow->console->store, follow->from, &found, NULL)) {
		const uint64_t *meant = certificate_choices_find(&running.choices, follow->from);

		for (size_t i = 0; meant != NULL && i < found.count; i++) {
			if (found.items[i].certificate.id != *meant)
				continue;
			console_date(date, found.items[i].certificate.not_after);
			console_say(follow->console, "Signature: by the certificate of %s (%s, until %s),\n           serial %s.",
				    follow->from, found.items[i].certificate.key_type, date, found.items[i].serial);
		}
		stored_certificates_clear(&found);
	}
	revision_clear(&running);
}

static void say_decision(struct follow *follow, char *const *cells)
{
	bool is_signed = strcmp(cells[QUERY_DELIVERY_RENDERING], "signed") == 0;

	if (follow->decided)
		return;
	follow->decided = true;
	console_say(follow->console, "Decision: %s (%s).", cells[QUERY_DELIVERY_RENDERING], cells[QUERY_DELIVERY_RULE]);
	if (is_signed)
		say_certificate(follow);
	else
		console_say(follow->console, "Signature: none.");
	console_say(follow->console, "Queue id: %s\nMessage-ID: %s", follow->id, cells[QUERY_DELIVERY_MESSAGE_ID]);
}

/* Intelligent BCC copies are rows of the same message. */
static bool take_row(char *const *cells, void *arg)
{
	struct follow *follow = arg;
	const char *status = cells[QUERY_DELIVERY_STATUS], *reason = cells[QUERY_DELIVERY_REASON];

	if (strcmp(cells[QUERY_DELIVERY_RECIPIENT], follow->to) != 0)
		return true;
	say_decision(follow, cells);
	if (strcmp(status, "queued") == 0 || (strcmp(status, follow->status) == 0 && strcmp(reason, follow->reason) == 0))
		return true;
	snprintf(follow->status, sizeof follow->status, "%s", status);
	snprintf(follow->reason, sizeof follow->reason, "%s", reason);
	console_say(follow->console, "Delivery: %s%s%s", strcmp(status, "succeeded") == 0 ? "delivered" : status,
		    *reason != '\0' ? ": " : ".", reason);
	follow->ended = true;
	return true;
}

static bool look(struct follow *follow, struct relay_client *client, struct err *err)
{
	struct query query = {.kind = QUERY_DELIVERIES, .cursor = mem_string(""), .limit = QUERY_ROWS_MAX};
	bool fine;

	query_add(&query, "id", follow->id);
	fine = relay_ask_all(client, &query, QUERY_DELIVERY_COLUMNS, 0, take_row, follow, NULL, err);
	query_clear(&query);
	return fine;
}

static bool conclude(const struct follow *follow, struct err *err)
{
	if (!follow->ended)
		return err_set(err, ERR_TIMEOUT, "not delivered within %d s: show log delivery id %s", FOLLOW_MS / 1000,
			       follow->id);
	if (strcmp(follow->status, "succeeded") == 0)
		return true;
	if (strcmp(follow->status, "deferred") == 0)
		return err_set(err, ERR_UNAVAILABLE, "the mail is tried again later: show queue %s", follow->id);
	return err_set(err, ERR_UNAVAILABLE, "the mail could not be delivered");
}

static bool follow_mail(struct follow *follow, struct relay_client *client, struct err *err)
{
	int64_t until = clock_monotonic_ms() + FOLLOW_MS;
	bool fine = true;

	while (fine && !follow->ended && !terminal_interrupted() && clock_monotonic_ms() < until) {
		fine = look(follow, client, err);
		if (fine && !follow->ended && !terminal_interrupted())
			(void)poll(NULL, 0, LOOK_MS); /* Ctrl-C ends it */
	}
	if (terminal_interrupted()) {
		console_say(follow->console, "No longer followed; the mail goes on: show log delivery id %s", follow->id);
		return true;
	}
	return fine && conclude(follow, err);
}

/* ---- the mail ---- */

static bool send(struct console *console, struct relay_client *client, const struct follow *follow, char **id, struct err *err)
{
	struct query query = {.kind = QUERY_TEST_MAIL};
	struct query_rows rows;
	bool fine;

	query_add(&query, "server", follow->server);
	query_add(&query, "from", follow->from);
	query_add(&query, "to", follow->to);
	console_say(console, "Sending by server %s, from %s to %s.", follow->server, follow->from, follow->to);
	fine = relay_ask(client, &query, QUERY_TEST_COLUMNS, &rows, err);
	query_clear(&query);
	if (!fine)
		return false;
	fine = rows.n_cells == QUERY_TEST_COLUMNS || err_set(err, ERR_INVALID, "the relay gave no reply");
	if (fine)
		console_say(console, "Relay: %s%s%s %s", rows.cells[QUERY_TEST_CODE],
			    rows.cells[QUERY_TEST_ENHANCED][0] == '\0' ? "" : " ", rows.cells[QUERY_TEST_ENHANCED],
			    rows.cells[QUERY_TEST_TEXT]);
	if (fine && strcmp(rows.cells[QUERY_TEST_CODE], "250") != 0)
		fine = err_set(err, ERR_UNAVAILABLE, "the mail was refused: %s", rows.cells[QUERY_TEST_TEXT]);
	if (fine)
		*id = mem_string(rows.cells[QUERY_TEST_ID]);
	query_rows_clear(&rows);
	return fine;
}

/* The one named, or the only one there is. */
static char *find_server(struct console *console, const struct parsed *parsed, struct err *err)
{
	struct revision running;
	char *server = NULL, **names;
	size_t count;

	if (parsed->n_typed > 2)
		return mem_string(parsed->typed[2]);
	if (!store_revision(console->store, 0, &running, err))
		return NULL;
	names = settings_names(&running.settings, &count, "server");
	if (count == 1)
		server = mem_string(names[0]);
	else if (count == 0)
		err_set(err, ERR_NOT_FOUND, "no server runs: configure one first");
	else
		err_set(err, ERR_INVALID, "there are %zu servers: add server NAME", count);
	path_words_free(names);
	revision_clear(&running);
	return server;
}

bool test_mail(struct console *console, const struct parsed *parsed, struct err *err)
{
	struct follow follow = {.console = console, .from = parsed->typed[0], .to = parsed->typed[1]};
	char *server = find_server(console, parsed, err), *id = NULL;
	struct relay_client client;
	bool fine = server != NULL && relay_open(&client, console->state, err);

	follow.server = server;
	if (fine) {
		fine = send(console, &client, &follow, &id, err);
		follow.id = id;
		fine = fine && follow_mail(&follow, &client, err);
		relay_close(&client);
	}
	free(id);
	free(server);
	return fine;
}
