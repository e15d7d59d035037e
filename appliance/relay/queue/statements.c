#include "appliance/relay/queue/statements.h"

#define LIST_COLUMNS                                                                                                             \
	"SELECT r.message, r.id, m.server, coalesce(r.sender, m.sender), r.address, r.state, r.reply, m.received, r.due, "       \
	"r.attempts,"                                                                                                            \
	" CASE r.rendering WHEN 1 THEN m.signed_size ELSE m.plain_size END, r.rendering, r.rule, m.message_id, m.expires"        \
	" FROM recipient AS r JOIN message AS m ON m.id = r.message "

/* ?1 ?2 the row to go on behind (newest first), ?3 how many; the others NULL for any. */
#define LOG_LIST(where)                                                                                                          \
	"SELECT r.message, r.recipient, m.server, m.sender, m.header_from, r.address, r.status, r.updated, r.reason, "           \
	"r.rendering,"                                                                                                           \
	" r.rule, m.message_id, m.subject, m.sender_ip, r.source_ip, m.api_data"                                                 \
	" FROM log_recipient AS r JOIN log_message AS m ON m.id = r.message"                                                     \
	" WHERE " where " (r.message, r.recipient) < (?1, ?2)"                                                                   \
	" AND (?5 IS NULL OR m.server = ?5) AND (?6 IS NULL OR m.sender = ?6 COLLATE NOCASE)"                                    \
	" AND (?7 IS NULL OR r.status = ?7) AND r.message >= ?8"                                                                 \
	" AND (?9 IS NULL OR r.address = ?9) AND (?10 IS NULL OR m.header_from = ?10)"                                           \
	" ORDER BY r.message DESC, r.recipient DESC LIMIT ?3"

/*
 * ?1 server, ?2 first id, ?3 id behind the last, ?4 status, ?5 how many, ?6 after how many; the others NULL for any. A page is
 * found by its keys before its rows are read; where a text must match, each row is looked at. CROSS JOIN: in this order.
 */
#define EVENT_COLUMNS                                                                                                            \
	"SELECT e.id, e.status, m.sender, m.header_from, r.address, m.message_id, e.reason, m.sender_ip, e.source_ip,"           \
	" m.subject, m.api_data"
#define EVENT_JOIN                                                                                                               \
	" CROSS JOIN log_recipient AS r ON r.message = e.message AND r.recipient = e.recipient"                                  \
	" CROSS JOIN log_message AS m ON m.id = e.message "
#define EVENT_PAGE(index, status)                                                                                                \
	EVENT_COLUMNS " FROM (SELECT id AS page_id FROM event " index " WHERE server = ?1 AND " status                           \
		      " AND id >= ?2 AND id < ?3 ORDER BY id LIMIT ?5 OFFSET ?6)"                                                \
		      " CROSS JOIN event AS e ON e.server = ?1 AND e.id = page_id" EVENT_JOIN "ORDER BY e.id"
/* A part of it, or all of it, in any case. */
#define ADDRESS_IS(column, text, whole)                                                                                          \
	"CASE WHEN " whole " THEN lower(" column ") = lower(" text ") ELSE instr(lower(" column "), lower(" text ")) > 0 END"
#define FROM_IS "(?7 IS NULL OR " ADDRESS_IS("m.header_from", "?7", "?10") ")"
#define TO_IS "(?8 IS NULL OR " ADDRESS_IS("r.address", "?8", "?11") ")"
#define EVENT_FIND(index, status)                                                                                                \
	EVENT_COLUMNS " FROM event AS e " index EVENT_JOIN "WHERE e.server = ?1 AND " status                                     \
		      " AND e.id >= ?2 AND e.id < ?3 AND " FROM_IS " AND " TO_IS                                                 \
		      " AND (?9 IS NULL OR m.api_data = ?9) ORDER BY e.id LIMIT ?5 OFFSET ?6"
/* Failed and deferred ones have an index of their own; the literal lets it be used (schema.c). */
#define TROUBLE_INDEX "INDEXED BY event_trouble"

/* The names of the servers that have events, by one seek each; the last is NULL. */
#define EVENT_SERVERS                                                                                                            \
	"WITH RECURSIVE known (name) AS (SELECT min(server) FROM event UNION ALL"                                                \
	" SELECT (SELECT min(server) FROM event WHERE server > name) FROM known WHERE name IS NOT NULL) "
#define EVENT_HIGHEST "(" EVENT_SERVERS "SELECT coalesce(max((SELECT max(id) FROM event WHERE server = name)), 0) FROM known)"

