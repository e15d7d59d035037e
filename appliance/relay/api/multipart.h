/*
 * A reader of multipart/form-data (RFC 7578, RFC 2046 §5.1.1): octets in as they come, parts out. How the input is cut makes no
 * difference. Memory is bounded by MULTIPART_HEAD_MAX_BYTES and one call's input. Pure; fuzzed.
 */
#ifndef INKAN_RELAY_API_MULTIPART_H
#define INKAN_RELAY_API_MULTIPART_H

#include "appliance/base/bytes.h"

#define MULTIPART_HEAD_MAX_BYTES 8192 /* header of one part */
#define MULTIPART_BOUNDARY_MAX_BYTES 200 /* RFC 2046 says 70; clients are not so strict */
#define MULTIPART_PARTS_MAX 400

struct multipart_part {
	char *name; /* of the field */
	char *file_name; /* NULL: no file; without directories */
	char *type; /* media type without parameters, "" when none is given */
	bool latin1; /* its charset parameter says ISO-8859-1 */
};

/* Each returns false with *err to end the reading. Views are valid until return. */
struct multipart_sink {
	bool (*begin)(const struct multipart_part *part, void *arg, struct err *err);
	bool (*data)(struct bytes octets, void *arg, struct err *err);
	bool (*end)(void *arg, struct err *err);
	void *arg;
};

enum multipart_at { MULTIPART_PREAMBLE, MULTIPART_DELIMITER, MULTIPART_HEAD, MULTIPART_DATA, MULTIPART_EPILOGUE };

struct multipart {
	struct multipart_sink sink;
	enum multipart_at at;
	struct buf delimiter; /* CRLF -- boundary */
	struct buf pending; /* what cannot be told yet */
	unsigned parts;
};

/* The boundary of a Content-Type field's value; false: it is no multipart/form-data with one. */
bool multipart_boundary(const char *content_type, struct buf *boundary);

void multipart_init(struct multipart *multipart, struct bytes boundary, const struct multipart_sink *sink);
void multipart_clear(struct multipart *multipart);
bool multipart_feed(struct multipart *multipart, struct bytes octets, struct err *err) MUST_USE;
bool multipart_finish(const struct multipart *multipart, struct err *err) MUST_USE; /* ERR_INVALID: it was cut short */

#endif
