/* The scanner's facts about the header, its verdicts on small messages, and the octets that get signed. */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/mime_support.h"

#define MIXED "Content-Type: multipart/mixed; boundary=b\r\n"

/* ---- The top header ---- */

static const struct {
	const char *name, *message, *head;
} heads[] = {
    {"default type", "From: a@b\r\n\r\nx\r\n", "Content-Type: text/plain; charset=us-ascii\r\n\r\n"},
    {"default beside 7bit", "Content-Transfer-Encoding: 7bit\r\n\r\nx\r\n",
     "Content-Transfer-Encoding: 7bit\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"},
    {"no default for encoded text", "Content-Transfer-Encoding: base64\r\n\r\neA==\r\n",
     "Content-Transfer-Encoding: base64\r\n\r\n"},
    {"only Content fields move",
     "MIME-Version: 1.0\r\nContent-Type: text/html\r\nSubject: s\r\nContent-Language: ja\r\n\r\nx\r\n",
     "Content-Type: text/html\r\nContent-Language: ja\r\n\r\n"},
    {"folding stays", "content-type:\r\n\ttext/plain;\r\n  charset=\"utf-8\"\r\nTo: b@c\r\n\r\nx\r\n",
     "content-type:\r\n\ttext/plain;\r\n  charset=\"utf-8\"\r\n\r\n"},
    {"the first of two",
     "Content-Type: text/plain\r\nCONTENT-TYPE: text/html\r\nContent-ID: <1@x>\r\nContent-ID: <2@x>\r\n\r\nx\r\n",
     "Content-Type: text/plain\r\nContent-ID: <1@x>\r\n\r\n"},
    {"Content-Length is dropped", "Content-Length: 3\r\nContent-Type: text/plain\r\n\r\nx\r\n",
     "Content-Type: text/plain\r\n\r\n"},
    {"no body", "Content-Type: text/plain\r\nSubject: s\r\n", "Content-Type: text/plain\r\n\r\n"},
    {"no body, no line end", "Content-Type: text/plain", "Content-Type: text/plain\r\n\r\n"},
    {"no header", "\r\nx\r\n", "Content-Type: text/plain; charset=us-ascii\r\n\r\n"},
    {"nothing", "", "Content-Type: text/plain; charset=us-ascii\r\n\r\n"},
};

static void heads_are_what_is_signed(void)
{
	for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
		struct mime_scan *scan = scan_text(heads[i].message);
		struct buf head = {0};

		test_case("%s", heads[i].name);
		mime_scan_signed_head(scan, &head);
		CHECK_TEXT(buf_text(&head), heads[i].head);
		CHECK_INT(mime_scan_verdict(scan), MIME_FAST);
		check_properties(scan, bytes_text(heads[i].message));
		buf_clear(&head);
		mime_scan_free(scan);
	}
}

static const struct {
	const char *name, *message;
	size_t fields;
	uint64_t body;
	bool malformed;
} headers[] = {
    {"plain", "A: 1\r\nB: 2\r\n\r\nx", 2, 14, false},
    {"no body", "A: 1\r\nB: 2\r\n", 2, 12, false},
    {"empty line first", "\r\nA: 1\r\n", 0, 2, false},
    {"a line without colon", "A: 1\r\nno colon\r\n\r\nx", 1, 6, true},
    {"a name with a blank inside", "A: 1\r\nB C: 2\r\n\r\nx", 1, 6, true},
    {"a name with 8-bit octets", "A: 1\r\nB\xe9: 2\r\n\r\nx", 1, 6, true},
    {"no name", "A: 1\r\n: 2\r\n\r\nx", 1, 6, true},
    {"folding first", " A: 1\r\nB: 2\r\n\r\nx", 0, 0, true},
    {"blanks before the colon", "A \t: 1\r\n\r\nx", 1, 10, false},
    {"a line of blanks", "A: 1\r\n \r\nB: 2\r\n\r\nx", 2, 17, false},
    {"mbox line first", "From a@b Mon\r\nA: 1\r\n\r\nx", 2, 22, false},
    {"quoted mbox line first", ">From a@b Mon\r\nA: 1\r\n\r\nx", 2, 23, false},
    {"mbox line second", "A: 1\r\nFrom a@b Mon\r\n\r\nx", 1, 6, true},
    {"bare LF", "A: 1\nB: 2\r\n\r\nx", 2, 13, true},
    {"bare LF empty line", "A: 1\r\n\nx", 1, 7, true},
    {"bare CR", "A: 1\rB: 2\r\n\r\nx", 1, 13, true},
};

