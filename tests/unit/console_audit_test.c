/* An exported audit and what is done to it: each attack is found, and its row is named. */
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/base/checkpoint_text.h"
#include "appliance/base/clock.h"
#include "provisioning/console/audit_file.h"
#include "tests/unit/test.h"

#define ROWS 9 /* the sixth is about the audit key, the checkpoints are behind the fifth and the eighth */

static struct err err;

/* ---- an audit ---- */

static EVP_PKEY *token_key(void)
{
	static EVP_PKEY *key;

	if (key == NULL)
		key = EVP_EC_gen("P-256");
	return key;
}

static struct bytes public_key_of(EVP_PKEY *key)
{
	uint8_t *der = NULL;
	int len = i2d_PUBKEY(key, &der);
	struct bytes octets = bytes_of(mem_copy(der, (size_t)len), (size_t)len);

	OPENSSL_free(der);
	return octets;
}

static struct bytes sign(EVP_PKEY *key, const struct audit_checkpoint *checkpoint)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	struct buf text = {0};
	uint8_t signature[256];
	size_t len = sizeof signature;

	checkpoint_text(&text, checkpoint->number, checkpoint->link.hash, checkpoint->time_ms);
	EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key);
	EVP_DigestSign(context, signature, &len, text.data, text.len);
	EVP_MD_CTX_free(context);
	buf_clear(&text);
	return bytes_of(mem_copy(signature, len), len);
}

static void add_rows(struct store *store, int from, int to)
{
	for (int i = from; i <= to; i++) {
		char *what = mem_format("command \"%d\"\n\tcaf\xc3\xa9", i);
		struct audit_entry entry = {.who = (char *)"admin", .from = (char *)"tty1", .what = what, .result = (char *)"ok"};

		CHECK_OK(store_audit_add(store, &entry, &err), &err);
		free(what);
	}
}

static bool add_checkpoint(struct store *store, EVP_PKEY *key)
{
	struct audit_checkpoint checkpoint = {.time_ms = clock_wall_ms()};
	struct bytes public_key = public_key_of(key);
	bool added = store_audit_head(store, &checkpoint.number, &checkpoint.link, &err);

	checkpoint.key = audit_fingerprint(public_key);
	checkpoint.signature = sign(key, &checkpoint);
	added = added && store_checkpoint_add(store, &checkpoint, public_key, &err);
	audit_checkpoint_clear(&checkpoint);
	free((void *)public_key.data);
	return added;
}

static struct store *new_store(void)
{
	struct store *store = store_open(test_directory(), STORE_READ_WRITE, &err);

	if (store == NULL) {
		fprintf(stderr, "store_open: %s\n", err.text);
		exit(1);
	}
	return store;
}

static char *export_of(struct store *store)
{
	char *text = NULL;
	size_t size;
	FILE *file = open_memstream(&text, &size);
	struct audit_link head;
	uint64_t rows;

	CHECK_OK(audit_file_write(store, 1000, file, &rows, &head, &err), &err);
	fclose(file);
	return text;
}

static char *new_export(void)
{
	struct store *store = new_store();
	char *text;

	add_rows(store, 1, 5);
	CHECK_OK(add_checkpoint(store, token_key()), &err);
	add_rows(store, 7, 8);
	CHECK_OK(add_checkpoint(store, token_key()), &err);
	add_rows(store, 9, 9);
	text = export_of(store);
	store_close(store);
	return text;
}

/* ---- its lines ---- */

struct lines {
	char *items[64];
	size_t count;
};

static struct lines lines_of(const char *text)
{
	struct lines lines = {0};

	while (*text != '\0' && lines.count < 64) {
		size_t len = strcspn(text, "\n");

		lines.items[lines.count++] = mem_string_n(text, len);
		text += len + (text[len] == '\n');
	}
	return lines;
}

static void lines_clear(struct lines *lines)
{
	for (size_t i = 0; i < lines->count; i++)
		free(lines->items[i]);
}

/* Index of the line that begins so. */
static size_t find(const struct lines *lines, const char *beginning)
{
	for (size_t i = 0; i < lines->count; i++) {
		if (strncmp(lines->items[i], beginning, strlen(beginning)) == 0)
			return i;
	}
	fprintf(stderr, "no line %s\n", beginning);
	exit(1);
}

