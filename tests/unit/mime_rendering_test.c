/* Pieces, their serialised form, and the shape of a signed message. */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/mime_support.h"

/* ---- Pieces ---- */

static void neighbours_become_one_piece(void)
{
	struct rendering rendering = {0};

	rendering_add_literal(&rendering, bytes_text("ab"));
	rendering_add_literal(&rendering, bytes_text("cd"));
	rendering_add_range(&rendering, PIECE_ORIGINAL, 10, 5);
	rendering_add_range(&rendering, PIECE_ORIGINAL, 15, 5);
	rendering_add_range(&rendering, PIECE_ORIGINAL, 30, 0);
	rendering_add_range(&rendering, PIECE_ORIGINAL, 30, 1);
	rendering_add_range(&rendering, PIECE_ENCODED, 31, 1);
	CHECK_INT(rendering.count, 4);
	CHECK_INT(rendering.size, 4 + 10 + 1 + 1);
	CHECK_INT(rendering.pieces[1].length, 10);
	rendering_clear(&rendering);
	CHECK_INT(rendering.count, 0);
}

static void appending_moves_the_literals(void)
{
	struct rendering a = {0}, b = {0};
	struct buf out = {0};

	rendering_add_literal(&a, bytes_text("head "));
	rendering_add_literal(&b, bytes_text("body "));
	rendering_add_range(&b, PIECE_ORIGINAL, 2, 3);
	rendering_add_literal(&b, bytes_text(" tail"));
	rendering_add_range(&b, PIECE_ENCODED, 0, 1);
	rendering_append(&a, &b);
	flatten(&a, bytes_text("..xyz"), bytes_text("E"), &out);
	CHECK_TEXT(buf_text(&out), "head body xyz tailE");
	buf_clear(&out);
	rendering_clear(&a);
	rendering_clear(&b);
}

static void make_sample(struct rendering *rendering)
{
	rendering_add_literal(rendering, bytes_text("literal octets"));
	rendering_add_range(rendering, PIECE_ORIGINAL, 100, 1ull << 40);
	rendering_add_range(rendering, PIECE_ENCODED, 0, 77);
	rendering_add_literal(rendering, bytes_text("more"));
}

static void serialised_form_comes_back(void)
{
	struct rendering sample = {0}, read = {0};
	struct buf octets = {0}, again = {0};
	struct err err;

	make_sample(&sample);
	rendering_encode(&octets, &sample);
	if (CHECK_OK(rendering_decode(buf_bytes(&octets), &read, &err), &err)) {
		CHECK_INT(read.count, sample.count);
		CHECK_INT(read.size, sample.size);
		rendering_encode(&again, &read);
		CHECK_BYTES(buf_bytes(&again), buf_bytes(&octets));
	}
	rendering_clear(&sample);
	rendering_clear(&read);
	buf_clear(&octets);
	buf_clear(&again);
}

static void every_cut_is_refused(void)
{
	struct rendering sample = {0}, read = {0};
	struct buf octets = {0};
	struct err err;

	make_sample(&sample);
	rendering_encode(&octets, &sample);
	for (size_t len = 0; len < octets.len; len++) {
		test_case("%zu octets", len);
		CHECK(!rendering_decode(bytes_of(octets.data, len), &read, &err));
		CHECK_INT(err.code, ERR_INVALID);
		CHECK_INT(read.count, 0);
	}
	buf_put_byte(&octets, 0);
	test_case("one octet more");
	CHECK(!rendering_decode(buf_bytes(&octets), &read, &err));
	rendering_clear(&sample);
	buf_clear(&octets);
}

static const struct {
	const char *name;
	struct piece piece;
} bad_pieces[] = {
    {"source", {(enum piece_source)3, 0, 1}},
    {"no length", {PIECE_ORIGINAL, 5, 0}},
    {"literal too far", {PIECE_LITERAL, 1, 4}},
    {"overflow", {PIECE_ORIGINAL, UINT64_MAX, 2}},
    {"end over the sign", {PIECE_ENCODED, INT64_MAX, 1}},
};

static void bad_pieces_are_refused(void)
{
	for (size_t i = 0; i < sizeof bad_pieces / sizeof *bad_pieces; i++) {
		struct piece piece = bad_pieces[i].piece;
		struct rendering bad = {.pieces = &piece, .count = 1}, read = {0};
		struct buf octets = {0};
		struct err err;

		test_case("%s", bad_pieces[i].name);
		buf_put_text(&bad.literal, "abcd");
		rendering_encode(&octets, &bad);
		CHECK(!rendering_decode(buf_bytes(&octets), &read, &err));
		CHECK_CONTAINS(err.text, "rendering");
		buf_clear(&octets);
		buf_clear(&bad.literal);
	}
}

/* ---- Boundaries ---- */

