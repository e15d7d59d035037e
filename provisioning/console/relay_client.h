/* The console's conversation with the relay (appliance/base/query.h). Blocking calls with a deadline; errors carry its text. */
#ifndef INKAN_CONSOLE_RELAY_CLIENT_H
#define INKAN_CONSOLE_RELAY_CLIENT_H

#include "appliance/base/query.h"
#include "provisioning/store/snapshot.h"

#define RELAY_CALL_MS 60000 /* `queue delete all` of 100,000 mails */

struct relay_client {
	int fd;
	int call_ms;
};

/* By way of inkand. ERR_UNAVAILABLE: it or the relay is not running. */
bool relay_open(struct relay_client *client, const char *state, struct err *err) MUST_USE;
bool relay_open_within(struct relay_client *client, const char *state, int call_ms, struct err *err) MUST_USE;
void relay_close(struct relay_client *client);

/* Asks for one page; *rows has `n_columns` columns. query->cursor is moved to the next page ("" after the last). */
bool relay_ask(struct relay_client *client, struct query *query, uint32_t n_columns, struct query_rows *rows,
	       struct err *err) MUST_USE;

/*
 * Every page up to `most` rows (0: all); `each` gets the cells of a row and returns false to stop. *more, which may be NULL, says
 * whether there would have been others.
 */
typedef bool relay_row(char *const *cells, void *arg);
bool relay_ask_all(struct relay_client *client, struct query *query, uint32_t n_columns, size_t most, relay_row *each, void *arg,
		   bool *more, struct err *err) MUST_USE;

/* Octets of a message for the question that follows. */
bool relay_content(struct relay_client *client, struct bytes octets, struct err *err) MUST_USE;

/* A configuration for the question that follows, instead of the running one. */
bool relay_configuration(struct relay_client *client, const struct snapshot *snapshot, struct err *err) MUST_USE;

#endif
