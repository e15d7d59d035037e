/* How many rows a line takes, which says when the screen is full. */
#include "provisioning/console/pager.h"
#include "tests/unit/test.h"

static void a_line_takes_the_rows_that_the_terminal_gives_it(void)
{
	static const struct {
		const char *line;
		unsigned columns, rows;
	} cases[] = {
	    {"", 80, 1},
	    {"short", 80, 1},
	    {"12345678901234567890", 20, 1},
	    {"123456789012345678901", 20, 2},
	    {"\xe5\x8d\xb0\xe9\x91\x91", 20, 1},
	    {"\t\t12345", 20, 2},
	    {"1\t2", 9, 1},
	    {"1234567890123456789012345678901234567890x", 20, 3},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		test_case("\"%s\" on %u", cases[i].line, cases[i].columns);
		CHECK_INT(pager_line_rows(bytes_text(cases[i].line), cases[i].columns), cases[i].rows);
	}
}

int main(void)
{
	TEST(a_line_takes_the_rows_that_the_terminal_gives_it);
	return test_finish();
}
