/* backup and restore: what comes back, what is refused, and what is never lost. */
#include <dirent.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "provisioning/console/backup_file.h"
#include "tests/unit/console_fixture.h"

static struct err err;

static char *path_in(const struct fixture *fixture, const char *name)
{
	return mem_format("%s/%s", fixture->console.state, name);
}

static bool with_file(struct fixture *fixture, const char *verb, const char *name)
{
	char *path = path_in(fixture, name), *line = mem_format("%s %s", verb, path);
	bool fine = done(fixture, line);

	free(line);
	free(path);
	return fine;
}

static void restore_refused(struct fixture *fixture, const char *name, const char *why)
{
	char *path = path_in(fixture, name), *line = mem_format("restore %s", path);

	set_input(ADMIN_PASSWORD "\n");
	refused(fixture, line, why);
	CHECK(!fixture->console.ended);
	free(line);
	free(path);
}

/* How many files of the state directory begin so. */
static size_t files(const struct fixture *fixture, const char *beginning)
{
	DIR *directory = opendir(fixture->console.state);
	size_t found = 0;

	for (struct dirent *entry; directory != NULL && (entry = readdir(directory)) != NULL;)
		found += strncmp(entry->d_name, beginning, strlen(beginning)) == 0;
	if (directory != NULL)
		closedir(directory);
	return found;
}

static void commit_threads(struct fixture *fixture, const char *threads)
{
	char *line = mem_format("set hsm threads %s", threads);

	done(fixture, line);
	done(fixture, "commit");
	free(line);
}

static void check_threads(struct fixture *fixture, const char *threads)
{
	char *want = mem_format("set hsm threads %s\n", threads);

	done(fixture, "show configuration");
	CHECK_TEXT(fixture->out, want);
	free(want);
}

static size_t audit_rows(struct fixture *fixture)
{
	struct audit_entries entries = {0};
	size_t count;

	CHECK_OK(store_audit_verify(fixture->console.store, &err), &err);
	CHECK_OK(store_audit_list(fixture->console.store, 1000, &entries, &err), &err);
	count = entries.count;
	audit_entries_clear(&entries);
	return count;
}

static void a_backup_comes_back(void)
{
	struct fixture fixture;
	struct stat status;
	size_t rows;
	char *path;

	fixture_open(&fixture, true);
	commit_threads(&fixture, "1");
	with_file(&fixture, "backup", "b");
	path = path_in(&fixture, "b");
	CHECK(stat(path, &status) == 0 && (status.st_mode & 0777) == 0600);
	CHECK_INT(files(&fixture, "inkan.db.backup"), 0);
	commit_threads(&fixture, "2");
	CHECK_OK(store_account_add(fixture.console.store, "later", ROLE_OPERATOR, "later password", "admin", &err), &err);
	rows = audit_rows(&fixture);
	set_input(ADMIN_PASSWORD "\n");
	with_file(&fixture, "restore", "b");
	CHECK_CONTAINS(fixture.messages, "revision 1 ran, 1 accounts");
	CHECK_CONTAINS(fixture.messages, "Restored: revision 1 runs");
	CHECK(fixture.console.ended);
	check_threads(&fixture, "1");
	CHECK_INT(fake_inkand_seen(fixture.inkand).applies[2].revision, 1);
	CHECK_INT(audit_rows(&fixture), rows + 1); /* nothing of the trail is lost, and the restore is in it */
	CHECK_INT(files(&fixture, "inkan.db.before-restore"), 1);
	CHECK_INT(files(&fixture, "inkan.db.restore"), 0);
	refused(&fixture, "account delete later", "there is no");
	free(path);
	fixture_close(&fixture);
}