static size_t row(const struct lines *lines, int number)
{
	char *beginning = mem_format("{\"row\":%d,", number);
	size_t at = find(lines, beginning);

	free(beginning);
	return at;
}

static void drop(struct lines *lines, size_t at)
{
	free(lines->items[at]);
	lines->count--;
	memmove(&lines->items[at], &lines->items[at + 1], (lines->count - at) * sizeof lines->items[0]);
}

static void insert(struct lines *lines, size_t at, const char *text)
{
	memmove(&lines->items[at + 1], &lines->items[at], (lines->count - at) * sizeof lines->items[0]);
	lines->items[at] = mem_string(text);
	lines->count++;
}

static void replace(char **line, const char *from, const char *to)
{
	char *at = strstr(*line, from), *changed;

	if (at == NULL) {
		fprintf(stderr, "no %s in %s\n", from, *line);
		exit(1);
	}
	changed = mem_format("%.*s%s%s", (int)(at - *line), *line, to, at + strlen(from));
	free(*line);
	*line = changed;
}

static bool verify(const struct lines *lines, const struct audit_pins *pins, struct audit_verifier *verifier)
{
	bool good = true;

	audit_verifier_init(verifier, pins);
	for (size_t i = 0; good && i < lines->count; i++)
		good = audit_verifier_line(verifier, bytes_text(lines->items[i]), &err);
	return good && audit_verifier_end(verifier, &err);
}

/* ---- attacks ---- */

static void change_text(struct lines *lines)
{
	replace(&lines->items[row(lines, 3)], "\"who\":\"admin\"", "\"who\":\"bob\"");
}

static void change_time(struct lines *lines)
{
	replace(&lines->items[row(lines, 7)], "\"time\":1", "\"time\":2");
}

static void change_result(struct lines *lines)
{
	replace(&lines->items[row(lines, 9)], "\"result\":\"ok\"", "\"result\":\"denied\"");
}

static void change_hash(struct lines *lines)
{
	char *hash = strstr(lines->items[row(lines, 2)], "\"hash\":\"") + 8;

	*hash = *hash == '0' ? '1' : '0';
}

static void remove_first(struct lines *lines)
{
	drop(lines, row(lines, 1));
}

static void remove_one(struct lines *lines)
{
	drop(lines, row(lines, 4));
}

static void remove_two(struct lines *lines)
{
	drop(lines, row(lines, 3));
	drop(lines, row(lines, 4));
}

static void swap(struct lines *lines)
{
	size_t a = row(lines, 2), b = row(lines, 3);
	char *line = lines->items[a];

	lines->items[a] = lines->items[b];
	lines->items[b] = line;
}

static void repeat(struct lines *lines)
{
	insert(lines, row(lines, 5), lines->items[row(lines, 4)]);
}

static void cut_end(struct lines *lines)
{
	while (lines->count > row(lines, 7) + 1)
		drop(lines, lines->count - 1);
}

static void cut_rows_before_the_checkpoint(struct lines *lines)
{
	drop(lines, row(lines, 7));
	drop(lines, row(lines, 8));
	drop(lines, row(lines, 9));
}

static void cut_last_row(struct lines *lines)
{
	drop(lines, row(lines, 9));
}

static void append_behind_the_end(struct lines *lines)
{
	insert(lines, lines->count,
	       "{\"row\":10,\"time\":1,\"who\":\"\",\"from\":\"\",\"what\":\"\",\"result\":\"\",\"hash\":\"00\"}");
}

static void drop_key(struct lines *lines)
{
	drop(lines, find(lines, "{\"key\""));
}

static void change_key(struct lines *lines)
{
	replace(&lines->items[find(lines, "{\"key\"")], "\"public_key\":\"M", "\"public_key\":\"N");
}

static void change_signature(struct lines *lines)
{
	replace(&lines->items[find(lines, "{\"checkpoint\":5,")], "\"time\":1", "\"time\":3");
}

static void move_checkpoint(struct lines *lines)
{
	size_t at = find(lines, "{\"checkpoint\":5,");
	char *line = mem_string(lines->items[at]);

	drop(lines, at);
	insert(lines, row(lines, 7), line);
	free(line);
}

static void damage_line(struct lines *lines)
{
	lines->items[row(lines, 6)][3] = '"';
}

