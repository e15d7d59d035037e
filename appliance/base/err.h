/*
 * The one error idiom of Inkan.
 *
 * A function that can fail returns bool and takes a `struct err *` as its last argument: true is success;
 * false is failure, *err says why, and every output argument is untouched. The code drives behaviour, the text
 * is for people: one line without a final full stop, never holding a secret.
 * `err` may be NULL where the caller does not care. Any thread.
 */
#ifndef INKAN_BASE_ERR_H
#define INKAN_BASE_ERR_H

#include <stdbool.h>

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(at, first) __attribute__((__format__(__printf__, at, first)))

#define ERR_TEXT_MAX 512 /* bytes with the final NUL; longer texts are cut */

enum err_code {
	ERR_NONE = 0,
	ERR_SYSTEM, /* a system call failed; the text ends with strerror */
	ERR_INVALID, /* the input does not follow its grammar or rules */
	ERR_NOT_FOUND, /* what was named does not exist */
	ERR_EXISTS, /* what was to be made exists already */
	ERR_LIMIT, /* a named limit was passed */
	ERR_DENIED, /* not allowed: wrong password, role, PIN */
	ERR_TIMEOUT, /* the deadline passed */
	ERR_UNAVAILABLE, /* the other side (token, disk, peer) is away; trying later may help */
	ERR_INTEGRITY, /* stored or computed data is not what it must be */
	ERR_CANCELLED, /* the caller took the request back */
	ERR_INTERNAL /* a fault of ours */
};

struct err {
	enum err_code code;
	char text[ERR_TEXT_MAX];
};

/* Set *err and return false, so that `return err_set(…)` is the whole failure path. */
bool err_set(struct err *err, enum err_code code, const char *format, ...) PRINTF_LIKE(3, 4);

/* The same with ERR_SYSTEM and ": strerror(errno)" behind the text. errno is kept. */
bool err_errno(struct err *err, const char *format, ...) PRINTF_LIKE(2, 3);

/* Put "TEXT: " in front of what *err says already; the code stays. Returns false. */
bool err_prefix(struct err *err, const char *format, ...) PRINTF_LIKE(2, 3);

/* The lower-case word of a code ("timeout"), for logs. Static storage. */
const char *err_code_name(enum err_code code);

#endif
