#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "provisioning/console/audit_file.h"

void audit_verifier_init(struct audit_verifier *verifier, const struct audit_pins *pins)
{
	*verifier = (struct audit_verifier){.pins = pins};
}

void audit_verifier_clear(struct audit_verifier *verifier)
{
	audit_keys_clear(&verifier->keys);
}

/* ---- members of a line ---- */

static bool malformed(const struct audit_verifier *verifier, const char *what, struct err *err)
{
	return err_set(err, verifier->begun ? ERR_INTEGRITY : ERR_INVALID, "line %llu is damaged (%s), behind row %llu",
		       (unsigned long long)verifier->line, what, (unsigned long long)verifier->rows);
}

static bool get_number(json_t *object, const char *name, int64_t *number)
{
	json_t *value = json_object_get(object, name);

	*number = (int64_t)json_integer_value(value);
	return json_is_integer(value) && *number >= 0;
}

static bool same_link(const struct audit_link *a, const struct audit_link *b)
{
	return memcmp(a->hash, b->hash, sizeof a->hash) == 0;
}

static bool get_link(json_t *object, const char *name, struct audit_link *link)
{
	const char *hex = json_string_value(json_object_get(object, name));
	struct buf octets = {0};
	bool good = hex != NULL && hex_decode(&octets, hex, NULL) && octets.len == sizeof link->hash;

	if (good)
		memcpy(link->hash, octets.data, sizeof link->hash);
	buf_clear(&octets);
	return good;
}

static bool get_octets(json_t *object, const char *name, struct buf *octets)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text != NULL && base64_decode(octets, bytes_text(text), NULL);
}

/* ---- kinds of lines ---- */

static bool on_header(struct audit_verifier *verifier, json_t *object, struct err *err)
{
	const char *audit = json_string_value(json_object_get(object, "audit"));
	int64_t version;

	if (verifier->begun)
		return malformed(verifier, "a second beginning", err);
	if (audit == NULL || strcmp(audit, "inkan") != 0 || !get_number(object, "version", &version))
		return err_set(err, ERR_INVALID, "this is no exported audit of Inkan");
	if (version != AUDIT_FILE_VERSION)
		return err_set(err, ERR_INVALID, "the export has version %lld, this program reads version %d", (long long)version,
			       AUDIT_FILE_VERSION);
	verifier->begun = true;
	return true;
}

static bool on_key(struct audit_verifier *verifier, json_t *object, struct err *err)
{
	struct audit_key key = {0};
	struct audit_link named;
	struct buf octets = {0};

	if (!get_link(object, "key", &named) || !get_octets(object, "public_key", &octets)) {
		buf_clear(&octets);
		return malformed(verifier, "an audit key", err);
	}
	key.fingerprint = audit_fingerprint(buf_bytes(&octets));
	if (!same_link(&named, &key.fingerprint)) {
		buf_clear(&octets);
		return err_set(err, ERR_INTEGRITY, "an audit key in the file was changed: it does not have its fingerprint");
	}
	key.public_key = buf_bytes(&octets); /* owned from here on */
	verifier->keys.items = mem_resize(verifier->keys.items, verifier->keys.count + 1, sizeof *verifier->keys.items);
	verifier->keys.items[verifier->keys.count++] = key;
	return true;
}

static bool check_number(const struct audit_verifier *verifier, uint64_t number, struct err *err)
{
	unsigned long long expected = verifier->rows + 1, found = number;

	if (number == verifier->rows + 1)
		return true;
	if (number <= verifier->rows)
		return err_set(err, ERR_INTEGRITY, "row %llu is out of order or was put in: row %llu is expected there", found,
			       expected);
	if (number == verifier->rows + 2)
		return err_set(err, ERR_INTEGRITY, "row %llu is missing", expected);
	return err_set(err, ERR_INTEGRITY, "rows %llu to %llu are missing", expected, found - 1);
}

static bool check_pinned_row(const struct audit_verifier *verifier, struct err *err)
{
	if (verifier->rows != verifier->pins->row || same_link(&verifier->link, &verifier->pins->head))
		return true;
	return err_set(err, ERR_INTEGRITY, "row %llu, or one before it, was changed: its hash is not the one that is known",
		       (unsigned long long)verifier->rows);
}

