/* RFC 2047 as senders write it. */
#include "appliance/relay/mime/encoded_word.h"
#include "tests/unit/test.h"

static void decodes_words(void)
{
	static const struct {
		const char *value, *want;
	} cases[] = {
	    {"", ""},
	    {"plain text", "plain text"},
	    {"=?UTF-8?B?5pel5pys?=", "日本"},
	    {"=?utf-8?q?a=C3=A9_b?= c", "aé b c"},
	    {"=?utf-8*fr?q?=C3=A9?=", "é"},
	    {"=?ISO-2022-JP?B?GyRCRnxLXBsoQg==?=", "日本"},
	    {"=?iso-8859-1?Q?caf=E9?=", "café"},
	    {"=?utf-8?q?one?= =?utf-8?q?two?= three", "onetwo three"},
	    {"=?utf-8?b?5pel?= \t=?utf-8?q?=E6=9C=AC?=", "日本"},
	    {"=?utf-8?b?5g==?= =?utf-8?b?l6U=?=", "日"}, /* a character split between two words */
	    {"=?utf-8?q?a?= =?iso-8859-1?q?=E9?=", "aé"},
	    {"x=?utf-8?q?a?=y", "xay"},
	    {"=?utf-8?q?no end", "=?utf-8?q?no end"},
	    {"=?utf-8?x?abc?=", "=?utf-8?x?abc?="},
	    {"=?utf-8?q?a b?=", "=?utf-8?q?a b?="},
	    {"=?utf-8?b?!!?=", "=?utf-8?b?!!?="},
	    {"=?../../evil?q?a?=", "=?../../evil?q?a?="},
	    {"=?nonsense?q?a?=", "=?nonsense?q?a?="},
	    {"=?euc-jp?q?=FF=FF?=", "=?euc-jp?q?=FF=FF?="},
	    {"=?utf-8?q?"
	     "?=",
	     ""},
	    {"=?utf-8?q?=4?=", "=4"},
	    {"=?", "=?"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct buf out = {0};

		test_case("%s", cases[i].value);
		encoded_words_decode(&out, bytes_text(cases[i].value));
		CHECK_TEXT(buf_text(&out), cases[i].want);
		buf_clear(&out);
	}
}

/* Every cut of a value is a value. */
static void takes_any_cut(void)
{
	struct bytes value = bytes_text("a =?ISO-2022-JP?B?GyRCRnxLXBsoQg==?= =?utf-8?q?=C3=A9?= z");

	for (size_t from = 0; from < value.len; from++)
		for (size_t to = from; to <= value.len; to++) {
			struct buf out = {0};

			encoded_words_decode(&out, bytes_slice(value, from, to));
			CHECK(out.len <= to - from);
			buf_clear(&out);
		}
}

int main(void)
{
	TEST(decodes_words);
	TEST(takes_any_cut);
	return test_finish();
}
