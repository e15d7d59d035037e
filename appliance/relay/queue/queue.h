/*
 * The message store: durable before 250, eleven operations, SQLite and files behind them (reference/queue.md §4-5, §9).
 *
 * Commit point. A message is accepted when queue_commit calls back with QUEUE_STORED: the body's file data, its name,
 * its directory, then the rows are on disk, in this order. Anything else means: answer 4xx; a later restart may still
 * find the message (QUEUE_UNKNOWN), so a commit is idempotent by message id.
 *
 * States of a recipient: waiting (due at a time) -> leased (in memory only) -> delivered | failed (row deleted), or
 * back to waiting with a later due time; held (operator, or damaged body). A message goes with its last recipient.
 *
 * Threads. All calls and callbacks on the event loop's thread; no call blocks. One storekeeper thread owns the
 * database, sync threads write and sync body files. Callbacks never run from within the call that asked for them.
 * No SQL type leaves this folder.
 */
#ifndef INKAN_RELAY_QUEUE_H
#define INKAN_RELAY_QUEUE_H

#include "appliance/base/bytes.h"

struct queue;
struct event_base;

#define QUEUE_INLINE_BODY_MAX_BYTES 32768 /* larger bodies are files */
#define QUEUE_APPEND_OUTSTANDING_BYTES 65536 /* of one body, waiting to be written */
#define QUEUE_HEAD_START_MS 10000 /* of new mail before retries: a queue that is drained does not hold it up */
#define QUEUE_COMMIT_MESSAGES_MAX 512 /* in one transaction */

enum queue_health {
	QUEUE_OK,
	QUEUE_FULL, /* too little space or inodes, or the ballast is not back yet: 452 4.3.1 before DATA */
	QUEUE_FAILED /* a commit or sync failed: 451 4.3.0; the process should exit and be restarted */
};

struct queue_settings {
	const char *directory; /* holds queue.db and spool/; made if missing (mode 0700) */
	uint16_t node; /* 0..1023, goes into message ids */
	uint64_t min_free_bytes; /* below it: QUEUE_FULL. 0: max(5 % of the file system, 256 MiB) */
	uint64_t ballast_bytes; /* kept in a file to give back when the disk is full; over 40 MiB to hold a whole WAL; 0: none
				   (tests) */
	size_t recent_bytes; /* bodies of the newest messages that stay in memory, to be delivered without a read; 0: none */
};

struct queue_events {
	/* Recovery is over (err NULL) or impossible. Before it only queue_close may be called. */
	void (*ready)(const struct err *err, void *arg);
	void (*due)(void *arg); /* a hint: something may be claimable. The owner also claims at queue_next_due and every 60 s */
	void (*health)(enum queue_health health, const struct err *err, void *arg);
	void *arg;
};

struct queue *queue_open(struct event_base *base, const struct queue_settings *settings, const struct queue_events *events,
			 struct err *err);

/*
 * Finishes all that was asked for, calling back as ever, then calls `closed` and frees; that is also the way after a failed
 * `ready`. Open bodies must have been discarded, readers closed.
 */
void queue_close(struct queue *queue, void (*closed)(void *arg), void *arg);

/* Every request and job holds the queue while it runs, and so does who works on a body on another thread: a close waits for it.
 */
void queue_hold(struct queue *queue);
void queue_release(struct queue *queue);

enum queue_health queue_health(const struct queue *queue);

/* A new id: ms since 2020 << 22 | node << 12 | counter. */
uint64_t queue_new_id(struct queue *queue);

/* ---- A body while it is received ---- */

struct queue_body;

/* Up to QUEUE_INLINE_BODY_MAX_BYTES stay in memory; beyond, or when `expected` says so, an unnamed file. */
struct queue_body *queue_body_begin(struct queue *queue, uint64_t expected);

enum queue_append {
	QUEUE_APPEND_MORE, /* go on */
	QUEUE_APPEND_WAIT, /* taken, but stop reading until `resume` is called */
	QUEUE_APPEND_FAILED /* the body is lost (no space, I/O error): answer 452/451, then discard. *err of queue_body_error */
};

