#include <stdlib.h>
#include <string.h>

#include "provisioning/store/audit_private.h"

bool store_audit_head(struct store *store, uint64_t *number, struct audit_link *link, struct err *err)
{
	return audit_last(store, number, link, err);
}

bool store_audit_unsigned(struct store *store, struct audit_unsigned *since, struct err *err)
{
	struct query query = query_of(store, SQL_AUDIT_CHECKPOINT_DUE);
	struct audit_unsigned found = {0};

	if (query_row(&query))
		found = (struct audit_unsigned){(uint64_t)column_number(&query, 0), (uint64_t)column_number(&query, 1),
						column_number(&query, 2)};
	if (!query_end(&query, err))
		return false;
	*since = found;
	return true;
}

static void put_link(struct query *query, const struct audit_link *link)
{
	query_bytes(query, bytes_of(link->hash, sizeof link->hash));
}

static bool add_key(struct store *store, const struct audit_checkpoint *checkpoint, struct bytes public_key, struct err *err)
{
	struct query query = query_of(store, SQL_AUDIT_KEY_ADD);
	struct audit_entry entry = {.who = (char *)"", .from = (char *)"token", .result = (char *)"ok"};
	char hex[2 * AUDIT_HASH_BYTES + 1];
	bool added;

	put_link(&query, &checkpoint->key);
	query_bytes(&query, public_key);
	query_number(&query, checkpoint->time_ms);
	if (!query_run(&query, err))
		return false;
	if (query_changes(&query) == 0)
		return true;
	hex_encode(hex, bytes_of(checkpoint->key.hash, sizeof checkpoint->key.hash));
	entry.what = mem_format("checkpoints are signed by the audit key %s from now on", hex);
	added = audit_append(store, &entry, err);
	free(entry.what);
	return added;
}

static bool add(struct store *store, const struct audit_checkpoint *checkpoint, struct bytes public_key, struct err *err)
{
	struct query query = query_of(store, SQL_AUDIT_CHECKPOINT_ADD);

	query_number(&query, (int64_t)checkpoint->number);
	query_number(&query, checkpoint->time_ms);
	put_link(&query, &checkpoint->link);
	put_link(&query, &checkpoint->key);
	query_bytes(&query, checkpoint->signature);
	return query_run(&query, err) && add_key(store, checkpoint, public_key, err);
}

bool store_checkpoint_add(struct store *store, const struct audit_checkpoint *checkpoint, struct bytes public_key,
			  struct err *err)
{
	struct audit_link fingerprint = audit_fingerprint(public_key);

	if (memcmp(fingerprint.hash, checkpoint->key.hash, sizeof fingerprint.hash) != 0 ||
	    !audit_checkpoint_verifies(checkpoint, public_key))
		return err_set(err, ERR_INTEGRITY, "the token's signature of the checkpoint does not verify");
	return transaction_begin(store, err) && transaction_end(store, add(store, checkpoint, public_key, err), err);
}

static bool read_link(const struct query *query, int column, struct audit_link *link)
{
	struct bytes octets = column_bytes(query, column);
	bool whole = octets.len == sizeof link->hash;

	if (whole)
		memcpy(link->hash, octets.data, sizeof link->hash);
	free((void *)octets.data);
	return whole;
}

bool store_checkpoints(struct store *store, struct audit_checkpoints *checkpoints, struct err *err)
{
	struct query query = query_of(store, SQL_AUDIT_CHECKPOINT_LIST);
	struct audit_checkpoints found = {0};
	bool whole = true;

	while (whole && query_row(&query)) {
		struct audit_checkpoint one = {.number = (uint64_t)column_number(&query, 0),
					       .time_ms = column_number(&query, 1),
					       .signature = column_bytes(&query, 4)};

		whole = read_link(&query, 2, &one.link) && read_link(&query, 3, &one.key);
		found.items = mem_resize(found.items, found.count + 1, sizeof *found.items);
		found.items[found.count++] = one;
	}
	if (query_end(&query, err) && (whole || err_set(err, ERR_INTEGRITY, "a checkpoint of the audit is damaged"))) {
		*checkpoints = found;
		return true;
	}
	audit_checkpoints_clear(&found);
	return false;
}

bool store_audit_keys(struct store *store, struct audit_keys *keys, struct err *err)
{
	struct query query = query_of(store, SQL_AUDIT_KEY_LIST);
	struct audit_keys found = {0};
	bool whole = true;

	while (whole && query_row(&query)) {
		struct audit_key one = {.public_key = column_bytes(&query, 1), .since_ms = column_number(&query, 2)};

		whole = read_link(&query, 0, &one.fingerprint);
		found.items = mem_resize(found.items, found.count + 1, sizeof *found.items);
		found.items[found.count++] = one;
	}
	if (query_end(&query, err) && (whole || err_set(err, ERR_INTEGRITY, "an audit key is damaged"))) {
		*keys = found;
		return true;
	}
	audit_keys_clear(&found);
	return false;
}