static void headers_are_taken_apart(void)
{
	for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
		struct mime_scan *scan = scan_text(headers[i].message);

		test_case("%s", headers[i].name);
		CHECK(mime_scan_header_complete(scan));
		CHECK_INT(mime_scan_header(scan)->count, headers[i].fields);
		CHECK_INT(mime_scan_header(scan)->body_offset, headers[i].body);
		CHECK_INT(mime_scan_header(scan)->malformed, headers[i].malformed);
		mime_scan_free(scan);
	}
}

static void fields_are_found(void)
{
	struct mime_scan *scan = scan_text("Subject : one\r\n  two \r\nX: y\r\nSUBJECT:\r\n three\r\nbcc:\r\n\r\nx");
	const struct mime_header *header = mime_scan_header(scan);
	struct buf text = {0};
	size_t count;
	const struct mime_field *field = mime_header_find(header, "subject", &count);

	CHECK_INT(count, 2);
	CHECK_BYTES(field->name, bytes_text("Subject"));
	CHECK_BYTES(field->value, bytes_text(" one\r\n  two "));
	CHECK_INT(field->offset, 0);
	CHECK_INT(field->end, 23);
	mime_field_unfold(&text, field);
	CHECK_TEXT(buf_text(&text), "one  two");
	buf_reset(&text);
	mime_field_unfold(&text, mime_header_find(header, "Bcc", NULL));
	CHECK_INT(text.len, 0);
	CHECK(mime_header_find(header, "To", &count) == NULL);
	CHECK_INT(count, 0);
	buf_clear(&text);
	mime_scan_free(scan);
}

static void header_is_complete_at_its_empty_line(void)
{
	struct mime_scan *scan = mime_scan_new();

	mime_scan_feed(scan, bytes_text("A: 1\r\n"));
	CHECK(!mime_scan_header_complete(scan));
	mime_scan_feed(scan, bytes_text("\r"));
	CHECK(!mime_scan_header_complete(scan));
	mime_scan_feed(scan, bytes_text("\n"));
	CHECK(mime_scan_header_complete(scan));
	mime_scan_free(scan);
}

static void nul_in_the_header_is_told(void)
{
	struct mime_scan *scan = scan_in_pieces(bytes_of("A: \0\r\n\r\nx", 9), FEED_WHOLE);

	CHECK(mime_scan_header(scan)->has_nul);
	mime_scan_free(scan);
	scan = scan_in_pieces(bytes_of("A: 1\r\n\r\n\0", 9), FEED_WHOLE);
	CHECK(!mime_scan_header(scan)->has_nul);
	mime_scan_free(scan);
}

static void header_over_the_limit_is_told(void)
{
	static const size_t sizes[] = {1, 5000, FEED_WHOLE};
	struct buf message = {0};

	buf_put_text(&message, "From: a@b\r\n");
	while (message.len <= MIME_HEADER_MAX_BYTES)
		buf_put_text(&message, "X-Field: of a header that grows beyond its limit\r\n");
	buf_put_text(&message, "\r\nbody \xe9\r\n");
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct mime_scan *scan = scan_in_pieces(buf_bytes(&message), sizes[i]);

		test_case("pieces of %zu", sizes[i]);
		CHECK(mime_scan_header(scan)->too_large);
		CHECK(mime_scan_header_complete(scan));
		CHECK(mime_header_find(mime_scan_header(scan), "from", NULL) != NULL);
		CHECK_INT(mime_scan_verdict(scan), MIME_UNSIGNABLE);
		CHECK_INT(mime_scan_size(scan), message.len);
		CHECK(mime_scan_has_8bit(scan));
		mime_scan_free(scan);
	}
	buf_clear(&message);
}

