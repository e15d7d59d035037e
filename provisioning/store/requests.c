/* Keys that no certificate names yet: those on their way to the token, and those born there that wait for a CA. */
#include <stdlib.h>

#include "appliance/base/clock.h"
#include "provisioning/store/store_private.h"

/* ---- pending keys ---- */

void pending_keys_clear(struct pending_keys *keys)
{
	for (size_t i = 0; i < keys->count; i++) {
		free((void *)keys->items[i].key_id.data);
		free(keys->items[i].what);
		free(keys->items[i].by);
		free(keys->items[i].from);
	}
	free(keys->items);
	*keys = (struct pending_keys){0};
}

bool store_pending_key_add(struct store *store, const struct pending_key *key, struct err *err)
{
	struct query query = query_of(store, SQL_PENDING_ADD);

	query_bytes(&query, key->key_id);
	query_text(&query, key->what);
	query_text(&query, key->by);
	query_text(&query, key->from);
	query_number(&query, clock_wall_ms());
	return query_run(&query, err);
}

bool pending_key_end(struct store *store, struct bytes key_id, struct err *err)
{
	struct query query = query_of(store, SQL_PENDING_END);

	query_bytes(&query, key_id);
	return query_run(&query, err);
}

bool store_pending_key_end(struct store *store, struct bytes key_id, struct err *err)
{
	return pending_key_end(store, key_id, err);
}

bool store_pending_keys(struct store *store, struct pending_keys *keys, struct err *err)
{
	struct query query = query_of(store, SQL_PENDING_LIST);
	struct pending_keys found = {0};

	while (query_row(&query)) {
		found.items = mem_resize(found.items, found.count + 1, sizeof *found.items);
		found.items[found.count++] = (struct pending_key){.key_id = column_bytes(&query, 0),
								  .what = column_text(&query, 1),
								  .by = column_text(&query, 2),
								  .from = column_text(&query, 3),
								  .began_ms = column_number(&query, 4)};
	}
	if (!query_end(&query, err)) {
		pending_keys_clear(&found);
		return false;
	}
	*keys = found;
	return true;
}

/* ---- requests ---- */

void certificate_request_clear(struct certificate_request *request)
{
	free(request->name);
	free(request->key_type);
	free((void *)request->key_id.data);
	free(request->attributes);
	free((void *)request->csr.data);
	free(request->requested_by);
	*request = (struct certificate_request){0};
}

void certificate_requests_clear(struct certificate_requests *requests)
{
	for (size_t i = 0; i < requests->count; i++)
		certificate_request_clear(&requests->items[i]);
	free(requests->items);
	*requests = (struct certificate_requests){0};
}

static bool list(struct store *store, enum certificate_kind kind, const char *name, struct certificate_requests *requests,
		 struct err *err)
{
	struct query query = query_of(store, SQL_REQUEST_LIST);
	struct certificate_requests found = {0};

	query_text(&query, name == NULL ? "" : name);
	query_number(&query, (int64_t)kind);
	while (query_row(&query)) {
		found.items = mem_resize(found.items, found.count + 1, sizeof *found.items);
		found.items[found.count++] = (struct certificate_request){
		    .id = (uint64_t)column_number(&query, 0),
		    .kind = (enum certificate_kind)column_number(&query, 1),
		    .name = column_text(&query, 2),
		    .key_type = column_text(&query, 3),
		    .key_id = column_bytes(&query, 4),
		    .attributes = column_text(&query, 5),
		    .csr = column_bytes(&query, 6),
		    .requested_by = column_text(&query, 7),
		    .requested_ms = column_number(&query, 8),
		};
	}
	if (!query_end(&query, err)) {
		certificate_requests_clear(&found);
		return false;
	}
	*requests = found;
	return true;
}

bool store_requests(struct store *store, const char *name, struct certificate_requests *requests, struct err *err)
{
	return list(store, (enum certificate_kind)0, name, requests, err);
}

bool store_request(struct store *store, enum certificate_kind kind, const char *name, struct certificate_request *request,
		   struct err *err)
{
	struct certificate_requests found;

	if (!list(store, kind, name, &found, err))
		return false;
	if (found.count == 0)
		return err_set(err, ERR_NOT_FOUND, "there is no certificate request for %s; use certificate request", name);
	*request = found.items[0];
	free(found.items);
	return true;
}

static bool add(struct store *store, const struct certificate_request *request, struct err *err)
{
	struct certificate_requests found;
	struct query query;

	if (!list(store, request->kind, request->name, &found, err))
		return false;
	if (found.count > 0) {
		certificate_requests_clear(&found);
		return err_set(err, ERR_EXISTS, "%s has a certificate request already: install its certificate, or cancel it",
			       request->name);
	}
	query = query_of(store, SQL_REQUEST_ADD);
	query_number(&query, (int64_t)request->kind);
	query_text(&query, request->name);
	query_text(&query, request->key_type);
	query_bytes(&query, request->key_id);
	query_text(&query, request->attributes);
	query_bytes(&query, request->csr);
	query_text(&query, request->requested_by);
	query_number(&query, request->requested_ms);
	return query_run(&query, err) && pending_key_end(store, request->key_id, err);
}

bool store_request_add(struct store *store, const struct certificate_request *request, struct err *err)
{
	return transaction_begin(store, err) && transaction_end(store, add(store, request, err), err);
}

bool store_request_delete(struct store *store, uint64_t id, struct err *err)
{
	struct query query = query_of(store, SQL_REQUEST_DELETE);

	query_number(&query, (int64_t)id);
	if (!query_run(&query, err))
		return false;
	return query_changes(&query) > 0 ||
	       err_set(err, ERR_NOT_FOUND, "there is no certificate request %llu", (unsigned long long)id);
}

bool request_installed(struct store *store, struct bytes key_id, struct err *err)
{
	struct query query = query_of(store, SQL_REQUEST_INSTALLED);

	query_bytes(&query, key_id);
	return query_run(&query, err);
}
