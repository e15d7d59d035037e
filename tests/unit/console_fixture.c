#include "tests/unit/console_fixture.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct err err;

/* What the next prompts read. */
void set_input(const char *text)
{
	int ends[2];

	if (pipe(ends) != 0 || write(ends[1], text, strlen(text)) != (ssize_t)strlen(text))
		exit(1);
	close(ends[1]);
	dup2(ends[0], STDIN_FILENO);
	close(ends[0]);
}

static void open_streams(struct fixture *fixture)
{
	fixture->console.out = open_memstream(&fixture->out, &fixture->out_size);
	fixture->console.messages = open_memstream(&fixture->messages, &fixture->messages_size);
}

static void close_streams(struct fixture *fixture)
{
	fclose(fixture->console.out);
	fclose(fixture->console.messages);
	free(fixture->out);
	free(fixture->messages);
}

void fixture_open(struct fixture *fixture, bool with_inkand)
{
	const char *state = test_directory();

	*fixture = (struct fixture){.console = {.state = mem_string(state),
						.account = mem_string("admin"),
						.origin = mem_string("test"),
						.role = ROLE_ADMINISTRATOR}};
	fixture->console.store = store_open(state, STORE_READ_WRITE, &err);
	if (!CHECK_OK(fixture->console.store != NULL, &err))
		exit(1);
	CHECK_OK(store_account_add(fixture->console.store, "admin", ROLE_ADMINISTRATOR, ADMIN_PASSWORD, "", &err), &err);
	if (with_inkand)
		fixture->inkand = fake_inkand_start(state);
	fixture->pkcs12 = mem_format("%s/a.p12", state);
	CHECK(test_write_file(fixture->pkcs12, bytes_text("pkcs12")));
	open_streams(fixture);
}

void fixture_close(struct fixture *fixture)
{
	close_streams(fixture);
	if (fixture->inkand != NULL)
		fake_inkand_stop(fixture->inkand);
	store_close(fixture->console.store);
	free(fixture->console.state);
	free(fixture->console.account);
	free(fixture->console.origin);
	free(fixture->pkcs12);
}

/* Runs a line; out and messages are those of this line. */
bool run(struct fixture *fixture, const char *text, struct fault *fault)
{
	bool done;

	close_streams(fixture);
	open_streams(fixture);
	done = console_run_line(&fixture->console, text, fault);
	fflush(fixture->console.out);
	fflush(fixture->console.messages);
	return done;
}

bool done(struct fixture *fixture, const char *text)
{
	struct fault fault;

	test_case("%s", text);
	return CHECK_OK(run(fixture, text, &fault), &fault.err);
}

void refused(struct fixture *fixture, const char *text, const char *why)
{
	struct fault fault;

	test_case("%s", text);
	if (CHECK(!run(fixture, text, &fault)))
		CHECK_CONTAINS(fault.err.text, why);
}

void last_audit(struct fixture *fixture, const char *what, const char *result)
{
	struct audit_entries entries;

	if (!CHECK_OK(store_audit_list(fixture->console.store, 1, &entries, &err), &err) || !CHECK_INT(entries.count, 1))
		return;
	CHECK_TEXT(entries.items[0].who, fixture->console.account);
	CHECK_TEXT(entries.items[0].from, "test");
	if (what != NULL)
		CHECK_TEXT(entries.items[0].what, what);
	CHECK_CONTAINS(entries.items[0].result, result);
	audit_entries_clear(&entries);
}

uint64_t running(struct fixture *fixture)
{
	uint64_t number = 99;

	CHECK_OK(store_running(fixture->console.store, &number, &err), &err);
	return number;
}
