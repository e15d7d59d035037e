/* The encoders and repairs: tables, every cut, random octets there and back. */
#include "appliance/relay/mime/codec.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/mime_support.h"

static void run(enum mime_edit_kind kind, struct bytes in, size_t piece, struct buf *out)
{
	struct mime_codec codec;

	mime_codec_init(&codec, kind);
	for (size_t i = 0; i < in.len; i += piece)
		mime_codec_put(&codec, bytes_slice(in, i, piece < in.len - i ? i + piece : in.len), out);
	mime_codec_finish(&codec, out);
	mime_codec_clear(&codec);
}

#define X60 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X75 X60 "xxxxxxxxxxxxxxx"
#define B60 "AAAABBBBCCCCDDDDEEEEFFFFGGGGHHHHIIIIJJJJKKKKLLLLMMMMNNNNOOOO"
#define B76 B60 "PPPPQQQQRRRRSSSS"

static const struct {
	const char *name;
	enum mime_edit_kind kind;
	const char *in, *out;
} cases[] = {
    {"plain", MIME_EDIT_QP, "abc\r\ndef", "abc\r\ndef"},
    {"octets to escape", MIME_EDIT_QP, "caf\xc3\xa9 a=b\x01\x7f", "caf=C3=A9 a=3Db=01=7F"},
    {"blanks inside", MIME_EDIT_QP, "a \tb", "a \tb"},
    {"blank at the end of a line", MIME_EDIT_QP, "a \r\nb\t\r\n", "a=20\r\nb=09\r\n"},
    {"blank at the end", MIME_EDIT_QP, "a ", "a=20"},
    {"two blanks at the end", MIME_EDIT_QP, "a  ", "a =20"},
    {"line of a blank", MIME_EDIT_QP, " \r\n", "=20\r\n"},
    {"signature separator", MIME_EDIT_QP, "-- \r\n", "=2D-=20\r\n"},
    {"From_", MIME_EDIT_QP, "From x\r\nFromx\r\nxFrom x\r\n", "=46rom x\r\nFromx\r\nxFrom x\r\n"},
    {"dots", MIME_EDIT_QP, ".\r\n..\r\nx.\r\n", "=2E\r\n=2E.\r\nx.\r\n"},
    {"dashes", MIME_EDIT_QP, "--b\r\n-b\r\nx--b\r\n", "=2D-b\r\n-b\r\nx--b\r\n"},
    {"line of 75", MIME_EDIT_QP, X75 "\r\n", X75 "\r\n"},
    {"line of 76", MIME_EDIT_QP, X75 "y\r\n", X75 "=\r\ny\r\n"},
    {"escape that does not fit", MIME_EDIT_QP, X60 "xxxxxxxxxxxxx\xe9", X60 "xxxxxxxxxxxxx=\r\n=E9"},
    {"dot behind a soft break", MIME_EDIT_QP, X75 ".x", X75 "=\r\n=2Ex"},
    {"From_ behind a soft break", MIME_EDIT_QP, X75 "From x", X75 "=\r\n=46rom x"},
    {"dashes behind a soft break", MIME_EDIT_QP, X75 "--b", X75 "=\r\n=2D-b"},
    {"CR and LF", MIME_EDIT_QP, "a\rb\nc\n\r", "a=0Db=0Ac=0A=0D"},
    {"empty", MIME_EDIT_QP, "", ""},

    {"one octet", MIME_EDIT_BASE64, "a", "YQ=="},
    {"two octets", MIME_EDIT_BASE64, "ab", "YWI="},
    {"three octets", MIME_EDIT_BASE64, "abc", "YWJj"},
    {"high octets", MIME_EDIT_BASE64, "\xff\xfe\xfb\xf0", "//778A=="},
    {"57 octets", MIME_EDIT_BASE64, "123456789012345678901234567890123456789012345678901234567",
     "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3"},
    {"58 octets", MIME_EDIT_BASE64, "1234567890123456789012345678901234567890123456789012345678",
     "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3\r\nOA=="},
    {"nothing to encode", MIME_EDIT_BASE64, "", ""},

    {"clean qp", MIME_EDIT_REPAIR_QP, "a=C3=a9 b=\r\nc=20\r\n", "a=C3=a9 b=\r\nc=20\r\n"},
    {"raw octets in qp", MIME_EDIT_REPAIR_QP, "a\xc3\xa9", "a=C3=A9"},
    {"stray equals signs", MIME_EDIT_REPAIR_QP, "a=b =Z0 =4 =\r", "a=3Db =3DZ0 =3D4 =3D=0D"},
    {"equals sign at the end", MIME_EDIT_REPAIR_QP, "a=", "a="},
    {"equals sign and blanks at the end", MIME_EDIT_REPAIR_QP, "a= \t", "a= \t"},
    {"soft break with blanks", MIME_EDIT_REPAIR_QP, "a= \t\r\nb", "a= \t\r\nb"},
    {"line starts stay in qp", MIME_EDIT_REPAIR_QP, ".\r\nFrom x\r\n--\r\n", ".\r\nFrom x\r\n--\r\n"},
    {"bare CR and LF in qp", MIME_EDIT_REPAIR_QP, "a\rb\nc", "a=0Db=0Ac"},
    {"lines of 80 stay in qp", MIME_EDIT_REPAIR_QP, X75 "yyyyy\r\n", X75 "yyyyy\r\n"},

    {"clean base64", MIME_EDIT_REPAIR_BASE64, "AAEC\r\nAwQ=\r\n", "AAEC\r\nAwQ=\r\n"},
    {"raw octets in base64", MIME_EDIT_REPAIR_BASE64,
     "AA\xe9"
     "EC\r\n\xff\r\n",
     "AAEC\r\n\r\n"},
    {"garbage in base64", MIME_EDIT_REPAIR_BASE64, "AA!EC*\r\n", "AA!EC*\r\n"},
    {"long base64", MIME_EDIT_REPAIR_BASE64, B76 "TTTT\r\n", B76 "\r\nTTTT\r\n"},
    {"dashes at a line start of base64", MIME_EDIT_REPAIR_BASE64, "-\xe9-b\r\n--AA", "b\r\nAA"},
    {"dashes where base64 is broken", MIME_EDIT_REPAIR_BASE64, B76 "--bnd", B76 "--\r\nbnd"},
    {"bare CR and LF in base64", MIME_EDIT_REPAIR_BASE64, "AA\rEC\nAwQ=", "AAEC\r\nAwQ="},

    {"preamble", MIME_EDIT_MARK, "This is\r\nmulti-part \xe5\xa4\r\n", "This is\r\nmulti-part ??\r\n"},
    {"bare CR and LF in a preamble", MIME_EDIT_MARK, "a\rb\nc", "a?b\r\nc"},
};