/* ---- Where the signed octets end ---- */

static void root_ends_at_its_closing_delimiter(void)
{
	static const char head[] = "From: a@b\r\n" MIXED "\r\n--b\r\n\r\nx\r\n--b--\r",
			  rest[] = "\nlist footer\r\n--b\r\n\r\ny\r\n--b--\r\n";
	struct mime_scan *scan = mime_scan_new();

	mime_scan_feed(scan, bytes_text(head));
	CHECK(mime_scan_signed_end(scan) == UINT64_MAX);
	mime_scan_feed(scan, bytes_text(rest));
	mime_scan_finish(scan);
	CHECK_INT(mime_scan_signed_end(scan), sizeof head - 1 + 1);
	CHECK_INT(mime_scan_verdict(scan), MIME_FAST);
	mime_scan_free(scan);
}

static const struct {
	const char *name, *message;
	bool cut;
} ends[] = {
    {"text", "\r\nx\r\n", false},
    {"not closed", MIXED "\r\n--b\r\n\r\nx\r\n", false},
    {"closed without a line end", MIXED "\r\n--b\r\n\r\nx\r\n--b--", true},
    {"closing delimiter in a nested one",
     MIXED "\r\n--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--b--\r\n.", true},
    {"nested one closed only", MIXED "\r\n--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n",
     false},
    {"no part", MIXED "\r\npreamble\r\n--b--\r\nrest\r\n", false},
    {"two boundaries", "Content-Type: multipart/mixed; boundary=b; boundary=c\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n--c\r\n\r\ny\r\n",
     false},
    {"multipart in a message", "Content-Type: message/rfc822\r\n\r\n" MIXED "\r\n--b\r\n\r\nx\r\n--b--\r\nrest\r\n", false},
};

static void only_a_root_multipart_is_cut(void)
{
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		struct mime_scan *scan = scan_text(ends[i].message);

		test_case("%s", ends[i].name);
		CHECK_INT(mime_scan_signed_end(scan) != UINT64_MAX, ends[i].cut);
		check_properties(scan, bytes_text(ends[i].message));
		mime_scan_free(scan);
	}
}

/* ---- Verdicts beside those of the hard cases ---- */

#define TEXT8 "Content-Type: text/plain\r\nContent-Transfer-Encoding: 8bit\r\n\r\ncaf\xc3\xa9 au lait, and so on\r\n"
#define SIGNED "Content-Type: multipart/signed; boundary=s; micalg=sha-256; protocol=\"application/pgp-signature\"\r\n"