static bool on_row(struct audit_verifier *verifier, json_t *object, struct err *err)
{
	struct audit_entry entry = {0};
	struct audit_link stated, link;
	int64_t number;

	if (json_unpack(object, "{s:s,s:s,s:s,s:s}", "who", &entry.who, "from", &entry.from, "what", &entry.what, "result",
			&entry.result) != 0 ||
	    !get_number(object, "row", &number) || !get_number(object, "time", &entry.time_ms) ||
	    !get_link(object, "hash", &stated))
		return malformed(verifier, "a row", err);
	entry.number = (uint64_t)number;
	if (!check_number(verifier, entry.number, err))
		return false;
	link = audit_link_next(&verifier->link, &entry);
	if (!same_link(&link, &stated))
		return err_set(err, ERR_INTEGRITY, "row %llu was changed: it does not have its hash", (unsigned long long)number);
	verifier->rows = entry.number;
	verifier->link = link;
	return check_pinned_row(verifier, err);
}

static const struct audit_key *find_key(const struct audit_verifier *verifier, const struct audit_link *fingerprint)
{
	for (size_t i = 0; i < verifier->keys.count; i++) {
		if (same_link(&verifier->keys.items[i].fingerprint, fingerprint))
			return &verifier->keys.items[i];
	}
	return NULL;
}

static bool is_pinned(const struct audit_pins *pins, const struct audit_link *fingerprint)
{
	for (size_t i = 0; i < pins->n_keys; i++) {
		if (same_link(&pins->keys[i], fingerprint))
			return true;
	}
	return pins->n_keys == 0;
}

static bool check_signature(const struct audit_verifier *verifier, const struct audit_checkpoint *checkpoint, struct err *err)
{
	const struct audit_key *key = find_key(verifier, &checkpoint->key);
	unsigned long long number = checkpoint->number;

	if (key == NULL)
		return err_set(err, ERR_INTEGRITY, "the checkpoint of row %llu is by a key that the file does not have", number);
	if (!is_pinned(verifier->pins, &checkpoint->key))
		return err_set(err, ERR_INTEGRITY,
			       "the checkpoint of row %llu is by another audit key than the one that is known", number);
	return audit_checkpoint_verifies(checkpoint, key->public_key) ||
	       err_set(err, ERR_INTEGRITY, "the signature of the checkpoint of row %llu does not verify", number);
}

static bool check_checkpoint(const struct audit_verifier *verifier, const struct audit_checkpoint *checkpoint, struct err *err)
{
	unsigned long long number = checkpoint->number, since = verifier->signed_rows + 1;

	if (!check_signature(verifier, checkpoint, err))
		return false;
	if (checkpoint->number > verifier->rows)
		return err_set(err, ERR_INTEGRITY,
			       "rows %llu to %llu are missing at the end: they were there when they were signed",
			       (unsigned long long)verifier->rows + 1, number);
	if (checkpoint->number < verifier->rows)
		return err_set(err, ERR_INTEGRITY, "the checkpoint of row %llu is out of order", number);
	return same_link(&checkpoint->link, &verifier->link) ||
	       err_set(err, ERR_INTEGRITY,
		       "rows %llu to %llu are not those that were signed: one of them was changed with all hashes", since,
		       number);
}

static bool on_checkpoint(struct audit_verifier *verifier, json_t *object, struct err *err)
{
	struct audit_checkpoint checkpoint = {0};
	struct buf signature = {0};
	int64_t number;
	bool good;

	if (!get_number(object, "checkpoint", &number) || !get_number(object, "time", &checkpoint.time_ms) ||
	    !get_link(object, "hash", &checkpoint.link) || !get_link(object, "key", &checkpoint.key) ||
	    !get_octets(object, "signature", &signature)) {
		buf_clear(&signature);
		return malformed(verifier, "a checkpoint", err);
	}
	checkpoint.number = (uint64_t)number;
	checkpoint.signature = buf_bytes(&signature);
	good = check_checkpoint(verifier, &checkpoint, err);
	buf_clear(&signature);
	if (!good)
		return false;
	verifier->checkpoints++;
	verifier->signed_rows = checkpoint.number;
	verifier->signed_ms = checkpoint.time_ms;
	verifier->signed_by = checkpoint.key;
	return true;
}

