#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "provisioning/console/audit_file.h"

struct export
{
	FILE *to;
	struct audit_checkpoints checkpoints;
	size_t next; /* of them */
	uint64_t rows;
	struct audit_link head;
};

static bool put_object(FILE *to, json_t *object, struct err *err)
{
	bool written = object != NULL && json_dumpf(object, to, JSON_COMPACT) == 0 && fputc('\n', to) != EOF;

	json_decref(object);
	return written || err_errno(err, "the file");
}

static json_t *hash_text(const uint8_t *hash)
{
	char hex[2 * AUDIT_HASH_BYTES + 1];

	hex_encode(hex, bytes_of(hash, AUDIT_HASH_BYTES));
	return json_string(hex);
}

static json_t *base64_text(struct bytes octets)
{
	struct buf text = {0};
	json_t *string;

	base64_encode(&text, octets);
	string = json_string(buf_text(&text));
	buf_clear(&text);
	return string;
}

static bool put_key(FILE *to, const struct audit_key *key, struct err *err)
{
	return put_object(to,
			  json_pack("{s:o,s:o,s:I}", "key", hash_text(key->fingerprint.hash), "public_key",
				    base64_text(key->public_key), "since", (json_int_t)key->since_ms),
			  err);
}

static bool put_keys(struct store *store, FILE *to, struct err *err)
{
	struct audit_keys keys;
	bool written = true;

	if (!store_audit_keys(store, &keys, err))
		return false;
	for (size_t i = 0; written && i < keys.count; i++)
		written = put_key(to, &keys.items[i], err);
	audit_keys_clear(&keys);
	return written;
}

static bool put_checkpoint(FILE *to, const struct audit_checkpoint *checkpoint, struct err *err)
{
	return put_object(to,
			  json_pack("{s:I,s:I,s:o,s:o,s:o}", "checkpoint", (json_int_t)checkpoint->number, "time",
				    (json_int_t)checkpoint->time_ms, "hash", hash_text(checkpoint->link.hash), "key",
				    hash_text(checkpoint->key.hash), "signature", base64_text(checkpoint->signature)),
			  err);
}

static bool put_row(const struct audit_entry *entry, const uint8_t *hash, void *arg, struct err *err)
{
	struct export *export = arg;

	export->rows = entry->number;
	memcpy(export->head.hash, hash, AUDIT_HASH_BYTES);
	if (!put_object(export->to,
			json_pack("{s:I,s:I,s:s,s:s,s:s,s:s,s:o}", "row", (json_int_t)entry->number, "time",
				  (json_int_t)entry->time_ms, "who", entry->who, "from", entry->from, "what", entry->what,
				  "result", entry->result, "hash", hash_text(hash)),
			err))
		return err_prefix(err, "row %llu", (unsigned long long)entry->number);
	for (; export->next < export->checkpoints.count && export->checkpoints.items[export->next].number <= entry->number;
	     export->next++) {
		if (!put_checkpoint(export->to, &export->checkpoints.items[export->next], err))
			return false;
	}
	return true;
}

bool audit_file_write(struct store *store, int64_t now_ms, FILE *to, uint64_t *rows, struct audit_link *head, struct err *err)
{
	struct export export = {.to = to};
	bool written;

	if (!store_checkpoints(store, &export.checkpoints, err))
		return false;
	written =
	    put_object(
		to, json_pack("{s:s,s:i,s:I}", "audit", "inkan", "version", AUDIT_FILE_VERSION, "exported", (json_int_t)now_ms),
		err) &&
	    put_keys(store, to, err) && store_audit_walk(store, put_row, &export, err) &&
	    put_object(to, json_pack("{s:I,s:o}", "end", (json_int_t) export.rows, "hash", hash_text(export.head.hash)), err);
	audit_checkpoints_clear(&export.checkpoints);
	if (written) {
		*rows = export.rows;
		*head = export.head;
	}
	return written;
}
