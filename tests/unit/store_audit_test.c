/* The audit in inkan.db: commands under way, inkand's events, rows that cannot be written. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "provisioning/store/audit_journal.h"
#include "provisioning/store/store.h"
#include "tests/unit/test.h"

static struct err err;
static const char *directory;

static struct store *open_store(void)
{
	struct store *store = store_open(directory, STORE_READ_WRITE, &err);

	if (store == NULL) {
		fprintf(stderr, "store_open: %s\n", err.text);
		exit(1);
	}
	return store;
}

static struct store *open_new(void)
{
	directory = test_directory();
	return open_store();
}

static struct audit_entry entry_of(const char *what, const char *result)
{
	return (struct audit_entry){
	    .who = (char *)"admin", .from = (char *)"tty1", .what = (char *)what, .result = (char *)result};
}

/* "what=result;" of every row. */
static char *rows_of(struct store *store)
{
	struct audit_entries entries;
	struct buf text = {0};
	char *copy;

	if (!CHECK_OK(store_audit_find(store, &(struct audit_choice){0}, 1000, &entries, &err), &err))
		return mem_string("");
	for (size_t i = 0; i < entries.count; i++)
		buf_printf(&text, "%s=%.14s;", entries.items[i].what, entries.items[i].result);
	audit_entries_clear(&entries);
	copy = mem_string(buf_text(&text));
	buf_clear(&text);
	return copy;
}

static void check_rows(struct store *store, const char *expected)
{
	char *rows = rows_of(store);

	CHECK_TEXT(rows, expected);
	CHECK_OK(store_audit_verify(store, &err), &err);
	free(rows);
}

static void a_command_leaves_one_row(void)
{
	struct store *store = open_new();
	struct audit_entry begun = entry_of("delete x", ""), ended = entry_of("delete x [1 key]", "ok");

	CHECK_OK(store_audit_begin(store, &begun, &err), &err);
	check_rows(store, "");
	CHECK_OK(store_audit_end(store, &ended, &err), &err);
	check_rows(store, "delete x [1 key]=ok;");
	store_close(store);
}

static void begin_and_die(void)
{
	struct audit_entry begun = entry_of("commit", "");
	struct store *store;
	pid_t child = fork();
	int status;

	if (child == 0) {
		store = open_store();
		_exit(store_audit_begin(store, &begun, NULL) ? 0 : 1);
	}
	waitpid(child, &status, 0);
	CHECK_INT(status, 0);
}

static void a_command_that_was_broken_off_is_found(void)
{
	struct store *store;
	struct audit_entry next = entry_of("login", "ok");

	store = open_new();
	store_close(store);
	begin_and_die();
	store = open_store();
	CHECK_OK(store_audit_add(store, &next, &err), &err);
	check_rows(store, "commit=begun, but its;login=ok;");
	CHECK_OK(store_audit_add(store, &next, &err), &err);
	check_rows(store, "commit=begun, but its;login=ok;login=ok;");
	store_close(store);
}

static void a_command_under_way_is_left_alone(void)
{
	struct store *one = open_new(), *other = open_store();
	struct audit_entry slow = entry_of("slow", "ok"), quick = entry_of("quick", "ok");

	CHECK_OK(store_audit_begin(one, &slow, &err), &err);
	CHECK_OK(store_audit_add(other, &quick, &err), &err);
	CHECK_OK(store_audit_add(one, &quick, &err), &err); /* within the command */
	CHECK_OK(store_audit_end(one, &slow, &err), &err);
	check_rows(other, "quick=ok;quick=ok;slow=ok;");
	store_close(one);
	store_close(other);
}

static void a_full_disk_refuses_the_command(void)
{
	struct store *store = open_new();
	struct audit_entry entry = entry_of("account add bob", "ok");
	struct rlimit before, none;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &before);
	none = before;
	none.rlim_cur = 0;
	setrlimit(RLIMIT_FSIZE, &none);
	CHECK(!store_audit_begin(store, &entry, &err));
	CHECK(!store_audit_add(store, &entry, &err));
	setrlimit(RLIMIT_FSIZE, &before);
	check_rows(store, "");
	CHECK_OK(store_audit_begin(store, &entry, &err), &err);
	setrlimit(RLIMIT_FSIZE, &none);
	CHECK(!store_audit_end(store, &entry, &err));
	setrlimit(RLIMIT_FSIZE, &before);
	check_rows(store, "");
	CHECK_OK(store_audit_add(store,
				 &(struct audit_entry){
				     .who = (char *)"x", .from = (char *)"y", .what = (char *)"login", .result = (char *)"ok"},
				 &err),
		 &err);
	check_rows(store, "account add bob=begun, but its;login=ok;");
	store_close(store);
}

