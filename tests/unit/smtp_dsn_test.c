/* The parameters of delivery status notifications. */
#include <string.h>

#include "appliance/relay/smtp/smtp_dsn.h"
#include "tests/unit/test.h"

static void reads_notify(void)
{
	static const struct {
		const char *value;
		uint32_t notify; /* 0: refused */
	} cases[] = {
	    {"NEVER", QUEUE_NOTIFY_NEVER},
	    {"never", QUEUE_NOTIFY_NEVER},
	    {"SUCCESS", QUEUE_NOTIFY_SUCCESS},
	    {"failure,DELAY", QUEUE_NOTIFY_FAILURE | QUEUE_NOTIFY_DELAY},
	    {"SUCCESS,FAILURE,DELAY", QUEUE_NOTIFY_SUCCESS | QUEUE_NOTIFY_FAILURE | QUEUE_NOTIFY_DELAY},
	    {"", 0},
	    {"NEVER,FAILURE", 0},
	    {"FAILURE,NEVER", 0},
	    {"NEVER,NEVER", 0},
	    {"DELAY,DELAY", 0},
	    {"DELAY,", 0},
	    {",DELAY", 0},
	    {"DELAY;FAILURE", 0},
	    {"ALWAYS", 0},
	    {"SUCCES", 0},
	    {"SUCCESSS", 0},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		uint32_t notify = 0;

		test_case("%s", cases[i].value);
		CHECK_INT(smtp_parse_notify(bytes_text(cases[i].value), &notify), cases[i].notify != 0);
		CHECK_INT(notify, cases[i].notify);
	}
}

static void reads_return(void)
{
	static const struct {
		const char *value;
		enum queue_return ret; /* QUEUE_RETURN_DEFAULT: refused */
	} cases[] = {{"FULL", QUEUE_RETURN_FULL},
		     {"hdrs", QUEUE_RETURN_HEADERS},
		     {"", QUEUE_RETURN_DEFAULT},
		     {"HEADERS", QUEUE_RETURN_DEFAULT}};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		enum queue_return ret = QUEUE_RETURN_DEFAULT;

		CHECK_INT(smtp_parse_return(bytes_text(cases[i].value), &ret), cases[i].ret != QUEUE_RETURN_DEFAULT);
		CHECK_INT(ret, cases[i].ret);
	}
}

static void checks_envelope_ids(void)
{
	static const struct {
		const char *value;
		bool right;
	} cases[] = {
	    {"QQ314159", true}, {"a+2Bb+3Dc", true},	 {"!~", true},	  {"", false},	   {"a=b", false},
	    {"a+b", false},	{"a+2", false},		 {"a+2b", false}, /* lower case */
	    {"a+0D+0A", false}, {"a+7F", false},	 {"a+00", false}, {"a+80", false}, {"a+20b", true},
	    {"a\x7f", false},	{"\xe5\x8d\xb0", false},
	};
	char text[SMTP_ENVID_MAX_BYTES + 2];

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		test_case("%s", cases[i].value);
		CHECK_INT(smtp_is_envelope_id(bytes_text(cases[i].value)), cases[i].right);
	}
	memset(text, 'x', sizeof text);
	CHECK(smtp_is_envelope_id(bytes_of(text, SMTP_ENVID_MAX_BYTES)));
	CHECK(!smtp_is_envelope_id(bytes_of(text, SMTP_ENVID_MAX_BYTES + 1)));
}

static void checks_original_recipients(void)
{
	static const struct {
		const char *value;
		bool ascii, utf8; /* right without, with SMTPUTF8 */
	} cases[] = {
	    {"rfc822;taro+2Btag@example.jp", true, true},
	    {"RFC822;a@b", true, true},
	    {"x400;/G+3Da", true, true},
	    {"utf-8;taro\\x{5370}@example.jp", true, true},
	    {"utf-8;\xe5\x8d\xb0@example.jp", false, true},
	    {"rfc822;\xe5\x8d\xb0@example.jp", false, false},
	    {"utf-8;\xe5\x8d@example.jp", false, false},
	    {"rfc822;", false, false},
	    {";a@b", false, false},
	    {"a@b", false, false},
	    {"", false, false},
	    {"rf c;a@b", false, false},
	    {"rfc822;a@b+0D+0AStatus:+202.0.0", false, false},
	};
	char text[SMTP_ORCPT_MAX_BYTES + 1] = "rfc822;";

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		test_case("%s", cases[i].value);
		CHECK_INT(smtp_is_original_recipient(bytes_text(cases[i].value), false), cases[i].ascii);
		CHECK_INT(smtp_is_original_recipient(bytes_text(cases[i].value), true), cases[i].utf8);
	}
	memset(text + 7, 'x', sizeof text - 7);
	CHECK(smtp_is_original_recipient(bytes_of(text, SMTP_ORCPT_MAX_BYTES), false));
	CHECK(!smtp_is_original_recipient(bytes_of(text, SMTP_ORCPT_MAX_BYTES + 1), false));
}

int main(void)
{
	TEST(reads_notify);
	TEST(reads_return);
	TEST(checks_envelope_ids);
	TEST(checks_original_recipients);
	return test_finish();
}
