/*
 * The console's questions to the relay, on the connection that CONTROL_RELAY gives (control.h; frames: frame.h). Pure codec.
 *
 * One question at a time: any number of QUERY_CONTENT and QUERY_CONFIGURATION, then QUERY_ASK; answered with QUERY_ROWS or
 * QUERY_REFUSED. A question names a kind and arguments; an answer is a page of rows of text cells, whose columns the kind says
 * (below), and the cursor that the next page is asked with. So neither side ever holds more than a page, and the relay keeps
 * nothing between pages. Numbers are decimal, times wall milliseconds, a queue id is hexadecimal as in the log.
 */
#ifndef INKAN_BASE_QUERY_H
#define INKAN_BASE_QUERY_H

#include "appliance/base/msg.h"

#define QUERY_ROWS_MAX 200 /* of a page: about a millisecond of the relay's loop */
#define QUERY_ARGUMENTS_MAX 4096 /* explain with a thousand recipients and as many fields */
#define QUERY_COLUMNS_MAX 32
#define QUERY_CONTENT_MAX_BYTES (64u << 10) /* of one frame */
#define QUERY_CONFIGURATION_MAX_BYTES (16u << 20) /* of them all */

enum query_frame {
	QUERY_ASK = 1, /* struct query */
	QUERY_CONTENT = 2, /* octets of a message for QUERY_EXPLAIN, CRLF line ends; no answer */
	QUERY_CONFIGURATION = 3, /* of a snapshot (provisioning/store/snapshot.h) for QUERY_EXPLAIN, instead of the running one */
	QUERY_ROWS = 32, /* struct query_rows */
	QUERY_REFUSED = 33 /* u8 enum err_code, text */
};

/* A kind of question, its arguments (each at most once but for those marked *), the columns of its answer. */
enum query_kind {
	QUERY_QUEUE =
	    1, /* id server sender(text contained) destination(domain) recipient(text contained) state; enum query_queue */
	QUERY_QUEUE_SUMMARY = 2, /* enum query_summary, one row */
	QUERY_QUEUE_CHANGE = 3, /* action(hold release retry delete) id("all" or one); one row: recipients changed */
	QUERY_SESSIONS = 4, /* server; enum query_session */
	QUERY_DELIVERIES =
	    5, /* id server sender from to status since until(wall ms) text(in any column); newest first; enum query_delivery */
	QUERY_EXPLAIN = 6, /* server to* user; the content is the message; enum query_explain, a row a recipient */
	QUERY_TLS = 7, /* enum query_tls, a row for each certificate of each listener */
	QUERY_TLS_TOTALS = 8, /* enum query_tls_totals, one row */
	QUERY_MONITOR = 9, /* enum query_monitor, one row */
	QUERY_TEST_MAIL = 10, /* server from to; enum query_test_mail, one row: once the mail is stored or refused */
	QUERY_STATISTICS = 11 /* server since until(wall ms); enum query_statistics, a row an hour in which something was */
};

enum query_queue {
	QUERY_QUEUE_ID,
	QUERY_QUEUE_SERVER,
	QUERY_QUEUE_SENDER,
	QUERY_QUEUE_RECIPIENT,
	QUERY_QUEUE_STATE, /* "waiting" (not tried yet), "deferred", "held", "active" */
	QUERY_QUEUE_RENDERING, /* "signed", "plain" */
	QUERY_QUEUE_RULE, /* the setting that said so */
	QUERY_QUEUE_RECEIVED,
	QUERY_QUEUE_NEXT, /* attempt; 0 held or active */
	QUERY_QUEUE_ATTEMPTS,
	QUERY_QUEUE_SIZE, /* octets */
	QUERY_QUEUE_REPLY, /* the last one, "" none */
	QUERY_QUEUE_MESSAGE_ID,
	QUERY_QUEUE_EXPIRES,
	QUERY_QUEUE_COLUMNS
};