static void tables_hold_at_every_cut(void)
{
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct bytes in = bytes_text(cases[i].in);

		test_case("%s", cases[i].name);
		for (size_t piece = 1; piece <= in.len + 1; piece++) {
			struct buf out = {0};

			run(cases[i].kind, in, piece, &out);
			CHECK_TEXT(buf_text(&out), cases[i].out);
			buf_clear(&out);
		}
	}
}

static void nul_is_written_safely(void)
{
	static const struct {
		enum mime_edit_kind kind;
		const char *out;
	} nul[] = {{MIME_EDIT_QP, "a=00b"},
		   {MIME_EDIT_BASE64, "YQBi"},
		   {MIME_EDIT_REPAIR_QP, "a=00b"},
		   {MIME_EDIT_REPAIR_BASE64, "ab"},
		   {MIME_EDIT_MARK, "a?b"}};

	for (size_t i = 0; i < sizeof nul / sizeof *nul; i++) {
		struct buf out = {0};

		run(nul[i].kind, bytes_of("a\0b", 3), 2, &out);
		CHECK_TEXT(buf_text(&out), nul[i].out);
		buf_clear(&out);
	}
}

/* ---- Random octets ---- */

static uint32_t seed = 20261124;

static uint32_t next_random(void)
{
	seed = seed * 1664525 + 1013904223;
	return seed >> 8;
}

