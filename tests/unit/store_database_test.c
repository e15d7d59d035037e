/* inkan.db: opening and migrating, accounts, certificates, revisions, candidates, the audit chain. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "provisioning/store/password.h"
#include "provisioning/store/store_private.h"
#include "tests/unit/test.h"

static struct err err;

static struct store *open_new(const char **directory)
{
	struct store *store;

	*directory = test_directory();
	store = store_open(*directory, STORE_READ_WRITE, &err);
	if (store == NULL) {
		fprintf(stderr, "store_open: %s\n", err.text);
		exit(1);
	}
	return store;
}

/* Straight into the file, past the store: what a tamperer or another version of the program would do. */
static void run_sql(const char *directory, const char *statement)
{
	char *path = mem_format("%s/%s", directory, STORE_FILE), *message = NULL;
	sqlite3 *db;

	if (sqlite3_open(path, &db) != SQLITE_OK || sqlite3_exec(db, statement, NULL, NULL, &message) != SQLITE_OK) {
		fprintf(stderr, "%s: %s\n", statement, message);
		exit(1);
	}
	sqlite3_close(db);
	free(path);
}

static int user_version(const char *directory)
{
	char *path = mem_format("%s/%s", directory, STORE_FILE);
	sqlite3_stmt *statement;
	sqlite3 *db;
	int version = -1;

	if (sqlite3_open(path, &db) == SQLITE_OK &&
	    sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &statement, NULL) == SQLITE_OK) {
		if (sqlite3_step(statement) == SQLITE_ROW)
			version = sqlite3_column_int(statement, 0);
		sqlite3_finalize(statement);
	}
	sqlite3_close(db);
	free(path);
	return version;
}

/* ---- opening ---- */

static void a_new_database_is_private_and_current(void)
{
	const char *directory;
	struct store *store = open_new(&directory);
	char *path = mem_format("%s/%s", directory, STORE_FILE);
	struct stat status;
	uint64_t running = 99;

	CHECK(stat(path, &status) == 0);
	CHECK_INT(status.st_mode & 0777, 0600);
	CHECK_OK(store_running(store, &running, &err), &err);
	CHECK_INT(running, 0);
	store_close(store);
	CHECK_INT(user_version(directory), SCHEMA_VERSION);
	free(path);
}

static void version_0_is_migrated_by_a_reader_too(void)
{
	const char *directory = test_directory();
	char *path = mem_format("%s/%s", directory, STORE_FILE);
	struct snapshot *snapshot;
	struct store *store;

	CHECK(test_write_file(path, bytes_text("")));
	CHECK(chmod(path, 0600) == 0);
	CHECK_INT(user_version(directory), 0);
	store = store_open(directory, STORE_READ_ONLY, &err);
	if (!CHECK_OK(store != NULL, &err))
		return;
	CHECK_INT(user_version(directory), SCHEMA_VERSION);
	snapshot = store_snapshot(store, 0, &err);
	if (CHECK_OK(snapshot != NULL, &err)) {
		CHECK_INT(snapshot->revision, 0);
		CHECK_INT(snapshot->settings.count, 0);
	}
	CHECK(!store_account_add(store, "admin", ROLE_ADMINISTRATOR, "long enough", "", &err));
	snapshot_free(snapshot);
	store_close(store);
	free(path);
}

static void a_newer_schema_is_refused(void)
{
	const char *directory;

	store_close(open_new(&directory));
	run_sql(directory, "PRAGMA user_version = 999");
	CHECK(store_open(directory, STORE_READ_WRITE, &err) == NULL);
	CHECK_INT(err.code, ERR_INVALID);
	CHECK_CONTAINS(err.text, "inkan.db has schema 999, which is newer than this program knows");
	CHECK(store_open(directory, STORE_READ_ONLY, &err) == NULL);
	CHECK_INT(user_version(directory), 999);
}

static void what_is_no_database_is_refused(void)
{
	const char *directory = test_directory();
	char *path = mem_format("%s/%s", directory, STORE_FILE);

	CHECK(store_open(directory, STORE_READ_ONLY, &err) == NULL);
	CHECK_INT(err.code, ERR_NOT_FOUND);
	CHECK(test_write_file(path, bytes_text("this is some text that is no database at all, but long enough to look at")));
	CHECK(chmod(path, 0600) == 0);
	CHECK(store_open(directory, STORE_READ_WRITE, &err) == NULL);
	CHECK_CONTAINS(err.text, "file is not a database");
	CHECK(chmod(path, 0644) == 0);
	CHECK(store_open(directory, STORE_READ_WRITE, &err) == NULL);
	CHECK_CONTAINS(err.text, "must be a file of mode 0600");
	free(path);
}