/* Copies `data`. `resume` (set with queue_body_on_resume) is called once after each WAIT. */
enum queue_append queue_body_append(struct queue_body *body, struct bytes data);
void queue_body_on_resume(struct queue_body *body, void (*resume)(void *arg), void *arg);
const struct err *queue_body_error(const struct queue_body *body); /* ERR_LIMIT: no space, 452; else 451; NULL: none */
uint64_t queue_body_size(const struct queue_body *body);

/* No more appends: all octets are written (not yet synced) when `sealed` is called; err NULL is success. */
void queue_body_seal(struct queue_body *body, void (*sealed)(const struct err *err, void *arg), void *arg);

/*
 * Reads a sealed, not yet committed body; may be called from any one thread while nobody else uses the body.
 * Returns the octets read (0 at the end) or -1 with *err.
 */
ssize_t queue_body_pread(const struct queue_body *body, void *data, size_t len, uint64_t offset, struct err *err);

/* All octets of a sealed, not yet committed body that is in memory; data NULL: it is a file. */
struct bytes queue_body_memory(const struct queue_body *body);

/*
 * A body that is written from a pool thread instead of the loop (the re-encoded leaves of a message): begin on the loop's
 * thread, then append with this from one thread only, blocking, then seal on the loop's thread.
 */
bool queue_body_append_blocking(struct queue_body *body, struct bytes data, struct err *err) MUST_USE;

/* Leaves nothing behind. NULL is fine. Allowed at any time before queue_commit. */
void queue_body_discard(struct queue_body *body);

/* ---- Commit ---- */

enum queue_rendering { QUEUE_PLAIN = 0, QUEUE_SIGNED = 1 };

struct queue_recipient {
	const char *address;
	enum queue_rendering rendering;
	const char *rule; /* the policy's reason, for the delivery log and explain */
	const char *original; /* ORCPT as it came: addr-type;xtext (RFC 3461 §4.2), or NULL */
	uint32_t notify; /* enum queue_notify bits as they came; 0: none was given, which means failure (and delay if we like) */
	const char *sender; /* of a copy with an envelope of its own ("" null sender); NULL: the message's */
};

enum queue_notify {
	QUEUE_NOTIFY_NEVER = 1,
	QUEUE_NOTIFY_SUCCESS = 2,
	QUEUE_NOTIFY_FAILURE = 4,
	QUEUE_NOTIFY_DELAY = 8,
	QUEUE_NOTIFY_WARNED = 16 /* ours: the sender was told of the delay */
};

/*
 * What a report of failure returns. DSN parameters are checked by the SMTP server before they are stored (xtext that decodes to
 * printable octets) and go on unchanged to a next hop that announces DSN.
 */
enum queue_return { QUEUE_RETURN_DEFAULT = 0 /* no RET was given: headers */, QUEUE_RETURN_FULL = 1, QUEUE_RETURN_HEADERS = 2 };

enum queue_body_type { QUEUE_7BIT = 0, QUEUE_8BITMIME = 1, QUEUE_BINARYMIME = 2 };

struct queue_message {
	uint64_t id; /* queue_new_id */
	const char *server; /* name of the server whose settings deliver it */
	const char *sender; /* reverse path without <>, "" for the null sender */
	const char *envelope_id; /* ENVID as it came, xtext; or NULL */
	enum queue_return ret; /* RET */
	bool smtputf8;
	enum queue_body_type body_type; /* as received; what the plain rendering needs */
	int64_t received; /* wall seconds */
	int64_t expires; /* wall seconds: end of the queue lifetime */
	struct bytes prefix; /* trace fields in front of every rendering */
	struct bytes addition; /* serialised signed rendering (mime/rendering.h); empty when nobody gets it */
	uint64_t plain_size, signed_size; /* octets on the wire without dot-stuffing; prefix included */
	const char *message_id; /* Message-ID field, for logs; may be "" */
	/* For the delivery log; NULL is "" */
	const char *header_from; /* the address of From */
	const char *subject;
	const char *sender_ip;
	const char *api_data; /* NULL: none */
};

enum queue_commit_result { QUEUE_STORED, QUEUE_COMMIT_FULL, QUEUE_COMMIT_FAILED, QUEUE_COMMIT_UNKNOWN };

typedef void queue_commit_cb(enum queue_commit_result result, const struct err *err, void *arg);