/* Octets that meet the rules' borders often. */
static void random_octets(struct buf *out, size_t len)
{
	static const char *const bits[] = {"\r\n", "\r", "\n", "=",	"= ",	"=\r\n",    "=4", "=41", " ", "\t",	  ".",
					   "..",   "-",	 "--", "From ", "From", "\xc3\xa9", "",	  "x",	 X60, "=\t \r\n", "AAAA"};

	buf_reset(out);
	while (out->len < len) {
		uint32_t pick = next_random() % 30;

		if (pick < sizeof bits / sizeof *bits)
			buf_put_text(out, bits[pick]);
		else
			buf_put_byte(out, (uint8_t)next_random());
	}
}

static int hex(uint8_t c)
{
	return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* RFC 2045 §6.7 for what is well-formed, which the encoder's output must be. */
static void decode_qp(struct bytes in, struct buf *out)
{
	for (size_t i = 0; i < in.len; i++) {
		if (in.data[i] != '=') {
			buf_put_byte(out, in.data[i]);
		} else if (CHECK(i + 2 < in.len)) {
			if (in.data[i + 1] != '\r')
				buf_put_byte(out, (uint8_t)(hex(in.data[i + 1]) << 4 | hex(in.data[i + 2])));
			i += 2;
		}
	}
}

static void check_lines(struct bytes out, size_t longest)
{
	size_t column = 0;

	for (size_t i = 0; i < out.len; i++) {
		uint8_t c = out.data[i];
		bool crlf = c == '\r' && i + 1 < out.len && out.data[i + 1] == '\n';

		CHECK(c < 0x80 && c != '\0');
		if (crlf) {
			i++;
			column = 0;
			continue;
		}
		CHECK(c != '\r' && c != '\n');
		if (!CHECK(++column <= longest))
			return;
	}
}

static void check_qp_starts(struct bytes out)
{
	for (size_t i = 0; i < out.len; i++) {
		bool start = i == 0 || (out.data[i - 1] == '\n');
		struct bytes rest = bytes_slice(out, i, out.len);

		if (out.data[i] == '\r' && i > 0)
			CHECK(!(out.data[i - 1] == ' ' || out.data[i - 1] == '\t'));
		if (!start)
			continue;
		CHECK(out.data[i] != '.');
		CHECK(rest.len < 2 || memcmp(rest.data, "--", 2) != 0);
		CHECK(rest.len < 5 || memcmp(rest.data, "From ", 5) != 0);
	}
}

static void random_octets_come_back(void)
{
	struct buf in = {0}, out = {0}, back = {0};
	struct err err;

	for (unsigned i = 0; i < 300; i++) {
		test_case("round %u", i);
		random_octets(&in, next_random() % 6000);
		buf_reset(&out);
		buf_reset(&back);
		run(MIME_EDIT_QP, buf_bytes(&in), SIZE_MAX, &out);
		check_lines(buf_bytes(&out), MIME_ENCODED_LINE_OCTETS);
		check_qp_starts(buf_bytes(&out));
		decode_qp(buf_bytes(&out), &back);
		CHECK_BYTES(buf_bytes(&back), buf_bytes(&in));

		buf_reset(&out);
		buf_reset(&back);
		run(MIME_EDIT_BASE64, buf_bytes(&in), SIZE_MAX, &out);
		check_lines(buf_bytes(&out), MIME_ENCODED_LINE_OCTETS);
		CHECK_OK(base64_decode(&back, buf_bytes(&out), &err), &err);
		CHECK_BYTES(buf_bytes(&back), buf_bytes(&in));
	}
	buf_clear(&in);
	buf_clear(&out);
	buf_clear(&back);
}

static void random_octets_are_repaired(void)
{
	static const enum mime_edit_kind kinds[] = {MIME_EDIT_REPAIR_QP, MIME_EDIT_REPAIR_BASE64, MIME_EDIT_MARK};
	struct buf in = {0}, out = {0}, twice = {0};

	for (unsigned i = 0; i < 300; i++) {
		enum mime_edit_kind kind = kinds[i % 3];

		test_case("round %u", i);
		random_octets(&in, next_random() % 6000);
		buf_reset(&out);
		buf_reset(&twice);
		run(kind, buf_bytes(&in), SIZE_MAX, &out);
		check_lines(buf_bytes(&out), MIME_LINE_MAX_OCTETS);
		run(kind, buf_bytes(&out), SIZE_MAX, &twice);
		CHECK_BYTES(buf_bytes(&twice), buf_bytes(&out));
	}
	buf_clear(&in);
	buf_clear(&out);
	buf_clear(&twice);
}

static void pieces_make_no_difference(void)
{
	struct buf in = {0}, whole = {0}, pieces = {0};

	for (unsigned i = 0; i < 300; i++) {
		enum mime_edit_kind kind = (enum mime_edit_kind)(MIME_EDIT_MARK + i % 5);

		test_case("round %u", i);
		random_octets(&in, next_random() % 6000);
		buf_reset(&whole);
		buf_reset(&pieces);
		run(kind, buf_bytes(&in), SIZE_MAX, &whole);
		run(kind, buf_bytes(&in), 1 + next_random() % 700, &pieces);
		CHECK_BYTES(buf_bytes(&pieces), buf_bytes(&whole));
	}
	buf_clear(&in);
	buf_clear(&whole);
	buf_clear(&pieces);
}

/* A repaired line is broken only when it must be; what then begins a line is as safe as the encoder's. */
static void broken_lines_of_qp_begin_safely(void)
{
	static const struct {
		const char *behind, *out;
	} starts[] = {{"--bnd", "=2D-bnd"}, {"From x", "=46rom x"}, {".x", "=2Ex"}, {"=41x", "=41x"}, {"x", "x"}};

	for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
		struct buf in = {0}, out = {0}, want = {0};

		test_case("%s", starts[i].behind);
		for (unsigned k = 0; k < 990; k++)
			buf_put_byte(&in, 'x');
		buf_put_bytes(&want, buf_bytes(&in));
		buf_put_text(&in, starts[i].behind);
		buf_put_text(&want, "=\r\n");
		buf_put_text(&want, starts[i].out);
		run(MIME_EDIT_REPAIR_QP, buf_bytes(&in), 13, &out);
		CHECK_BYTES(buf_bytes(&out), buf_bytes(&want));
		buf_clear(&in);
		buf_clear(&out);
		buf_clear(&want);
	}
}

