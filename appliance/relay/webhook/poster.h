/*
 * HTTP requests to others: libcurl on the event loop. It verifies TLS, keeps connections, resolves names on a thread of its own;
 * no redirect is followed, no proxy of the environment is used. Loop's thread.
 */
#ifndef INKAN_RELAY_WEBHOOK_POSTER_H
#define INKAN_RELAY_WEBHOOK_POSTER_H

#include "appliance/base/bytes.h"

#define POSTER_CONNECT_MS 10000
#define POSTER_REQUEST_MS 30000 /* for a whole request and its answer */
#define POSTER_ANSWER_MAX_BYTES (256u << 10) /* what an answer may hold; it is not looked at */

struct event_base;
struct poster;
struct post;

struct poster *poster_new(struct event_base *base);

struct post_request {
	const char *url, *ca_file; /* NULL: the system's CAs */
	char *const *headers; /* "Name: value", NULL at the end */
	struct bytes body; /* application/x-www-form-urlencoded; copied, wiped afterwards */
};

/* Called once, from the loop: err NULL is an answer 2xx. */
typedef void post_cb(const struct err *err, void *arg);
struct post *poster_post(struct poster *poster, const struct post_request *request, post_cb *cb, void *arg);
void post_cancel(struct post *post); /* no callback follows; NULL is fine */

#endif
