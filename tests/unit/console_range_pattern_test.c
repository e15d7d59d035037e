/* A pattern of a range takes its numbers and no other. */
#include <regex.h>
#include <stdio.h>

#include "provisioning/console/range_pattern.h"
#include "tests/unit/test.h"

static bool takes(const regex_t *expression, unsigned long long number)
{
	char text[24];

	snprintf(text, sizeof text, "%llu", number);
	return regexec(expression, text, 0, NULL, 0) == 0;
}

static void compile(regex_t *expression, unsigned long long least, unsigned long long most)
{
	struct buf pattern = {0}, whole = {0};

	range_pattern(&pattern, least, most);
	buf_printf(&whole, "^(%s)$", buf_text(&pattern));
	test_case("%s", buf_text(&whole));
	CHECK(regcomp(expression, buf_text(&whole), REG_EXTENDED | REG_NOSUB) == 0);
	buf_clear(&pattern);
	buf_clear(&whole);
}

static void small_ranges_take_their_numbers_alone(void)
{
	static const unsigned ends[] = {0,   1,	  2,   8,   9,	 10,  11,  19,	20,  65,   99,
					100, 101, 109, 110, 198, 199, 200, 255, 999, 1000, 1024};

	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		for (size_t j = i; j < sizeof ends / sizeof *ends; j++) {
			unsigned wrong = 0;
			regex_t expression;

			compile(&expression, ends[i], ends[j]);
			for (unsigned number = 0; number <= 1100; number++)
				wrong += takes(&expression, number) != (number >= ends[i] && number <= ends[j]);
			regfree(&expression);
			CHECK_INT(wrong, 0);
		}
	}
}

static void wide_ranges_end_where_they_should(void)
{
	static const unsigned long long ends[][2] = {{1, 65535}, {0, 1000000}, {10, 100000}, {100, 10000000}, {1024, 2147483648}};

	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		regex_t expression;

		compile(&expression, ends[i][0], ends[i][1]);
		CHECK(takes(&expression, ends[i][0]) && takes(&expression, ends[i][1]));
		CHECK(!takes(&expression, ends[i][1] + 1) && !takes(&expression, ends[i][1] * 10));
		CHECK(ends[i][0] == 0 || !takes(&expression, ends[i][0] - 1));
		for (unsigned long long at = ends[i][0]; at <= ends[i][1]; at += ends[i][1] / 997)
			CHECK(takes(&expression, at));
		regfree(&expression);
	}
}

int main(void)
{
	TEST(small_ranges_take_their_numbers_alone);
	TEST(wide_ranges_end_where_they_should);
	return test_finish();
}
