#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "provisioning/store/store_private.h"

struct link {
	uint8_t hash[SHA256_DIGEST_LENGTH];
};

void audit_entries_clear(struct audit_entries *entries)
{
	for (size_t i = 0; i < entries->count; i++) {
		free(entries->items[i].who);
		free(entries->items[i].from);
		free(entries->items[i].what);
		free(entries->items[i].result);
	}
	free(entries->items);
	*entries = (struct audit_entries){0};
}

static struct link next_link(const struct link *previous, const struct audit_entry *entry)
{
	struct buf fields = {0};
	struct link link;

	buf_put(&fields, previous->hash, sizeof previous->hash);
	msg_put_u64(&fields, entry->number);
	msg_put_i64(&fields, entry->time_ms);
	msg_put_text(&fields, entry->who);
	msg_put_text(&fields, entry->from);
	msg_put_text(&fields, entry->what);
	msg_put_text(&fields, entry->result);
	SHA256(fields.data, fields.len, link.hash);
	buf_clear(&fields);
	return link;
}

static bool read_link(const struct query *query, int column, struct link *link)
{
	struct bytes hash = column_bytes(query, column);
	bool whole = hash.len == sizeof link->hash;

	if (whole)
		memcpy(link->hash, hash.data, sizeof link->hash);
	free((void *)hash.data);
	return whole;
}

static bool last_link(struct store *store, uint64_t *number, struct link *link, struct err *err)
{
	struct query query = query_of(store, SQL_AUDIT_LAST);
	bool whole = true;

	*number = 0;
	*link = (struct link){0};
	if (query_row(&query)) {
		*number = (uint64_t)column_number(&query, 0);
		whole = read_link(&query, 1, link);
	}
	if (!query_end(&query, err))
		return false;
	return whole || err_set(err, ERR_INTEGRITY, "audit row %llu has no hash", (unsigned long long)*number);
}

static bool append(struct store *store, const struct audit_entry *entry, struct err *err)
{
	struct query query = query_of(store, SQL_AUDIT_ADD);
	struct audit_entry row = *entry;
	struct link link;
	uint64_t number;

	if (!last_link(store, &number, &link, err))
		return false;
	row.number = number + 1;
	row.time_ms = clock_wall_ms();
	link = next_link(&link, &row);
	query_number(&query, (int64_t)row.number);
	query_number(&query, row.time_ms);
	query_text(&query, row.who);
	query_text(&query, row.from);
	query_text(&query, row.what);
	query_text(&query, row.result);
	query_bytes(&query, bytes_of(link.hash, sizeof link.hash));
	return query_run(&query, err);
}

bool store_audit_add(struct store *store, const struct audit_entry *entry, struct err *err)
{
	return transaction_begin(store, err) && transaction_end(store, append(store, entry, err), err);
}

static struct audit_entry read_entry(const struct query *query)
{
	return (struct audit_entry){
	    .number = (uint64_t)column_number(query, 0),
	    .time_ms = column_number(query, 1),
	    .who = column_text(query, 2),
	    .from = column_text(query, 3),
	    .what = column_text(query, 4),
	    .result = column_text(query, 5),
	};
}

bool store_audit_list(struct store *store, size_t most, struct audit_entries *entries, struct err *err)
{
	struct query query = query_of(store, SQL_AUDIT_TAIL);
	struct audit_entries found = {0};

	query_number(&query, (int64_t)most);
	while (query_row(&query)) {
		found.items = mem_resize(found.items, found.count + 1, sizeof *found.items);
		found.items[found.count++] = read_entry(&query);
	}
	if (!query_end(&query, err)) {
		audit_entries_clear(&found);
		return false;
	}
	*entries = found;
	return true;
}

bool store_audit_verify(struct store *store, struct err *err)
{
	struct query query = query_of(store, SQL_AUDIT_ALL);
	struct link previous = {0}, stored;
	uint64_t expected = 1;
	bool intact = true;

	for (; intact && query_row(&query); expected++) {
		struct audit_entries one = {.items = mem_new(sizeof *one.items), .count = 1};

		one.items[0] = read_entry(&query);
		previous = next_link(&previous, &one.items[0]);
		intact = one.items[0].number == expected && read_link(&query, 6, &stored) &&
			 memcmp(stored.hash, previous.hash, sizeof stored.hash) == 0;
		audit_entries_clear(&one);
	}
	if (!query_end(&query, err))
		return false;
	return intact || err_set(err, ERR_INTEGRITY, "the audit trail is broken at row %llu", (unsigned long long)expected - 1);
}
