#include <stdlib.h>
#include <string.h>

#include "provisioning/store/store_private.h"

void stored_certificate_clear(struct stored_certificate *certificate)
{
	certificate_clear(&certificate->certificate);
	free(certificate->subject);
	free(certificate->issuer);
	free(certificate->serial);
	free(certificate->fingerprint);
	free(certificate->rung);
	free(certificate->attributes);
	free((void *)certificate->sealed_password.data);
	free(certificate->imported_by);
	*certificate = (struct stored_certificate){0};
}

void stored_certificates_clear(struct stored_certificates *certificates)
{
	for (size_t i = 0; i < certificates->count; i++)
		stored_certificate_clear(&certificates->items[i]);
	free(certificates->items);
	*certificates = (struct stored_certificates){0};
}

/* ---- reading ---- */

static struct stored_certificate read_row(const struct query *query)
{
	return (struct stored_certificate){
	    .certificate = {.id = (uint64_t)column_number(query, 0),
			    .address = column_text(query, 1),
			    .key_type = column_text(query, 2),
			    .key_id = column_bytes(query, 3),
			    .not_before = column_number(query, 4),
			    .not_after = column_number(query, 5)},
	    .subject = column_text(query, 6),
	    .issuer = column_text(query, 7),
	    .serial = column_text(query, 8),
	    .fingerprint = column_text(query, 9),
	    .rung = column_text(query, 10),
	    .sensitive = column_number(query, 11) != 0,
	    .extractable = column_number(query, 12) != 0,
	    .local = column_number(query, 13) != 0,
	    .always_sensitive = column_number(query, 14) != 0,
	    .never_extractable = column_number(query, 15) != 0,
	    .sealed_password = column_bytes(query, 16),
	    .imported_by = column_text(query, 17),
	    .imported_ms = column_number(query, 18),
	    .state = (enum certificate_state)column_number(query, 19),
	    .attributes = column_text(query, 20),
	    .certificate.tls = column_number(query, 21) == CERTIFICATE_KIND_TLS,
	};
}

static bool load_names(struct store *store, struct certificate *certificate, struct err *err)
{
	struct query query = query_of(store, SQL_CERTIFICATE_NAMES);

	query_number(&query, (int64_t)certificate->id);
	while (query_row(&query)) {
		certificate->names = mem_resize(certificate->names, certificate->n_names + 1, sizeof *certificate->names);
		certificate->names[certificate->n_names++] = column_text(&query, 0);
	}
	return query_end(&query, err);
}

static bool load_chain(struct store *store, struct certificate *certificate, struct err *err)
{
	struct query query = query_of(store, SQL_CERTIFICATE_CHAIN);

	query_number(&query, (int64_t)certificate->id);
	while (query_row(&query)) {
		certificate->chain = mem_resize(certificate->chain, certificate->n_chain + 1, sizeof *certificate->chain);
		certificate->chain[certificate->n_chain++] = column_bytes(&query, 0);
	}
	return query_end(&query, err);
}

static bool load_rest(struct store *store, struct certificate *certificate, struct err *err)
{
	return load_names(store, certificate, err) && load_chain(store, certificate, err);
}

bool certificate_load(struct store *store, uint64_t id, struct stored_certificate *certificate, bool *found, struct err *err)
{
	struct query query = query_of(store, SQL_CERTIFICATE_GET);
	struct stored_certificate loaded = {0};
	bool exists;

	query_number(&query, (int64_t)id);
	exists = query_row(&query);
	if (exists)
		loaded = read_row(&query);
	if (!query_end(&query, err) || (exists && !load_rest(store, &loaded.certificate, err))) {
		stored_certificate_clear(&loaded);
		return false;
	}
	*certificate = loaded;
	*found = exists;
	return true;
}

bool store_certificates(struct store *store, const char *address, struct stored_certificates *certificates, struct err *err)
{
	struct query query = query_of(store, SQL_CERTIFICATE_LIST);
	struct stored_certificates found = {0};
	bool loaded;

	query_text(&query, address == NULL ? "" : address);
	while (query_row(&query)) {
		found.items = mem_resize(found.items, found.count + 1, sizeof *found.items);
		found.items[found.count++] = read_row(&query);
	}
	loaded = query_end(&query, err);
	for (size_t i = 0; loaded && i < found.count; i++)
		loaded = load_rest(store, &found.items[i].certificate, err);
	if (!loaded) {
		stored_certificates_clear(&found);
		return false;
	}
	*certificates = found;
	return true;
}

static bool current_of(struct store *store, const char *address, uint64_t *id, struct err *err)
{
	struct query query = query_of(store, SQL_CERTIFICATE_CURRENT);

	*id = 0;
	query_text(&query, address);
	if (query_row(&query))
		*id = (uint64_t)column_number(&query, 0);
	return query_end(&query, err);
}

