/*
 * A relay's store under load, to be killed: sessions that commit mail, a deliverer that claims, reads, checks and reports it.
 * Everything that a client or next hop would have been told goes to a ledger first or after, one line a write:
 *
 *     S ID N     stored: N recipients answered with 250            F ID      refused
 *     A ID K     the delivery of recipient K is about to be reported as done
 *     D ID K     the report is durable: this recipient must never come back
 *     X ID WHY   damage                                            H HEALTH  a health event
 *
 *     queue_worker run DIRECTORY LEDGER SESSIONS SEED     until it is killed, or until the store has failed (exit 3)
 *     queue_worker check DIRECTORY                        prints `P ID K` for each recipient in the queue, X lines, and `end`
 */
#include <event2/event.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "appliance/relay/queue/queue.h"

#define RECIPIENTS_MAX 3
#define CLAIM_LIMIT 20
#define READ_BYTES 40000
#define EXIT_STORE_FAILED 3

static struct event_base *base;
static struct queue *queue;
static int ledger = STDOUT_FILENO;
static bool checking;
static uint32_t random_state;

static uint32_t random_below(uint32_t limit)
{
	random_state = random_state * 1664525u + 1013904223u;
	return (random_state >> 8) % limit;
}

static void note(const char *format, ...) PRINTF_LIKE(1, 2);

static void note(const char *format, ...)
{
	char line[1024];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(line, sizeof line - 1, format, args);
	va_end(args);
	line[len] = '\n';
	if (write(ledger, line, (size_t)len + 1) != len + 1)
		_exit(1);
}

#define ID(id) ((unsigned long long)(id))

/* ---- content: any octet of any body follows from the message's id ---- */

static uint8_t octet_at(uint64_t seed, uint64_t offset)
{
	return (uint8_t)((seed * UINT64_C(0x9e3779b97f4a7c15) + offset * UINT64_C(0xbf58476d1ce4e5b9)) >> 37);
}

static void fill(uint8_t *out, size_t len, uint64_t seed, uint64_t offset)
{
	for (size_t i = 0; i < len; i++)
		out[i] = octet_at(seed, offset + i);
}

static bool is_content(const uint8_t *octets, size_t len, uint64_t seed, uint64_t offset)
{
	for (size_t i = 0; i < len; i++)
		if (octets[i] != octet_at(seed, offset + i))
			return false;
	return true;
}

/* ---- sessions ---- */

struct session {
	struct queue_message message;
	struct queue_body *bodies[2];
	uint64_t sizes[2];
	unsigned sealed;
	bool failed;
	unsigned n_recipients;
};

static void begin_message(struct session *session);

static void on_committed(enum queue_commit_result result, const struct err *err, void *arg)
{
	struct session *session = arg;

	if (result == QUEUE_STORED)
		note("S %llu %u", ID(session->message.id), session->n_recipients);
	else
		note("F %llu %s", ID(session->message.id), err->text);
	begin_message(session);
}

static void commit(struct session *session)
{
	static const struct queue_recipient recipients[RECIPIENTS_MAX] = {
	    {.address = "0"}, {.address = "1"}, {.address = "2", .rendering = QUEUE_SIGNED}};

	queue_commit(queue, &session->message, recipients, session->n_recipients, session->bodies[0], session->bodies[1],
		     on_committed, session);
}

static void give_up(struct session *session)
{
	note("F %llu body", ID(session->message.id));
	queue_body_discard(session->bodies[0]);
	queue_body_discard(session->bodies[1]);
	begin_message(session);
}

static void on_sealed(const struct err *err, void *arg)
{
	struct session *session = arg;

	session->failed |= err != NULL;
	if (--session->sealed > 0)
		return;
	if (session->failed)
		give_up(session);
	else
		commit(session);
}

static uint64_t choose_size(void)
{
	switch (random_below(10)) {
	case 0:
		return 32768 + random_below(3);
	case 1:
	case 2:
	case 3:
		return 33000 + random_below(300000);
	default:
		return random_below(12000);
	}
}

static struct queue_body *write_body(uint64_t seed, uint64_t size)
{
	struct queue_body *body = queue_body_begin(queue, 0);
	uint8_t piece[16384];

	for (uint64_t at = 0; at < size; at += sizeof piece) {
		size_t len = size - at < sizeof piece ? (size_t)(size - at) : sizeof piece;

		fill(piece, len, seed, at);
		if (queue_body_append(body, bytes_of(piece, len)) == QUEUE_APPEND_FAILED)
			break;
	}
	return body;
}

