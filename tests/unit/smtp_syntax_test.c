#include "appliance/relay/smtp/smtp_syntax.h"

#include "tests/unit/test.h"

static void knows_verbs_in_any_case(void)
{
	static const struct {
		const char *line;
		enum smtp_verb verb;
		const char *arguments;
	} cases[] = {
	    {"EHLO mail.example.com", SMTP_EHLO, "mail.example.com"},
	    {"ehlo x", SMTP_EHLO, "x"},
	    {"MaIl FROM:<a@b>", SMTP_MAIL, "FROM:<a@b>"},
	    {"RCPT  TO:<a@b>  ", SMTP_RCPT, "TO:<a@b>"},
	    {"DATA", SMTP_DATA, ""},
	    {"DATA ", SMTP_DATA, ""},
	    {"BDAT 10 LAST", SMTP_BDAT, "10 LAST"},
	    {"QUIT", SMTP_QUIT, ""},
	    {"AUTH PLAIN =", SMTP_AUTH, "PLAIN ="},
	    {"GET / HTTP/1.1", SMTP_HTTP, "/ HTTP/1.1"},
	    {"post /", SMTP_HTTP, "/"},
	    {"", SMTP_UNKNOWN, ""},
	    {" QUIT", SMTP_UNKNOWN, "QUIT"},
	    {"QUITE", SMTP_UNKNOWN, ""},
	    {"QUI", SMTP_UNKNOWN, ""},
	    {"MAIL\tFROM:<a@b>", SMTP_UNKNOWN, ""},
	    {"STARTTLS", SMTP_STARTTLS, ""},
	    {"XCLIENT ADDR=1.2.3.4", SMTP_UNKNOWN, "ADDR=1.2.3.4"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct bytes arguments;

		test_case("%s", cases[i].line);
		CHECK_INT(smtp_verb_of(bytes_text(cases[i].line), &arguments), cases[i].verb);
		CHECK_BYTES(arguments, bytes_text(cases[i].arguments));
	}
}

static void takes_any_one_word_as_a_name(void)
{
	static const struct {
		const char *in;
		bool good;
	} cases[] = {
	    {"mail.example.com", true},
	    {"[192.0.2.1]", true},
	    {"[IPv6:::1]", true},
	    {"MY_PC", true},
	    {"\x83\x70\x83\x5c", true},
	    {"a-b.", true},
	    {"", false},
	    {"two words", false},
	    {"a\tb", false},
	    {"a\x01", false},
	    {"a\x7f", false},
	};
	char longest[SMTP_HELLO_MAX_BYTES + 1];
	struct bytes name;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		test_case("%s", cases[i].in);
		CHECK_INT(smtp_parse_hello(bytes_text(cases[i].in), &name), cases[i].good);
	}
	for (size_t i = 0; i < sizeof longest; i++)
		longest[i] = 'x';
	CHECK(smtp_parse_hello(bytes_of(longest, sizeof longest - 1), &name));
	CHECK(!smtp_parse_hello(bytes_of(longest, sizeof longest), &name));
}

/* Shown as "address|KEYWORD=value|KEYWORD". */
static void show(struct buf *out, const struct smtp_path *path)
{
	buf_put_text(out, path->address);
	for (size_t i = 0; i < path->n_params; i++) {
		buf_put_byte(out, '|');
		buf_put_bytes(out, path->params[i].keyword);
		if (path->params[i].value.len > 0)
			buf_put_byte(out, '=');
		buf_put_bytes(out, path->params[i].value);
	}
}

