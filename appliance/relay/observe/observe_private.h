/* A question on its way, for the files of this folder. */
#ifndef INKAN_RELAY_OBSERVE_PRIVATE_H
#define INKAN_RELAY_OBSERVE_PRIVATE_H

#include "appliance/base/query.h"
#include "appliance/relay/observe/history.h"
#include "appliance/relay/observe/observe.h"

struct console;

/* One question. It outlives its console while the queue works for it. */
struct call {
	struct observe *observe;
	struct console *console; /* NULL: gone, the answer is thrown away */
	struct query query;
	struct query_rows rows;
	uint32_t limit; /* rows of this page: 1..QUERY_ROWS_MAX */
};

struct observe {
	struct observe_context context;
	struct config *config; /* NULL before the first */
	struct console *consoles;
	size_t n_consoles;
	bool stopped;
	struct event *step; /* of the history */
	struct history history;
	struct test_mail *test_mails; /* on their way */
};

/* Exactly one of these ends a call: sends call->rows, or the error. */
void call_answer(struct call *call);
void call_refuse(struct call *call, const struct err *err);

/* The content that came before the question, finished; NULL: none came. Valid until the call ends. */
struct mime_scan *call_content(struct call *call);

/* The configuration that came before the question, or else the running one; referenced. NULL: it cannot run, *err says why. */
struct config *call_config(struct call *call, struct err *err);

typedef void call_handler(struct call *call);
call_handler query_queue, query_queue_summary, query_queue_change, query_sessions, query_deliveries, query_explain, query_tls,
    query_tls_totals, query_monitor, query_test_mail, query_statistics;

struct history_totals observe_totals(const struct metrics *metrics);
void test_mails_stop(struct observe *observe); /* aborts them */

/* "all" is 0; else the hexadecimal id of the log. ERR_INVALID. */
bool query_id(const char *text, uint64_t *id, struct err *err) MUST_USE;

#endif