static const struct {
	const char *name, *message;
	enum mime_verdict verdict;
	const char *says; /* the reason, or what the output holds */
} verdicts[] = {
    {"blank before the colon of a Content field on top", "Content-Type : text/plain\r\n\r\nx\r\n", MIME_REENCODE,
     "Content-Type: text/plain\r\n"},
    {"blank before the colon of another field on top", "Subject : s\r\n\r\nx\r\n", MIME_FAST, "x\r\n"},
    {"blank before the colon of a kept label", MIXED "\r\n--b\r\nContent-Transfer-Encoding : base64\r\n\r\neA==\r\n--b--\r\n",
     MIME_REENCODE, "\r\nContent-Transfer-Encoding: base64\r\n"},
    {"8bit and 7bit labels, clean", "Content-Transfer-Encoding: 8bit\r\nContent-Transfer-Encoding: 7bit\r\n\r\nx\r\n",
     MIME_REENCODE, "Content-Transfer-Encoding: 7bit\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\nx"},
    {"conflicting labels on top, clean", "Content-Transfer-Encoding: base64\r\nContent-Transfer-Encoding: 7bit\r\n\r\neA==\r\n",
     MIME_UNSIGNABLE, "conflicting"},
    {"conflicting labels in a part, clean",
     MIXED "\r\n--b\r\nContent-Transfer-Encoding: base64\r\nContent-Transfer-Encoding: 7bit\r\n\r\neA==\r\n--b--\r\n", MIME_FAST,
     "eA=="},
    {"equal labels on top", "Content-Transfer-Encoding: base64\r\nContent-Transfer-Encoding: BASE64\r\n\r\neA==\r\n", MIME_FAST,
     "eA=="},
    {"label in quotes of a comment", "Content-Transfer-Encoding: (\"8bit\") 7bit\r\n\r\nx\r\n", MIME_FAST, "x"},
    {"8bit label with a comment", "Content-Transfer-Encoding: 8Bit (data)\r\n\r\nx\r\n", MIME_REENCODE, "Encoding: 7bit\r\n"},
    {"8bit label with a semicolon", "Content-Transfer-Encoding: 8bit;\r\n\r\nx\r\n", MIME_REENCODE, "Encoding: 7bit\r\n"},
    {"base64 with a semicolon, dirty", "Content-Transfer-Encoding: base64;\r\n\r\n\xe9\r\n", MIME_UNSIGNABLE,
     "unknown transfer encoding"},
    {"misspelt label, dirty", "Content-Transfer-Encoding: 8-bits\r\n\r\n\xe9\r\n", MIME_UNSIGNABLE, "unknown transfer encoding"},
    {"charset for a label, dirty", "Content-Transfer-Encoding: utf-8\r\n\r\ncaf\xc3\xa9 au lait, and so on\r\n", MIME_REENCODE,
     "Encoding: quoted-printable\r\n"},
    {"empty label, dirty", "Content-Transfer-Encoding:\r\n\r\ncaf\xc3\xa9 au lait, and so on\r\n", MIME_REENCODE,
     "Encoding: quoted-printable\r\n"},
    {"fragment with an 8bit label, clean",
     "Content-Type: message/partial; id=1; number=1\r\nContent-Transfer-Encoding: 8bit\r\n\r\nx\r\n", MIME_REENCODE,
     "Encoding: 7bit\r\n"},
    {"bare CR in text", "Content-Type: text/plain\r\n\r\na\rb\r\n", MIME_REENCODE, "\r\n\r\nYQ1iDQo=\r\n"},
    {"bare LF in text", "Content-Type: text/plain\r\n\r\na\nb\r\n", MIME_REENCODE, "\r\n\r\nYQpiDQo=\r\n"},
    {"bare LF before a delimiter", MIXED "\r\n--b\r\n\r\nx\n--b--\r\n", MIME_UNSIGNABLE, "bare LF before"},
    {"bare LF behind a delimiter", MIXED "\r\n--b\n\r\nx\r\n--b--\r\n", MIME_UNSIGNABLE, "bare LF behind"},
    {"bare CR in a part header", MIXED "\r\n--b\r\nContent-ID: a\rb\r\n\r\nx\r\n--b--\r\n", MIME_UNSIGNABLE, "part header"},
    {"bare LF ends a part header", MIXED "\r\n--b\r\nContent-ID: a\r\n\nx\r\n--b--\r\n", MIME_UNSIGNABLE, "part header"},
    {"From_ line in html", "Content-Type: text/html\r\n\r\nFrom x\r\n", MIME_REENCODE, "=46rom x\r\n"},
    {"From_ line without a type", "\r\nFrom x\r\n", MIME_REENCODE,
     "Content-Type: text/plain; charset=us-ascii\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=46rom x\r\n"},
    {"From_ line in a message part", "Content-Type: message/delivery-status\r\n\r\nFrom x\r\n", MIME_FAST, "\r\nFrom x\r\n"},
    {"From_ line in quoted-printable", "Content-Transfer-Encoding: quoted-printable\r\n\r\nFrom x\r\n", MIME_FAST,
     "\r\nFrom x\r\n"},
    {"From_ line inside a signed part", SIGNED "\r\n--s\r\n\r\nFrom x\r\n--s--\r\n", MIME_FAST, "\r\nFrom x\r\n"},
    {"From_ line where a delimiter is doubtful", MIXED "\r\n--b\r\n\r\nFrom x\r\n--bc\r\n--b--\r\n", MIME_FAST, "\r\nFrom x\r\n"},
    {"From_ line below two types, the first of which is signed",
     "Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\nFrom x\r\n", MIME_REENCODE,
     "Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=46rom x\r\n"},
    {"From_ line in a part with two types",
     MIXED "\r\n--b\r\nContent-Type: text/plain\r\nContent-Type: text/html\r\n\r\nFrom x\r\n--b--\r\n", MIME_FAST,
     "\r\nFrom x\r\n"},
    {"8bit label inside a signed part", SIGNED "\r\n--s\r\n" TEXT8 "--s--\r\n", MIME_UNSIGNABLE, "signed part"},
    {"8bit label of a signed part itself",
     MIXED "\r\n--b\r\nContent-Transfer-Encoding: 8bit\r\n" SIGNED "\r\n--s\r\n\r\nx\r\n--s--\r\n--b--\r\n", MIME_REENCODE,
     "\r\nContent-Transfer-Encoding: 7bit\r\nContent-Type: multipart/signed"},
    {"message inside a signed part",
     SIGNED "\r\n--s\r\nContent-Type: message/rfc822\r\n\r\n" MIXED "\r\n--b\r\n" TEXT8 "--b--\r\n--s--\r\n", MIME_UNSIGNABLE,
     "signed part"},
    {"behind a signed part", MIXED "\r\n--b\r\n" SIGNED "\r\n--s\r\n\r\nx\r\n--s--\r\n--b\r\n" TEXT8 "--b--\r\n", MIME_REENCODE,
     "caf=C3=A9 au lait"},
    {"label-like line, clear structure", MIXED "\r\n--b\r\n\r\nContent-Transfer-Encoding: 8bit\r\n--b--\r\n", MIME_FAST, "8bit"},
    {"label-like line, doubtful delimiter", MIXED "\r\n--b\r\n\r\nContent-Transfer-Encoding: 8bit\r\n--bc\r\n--b--\r\n",
     MIME_UNSIGNABLE, "begins like a delimiter"},
    {"folded label-like line, doubtful delimiter",
     MIXED "\r\n--b\r\n\r\ncontent-transfer-encoding :\r\n 8bit\r\n--bc\r\n--b--\r\n", MIME_UNSIGNABLE,
     "begins like a delimiter"},
    {"base64 label-like line, doubtful delimiter", MIXED "\r\n--b\r\n\r\nContent-Transfer-Encoding: base64\r\n--bc\r\n--b--\r\n",
     MIME_FAST, "base64"},
    {"the same boundary twice, 8-bit", MIXED "\r\n--b\r\n" MIXED "\r\n--b\r\n" TEXT8 "--b--\r\n--b--\r\n", MIME_UNSIGNABLE,
     "an outer multipart has as well"},
    {"a boundary that looks closed, 8-bit", MIXED "\r\n--b\r\nContent-Type: multipart/mixed; boundary=b--\r\n\r\n--b--\r\n" TEXT8,
     MIME_UNSIGNABLE, "an outer multipart has as well"},
    {"unfinished quotes around the boundary, 8-bit",
     "Content-Type: multipart/mixed; boundary=\"b\r\n\r\n--b\r\n" TEXT8 "--b--\r\n", MIME_UNSIGNABLE, "readers may disagree"},
    {"a comment behind the boundary, 8-bit", "Content-Type: multipart/mixed; boundary=b (c)\r\n\r\n--b\r\n" TEXT8 "--b--\r\n",
     MIME_UNSIGNABLE, "readers may disagree"},
    {"a boundary in pieces, 8-bit", "Content-Type: multipart/mixed; boundary*0=b\r\n\r\n--b\r\n" TEXT8 "--b--\r\n",
     MIME_UNSIGNABLE, "without parts"},
    {"an escape in a quoted boundary", "Content-Type: multipart/mixed; boundary=\"\\b;c\"\r\n\r\n--b;c\r\n" TEXT8 "--b;c--\r\n",
     MIME_REENCODE, "--b;c\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n"},
    {"comments around the type", "Content-Type: (a(b)) multipart/mixed (c); (d) boundary = b\r\n\r\n--b\r\n" TEXT8 "--b--\r\n",
     MIME_REENCODE, "caf=C3=A9"},
    {"multipart without a subtype, 8-bit", "Content-Type: multipart; boundary=b\r\n\r\n--b\r\n" TEXT8 "--b--\r\n",
     MIME_UNSIGNABLE, "readers may disagree"},
    {"multipart that is closed before its first part, 8-bit before", MIXED "\r\n\xe9\r\n--b--\r\n", MIME_UNSIGNABLE,
     "without parts"},
    {"multipart that is closed before its first part, 8-bit behind", MIXED "\r\n--b--\r\n\xe9\r\n", MIME_UNSIGNABLE,
     "without parts"},
    {"equals signs make base64 shorter", "Content-Type: text/plain\r\n\r\n\xe9 =====================\r\n", MIME_REENCODE,
     "Encoding: base64\r\n"},
    {"control octets make base64 shorter",
     "Content-Type: text/plain\r\n\r\n\xe9 \x01\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\r\n", MIME_REENCODE,
     "Encoding: base64\r\n"},
    {"tabs do not", "Content-Type: text/plain\r\n\r\n\xe9 \t\t\t\t\t\t\t\t\t\t\t\t\tx\r\n", MIME_REENCODE,
     "Encoding: quoted-printable\r\n"},
    {"8-bit leaf that ends without a line end", "Content-Type: text/plain\r\n\r\ncaf\xc3\xa9 au lait, and so on", MIME_REENCODE,
     "caf=C3=A9 au lait, and so on"},
    {"message/global with a label inside", "Content-Type: message/global\r\n\r\nContent-Transfer-Encoding: 8bit\r\n\r\nx\r\n",
     MIME_REENCODE, "Encoding: base64\r\n\r\nQ29udGVud"},
    {"encoded message with a label inside",
     "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nContent-Transfer-Encoding: "
     "8bit\r\n\r\nx\r\n",
     MIME_UNSIGNABLE, "8bit label inside"},
    {"a delimiter where base64 drops an octet",
     MIXED "\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\nAAEC\r\n-\xe9-b--\r\n--b--\r\n", MIME_REENCODE,
     "AAEC\r\nb--\r\n--b--\r\n"},
};