static void reads_path_commands(void)
{
	static const struct {
		const char *in;
		enum smtp_path_command_result result;
		const char *shown;
		enum smtp_path_result why;
	} cases[] = {
	    {"FROM:<a@b>", SMTP_PATH_COMMAND_OK, "a@b", SMTP_PATH_OK},
	    {"from:<a@b>", SMTP_PATH_COMMAND_OK, "a@b", SMTP_PATH_OK},
	    {"FROM: <a@b>", SMTP_PATH_COMMAND_OK, "a@b", SMTP_PATH_OK},
	    {"FROM:a@b", SMTP_PATH_COMMAND_OK, "a@b", SMTP_PATH_OK},
	    {"FROM:<>", SMTP_PATH_COMMAND_OK, "", SMTP_PATH_OK},
	    {"FROM:<a@b> SIZE=10", SMTP_PATH_COMMAND_OK, "a@b|SIZE=10", SMTP_PATH_OK},
	    {"FROM:<a@b>  SIZE=10   BODY=8BITMIME ", SMTP_PATH_COMMAND_OK, "a@b|SIZE=10|BODY=8BITMIME", SMTP_PATH_OK},
	    {"FROM:<a@b> SMTPUTF8 AUTH=<>", SMTP_PATH_COMMAND_OK, "a@b|SMTPUTF8|AUTH=<>", SMTP_PATH_OK},
	    {"FROM:<a@b> X-Y=+3D", SMTP_PATH_COMMAND_OK, "a@b|X-Y=+3D", SMTP_PATH_OK},
	    {"FROM:<a@b> 1=1 2=2 3=3 4=4 5=5 6=6 7=7 8=8 9=9 a=a b=b c=c d=d e=e f=f g=g", SMTP_PATH_COMMAND_OK,
	     "a@b|1=1|2=2|3=3|4=4|5=5|6=6|7=7|8=8|9=9|a=a|b=b|c=c|d=d|e=e|f=f|g=g", SMTP_PATH_OK},

	    {"", SMTP_PATH_COMMAND_FORM, "", SMTP_PATH_OK},
	    {"FROM", SMTP_PATH_COMMAND_FORM, "", SMTP_PATH_OK},
	    {"FROM:", SMTP_PATH_COMMAND_FORM, "", SMTP_PATH_OK},
	    {"FROM: ", SMTP_PATH_COMMAND_FORM, "", SMTP_PATH_OK},
	    {"TO:<a@b>", SMTP_PATH_COMMAND_FORM, "", SMTP_PATH_OK},
	    {"<a@b>", SMTP_PATH_COMMAND_FORM, "", SMTP_PATH_OK},
	    {"FROM :<a@b>", SMTP_PATH_COMMAND_FORM, "", SMTP_PATH_OK},

	    {"FROM:<a>", SMTP_PATH_COMMAND_ADDRESS, "", SMTP_PATH_NO_DOMAIN},
	    {"FROM:<a@b", SMTP_PATH_COMMAND_ADDRESS, "", SMTP_PATH_SYNTAX},
	    {"FROM:<a@b>SIZE=1", SMTP_PATH_COMMAND_ADDRESS, "", SMTP_PATH_SYNTAX},
	    {"FROM:<\xe5\xb1\xb1@b>", SMTP_PATH_COMMAND_ADDRESS, "", SMTP_PATH_NEEDS_UTF8},

	    {"FROM:<a@b> SIZE=", SMTP_PATH_COMMAND_PARAM, "", SMTP_PATH_OK},
	    {"FROM:<a@b> =10", SMTP_PATH_COMMAND_PARAM, "", SMTP_PATH_OK},
	    {"FROM:<a@b> -X=1", SMTP_PATH_COMMAND_PARAM, "", SMTP_PATH_OK},
	    {"FROM:<a@b> X_Y=1", SMTP_PATH_COMMAND_PARAM, "", SMTP_PATH_OK},
	    {"FROM:<a@b> SIZE=1=2", SMTP_PATH_COMMAND_PARAM, "", SMTP_PATH_OK},
	    {"FROM:<a@b> X=\x7f", SMTP_PATH_COMMAND_PARAM, "", SMTP_PATH_OK},
	    {"FROM:<a@b> <c@d>", SMTP_PATH_COMMAND_PARAM, "", SMTP_PATH_OK},
	    {"FROM:<a@b> SIZE=1 size=2", SMTP_PATH_COMMAND_PARAM, "", SMTP_PATH_OK},
	    {"FROM:<a@b> 1=1 2=2 3=3 4=4 5=5 6=6 7=7 8=8 9=9 a=a b=b c=c d=d e=e f=f g=g h=h", SMTP_PATH_COMMAND_PARAM, "",
	     SMTP_PATH_OK},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct smtp_path path;
		enum smtp_path_result why = SMTP_PATH_OK;
		struct buf shown = {0};
		enum smtp_path_command_result result;

		test_case("%s", cases[i].in);
		result = smtp_parse_path_command(bytes_text(cases[i].in), "FROM:", SMTP_PATH_NULL, &path, &why);
		CHECK_INT(result, cases[i].result);
		CHECK_INT(why, cases[i].why);
		if (result == SMTP_PATH_COMMAND_OK)
			show(&shown, &path);
		CHECK_TEXT(buf_text(&shown), cases[i].shown);
		buf_clear(&shown);
	}
}