static void another_handle_sees_it(void)
{
	struct fixture fixture;
	struct store *other;
	uint64_t number = 0;

	fixture_open(&fixture, false);
	commit_threads(&fixture, "1");
	with_file(&fixture, "backup", "b");
	commit_threads(&fixture, "2");
	other = store_open(fixture.console.state, STORE_READ_WRITE, &err);
	CHECK_OK(store_running(other, &number, &err), &err);
	CHECK_INT(number, 2);
	set_input(ADMIN_PASSWORD "\n");
	with_file(&fixture, "restore", "b");
	CHECK_CONTAINS(fixture.messages, "runs when inkand starts");
	CHECK_OK(store_running(other, &number, &err), &err);
	CHECK_INT(number, 1);
	store_close(other);
	fixture_close(&fixture);
}

static void a_file_is_not_overwritten_without_force(void)
{
	struct fixture fixture;
	char *path, *line, *forced;

	fixture_open(&fixture, false);
	path = path_in(&fixture, "b");
	line = mem_format("backup %s", path);
	forced = mem_format("backup %s force", path);
	done(&fixture, line);
	refused(&fixture, line, "is there already: name another file, or say force");
	done(&fixture, forced);
	refused(&fixture, "backup /no/such/directory/b", "No such file or directory");
	refused(&fixture, "backup / force", "is no file");
	CHECK_INT(files(&fixture, "inkan.db.backup"), 0);
	fixture.console.role = ROLE_OPERATOR;
	refused(&fixture, forced, "the role operator may not do this");
	free(forced);
	free(line);
	free(path);
	fixture_close(&fixture);
}

/* Every octet of the head, and some of the rest. */
static void a_damaged_backup_is_refused(void)
{
	struct fixture fixture;
	struct buf whole = {0};
	struct backup_head head;
	char *path, *damaged;
	size_t length = 0;

	fixture_open(&fixture, true);
	commit_threads(&fixture, "1");
	with_file(&fixture, "backup", "b");
	path = path_in(&fixture, "b");
	damaged = path_in(&fixture, "damaged");
	CHECK(test_read_file(path, &whole));
	CHECK_OK(backup_head_read(buf_bytes(&whole), &head, &length, &err), &err);
	CHECK_INT(head.size, whole.len - length);
	for (size_t i = 0; i < length; i++)
		CHECK(!backup_head_read(bytes_slice(buf_bytes(&whole), 0, i), &head, &length, &err) || i >= length);
	commit_threads(&fixture, "2");
	CHECK(test_write_file(damaged, bytes_slice(buf_bytes(&whole), 0, whole.len - 1)));
	restore_refused(&fixture, "damaged", "the backup is damaged");
	for (size_t at = length; at < whole.len; at += 9973) {
		whole.data[at] ^= 1;
		CHECK(test_write_file(damaged, buf_bytes(&whole)));
		restore_refused(&fixture, "damaged", "the backup is damaged");
		whole.data[at] ^= 1;
	}
	whole.data[13] = '9';
	CHECK(test_write_file(damaged, buf_bytes(&whole)));
	restore_refused(&fixture, "damaged", "this is a backup of version 9");
	CHECK(test_write_file(damaged, bytes_text("set hsm threads 4\n")));
	restore_refused(&fixture, "damaged", "this is no backup of Inkan");
	restore_refused(&fixture, "nowhere", "No such file or directory");
	check_threads(&fixture, "2");
	CHECK_INT(files(&fixture, "inkan.db.restore"), 0);
	CHECK_INT(files(&fixture, "inkan.db.before"), 0);
	free(damaged);
	free(path);
	buf_clear(&whole);
	fixture_close(&fixture);
}

/* A backup with a proper digest whose database was changed like this. */
static void make_changed(struct fixture *fixture, const char *sql)
{
	char *good = path_in(fixture, "b"), *database = path_in(fixture, "database"), *changed = path_in(fixture, "changed");
	struct backup_head head;
	sqlite3 *db = NULL;

	CHECK_OK(backup_read(good, database, &head, &err), &err);
	CHECK_INT(sqlite3_open(database, &db), SQLITE_OK);
	if (!CHECK_INT(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK))
		fprintf(stderr, "%s\n", sqlite3_errmsg(db));
	sqlite3_close(db);
	CHECK_OK(backup_write(database, changed, head.made, head.by, true, &err), &err);
	free(good);
	free(database);
	free(changed);
}