static void verdicts_follow_the_rules(void)
{
	for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++) {
		struct bytes message = bytes_text(verdicts[i].message);
		struct mime_scan *scan = scan_in_pieces(message, FEED_WHOLE), *octets = scan_in_pieces(message, 1);
		struct buf part = {0};

		test_case("%s", verdicts[i].name);
		CHECK_TEXT(verdict_names[mime_scan_verdict(scan)], verdict_names[verdicts[i].verdict]);
		check_same_scan(scan, octets);
		check_properties(scan, message);
		if (mime_scan_verdict(scan) == MIME_UNSIGNABLE)
			CHECK_CONTAINS(mime_scan_reason(scan), verdicts[i].says);
		else if (render_part(scan, message, &part))
			CHECK_CONTAINS(buf_text(&part), verdicts[i].says);
		buf_clear(&part);
		mime_scan_free(scan);
		mime_scan_free(octets);
	}
}

static const struct {
	const char *name, *message, *note; /* NULL: none */
} notes[] = {
    {"nothing", "\r\nx\r\n", NULL},
    {"raw 8-bit in a part header", MIXED "\r\n--b\r\nContent-ID: \xe9\r\n\r\nx\r\n--b--\r\n", "raw 8-bit"},
    {"raw 8-bit on top", "Subject: \xe9\r\n\r\nx\r\n", NULL},
    {"raw 8-bit in a Content field on top", "Content-ID: \xe9\r\n\r\nx\r\n", "raw 8-bit"},
    {"two Content-Type fields", "Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\nx\r\n", "several Content-Type"},
    {"two of another field", "Content-ID: <a@b>\r\nContent-ID: <a@b>\r\n\r\nx\r\n", "twice"},
    {"From_ line that stays", SIGNED "\r\n--s\r\n\r\nFrom x\r\n--s--\r\n", "From line"},
};