static void reads_numbers(void)
{
	static const struct {
		const char *in;
		bool good;
		uint64_t value;
	} cases[] = {
	    {"0", true, 0},
	    {"52428800", true, 52428800},
	    {"00000000000000000010", true, 10},
	    {"18446744073709551615", true, UINT64_MAX},
	    {"18446744073709551616", false, 0},
	    {"99999999999999999999", false, 0},
	    {"000000000000000000010", false, 0},
	    {"", false, 0},
	    {"-1", false, 0},
	    {"+1", false, 0},
	    {"1k", false, 0},
	    {" 1", false, 0},
	    {"0x10", false, 0},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		uint64_t value = 0;

		test_case("%s", cases[i].in);
		CHECK_INT(smtp_parse_number(bytes_text(cases[i].in), &value), cases[i].good);
		CHECK_INT(value, cases[i].value);
	}
}

static void reads_bdat(void)
{
	static const struct {
		const char *in;
		bool good, last;
		uint64_t octets;
	} cases[] = {
	    {"10", true, false, 10},	    {"0 LAST", true, true, 0},	{"7 last", true, true, 7},
	    {"", false, false, 99},	    {"LAST", false, false, 99}, {"10 LAST x", false, false, 99},
	    {"10 FIRST", false, false, 99}, {"-1", false, false, 99},	{"10LAST", false, false, 99},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		uint64_t octets = 99;
		bool last = false;

		test_case("%s", cases[i].in);
		CHECK_INT(smtp_parse_bdat(bytes_text(cases[i].in), &octets, &last), cases[i].good);
		CHECK_INT(octets, cases[i].octets);
		CHECK_INT(last, cases[i].last);
	}
}

static void reads_auth(void)
{
	static const struct {
		const char *in;
		bool good;
		const char *mechanism, *initial;
	} cases[] = {
	    {"PLAIN", true, "PLAIN", ""}, {"LOGIN abc=", true, "LOGIN", "abc="}, {"PLAIN =", true, "PLAIN", "="},
	    {"", false, "", ""},	  {"PLAIN a b", false, "", ""},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct bytes mechanism = {0}, initial = {0};

		test_case("%s", cases[i].in);
		CHECK_INT(smtp_parse_auth(bytes_text(cases[i].in), &mechanism, &initial), cases[i].good);
		CHECK_BYTES(mechanism, bytes_text(cases[i].mechanism));
		CHECK_BYTES(initial, bytes_text(cases[i].initial));
	}
}

int main(void)
{
	TEST(knows_verbs_in_any_case);
	TEST(takes_any_one_word_as_a_name);
	TEST(reads_path_commands);
	TEST(reads_numbers);
	TEST(reads_bdat);
	TEST(reads_auth);
	return test_finish();
}