static void texts_are_kept_as_utf8(void)
{
	static const struct {
		const char *text, *kept;
	} rows[] = {
	    {"plain", "plain"},
	    {"caf\xc3\xa9", "caf\xc3\xa9"},
	    {"\xe5\x8d\xb0", "\xe5\x8d\xb0"},
	    {"a\xff"
	     "b",
	     "a?b"},
	    {"\xc0\x80", "??"},
	    {"\xed\xa0\x80", "???"},
	    {"\xe5\x8d", "??"},
	    {"\xf0\x9f\x94\x92", "\xf0\x9f\x94\x92"},
	    {"\xf4\x90\x80\x80", "????"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct store *store = open_new();
		struct audit_entry entry = entry_of(rows[i].text, "ok");
		char *expected = mem_format("%s=ok;", rows[i].kept);

		CHECK_OK(store_audit_add(store, &entry, &err), &err);
		check_rows(store, expected);
		free(expected);
		store_close(store);
	}
}

/* ---- inkand's events ---- */

static void write_event(int64_t time_ms, const char *text)
{
	struct audit_journal journal;

	audit_journal_init(&journal, directory);
	CHECK_OK(audit_journal_write(&journal, time_ms, text, &err), &err);
	audit_journal_clear(&journal);
}

static char *journal_file(unsigned number)
{
	return mem_format("%s/" AUDIT_JOURNAL_DIRECTORY "/%u", directory, number);
}

static void append_to_journal(const char *octets)
{
	char *path = journal_file(1);
	FILE *file = fopen(path, "a");

	fputs(octets, file);
	fclose(file);
	free(path);
}

static void events_come_before_the_next_row_with_their_own_time(void)
{
	struct store *store = open_new();
	struct audit_entry login = entry_of("login", "ok");
	struct audit_entries entries;

	write_event(1000, "HSM lost");
	write_event(2000, "HSM\nback");
	CHECK_OK(store_audit_add(store, &login, &err), &err);
	check_rows(store, "HSM lost=ok;HSM back=ok;login=ok;");
	if (CHECK_OK(store_audit_find(store, &(struct audit_choice){.number = 2}, 9, &entries, &err), &err)) {
		CHECK_INT(entries.items[0].time_ms, 2000);
		CHECK_TEXT(entries.items[0].from, "inkand");
		audit_entries_clear(&entries);
	}
	write_event(3000, "again");
	CHECK_OK(store_audit_read_up(store, &err), &err);
	CHECK_OK(store_audit_read_up(store, &err), &err);
	check_rows(store, "HSM lost=ok;HSM back=ok;login=ok;again=ok;");
	store_close(store);
}

static void a_line_that_is_being_written_waits(void)
{
	struct store *store = open_new();

	write_event(1, "one");
	append_to_journal("2 tw");
	CHECK_OK(store_audit_read_up(store, &err), &err);
	check_rows(store, "one=ok;");
	append_to_journal("o\n");
	CHECK_OK(store_audit_read_up(store, &err), &err);
	check_rows(store, "one=ok;two=ok;");
	append_to_journal("3 cut off");
	write_event(4, "four");
	append_to_journal("rubbish\n");
	CHECK_OK(store_audit_read_up(store, &err), &err);
	check_rows(store, "one=ok;two=ok;cut off=ok;four=ok;an event of inkand cannot be read: its line is damaged=ok;");
	store_close(store);
}

static void files_are_followed_and_removed(void)
{
	struct store *store = open_new();
	struct audit_journal journal;
	char *first = journal_file(1), text[1000];
	struct audit_entries entries;

	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	audit_journal_init(&journal, directory);
	for (int i = 0; i < 600; i++)
		CHECK_OK(audit_journal_write(&journal, 1 + i, text, &err), &err);
	CHECK_INT(journal.number, 3);
	CHECK_OK(store_audit_read_up(store, &err), &err);
	if (CHECK_OK(store_audit_find(store, &(struct audit_choice){0}, 10000, &entries, &err), &err)) {
		CHECK_INT(entries.count, 600);
		audit_entries_clear(&entries);
	}
	CHECK(access(first, F_OK) != 0);
	audit_journal_clear(&journal);
	free(first);
	store_close(store);
}

static void events_that_are_gone_are_told(void)
{
	struct store *store = open_new();
	char *first = journal_file(1);

	write_event(1, "one");
	CHECK_OK(store_audit_read_up(store, &err), &err);
	CHECK_INT(truncate(first, 2), 0);
	CHECK_OK(store_audit_read_up(store, &err), &err);
	unlink(first);
	CHECK_OK(store_audit_read_up(store, &err), &err);
	CHECK_OK(store_audit_read_up(store, &err), &err);
	check_rows(store, "one=ok;events of inkand are missing: a file of them was cut=ok;"
			  "events of inkand are missing: their files were removed=ok;");
	write_event(2, "two");
	CHECK_OK(store_audit_read_up(store, &err), &err);
	check_rows(store, "one=ok;events of inkand are missing: a file of them was cut=ok;"
			  "events of inkand are missing: their files were removed=ok;two=ok;");
	free(first);
	store_close(store);
}

static void an_event_waits_for_room(void)
{
	struct rlimit before, none;
	struct audit_journal journal;
	struct store *store = open_new();

	signal(SIGXFSZ, SIG_IGN);
	audit_journal_init(&journal, directory);
	CHECK_OK(audit_journal_write(&journal, 1, "one", &err), &err);
	getrlimit(RLIMIT_FSIZE, &before);
	none = before;
	none.rlim_cur = 8;
	setrlimit(RLIMIT_FSIZE, &none);
	CHECK(!audit_journal_write(&journal, 2, "two", &err));
	setrlimit(RLIMIT_FSIZE, &before);
	CHECK_OK(audit_journal_write(&journal, 3, "three", &err), &err);
	CHECK_OK(store_audit_read_up(store, &err), &err);
	check_rows(store, "one=ok;two=ok;three=ok;");
	audit_journal_clear(&journal);
	store_close(store);
}

static void rows_are_chosen(void)
{
	static const struct {
		struct audit_choice choice;
		const char *expected;
	} cases[] = {
	    {{.who = "bob"}, "login;"},
	    {{.text = "COMMIT"}, "commit a;commit b;"},
	    {{.failed = true}, "commit b;"},
	    {{.number = 2}, "commit a;"},
	    {{.who = "carol"}, ""},
	    {{.since_ms = INT64_MAX}, ""},
	    {{.until_ms = 1}, ""},
	    {{.text = "tty9"}, "login;"},
	    {{.text = "denied"}, "commit b;"},
	};
	struct store *store = open_new();
	struct audit_entry rows[] = {
	    {.who = (char *)"bob", .from = (char *)"tty9", .what = (char *)"login", .result = (char *)"ok"},
	    entry_of("commit a", "ok"),
	    entry_of("commit b", "denied")};

	for (size_t i = 0; i < 3; i++)
		CHECK_OK(store_audit_add(store, &rows[i], &err), &err);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct audit_entries entries;
		struct buf found = {0};

		CHECK_OK(store_audit_find(store, &cases[i].choice, 10, &entries, &err), &err);
		for (size_t j = 0; j < entries.count; j++)
			buf_printf(&found, "%s;", entries.items[j].what);
		CHECK_TEXT(buf_text(&found), cases[i].expected);
		buf_clear(&found);
		audit_entries_clear(&entries);
	}
	store_close(store);
}

int main(void)
{
	TEST(a_command_leaves_one_row);
	TEST(a_command_that_was_broken_off_is_found);
	TEST(a_command_under_way_is_left_alone);
	TEST(a_full_disk_refuses_the_command);
	TEST(texts_are_kept_as_utf8);
	TEST(events_come_before_the_next_row_with_their_own_time);
	TEST(a_line_that_is_being_written_waits);
	TEST(files_are_followed_and_removed);
	TEST(events_that_are_gone_are_told);
	TEST(an_event_waits_for_room);
	TEST(rows_are_chosen);
	return test_finish();
}