static void begin_later(evutil_socket_t fd, short what, void *arg);

static void begin_message(struct session *session)
{
	const struct timeval pause = {.tv_usec = (suseconds_t)random_below(20000)};

	event_base_once(base, -1, EV_TIMEOUT, begin_later, session, &pause);
}

static void begin_later(evutil_socket_t fd, short what, void *arg)
{
	struct session *session = arg;
	uint64_t id = queue_new_id(queue);

	(void)fd;
	(void)what;
	*session = (struct session){.n_recipients = 1 + random_below(RECIPIENTS_MAX), .sizes = {choose_size()}};
	if (random_below(4) == 0)
		session->sizes[1] = 1 + choose_size();
	session->message = (struct queue_message){
	    .id = id,
	    .server = "default",
	    .sender = "s",
	    .received = clock_wall_seconds(),
	    .expires = clock_wall_seconds() + 1000000,
	    .prefix = bytes_text("Received: crash\r\n"),
	    .message_id = "<m>",
	};
	session->sealed = session->sizes[1] != 0 ? 2 : 1;
	session->bodies[0] = write_body(id, session->sizes[0]);
	session->bodies[1] = session->sizes[1] != 0 ? write_body(id + 1, session->sizes[1]) : NULL;
	for (int i = 0; i < 2; i++)
		if (session->bodies[i] != NULL)
			queue_body_seal(session->bodies[i], on_sealed, session);
}

/* ---- delivery ---- */

struct delivery {
	struct queue_claim *claim;
	size_t at;
	struct queue_reader *reader;
	enum queue_part part;
	uint64_t offset;
	uint8_t chunk[READ_BYTES];
};

struct reported {
	uint64_t id;
	char *address;
	uint64_t notice;
	bool gone;
};

static void claim_next(void);
static void next_item(struct delivery *delivery);

static void on_reported(const struct err *err, void *arg)
{
	struct reported *reported = arg;

	if (err == NULL && reported->gone)
		note("D %llu %s", ID(reported->id), reported->address);
	if (err == NULL && reported->notice != 0)
		note("S %llu 1", ID(reported->notice));
	free(reported->address);
	free(reported);
}

static struct queue_notice make_notice(uint64_t id, const uint8_t *body, size_t size)
{
	return (struct queue_notice){
	    .message = {.id = id, .server = "default", .sender = "", .message_id = "", .received = clock_wall_seconds()},
	    .body = bytes_of(body, size),
	    .recipient = {.address = "0"},
	};
}

static void report(struct delivery *delivery)
{
	const struct queue_item *item = &delivery->claim->items[delivery->at];
	struct queue_result result = {.recipient = item->recipient, .kind = QUEUE_DELIVERED};
	struct reported *reported = mem_new(sizeof *reported);
	struct queue_notice notice;
	uint8_t body[500];
	uint32_t kind = random_below(20);

	*reported = (struct reported){.id = item->message->id, .address = mem_string(item->address), .gone = kind >= 5};
	if (kind < 5) {
		result.kind = QUEUE_DEFERRED;
		result.due = clock_wall_ms() + random_below(500);
		result.reply = "421 later";
	} else if (kind < 7) {
		result.kind = QUEUE_PERMANENT;
		reported->notice = queue_new_id(queue);
		fill(body, sizeof body, reported->notice, 0);
		notice = make_notice(reported->notice, body, sizeof body);
	}
	if (reported->gone)
		note("A %llu %s", ID(item->message->id), item->address);
	queue_report(queue, delivery->claim->token, &result, 1, reported->notice != 0 ? &notice : NULL, on_reported, reported);
}

static void end_item(struct delivery *delivery, const char *damage)
{
	const struct queue_item *item = &delivery->claim->items[delivery->at];

	queue_reader_close(delivery->reader);
	delivery->reader = NULL;
	if (damage != NULL)
		note("X %llu %s", ID(item->message->id), damage);
	else if (checking)
		note("P %llu %s", ID(item->message->id), item->address);
	else
		report(delivery);
	delivery->at++;
	next_item(delivery);
}

static void on_verified(const struct err *err, void *arg)
{
	end_item(arg, err != NULL ? err->text : NULL);
}

static void read_on(struct delivery *delivery);