/* ---- accounts ---- */

static void accounts_come_and_go(void)
{
	const char *directory;
	struct store *store = open_new(&directory);
	struct accounts accounts;
	enum account_role role;

	CHECK_OK(store_account_add(store, "admin", ROLE_ADMINISTRATOR, "first password", "", &err), &err);
	CHECK_OK(store_account_add(store, "bob", ROLE_AUDITOR, "bobs password", "admin", &err), &err);
	CHECK(!store_account_add(store, "bob", ROLE_OPERATOR, "other password", "admin", &err));
	CHECK_INT(err.code, ERR_EXISTS);
	CHECK(!store_account_add(store, "eve", ROLE_OPERATOR, "short", "admin", &err));
	CHECK_TEXT(err.text, "a password has 8 to 256 characters");
	if (CHECK_OK(store_accounts(store, &accounts, &err), &err)) {
		CHECK_INT(accounts.count, 2);
		CHECK_TEXT(accounts.items[1].name, "bob");
		CHECK_INT(accounts.items[1].role, ROLE_AUDITOR);
		CHECK_TEXT(accounts.items[1].created_by, "admin");
		accounts_clear(&accounts);
	}
	CHECK_OK(store_account_verify(store, "bob", "bobs password", 1, &role, &err), &err);
	CHECK_INT(role, ROLE_AUDITOR);
	CHECK_OK(store_account_set_password(store, "bob", "new password", &err), &err);
	CHECK(!store_account_verify(store, "bob", "bobs password", 1, &role, &err));
	CHECK_OK(store_account_verify(store, "bob", "new password", 1, &role, &err), &err);
	CHECK(!store_account_delete(store, "admin", &err));
	CHECK_TEXT(err.text, "admin is the last administrator");
	CHECK_OK(store_account_delete(store, "bob", &err), &err);
	CHECK(!store_account_delete(store, "bob", &err));
	CHECK_INT(err.code, ERR_NOT_FOUND);
	store_close(store);
}

static void the_database_holds_hashes_only(void)
{
	const char *directory;
	struct store *store = open_new(&directory);
	char *path = mem_format("%s/%s", directory, STORE_FILE);
	struct buf file = {0};

	CHECK_OK(store_account_add(store, "admin", ROLE_ADMINISTRATOR, "correct horse battery", "", &err), &err);
	store_close(store); /* the last close brings the log into the file */
	CHECK(test_read_file(path, &file));
	CHECK(memmem(file.data, file.len, "$y$", 3) != NULL);
	CHECK(memmem(file.data, file.len, "correct horse", 13) == NULL);
	buf_clear(&file);
	free(path);
}

static void failures_make_an_account_wait(void)
{
	static const struct {
		const char *name;
		int64_t now_ms;
		const char *password;
		enum err_code code;
	} steps[] = {
	    {"first failure", 1000, "wrong", ERR_DENIED},
	    {"second failure", 1001, "wrong", ERR_DENIED},
	    {"third failure", 1002, "wrong", ERR_DENIED},
	    {"right, but too early", 1003, "right password", ERR_LIMIT},
	    {"after a second, wrong", 2002, "wrong", ERR_DENIED},
	    {"one second is too early now", 3003, "right password", ERR_LIMIT},
	    {"after two seconds", 4002, "right password", ERR_NONE},
	    {"the count began anew", 4003, "wrong", ERR_DENIED},
	    {"so the next is not late", 4004, "right password", ERR_NONE},
	};
	const char *directory;
	struct store *store = open_new(&directory);
	enum account_role role;

	CHECK_OK(store_account_add(store, "admin", ROLE_ADMINISTRATOR, "right password", "", &err), &err);
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		test_case("%s", steps[i].name);
		err.code = ERR_NONE;
		CHECK(store_account_verify(store, "admin", steps[i].password, steps[i].now_ms, &role, &err) ==
		      (steps[i].code == ERR_NONE));
		CHECK_INT(err.code, steps[i].code);
	}
	test_case("unknown account");
	CHECK(!store_account_verify(store, "nobody", "wrong", 5000, &role, &err));
	CHECK_TEXT(err.text, "wrong account or password");
	store_close(store);
}

