#include "appliance/relay/api/multipart.h"

#include <string.h>

#include "tests/unit/test.h"

/* What came out, as text: [name|file|type]data; */
struct record {
	struct buf text;
};

static bool on_begin(const struct multipart_part *part, void *arg, struct err *err)
{
	struct record *record = arg;

	(void)err;
	buf_printf(&record->text, "[%s|%s|%s%s]", part->name, part->file_name == NULL ? "-" : part->file_name, part->type,
		   part->latin1 ? "|latin1" : "");
	return true;
}

static bool on_data(struct bytes octets, void *arg, struct err *err)
{
	(void)err;
	buf_put_bytes(&((struct record *)arg)->text, octets);
	return true;
}

static bool on_end(void *arg, struct err *err)
{
	(void)err;
	buf_put_text(&((struct record *)arg)->text, ";");
	return true;
}

#define PART(head, data) "--b\r\n" head "\r\n\r\n" data "\r\n"
#define NAMED(rest) "Content-Disposition: form-data; name=\"n\"" rest

static const struct {
	const char *in, *out; /* out NULL: refused */
	const char *error;
} cases[] = {
    {PART(NAMED(""), "v") "--b--\r\n", "[n|-|]v;", NULL},
    {"preamble\r\n" PART(NAMED(""), "v") "--b--", "[n|-|]v;", NULL},
    {PART(NAMED(""), "1") PART(NAMED(""), "2") "--b--\r\nepilogue", "[n|-|]1;[n|-|]2;", NULL},
    {PART(NAMED(""), "") "--b--\r\n", "[n|-|];", NULL},
    {PART(NAMED(""), "a\r\n--c\r\n-\r\n--") "--b--\r\n", "[n|-|]a\r\n--c\r\n-\r\n--;", NULL},
    {"--b  \t\r\n" NAMED("") "\r\n\r\nv\r\n--b-- ", "[n|-|]v;", NULL},
    {PART(NAMED("; filename=\"f.txt\"\r\nContent-Type: text/plain; charset=ISO-8859-1"), "v") "--b--",
     "[n|f.txt|text/plain|latin1]v;", NULL},
    {PART("content-disposition:form-data;name=n;filename=f", "v") "--b--", "[n|f|]v;", NULL},
    {PART(NAMED("; filename=\"C:\\dir\\f.txt\""), "v") "--b--", "[n|f.txt|]v;", NULL},
    {PART(NAMED("; filename=\"/etc/passwd\""), "v") "--b--", "[n|passwd|]v;", NULL},
    {PART(NAMED("; filename=\"a%22b\\\"c\""), "v") "--b--", "[n|a\"b\"c|]v;", NULL},
    {PART(NAMED("; filename=\"x.txt\"; filename*=UTF-8''%E8%A6%8B.txt"), "v") "--b--", "[n|\xe8\xa6\x8b.txt|]v;", NULL},
    {PART(NAMED("; filename=\"\xe9.txt\""), "v") "--b--", "[n|\xc3\xa9.txt|]v;", NULL}, /* not UTF-8: ISO-8859-1 */
    {PART(NAMED("; filename=\"a\tb%0D%0Ac\""), "v") "--b--", "[n|a_b__c|]v;", NULL},
    {PART("X: y", "v") "--b--", NULL, "no Content-Disposition"},
    {PART(NAMED(""), "v"), NULL, "ends before its last boundary"},
    {"--bx\r\n", NULL, "a boundary has text behind it"},
    {"", NULL, "ends before its last boundary"},
    {"no parts at all", NULL, "ends before its last boundary"},
};

static void feed(const char *in, size_t step, const char *out, const char *error)
{
	struct record record = {0};
	struct multipart_sink sink = {on_begin, on_data, on_end, &record};
	struct multipart multipart;
	struct err err = {0};
	bool right = true;

	multipart_init(&multipart, bytes_text("b"), &sink);
	for (size_t at = 0, len = strlen(in); right && at < len; at += step)
		right = multipart_feed(&multipart, bytes_slice(bytes_text(in), at, at + step), &err);
	right = right && multipart_finish(&multipart, &err);
	if (CHECK_INT(right, out != NULL) && right)
		CHECK_TEXT(buf_text(&record.text), out);
	else if (!right)
		CHECK_CONTAINS(err.text, error == NULL ? "" : error);
	multipart_clear(&multipart);
	buf_clear(&record.text);
}

static void parts_come_out_however_the_input_is_cut(void)
{
	static const size_t steps[] = {100000, 1, 2, 7};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		for (size_t j = 0; j < sizeof steps / sizeof *steps; j++) {
			test_case("%zu in steps of %zu", i, steps[j]);
			feed(cases[i].in, steps[j], cases[i].out, cases[i].error);
		}
	}
}

static void heads_are_bounded(void)
{
	struct buf in = {0};

	buf_put_text(&in, "--b\r\nX: ");
	for (size_t i = 0; i < MULTIPART_HEAD_MAX_BYTES; i++)
		buf_put_byte(&in, 'x');
	feed(buf_text(&in), 1000, NULL, "header of a part is longer");
	buf_reset(&in);
	for (size_t i = 0; i <= MULTIPART_PARTS_MAX; i++)
		buf_put_text(&in, PART(NAMED(""), ""));
	feed(buf_text(&in), 1000, NULL, "more than 400 parts");
	buf_clear(&in);
}

static void boundaries_are_found(void)
{
	static const struct {
		const char *type, *boundary;
	} types[] = {
	    {"multipart/form-data; boundary=x", "x"},
	    {"Multipart/Form-Data; charset=utf-8; Boundary=\"a b\"", "a b"},
	    {"multipart/form-data;boundary=----WebKitFormBoundary", "----WebKitFormBoundary"},
	    {"multipart/form-data", NULL},
	    {"multipart/form-data; boundary=", NULL},
	    {"multipart/mixed; boundary=x", NULL},
	};

	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		struct buf boundary = {0};

		test_case("%s", types[i].type);
		if (CHECK_INT(multipart_boundary(types[i].type, &boundary), types[i].boundary != NULL) &&
		    types[i].boundary != NULL)
			CHECK_TEXT(buf_text(&boundary), types[i].boundary);
		buf_clear(&boundary);
	}
}

int main(void)
{
	TEST(parts_come_out_however_the_input_is_cut);
	TEST(heads_are_bounded);
	TEST(boundaries_are_found);
	return test_finish();
}
