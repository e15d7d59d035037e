#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "provisioning/store/audit_private.h"

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

static bool read_link(const struct query *query, int column, struct audit_link *link)
{
	struct bytes hash = column_bytes(query, column);
	bool whole = hash.len == sizeof link->hash;

	if (whole)
		memcpy(link->hash, hash.data, sizeof link->hash);
	free((void *)hash.data);
	return whole;
}

bool audit_last(struct store *store, uint64_t *number, struct audit_link *link, struct err *err)
{
	struct query query = query_of(store, SQL_AUDIT_LAST);
	bool whole = true;

	*number = 0;
	*link = (struct audit_link){0};
	if (query_row(&query)) {
		*number = (uint64_t)column_number(&query, 0);
		whole = read_link(&query, 1, link);
	}
	if (!query_end(&query, err))
		return false;
	return whole || err_set(err, ERR_INTEGRITY, "audit row %llu has no hash", (unsigned long long)*number);
}

/* Octets of the UTF-8 character at `text`, or 0 when it is none (RFC 3629 §4). */
static size_t character_bytes(const unsigned char *text)
{
	unsigned lead = text[0], low = 0x80, high = 0xbf;
	size_t more = lead < 0x80		     ? 0
		      : lead >= 0xc2 && lead <= 0xdf ? 1
		      : (lead & 0xf0) == 0xe0	     ? 2
		      : lead >= 0xf0 && lead <= 0xf4 ? 3
						     : 4;

	if (more == 4)
		return 0;
	low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : low;
	high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : high;
	for (size_t i = 1; i <= more; i++) {
		if (text[i] < (i == 1 ? low : 0x80) || text[i] > (i == 1 ? high : 0xbf))
			return 0;
	}
	return more + 1;
}

/* As it can be exported: octets that are no UTF-8 become `?`. */
static char *clean_text(const char *text)
{
	char *clean = mem_string(text);

	for (size_t at = 0; clean[at] != '\0';) {
		size_t bytes = character_bytes((const unsigned char *)clean + at);

		if (bytes == 0)
			clean[at] = '?';
		at += bytes == 0 ? 1 : bytes;
	}
	return clean;
}

static bool insert(struct store *store, const struct audit_entry *row, struct err *err)
{
	struct query query = query_of(store, SQL_AUDIT_ADD);
	struct audit_link link;
	uint64_t number;

	if (!audit_last(store, &number, &link, err))
		return false;
	link = audit_link_next(&link, row);
	query_number(&query, (int64_t)row->number);
	query_number(&query, row->time_ms);
	query_text(&query, row->who);
	query_text(&query, row->from);
	query_text(&query, row->what);
	query_text(&query, row->result);
	query_bytes(&query, bytes_of(link.hash, sizeof link.hash));
	return query_run(&query, err);
}

bool audit_append(struct store *store, const struct audit_entry *entry, struct err *err)
{
	struct audit_entries one = {.items = mem_new(sizeof *one.items), .count = 1};
	struct audit_link link;
	uint64_t last;
	bool added = audit_last(store, &last, &link, err);

	*one.items = (struct audit_entry){.number = last + 1,
					  .time_ms = entry->time_ms != 0 ? entry->time_ms : clock_wall_ms(),
					  .who = clean_text(entry->who),
					  .from = clean_text(entry->from),
					  .what = clean_text(entry->what),
					  .result = clean_text(entry->result)};
	added = added && insert(store, one.items, err);
	audit_entries_clear(&one);
	return added;
}

bool store_audit_add(struct store *store, const struct audit_entry *entry, struct err *err)
{
	struct audit_read_up read;

	if (!transaction_begin(store, err) ||
	    !transaction_end(store, audit_read_up(store, &read, err) && audit_append(store, entry, err), err))
		return false;
	audit_read_up_done(store, &read);
	return true;
}

bool store_audit_read_up(struct store *store, struct err *err)
{
	struct audit_read_up read;

	if (!transaction_begin(store, err) || !transaction_end(store, audit_read_up(store, &read, err), err))
		return false;
	audit_read_up_done(store, &read);
	return true;
}

struct audit_entry audit_entry_read(const struct query *query)
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

bool store_audit_find(struct store *store, const struct audit_choice *choice, size_t most, struct audit_entries *entries,
		      struct err *err)
{
	struct query query = query_of(store, SQL_AUDIT_TAIL);
	struct audit_entries found = {0};

	query_text(&query, choice->who != NULL ? choice->who : "");
	query_text(&query, choice->text != NULL ? choice->text : "");
	query_number(&query, choice->since_ms);
	query_number(&query, choice->until_ms != 0 ? choice->until_ms : INT64_MAX);
	query_number(&query, choice->failed);
	query_number(&query, (int64_t)choice->number);
	query_number(&query, (int64_t)most);
	while (query_row(&query)) {
		found.items = mem_resize(found.items, found.count + 1, sizeof *found.items);
		found.items[found.count++] = audit_entry_read(&query);
	}
	if (!query_end(&query, err)) {
		audit_entries_clear(&found);
		return false;
	}
	*entries = found;
	return true;
}

bool store_audit_list(struct store *store, size_t most, struct audit_entries *entries, struct err *err)
{
	return store_audit_find(store, &(struct audit_choice){0}, most, entries, err);
}

bool store_audit_walk(struct store *store, audit_row *row, void *arg, struct err *err)
{
	struct query query = query_of(store, SQL_AUDIT_ALL);
	bool fine = true;

	while (fine && query_row(&query)) {
		struct audit_entries one = {.items = mem_new(sizeof *one.items), .count = 1};
		struct audit_link link;

		*one.items = audit_entry_read(&query);
		fine = read_link(&query, 6, &link)
			   ? row(one.items, link.hash, arg, err)
			   : err_set(err, ERR_INTEGRITY, "audit row %llu has no hash", (unsigned long long)one.items->number);
		audit_entries_clear(&one);
	}
	return query_end(&query, fine ? err : NULL) && fine;
}

bool store_audit_verify(struct store *store, struct err *err)
{
	struct query query = query_of(store, SQL_AUDIT_ALL);
	struct audit_link previous = {0}, stored;
	uint64_t expected = 1;
	bool intact = true;

	for (; intact && query_row(&query); expected++) {
		struct audit_entries one = {.items = mem_new(sizeof *one.items), .count = 1};

		one.items[0] = audit_entry_read(&query);
		previous = audit_link_next(&previous, &one.items[0]);
		intact = one.items[0].number == expected && read_link(&query, 6, &stored) &&
			 memcmp(stored.hash, previous.hash, sizeof stored.hash) == 0;
		audit_entries_clear(&one);
	}
	if (!query_end(&query, err))
		return false;
	return intact || err_set(err, ERR_INTEGRITY, "the audit trail is broken at row %llu", (unsigned long long)expected - 1);
}