enum query_summary {
	QUERY_SUMMARY_MESSAGES,
	QUERY_SUMMARY_WAITING, /* recipients */
	QUERY_SUMMARY_ACTIVE,
	QUERY_SUMMARY_HELD,
	QUERY_SUMMARY_OLDEST, /* received; 0 none */
	QUERY_SUMMARY_COLUMNS
};

enum query_session {
	QUERY_SESSION_NUMBER,
	QUERY_SESSION_SERVER,
	QUERY_SESSION_CLIENT,
	QUERY_SESSION_HELLO,
	QUERY_SESSION_USER,
	QUERY_SESSION_TLS, /* "TLSv1.2", "TLSv1.3", "handshake", "no" */
	QUERY_SESSION_STATE, /* "command", "message", "storing", … */
	QUERY_SESSION_STARTED,
	QUERY_SESSION_IDLE, /* milliseconds */
	QUERY_SESSION_MESSAGES, /* begun */
	QUERY_SESSION_COLUMNS
};

enum query_delivery {
	QUERY_DELIVERY_CREATED,
	QUERY_DELIVERY_UPDATED,
	QUERY_DELIVERY_ID,
	QUERY_DELIVERY_SERVER,
	QUERY_DELIVERY_SENDER, /* return path */
	QUERY_DELIVERY_FROM, /* of the header */
	QUERY_DELIVERY_RECIPIENT,
	QUERY_DELIVERY_STATUS, /* "queued", "succeeded", "failed", "deferred" */
	QUERY_DELIVERY_REASON, /* last reply */
	QUERY_DELIVERY_RENDERING,
	QUERY_DELIVERY_RULE,
	QUERY_DELIVERY_MESSAGE_ID,
	QUERY_DELIVERY_SUBJECT,
	QUERY_DELIVERY_SENDER_IP,
	QUERY_DELIVERY_SOURCE_IP,
	QUERY_DELIVERY_COLUMNS
};

enum query_explain {
	QUERY_EXPLAIN_RECIPIENT,
	QUERY_EXPLAIN_VERDICT, /* "signed", "plain", "copy" (Intelligent BCC), "refused" */
	QUERY_EXPLAIN_RULE, /* the words of the delivery log; of a refusal the reply */
	QUERY_EXPLAIN_NOTE, /* what the operator should know, or "" */
	QUERY_EXPLAIN_COLUMNS
};

enum query_tls {
	QUERY_TLS_SERVER,
	QUERY_TLS_LISTENER, /* "smtp ADDRESS:PORT", "api ADDRESS:PORT" */
	QUERY_TLS_MODE, /* "starttls", "implicit" */
	QUERY_TLS_CERTIFICATE,
	QUERY_TLS_KEY, /* "RSA-2048", "EC-P256", … */
	QUERY_TLS_NOT_AFTER,
	QUERY_TLS_STATE, /* its key, when it was last tried: "signs", "no-pss" (so TLS 1.2 alone), "fails", "untried" */
	QUERY_TLS_WHY, /* it fails or is untried; or "" */
	QUERY_TLS_COLUMNS
};

/* Counted since the start of the relay but for the first three. */
enum query_tls_totals {
	QUERY_TLS_CONNECTIONS,
	QUERY_TLS_HANDSHAKES, /* unfinished */
	QUERY_TLS_WAITING, /* of them, for a signature */
	QUERY_TLS_DONE,
	QUERY_TLS_RESUMED,
	QUERY_TLS_FAILED,
	QUERY_TLS_LATE,
	QUERY_TLS_UNSIGNED,
	QUERY_TLS_REFUSED, /* beyond the limits */
	QUERY_TLS_CANCELLED, /* the client left */
	QUERY_TLS_TOTALS_COLUMNS
};

