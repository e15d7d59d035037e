/*
 * A mail as a client of the sending API describes it: from the fields of a request, in any of the forms that the service's
 * own clients use (../shared/reference/api.md §2, §4), to something that can be composed. Pure.
 *
 * An address field may be a plain address, an object {"name","address"}, an array of either, or a string that holds the JSON
 * of one; `headers` an array of {"name","value"} or an object, or a string with either. "", [], {}, null and a missing member
 * are the same. Unknown members are ignored.
 */
#ifndef INKAN_RELAY_API_MAIL_H
#define INKAN_RELAY_API_MAIL_H

#include <jansson.h>

#include "appliance/relay/api/api_errors.h"
#include "appliance/relay/api/header_text.h"

#define API_ADDRESSES_MAX 10 /* of each of to, cc, bcc */
#define API_ATTACHMENTS_MAX 10
#define API_HEADERS_MAX 100
#define API_SUBJECT_MAX_CHARACTERS 512
#define API_NAME_MAX_BYTES 320 /* of a display name or of a file's name */
#define API_HEADER_NAME_MAX_BYTES 128
#define API_HEADER_VALUE_MAX_BYTES 8192
#define API_LOGIN_MAX_BYTES 256 /* api_user, api_key */

struct api_mailboxes {
	struct header_mailbox rows[API_ADDRESSES_MAX];
	size_t n_rows;
};

struct api_header {
	char *name, *value;
};

struct api_mail {
	struct api_mailboxes to, cc, bcc, from, reply_to; /* from, reply_to: at most one */
	struct api_header *headers;
	size_t n_headers;
	enum charset charset;
	char *subject;
	char *text, *html; /* NULL: none */
	char *envelope_from; /* envfrom, else the address of `from` */
	char *api_data; /* value of X-Api-Data, or NULL */
	long attachments; /* as announced; -1: not */
};

/*
 * Reads `fields` (an object). What is wrong is added to `errors`, each field by its name; true: nothing was. *mail is owned by
 * the caller either way (api_mail_clear).
 */
bool api_mail_read(const json_t *fields, struct api_mail *mail, struct api_errors *errors) MUST_USE;
void api_mail_clear(struct api_mail *mail);

/*
 * A string member without control characters, or NULL with nothing added when it is missing or empty. Numbers are taken
 * for their digits. A view into `fields`, or into *number.
 */
#define API_NUMBER_BYTES 24
const char *api_field_text(const json_t *fields, const char *name, char number[static API_NUMBER_BYTES]);

/* A field name that a client may set: a token, and none that Inkan writes itself or that says how to read the mail. */
bool api_header_may_be_set(const char *name);

#endif
