/* Sessions as the operator is shown them. */
#include "appliance/base/clock.h"
#include "appliance/relay/smtp/smtp_session.h"

static const char *state_name(enum smtp_state state)
{
	static const char *const names[SMTP_STATES] = {
	    [SMTP_STATE_GREETED] = "greeted",	  [SMTP_STATE_READY] = "ready",
	    [SMTP_STATE_MAIL] = "envelope",	  [SMTP_STATE_RCPT] = "envelope",
	    [SMTP_STATE_DATA] = "message",	  [SMTP_STATE_CHUNK] = "message",
	    [SMTP_STATE_CHUNKED] = "message",	  [SMTP_STATE_FINISHING] = "storing",
	    [SMTP_STATE_AUTH] = "authentication", [SMTP_STATE_AUTH_CHECK] = "authentication",
	    [SMTP_STATE_CLOSING] = "closing",
	};

	return state < SMTP_STATES && names[state] != NULL ? names[state] : "other";
}

static const char *tls_name(const struct smtp_session *session)
{
	const char *version = session->tls != NULL ? tls_stream_version(session->tls) : NULL;

	if (!session->encrypted)
		return "no";
	return version != NULL ? version : "handshake";
}

void smtp_server_each_session(const struct smtp_server *server, uint64_t before,
			      bool (*each)(const struct smtp_session_facts *facts, void *arg), void *arg)
{
	int64_t now_ms = clock_monotonic_ms(), wall_ms = clock_wall_ms();

	for (const struct smtp_session *session = server->sessions; session != NULL; session = session->next) {
		const struct smtp_session_facts facts = {.id = session->id,
							 .server = session->service->name,
							 .client = session->client,
							 .hello = session->hello,
							 .user = session->user,
							 .state = state_name(session->state),
							 .tls = tls_name(session),
							 .started = wall_ms - (now_ms - session->started_ms),
							 .idle_ms = now_ms - session->active_ms,
							 .messages = session->messages};

		if ((before == 0 || session->id < before) && !each(&facts, arg))
			return;
	}
}
