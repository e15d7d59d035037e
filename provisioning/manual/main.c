/*
 * Makes man pages from the console's tables, for the Makefile: `settings` writes inkan.conf(5); `commands PAGE` writes
 * inkan(8) out of PAGE, with the list of commands where its line `.\" COMMANDS` is.
 */
#include <stdio.h>
#include <string.h>

#include "provisioning/console/input.h"
#include "provisioning/manual/mdoc.h"

#define PAGE_MAX_BYTES (1 << 20)
#define MARK ".\\\" COMMANDS\n"

static bool put_page(struct buf *out, const char *path, struct err *err)
{
	struct buf page = {0};
	const char *mark;
	bool fine = input_file(path, "a man page", PAGE_MAX_BYTES, &page, err);

	mark = fine ? strstr(buf_text(&page), MARK) : NULL;
	if (fine && mark == NULL)
		fine = err_set(err, ERR_INVALID, "%s has no line %s", path, MARK);
	if (fine) {
		size_t at = (size_t)(mark - (const char *)page.data);

		buf_put_bytes(out, bytes_slice(buf_bytes(&page), 0, at));
		mdoc_put_commands(out);
		buf_put_bytes(out, bytes_slice(buf_bytes(&page), at + strlen(MARK), page.len));
	}
	buf_clear(&page);
	return fine;
}

int main(int argc, char **argv)
{
	struct buf out = {0};
	struct err err;
	bool done = true;

	if (argc == 2 && strcmp(argv[1], "settings") == 0) {
		mdoc_put_settings_page(&out);
	} else if (argc == 3 && strcmp(argv[1], "commands") == 0) {
		done = put_page(&out, argv[2], &err);
	} else {
		fputs("usage: inkan-manual settings | commands PAGE\n", stderr);
		return 2;
	}
	if (!done)
		fprintf(stderr, "inkan-manual: %s\n", err.text);
	done = done && fwrite(out.data, 1, out.len, stdout) == out.len && fflush(stdout) == 0;
	buf_clear(&out);
	return done ? 0 : 1;
}