/* `=` and blanks up to the CRLF are a soft break; over the lookahead they are not, and no line gets too long. */
static void blanks_behind_an_equals_sign(void)
{
	static const size_t counts[] = {0, 1, 900, 990, 1000, 1020, 1021, 1022, 1023, 1024, 3000};

	for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
		struct buf in = {0}, whole = {0}, pieces = {0};

		test_case("%zu blanks", counts[i]);
		buf_put_text(&in, "abc=");
		for (size_t k = 0; k < counts[i]; k++)
			buf_put_byte(&in, ' ');
		buf_put_text(&in, "\r\ndef\r\n");
		run(MIME_EDIT_REPAIR_QP, buf_bytes(&in), SIZE_MAX, &whole);
		run(MIME_EDIT_REPAIR_QP, buf_bytes(&in), 1, &pieces);
		CHECK_BYTES(buf_bytes(&pieces), buf_bytes(&whole));
		check_lines(buf_bytes(&whole), MIME_LINE_MAX_OCTETS);
		CHECK_CONTAINS(buf_text(&whole), counts[i] < 1000 ? "abc=" : "abc");
		buf_clear(&in);
		buf_clear(&whole);
		buf_clear(&pieces);
	}
}

int main(void)
{
	TEST(tables_hold_at_every_cut);
	TEST(nul_is_written_safely);
	TEST(random_octets_come_back);
	TEST(random_octets_are_repaired);
	TEST(pieces_make_no_difference);
	TEST(broken_lines_of_qp_begin_safely);
	TEST(blanks_behind_an_equals_sign);
	return test_finish();
}