/* ---- writing ---- */

static bool insert_row(struct store *store, const struct stored_certificate *stored, uint64_t *id, struct err *err)
{
	const struct certificate *certificate = &stored->certificate;
	struct query query = query_of(store, SQL_CERTIFICATE_ADD);

	query_text(&query, certificate->address);
	query_text(&query, certificate->key_type);
	query_bytes(&query, certificate->key_id);
	query_number(&query, certificate->not_before);
	query_number(&query, certificate->not_after);
	query_text(&query, stored->subject);
	query_text(&query, stored->issuer);
	query_text(&query, stored->serial);
	query_text(&query, stored->fingerprint);
	query_text(&query, stored->rung);
	query_number(&query, stored->sensitive);
	query_number(&query, stored->extractable);
	query_number(&query, stored->local);
	query_number(&query, stored->always_sensitive);
	query_number(&query, stored->never_extractable);
	query_bytes(&query, stored->sealed_password);
	query_text(&query, stored->imported_by);
	query_number(&query, stored->imported_ms);
	query_text(&query, stored->attributes != NULL ? stored->attributes : "");
	query_number(&query, certificate->tls ? CERTIFICATE_KIND_TLS : CERTIFICATE_KIND_MAIL);
	if (!query_run(&query, err))
		return false;
	*id = (uint64_t)sqlite3_last_insert_rowid(store->db);
	return true;
}

static bool insert_rest(struct store *store, uint64_t id, const struct certificate *certificate, struct err *err)
{
	for (size_t i = 0; i < certificate->n_names; i++) {
		struct query query = query_of(store, SQL_CERTIFICATE_ADD_NAME);

		query_number(&query, (int64_t)id);
		query_number(&query, (int64_t)i);
		query_text(&query, certificate->names[i]);
		if (!query_run(&query, err))
			return false;
	}
	for (size_t i = 0; i < certificate->n_chain; i++) {
		struct query query = query_of(store, SQL_CERTIFICATE_ADD_CHAIN);

		query_number(&query, (int64_t)id);
		query_number(&query, (int64_t)i);
		query_bytes(&query, certificate->chain[i]);
		if (!query_run(&query, err))
			return false;
	}
	return true;
}

static bool run_for_address(struct store *store, enum statement statement, const char *address, struct err *err)
{
	struct query query = query_of(store, statement);

	query_text(&query, address);
	return query_run(&query, err);
}

static bool add_certificate(struct store *store, const struct stored_certificate *stored, bool renewal, uint64_t *id,
			    struct err *err)
{
	const char *address = stored->certificate.address;
	uint64_t current;

	if (!current_of(store, address, &current, err))
		return false;
	if (current != 0 && !renewal)
		return err_set(err, ERR_EXISTS, "%s is already registered; use certificate renew", address);
	if (current == 0 && renewal)
		return err_set(err, ERR_NOT_FOUND, "no certificate is registered for %s; use certificate import", address);
	/* A candidate that was to go back to an earlier certificate forgets it: the renewal is the later wish. */
	return run_for_address(store, SQL_CERTIFICATE_SUPERSEDE, address, err) &&
	       run_for_address(store, SQL_CANDIDATE_UNPIN, address, err) && insert_row(store, stored, id, err) &&
	       insert_rest(store, *id, &stored->certificate, err) && pending_key_end(store, stored->certificate.key_id, err) &&
	       request_installed(store, stored->certificate.key_id, err);
}

bool store_certificate_add(struct store *store, const struct stored_certificate *certificate, bool renewal, uint64_t *id,
			   struct err *err)
{
	uint64_t added = 0;

	if (!transaction_begin(store, err) ||
	    !transaction_end(store, add_certificate(store, certificate, renewal, &added, err), err))
		return false;
	*id = added;
	return true;
}

static bool address_of(struct store *store, uint64_t id, char **address, enum certificate_state *state, struct err *err)
{
	struct query query = query_of(store, SQL_CERTIFICATE_ADDRESS);

	*address = NULL;
	query_number(&query, (int64_t)id);
	if (query_row(&query)) {
		*address = column_text(&query, 0);
		*state = (enum certificate_state)column_number(&query, 1);
	}
	return query_end(&query, err);
}

static bool run_for_id(struct store *store, enum statement statement, uint64_t id, struct err *err)
{
	struct query query = query_of(store, statement);

	query_number(&query, (int64_t)id);
	return query_run(&query, err);
}

bool certificate_make_current(struct store *store, uint64_t id, struct err *err)
{
	enum certificate_state state;
	char *address;
	bool done;

	if (!address_of(store, id, &address, &state, err))
		return false;
	if (address == NULL || state == CERTIFICATE_CURRENT) {
		free(address);
		return true;
	}
	done = run_for_address(store, SQL_CERTIFICATE_SUPERSEDE, address, err) &&
	       run_for_id(store, SQL_CERTIFICATE_MAKE_CURRENT, id, err);
	free(address);
	return done;
}

