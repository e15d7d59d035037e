/* explain: what would become of a message, by the functions that decide about real ones. */
#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "appliance/relay/observe/observe_private.h"
#include "appliance/relay/policy/decision.h"

static size_t collect_recipients(const struct query *query, const char **out)
{
	size_t count = 0;

	for (size_t i = 0; i < query->n_arguments; i++)
		if (strcmp(query->arguments[i].name, "to") == 0)
			out[count++] = query->arguments[i].value;
	return count;
}

static void put_row(struct query_rows *rows, const char *recipient, const char *verdict, const char *rule, const char *note)
{
	query_cell(rows, "%s", recipient);
	query_cell(rows, "%s", verdict);
	query_cell(rows, "%s", rule);
	query_cell(rows, "%s", note);
}

static void put_refusal(struct query_rows *rows, const struct decision_facts *facts, const struct decision *decision)
{
	const char *blank = decision->refuse_enhanced[0] == '\0' ? "" : " ";
	char *reply = mem_format("%d %s%s%s", decision->refuse_code, decision->refuse_enhanced, blank, decision->refuse_text);

	for (size_t i = 0; i < facts->n_recipients; i++)
		put_row(rows, facts->recipients[i], "refused", reply, decision->note);
	free(reply);
}

static void put_decision(struct query_rows *rows, const struct decision_facts *facts, const struct decision *decision)
{
	if (decision->refuse_code != 0) {
		put_refusal(rows, facts, decision);
		return;
	}
	for (size_t i = 0; i < facts->n_recipients; i++)
		put_row(rows, facts->recipients[i], decision->recipients[i].sign ? "signed" : "plain",
			decision->recipients[i].rule, decision->note);
	for (size_t i = 0; i < decision->n_copies; i++)
		put_row(rows, decision->copies[i].address, "copy", decision->copies[i].rule, "");
}

/* Who authenticated; NULL: nobody, or *err. */
static bool find_user(const struct query *query, const struct config_server *server, const struct config_user **user,
		      struct err *err)
{
	const char *name = query_argument(query, "user");

	*user = name == NULL ? NULL : config_find_user(server, name);
	return name == NULL || *user != NULL || err_set(err, ERR_NOT_FOUND, "server %s has no user \"%s\"", server->name, name);
}

static void explain(struct call *call, const struct config_server *server, const struct config_user *user,
		    const struct mime_scan *scan)
{
	const char **recipients = mem_new_array(call->query.n_arguments, sizeof *recipients);
	struct decision_facts facts = {.server = server, .user = user, .recipients = recipients, .now = clock_wall_seconds()};
	struct decision decision;
	char *from_address = NULL;

	facts.n_recipients = collect_recipients(&call->query, recipients);
	facts.from = mime_header_from(mime_scan_header(scan), &from_address);
	facts.from_address = from_address;
	decision_judge(&facts, scan, &decision);
	put_decision(&call->rows, &facts, &decision);
	decision_clear(&decision);
	free(from_address);
	free(recipients);
}

static void judge(struct call *call, const struct config *config, struct err *err)
{
	const char *name = query_argument(&call->query, "server");
	const struct config_server *server = name == NULL || config == NULL ? NULL : config_find_server(config, name);
	struct mime_scan *scan = call_content(call);
	const struct config_user *user = NULL;

	if (server == NULL)
		err_set(err, ERR_NOT_FOUND, "the %s configuration has no server \"%s\"",
			config == call->observe->config ? "running" : "candidate", name != NULL ? name : "");
	else if (scan == NULL)
		err_set(err, ERR_INVALID, "a question without a message");
	else if (query_argument(&call->query, "to") == NULL)
		err_set(err, ERR_INVALID, "a question without a recipient");
	else if (find_user(&call->query, server, &user, err))
		explain(call, server, user, scan);
}

void query_explain(struct call *call)
{
	struct err err = {0};
	struct config *config = call_config(call, &err);

	if (err.text[0] == '\0')
		judge(call, config, &err);
	config_unref(config);
	if (call->rows.n_cells > 0)
		call_answer(call);
	else
		call_refuse(call, &err);
}