static void boundaries_are_random(void)
{
	char a[RENDERING_BOUNDARY_BYTES], b[RENDERING_BOUNDARY_BYTES];
	struct err err;

	CHECK_OK(rendering_new_boundary(a, &err), &err);
	CHECK_OK(rendering_new_boundary(b, &err), &err);
	CHECK_INT(strlen(a), 44);
	CHECK(strncmp(a, "----=_inkan_", 12) == 0);
	CHECK_INT(strspn(a + 12, "0123456789abcdef"), 32);
	CHECK(strcmp(a, b) != 0);
}

/* ---- The signed message (smime.md §2) ---- */

static const uint8_t cms[100] = {0x30, 0x62, 1, 2, 3};

#define BOUNDARY "----=_inkan_00000000000000000000000000000000"
#define FRAME_HEAD                                                                                                               \
	"MIME-Version: 1.0\r\n"                                                                                                  \
	"Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\";\r\n"                                          \
	" micalg=sha-384; boundary=\"" BOUNDARY "\"\r\n"                                                                         \
	"\r\n"                                                                                                                   \
	"--" BOUNDARY "\r\n"
#define FRAME_TAIL                                                                                                               \
	"\r\n--" BOUNDARY "\r\n"                                                                                                 \
	"Content-Type: application/pkcs7-signature; name=\"smime.p7s\"\r\n"                                                      \
	"Content-Transfer-Encoding: base64\r\n"                                                                                  \
	"Content-Disposition: attachment; filename=\"smime.p7s\"\r\n"                                                            \
	"\r\n"                                                                                                                   \
	"MGIBAgMAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n"                                                   \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n"                                                   \
	"AAAAAA==\r\n"                                                                                                           \
	"\r\n--" BOUNDARY "--\r\n"

static const struct {
	const char *name, *message, *want;
} shapes[] = {
    {"text",
     "Received: by x\r\nmime-version: 1.0 (Mac OS)\r\nFrom: a@b\r\nContent-Type: text/plain;\r\n\tcharset=us-ascii\r\nSubject: "
     "s\r\n\r\nbody\r\n",
     "Received: by x\r\nFrom: a@b\r\nSubject: s\r\n" FRAME_HEAD
     "Content-Type: text/plain;\r\n\tcharset=us-ascii\r\n\r\nbody\r\n" FRAME_TAIL},
    {"no type", "From: a@b\r\n\r\nbody",
     "From: a@b\r\n" FRAME_HEAD "Content-Type: text/plain; charset=us-ascii\r\n\r\nbody" FRAME_TAIL},
    {"no body, no line end", "From: a@b",
     "From: a@b\r\n" FRAME_HEAD "Content-Type: text/plain; charset=us-ascii\r\n\r\n" FRAME_TAIL},
    {"mbox line, empty field, blanks before the colon", "From a@b Mon\r\nX-Empty:\r\nFrom : a@b\r\n\r\nx\r\n",
     "From a@b Mon\r\nX-Empty:\r\nFrom : a@b\r\n" FRAME_HEAD
     "Content-Type: text/plain; charset=us-ascii\r\n\r\nx\r\n" FRAME_TAIL},
    {"epilogue", "Content-Type: multipart/mixed; boundary=b\r\nFrom: a@b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n\r\nfooter\r\n",
     "From: a@b\r\n" FRAME_HEAD "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n" FRAME_TAIL},
    {"re-encoded",
     "Content-MD5: x\r\nContent-Transfer-Encoding: 8bit\r\nFrom: a@b\r\nContent-Type: text/plain\r\n\r\ncaf\xc3\xa9 au lait, and "
     "so on\r\n",
     "From: a@b\r\n" FRAME_HEAD "Content-Transfer-Encoding: quoted-printable\r\nContent-Type: text/plain\r\n\r\ncaf=C3=A9 au "
     "lait, and so on\r\n" FRAME_TAIL},
    {"a label without a line end", "From: a@b\r\nContent-Transfer-Encoding: 8bit",
     "From: a@b\r\n" FRAME_HEAD
     "Content-Transfer-Encoding: 7bit\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n" FRAME_TAIL},
    {"a field with a blank before the colon, without a line end", "Content-ID : x",
     FRAME_HEAD "Content-ID: x\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n" FRAME_TAIL},
    {"re-encoded as base64 at the end", "Content-Type: application/x\r\nContent-ID: <1@x>\r\n\r\n\xff\xfe",
     FRAME_HEAD
     "Content-Type: application/x\r\nContent-ID: <1@x>\r\nContent-Transfer-Encoding: base64\r\n\r\n//4=\r\n" FRAME_TAIL},
};

static void signed_messages_have_their_shape(void)
{
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
		struct bytes message = bytes_text(shapes[i].message);
		struct mime_scan *scan = scan_in_pieces(message, FEED_WHOLE);
		struct memory_io memory = {.original = message};
		struct rendering_io io = {memory_read, memory_write, memory_hash, &memory};
		struct rendering part = {0}, whole = {0};
		struct buf out = {0};
		struct err err;

		test_case("%s", shapes[i].name);
		if (CHECK_OK(rendering_signed_part(scan, &io, &part, &err), &err)) {
			rendering_signed_message(scan, &part, "sha-384", BOUNDARY, bytes_of(cms, sizeof cms), &whole);
			flatten(&whole, message, buf_bytes(&memory.encoded), &out);
			CHECK_TEXT(buf_text(&out), shapes[i].want);
		}
		rendering_clear(&part);
		rendering_clear(&whole);
		memory_io_clear(&memory);
		buf_clear(&out);
		mime_scan_free(scan);
	}
}