/* ---- certificates and revisions ---- */

static struct stored_certificate certificate_for(char *address, const char *key_id)
{
	static char *names[1];
	static struct bytes chain[2];

	names[0] = address;
	chain[0] = bytes_text("leaf");
	chain[1] = bytes_text("intermediate");
	return (struct stored_certificate){
	    .certificate = {.address = address,
			    .names = names,
			    .n_names = 1,
			    .key_type = (char *)"RSA-2048",
			    .key_id = bytes_text(key_id),
			    .chain = chain,
			    .n_chain = 2,
			    .not_before = 1000,
			    .not_after = 2000},
	    .subject = (char *)"CN=a",
	    .issuer = (char *)"CN=ca",
	    .serial = (char *)"01ff",
	    .fingerprint = (char *)"00",
	    .rung = (char *)"rewrap",
	    .sensitive = true,
	    .never_extractable = true,
	    .sealed_password = bytes_of("\0sealed", 7),
	    .imported_by = (char *)"admin",
	    .imported_ms = 5,
	};
}

static uint64_t add_certificate(struct store *store, const char *address, const char *key_id, bool renewal)
{
	char *copy = mem_string(address);
	struct stored_certificate certificate = certificate_for(copy, key_id);
	uint64_t id = 0;

	CHECK_OK(store_certificate_add(store, &certificate, renewal, &id, &err), &err);
	free(copy);
	return id;
}

static void a_certificate_comes_back_as_it_was_stored(void)
{
	const char *directory;
	struct store *store = open_new(&directory);
	uint64_t id = add_certificate(store, "a@example.jp", "key", false);
	struct stored_certificates found;

	if (CHECK_OK(store_certificates(store, "a@example.jp", &found, &err), &err) && CHECK_INT(found.count, 1)) {
		const struct stored_certificate *one = &found.items[0];

		CHECK_INT(one->certificate.id, id);
		CHECK_TEXT(one->certificate.names[0], "a@example.jp");
		CHECK_BYTES(one->certificate.key_id, bytes_text("key"));
		CHECK_INT(one->certificate.n_chain, 2);
		CHECK_BYTES(one->certificate.chain[1], bytes_text("intermediate"));
		CHECK_INT(one->certificate.not_after, 2000);
		CHECK_TEXT(one->rung, "rewrap");
		CHECK(one->sensitive && one->never_extractable && !one->extractable && !one->local && !one->always_sensitive);
		CHECK_BYTES(one->sealed_password, bytes_of("\0sealed", 7));
		CHECK_INT(one->state, CERTIFICATE_CURRENT);
		stored_certificates_clear(&found);
	}
	store_close(store);
}

static void import_and_renewal_want_different_things(void)
{
	const char *directory;
	struct store *store = open_new(&directory);
	char address[] = "a@example.jp";
	struct stored_certificate certificate = certificate_for(address, "k");
	struct stored_certificates found;
	uint64_t id = 0;

	CHECK(!store_certificate_add(store, &certificate, true, &id, &err));
	CHECK_TEXT(err.text, "no certificate is registered for a@example.jp; use certificate import");
	CHECK_OK(store_certificate_add(store, &certificate, false, &id, &err), &err);
	CHECK(!store_certificate_add(store, &certificate, false, &id, &err));
	CHECK_TEXT(err.text, "a@example.jp is already registered; use certificate renew");
	CHECK_OK(store_certificate_add(store, &certificate, true, &id, &err), &err);
	if (CHECK_OK(store_certificates(store, NULL, &found, &err), &err) && CHECK_INT(found.count, 2)) {
		CHECK_INT(found.items[0].certificate.id, id);
		CHECK_INT(found.items[0].state, CERTIFICATE_CURRENT);
		CHECK_INT(found.items[1].state, CERTIFICATE_SUPERSEDED);
		stored_certificates_clear(&found);
	}
	CHECK_OK(store_certificate_delete(store, id, &err), &err);
	CHECK(!store_certificate_delete(store, id, &err));
	if (CHECK_OK(store_certificates(store, NULL, &found, &err), &err) && CHECK_INT(found.count, 1)) {
		CHECK_INT(found.items[0].state, CERTIFICATE_CURRENT);
		stored_certificates_clear(&found);
	}
	store_close(store);
}

