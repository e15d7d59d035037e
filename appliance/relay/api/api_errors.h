/*
 * What a request is refused for, as the service's clients read it: {"errors":[{"code","field","message"}]}, strings all of them
 * (../shared/reference/api.md §5), the message in English or Japanese. Pure.
 */
#ifndef INKAN_RELAY_API_ERRORS_H
#define INKAN_RELAY_API_ERRORS_H

#include "appliance/base/bytes.h"

#define API_ERRORS_MAX 50 /* of one reply; more are left out */

enum api_fault {
	API_FAULT_REQUIRED, /* a field is missing or empty */
	API_FAULT_FORM, /* detail: what form it must have */
	API_FAULT_TOO_LONG, /* detail: the limit */
	API_FAULT_TOO_MANY, /* detail: the limit */
	API_FAULT_ADDRESS, /* detail: what is no mail address */
	API_FAULT_ENCODING, /* not UTF-8, or control characters */
	API_FAULT_CHARACTER, /* detail: charset_convert's text */
	API_FAULT_HEADER, /* detail: name of a field that may not be set */
	API_FAULT_ATTACHMENTS, /* detail: what is wrong with them */
	API_FAULT_BODY, /* the request's body; detail: what is wrong */
	API_FAULT_LOGIN, /* user or key are wrong */
	API_FAULT_METHOD, /* detail: the method that is right */
	API_FAULT_PATH, /* there is nothing at this path */
	API_FAULT_MEDIA_TYPE,
	API_FAULT_TOO_LARGE, /* detail: the limit */
	API_FAULT_HTTP, /* no HTTP as it should be; detail */
	API_FAULT_CONNECTIONS, /* too many for this user; detail: the limit */
	API_FAULT_BUSY, /* try again later; detail */
	API_FAULT_REFUSED, /* the mail; detail: the reply as SMTP would have it */
	API_FAULT_EXPIRED, /* the certificate: exactly service.md N4's words */
	API_FAULT_TIMEOUT,
	API_FAULT_CONSOLE_ONLY, /* the audit */
	API_FAULT_CODING, /* a Content-Encoding */
};

struct api_error {
	enum api_fault fault;
	char *field; /* "" when no one field is at fault */
	char *detail;
};

struct api_errors {
	struct api_error rows[API_ERRORS_MAX];
	size_t n_rows;
};

void api_errors_add(struct api_errors *errors, enum api_fault fault, const char *field, const char *detail);
void api_errors_clear(struct api_errors *errors);

/* The HTTP status that goes with the first of them. */
int api_errors_status(const struct api_errors *errors);

/* Appends the JSON. */
void api_errors_write(struct buf *out, const struct api_errors *errors, bool japanese);

/* Does Accept-Language ask for Japanese before anything else that we have? NULL: no. */
bool api_language_is_japanese(const char *accept_language);

#endif
