#include "appliance/relay/smtp/smtp_reply.h"

#include <string.h>

#include "appliance/relay/smtp/smtp_limits.h"
#include "tests/unit/test.h"

static void every_row_is_there_and_says_what_it_means(void)
{
	for (int i = SMTP_REPLY_NONE + 1; i < SMTP_REPLIES; i++) {
		const struct smtp_reply_row *row = smtp_reply_row((enum smtp_reply)i);

		test_case("row %d: %d %s", i, row->code, row->text == NULL ? "" : row->text);
		if (!CHECK(row->enhanced != NULL && row->text != NULL))
			continue;
		CHECK(row->code >= 200 && row->code <= 599);
		CHECK((*row->enhanced == '\0') == (row->code / 100 == 3)); /* RFC 2034 §3: none with 3xx */
		if (*row->enhanced != '\0')
			CHECK_INT(row->enhanced[0] - '0', row->code / 100);
		if (*row->text != '\0')
			CHECK(row->text[strlen(row->text) - 1] != '.');
		for (const char *c = row->text; *c != '\0'; c++)
			CHECK(*c >= ' ' && *c <= '~');
	}
}

static void no_two_rows_are_alike(void)
{
	for (int i = SMTP_REPLY_NONE + 1; i < SMTP_REPLIES; i++) {
		const struct smtp_reply_row *a = smtp_reply_row((enum smtp_reply)i);

		for (int j = i + 1; j < SMTP_REPLIES; j++) {
			const struct smtp_reply_row *b = smtp_reply_row((enum smtp_reply)j);

			test_case("rows %d and %d", i, j);
			CHECK(a->code != b->code || strcmp(a->enhanced, b->enhanced) != 0 || strcmp(a->text, b->text) != 0);
		}
	}
}

static void every_reply_fits_a_line(void)
{
	for (int i = SMTP_REPLY_NONE + 1; i < SMTP_REPLIES; i++) {
		struct buf out = {0};

		smtp_reply_put(&out, (enum smtp_reply)i);
		CHECK(out.len <= SMTP_REPLY_LINE_MAX_BYTES && out.len >= 6);
		CHECK_TEXT(buf_text(&out) + out.len - 2, "\r\n");
		CHECK(out.data[3] == ' ');
		buf_clear(&out);
	}
}

static void writes_code_enhanced_code_and_text(void)
{
	static const struct {
		int code;
		const char *enhanced, *text, *line;
	} cases[] = {
	    {250, "2.0.0", "Ok: queued as 1f", "250 2.0.0 Ok: queued as 1f\r\n"},
	    {451, "", "S/MIME certificate is expired", "451 S/MIME certificate is expired\r\n"},
	    {554, "5.6.3", "two\r\nlines", "554 5.6.3 two??lines\r\n"},
	    {554, "5.6.3", "\xe5\xb1\xb1\x7f", "554 5.6.3 ????\r\n"},
	    {334, "", "", "334 \r\n"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct buf out = {0};

		smtp_reply_put_text(&out, cases[i].code, cases[i].enhanced, cases[i].text);
		CHECK_TEXT(buf_text(&out), cases[i].line);
		buf_clear(&out);
	}
}

static void cuts_a_long_text_at_the_limit_of_a_line(void)
{
	char text[2000];
	struct buf out = {0};

	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	buf_put_text(&out, "250 2.0.0 Ok\r\n"); /* what stands before does not count */
	smtp_reply_put_text(&out, 550, "5.7.1", text);
	CHECK_INT(out.len, 14 + SMTP_REPLY_LINE_MAX_BYTES);
	CHECK_TEXT(buf_text(&out) + out.len - 3, "x\r\n");
	buf_clear(&out);
}

static void closes_with_421_and_521_alone(void)
{
	CHECK(smtp_reply_closes(SMTP_REPLY_IDLE));
	CHECK(smtp_reply_closes(SMTP_REPLY_BDAT_SYNTAX));
	CHECK(!smtp_reply_closes(SMTP_REPLY_BYE));
	CHECK(!smtp_reply_closes(SMTP_REPLY_STORE_FULL));
}

static void blames_the_client_for_its_own_faults_alone(void)
{
	CHECK(smtp_reply_blames(SMTP_REPLY_UNKNOWN_COMMAND));
	CHECK(smtp_reply_blames(SMTP_REPLY_AUTH_WRONG));
	CHECK(smtp_reply_blames(SMTP_REPLY_RELAYING_DENIED));
	CHECK(!smtp_reply_blames(SMTP_REPLY_OK));
	CHECK(!smtp_reply_blames(SMTP_REPLY_RECIPIENT_SYNTAX)); /* one of a thousand in somebody's list */
	CHECK(!smtp_reply_blames(SMTP_REPLY_RECIPIENTS));
	CHECK(!smtp_reply_blames(SMTP_REPLY_TOO_LARGE));
}

int main(void)
{
	TEST(every_row_is_there_and_says_what_it_means);
	TEST(no_two_rows_are_alike);
	TEST(every_reply_fits_a_line);
	TEST(writes_code_enhanced_code_and_text);
	TEST(cuts_a_long_text_at_the_limit_of_a_line);
	TEST(closes_with_421_and_521_alone);
	TEST(blames_the_client_for_its_own_faults_alone);
	return test_finish();
}
