#include "provisioning/store/approvals.h"

#include <stdlib.h>

#include "appliance/base/clock.h"
#include "provisioning/store/store_private.h"

void approval_clear(struct approval *approval)
{
	free(approval->what);
	free(approval->by);
	free(approval->from);
	free(approval->decided_by);
	free((void *)approval->payload.data);
	free((void *)approval->key_id.data);
	*approval = (struct approval){0};
}

void approvals_clear(struct approvals *approvals)
{
	for (size_t i = 0; i < approvals->count; i++)
		approval_clear(&approvals->items[i]);
	free(approvals->items);
	*approvals = (struct approvals){0};
}

static bool insert(struct store *store, const struct approval *approval, uint64_t *number, struct err *err)
{
	struct query query = query_of(store, SQL_APPROVAL_ADD);

	query_number(&query, approval->kind);
	query_text(&query, approval->what);
	query_text(&query, approval->by);
	query_text(&query, approval->from);
	query_number(&query, approval->asked_ms);
	query_number(&query, approval->expires_ms);
	query_bytes(&query, approval->payload);
	query_bytes(&query, approval->key_id);
	if (!query_run(&query, err))
		return false;
	*number = (uint64_t)sqlite3_last_insert_rowid(store->db);
	return true;
}

bool store_approval_add(struct store *store, const struct approval *approval, uint64_t *number, struct err *err)
{
	uint64_t added = 0;

	if (!transaction_begin(store, err) || !transaction_end(store, insert(store, approval, &added, err), err))
		return false;
	*number = added;
	return true;
}

static struct approval read_row(const struct query *query)
{
	return (struct approval){
	    .number = (uint64_t)column_number(query, 0),
	    .kind = (enum approval_kind)column_number(query, 1),
	    .what = column_text(query, 2),
	    .by = column_text(query, 3),
	    .from = column_text(query, 4),
	    .asked_ms = column_number(query, 5),
	    .expires_ms = column_number(query, 6),
	    .payload = column_bytes(query, 7),
	    .key_id = column_bytes(query, 8),
	    .state = (enum approval_state)column_number(query, 9),
	    .decided_by = column_text(query, 10),
	};
}

bool store_approval(struct store *store, uint64_t number, struct approval *approval, struct err *err)
{
	struct query query = query_of(store, SQL_APPROVAL_GET);
	struct approval found = {0};
	bool any;

	query_number(&query, (int64_t)number);
	any = query_row(&query);
	if (any)
		found = read_row(&query);
	if (!query_end(&query, err)) {
		approval_clear(&found);
		return false;
	}
	if (!any)
		return err_set(err, ERR_NOT_FOUND, "there is no approval %llu", (unsigned long long)number);
	*approval = found;
	return true;
}

bool store_approvals(struct store *store, struct approvals *approvals, struct err *err)
{
	struct query query = query_of(store, SQL_APPROVAL_LIST);
	struct approvals found = {0};

	while (query_row(&query)) {
		found.items = mem_resize(found.items, found.count + 1, sizeof *found.items);
		found.items[found.count++] = read_row(&query);
	}
	if (!query_end(&query, err)) {
		approvals_clear(&found);
		return false;
	}
	*approvals = found;
	return true;
}

bool store_approval_decide(struct store *store, uint64_t number, enum approval_state from, enum approval_state to, const char *by,
			   struct err *err)
{
	struct query query = query_of(store, SQL_APPROVAL_DECIDE);

	query_number(&query, (int64_t)number);
	query_number(&query, from);
	query_number(&query, to);
	query_text(&query, by);
	query_number(&query, clock_wall_ms());
	if (!query_run(&query, err))
		return false;
	return query_changes(&query) == 1 ||
	       err_set(err, ERR_EXISTS, "approval %llu was decided meanwhile", (unsigned long long)number);
}
