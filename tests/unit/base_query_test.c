/* The console's questions and the relay's answers: whole, cut at every octet, and with counts that lie. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/base/query.h"
#include "tests/unit/test.h"

static struct query a_question(void)
{
	struct query query = {.kind = QUERY_QUEUE, .limit = 20, .cursor = mem_string("17")};

	query_add(&query, "server", "default");
	query_add(&query, "to", "a@example.com");
	query_add(&query, "to", "b@example.com");
	return query;
}

static void a_question_comes_back(void)
{
	struct query query = a_question(), got;
	struct buf out = {0};
	struct msg msg;
	struct err err;

	query_encode(&out, &query);
	msg = msg_of(buf_bytes(&out));
	if (CHECK_OK(query_decode(&msg, &got, &err), &err)) {
		CHECK_INT(got.kind, QUERY_QUEUE);
		CHECK_INT(got.limit, 20);
		CHECK_TEXT(got.cursor, "17");
		CHECK_INT(got.n_arguments, 3);
		CHECK_TEXT(query_argument(&got, "to"), "a@example.com");
		CHECK_TEXT(got.arguments[2].value, "b@example.com");
		CHECK(query_argument(&got, "from") == NULL);
		query_clear(&got);
	}
	for (size_t len = 0; len < out.len; len++) {
		test_case("cut at %zu", len);
		msg = msg_of(bytes_of(out.data, len));
		CHECK(!query_decode(&msg, &got, &err));
	}
	query_clear(&query);
	buf_clear(&out);
}

static void rows_come_back(void)
{
	struct query_rows rows = {.n_columns = 2, .cursor = mem_string("next")}, got;
	struct buf out = {0};
	struct msg msg;
	struct err err;

	for (int i = 0; i < 1200; i++)
		query_cell(&rows, "cell %d", i);
	query_rows_encode(&out, &rows);
	msg = msg_of(buf_bytes(&out));
	if (CHECK_OK(query_rows_decode(&msg, &got, &err), &err)) {
		CHECK_INT(got.n_cells, 1200);
		CHECK_TEXT(got.cells[1199], "cell 1199");
		CHECK_TEXT(got.cursor, "next");
		query_rows_clear(&got);
	}
	for (size_t len = 0; len < 64; len++) {
		test_case("cut at %zu", len);
		msg = msg_of(bytes_of(out.data, len));
		CHECK(!query_rows_decode(&msg, &got, &err));
	}
	query_rows_clear(&rows);
	buf_clear(&out);
}

static void bad_counts_are_refused(void)
{
	static const struct {
		const char *what;
		uint32_t columns, cells, written;
	} cases[] = {
	    {"no columns", 0, 0, 0},
	    {"too many columns", QUERY_COLUMNS_MAX + 1, QUERY_COLUMNS_MAX + 1, QUERY_COLUMNS_MAX + 1},
	    {"half a row", 2, 3, 3},
	    {"more cells than octets", 1, 0xffffffff, 1},
	    {"fewer cells than octets", 1, 1, 2},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct buf out = {0};
		struct query_rows got;
		struct msg msg;
		struct err err;

		test_case("%s", cases[i].what);
		msg_put_u32(&out, cases[i].columns);
		msg_put_text(&out, "");
		msg_put_u32(&out, cases[i].cells);
		for (uint32_t c = 0; c < cases[i].written; c++)
			msg_put_text(&out, "x");
		msg = msg_of(buf_bytes(&out));
		CHECK(!query_rows_decode(&msg, &got, &err));
		buf_clear(&out);
	}
}

static void too_many_arguments_are_refused(void)
{
	struct query query = {.kind = QUERY_EXPLAIN}, got;
	struct buf out = {0};
	struct msg msg;
	struct err err;

	for (int i = 0; i <= QUERY_ARGUMENTS_MAX; i++)
		query_add(&query, "to", "a@example.com");
	query_encode(&out, &query);
	msg = msg_of(buf_bytes(&out));
	CHECK(!query_decode(&msg, &got, &err));
	query_clear(&query);
	buf_clear(&out);
}

int main(void)
{
	TEST(a_question_comes_back);
	TEST(rows_come_back);
	TEST(bad_counts_are_refused);
	TEST(too_many_arguments_are_refused);
	return test_finish();
}