/*
 * Copies everything that is pointed to, takes `original` and `encoded` (NULL: none) whatever the outcome. Both are
 * sealed. Recipients are due at once.
 */
void queue_commit(struct queue *queue, const struct queue_message *message, const struct queue_recipient *recipients,
		  size_t n_recipients, struct queue_body *original, struct queue_body *encoded, queue_commit_cb *cb, void *arg);

/* ---- Delivery ---- */

struct queue_item {
	uint64_t recipient; /* row id */
	char *address;
	enum queue_rendering rendering;
	char *rule;
	char *original;
	uint32_t notify;
	uint32_t attempts; /* before this one */
	struct queue_stored *message; /* shared by the items of one message in one claim */
};

/* A stored message's envelope and additions; reference-counted, loop's thread. */
struct queue_stored {
	unsigned references;
	uint64_t id;
	char *server, *sender, *envelope_id, *message_id;
	enum queue_return ret;
	bool smtputf8;
	bool copy; /* an envelope of its own (queue_recipient.sender) */
	enum queue_body_type body_type;
	int64_t received, expires;
	struct buf prefix, addition;
	uint64_t plain_size, signed_size, original_size, encoded_size;
};
struct queue_stored *queue_stored_ref(struct queue_stored *stored);
void queue_stored_unref(struct queue_stored *stored);

struct queue_claim {
	uint64_t token; /* for queue_report */
	struct queue_item *items;
	size_t count;
};

/*
 * Due items in order of their due time, at most `limit` (1000, and some 8 MiB of additions); nobody else gets them until they are
 * reported. When due items are left behind the due event comes, and queue_next_due is 0.
 */
typedef void queue_claim_cb(struct queue_claim *claim, const struct err *err, void *arg); /* the callback owns the claim */
void queue_claim(struct queue *queue, size_t limit, queue_claim_cb *cb, void *arg);
void queue_claim_free(struct queue_claim *claim);

enum queue_result_kind { QUEUE_DELIVERED, QUEUE_DEFERRED, QUEUE_PERMANENT, QUEUE_DAMAGED /* hold it */ };

struct queue_result {
	uint64_t recipient;
	enum queue_result_kind kind;
	int64_t due; /* QUEUE_DEFERRED: wall milliseconds */
	bool warned; /* QUEUE_DEFERRED: sets QUEUE_NOTIFY_WARNED */
	const char *reply; /* what the next hop said, one line */
	const char *source_ip; /* our address on the connection, for the delivery log; NULL: none */
};

/* A message of our own (a bounce) that is stored in the same transaction as the results it reports. Body in memory. */
struct queue_notice {
	struct queue_message message;
	struct bytes body;
	struct queue_recipient recipient;
};

/*
 * Copies. Lazy: at most 50 ms later, sooner with other work; on a full disk it is tried again until it is durable. `cb` may be
 * NULL. ERR_NOT_FOUND: some results were lost, since their item is not leased under this token; the others count, and the notice
 * is stored unless all were lost. Any other error: the items are claimable again after a restart (a delivery may then repeat). An
 * operator's hold or deletion of a leased item takes effect here, unless the recipient is gone anyway.
 */
void queue_report(struct queue *queue, uint64_t token, const struct queue_result *results, size_t n_results,
		  const struct queue_notice *notice, void (*cb)(const struct err *err, void *arg), void *arg);

/* When the next waiting recipient is due, wall milliseconds; 0 now, -1 none. As of the last commit or claim. */
int64_t queue_next_due(const struct queue *queue);

/* ---- Reading a stored body ---- */

enum queue_part { QUEUE_PART_ORIGINAL, QUEUE_PART_ENCODED };

struct queue_reader;

/*
 * Opens both parts of a message for reading, from memory when it is new (recent_bytes); `opened` gets the reader, or NULL with
 * err: ERR_INTEGRITY damaged (a part is missing or has another size; a part that is no file does not have its digest),
 * ERR_NOT_FOUND the message is gone. The digests of files are checked by queue_reader_verify.
 */
typedef void queue_opened_cb(struct queue_reader *reader, const struct err *err, void *arg);
void queue_body_open(struct queue *queue, const struct queue_stored *message, queue_opened_cb *opened, void *arg);

