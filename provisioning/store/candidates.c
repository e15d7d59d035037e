#include "provisioning/store/store_private.h"

void candidate_clear(struct candidate *candidate)
{
	settings_clear(&candidate->settings);
	certificate_choices_clear(&candidate->pins);
	*candidate = (struct candidate){0};
}

bool candidate_drop(struct store *store, const char *account, struct err *err)
{
	struct query query = query_of(store, SQL_CANDIDATE_DELETE);

	query_text(&query, account);
	return query_run(&query, err);
}

static bool candidate_base(struct store *store, const char *account, uint64_t *base, bool *exists, struct err *err)
{
	struct query query = query_of(store, SQL_CANDIDATE_GET);

	query_text(&query, account);
	*exists = query_row(&query);
	if (*exists)
		*base = (uint64_t)column_number(&query, 0);
	return query_end(&query, err);
}

static bool fresh_candidate(struct store *store, struct candidate *candidate, struct err *err)
{
	struct revision running;

	if (!store_revision(store, 0, &running, err))
		return false;
	candidate->base = running.number;
	candidate->settings = running.settings;
	running.settings = (struct settings){0};
	revision_clear(&running);
	return true;
}

bool store_candidate(struct store *store, const char *account, struct candidate *candidate, bool *exists, struct err *err)
{
	struct candidate loaded = {0};
	bool found, fine;

	fine = candidate_base(store, account, &loaded.base, &found, err);
	if (fine)
		fine = found ? rows_load(store, (struct row_key){.account = account}, &loaded.settings, &loaded.pins, err)
			     : fresh_candidate(store, &loaded, err);
	if (!fine) {
		candidate_clear(&loaded);
		return false;
	}
	*candidate = loaded;
	*exists = found;
	return true;
}

static bool save_candidate(struct store *store, const char *account, const struct candidate *candidate, struct err *err)
{
	struct query query = query_of(store, SQL_CANDIDATE_ADD);

	if (!candidate_drop(store, account, err))
		return false;
	query_text(&query, account);
	query_number(&query, (int64_t)candidate->base);
	return query_run(&query, err) &&
	       rows_save(store, (struct row_key){.account = account}, &candidate->settings, &candidate->pins, err);
}

bool store_candidate_save(struct store *store, const char *account, const struct candidate *candidate, struct err *err)
{
	return transaction_begin(store, err) && transaction_end(store, save_candidate(store, account, candidate, err), err);
}

bool store_candidate_discard(struct store *store, const char *account, struct err *err)
{
	return candidate_drop(store, account, err);
}
