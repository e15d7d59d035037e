/* ../shared/corpus/hard: one hazard a file, the verdict that mime.md expects, and the properties of its §5. */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/mime_support.h"

#define HARD_CASES 81

struct hard_case {
	char *file, *expected;
};

static struct hard_case cases[HARD_CASES + 1];
static size_t n_cases;

static void read_index(void)
{
	const char *shared = test_shared();
	struct buf index = {0};
	char *path, *line, *rest;

	if (!CHECK(shared != NULL))
		return;
	path = mem_format("%s/corpus/hard/index.tsv", shared);
	if (CHECK(test_read_file(path, &index))) {
		line = strtok_r((char *)(uintptr_t)buf_text(&index), "\n", &rest);
		while ((line = strtok_r(NULL, "\n", &rest)) != NULL && n_cases <= HARD_CASES) {
			char *fields, *file = strtok_r(line, "\t", &fields);

			strtok_r(NULL, "\t", &fields);
			cases[n_cases++] = (struct hard_case){mem_string(file), mem_string(strtok_r(NULL, "\t", &fields))};
		}
	}
	free(path);
	buf_clear(&index);
}

static void each_case(void (*visit)(const struct hard_case *hard, struct bytes message))
{
	CHECK_INT(n_cases, HARD_CASES);
	for (size_t i = 0; i < n_cases; i++) {
		char *path = mem_format("%s/corpus/hard/%s", test_shared(), cases[i].file);
		struct buf message = {0};

		test_case("%s", cases[i].file);
		if (CHECK(test_read_file(path, &message)))
			visit(&cases[i], buf_bytes(&message));
		buf_clear(&message);
		free(path);
	}
}

static void check_verdict(const struct hard_case *hard, struct bytes message)
{
	struct mime_scan *scan = scan_in_pieces(message, FEED_WHOLE);

	CHECK_TEXT(verdict_names[mime_scan_verdict(scan)], hard->expected);
	mime_scan_free(scan);
}

static void check_pieces(const struct hard_case *hard, struct bytes message)
{
	static const size_t sizes[] = {1, 7, 1000};
	struct mime_scan *whole = scan_in_pieces(message, FEED_WHOLE);

	(void)hard;
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct mime_scan *pieces = scan_in_pieces(message, sizes[i]);

		check_same_scan(whole, pieces);
		mime_scan_free(pieces);
	}
	mime_scan_free(whole);
}

static void check_case_properties(const struct hard_case *hard, struct bytes message)
{
	struct mime_scan *scan = scan_in_pieces(message, FEED_WHOLE);

	(void)hard;
	check_properties(scan, message);
	mime_scan_free(scan);
}

static void verdicts_are_the_expected_ones(void)
{
	each_case(check_verdict);
}

static void pieces_make_no_difference(void)
{
	each_case(check_pieces);
}

static void properties_hold(void)
{
	each_case(check_case_properties);
}

/* What the named cases of mime.md §5 turn into. */
static const struct {
	const char *file, *contains, *lacks;
} looks[] = {
    {"r06-label-only-8bit.eml", "Content-Transfer-Encoding: 7bit\r\n", "8bit"},
    {"r07-multipart-label-8bit.eml", "Content-Transfer-Encoding: 7bit\r\n", "8bit"},
    {"r11-nul.eml", "Content-Transfer-Encoding: base64\r\n\r\nYQBi", NULL},
    {"r03-no-mime-8bit.eml", "Content-Transfer-Encoding: quoted-printable\r\n\r\ncaf=E9\r\n", "Content-Type"},
    {"r14-rfc822-8bit.eml", "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\nFrom: a@", "8bit"},
    {"r17-qp-8bit.eml", "caf=C3=A9 caf=C3=A9 soft=\r\nbreak\r\n", NULL},
    {"r19-base64-8bit.eml", "\r\n\r\nAAECAwQ=\r\n", NULL},
    {"r21-preamble-8bit.eml", "\r\n\r\n?????????\r\n--bnd\r\n", NULL},
    {"r22-epilogue-8bit.eml", "ascii part\r\n--bnd--\r\n", "?"},
    {"r24-dashes-8bit.eml", "=C3=A9\r\n=2D-=20\r\n=2D-other\r\n=2D-bn\r\nend\r\n", NULL},
    {"r25-soft-break-boundary.eml", "=\r\n=2D-bnd--", "\r\n--bnd--y"},
    {"r26-from-dot-8bit.eml", "=46rom caf=C3=A9\r\n=2E\r\n=2E.\r\n=46rom x\r\n", "\r\nFrom "},
    {"r27-trailing-ws-8bit.eml", "=20\r\n", " \r\n"},
    {"r28-two-cte-8bit.eml", "Content-Transfer-Encoding: quoted-printable\r\n\r\n", "8bit"},
    {"r29-name-space-colon.eml", "--bnd\r\nContent-Type: text/plain\r\n", "Type :"},
    {"r31-inner-8bit-header-8bit.eml", "name=\"\xe8\xa6\x8b", NULL},
    {"r37-folded-cte.eml", "Content-Transfer-Encoding: quoted-printable\r\n\r\ncaf=C3=A9", "8bit"},
    {"r40-no-content-type-part.eml", "--bnd\r\nContent-Transfer-Encoding: base64\r\n\r\nY2Fmw6k=\r\n--bnd", NULL},
    {"r41-binary-crlf.eml", "\r\n\r\nDQoNCv8NCg0K/g0KDQo=\r\n--bnd--\r\n", NULL},
    {"r45-from-line.eml", "\r\n=46rom here on\r\n>From there\r\n", "\r\nFrom "},
};

static void outputs_look_right(void)
{
	for (size_t i = 0; i < sizeof looks / sizeof *looks; i++) {
		char *path = mem_format("%s/corpus/hard/%s", test_shared(), looks[i].file);
		struct buf message = {0}, part = {0};
		struct mime_scan *scan;

		test_case("%s", looks[i].file);
		if (!CHECK(test_read_file(path, &message)))
			continue;
		scan = scan_in_pieces(buf_bytes(&message), FEED_WHOLE);
		if (render_part(scan, buf_bytes(&message), &part)) {
			CHECK_CONTAINS(buf_text(&part), looks[i].contains);
			CHECK(looks[i].lacks == NULL || strstr(buf_text(&part), looks[i].lacks) == NULL);
		}
		mime_scan_free(scan);
		buf_clear(&message);
		buf_clear(&part);
		free(path);
	}
}

int main(void)
{
	TEST(read_index);
	TEST(verdicts_are_the_expected_ones);
	TEST(pieces_make_no_difference);
	TEST(properties_hold);
	TEST(outputs_look_right);
	for (size_t i = 0; i < n_cases; i++) {
		free(cases[i].file);
		free(cases[i].expected);
	}
	return test_finish();
}
