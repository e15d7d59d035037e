/* What exists is completed, by the place where it is wanted; where an error is, to the octet; what the history holds. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "provisioning/console/columns.h"
#include "provisioning/console/console.h"
#include "provisioning/console/editor.h"
#include "provisioning/console/history_file.h"
#include "provisioning/console/pager.h"
#include "tests/unit/test.h"

static struct err err;
static struct console console;

static void add_certificate(const char *address, bool tls, const char *key_id)
{
	struct stored_certificate stored = {.certificate = {.address = (char *)address,
							    .tls = tls,
							    .key_type = (char *)"RSA-2048",
							    .key_id = bytes_text(key_id),
							    .not_before = 1700000000,
							    .not_after = 4000000000},
					    .subject = (char *)"",
					    .issuer = (char *)"",
					    .serial = (char *)"",
					    .fingerprint = (char *)"",
					    .rung = (char *)"rewrap",
					    .attributes = (char *)"",
					    .imported_by = (char *)"admin"};
	uint64_t id;

	CHECK_OK(store_certificate_add(console.store, &stored, false, &id, &err), &err);
}

static void set_up(void)
{
	static const char *const rows[][2] = {{"server default", ""},
					      {"server default next-hop mail.example.jp", ""},
					      {"server default smtp allow-network", "192.0.2.0/24"},
					      {"server default user bob password", "$y$x"},
					      {"server default smtp listen 0.0.0.0:2525", ""},
					      {"server branch", ""}};
	const char *state = test_directory();
	struct candidate candidate;
	bool exists;
	char *path = mem_format("%s/%s", state, "alice.p12");

	console = (struct console){
	    .interactive = true, .configuring = true, .state = mem_string(state), .account = mem_string("admin")};
	console.store = store_open(state, STORE_READ_WRITE, &err);
	CHECK_OK(store_account_add(console.store, "admin", ROLE_ADMINISTRATOR, "a long password", "", &err), &err);
	CHECK_OK(store_account_add(console.store, "audrey", ROLE_AUDITOR, "a long password", "", &err), &err);
	CHECK_OK(store_candidate(console.store, "admin", &candidate, &exists, &err), &err);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		settings_add(&candidate.settings, rows[i][0], rows[i][1]);
	CHECK_OK(store_candidate_save(console.store, "admin", &candidate, &err), &err);
	candidate_clear(&candidate);
	add_certificate("alice@example.jp", false, "1");
	add_certificate("mx.example.jp", true, "2");
	CHECK(test_write_file(path, bytes_text("x")));
	free(path);
	path = mem_format("%s/%s", state, "alice.d");
	mkdir(path, 0700);
	free(path);
}

static void names_are_listed_and_completed(void)
{
	static const struct {
		bool configuring;
		const char *before, *listed, *not_listed, *added;
	} cases[] = {
	    {true, "set server d", "default", "branch", "efault "},
	    {true, "set server ", "branch", "bob", ""},
	    {true, "set server default next-hop ", "mail.example.jp", "bob", "mail.example.jp "},
	    {true, "delete serv default smtp allow-net ", "192.0.2.0/24", "2525", "192.0.2.0/24 "},
	    {true, "delete server default smtp listen ", "0.0.0.0:2525", "192.0.2", "0.0.0.0:2525 "},
	    {true, "set server default user ", "bob", "$y", "bob "},
	    {true, "set server branch user ", "<user>", "bob", ""},
	    {true, "set server default smime certificate ", "alice@example.jp", "mx.example", "alice@example.jp "},
	    {true, "set server default smtp listen 0.0.0.0:2525 certificate ", "mx.example.jp", "alice@", "mx.example.jp "},
	    {true, "set server default user bob password ", "<enter>", "$y", ""},
	    {true, "run show log delivery server ", "<filter>", "(nothing", ""},
	    {true, "run show certif", "certificates", "configuration", "icates "},
	    {false, "certificate renew ", "valid until 2096-10-02", "mx.example", ""},
	    {false, "certificate renew a", "alice@example.jp", "mx.example", "lice@example.jp "},
	    {false, "certificate renew tls ", "mx.example.jp", "alice@", "mx.example.jp "},
	    {false, "certificate import ", "<address>", "alice@", ""},
	    {false, "account delete a", "audrey", "alice", ""},
	    {false, "account delete au", "audrey", "admin", "drey "},
	    {false, "account add ", "<account>", "audrey", ""},
	    {false, "show log delivery ", "since", "alice", ""},
	    {false, "show log delivery st", "status", "since", "atus "},
	    {false, "show log delivery status s", "succeeded", "since", "ucceeded "},
	    {false, "queue retry ", "all", "alice", "all "},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char *list, *added;

		console.configuring = cases[i].configuring;
		list = editor_list(&console, cases[i].before);
		added = editor_complete(&console, cases[i].before);
		test_case("%s", cases[i].before);
		CHECK_CONTAINS(list, cases[i].listed);
		CHECK(strstr(list, cases[i].not_listed) == NULL);
		CHECK_TEXT(added, cases[i].added);
		for (const char *line = list; *line != '\0'; line += strcspn(line, "\n") + 1)
			CHECK(strcspn(line, "\n") <= 80);
		free(added);
		free(list);
	}
}

static void files_are_completed(void)
{
	char *before = mem_format("certificate renew alice@example.jp %s/al", console.state), *added;

	console.configuring = false;
	added = editor_complete(&console, before);
	CHECK_TEXT(added, "ice.");
	free(added);
	free(before);
	before = mem_format("certificate renew alice@example.jp %s/alice.d", console.state);
	added = editor_complete(&console, before);
	CHECK_TEXT(added, "/");
	free(added);
	free(before);
	before = mem_format("certificate renew alice@example.jp %s/alice.p", console.state);
	added = editor_complete(&console, before);
	CHECK_TEXT(added, "12 ");
	free(added);
	free(before);
}

static void errors_have_their_place(void)
{
	static const struct {
		const char *line, *mark, *text;
	} cases[] = {
	    {"set server default smtp listen 0.0.0.0:99999", "                                       ^^^^^\n", "1 to 65535"},
	    {"set server default smtp listen 0.0.0:25", "                               ^^^^^\n", "ADDRESS:PORT"},
	    {"set server default smtp allow-network 10.0.0.0/33", "                                               ^^\n",
	     "0 and 32"},
	    {"set server default queue retry 1m,5x,1h", "                                  ^^\n", "duration"},
	    {"set server default smime certificate a@-b", "                                       ^^\n", "mail address"},
	    {"set server default smime exclude recipient a(b", "", "does not compile"},
	    {"set hsm threads 65", "                ^^\n", "64"},
	    {"set hsm 署名", "        ^^^^\n", "not known"},
	    {"set hsm module-writable 署名 x", "                        ^^^^\n", "absolute path"},
	};

	console.configuring = true;
	console.role = ROLE_ADMINISTRATOR;
	console.origin = (char *)"test";
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct fault fault;
		char *said = NULL;
		size_t size;
		FILE *to = open_memstream(&said, &size);

		test_case("%s", cases[i].line);
		if (CHECK(!console_run_line(&console, cases[i].line, &fault)))
			fault_print(&fault, cases[i].line, "", to);
		fclose(to);
		CHECK_CONTAINS(said, cases[i].mark);
		CHECK_CONTAINS(said, cases[i].text);
		free(said);
	}
}

static void the_history_holds_no_secret(void)
{
	static const struct {
		const char *line;
		bool understood, held;
	} cases[] = {
	    {"show queue", true, true},
	    {"account password alice", true, true},
	    {"set server s user u password", true, true},
	    {"hsm login", false, true},
	    {"hunter2", false, false},
	    {"show quueue", false, true},
	    {"set hsm module-environment PIN 1234", true, false},
	    {"set server s webhook https://u:p@h/", true, false},
	    {"set \"open", false, false},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		test_case("%s", cases[i].line);
		CHECK_INT(history_may_hold(cases[i].line, cases[i].understood), cases[i].held);
	}
}

struct recalled {
	unsigned count;
	char last[64], first[64];
};

static void take(const char *line, void *arg)
{
	struct recalled *recalled = arg;

	snprintf(recalled->count == 0 ? recalled->first : recalled->last, sizeof recalled->last, "%s", line);
	recalled->count++;
}

static void the_history_outlives_the_login_and_is_bounded(void)
{
	struct recalled recalled = {0};
	char *path = mem_format("%s/history/admin.lines", console.state),
	     *long_line = mem_format("show log delivery id %0700d", 1);
	struct stat status;

	for (int i = 0; i < HISTORY_LINES; i++)
		history_append(&console, long_line);
	history_append(&console, "show queue");
	history_read(&console, take, &recalled);
	CHECK_INT(recalled.count, HISTORY_LINES);
	CHECK_TEXT(recalled.last, "show queue");
	CHECK(stat(path, &status) == 0);
	CHECK_INT(status.st_mode & 07777, 0600);
	recalled = (struct recalled){0};
	history_read(&console, take, &recalled);
	CHECK_INT(recalled.count, HISTORY_LINES);
	free(long_line);
	free(path);
}

static void columns_are_counted(void)
{
	static const struct {
		const char *text;
		size_t columns;
	} cases[] = {{"", 0}, {"abc", 3}, {"印鑑", 4}, {"é", 1}, {"e\xcc\x81", 1}, {"\xff\xe5", 2}, {"ｱ", 1}, {"Ａ", 2}};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		test_case("%s", cases[i].text);
		CHECK_INT(text_columns(bytes_text(cases[i].text)), cases[i].columns);
	}
	CHECK_INT(text_fit(bytes_text("印鑑x"), 3), 3);
	CHECK_INT(text_fit(bytes_text("印鑑x"), 5), 7);
	CHECK_INT(pager_line_rows(bytes_text("印鑑印鑑"), 4), 2);
}

int main(void)
{
	set_up();
	TEST(names_are_listed_and_completed);
	TEST(files_are_completed);
	TEST(errors_have_their_place);
	TEST(the_history_holds_no_secret);
	TEST(the_history_outlives_the_login_and_is_bounded);
	TEST(columns_are_counted);
	store_close(console.store);
	return test_finish();
}