static void what_is_no_database_of_ours_is_refused(void)
{
	static const struct {
		const char *sql, *why;
	} cases[] = {
	    {"PRAGMA user_version = 999", "which is newer than this program knows"},
	    {"CREATE TABLE stranger (a)", "it is no database of Inkan"},
	    {"CREATE TRIGGER t AFTER INSERT ON audit BEGIN DELETE FROM account; END", "it is no database of Inkan"},
	    {"DROP TABLE pending_key", "it is no database of Inkan"},
	    {"UPDATE account SET role = 2", "it has no administrator"},
	    {"PRAGMA foreign_keys = OFF; DELETE FROM revision", "rows refer to others that are not there"},
	};
	struct fixture fixture;

	fixture_open(&fixture, true);
	commit_threads(&fixture, "1");
	with_file(&fixture, "backup", "b");
	commit_threads(&fixture, "2");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		make_changed(&fixture, cases[i].sql);
		restore_refused(&fixture, "changed", cases[i].why);
	}
	check_threads(&fixture, "2");
	audit_rows(&fixture);
	fixture_close(&fixture);
}

static void what_inkand_refuses_is_put_back(void)
{
	struct fixture fixture;

	fixture_open(&fixture, true);
	commit_threads(&fixture, "1");
	with_file(&fixture, "backup", "b");
	commit_threads(&fixture, "2");
	fake_inkand_answer(fixture.inkand, (struct fake_answers){.refuse_apply = "127.0.0.1:25: address already in use"});
	restore_refused(&fixture, "b", "not restored, what was here stays: 127.0.0.1:25");
	check_threads(&fixture, "2");
	CHECK_INT(files(&fixture, "inkan.db.before"), 0);
	last_audit(&fixture, NULL, "address already in use");
	audit_rows(&fixture);
	fixture_close(&fixture);
}

static void a_wrong_password_restores_nothing(void)
{
	struct fixture fixture;
	char *path, *line;

	fixture_open(&fixture, true);
	commit_threads(&fixture, "1");
	with_file(&fixture, "backup", "b");
	commit_threads(&fixture, "2");
	path = path_in(&fixture, "b");
	line = mem_format("restore %s", path);
	set_input("wrong\n");
	refused(&fixture, line, "not confirmed");
	check_threads(&fixture, "2");
	CHECK_INT(files(&fixture, "inkan.db.restore"), 0);
	free(line);
	free(path);
	fixture_close(&fixture);
}

/* The machine is lost: its backup comes to another one, which has an administrator and a trail of its own. */
static void another_appliance_takes_it_over(void)
{
	struct fixture lost, fresh;
	char *path, *line;

	fixture_open(&lost, true);
	commit_threads(&lost, "7");
	with_file(&lost, "backup", "b");
	path = path_in(&lost, "b");
	line = mem_format("restore %s", path);
	fixture_open(&fresh, true);
	done(&fresh, "set hsm threads 3");
	set_input(ADMIN_PASSWORD "\n");
	done(&fresh, line);
	CHECK_CONTAINS(fresh.messages, "another appliance's");
	check_threads(&fresh, "7");
	audit_rows(&fresh);
	free(line);
	free(path);
	fixture_close(&fresh);
	fixture_close(&lost);
}

int main(void)
{
	TEST(a_backup_comes_back);
	TEST(another_handle_sees_it);
	TEST(a_file_is_not_overwritten_without_force);
	TEST(a_damaged_backup_is_refused);
	TEST(what_is_no_database_of_ours_is_refused);
	TEST(what_inkand_refuses_is_put_back);
	TEST(a_wrong_password_restores_nothing);
	TEST(another_appliance_takes_it_over);
	return test_finish();
}
