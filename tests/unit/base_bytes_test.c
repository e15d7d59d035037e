#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "appliance/base/bytes.h"
#include "appliance/base/clock.h"
#include "appliance/base/secret.h"
#include "tests/unit/test.h"

static void base64_both_ways(void)
{
	/* RFC 4648 §10 */
	static const struct {
		const char *plain, *encoded;
	} cases[] = {{"", ""},
		     {"f", "Zg=="},
		     {"fo", "Zm8="},
		     {"foo", "Zm9v"},
		     {"foob", "Zm9vYg=="},
		     {"fooba", "Zm9vYmE="},
		     {"foobar", "Zm9vYmFy"}};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct buf encoded = {0}, decoded = {0};
		struct err err;

		test_case("\"%s\"", cases[i].plain);
		base64_encode(&encoded, bytes_text(cases[i].plain));
		CHECK_TEXT(buf_text(&encoded), cases[i].encoded);
		CHECK_OK(base64_decode(&decoded, bytes_text(cases[i].encoded), &err), &err);
		CHECK_TEXT(buf_text(&decoded), cases[i].plain);
		buf_clear(&encoded);
		buf_clear(&decoded);
	}
}

static void base64_refuses(void)
{
	static const char *const cases[] = {"Z", "Zg=", "Zg", "Zm9v!", "Zg==Zg==", "Z===", "Zm8=="};
	/* "Zg" without padding is taken: some tools leave it out. */
	static const bool taken[] = {false, false, true, false, false, false, false};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct buf decoded = {0};
		struct err err;

		test_case("%s", cases[i]);
		CHECK_INT(base64_decode(&decoded, bytes_text(cases[i]), &err), taken[i]);
		if (!taken[i])
			CHECK_INT(decoded.len, 0);
		buf_clear(&decoded);
	}
}

static void hexadecimal_both_ways(void)
{
	struct buf out = {0};
	struct err err;
	char text[7];

	CHECK_OK(hex_decode(&out, "00fFA9", &err), &err);
	hex_encode(text, buf_bytes(&out));
	CHECK_TEXT(text, "00ffa9");
	CHECK(!hex_decode(&out, "0", &err));
	CHECK(!hex_decode(&out, "0g", &err));
	CHECK_TEXT(err.text, "not a hexadecimal digit at 2");
	CHECK_INT(out.len, 3);
	buf_clear(&out);
}

static void buffer_grows_and_shrinks(void)
{
	struct buf buf = {0};

	for (int i = 0; i < 1000; i++)
		buf_printf(&buf, "%d,", i);
	CHECK_INT(buf.len, 3890);
	buf_consume(&buf, 3886);
	CHECK_TEXT(buf_text(&buf), "999,");
	buf_consume(&buf, 100);
	CHECK_INT(buf.len, 0);
	buf_wipe_clear(&buf);
	CHECK(buf.data == NULL);
}

static void views_compare_without_case(void)
{
	CHECK(bytes_equal_nocase(bytes_text("Content-TYPE"), "content-type"));
	CHECK(!bytes_equal_nocase(bytes_text("Content-Typ"), "content-type"));
	CHECK(!bytes_equal_nocase(bytes_text("\xc3\x84"), "\xc3\xa4")); /* ASCII alone */
	CHECK(bytes_starts_nocase(bytes_text("MULTIPART/signed; x"), "multipart/signed"));
	CHECK_BYTES(bytes_trim(bytes_text(" \t a b\r\n")), bytes_text("a b"));
	CHECK_BYTES(bytes_slice(bytes_text("abc"), 1, 99), bytes_text("bc"));
	CHECK_INT(bytes_slice(bytes_text("abc"), 3, 2).len, 0);
}

static void errors_carry_text_and_cause(void)
{
	struct err err;

	CHECK(!err_set(&err, ERR_LIMIT, "%d bytes", 5));
	CHECK(!err_prefix(&err, "file %s", "x"));
	CHECK_TEXT(err.text, "file x: 5 bytes");
	CHECK_INT(err.code, ERR_LIMIT);
	CHECK(!err_set(NULL, ERR_LIMIT, "nobody asks"));
	CHECK_TEXT(err_code_name(ERR_TIMEOUT), "timeout");
	CHECK_TEXT(err_code_name((enum err_code)999), "unknown");
}

static void secret_is_read_without_its_line_end(void)
{
	struct err err;
	char *path = mem_format("%s/pin", test_directory());
	struct secret *secret;

	CHECK(test_write_file(path, bytes_text("12 34\r\nsecond line\n")));
	secret = secret_read_file(path, &err);
	if (CHECK(secret != NULL))
		CHECK_TEXT(secret_text(secret), "12 34");
	secret_free(secret);
	CHECK(secret_read_file("/nonexistent/pin", &err) == NULL);
	CHECK_CONTAINS(err.text, "No such file");
	free(path);
}

static void dates_are_rfc5322(void)
{
	char date[CLOCK_RFC5322_BYTES], iso[CLOCK_ISO_BYTES];

	setenv("TZ", "Asia/Tokyo", 1);
	tzset();
	clock_rfc5322(date, 1795525569);
	CHECK_TEXT(date, "Tue, 24 Nov 2026 22:06:09 +0900");
	setenv("TZ", "America/St_Johns", 1);
	tzset();
	clock_rfc5322(date, 1795525569);
	CHECK_TEXT(date, "Tue, 24 Nov 2026 09:36:09 -0330");
	clock_iso(iso, 1795525569007);
	CHECK_TEXT(iso, "2026-11-24T13:06:09.007Z");
}

int main(void)
{
	TEST(base64_both_ways);
	TEST(base64_refuses);
	TEST(hexadecimal_both_ways);
	TEST(buffer_grows_and_shrinks);
	TEST(views_compare_without_case);
	TEST(errors_carry_text_and_cause);
	TEST(secret_is_read_without_its_line_end);
	TEST(dates_are_rfc5322);
	return test_finish();
}
