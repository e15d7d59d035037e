#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "provisioning/store/approvals.h"
#include "provisioning/store/password.h"
#include "provisioning/store/store_private.h"

/* yescrypt of nothing in particular: an unknown account takes the time of a known one. */
static const char nobodys_hash[] = "$y$j9T$dgTtMLg4CgSgbsNuqWLqr.$VnBbdwAxtvS8vs.RRdBTSZE8cGKZWTNVvzGgbICyu89";

static const struct {
	enum account_role role;
	const char *name;
} roles[] = {
    {ROLE_ADMINISTRATOR, "administrator"},
    {ROLE_OPERATOR, "operator"},
    {ROLE_AUDITOR, "auditor"},
};

const char *account_role_name(enum account_role role)
{
	for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
		if (roles[i].role == role)
			return roles[i].name;
	}
	return "unknown";
}

bool account_role_parse(const char *name, enum account_role *role)
{
	for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
		if (strcmp(roles[i].name, name) == 0) {
			*role = roles[i].role;
			return true;
		}
	}
	return false;
}

void account_clear(struct account *account)
{
	free(account->name);
	free(account->created_by);
	*account = (struct account){0};
}

void accounts_clear(struct accounts *accounts)
{
	for (size_t i = 0; i < accounts->count; i++)
		account_clear(&accounts->items[i]);
	free(accounts->items);
	*accounts = (struct accounts){0};
}

bool store_accounts(struct store *store, struct accounts *accounts, struct err *err)
{
	struct query query = query_of(store, SQL_ACCOUNT_LIST);
	struct accounts found = {0};

	while (query_row(&query)) {
		found.items = mem_resize(found.items, found.count + 1, sizeof *found.items);
		found.items[found.count++] = (struct account){
		    .name = column_text(&query, 0),
		    .role = (enum account_role)column_number(&query, 1),
		    .created_ms = column_number(&query, 2),
		    .created_by = column_text(&query, 3),
		};
	}
	if (!query_end(&query, err)) {
		accounts_clear(&found);
		return false;
	}
	*accounts = found;
	return true;
}

struct login_facts {
	bool exists;
	enum account_role role;
	char *hash; /* owned */
	int64_t failures, last_failure_ms;
};

static bool load_login_facts(struct store *store, const char *name, struct login_facts *facts, struct err *err)
{
	struct query query = query_of(store, SQL_ACCOUNT_GET);

	*facts = (struct login_facts){0};
	query_text(&query, name);
	if (query_row(&query))
		*facts = (struct login_facts){
		    .exists = true,
		    .role = (enum account_role)column_number(&query, 0),
		    .hash = column_text(&query, 1),
		    .failures = column_number(&query, 2),
		    .last_failure_ms = column_number(&query, 3),
		};
	return query_end(&query, err);
}

static bool insert_account(struct store *store, const char *name, enum account_role role, const char *hash, const char *by,
			   struct err *err)
{
	struct query query = query_of(store, SQL_ACCOUNT_ADD);
	struct login_facts facts;

	if (!load_login_facts(store, name, &facts, err))
		return false;
	free(facts.hash);
	if (facts.exists)
		return err_set(err, ERR_EXISTS, "there is an account %s already", name);
	query_text(&query, name);
	query_number(&query, role);
	query_text(&query, hash);
	query_number(&query, clock_wall_ms());
	query_text(&query, by);
	return query_run(&query, err);
}

bool store_account_add_hashed(struct store *store, const char *name, enum account_role role, const char *hash, const char *by,
			      struct err *err)
{
	return transaction_begin(store, err) && transaction_end(store, insert_account(store, name, role, hash, by, err), err);
}

bool store_account_add(struct store *store, const char *name, enum account_role role, const char *password, const char *by,
		       struct err *err)
{
	char *hash = password_hash(password, err);
	bool added = hash != NULL && store_account_add_hashed(store, name, role, hash, by, err);

	free(hash);
	return added;
}

