#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "provisioning/store/store_private.h"

void certificate_choices_add(struct certificate_choices *choices, const char *address, uint64_t certificate)
{
	choices->items = mem_resize(choices->items, choices->count + 1, sizeof *choices->items);
	choices->items[choices->count++] =
	    (struct certificate_choice){.address = mem_string(address), .certificate = certificate};
}

const uint64_t *certificate_choices_find(const struct certificate_choices *choices, const char *address)
{
	for (size_t i = 0; i < choices->count; i++) {
		if (strcmp(choices->items[i].address, address) == 0)
			return &choices->items[i].certificate;
	}
	return NULL;
}

void certificate_choices_clear(struct certificate_choices *choices)
{
	for (size_t i = 0; i < choices->count; i++)
		free(choices->items[i].address);
	free(choices->items);
	*choices = (struct certificate_choices){0};
}

void revision_clear(struct revision *revision)
{
	free(revision->by);
	free(revision->comment);
	settings_clear(&revision->settings);
	certificate_choices_clear(&revision->choices);
	*revision = (struct revision){0};
}

void revisions_clear(struct revisions *revisions)
{
	for (size_t i = 0; i < revisions->count; i++)
		revision_clear(&revisions->items[i]);
	free(revisions->items);
	*revisions = (struct revisions){0};
}

/* ---- rows of settings and choices ---- */

static struct query keyed(struct store *store, struct row_key key, enum statement of_account, enum statement of_revision)
{
	struct query query = query_of(store, key.account != NULL ? of_account : of_revision);

	if (key.account != NULL)
		query_text(&query, key.account);
	else
		query_number(&query, (int64_t)key.revision);
	return query;
}

static bool load_settings(struct store *store, struct row_key key, struct settings *settings, struct err *err)
{
	struct query query = keyed(store, key, SQL_CANDIDATE_SETTINGS, SQL_REVISION_SETTINGS);

	while (query_row(&query)) {
		settings->items = mem_resize(settings->items, settings->count + 1, sizeof *settings->items);
		settings->items[settings->count++] =
		    (struct setting){.path = column_text(&query, 0), .value = column_text(&query, 1)};
	}
	return query_end(&query, err);
}

static bool load_choices(struct store *store, struct row_key key, struct certificate_choices *choices, struct err *err)
{
	struct query query = keyed(store, key, SQL_CANDIDATE_PINS, SQL_REVISION_CHOICES);

	while (query_row(&query)) {
		char *address = column_text(&query, 0);

		certificate_choices_add(choices, address, (uint64_t)column_number(&query, 1));
		free(address);
	}
	return query_end(&query, err);
}

bool rows_load(struct store *store, struct row_key key, struct settings *settings, struct certificate_choices *choices,
	       struct err *err)
{
	return load_settings(store, key, settings, err) && load_choices(store, key, choices, err);
}

bool rows_save(struct store *store, struct row_key key, const struct settings *settings,
	       const struct certificate_choices *choices, struct err *err)
{
	for (size_t i = 0; i < settings->count; i++) {
		struct query query = keyed(store, key, SQL_CANDIDATE_ADD_SETTING, SQL_REVISION_ADD_SETTING);

		query_number(&query, (int64_t)i);
		query_text(&query, settings->items[i].path);
		query_text(&query, settings->items[i].value);
		if (!query_run(&query, err))
			return false;
	}
	for (size_t i = 0; i < choices->count; i++) {
		struct query query = keyed(store, key, SQL_CANDIDATE_ADD_PIN, SQL_REVISION_ADD_CHOICE);

		query_text(&query, choices->items[i].address);
		query_number(&query, (int64_t)choices->items[i].certificate);
		if (!query_run(&query, err))
			return false;
	}
	return true;
}

/* ---- reading ---- */

bool store_running(struct store *store, uint64_t *revision, struct err *err)
{
	struct query query = query_of(store, SQL_RUNNING_GET);
	uint64_t running = 0;

	if (query_row(&query))
		running = (uint64_t)column_number(&query, 0);
	if (!query_end(&query, err))
		return false;
	*revision = running;
	return true;
}

static struct revision read_row(const struct query *query)
{
	return (struct revision){
	    .number = (uint64_t)column_number(query, 0),
	    .base = (uint64_t)column_number(query, 1),
	    .by = column_text(query, 2),
	    .comment = column_text(query, 3),
	    .created_ms = column_number(query, 4),
	    .confirm_ms = column_number(query, 5),
	    .confirm_back = (uint64_t)column_number(query, 6),
	};
}

static bool load_revision(struct store *store, uint64_t number, struct revision *revision, struct err *err)
{
	struct query query = query_of(store, SQL_REVISION_GET);
	bool found;

	query_number(&query, (int64_t)number);
	found = query_row(&query);
	if (found)
		*revision = read_row(&query);
	if (!query_end(&query, err))
		return false;
	if (!found)
		return err_set(err, ERR_NOT_FOUND, "there is no revision %llu", (unsigned long long)number);
	return rows_load(store, (struct row_key){.revision = number}, &revision->settings, &revision->choices, err);
}

