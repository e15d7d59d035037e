#include <stdlib.h>

#include "appliance/relay/smtp/smtp_session.h"

#define RECIPIENTS_FIRST 4

/* The acceptance modes of server.h. */
static bool may_relay(const struct smtp_session *session, const char *user)
{
	const struct config_server *server = smtp_session_settings(session);
	bool network = smtp_session_network_allows(session);

	switch (server->auth) {
	case CONFIG_AUTH_OPTIONAL:
		return network || user != NULL;
	case CONFIG_AUTH_REQUIRED:
		return user != NULL && (network || server->n_networks == 0);
	case CONFIG_AUTH_NONE:
		break;
	}
	return network;
}

struct smtp_transaction *smtp_transaction_new(const struct smtp_session *session, const char *sender)
{
	struct smtp_transaction *transaction = mem_new(sizeof *transaction);
	const char *user = smtp_session_user(session);

	transaction->config = config_ref(session->service->config);
	transaction->server = smtp_session_settings(session);
	transaction->sender = mem_string(sender);
	transaction->user = user == NULL ? NULL : mem_string(user);
	transaction->may_relay = may_relay(session, user);
	return transaction;
}

void smtp_transaction_add(struct smtp_transaction *transaction, const char *address, struct bytes original, uint32_t notify)
{
	if (transaction->n_recipients == transaction->capacity) {
		transaction->capacity = transaction->capacity == 0 ? RECIPIENTS_FIRST : transaction->capacity * 2;
		transaction->recipients =
		    mem_resize(transaction->recipients, transaction->capacity, sizeof *transaction->recipients);
	}
	transaction->recipients[transaction->n_recipients++] = (struct queue_recipient){
	    .address = mem_string(address), .original = original.len == 0 ? NULL : bytes_string(original), .notify = notify};
}

void smtp_transaction_free(struct smtp_transaction *transaction)
{
	if (transaction == NULL)
		return;
	if (transaction->submission != NULL)
		submission_abort(transaction->submission);
	for (size_t i = 0; i < transaction->n_recipients; i++) {
		free((void *)(uintptr_t)transaction->recipients[i].address);
		free((void *)(uintptr_t)transaction->recipients[i].original);
	}
	free(transaction->recipients);
	free(transaction->sender);
	free(transaction->envelope_id);
	free(transaction->user);
	config_unref(transaction->config);
	free(transaction);
}
