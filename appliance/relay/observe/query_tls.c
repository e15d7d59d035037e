/* show tls */
#include <inttypes.h>
#include <stdlib.h>

#include "appliance/relay/observe/observe_private.h"

static const char *state_text(enum tls_key_state state)
{
	static const char *const texts[] = {
	    [TLS_KEY_UNTRIED] = "untried", [TLS_KEY_SIGNS] = "signs", [TLS_KEY_NO_PSS] = "no-pss", [TLS_KEY_FAILS] = "fails"};

	return texts[state];
}

struct listener {
	const char *server, *service, *address, *mode;
	const struct certificate **certificates;
	size_t n_certificates;
};

static void put_listener(struct call *call, const struct listener *listener)
{
	struct query_rows *rows = &call->rows;

	for (size_t i = 0; i < listener->n_certificates; i++) {
		const struct certificate *certificate = listener->certificates[i];
		const char *why;
		enum tls_key_state state = tls_key_state(call->observe->context.tls, certificate->id, &why);

		query_cell(rows, "%s", listener->server);
		query_cell(rows, "%s %s", listener->service, listener->address);
		query_cell(rows, "%s", listener->mode);
		query_cell(rows, "%s", certificate->address);
		query_cell(rows, "%s", certificate->key_type);
		query_cell(rows, "%" PRId64, certificate->not_after * 1000);
		query_cell(rows, "%s", state_text(state));
		query_cell(rows, "%s", why);
	}
}

static void put_server(struct call *call, const struct config_server *server)
{
	for (size_t i = 0; i < server->n_listens; i++) {
		const struct config_listen *listen = &server->listens[i];

		if (listen->tls != CONFIG_LISTEN_PLAIN)
			put_listener(call, &(struct listener){server->name, "smtp", listen->address,
							      listen->tls == CONFIG_LISTEN_IMPLICIT ? "implicit" : "starttls",
							      listen->certificates, listen->n_certificates});
	}
	for (size_t i = 0; i < server->n_api_listens; i++) {
		const struct config_api_listen *listen = &server->api_listens[i];

		if (listen->tls)
			put_listener(call, &(struct listener){server->name, "api", listen->address, "implicit",
							      listen->certificates, listen->n_certificates});
	}
}

/* One page: an appliance has a handful of listeners. */
void query_tls(struct call *call)
{
	const struct config *config = call->observe->config;

	for (size_t s = 0; config != NULL && s < config->n_servers; s++)
		put_server(call, &config->servers[s]);
	call_answer(call);
}

void query_tls_totals(struct call *call)
{
	const struct tls_state state = tls_state(call->observe->context.tls);
	struct query_rows *rows = &call->rows;

	query_cell(rows, "%u", state.connections);
	query_cell(rows, "%u", state.handshakes);
	query_cell(rows, "%u", state.waiting);
	query_cell(rows, "%" PRIu64, state.done_total);
	query_cell(rows, "%" PRIu64, state.resumed_total);
	query_cell(rows, "%" PRIu64, state.failed_total);
	query_cell(rows, "%" PRIu64, state.late_total);
	query_cell(rows, "%" PRIu64, state.unsigned_total);
	query_cell(rows, "%" PRIu64, state.refused_total);
	query_cell(rows, "%" PRIu64, state.cancelled_total);
	call_answer(call);
}