/* ---- Where encoded octets go ---- */

static void make_dirty(struct buf *message, size_t size)
{
	buf_put_text(message, "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n");
	while (message->len < size)
		buf_put_text(message, "caf\xc3\xa9 au lait, and so on, line by line\r\n");
	buf_put_text(message, "--b--\r\n");
}

static void small_leaves_stay_literal(void)
{
	static const size_t sizes[] = {1000, 200000, 500000};

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct buf message = {0};
		struct mime_scan *scan;
		struct memory_io memory = {0};
		struct rendering_io io = {memory_read, memory_write, memory_hash, &memory};
		struct rendering part = {0};
		struct err err;

		make_dirty(&message, sizes[i]);
		memory.original = buf_bytes(&message);
		scan = scan_in_pieces(buf_bytes(&message), FEED_WHOLE);
		test_case("%zu octets", sizes[i]);
		CHECK_OK(rendering_signed_part(scan, &io, &part, &err), &err);
		CHECK(part.literal.len <= RENDERING_LITERAL_MAX_BYTES);
		CHECK_INT(memory.encoded.len > 0, sizes[i] > RENDERING_LITERAL_MAX_BYTES);
		CHECK_INT(memory.hashed.len, part.size);
		mime_scan_free(scan);
		rendering_clear(&part);
		memory_io_clear(&memory);
		buf_clear(&message);
	}
}

/* ---- Failures ---- */

static ssize_t failing_read(void *arg, void *data, size_t len, uint64_t offset, struct err *err)
{
	(void)arg;
	(void)data;
	(void)len;
	(void)offset;
	err_set(err, ERR_SYSTEM, "no such disk");
	return -1;
}

static bool failing_write(void *arg, struct bytes octets, struct err *err)
{
	(void)arg;
	(void)octets;
	return err_set(err, ERR_LIMIT, "disk full");
}

static void failures_leave_nothing(void)
{
	struct buf message = {0};
	struct mime_scan *scan;
	struct memory_io memory = {0};
	const struct {
		const char *name;
		struct rendering_io io;
		enum err_code code;
		const char *text;
		size_t original;
	} failures[] = {
	    {"read", {failing_read, memory_write, memory_hash, &memory}, ERR_SYSTEM, "no such disk", SIZE_MAX},
	    {"write", {memory_read, failing_write, memory_hash, &memory}, ERR_LIMIT, "disk full", SIZE_MAX},
	    {"short original", {memory_read, memory_write, memory_hash, &memory}, ERR_INTEGRITY, "ends at octet 1000", 1000},
	};

	make_dirty(&message, 500000);
	scan = scan_in_pieces(buf_bytes(&message), FEED_WHOLE);
	for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
		struct rendering part = {0};
		struct err err = {0};

		test_case("%s", failures[i].name);
		memory.original = bytes_slice(buf_bytes(&message), 0, failures[i].original);
		CHECK(!rendering_signed_part(scan, &failures[i].io, &part, &err));
		CHECK_INT(err.code, failures[i].code);
		CHECK_CONTAINS(err.text, failures[i].text);
		CHECK_INT(part.count, 0);
		CHECK_INT(part.size, 0);
		memory_io_clear(&memory);
	}
	mime_scan_free(scan);
	buf_clear(&message);
}

/* The stored body is not what was scanned: the second scan sees it. */
static void changed_original_is_an_integrity_error(void)
{
	static const char
	    scanned[] =
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nplain \r\n--b\r\n\r\ncaf\xc3\xa9\r\n--b--\r\n",
	    stored[] =
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\npl\xe9in \r\n--b\r\n\r\ncaf\xc3\xa9\r\n--b--\r\n";
	struct mime_scan *scan = scan_text(scanned);
	struct memory_io memory = {.original = bytes_text(stored)};
	struct rendering_io io = {memory_read, memory_write, memory_hash, &memory};
	struct rendering part = {0};
	struct err err = {0};

	CHECK(!rendering_signed_part(scan, &io, &part, &err));
	CHECK_INT(err.code, ERR_INTEGRITY);
	CHECK_CONTAINS(err.text, "not fit to be signed");
	CHECK_INT(part.count, 0);
	memory_io_clear(&memory);
	mime_scan_free(scan);
}

int main(void)
{
	TEST(neighbours_become_one_piece);
	TEST(appending_moves_the_literals);
	TEST(serialised_form_comes_back);
	TEST(every_cut_is_refused);
	TEST(bad_pieces_are_refused);
	TEST(boundaries_are_random);
	TEST(signed_messages_have_their_shape);
	TEST(small_leaves_stay_literal);
	TEST(failures_leave_nothing);
	TEST(changed_original_is_an_integrity_error);
	return test_finish();
}