/* What the console does for a commit, without the relay. */
static uint64_t commit(struct store *store, const char *account, const struct candidate *candidate)
{
	struct revision revision = {
	    .base = candidate->base, .by = (char *)account, .comment = (char *)"", .settings = candidate->settings};
	uint64_t number = 0;

	CHECK_OK(store_resolve_certificates(store, &candidate->settings, &candidate->pins, &revision.choices, &err), &err);
	CHECK_OK(store_revision_propose(store, &revision, &number, &err), &err);
	CHECK_OK(store_revision_accept(store, number, &err), &err);
	certificate_choices_clear(&revision.choices);
	return number;
}

static uint64_t commit_fresh(struct store *store, const char *path, const char *value)
{
	struct candidate candidate;
	uint64_t number;
	bool exists;

	if (!CHECK_OK(store_candidate(store, "admin", &candidate, &exists, &err), &err))
		return 0;
	if (path != NULL)
		settings_add(&candidate.settings, path, value);
	number = commit(store, "admin", &candidate);
	candidate_clear(&candidate);
	return number;
}

static uint64_t running_certificate(struct store *store)
{
	struct snapshot *snapshot = store_snapshot(store, 0, &err);
	uint64_t id = 0;

	if (CHECK_OK(snapshot != NULL, &err) && CHECK_INT(snapshot->n_certificates, 1))
		id = snapshot->certificates[0].id;
	snapshot_free(snapshot);
	return id;
}

static void a_renewal_takes_effect_at_commit_and_rolls_back(void)
{
	const char *directory;
	struct store *store = open_new(&directory);
	uint64_t old, new, with_old;
	struct candidate candidate = {0};
	struct revision revision;

	CHECK_OK(store_account_add(store, "admin", ROLE_ADMINISTRATOR, "some password", "", &err), &err);
	old = add_certificate(store, "a@example.jp", "old", false);
	with_old = commit_fresh(store, "server s smime certificate", "a@example.jp");
	CHECK_INT(running_certificate(store), old);
	new = add_certificate(store, "a@example.jp", "new", true);
	test_case("before the commit");
	CHECK_INT(running_certificate(store), old);
	commit_fresh(store, NULL, NULL);
	test_case("after the commit");
	CHECK_INT(running_certificate(store), new);

	test_case("rolled back");
	if (!CHECK_OK(store_revision(store, with_old, &revision, &err), &err))
		return;
	CHECK_OK(store_running(store, &candidate.base, &err), &err);
	settings_copy(&candidate.settings, &revision.settings);
	certificate_choices_add(&candidate.pins, "a@example.jp", revision.choices.items[0].certificate);
	commit(store, "admin", &candidate);
	CHECK_INT(running_certificate(store), old);
	test_case("the next commit keeps what the rollback brought");
	commit_fresh(store, "system host-name", "mx.example.jp");
	CHECK_INT(running_certificate(store), old);
	test_case("a pin whose certificate is gone is passed over");
	CHECK_OK(store_certificate_delete(store, old, &err), &err);
	CHECK_OK(store_running(store, &candidate.base, &err), &err);
	commit(store, "admin", &candidate);
	CHECK_INT(running_certificate(store), new);
	revision_clear(&revision);
	candidate_clear(&candidate);
	store_close(store);
}

static void an_address_without_certificate_cannot_be_committed(void)
{
	const char *directory;
	struct store *store = open_new(&directory);
	struct settings settings = {0};
	struct certificate_choices none = {0}, choices = {0};

	settings_add(&settings, "server s smime certificate", "a@example.jp");
	CHECK(!store_resolve_certificates(store, &settings, &none, &choices, &err));
	CHECK_TEXT(err.text, "server s smime certificate: no certificate is registered for a@example.jp");
	CHECK_INT(choices.count, 0);
	settings_clear(&settings);
	store_close(store);
}

static void a_proposed_revision_can_be_withdrawn(void)
{
	const char *directory;
	struct store *store = open_new(&directory);
	struct revision proposal = {.by = (char *)"admin", .comment = (char *)"no"};
	struct snapshot *snapshot;
	struct revisions list;
	uint64_t number = 0, again = 0;

	settings_add(&proposal.settings, "system host-name", "mx.example.jp");
	CHECK_OK(store_revision_propose(store, &proposal, &number, &err), &err);
	snapshot = store_snapshot(store, number, &err);
	if (CHECK_OK(snapshot != NULL, &err))
		CHECK_INT(snapshot->settings.count, 1);
	snapshot_free(snapshot);
	if (CHECK_OK(store_revisions(store, &list, &err), &err))
		CHECK_INT(list.count, 0);
	revisions_clear(&list);
	CHECK_OK(store_revision_withdraw(store, number, &err), &err);
	CHECK(store_snapshot(store, number, &err) == NULL);
	CHECK_INT(err.code, ERR_NOT_FOUND);
	CHECK_OK(store_revision_propose(store, &proposal, &again, &err), &err);
	CHECK(again > number); /* a number never means two configurations */
	settings_clear(&proposal.settings);
	store_close(store);
}

