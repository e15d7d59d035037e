/*
 * Runs one fuzzer on the inputs that are kept of it, without libFuzzer: tests/fuzz/corpus/NAME.txt, an input a line, as
 * tests/fuzz/corpus/pack writes it (printable ASCII as it is, `\n`, `\r`, `\\`, any other octet as `\xHH`; `#` begins a comment).
 * An input at which the program ends is named on standard error.
 */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

static char place[512]; /* "FILE:LINE", for the handler */

static void on_fault(int number)
{
	static const char text[] = "FAIL at the input in ";

	(void)!write(STDERR_FILENO, text, sizeof text - 1);
	(void)!write(STDERR_FILENO, place, strlen(place));
	(void)!write(STDERR_FILENO, "\n", 1);
	signal(number, SIG_DFL);
	raise(number);
}

static int hex_value(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *found = c == '\0' ? NULL : strchr(digits, c);

	return found == NULL ? -1 : (int)(found - digits);
}

/* False: no line that pack writes. */
static bool unescape(const char *line, struct buf *input)
{
	for (; *line != '\0' && *line != '\n'; line++) {
		if (*line != '\\') {
			buf_put_byte(input, (uint8_t)*line);
			continue;
		}
		line++;
		if (*line == 'x' && hex_value(line[1]) >= 0 && hex_value(line[2]) >= 0) {
			buf_put_byte(input, (uint8_t)(hex_value(line[1]) << 4 | hex_value(line[2])));
			line += 2;
		} else if (*line == 'n' || *line == 'r' || *line == '\\') {
			buf_put_byte(input, *line == 'n' ? '\n' : *line == 'r' ? '\r' : '\\');
		} else {
			return false;
		}
	}
	return true;
}

static bool replay(const char *line)
{
	struct buf input = {0};
	bool fine = unescape(line, &input);

	if (fine)
		LLVMFuzzerTestOneInput(input.data, input.len);
	else
		fprintf(stderr, "FAIL %s: not what tests/fuzz/corpus/pack writes\n", place);
	buf_clear(&input);
	return fine;
}

/* "…/mime_scan_replay" is of tests/fuzz/corpus/mime_scan.txt; tests run in the top of the tree. */
static FILE *open_corpus(const char *program, const char *argument, char name[256])
{
	const char *base = strrchr(program, '/') != NULL ? strrchr(program, '/') + 1 : program;
	FILE *file;

	snprintf(name, 256, "tests/fuzz/corpus/%.*s.txt", (int)(strlen(base) - strlen("_replay")), base);
	if (argument != NULL)
		snprintf(name, 256, "%s", argument);
	file = fopen(name, "r");
	if (file == NULL)
		perror(name);
	return file;
}

int main(int argc, char **argv)
{
	char name[256], *line = NULL;
	FILE *file = open_corpus(argv[0], argc > 1 ? argv[1] : NULL, name);
	unsigned number = 0, passed = 0, failed = 0;
	size_t room = 0;

	if (file == NULL)
		return 1;
	signal(SIGABRT, on_fault);
	signal(SIGSEGV, on_fault);
	signal(SIGBUS, on_fault);
	signal(SIGFPE, on_fault);
	while (getline(&line, &room, file) > 0) {
		snprintf(place, sizeof place, "%s:%u", name, ++number);
		if (line[0] == '#')
			continue;
		if (replay(line))
			passed++;
		else
			failed++;
	}
	free(line);
	fclose(file);
	printf("%u inputs\n%d passed, %d failed\n", passed, failed == 0 && passed > 0, failed > 0 || passed == 0);
	return failed > 0 || passed == 0;
}