static bool on_end(struct audit_verifier *verifier, json_t *object, struct err *err)
{
	struct audit_link link;
	int64_t rows;

	if (!get_number(object, "end", &rows) || !get_link(object, "hash", &link))
		return malformed(verifier, "the end", err);
	if ((uint64_t)rows > verifier->rows)
		return err_set(err, ERR_INTEGRITY, "rows %llu to %lld are missing at the end",
			       (unsigned long long)verifier->rows + 1, (long long)rows);
	if ((uint64_t)rows < verifier->rows)
		return err_set(err, ERR_INTEGRITY, "row %lld was put in behind the end", (long long)rows + 1);
	if (!same_link(&link, &verifier->link))
		return err_set(err, ERR_INTEGRITY, "the end does not have the hash of row %lld", (long long)rows);
	verifier->ended = true;
	return true;
}

static const struct {
	const char *name;
	bool (*handle)(struct audit_verifier *verifier, json_t *object, struct err *err);
} kinds[] = {
    {"row", on_row}, {"checkpoint", on_checkpoint}, {"key", on_key}, {"end", on_end}, {"audit", on_header},
};

static bool on_object(struct audit_verifier *verifier, json_t *object, struct err *err)
{
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		/* a checkpoint names its key, too: in this order the first name decides */
		if (json_object_get(object, kinds[i].name) == NULL)
			continue;
		if (!verifier->begun && kinds[i].handle != on_header)
			return err_set(err, ERR_INVALID, "this is no exported audit of Inkan: its beginning is missing");
		return kinds[i].handle(verifier, object, err);
	}
	return malformed(verifier, "of no known kind", err);
}

bool audit_verifier_line(struct audit_verifier *verifier, struct bytes line, struct err *err)
{
	json_t *object;
	bool good;

	verifier->line++;
	if (verifier->ended)
		return err_set(err, ERR_INTEGRITY, "line %llu was put in behind the end", (unsigned long long)verifier->line);
	object = json_loadb((const char *)line.data, line.len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(object)) {
		json_decref(object);
		return verifier->begun ? malformed(verifier, "no JSON object", err)
				       : err_set(err, ERR_INVALID, "this is no exported audit of Inkan");
	}
	good = on_object(verifier, object, err);
	json_decref(object);
	return good;
}

bool audit_verifier_end(struct audit_verifier *verifier, struct err *err)
{
	if (!verifier->begun)
		return err_set(err, ERR_INVALID, "this is no exported audit of Inkan: it is empty");
	if (!verifier->ended)
		return err_set(err, ERR_INTEGRITY, "the file was cut behind row %llu: its end is missing",
			       (unsigned long long)verifier->rows);
	if (verifier->pins->row > verifier->rows)
		return err_set(err, ERR_INTEGRITY, "rows %llu to %llu are missing at the end: they are known to have been there",
			       (unsigned long long)verifier->rows + 1, (unsigned long long)verifier->pins->row);
	if (verifier->pins->n_keys > 0 && verifier->checkpoints == 0)
		return err_set(err, ERR_INTEGRITY, "no checkpoint is signed by the audit key that is known");
	return true;
}

static bool verify_lines(FILE *file, struct audit_verifier *verifier, struct err *err)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t len;
	bool good = true;

	while (good && (len = getline(&line, &size, file)) > 0) {
		if (line[len - 1] == '\n')
			len--;
		good = (size_t)len <= AUDIT_FILE_LINE_MAX_BYTES ? audit_verifier_line(verifier, bytes_of(line, (size_t)len), err)
								: malformed(verifier, "too long", err);
	}
	free(line);
	if (good && ferror(file))
		return err_errno(err, "read");
	return good && audit_verifier_end(verifier, err);
}

bool audit_file_verify(const char *path, struct audit_verifier *verifier, struct err *err)
{
	FILE *file = fopen(path, "re");
	bool good;

	if (file == NULL)
		return err_errno(err, "%s", path);
	good = verify_lines(file, verifier, err);
	fclose(file);
	return good;
}