static void a_commit_on_an_old_base_is_refused(void)
{
	const char *directory;
	struct store *store = open_new(&directory);
	struct revision proposal = {.base = 0, .by = (char *)"bob", .comment = (char *)""};
	uint64_t number = 0, running = 0;

	commit_fresh(store, "system host-name", "mx.example.jp");
	CHECK_OK(store_revision_propose(store, &proposal, &number, &err), &err);
	CHECK(!store_revision_accept(store, number, &err));
	CHECK_INT(err.code, ERR_EXISTS);
	CHECK_TEXT(err.text, "revision 1 was committed meanwhile");
	CHECK_OK(store_running(store, &running, &err), &err);
	CHECK_INT(running, 1);
	store_close(store);
}

static void old_revisions_are_dropped(void)
{
	const char *directory;
	struct store *store = open_new(&directory);
	struct revisions list;

	for (int i = 0; i < STORE_REVISIONS_KEPT + 5; i++)
		commit_fresh(store, NULL, NULL);
	if (CHECK_OK(store_revisions(store, &list, &err), &err)) {
		CHECK_INT(list.count, STORE_REVISIONS_KEPT);
		CHECK_INT(list.items[0].number, STORE_REVISIONS_KEPT + 5);
		revisions_clear(&list);
	}
	store_close(store);
}

static void candidates_are_kept_per_account(void)
{
	const char *directory;
	struct store *store = open_new(&directory);
	struct candidate candidate;
	bool exists = true;

	CHECK_OK(store_account_add(store, "admin", ROLE_ADMINISTRATOR, "some password", "", &err), &err);
	CHECK_OK(store_account_add(store, "bob", ROLE_ADMINISTRATOR, "some password", "", &err), &err);
	commit_fresh(store, "system host-name", "mx.example.jp");
	if (!CHECK_OK(store_candidate(store, "bob", &candidate, &exists, &err), &err))
		return;
	CHECK(!exists);
	settings_add(&candidate.settings, "server s smime certificate", "b@example.jp");
	certificate_choices_add(&candidate.pins, "b@example.jp", 7);
	CHECK_OK(store_candidate_save(store, "bob", &candidate, &err), &err);
	candidate_clear(&candidate);
	CHECK_OK(store_candidate(store, "admin", &candidate, &exists, &err), &err);
	CHECK(!exists);
	CHECK_INT(candidate.settings.count, 1);
	candidate_clear(&candidate);
	CHECK_OK(store_candidate(store, "bob", &candidate, &exists, &err), &err);
	CHECK(exists);
	CHECK_INT(candidate.base, 1);
	CHECK_INT(candidate.settings.count, 2);
	CHECK_INT(candidate.pins.count, 1);
	candidate_clear(&candidate);

	char *where = NULL;

	CHECK_OK(store_certificate_operated(store, "b@example.jp", &where, &err), &err);
	CHECK_TEXT(where, "server s of the configuration that bob is editing");
	free(where);
	CHECK_OK(store_candidate_discard(store, "bob", &err), &err);
	CHECK_OK(store_certificate_operated(store, "b@example.jp", &where, &err), &err);
	CHECK(where == NULL);
	store_close(store);
}

static void a_reader_sees_what_another_handle_committed(void)
{
	const char *directory;
	struct store *writer = open_new(&directory), *reader = store_open(directory, STORE_READ_ONLY, &err);
	struct snapshot *snapshot;
	uint64_t number;

	if (!CHECK_OK(reader != NULL, &err))
		return;
	number = commit_fresh(writer, "system host-name", "mx.example.jp");
	snapshot = store_snapshot(reader, 0, &err);
	if (CHECK_OK(snapshot != NULL, &err)) {
		CHECK_INT(snapshot->revision, number);
		CHECK_TEXT(settings_value(&snapshot->settings, "system host-name"), "mx.example.jp");
	}
	snapshot_free(snapshot);
	store_close(reader);
	store_close(writer);
}

