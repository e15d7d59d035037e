#include "appliance/relay/api/api_mail.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/test.h"

#define REST "\"from\":\"f@x.example\",\"subject\":\"s\",\"text\":\"t\""

/* What is wrong as "code field;" for each, "" when nothing is. */
static void check_faults(const char *json, const char *faults)
{
	json_t *fields = json_loads(json, 0, NULL);
	struct api_errors errors = {0};
	struct buf found = {0};
	struct api_mail mail;

	if (!CHECK(fields != NULL))
		return;
	CHECK_INT(api_mail_read(fields, &mail, &errors), faults[0] == '\0');
	for (size_t i = 0; i < errors.n_rows; i++) {
		struct api_errors one = {.rows = {errors.rows[i]}, .n_rows = 1};
		struct buf reply = {0};
		json_t *parsed;
		const char *code, *field;

		api_errors_write(&reply, &one, false);
		parsed = json_loads(buf_text(&reply), 0, NULL);
		CHECK(json_unpack(parsed, "{s:[{s:s, s:s}]}", "errors", "code", &code, "field", &field) == 0);
		buf_printf(&found, "%s %s;", code, field);
		json_decref(parsed);
		buf_clear(&reply);
	}
	CHECK_TEXT(buf_text(&found), faults);
	buf_clear(&found);
	api_errors_clear(&errors);
	api_mail_clear(&mail);
	json_decref(fields);
}