/*
 * Reads up to `len` octets (64 KiB at once) at `offset` of a part into `data` (the caller's, must stay until the callback or
 * queue_reader_close). One read at a time. got 0 is the end of the part; -1 with err: ERR_INTEGRITY damaged.
 */
typedef void queue_read_cb(ssize_t got, const struct err *err, void *arg);
void queue_reader_read(struct queue_reader *reader, enum queue_part part, uint64_t offset, void *data, size_t len,
		       queue_read_cb *cb, void *arg);

/*
 * To be asked before the final dot of a delivery: false with ERR_INTEGRITY when a part that was read in pieces does not
 * have its stored digest (pieces that a rendering leaves out are hashed as well: the callback comes after that).
 */
typedef void queue_verified_cb(const struct err *err, void *arg);
void queue_reader_verify(struct queue_reader *reader, queue_verified_cb *cb, void *arg);
void queue_reader_close(struct queue_reader *reader); /* NULL is fine; allowed while a read is running: no callback follows */

/* ---- The delivery log: what became of each recipient, kept beyond the message. Written with the queue's own transactions. ----
 */

enum queue_log_status { QUEUE_LOG_QUEUED, QUEUE_LOG_SUCCEEDED, QUEUE_LOG_FAILED, QUEUE_LOG_DEFERRED, QUEUE_LOG_ANY };

/* Addresses are compared without case. */
struct queue_log_filter {
	uint64_t message; /* 0: any */
	const char *server, *sender, *from, *to; /* NULL: any */
	enum queue_log_status status; /* QUEUE_LOG_ANY: any */
	int64_t since, until; /* of acceptance, wall ms; until 0: now */
};

struct queue_log_row {
	uint64_t message, recipient;
	int64_t created, updated; /* wall ms */
	const char *server, *sender, *from, *address, *reason, *rule, *message_id, *subject, *sender_ip, *source_ip;
	const char *api_data; /* NULL: none */
	enum queue_log_status status;
	enum queue_rendering rendering;
};

/* Newest first, behind the row (message, recipient) of the last page; message 0: from the newest. Texts are never NULL but
 * api_data. */
typedef void queue_log_cb(const struct queue_log_row *rows, size_t count, const struct err *err, void *arg);
void queue_log_list(struct queue *queue, const struct queue_log_filter *filter, uint64_t before_message,
		    uint64_t before_recipient, size_t limit, queue_log_cb *cb, void *arg);

/* Deletes what was accepted before `before` (wall ms) by this server (NULL: by any), in slices. */
typedef void queue_pruned_cb(uint64_t messages, const struct err *err, void *arg);
void queue_log_prune(struct queue *queue, const char *server, int64_t before, queue_pruned_cb *cb, void *arg);

/* ---- For the operator ---- */

struct queue_count {
	uint64_t messages, waiting, leased, held;
	int64_t oldest; /* received, wall seconds; 0 none */
	uint64_t transactions; /* since the start: fewer than messages when commits go in groups */
};
struct queue_count queue_count(const struct queue *queue); /* may be some seconds old */

enum queue_action { QUEUE_HOLD, QUEUE_RELEASE, QUEUE_RETRY_NOW, QUEUE_DELETE };

struct queue_filter {
	uint64_t message; /* 0: all */
	const char *server; /* NULL: any; queue_set alone heeds it, of all messages, and copies it */
};

struct queue_row {
	uint64_t message, recipient;
	const char *server, *sender, *address, *state, *reply;
	int64_t received, due;
	uint32_t attempts;
	uint64_t size;
	enum queue_rendering rendering;
	const char *rule, *message_id;
	int64_t expires; /* wall seconds */
};
typedef void queue_list_cb(const struct queue_row *rows, size_t count, const struct err *err, void *arg);
void queue_list(struct queue *queue, const struct queue_filter *filter, uint64_t after_recipient, size_t limit, queue_list_cb *cb,
		void *arg);

typedef void queue_set_cb(uint64_t changed, const struct err *err, void *arg);
void queue_set(struct queue *queue, const struct queue_filter *filter, enum queue_action action, queue_set_cb *cb, void *arg);

#endif
