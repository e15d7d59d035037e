/*
 * POST /api/v2/emails/send.json: a request's body is read as it comes (fields into memory, files into an unnamed file of
 * the store), its user is checked, the mail is composed and goes the same way as one that came by SMTP
 * (signing/submission.h). 200 {"id":"…"} only after the commit. Loop's thread.
 */
#ifndef INKAN_RELAY_API_SEND_H
#define INKAN_RELAY_API_SEND_H

#include "appliance/relay/api/api_users.h"
#include "appliance/relay/api/http.h"
#include "appliance/relay/api/login.h"
#include "appliance/relay/signing/submission.h"

#define API_FIELDS_MAX_BYTES (12u << 20) /* of a JSON or form body, or of all fields of a multipart one */
#define API_BUFFERED_MAX_BYTES (256u << 20) /* of all requests together; then 503 */
#define API_REQUESTS_PER_USER_MAX 10 /* at once (../shared/reference/api.md §1) */

struct api_send_context {
	const struct submission_context *submission;
	struct login *login;
	uint64_t buffered; /* octets of fields that all requests hold */
	uint64_t accepted_total, refused_total; /* requests answered with 200, and otherwise */
	struct api_users *users; /* requests that run, by user */
};

struct api_send;

/* NULL: it was refused, the reply is given. `server` belongs to `config`, which is referenced. */
struct api_send *api_send_begin(struct api_send_context *context, struct config *config, const struct config_server *server,
				struct http_connection *connection, const struct http_head *head, bool encrypted);
bool api_send_body(struct api_send *send, struct bytes octets);
void api_send_complete(struct api_send *send);
void api_send_abandon(struct api_send *send);

#endif