/* The state is written as a number where the partial indices of schema.c need to see it. */
const char *const statement_sql[STATEMENTS] = {
    [S_BEGIN] = "BEGIN IMMEDIATE",
    [S_COMMIT] = "COMMIT",
    [S_ROLLBACK] = "ROLLBACK",

    [S_INSERT_MESSAGE] =
	"INSERT INTO message (id, server, sender, envelope_id, message_id, return_full, smtputf8, body_type,"
	" received, expires, plain_size, signed_size,"
	" original, original_place, original_size, original_digest,"
	" encoded, encoded_place, encoded_size, encoded_digest, prefix, addition)"
	" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)"
	" ON CONFLICT (id) DO NOTHING",
    [S_INSERT_BODY] = "INSERT INTO body (number, data) VALUES (?1, ?2)",
    [S_INSERT_FILE] = "INSERT INTO file (number) VALUES (?1)",
    [S_INSERT_RECIPIENT] = "INSERT INTO recipient (id, message, address, rendering, rule, original, notify, state, due, attempts,"
			   " sender) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8, 0, ?9)",

    [S_DELETE_RECIPIENT] = "DELETE FROM recipient WHERE id = ?1",
    [S_DEFER_RECIPIENT] =
	"UPDATE recipient SET due = coalesce(?2, due), attempts = attempts + 1, reply = ?3, state = max(state, ?4),"
	" notify = notify | ?5"
	" WHERE id = ?1 RETURNING state",
    [S_SET_STATE] = "UPDATE recipient SET state = ?2 WHERE id = ?1",
    [S_SET_DUE] = "UPDATE recipient SET due = ?2 WHERE id = ?1",
    [S_MESSAGE_HAS_RECIPIENT] = "SELECT 1 FROM recipient WHERE message = ?1 LIMIT 1",
    [S_DELETE_MESSAGE] = "DELETE FROM message WHERE id = ?1 RETURNING original, original_place, encoded, encoded_place",
    [S_DELETE_BODY] = "DELETE FROM body WHERE number = ?1",
    [S_DELETE_FILE] = "DELETE FROM file WHERE number = ?1",
    [S_SLICE_ALL] = "SELECT id, message, state FROM recipient WHERE id > ?1 ORDER BY id LIMIT ?2",
    [S_SLICE_SERVER] = "SELECT id, message, state, (SELECT server = ?3 FROM message WHERE message.id = recipient.message)"
		       " FROM recipient WHERE id > ?1 ORDER BY id LIMIT ?2",
    [S_SLICE_MESSAGE] = "SELECT id, message, state FROM recipient WHERE message = ?3 AND id > ?1 ORDER BY id LIMIT ?2",

    [S_SCAN_DUE] = "SELECT id, due FROM recipient WHERE state = 0 AND due >= ?1 ORDER BY due, id",
    [S_LOAD_RECIPIENT] =
	"SELECT message, address, rendering, rule, original, notify, attempts, sender FROM recipient WHERE id = ?1",
    [S_LOAD_MESSAGE] = "SELECT server, sender, envelope_id, message_id, return_full, smtputf8, body_type, received, expires,"
		       " plain_size, signed_size, original_size, encoded_size, prefix, addition FROM message WHERE id = ?1",

    [S_LOAD_PARTS] = "SELECT original, original_place, original_size, original_digest,"
		     " encoded, encoded_place, encoded_size, encoded_digest FROM message WHERE id = ?1",
    [S_LOAD_BODY] = "SELECT data FROM body WHERE number = ?1",
    [S_LIST_ALL] = LIST_COLUMNS "WHERE r.id > ?1 ORDER BY r.id LIMIT ?2",
    [S_LIST_MESSAGE] = LIST_COLUMNS "WHERE r.message = ?3 AND r.id > ?1 ORDER BY r.id LIMIT ?2",
    [S_OLDEST] = "SELECT received FROM message ORDER BY id LIMIT 1",

    [S_HIGHEST_MESSAGE] = "SELECT max(id) FROM message",
    [S_HIGHEST_RECIPIENT] = "SELECT max(id) FROM recipient",
    [S_HIGHEST_FILE] = "SELECT max(number) FROM file",
    [S_RECORDED_HIGHEST] = "SELECT highest FROM numbering",
    [S_RECORD_HIGHEST] = "UPDATE numbering SET highest = ?1",
    [S_LIST_FILES] = "SELECT number FROM file ORDER BY number",
    [S_LIST_DELETING] = "SELECT id, message FROM recipient WHERE state = 2 AND state <> 0",
    [S_COUNT_MESSAGES] = "SELECT count(*) FROM (SELECT DISTINCT message FROM recipient)",
    [S_COUNT_WAITING] = "SELECT count(*) FROM recipient WHERE state = 0",
    [S_COUNT_HELD] = "SELECT count(*) FROM recipient WHERE state = 1 AND state <> 0",

    [S_LOG_MESSAGE] = "INSERT INTO log_message (id, server, sender, header_from, message_id, subject, sender_ip, api_data)"
		      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO NOTHING",
    [S_LOG_RECIPIENT] = "INSERT INTO log_recipient (message, recipient, address, rendering, rule, status, updated)"
			" VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6)",
    [S_LOG_RESULT] = "UPDATE log_recipient SET status = ?3, updated = ?4, reason = ?5, source_ip = coalesce(?6, source_ip)"
		     " WHERE message = ?1 AND recipient = ?2",
    [S_LOG_LIST] = LOG_LIST(""),
    [S_LOG_LIST_ID] = LOG_LIST("r.message = ?4 AND"),
    [S_LOG_LIST_TO] = LOG_LIST("r.address = ?9 AND"),
    [S_LOG_LIST_FROM] = LOG_LIST("m.header_from = ?10 AND"),
    [S_LOG_OLD] = "SELECT id, server FROM log_message WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT ?3",
    [S_LOG_DELETE_MESSAGE] = "DELETE FROM log_message WHERE id = ?1",
    [S_LOG_DELETE_RECIPIENTS] = "DELETE FROM log_recipient WHERE message = ?1",

    [S_EVENT_HIGHEST] = "SELECT max(" EVENT_HIGHEST ", coalesce((SELECT max(cursor) FROM webhook), 0))",
    [S_EVENT_INSERT] = "INSERT INTO event (server, id, status, message, recipient, reason, source_ip)"
		       " SELECT server, ?1, ?2, ?3, ?4, ?5, ?6 FROM log_message WHERE id = ?3",
    [S_EVENT_COUNT] =
	"INSERT INTO event_day (server, day, status, count) SELECT server, ?1, ?2, ?3 FROM log_message WHERE id = ?4"
	" ON CONFLICT (server, day, status) DO UPDATE SET count = count + excluded.count",
    [S_EVENT_PAGE] = EVENT_PAGE("", "(?4 IS NULL OR status = ?4)"),
    [S_EVENT_PAGE_TROUBLE] = EVENT_PAGE(TROUBLE_INDEX, "status = ?4 AND status >= 2"),
    [S_EVENT_FIND] = EVENT_FIND("", "(?4 IS NULL OR e.status = ?4)"),
    [S_EVENT_FIND_TROUBLE] = EVENT_FIND(TROUBLE_INDEX, "e.status = ?4 AND e.status >= 2"),
    [S_EVENT_DAYS] = "SELECT day, status, count FROM event_day WHERE server = ?1 AND day BETWEEN ?2 AND ?3 ORDER BY day",
    [S_EVENT_HOURS] = EVENT_SERVERS
    "SELECT (id >> 22) / 3600000, status, count(*) FROM known CROSS JOIN event ON server = name AND id >= ?1 AND id < ?2"
    " WHERE ?3 IS NULL OR name = ?3 GROUP BY 1, 2",
    [S_MESSAGE_HOURS] = "SELECT (message >> 22) / 3600000, count(*), sum(signed) FROM"
			" (SELECT message, max(rendering) AS signed FROM log_recipient WHERE message >= ?1 AND message < ?2"
			" GROUP BY message)"
			" WHERE ?3 IS NULL OR (SELECT server FROM log_message WHERE id = message) = ?3 GROUP BY 1",
    [S_EVENT_BACKLOG] = "SELECT id FROM event WHERE server = ?1 AND id > ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3",
    [S_EVENT_PRUNE] = "DELETE FROM event WHERE (server, id) IN (" EVENT_SERVERS
		      "SELECT name, id FROM known CROSS JOIN event ON server = name AND id < ?1 LIMIT ?2)",
    [S_EVENT_PRUNE_SERVER] = "DELETE FROM event WHERE server = ?3 AND id IN"
			     " (SELECT id FROM event WHERE server = ?3 AND id < ?1 ORDER BY id LIMIT ?2)",
    [S_EVENT_GAP] = "SELECT count(*) FROM event WHERE server = ?1 AND id > ?2 AND id <= ?3",
    [S_WEBHOOK_BEGIN] = "INSERT INTO webhook (name, cursor) SELECT ?1, " EVENT_HIGHEST " WHERE true"
			" ON CONFLICT (name) DO NOTHING",
    [S_WEBHOOK_CURSOR] = "SELECT cursor FROM webhook WHERE name = ?1",
    [S_WEBHOOK_SET] = "INSERT INTO webhook (name, cursor) VALUES (?1, ?2)"
		      " ON CONFLICT (name) DO UPDATE SET cursor = max(cursor, excluded.cursor)",
    [S_WEBHOOK_DROP] = "DELETE FROM webhook WHERE name = ?1",

    [S_PAGE_COUNT] = "PRAGMA page_count",
    [S_FREE_PAGES] = "PRAGMA freelist_count",
    [S_VACUUM] = "PRAGMA incremental_vacuum(1000)",
};