bool store_revision(struct store *store, uint64_t number, struct revision *revision, struct err *err)
{
	struct revision loaded = {0};
	bool fine = number != 0 || store_running(store, &number, err);

	if (fine && number == 0)
		loaded = (struct revision){.by = mem_string(""), .comment = mem_string("")};
	else if (fine)
		fine = load_revision(store, number, &loaded, err);
	if (fine)
		*revision = loaded;
	else
		revision_clear(&loaded);
	return fine;
}

bool store_revisions(struct store *store, struct revisions *revisions, struct err *err)
{
	struct query query = query_of(store, SQL_REVISION_LIST);
	struct revisions found = {0};

	while (query_row(&query)) {
		found.items = mem_resize(found.items, found.count + 1, sizeof *found.items);
		found.items[found.count++] = read_row(&query);
	}
	if (!query_end(&query, err)) {
		revisions_clear(&found);
		return false;
	}
	*revisions = found;
	return true;
}

static bool add_certificate(struct store *store, uint64_t id, struct snapshot *snapshot, struct err *err)
{
	struct stored_certificate stored;
	bool found;

	if (!certificate_load(store, id, &stored, &found, err))
		return false;
	if (!found) /* deleted since: a revision of the past, never the running one */
		return true;
	snapshot->certificates = mem_resize(snapshot->certificates, snapshot->n_certificates + 1, sizeof *snapshot->certificates);
	snapshot->certificates[snapshot->n_certificates++] = stored.certificate;
	stored.certificate = (struct certificate){0};
	stored_certificate_clear(&stored);
	return true;
}

struct snapshot *store_snapshot(struct store *store, uint64_t number, struct err *err)
{
	struct snapshot *snapshot;
	struct revision revision;
	bool fine = true;

	if (!store_revision(store, number, &revision, err))
		return NULL;
	snapshot = snapshot_new();
	snapshot->revision = revision.number;
	snapshot->settings = revision.settings;
	revision.settings = (struct settings){0};
	for (size_t i = 0; fine && i < revision.choices.count; i++)
		fine = add_certificate(store, revision.choices.items[i].certificate, snapshot, err);
	revision_clear(&revision);
	if (fine)
		return snapshot;
	snapshot_free(snapshot);
	return NULL;
}

/* ---- committing ---- */

static bool insert_revision(struct store *store, const struct revision *revision, uint64_t *number, struct err *err)
{
	struct query query = query_of(store, SQL_REVISION_ADD);

	query_number(&query, (int64_t)revision->base);
	query_text(&query, revision->by);
	query_text(&query, revision->comment);
	query_number(&query, clock_wall_ms());
	query_number(&query, revision->confirm_ms);
	query_number(&query, (int64_t)revision->confirm_back);
	if (!query_run(&query, err))
		return false;
	*number = (uint64_t)sqlite3_last_insert_rowid(store->db);
	return rows_save(store, (struct row_key){.revision = *number}, &revision->settings, &revision->choices, err);
}

bool store_revision_propose(struct store *store, const struct revision *revision, uint64_t *number, struct err *err)
{
	uint64_t proposed = 0;

	if (!transaction_begin(store, err) || !transaction_end(store, insert_revision(store, revision, &proposed, err), err))
		return false;
	*number = proposed;
	return true;
}

static bool check_base(struct store *store, const struct revision *revision, struct err *err)
{
	uint64_t running;

	if (!store_running(store, &running, err))
		return false;
	if (running != revision->base)
		return err_set(err, ERR_EXISTS, "revision %llu was committed meanwhile", (unsigned long long)running);
	return true;
}

static bool run_for_number(struct store *store, enum statement statement, uint64_t number, struct err *err)
{
	struct query query = query_of(store, statement);

	query_number(&query, (int64_t)number);
	return query_run(&query, err);
}

static bool accept_revision(struct store *store, const struct revision *revision, struct err *err)
{
	if (!check_base(store, revision, err) || !run_for_number(store, SQL_REVISION_ACCEPT, revision->number, err) ||
	    !run_for_number(store, SQL_RUNNING_SET, revision->number, err) || !candidate_drop(store, revision->by, err))
		return false;
	for (size_t i = 0; i < revision->choices.count; i++) {
		if (!certificate_make_current(store, revision->choices.items[i].certificate, err))
			return false;
	}
	return run_for_number(store, SQL_REVISION_SETTLE, revision->number, err) &&
	       run_for_number(store, SQL_REVISION_PRUNE, STORE_REVISIONS_KEPT, err);
}

bool store_revision_accept(struct store *store, uint64_t number, struct err *err)
{
	struct revision revision;
	bool accepted;

	if (!store_revision(store, number, &revision, err))
		return false;
	accepted = transaction_begin(store, err) && transaction_end(store, accept_revision(store, &revision, err), err);
	revision_clear(&revision);
	return accepted;
}

bool store_revision_withdraw(struct store *store, uint64_t number, struct err *err)
{
	return run_for_number(store, SQL_REVISION_DELETE, number, err);
}

bool store_revision_confirm(struct store *store, uint64_t number, int64_t until_ms, int64_t now_ms, struct err *err)
{
	struct query query = query_of(store, SQL_REVISION_CONFIRM);

	query_number(&query, (int64_t)number);
	query_number(&query, until_ms);
	query_number(&query, now_ms);
	if (!query_run(&query, err))
		return false;
	if (query_changes(&query) == 0)
		return err_set(err, ERR_TIMEOUT, "revision %llu does not wait for a confirmation any more",
			       (unsigned long long)number);
	return true;
}
