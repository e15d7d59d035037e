/* show sessions */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/relay/observe/observe_private.h"

struct page {
	struct call *call;
	const char *server; /* NULL: all */
	uint32_t found;
};

static const char *text_of(const char *text)
{
	return text != NULL ? text : "";
}

static bool on_session(const struct smtp_session_facts *facts, void *arg)
{
	struct page *page = arg;
	struct query_rows *rows = &page->call->rows;

	if (page->server != NULL && strcmp(page->server, facts->server) != 0)
		return true;
	query_cell(rows, "%" PRIu64, facts->id);
	query_cell(rows, "%s", facts->server);
	query_cell(rows, "%s", facts->client);
	query_cell(rows, "%s", text_of(facts->hello));
	query_cell(rows, "%s", text_of(facts->user));
	query_cell(rows, "%s", facts->tls);
	query_cell(rows, "%s", facts->state);
	query_cell(rows, "%" PRId64, facts->started);
	query_cell(rows, "%" PRId64, facts->idle_ms);
	query_cell(rows, "%u", facts->messages);
	if (++page->found < page->call->limit)
		return true;
	rows->cursor = mem_format("%" PRIu64, facts->id);
	return false;
}

void query_sessions(struct call *call)
{
	struct page page = {.call = call, .server = query_argument(&call->query, "server")};

	smtp_server_each_session(call->observe->context.smtp, strtoull(call->query.cursor, NULL, 10), on_session, &page);
	call_answer(call);
}