static void each_bad_field_is_named(void)
{
	static const struct {
		const char *json, *faults;
	} cases[] = {
	    {"{\"to\":\"a@x.example\"," REST "}", ""},
	    {"{}", "10-001 to;10-001 from;10-001 subject;10-001 text;"},
	    {"{\"to\":\"\",\"from\":null,\"subject\":\"\",\"text\":\"\"}", "10-001 to;10-001 from;10-001 subject;10-001 text;"},
	    {"{\"to\":[]," REST "}", "10-001 to;"},
	    {"{\"to\":\"nobody\"," REST "}", "10-005 to;"},
	    {"{\"to\":\"a@x.example\\r\\nBcc: b@x.example\"," REST "}", "10-005 to;"},
	    {"{\"to\":{\"name\":\"a\\nb\",\"address\":\"a@x.example\"}," REST "}", "10-006 to;"},
	    {"{\"to\":17," REST "}", "10-002 to;"},
	    {"{\"to\":[[\"a@x.example\"]]," REST "}", "10-002 to;"},
	    {"{\"to\":{\"name\":\"x\"}," REST "}", "10-001 to;"},
	    {"{\"to\":\"a@x.example\",\"cc\":[\"1@x.ex\",\"2@x.ex\",\"3@x.ex\",\"4@x.ex\",\"5@x.ex\",\"6@x.ex\",\"7@x.ex\",\"8@x."
	     "ex\",\"9@"
	     "x.ex\",\"10@x.ex\",\"11@x.ex\"]," REST "}",
	     "10-004 cc;"},
	    {"{\"to\":\"a@x.example\",\"from\":[\"a@x.example\",\"b@x.example\"],\"subject\":\"s\",\"text\":\"t\"}",
	     "10-004 from;"},
	    {"{\"to\":\"a@x.example\",\"from\":\"f@x.example\",\"subject\":\"a\\nb\",\"text\":\"t\"}", "10-006 subject;"},
	    {"{\"to\":\"a@x.example\",\"charset\":\"Shift_JIS\"," REST "}", "10-002 charset;"},
	    {"{\"to\":\"a@x.example\",\"charset\":\"ISO-2022-JP\",\"html\":\"\\u2460\"," REST "}", "10-007 html;"},
	    {"{\"to\":\"a@x.example\",\"headers\":[{\"name\":\"From\",\"value\":\"x\"}]," REST "}", "10-008 headers;"},
	    {"{\"to\":\"a@x.example\",\"headers\":{\"content-type\":\"x\"}," REST "}", "10-008 headers;"},
	    {"{\"to\":\"a@x.example\",\"headers\":{\"X-A\":\"x\\r\\nBcc: y\"}," REST "}", "10-006 headers;"},
	    {"{\"to\":\"a@x.example\",\"headers\":{\"X A\":\"x\"}," REST "}", "10-008 headers;"},
	    {"{\"to\":\"a@x.example\",\"headers\":[{\"name\":\"X-A\"}]," REST "}", "10-002 headers;"},
	    {"{\"to\":\"a@x.example\",\"attachments\":11," REST "}", "10-004 attachments;"},
	    {"{\"to\":\"a@x.example\",\"attachments\":\"two\"," REST "}", "10-002 attachments;"},
	    {"{\"to\":\"a@x.example\",\"envfrom\":\"<>\"," REST "}", "10-005 envfrom;"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		test_case("%s", cases[i].json);
		check_faults(cases[i].json, cases[i].faults);
	}
}

/* ../shared/reference/api.md §4: what each of the service's clients sends. */
static void every_client_is_understood(void)
{
	static const struct {
		const char *client, *json;
	} cases[] = {
	    {"node",
	     "{\"to\":[{\"name\":\"N\",\"address\":\"a@x.example\"}],\"cc\":[],\"bcc\":[],\"from\":{\"name\":\"F\",\"address\":"
	     "\"f@x."
	     "example\"},\"replyto\":\"r@x.example\",\"headers\":{\"X-Api-Data\":\"d\"},\"charset\":\"UTF-8\",\"subject\":\"s\","
	     "\"text\":null,\"html\":\"<p>\"}"},
	    {"php",
	     "{\"to\":\"[{\\\"name\\\":\\\"N\\\",\\\"address\\\":\\\"a@x.example\\\",\\\"more\\\":\\\"1\\\"}]\",\"cc\":\"[]\","
	     "\"bcc\":\"\","
	     "\"from\":\"{\\\"name\\\":\\\"F\\\",\\\"address\\\":\\\"f@x.example\\\"}\",\"replyto\":\"{\\\"address\\\":\\\"r@x."
	     "example\\\"}\",\"headers\":\"[{\\\"name\\\":\\\"X-Api-Data\\\",\\\"value\\\":\\\"d\\\"}]\",\"subject\":\"s\","
	     "\"text\":\"t\","
	     "\"html\":\"\",\"envfrom\":\"\"}"},
	    {"java", "{\"to\":[{\"name\":\"N\",\"address\":\"a@x.example\"}],\"from\":{\"name\":\"F\",\"address\":\"f@x."
		     "example\"},\"env_from\":\"\","
		     "\"reply_to\":{\"name\":\"\",\"address\":\"r@x.example\"},\"headers\":[{\"name\":\"X-Api-Data\",\"value\":"
		     "\"d\"}],\"subject\":"
		     "\"s\",\"text\":\"t\",\"unknown\":{\"a\":1}}"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		json_t *fields = json_loads(cases[i].json, 0, NULL);
		struct api_errors errors = {0};
		struct api_mail mail;

		test_case("%s", cases[i].client);
		if (CHECK(fields != NULL) && CHECK(api_mail_read(fields, &mail, &errors))) {
			CHECK_TEXT(mail.to.rows[0].name, "N");
			CHECK_TEXT(mail.to.rows[0].address, "a@x.example");
			CHECK_INT(mail.cc.n_rows + mail.bcc.n_rows, 0);
			CHECK_TEXT(mail.reply_to.rows[0].address, "r@x.example");
			CHECK_TEXT(mail.envelope_from, "f@x.example");
			CHECK_TEXT(mail.api_data, "d");
		}
		api_errors_clear(&errors);
		api_mail_clear(&mail);
		json_decref(fields);
	}
}

static void languages_are_told_apart(void)
{
	CHECK(!api_language_is_japanese(NULL));
	CHECK(!api_language_is_japanese("en"));
	CHECK(api_language_is_japanese("ja"));
	CHECK(api_language_is_japanese("ja-JP,en;q=0.5"));
	CHECK(api_language_is_japanese("fr, ja;q=0.8"));
	CHECK(!api_language_is_japanese("en-US,ja;q=0.8"));
	CHECK(!api_language_is_japanese("jam"));
}

int main(void)
{
	TEST(each_bad_field_is_named);
	TEST(every_client_is_understood);
	TEST(languages_are_told_apart);
	return test_finish();
}