static void unknown_line(struct lines *lines)
{
	insert(lines, row(lines, 6), "{\"note\":1}");
}

static void header_only_is_missing(struct lines *lines)
{
	drop(lines, 0);
}

static void newer_version(struct lines *lines)
{
	replace(&lines->items[0], "\"version\":1", "\"version\":2");
}

static const struct {
	const char *name;
	void (*attack)(struct lines *lines);
	enum err_code code;
	const char *found;
} attacks[] = {
    {"changed name", change_text, ERR_INTEGRITY, "row 3 was changed"},
    {"changed time", change_time, ERR_INTEGRITY, "row 7 was changed"},
    {"changed result in the last row", change_result, ERR_INTEGRITY, "row 9 was changed"},
    {"changed hash", change_hash, ERR_INTEGRITY, "row 2 was changed"},
    {"missing first row", remove_first, ERR_INTEGRITY, "row 1 is missing"},
    {"missing row", remove_one, ERR_INTEGRITY, "row 4 is missing"},
    {"missing rows", remove_two, ERR_INTEGRITY, "rows 3 to 4 are missing"},
    {"swapped rows", swap, ERR_INTEGRITY, "row 2 is missing"},
    {"repeated row", repeat, ERR_INTEGRITY, "row 4 is out of order or was put in"},
    {"cut behind row 7", cut_end, ERR_INTEGRITY, "cut behind row 7"},
    {"cut rows, checkpoint and end kept", cut_rows_before_the_checkpoint, ERR_INTEGRITY, "rows 7 to 8 are missing at the end"},
    {"cut last row, end kept", cut_last_row, ERR_INTEGRITY, "rows 9 to 9 are missing at the end"},
    {"row behind the end", append_behind_the_end, ERR_INTEGRITY, "put in behind the end"},
    {"key removed", drop_key, ERR_INTEGRITY, "the checkpoint of row 5 is by a key that the file does not have"},
    {"key changed", change_key, ERR_INTEGRITY, "an audit key in the file was changed"},
    {"checkpoint changed", change_signature, ERR_INTEGRITY, "the signature of the checkpoint of row 5 does not verify"},
    {"checkpoint moved", move_checkpoint, ERR_INTEGRITY, "the checkpoint of row 5 is out of order"},
    {"damaged line", damage_line, ERR_INTEGRITY, "is damaged"},
    {"unknown line", unknown_line, ERR_INTEGRITY, "is damaged"},
    {"no beginning", header_only_is_missing, ERR_INVALID, "its beginning is missing"},
    {"newer version", newer_version, ERR_INVALID, "version 2"},
};

static void every_attack_is_found_and_its_row_named(void)
{
	char *text = new_export();

	for (size_t i = 0; i < sizeof attacks / sizeof *attacks; i++) {
		struct audit_pins pins = {0};
		struct lines lines = lines_of(text);
		struct audit_verifier verifier;

		test_case("%s", attacks[i].name);
		attacks[i].attack(&lines);
		if (CHECK(!verify(&lines, &pins, &verifier))) {
			CHECK_CONTAINS(err.text, attacks[i].found);
			CHECK_INT(err.code, attacks[i].code);
		}
		audit_verifier_clear(&verifier);
		lines_clear(&lines);
	}
	free(text);
}

static void a_chain_that_was_calculated_anew_is_found_by_its_checkpoint(void)
{
	char *text = new_export();
	struct audit_pins pins = {0};
	struct lines lines = lines_of(text);
	struct audit_verifier verifier;
	struct store *store = new_store();
	struct lines forged;
	char *forged_text;

	add_rows(store, 1, 2);
	add_rows(store, 33, 35);
	forged_text = export_of(store);
	forged = lines_of(forged_text);
	for (int i = 1; i <= 5; i++) {
		size_t at = row(&lines, i);

		free(lines.items[at]);
		lines.items[at] = mem_string(forged.items[row(&forged, i)]);
	}
	if (CHECK(!verify(&lines, &pins, &verifier)))
		CHECK_CONTAINS(err.text, "rows 1 to 5 are not those that were signed");
	audit_verifier_clear(&verifier);
	lines_clear(&lines);
	lines_clear(&forged);
	free(forged_text);
	free(text);
	store_close(store);
}

