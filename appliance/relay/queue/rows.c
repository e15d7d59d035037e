/* The rows of a message: how they come and how they go. */
#include "appliance/relay/queue/queue_private.h"
#include "appliance/relay/queue/transaction.h"

static void bind_part(sqlite3_stmt *statement, int at, const struct stored_part *part)
{
	if (part->number == 0)
		return; /* four NULLs */
	bind_id(statement, at, part->number);
	bind_number(statement, at + 1, part->file);
	bind_id(statement, at + 2, part->size);
	bind_octets(statement, at + 3, bytes_of(part->digest, sizeof part->digest));
}

static bool insert_message_row(struct transaction *transaction, const struct queue_message *message,
			       const struct stored_part parts[static 2], struct err *err)
{
	sqlite3_stmt *insert = database_statement(transaction->database, S_INSERT_MESSAGE);

	bind_id(insert, 1, message->id);
	bind_text(insert, 2, message->server);
	bind_text(insert, 3, message->sender);
	bind_text(insert, 4, message->envelope_id);
	bind_text(insert, 5, message->message_id);
	bind_number(insert, 6, message->ret);
	bind_number(insert, 7, message->smtputf8);
	bind_number(insert, 8, message->body_type);
	bind_number(insert, 9, message->received);
	bind_number(insert, 10, message->expires);
	bind_id(insert, 11, message->plain_size);
	bind_id(insert, 12, message->signed_size);
	bind_part(insert, 13, &parts[0]);
	bind_part(insert, 17, &parts[1]);
	bind_octets(insert, 21, message->prefix);
	bind_octets(insert, 22, message->addition);
	return database_run(transaction->database, insert, err);
}

static bool insert_part(struct transaction *transaction, const struct stored_part *part, struct err *err)
{
	sqlite3_stmt *insert = database_statement(transaction->database, part->file ? S_INSERT_FILE : S_INSERT_BODY);

	if (part->number == 0)
		return true;
	bind_id(insert, 1, part->number);
	if (!part->file)
		bind_octets(insert, 2, part->data);
	return database_run(transaction->database, insert, err);
}

static bool insert_recipient(struct transaction *transaction, const struct message_copy *copy, size_t i, struct err *err)
{
	sqlite3_stmt *insert = database_statement(transaction->database, S_INSERT_RECIPIENT);
	const struct queue_recipient *recipient = &copy->recipients[i];

	bind_id(insert, 1, copy->recipient_ids[i]);
	bind_id(insert, 2, copy->message.id);
	bind_text(insert, 3, recipient->address);
	bind_number(insert, 4, recipient->rendering);
	bind_text(insert, 5, recipient->rule);
	bind_text(insert, 6, recipient->original);
	bind_number(insert, 7, recipient->notify);
	bind_number(insert, 8, copy->due);
	bind_text(insert, 9, recipient->sender);
	return database_run(transaction->database, insert, err);
}

bool transaction_insert_message(struct transaction *transaction, const struct message_copy *copy,
				const struct stored_part parts[static 2], bool *inserted, struct err *err)
{
	if (!insert_message_row(transaction, &copy->message, parts, err))
		return false;
	if (database_changes(transaction->database) == 0) {
		*inserted = false;
		return true;
	}
	for (int i = 0; i < 2; i++)
		if (!insert_part(transaction, &parts[i], err))
			return false;
	for (size_t i = 0; i < copy->n_recipients; i++)
		if (!insert_recipient(transaction, copy, i, err))
			return false;
	if (!log_insert(transaction, copy, err))
		return false;
	transaction->delta.messages++;
	transaction->delta.waiting += (int64_t)copy->n_recipients;
	transaction_note_due(transaction, copy->due);
	*inserted = true;
	return true;
}

/* ---- deleting ---- */

struct doomed_part {
	uint64_t number;
	bool file;
};

static bool delete_part(struct transaction *transaction, const struct doomed_part *part, struct err *err)
{
	sqlite3_stmt *remove = database_statement(transaction->database, part->file ? S_DELETE_FILE : S_DELETE_BODY);

	if (part->number == 0)
		return true;
	if (part->file)
		buf_put(&transaction->files, &part->number, sizeof part->number);
	bind_id(remove, 1, part->number);
	return database_run(transaction->database, remove, err);
}

static bool delete_message(struct transaction *transaction, uint64_t message, struct err *err)
{
	sqlite3_stmt *remove = database_statement(transaction->database, S_DELETE_MESSAGE);
	struct doomed_part parts[2] = {{0}};
	bool row, ok;

	bind_id(remove, 1, message);
	ok = database_step(transaction->database, remove, &row, err);
	for (int i = 0; ok && row && i < 2; i++)
		parts[i] = (struct doomed_part){column_id(remove, 2 * i), column_id(remove, 2 * i + 1) != 0};
	if (!ok) {
		database_reset(remove);
		return false;
	}
	if (!database_run(transaction->database, remove, err))
		return false;
	transaction->delta.messages -= row;
	if (message > transaction->highest_deleted)
		transaction->highest_deleted = message;
	return delete_part(transaction, &parts[0], err) && delete_part(transaction, &parts[1], err);
}

static bool has_recipient(struct transaction *transaction, uint64_t message, bool *has, struct err *err)
{
	sqlite3_stmt *select = database_statement(transaction->database, S_MESSAGE_HAS_RECIPIENT);
	bool ok;

	bind_id(select, 1, message);
	ok = database_step(transaction->database, select, has, err);
	database_reset(select);
	return ok;
}

bool transaction_delete_recipient(struct transaction *transaction, uint64_t recipient, uint64_t message, struct err *err)
{
	sqlite3_stmt *remove = database_statement(transaction->database, S_DELETE_RECIPIENT);
	bool others;

	bind_id(remove, 1, recipient);
	if (!database_run(transaction->database, remove, err) || !has_recipient(transaction, message, &others, err))
		return false;
	if (recipient > transaction->highest_deleted)
		transaction->highest_deleted = recipient;
	return others || delete_message(transaction, message, err);
}
