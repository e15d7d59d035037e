#include "tests/matrix/matrix.h"

#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "tests/unit/test.h"

#define TABLE "README.md"
#define TABLE_HEADING "| on the token "
#define CELL_BYTES 256
#define COLUMNS_MAX 8
#define ROWS_MAX 40
#define DAEMONS_MAX 4
#define DAEMON_START_MS 20000
#define DAEMON_END_MS 3000

void matrix_must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "tests/matrix: %s\n", what);
	exit(1);
}

const char *matrix_module(const char *pattern)
{
	static glob_t found_files;

	matrix_must(glob(pattern, 0, NULL, &found_files) == 0, pattern);
	return found_files.gl_pathv[0];
}

void matrix_command(char *command)
{
	matrix_must(system(command) == 0, command);
	free(command);
}

/* ---- the table ---- */

static struct {
	char row[CELL_BYTES], cell[CELL_BYTES];
	bool seen;
} expected[ROWS_MAX];
static size_t n_expected;
static struct buf found; /* the column as it is today */

/* "| a | b |" to its cells, without the blanks around them. */
static size_t split_row(char *line, char *cells[COLUMNS_MAX])
{
	size_t count = 0;

	for (char *cell = strtok(line, "|\n"); cell != NULL && count < COLUMNS_MAX; cell = strtok(NULL, "|\n")) {
		cell += strspn(cell, " ");
		for (size_t len = strlen(cell); len > 0 && cell[len - 1] == ' ';)
			cell[--len] = '\0';
		cells[count++] = cell;
	}
	return count;
}

static size_t column_of(char *heading, const char *name)
{
	char *cells[COLUMNS_MAX];
	size_t count = split_row(heading, cells), column = 1;

	while (column < count && strcmp(cells[column], name) != 0)
		column++;
	matrix_must(column < count, "the table in " TABLE " has no column for this token");
	return column;
}

static void read_table(const char *name)
{
	FILE *file = fopen(TABLE, "re");
	char line[4096], *cells[COLUMNS_MAX];
	size_t column = 0;

	matrix_must(file != NULL, "no " TABLE " here: run it in the top directory");
	while (fgets(line, sizeof line, file) != NULL) {
		if (strncmp(line, TABLE_HEADING, strlen(TABLE_HEADING)) == 0)
			column = column_of(line, name);
		else if (column > 0 && line[0] != '|')
			break;
		else if (column > 0 && strncmp(line, "|--", 3) != 0 && split_row(line, cells) > column && n_expected < ROWS_MAX) {
			snprintf(expected[n_expected].row, CELL_BYTES, "%s", cells[0]);
			snprintf(expected[n_expected++].cell, CELL_BYTES, "%s", cells[column]);
		}
	}
	fclose(file);
	matrix_must(n_expected > 0, "the table in " TABLE " is not to be found");
}

void matrix_cell(const char *row, char *got)
{
	size_t i = 0;

	test_case("%s", row);
	while (i < n_expected && strcmp(expected[i].row, row) != 0)
		i++;
	buf_printf(&found, "    %-44s | %s\n", row, got);
	if (CHECK(i < n_expected)) {
		CHECK_TEXT(got, expected[i].cell);
		expected[i].seen = true;
	}
	free(got);
}

static void check_that_each_row_was_tried(void)
{
	for (size_t i = 0; i < n_expected; i++) {
		test_case("%s", expected[i].row);
		CHECK(expected[i].seen);
	}
}

/* ---- daemons ---- */

static pid_t daemons[DAEMONS_MAX];

static void run_daemon(const char *const *arguments)
{
	int nowhere = open("/dev/null", O_RDWR);

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getenv("INKAN_TEST_VERBOSE") == NULL) {
		dup2(nowhere, STDOUT_FILENO);
		dup2(nowhere, STDERR_FILENO);
	}
	execvp(arguments[0], (char *const *)arguments);
	_exit(127);
}

pid_t matrix_daemon_start(const char *const *arguments)
{
	size_t free_place = 0;
	pid_t pid;

	while (free_place < DAEMONS_MAX && daemons[free_place] != 0)
		free_place++;
	matrix_must(free_place < DAEMONS_MAX, "too many daemons");
	fflush(NULL);
	pid = fork();
	matrix_must(pid >= 0, "fork");
	if (pid == 0)
		run_daemon(arguments);
	daemons[free_place] = pid;
	return pid;
}

static bool ended(pid_t pid, int wait_ms)
{
	for (; wait_ms > 0; wait_ms -= 10) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return true;
		usleep(10000);
	}
	return false;
}

void matrix_daemon_stop(pid_t daemon)
{
	for (size_t i = 0; i < DAEMONS_MAX; i++)
		if (daemons[i] == daemon)
			daemons[i] = 0;
	kill(daemon, SIGTERM);
	if (ended(daemon, DAEMON_END_MS))
		return;
	kill(daemon, SIGKILL);
	waitpid(daemon, NULL, 0);
}

void matrix_await(bool (*ready)(void), const char *what)
{
	int64_t end = clock_monotonic_ms() + DAEMON_START_MS;

	while (!ready()) {
		matrix_must(clock_monotonic_ms() < end, what);
		usleep(20000);
	}
}

static void stop_daemons(void)
{
	for (size_t i = 0; i < DAEMONS_MAX; i++)
		if (daemons[i] > 0)
			matrix_daemon_stop(daemons[i]);
}

/* ---- all of it ---- */

static struct matrix_token *under_test;

static void forget(struct matrix_key *key)
{
	X509_free(key->certificate);
	buf_clear(&key->leaf);
	buf_clear(&key->issuer);
}

static void every_cell_is_as_the_table_says(void)
{
	struct matrix_key rsa = {.type = ""}, ec = {.type = ""};

	matrix_provision(under_test, &rsa, &ec);
	matrix_sign(under_test, &rsa, &ec);
	matrix_delete(under_test, &rsa);
	check_that_each_row_was_tried();
	forget(&rsa);
	forget(&ec);
}

static void its_peculiarity_is_dealt_with(void)
{
	under_test->peculiarity(under_test);
}

int matrix_run(struct matrix_token *token)
{
	int status;

	under_test = token;
	read_table(token->column);
	TEST(every_cell_is_as_the_table_says);
	if (token->peculiarity != NULL)
		TEST(its_peculiarity_is_dealt_with);
	stop_daemons();
	status = test_finish();
	if (status != 0)
		printf("%s, as it is here:\n%s", token->column, buf_text(&found));
	buf_clear(&found);
	return status;
}
