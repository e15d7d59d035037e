#include <stdlib.h>
#include <string.h>
#include <strings.h>

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
	case CONFIG_AUTH_OFFERED:
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

static void clear_recipient(struct queue_recipient *recipient)
{
	free((void *)(uintptr_t)recipient->address);
	free((void *)(uintptr_t)recipient->original);
	*recipient = (struct queue_recipient){0};
}

/* The local part exactly, the domain in any case; of equal ones the first in the envelope comes first. */
static int by_address_then_place(const void *a, const void *b)
{
	const struct queue_recipient *left = *(struct queue_recipient *const *)a, *right = *(struct queue_recipient *const *)b;
	const char *left_at = strrchr(left->address, '@'), *right_at = strrchr(right->address, '@');
	int order = strcasecmp(left_at, right_at);

	if (order == 0)
		order =
		    (left_at - left->address > right_at - right->address) - (left_at - left->address < right_at - right->address);
	if (order == 0)
		order = strncmp(left->address, right->address, (size_t)(left_at - left->address));
	return order != 0 ? order : (left > right) - (left < right);
}

static bool same_address(const struct queue_recipient *left, const struct queue_recipient *right)
{
	size_t local = (size_t)(strrchr(left->address, '@') - left->address);

	return strncmp(left->address, right->address, local + 1) == 0 &&
	       strcasecmp(left->address + local, right->address + local) == 0;
}

void smtp_transaction_unite(struct smtp_transaction *transaction)
{
	struct queue_recipient *recipients = transaction->recipients, **sorted;
	size_t count = transaction->n_recipients, kept = 0;

	if (count < 2)
		return;
	sorted = mem_new_array(count, sizeof *sorted);
	for (size_t i = 0; i < count; i++)
		sorted[i] = &recipients[i];
	qsort(sorted, count, sizeof *sorted, by_address_then_place);
	for (size_t i = count - 1; i > 0; i--) {
		if (same_address(sorted[i - 1], sorted[i]))
			clear_recipient(sorted[i]);
	}
	free(sorted);
	for (size_t i = 0; i < count; i++) {
		if (recipients[i].address != NULL)
			recipients[kept++] = recipients[i];
	}
	transaction->n_recipients = kept;
}

void smtp_transaction_free(struct smtp_transaction *transaction)
{
	if (transaction == NULL)
		return;
	if (transaction->submission != NULL)
		submission_abort(transaction->submission);
	for (size_t i = 0; i < transaction->n_recipients; i++)
		clear_recipient(&transaction->recipients[i]);
	free(transaction->recipients);
	free(transaction->sender);
	free(transaction->envelope_id);
	free(transaction->user);
	config_unref(transaction->config);
	free(transaction);
}