/* Counted since the start of the relay: messages, recipients. */
enum query_monitor {
	QUERY_MONITOR_NOW, /* wall ms */
	QUERY_MONITOR_STARTED, /* wall seconds */
	QUERY_MONITOR_SIGNED, /* messages taken, for at least one recipient signed */
	QUERY_MONITOR_PLAIN,
	QUERY_MONITOR_REFUSED,
	QUERY_MONITOR_OCTETS, /* of those taken */
	QUERY_MONITOR_DELIVERED,
	QUERY_MONITOR_DEFERRED,
	QUERY_MONITOR_FAILED,
	QUERY_MONITOR_BUCKETS, /* "N,N,…": signatures by the time they took; the last beyond all bounds */
	QUERY_MONITOR_BOUNDS, /* "N,N,…": upper bounds, ms */
	QUERY_MONITOR_WORKERS, /* from here on: now */
	QUERY_MONITOR_THREADS,
	QUERY_MONITOR_WAITING, /* requests without a worker */
	QUERY_MONITOR_RUNNING,
	QUERY_MONITOR_LOCKED, /* 0, 1 */
	QUERY_MONITOR_SUSPENDED,
	QUERY_MONITOR_MESSAGES, /* in the queue */
	QUERY_MONITOR_DUE, /* recipients that wait */
	QUERY_MONITOR_ACTIVE,
	QUERY_MONITOR_HELD,
	QUERY_MONITOR_OLDEST, /* wall seconds; 0 none */
	QUERY_MONITOR_STORE, /* "ok", "full", "failed", "recovering" */
	QUERY_MONITOR_SESSIONS,
	QUERY_MONITOR_API,
	QUERY_MONITOR_NEXT_HOPS, /* connections */
	QUERY_MONITOR_STEPS, /* "N,N,…": messages in each 10 s of the last ten minutes, oldest first */
	QUERY_MONITOR_COLUMNS
};

enum query_test_mail {
	QUERY_TEST_CODE, /* of the reply that a client would have got: 250, 451, … */
	QUERY_TEST_ENHANCED,
	QUERY_TEST_TEXT,
	QUERY_TEST_ID, /* 0 when refused */
	QUERY_TEST_COLUMNS
};

enum query_statistics {
	QUERY_STATISTICS_HOUR, /* its begin, wall seconds */
	QUERY_STATISTICS_MESSAGES, /* stored */
	QUERY_STATISTICS_SIGNED,
	QUERY_STATISTICS_PLAIN,
	QUERY_STATISTICS_REFUSED, /* since the relay's start; 0 when a server is named */
	QUERY_STATISTICS_OCTETS, /* of those stored, the same */
	QUERY_STATISTICS_DELIVERED, /* recipients */
	QUERY_STATISTICS_DEFERRED, /* attempts */
	QUERY_STATISTICS_FAILED,
	QUERY_STATISTICS_COLUMNS
};

struct query_argument {
	char *name, *value;
};

struct query {
	uint32_t kind;
	uint32_t limit; /* rows of a page; the relay may give fewer, even none, with a cursor to go on */
	char *cursor; /* "" (or NULL) the first page; else the cursor of the last answer */
	struct query_argument *arguments;
	size_t n_arguments;
};

void query_add(struct query *query, const char *name, const char *value); /* copies */
const char *query_argument(const struct query *query, const char *name); /* the first of this name, or NULL */
void query_encode(struct buf *out, const struct query *query);
bool query_decode(struct msg *msg, struct query *query, struct err *err) MUST_USE;
void query_clear(struct query *query);

struct query_rows {
	uint32_t n_columns;
	char *cursor; /* "" or NULL: that was the last page */
	char **cells; /* row by row */
	size_t n_cells;
};

void query_cell(struct query_rows *rows, const char *format, ...) PRINTF_LIKE(2, 3); /* the next cell, rows from left to right */
void query_rows_encode(struct buf *out, const struct query_rows *rows);
bool query_rows_decode(struct msg *msg, struct query_rows *rows, struct err *err) MUST_USE;
void query_rows_clear(struct query_rows *rows);

#endif