/* ---- audit ---- */

static void add_audit_rows(struct store *store)
{
	for (int i = 1; i <= 4; i++) {
		char *what = mem_format("command %d", i);
		struct audit_entry entry = {.who = (char *)"admin", .from = (char *)"tty1", .what = what, .result = (char *)"ok"};

		CHECK_OK(store_audit_add(store, &entry, &err), &err);
		free(what);
	}
}

static void the_audit_trail_lists_its_tail(void)
{
	const char *directory;
	struct store *store = open_new(&directory);
	struct audit_entries entries;

	add_audit_rows(store);
	CHECK_OK(store_audit_verify(store, &err), &err);
	if (CHECK_OK(store_audit_list(store, 2, &entries, &err), &err) && CHECK_INT(entries.count, 2)) {
		CHECK_INT(entries.items[0].number, 3);
		CHECK_TEXT(entries.items[1].what, "command 4");
		CHECK_TEXT(entries.items[1].from, "tty1");
		audit_entries_clear(&entries);
	}
	store_close(store);
}

static void an_edited_audit_trail_is_found_out(void)
{
	static const struct {
		const char *name, *sql, *text;
	} cases[] = {
	    {"changed text", "UPDATE audit SET what = 'command 9' WHERE number = 2", "broken at row 2"},
	    {"changed time", "UPDATE audit SET time_ms = time_ms + 1 WHERE number = 1", "broken at row 1"},
	    {"another's name", "UPDATE audit SET who = 'bob' WHERE number = 4", "broken at row 4"},
	    {"better result", "UPDATE audit SET result = 'denied' WHERE number = 3", "broken at row 3"},
	    {"missing row", "DELETE FROM audit WHERE number = 2", "broken at row 2"},
	    {"missing first row", "DELETE FROM audit WHERE number = 1", "broken at row 1"},
	    {"shortened hash", "UPDATE audit SET hash = x'00' WHERE number = 3", "broken at row 3"},
	    {"inserted row", "INSERT INTO audit SELECT 5, time_ms, who, source, what, result, hash FROM audit WHERE number = 4",
	     "broken at row 5"},
	    {"swapped rows",
	     "UPDATE audit SET number = 99 WHERE number = 2; UPDATE audit SET number = 2 WHERE number = 3; "
	     "UPDATE audit SET number = 3 WHERE number = 99",
	     "broken at row 2"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *directory;
		struct store *store = open_new(&directory);

		test_case("%s", cases[i].name);
		add_audit_rows(store);
		run_sql(directory, cases[i].sql);
		CHECK(!store_audit_verify(store, &err));
		CHECK_INT(err.code, ERR_INTEGRITY);
		CHECK_CONTAINS(err.text, cases[i].text);
		store_close(store);
	}
}

static void passwords_are_compared_by_their_hash(void)
{
	char *hash = password_hash("correct horse", &err);

	if (!CHECK_OK(hash != NULL, &err))
		return;
	CHECK(strncmp(hash, "$y$", 3) == 0);
	CHECK(password_matches(hash, "correct horse"));
	CHECK(!password_matches(hash, "correct horsf"));
	CHECK(!password_matches("no hash", "correct horse"));
	CHECK(!password_matches("", ""));
	free(hash);
}

int main(void)
{
	TEST(a_new_database_is_private_and_current);
	TEST(version_0_is_migrated_by_a_reader_too);
	TEST(a_newer_schema_is_refused);
	TEST(what_is_no_database_is_refused);
	TEST(accounts_come_and_go);
	TEST(the_database_holds_hashes_only);
	TEST(failures_make_an_account_wait);
	TEST(a_certificate_comes_back_as_it_was_stored);
	TEST(import_and_renewal_want_different_things);
	TEST(a_renewal_takes_effect_at_commit_and_rolls_back);
	TEST(an_address_without_certificate_cannot_be_committed);
	TEST(a_proposed_revision_can_be_withdrawn);
	TEST(a_commit_on_an_old_base_is_refused);
	TEST(old_revisions_are_dropped);
	TEST(candidates_are_kept_per_account);
	TEST(a_reader_sees_what_another_handle_committed);
	TEST(the_audit_trail_lists_its_tail);
	TEST(an_edited_audit_trail_is_found_out);
	TEST(passwords_are_compared_by_their_hash);
	return test_finish();
}