bool store_account_set_hash(struct store *store, const char *name, const char *hash, struct err *err)
{
	struct query query = query_of(store, SQL_ACCOUNT_SET_PASSWORD);

	query_text(&query, name);
	query_text(&query, hash);
	if (!query_run(&query, err))
		return false;
	return query_changes(&query) != 0 || err_set(err, ERR_NOT_FOUND, "there is no account %s", name);
}

bool store_account_set_password(struct store *store, const char *name, const char *password, struct err *err)
{
	char *hash = password_hash(password, err);
	bool set = hash != NULL && store_account_set_hash(store, name, hash, err);

	free(hash);
	return set;
}

static bool other_administrators(struct store *store, const char *name, int64_t *count, struct err *err)
{
	struct query query = query_of(store, SQL_ACCOUNT_COUNT_ROLE);

	query_number(&query, ROLE_ADMINISTRATOR);
	query_text(&query, name);
	if (query_row(&query))
		*count = column_number(&query, 0);
	return query_end(&query, err);
}

static bool delete_account(struct store *store, const char *name, struct err *err)
{
	struct query query = query_of(store, SQL_ACCOUNT_DELETE);
	struct login_facts facts;
	int64_t others = 0;

	if (!load_login_facts(store, name, &facts, err) || !other_administrators(store, name, &others, err))
		return false;
	free(facts.hash);
	if (!facts.exists)
		return err_set(err, ERR_NOT_FOUND, "there is no account %s", name);
	if (facts.role == ROLE_ADMINISTRATOR && others == 0)
		return err_set(err, ERR_DENIED, "%s is the last administrator", name);
	query_text(&query, name);
	return query_run(&query, err);
}

bool store_account_delete(struct store *store, const char *name, struct err *err)
{
	return transaction_begin(store, err) && transaction_end(store, delete_account(store, name, err), err);
}

static int64_t wait_after(int64_t failures)
{
	int64_t wait_ms = 1000;

	if (failures < ACCOUNT_FREE_FAILURES)
		return 0;
	for (int64_t i = ACCOUNT_FREE_FAILURES; i < failures && wait_ms < ACCOUNT_WAIT_MAX_MS; i++)
		wait_ms *= 2;
	return wait_ms < ACCOUNT_WAIT_MAX_MS ? wait_ms : ACCOUNT_WAIT_MAX_MS;
}

static bool note_failure(struct store *store, const char *name, int64_t now_ms, struct err *err)
{
	struct query query = query_of(store, SQL_ACCOUNT_FAILED);

	query_text(&query, name);
	query_number(&query, now_ms);
	return query_run(&query, err);
}

static bool note_success(struct store *store, const char *name, struct err *err)
{
	struct query query = query_of(store, SQL_ACCOUNT_SUCCEEDED);

	query_text(&query, name);
	return query_run(&query, err);
}

static bool verify(struct store *store, const char *name, const char *password, int64_t now_ms, const struct login_facts *facts,
		   struct err *err)
{
	int64_t waited_ms = now_ms - facts->last_failure_ms, wait_ms = wait_after(facts->failures);

	/* A clock that was set back must not lock anybody out for longer than the wait. */
	if (waited_ms >= 0 && waited_ms < wait_ms)
		return err_set(err, ERR_LIMIT, "too many failed logins: try again in %lld s",
			       (long long)((wait_ms - waited_ms + 999) / 1000));
	/* The failure is counted before the slow check, so that attempts side by side do not share one. */
	if (!note_failure(store, name, now_ms, err))
		return false;
	if (!password_matches(facts->exists ? facts->hash : nobodys_hash, password) || !facts->exists)
		return err_set(err, ERR_DENIED, "wrong account or password");
	return note_success(store, name, err);
}

bool store_account_verify(struct store *store, const char *name, const char *password, int64_t now_ms, enum account_role *role,
			  struct err *err)
{
	struct login_facts facts;
	bool verified;

	if (!load_login_facts(store, name, &facts, err))
		return false;
	verified = verify(store, name, password, now_ms, &facts, err);
	if (verified)
		*role = facts.role;
	free(facts.hash);
	return verified;
}
