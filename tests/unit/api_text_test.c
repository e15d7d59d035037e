#include <stdlib.h>
#include <string.h>

#include "appliance/relay/api/form.h"
#include "appliance/relay/api/header_text.h"
#include "tests/unit/test.h"

static void utf8_is_told_from_what_is_not(void)
{
	static const struct {
		const char *octets;
		size_t len;
		bool valid;
	} cases[] = {
	    {"", 0, true},
	    {"abc", 3, true},
	    {"\0", 1, true},
	    {"\xc2\xa5", 2, true},
	    {"\xe3\x81\x82", 3, true},
	    {"\xf0\x9f\x98\x80", 4, true},
	    {"\xf4\x8f\xbf\xbf", 4, true},
	    {"\x80", 1, false},
	    {"\xc0\xaf", 2, false}, /* overlong */
	    {"\xe0\x80\xaf", 3, false},
	    {"\xf0\x80\x80\xaf", 4, false},
	    {"\xed\xa0\x80", 3, false}, /* a surrogate */
	    {"\xf4\x90\x80\x80", 4, false}, /* above U+10FFFF */
	    {"\xf8\x88\x80\x80\x80", 5, false},
	    {"\xe3\x81", 2, false}, /* cut short */
	    {"a\xe3", 2, false},
	    {"\xe3\x41\x82", 3, false},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		test_case("%zu", i);
		CHECK_INT(utf8_is_valid(bytes_of(cases[i].octets, cases[i].len)), cases[i].valid);
	}
}

static void japanese_is_written_in_jis(void)
{
	static const struct {
		const char *utf8, *jis; /* NULL: the set lacks a character */
	} cases[] = {
	    {"plain", "plain"},
	    {"あ", "\x1b$B$\"\x1b(B"},
	    {"aあb", "a\x1b$B$\"\x1b(Bb"},
	    {"ｱ", "\x1b$B%\"\x1b(B"}, /* half-width: as full-width */
	    {"ｶﾞﾊﾟｳﾞ", "\x1b$B%,%Q%t\x1b(B"}, /* sound marks joined */
	    {"ｱﾞ", "\x1b$B%\"!+\x1b(B"}, /* one that cannot be */
	    {"～", "\x1b$B!A\x1b(B"}, /* FULLWIDTH TILDE */
	    {"－", "\x1b$B!]\x1b(B"},
	    {"①", NULL},
	    {"😀", NULL},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct buf adapted = {0}, out = {0};
		struct err err = {0};

		test_case("%s", cases[i].utf8);
		buf_put_text(&out, "x");
		charset_adapt(&adapted, CHARSET_ISO_2022_JP, bytes_text(cases[i].utf8));
		if (CHECK_INT(charset_convert(&out, CHARSET_ISO_2022_JP, buf_bytes(&adapted), &err), cases[i].jis != NULL) &&
		    cases[i].jis != NULL)
			CHECK_BYTES(bytes_slice(buf_bytes(&out), 1, out.len), bytes_text(cases[i].jis));
		if (cases[i].jis == NULL) {
			CHECK_INT(out.len, 1);
			CHECK_CONTAINS(err.text, "ISO-2022-JP has no character U+");
		}
		buf_clear(&adapted);
		buf_clear(&out);
	}
}

static void check_lines(const char *field)
{
	for (const char *line = field; *line != '\0'; line += strcspn(line, "\n") + 1)
		CHECK(strcspn(line, "\r") <= HEADER_LINE_COLUMNS);
}

static void text_fields_are_folded_and_encoded(void)
{
	static const struct {
		const char *text, *field;
	} cases[] = {
	    {"hello", "Subject: hello\r\n"},
	    {"two  blanks", "Subject: two  blanks\r\n"},
	    {"=?x?=", "Subject: =?UTF-8?B?PT94Pz0=?=\r\n"},
	    {" led", "Subject: =?UTF-8?B?IGxlZA==?=\r\n"},
	    {"あ", "Subject: =?UTF-8?B?44GC?=\r\n"},
	    {"a long subject that does not fit on one line of seventy-six columns and is folded",
	     "Subject: a long subject that does not fit on one line of seventy-six columns\r\n and is folded\r\n"},
	};
	char *longest = mem_new(3 * 400 + 1);
	struct buf out = {0};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		test_case("%s", cases[i].text);
		buf_reset(&out);
		CHECK(header_put_text(&out, "Subject", CHARSET_UTF8, cases[i].text, NULL));
		CHECK_TEXT(buf_text(&out), cases[i].field);
	}
	for (size_t i = 0; i < 400; i++)
		memcpy(longest + 3 * i, i % 7 == 0 ? "abc" : "漢", 3);
	for (enum charset charset = CHARSET_UTF8; charset <= CHARSET_ISO_2022_JP; charset++) {
		test_case("long, %s", charset_name(charset));
		buf_reset(&out);
		CHECK(header_put_text(&out, "X-Long", charset, longest, NULL));
		check_lines(buf_text(&out));
	}
	free(longest);
	buf_clear(&out);
}