static void a_whole_audit_is_whole(void)
{
	char *text = new_export();
	struct audit_pins pins = {0};
	struct lines lines = lines_of(text);
	struct audit_verifier verifier;

	if (CHECK_OK(verify(&lines, &pins, &verifier), &err)) {
		CHECK_INT(verifier.rows, ROWS);
		CHECK_INT(verifier.checkpoints, 2);
		CHECK_INT(verifier.signed_rows, 8);
	}
	audit_verifier_clear(&verifier);
	lines_clear(&lines);
	free(text);
}

static void what_is_known_from_elsewhere_is_compared(void)
{
	char *text = new_export();
	struct lines lines = lines_of(text);
	struct audit_verifier verifier;
	struct audit_pins none = {0}, pins;
	struct bytes public_key = public_key_of(token_key());
	struct audit_link known[] = {audit_fingerprint(public_key), {{1, 2, 3}}}, head;

	CHECK_OK(verify(&lines, &none, &verifier), &err);
	head = verifier.link;
	audit_verifier_clear(&verifier);
	pins = (struct audit_pins){.keys = known, .n_keys = 1, .row = ROWS, .head = head};
	CHECK_OK(verify(&lines, &pins, &verifier), &err);
	audit_verifier_clear(&verifier);
	pins = (struct audit_pins){.keys = known + 1, .n_keys = 1};
	if (CHECK(!verify(&lines, &pins, &verifier)))
		CHECK_CONTAINS(err.text, "by another audit key than the one that is known");
	audit_verifier_clear(&verifier);
	pins = (struct audit_pins){.row = ROWS + 1, .head = head};
	if (CHECK(!verify(&lines, &pins, &verifier)))
		CHECK_CONTAINS(err.text, "rows 10 to 10 are missing at the end");
	audit_verifier_clear(&verifier);
	pins = (struct audit_pins){.row = 4, .head = head};
	if (CHECK(!verify(&lines, &pins, &verifier)))
		CHECK_CONTAINS(err.text, "row 4, or one before it, was changed");
	audit_verifier_clear(&verifier);
	free((void *)public_key.data);
	lines_clear(&lines);
	free(text);
}

static void a_signature_of_another_key_is_not_stored(void)
{
	EVP_PKEY *other = EVP_EC_gen("P-256");
	struct store *store = new_store();
	struct audit_checkpoint checkpoint = {.time_ms = 1};
	struct bytes public_key = public_key_of(token_key());

	add_rows(store, 1, 2);
	CHECK_OK(store_audit_head(store, &checkpoint.number, &checkpoint.link, &err), &err);
	checkpoint.key = audit_fingerprint(public_key);
	checkpoint.signature = sign(other, &checkpoint);
	CHECK(!store_checkpoint_add(store, &checkpoint, public_key, &err));
	CHECK_INT(err.code, ERR_INTEGRITY);
	audit_checkpoint_clear(&checkpoint);
	free((void *)public_key.data);
	EVP_PKEY_free(other);
	store_close(store);
}

/* Every octet of an export changed in turn: nothing of it goes unnoticed, but for the time of the export and of the key. */
static void every_changed_octet_is_noticed(void)
{
	char *text = new_export();
	size_t len = strlen(text), unnoticed = 0, free_octets = 0;

	for (size_t at = 0; at < len; at++) {
		struct audit_pins pins = {0};
		struct audit_verifier verifier;
		struct lines lines;
		char before = text[at];

		if (before == '\n')
			continue;
		text[at] = before == '1' ? '2' : '1';
		lines = lines_of(text);
		unnoticed += verify(&lines, &pins, &verifier);
		audit_verifier_clear(&verifier);
		lines_clear(&lines);
		text[at] = before;
	}
	/* "exported":1000 and the names `exported` and `since` with its time, hexadecimal case, spare bits of base64 */
	free_octets = 4 + strlen("exported") + strlen("since") + 13 + 4;
	CHECK(unnoticed <= free_octets);
	free(text);
}

int main(void)
{
	TEST(a_whole_audit_is_whole);
	TEST(every_attack_is_found_and_its_row_named);
	TEST(a_chain_that_was_calculated_anew_is_found_by_its_checkpoint);
	TEST(what_is_known_from_elsewhere_is_compared);
	TEST(a_signature_of_another_key_is_not_stored);
	TEST(every_changed_octet_is_noticed);
	return test_finish();
}