static void on_read(ssize_t got, const struct err *err, void *arg)
{
	struct delivery *delivery = arg;
	const struct queue_stored *stored = delivery->claim->items[delivery->at].message;

	if (got < 0) {
		end_item(delivery, err->text);
		return;
	}
	if (!is_content(delivery->chunk, (size_t)got, stored->id + delivery->part, delivery->offset)) {
		end_item(delivery, "another content");
		return;
	}
	delivery->offset += (uint64_t)got;
	if (got == 0 &&
	    delivery->offset != (delivery->part == QUEUE_PART_ORIGINAL ? stored->original_size : stored->encoded_size)) {
		end_item(delivery, "too short");
		return;
	}
	if (got == 0 && delivery->part == QUEUE_PART_ENCODED) {
		queue_reader_verify(delivery->reader, on_verified, delivery);
		return;
	}
	if (got == 0) {
		delivery->part = QUEUE_PART_ENCODED;
		delivery->offset = 0;
	}
	read_on(delivery);
}

static void read_on(struct delivery *delivery)
{
	queue_reader_read(delivery->reader, delivery->part, delivery->offset, delivery->chunk, sizeof delivery->chunk, on_read,
			  delivery);
}

static void on_opened(struct queue_reader *reader, const struct err *err, void *arg)
{
	struct delivery *delivery = arg;

	if (reader == NULL) {
		end_item(delivery, err->text);
		return;
	}
	delivery->reader = reader;
	delivery->part = QUEUE_PART_ORIGINAL;
	delivery->offset = 0;
	read_on(delivery);
}

static void next_item(struct delivery *delivery)
{
	if (delivery->at < delivery->claim->count) {
		queue_body_open(queue, delivery->claim->items[delivery->at].message, on_opened, delivery);
		return;
	}
	queue_claim_free(delivery->claim);
	free(delivery);
	claim_next();
}

static void claim_later(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	claim_next();
}

static void on_closed(void *arg)
{
	(void)arg;
	note("end");
	exit(0);
}

static void on_claimed(struct queue_claim *claim, const struct err *err, void *arg)
{
	const struct timeval pause = {.tv_usec = 30000};
	struct delivery *delivery;

	(void)err;
	(void)arg;
	if (claim == NULL || claim->count == 0) {
		queue_claim_free(claim);
		if (checking)
			queue_close(queue, on_closed, NULL);
		else
			event_base_once(base, -1, EV_TIMEOUT, claim_later, NULL, &pause);
		return;
	}
	delivery = mem_new(sizeof *delivery);
	delivery->claim = claim;
	next_item(delivery);
}

static void claim_next(void)
{
	queue_claim(queue, CLAIM_LIMIT, on_claimed, NULL);
}

/* ---- the store ---- */

static unsigned n_sessions;
static struct session *sessions;

static void on_all_due(uint64_t changed, const struct err *err, void *arg)
{
	(void)changed;
	(void)err;
	(void)arg;
	claim_next();
}

static void on_ready(const struct err *err, void *arg)
{
	const struct queue_filter all = {0};

	(void)arg;
	if (err != NULL) {
		note("X 0 %s", err->text);
		exit(2);
	}
	if (checking) {
		queue_set(queue, &all, QUEUE_RETRY_NOW, on_all_due, NULL);
		return;
	}
	for (unsigned i = 0; i < n_sessions; i++)
		begin_message(&sessions[i]);
	claim_next();
}

static void on_health(enum queue_health health, const struct err *err, void *arg)
{
	(void)arg;
	note("H %d %s", health, err != NULL ? err->text : "");
	if (health == QUEUE_FAILED)
		_exit(EXIT_STORE_FAILED); /* as the relay does: nothing may be synced any more */
}

int main(int argc, char **argv)
{
	const struct queue_events events = {.ready = on_ready, .health = on_health};
	struct queue_settings settings = {.min_free_bytes = 1 << 20};
	struct err err;

	if (argc < 3)
		return 2;
	checking = strcmp(argv[1], "check") == 0;
	settings.directory = argv[2];
	if (!checking) {
		ledger = open(argv[3], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
		n_sessions = (unsigned)strtoul(argv[4], NULL, 10);
		random_state = (uint32_t)strtoul(argv[5], NULL, 10);
		sessions = mem_new_array(n_sessions, sizeof *sessions);
	}
	base = event_base_new();
	queue = queue_open(base, &settings, &events, &err);
	if (queue == NULL)
		return 2;
	event_base_dispatch(base);
	return 1;
}
