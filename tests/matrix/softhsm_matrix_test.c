/* SoftHSM 2.6.1. It is lost by its token directory being elsewhere for a while. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/matrix/matrix.h"
#include "tests/unit/test.h"

static char *tokens, *elsewhere;

static void lose(void)
{
	matrix_must(rename(tokens, elsewhere) == 0, "rename");
}

static void restore(void)
{
	matrix_must(rename(elsewhere, tokens) == 0, "rename");
}

int main(void)
{
	const char *directory = test_directory();
	char *configuration = mem_format("%s/softhsm2.conf", directory);
	struct matrix_token token = {.column = "SoftHSM 2.6.1",
				     .module = "/usr/lib/softhsm/libsofthsm2.so",
				     .so_pin = MATRIX_SO_PIN,
				     .lose = lose,
				     .restore = restore};
	char *text;

	tokens = mem_format("%s/tokens", directory);
	elsewhere = mem_format("%s/elsewhere", directory);
	text = mem_format("directories.tokendir = %s\nlog.level = ERROR\n", tokens);
	matrix_must(test_write_file(configuration, bytes_text(text)), configuration);
	matrix_command(mem_format("mkdir %s", tokens));
	token.environment[0] = mem_format("SOFTHSM2_CONF=%s", configuration);
	token.writable[0] = mem_string(directory);
	return matrix_run(&token);
}