static void oddities_are_noted(void)
{
	for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) {
		struct mime_scan *scan = scan_text(notes[i].message);
		const char *note;

		test_case("%s", notes[i].name);
		CHECK_INT(mime_scan_noted(scan, &note), notes[i].note != NULL);
		CHECK_CONTAINS(note, notes[i].note != NULL ? notes[i].note : "");
		mime_scan_free(scan);
	}
}

static void long_header_lines_are_folded(void)
{
	struct buf message = {0}, part = {0};
	struct mime_scan *scan;

	buf_put_text(&message, MIXED "\r\n--b\r\nContent-Description \t:");
	for (unsigned i = 0; i < 400; i++)
		buf_put_text(&message, " word  word");
	buf_put_text(&message, "      \r\n\r\nx\r\n--b--\r\n");
	scan = scan_in_pieces(buf_bytes(&message), FEED_WHOLE);
	CHECK_INT(mime_scan_verdict(scan), MIME_REENCODE);
	check_properties(scan, buf_bytes(&message));
	if (render_part(scan, buf_bytes(&message), &part)) {
		CHECK_CONTAINS(buf_text(&part), "\r\nContent-Description: word  word word");
		CHECK_CONTAINS(buf_text(&part), "word\r\n ");
	}
	mime_scan_free(scan);
	buf_clear(&message);
	buf_clear(&part);
}

