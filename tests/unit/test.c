#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *current_test = "";
static char current_case[256];
static unsigned failures_here, passed, failed;
static char *directories[256];
static size_t n_directories;

void test_run(const char *name, void (*function)(void))
{
	current_test = name;
	current_case[0] = '\0';
	failures_here = 0;
	function();
	printf("%s %s\n", failures_here == 0 ? "ok" : "FAIL", name);
	fflush(stdout);
	if (failures_here == 0)
		passed++;
	else
		failed++;
}

static void (*child_function)(void);
static unsigned child_seconds;

static void run_child(void)
{
	int status = -1;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		alarm(child_seconds);
		child_function();
		fflush(NULL);
		_exit(failures_here > 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		perror("fork");
	if (WIFSIGNALED(status))
		fprintf(stderr, "%s: ended by signal %d (%s)\n", current_test, WTERMSIG(status), strsignal(WTERMSIG(status)));
	if (status != 0)
		failures_here++;
}

void test_run_in_child(const char *name, void (*function)(void), unsigned seconds)
{
	child_function = function;
	child_seconds = seconds;
	test_run(name, run_child);
}

void test_case(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(current_case, sizeof current_case, format, args);
	va_end(args);
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
	(void)status;
	(void)type;
	(void)ftw;
	return remove(path);
}

int test_finish(void)
{
	for (size_t i = 0; i < n_directories; i++) {
		nftw(directories[i], remove_entry, 16, FTW_DEPTH | FTW_PHYS);
		free(directories[i]);
	}
	printf("%u passed, %u failed\n", passed, failed);
	return failed > 0 || passed == 0;
}

static void fail(const char *file, int line, const char *text)
{
	failures_here++;
	fprintf(stderr, "%s:%d: %s%s%s%s: %s", file, line, current_test, current_case[0] != '\0' ? " [" : "", current_case,
		current_case[0] != '\0' ? "]" : "", text);
}

bool test_check(bool condition, const char *file, int line, const char *text)
{
	if (!condition) {
		fail(file, line, text);
		fputs(" is false\n", stderr);
	}
	return condition;
}

bool test_check_ok(bool ok, const struct err *err, const char *file, int line, const char *text)
{
	if (!ok) {
		fail(file, line, text);
		fprintf(stderr, " failed (%s): %s\n", err_code_name(err->code), err->text);
	}
	return ok;
}

bool test_check_int(int64_t got, int64_t want, const char *file, int line, const char *text)
{
	if (got != want) {
		fail(file, line, text);
		fprintf(stderr, " is %lld, not %lld\n", (long long)got, (long long)want);
	}
	return got == want;
}

static void print_octets(struct bytes octets)
{
	fputc('"', stderr);
	for (size_t i = 0; i < octets.len && i < 400; i++) {
		uint8_t c = octets.data[i];

		if (c == '\n')
			fputs("\\n", stderr);
		else if (c == '\r')
			fputs("\\r", stderr);
		else if (c < 0x20 || c >= 0x7f || c == '"')
			fprintf(stderr, "\\x%02x", c);
		else
			fputc(c, stderr);
	}
	fprintf(stderr, "\" (%zu octets)", octets.len);
}

bool test_check_bytes(struct bytes got, struct bytes want, const char *file, int line, const char *text)
{
	bool same = bytes_equal(got, want);

	if (!same) {
		fail(file, line, text);
		fputs(" is ", stderr);
		print_octets(got);
		fputs(", not ", stderr);
		print_octets(want);
		fputc('\n', stderr);
	}
	return same;
}

bool test_check_text(const char *got, const char *want, const char *file, int line, const char *text)
{
	if (got == NULL || want == NULL)
		return test_check(got == want, file, line, text);
	return test_check_bytes(bytes_text(got), bytes_text(want), file, line, text);
}

bool test_check_contains(const char *got, const char *part, const char *file, int line, const char *text)
{
	bool found = got != NULL && strstr(got, part) != NULL;

	if (!found) {
		fail(file, line, text);
		fprintf(stderr, " is \"%s\" and does not contain \"%s\"\n", got == NULL ? "(null)" : got, part);
	}
	return found;
}

const char *test_directory(void)
{
	const char *parent = getenv("TMPDIR");
	char *path = mem_format("%s/inkan-test-XXXXXX", parent != NULL ? parent : "/tmp");

	if (n_directories == sizeof directories / sizeof *directories || mkdtemp(path) == NULL) {
		perror("test_directory");
		exit(1);
	}
	directories[n_directories++] = path;
	return path;
}

bool test_read_file(const char *path, struct buf *out)
{
	FILE *file = fopen(path, "rb");
	char chunk[65536];
	size_t got;

	if (file == NULL)
		return false;
	while ((got = fread(chunk, 1, sizeof chunk, file)) > 0)
		buf_put(out, chunk, got);
	fclose(file);
	return true;
}

bool test_write_file(const char *path, struct bytes octets)
{
	FILE *file = fopen(path, "wb");
	bool written;

	if (file == NULL)
		return false;
	written = fwrite(octets.data, 1, octets.len, file) == octets.len;
	return fclose(file) == 0 && written;
}

const char *test_shared(void)
{
	static char found[4096];
	char here[2048];
	struct stat status;
	const char *named = getenv("INKAN_SHARED");

	if (named != NULL)
		return named;
	if (getcwd(here, sizeof here) == NULL)
		return NULL;
	for (char *slash = here + strlen(here); slash != NULL; slash = strrchr(here, '/')) {
		*slash = '\0';
		snprintf(found, sizeof found, "%s/shared", here);
		if (stat(found, &status) == 0 && S_ISDIR(status.st_mode))
			return found;
	}
	return NULL;
}
