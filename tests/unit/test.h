/*
 * The assertions of every C test: each prints both operands when it fails, and the test goes on. A test program is
 *
 *     static void splits_a_line(void) { CHECK_INT(2 + 2, 4); }
 *     int main(void) { TEST(splits_a_line); return test_finish(); }
 *
 * and prints `ok NAME` or `FAIL NAME` a test, then `N passed, N failed`. In tables name the case with test_case().
 */
#ifndef INKAN_TESTS_TEST_H
#define INKAN_TESTS_TEST_H

#include "appliance/base/bytes.h"

#define TEST(function) test_run(#function, function)

/* In a child process of its own: what it loads, breaks or hangs in does not reach the other tests. */
#define TEST_IN_CHILD(function, seconds) test_run_in_child(#function, function, seconds)

void test_run(const char *name, void (*function)(void));
void test_run_in_child(const char *name, void (*function)(void), unsigned seconds);
void test_case(const char *format, ...) PRINTF_LIKE(1, 2); /* shown with failures until the next one or the end of the test */
int test_finish(void); /* main's exit status; 1 also when no test ran */

#define CHECK(condition) test_check((condition), __FILE__, __LINE__, #condition)
#define CHECK_OK(call, err) test_check_ok((call), (err), __FILE__, __LINE__, #call)
#define CHECK_INT(got, want) test_check_int((int64_t)(got), (int64_t)(want), __FILE__, __LINE__, #got)
#define CHECK_TEXT(got, want) test_check_text((got), (want), __FILE__, __LINE__, #got)
#define CHECK_BYTES(got, want) test_check_bytes((got), (want), __FILE__, __LINE__, #got)
#define CHECK_CONTAINS(got, part) test_check_contains((got), (part), __FILE__, __LINE__, #got)

/* Each returns whether the check held, so that a test can stop: `if (!CHECK(x)) return;` */
bool test_check(bool condition, const char *file, int line, const char *text);
bool test_check_ok(bool ok, const struct err *err, const char *file, int line, const char *text);
bool test_check_int(int64_t got, int64_t want, const char *file, int line, const char *text);
bool test_check_text(const char *got, const char *want, const char *file, int line, const char *text);
bool test_check_bytes(struct bytes got, struct bytes want, const char *file, int line, const char *text);
bool test_check_contains(const char *got, const char *part, const char *file, int line, const char *text);

/* A new empty directory below $TMPDIR or /tmp, removed with everything in it at test_finish. */
const char *test_directory(void);
bool test_read_file(const char *path, struct buf *out); /* the whole file, appended */
bool test_write_file(const char *path, struct bytes octets);

/* ../shared of the checkout ($INKAN_SHARED or found upwards from the working directory), or NULL. */
const char *test_shared(void);

#endif
