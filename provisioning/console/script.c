#include "provisioning/console/script.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "provisioning/console/prompt.h"

/* 0, or the exit code of the fault, which is then printed. */
static int run_line(struct console *console, const char *line, const char *name, size_t number)
{
	struct fault fault;
	char *where;

	if (console_run_line(console, line, &fault))
		return EXIT_OK;
	where = mem_format("%s:%zu: ", name, number);
	fault_print(&fault, line, where, console->messages);
	free(where);
	return fault.exit_code;
}

int script_run_commands(struct console *console, const char *const *lines, size_t count)
{
	int code = EXIT_OK;

	for (size_t i = 0; code == EXIT_OK && !console->ended && i < count; i++)
		code = run_line(console, lines[i], "-c", i + 1);
	return code;
}

int script_run_file(struct console *console, const char *path)
{
	FILE *file = fopen(path, "re");
	char *line = NULL;
	size_t size = 0, number = 0;
	int code = EXIT_OK;

	if (file == NULL) {
		console_say(console, "inkan: %s: %s", path, strerror(errno));
		return EXIT_USAGE;
	}
	while (code == EXIT_OK && !console->ended && getline(&line, &size, file) > 0) {
		line[strcspn(line, "\r\n")] = '\0';
		code = run_line(console, line, path, ++number);
	}
	if (ferror(file)) {
		console_say(console, "inkan: %s: %s", path, strerror(errno));
		code = EXIT_ERROR;
	}
	free(line);
	fclose(file);
	return code;
}

int script_run_input(struct console *console)
{
	struct buf line = {0};
	size_t number = 0;
	int code = EXIT_OK;

	while (code == EXIT_OK && !console->ended && prompt_read_line(&line)) {
		code = run_line(console, buf_text(&line), "stdin", ++number);
		buf_reset(&line);
	}
	buf_clear(&line);
	return code;
}