static bool delete_certificate(struct store *store, uint64_t id, struct err *err)
{
	enum certificate_state state;
	char *address;
	bool done;

	if (!address_of(store, id, &address, &state, err))
		return false;
	if (address == NULL)
		return err_set(err, ERR_NOT_FOUND, "there is no certificate %llu", (unsigned long long)id);
	done = run_for_id(store, SQL_CERTIFICATE_DELETE, id, err) &&
	       (state != CERTIFICATE_CURRENT || run_for_address(store, SQL_CERTIFICATE_PROMOTE, address, err));
	free(address);
	return done;
}

bool store_certificate_delete(struct store *store, uint64_t id, struct err *err)
{
	return transaction_begin(store, err) && transaction_end(store, delete_certificate(store, id, err), err);
}

bool store_certificate_key_again(struct store *store, uint64_t id, const struct stored_certificate *certificate, struct err *err)
{
	struct query query = query_of(store, SQL_CERTIFICATE_KEY_AGAIN);

	query_number(&query, (int64_t)id);
	query_text(&query, certificate->rung);
	query_number(&query, certificate->sensitive);
	query_number(&query, certificate->extractable);
	query_number(&query, certificate->local);
	query_number(&query, certificate->always_sensitive);
	query_number(&query, certificate->never_extractable);
	query_text(&query, certificate->attributes);
	query_bytes(&query, certificate->sealed_password);
	query_text(&query, certificate->imported_by);
	query_number(&query, certificate->imported_ms);
	if (!query_run(&query, err))
		return false;
	return query_changes(&query) > 0 || err_set(err, ERR_NOT_FOUND, "there is no certificate %llu", (unsigned long long)id);
}

bool store_certificate_forget_passwords(struct store *store, const char *address, uint32_t *forgotten, struct err *err)
{
	struct query query = query_of(store, SQL_CERTIFICATE_FORGET_PASSWORDS);

	query_text(&query, address);
	if (!query_run(&query, err))
		return false;
	*forgotten = (uint32_t)query_changes(&query);
	return true;
}

/* ---- which certificate an address means ---- */

static bool resolve(struct store *store, const char *address, const struct certificate_choices *pins, uint64_t *id,
		    struct err *err)
{
	const uint64_t *pinned = certificate_choices_find(pins, address);
	enum certificate_state state;
	char *of_pin = NULL;

	if (pinned != NULL && !address_of(store, *pinned, &of_pin, &state, err))
		return false;
	if (of_pin != NULL) {
		free(of_pin);
		*id = *pinned;
		return true;
	}
	return current_of(store, address, id, err);
}

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

/* `server NAME smime certificate` or `server NAME … listen ADDRESS certificate`: the settings that operate one. */
static bool operates(const char *path)
{
	return strncmp(path, "server ", 7) == 0 &&
	       (ends_with(path, " smime certificate") || (strstr(path, " listen ") != NULL && ends_with(path, " certificate")));
}

static bool resolve_setting(struct store *store, const struct setting *setting, const struct certificate_choices *pins,
			    struct certificate_choices *choices, struct err *err)
{
	uint64_t id;

	if (!resolve(store, setting->value, pins, &id, err))
		return false;
	if (id == 0)
		return err_set(err, ERR_NOT_FOUND, "%s: no certificate is registered for %s", setting->path, setting->value);
	certificate_choices_add(choices, setting->value, id);
	return true;
}

bool store_resolve_certificates(struct store *store, const struct settings *settings, const struct certificate_choices *pins,
				struct certificate_choices *choices, struct err *err)
{
	struct certificate_choices found = {0};
	bool fine = true;

	for (size_t i = 0; fine && i < settings->count; i++) {
		const struct setting *setting = &settings->items[i];

		if (operates(setting->path) && certificate_choices_find(&found, setting->value) == NULL)
			fine = resolve_setting(store, setting, pins, &found, err);
	}
	if (fine)
		*choices = found;
	else
		certificate_choices_clear(&found);
	return fine;
}

bool store_certificate_operated(struct store *store, const char *address, char **where, struct err *err)
{
	struct query query = query_of(store, SQL_OPERATED);
	char *found = NULL;

	query_text(&query, address);
	if (query_row(&query)) {
		char *path = column_text(&query, 0), *account = column_text(&query, 1);
		size_t server =
		    strlen(path) - strlen(ends_with(path, " smime certificate") ? " smime certificate" : " certificate");

		found = *account == '\0' ? mem_format("%.*s of the running configuration", (int)server, path)
					 : mem_format("%.*s of the configuration that %s is editing", (int)server, path, account);
		free(path);
		free(account);
	}
	if (!query_end(&query, err)) {
		free(found);
		return false;
	}
	*where = found;
	return true;
}