/* Around the length at which a line is no longer looked at whole, pieces must make no difference either. */
static void long_lines_are_cut_alike(void)
{
	static const struct {
		const char *name, *before, *fill, *after;
	} lines[] = {
	    {"field name", "From: a@b\r\n", "n", ": x\r\n\r\nbody\r\n"},
	    {"delimiter and blanks", MIXED "\r\n--b", " ", "\r\n\r\nx\r\n--b--\r\n"},
	    {"text that begins like a delimiter", MIXED "\r\n--b\r\n\r\n--b", "x", "\r\n--b--\r\n"},
	    {"text and a bare CR", "\r\n", "y", "\r\rz\r\n"},
	    {"From_ line", "Content-Type: text/plain\r\n\r\nFrom ", "z", "\r\n"},
	    {"label over two lines", MIXED "\r\n--b\r\nContent-Transfer-Encoding: 8bit\r\n ", "( )",
	     "\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xe9\r\n--b--\r\n"},
	    {"label", "Content-Type: message/global\r\n\r\nContent-Transfer-Encoding: 8bit", " ", "\r\n"},
	};

	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		for (size_t fill = 980; fill < 1040; fill++) {
			struct buf message = {0};
			struct mime_scan *whole, *octets;

			test_case("%s, %zu octets", lines[i].name, fill);
			buf_put_text(&message, lines[i].before);
			for (size_t k = 0; k < fill; k++)
				buf_put_text(&message, lines[i].fill);
			buf_put_text(&message, lines[i].after);
			whole = scan_in_pieces(buf_bytes(&message), FEED_WHOLE);
			octets = scan_in_pieces(buf_bytes(&message), 1);
			check_same_scan(whole, octets);
			check_properties(whole, buf_bytes(&message));
			mime_scan_free(whole);
			mime_scan_free(octets);
			buf_clear(&message);
		}
	}
}

int main(void)
{
	TEST(heads_are_what_is_signed);
	TEST(headers_are_taken_apart);
	TEST(fields_are_found);
	TEST(header_is_complete_at_its_empty_line);
	TEST(nul_in_the_header_is_told);
	TEST(header_over_the_limit_is_told);
	TEST(root_ends_at_its_closing_delimiter);
	TEST(only_a_root_multipart_is_cut);
	TEST(verdicts_follow_the_rules);
	TEST(oddities_are_noted);
	TEST(long_header_lines_are_folded);
	TEST(long_lines_are_cut_alike);
	return test_finish();
}