static void mailboxes_are_written_as_readers_parse_them(void)
{
	static const struct {
		const char *name, *address, *field;
	} cases[] = {
	    {"", "a@b.example", "To: a@b.example\r\n"},
	    {"Taro Yamada", "a@b.example", "To: Taro Yamada <a@b.example>\r\n"},
	    {"Yamada, Taro", "a@b.example", "To: \"Yamada, Taro\" <a@b.example>\r\n"},
	    {"q\"\\", "a@b.example", "To: \"q\\\"\\\\\" <a@b.example>\r\n"},
	    {"山田", "a@b.example", "To: =?UTF-8?B?5bGx55Sw?= <a@b.example>\r\n"},
	    {"", "a..b@docomo.ne.jp", "To: \"a..b\"@docomo.ne.jp\r\n"},
	    {"", "\"a b\"@b.example", "To: \"a b\"@b.example\r\n"},
	};
	struct header_mailbox many[30];
	struct buf out = {0};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct header_mailbox box = {(char *)(uintptr_t)cases[i].name, (char *)(uintptr_t)cases[i].address};

		test_case("%s <%s>", cases[i].name, cases[i].address);
		buf_reset(&out);
		CHECK(header_put_mailboxes(&out, "To", CHARSET_UTF8, &box, 1, NULL));
		CHECK_TEXT(buf_text(&out), cases[i].field);
	}
	for (size_t i = 0; i < 30; i++)
		many[i] =
		    (struct header_mailbox){(char *)(uintptr_t) "受信者の名前", (char *)(uintptr_t) "somebody@example.co.jp"};
	buf_reset(&out);
	CHECK(header_put_mailboxes(&out, "To", CHARSET_ISO_2022_JP, many, 30, NULL));
	check_lines(buf_text(&out));
	buf_clear(&out);
}

static void parameters_are_cut_into_sections(void)
{
	struct buf out = {0};

	header_put_parameter(&out, "filename", "report.pdf");
	CHECK_TEXT(buf_text(&out), ";\r\n filename=\"report.pdf\"");
	buf_reset(&out);
	header_put_parameter(&out, "filename", "見.txt");
	CHECK_TEXT(buf_text(&out), ";\r\n filename*=UTF-8''%E8%A6%8B.txt");
	buf_reset(&out);
	header_put_parameter(&out, "filename", "とても長いファイルの名前です.txt");
	CHECK_CONTAINS(buf_text(&out), ";\r\n filename*0*=UTF-8''%E3%81%A8");
	CHECK_CONTAINS(buf_text(&out), ";\r\n filename*1*=%E3");
	check_lines(buf_text(&out) + 3);
	buf_clear(&out);
}

static void forms_are_decoded(void)
{
	static const struct {
		const char *body, *name, *value; /* value NULL: refused, name: what the error says */
	} cases[] = {
	    {"a=b", "a", "b"},
	    {"a=b&c=d", "c", "d"},
	    {"a=b+c%2b%3D%E3%81%82", "a", "b c+=あ"},
	    {"a=1&a=2", "a", "2"},
	    {"&&a=1&&", "a", "1"},
	    {"a", "a", ""},
	    {"a=", "a", ""},
	    {"a=b=c", "a", "b=c"},
	    {"a=%", "is not percent-encoded", NULL},
	    {"a=%4", "is not percent-encoded", NULL},
	    {"a=%zz", "is not percent-encoded", NULL},
	    {"a=%ff", "a is not UTF-8", NULL},
	    {"%ff=a", "name of a field", NULL},
	    {"a%00b=a", "name of a field", NULL},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		json_t *object = json_object();
		struct err err = {0};
		bool decoded = form_decode(object, bytes_text(cases[i].body), &err);

		test_case("%s", cases[i].body);
		if (CHECK_INT(decoded, cases[i].value != NULL) && decoded)
			CHECK_TEXT(json_string_value(json_object_get(object, cases[i].name)), cases[i].value);
		else if (!decoded)
			CHECK_CONTAINS(err.text, cases[i].name);
		json_decref(object);
	}
}

int main(void)
{
	TEST(utf8_is_told_from_what_is_not);
	TEST(japanese_is_written_in_jis);
	TEST(text_fields_are_folded_and_encoded);
	TEST(mailboxes_are_written_as_readers_parse_them);
	TEST(parameters_are_cut_into_sections);
	TEST(forms_are_decoded);
	return test_finish();
}
