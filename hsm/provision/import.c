#include <openssl/err.h>
#include <stdlib.h>

#include "hsm/import/certificate_check.h"
#include "hsm/import/ladder.h"
#include "hsm/import/leaf.h"
#include "hsm/import/pkcs12.h"
#include "hsm/provision/seal.h"
#include "hsm/provision/tasks.h"
#include "hsm/token/object.h"

static bool seal_password(const struct session *session, const struct import_task *task, struct bytes *sealed, struct err *err)
{
	struct buf out = {0};
	struct seal seal;
	bool good =
	    seal_prepare(session, &seal, err) && seal_close(session, &seal, task->seal_context, task->password, &out, err);

	if (good)
		*sealed = bytes_of(mem_copy(out.data, out.len), out.len);
	buf_clear(&out);
	return good;
}

static bool climb_ladder(struct provision *provision, const struct import_task *task, const struct pkcs12 *file, X509 *leaf,
			 struct import_result *result, struct warnings *warnings, struct err *err)
{
	const struct session *session = &provision->connection.session;
	struct ladder_request request = {
	    .file = file, .public_key = X509_get0_pubkey(leaf), .key_id = task->key_id, .label = task->address};
	struct ladder_result climbed;

	if (!ladder_minimum_parse(provision->settings->import_minimum, &request.minimum, err) ||
	    !provision_claim(provision, task->key_id, err) || !ladder_import(session, &request, &climbed, warnings, err))
		return false;
	result->key_id = bytes_of(mem_copy(task->key_id.data, task->key_id.len), task->key_id.len);
	result->rung = mem_string(climbed.rung);
	result->attributes = climbed.attributes;
	return true;
}

static bool import_file(struct provision *provision, const struct import_task *task, const struct pkcs12 *file,
			struct import_result *result, struct warnings *warnings, struct err *err)
{
	const struct session *session = &provision->connection.session;
	X509 *leaf = leaf_choose(file, task->address);

	if (!certificate_check(leaf, pkcs12_certificates(file), task->address, task->now, &result->facts, warnings, err))
		return false;
	provision_say(provision, "Password, MAC and certificate are in order; the key goes onto the token.");
	if (!climb_ladder(provision, task, file, leaf, result, warnings, err))
		return false;
	if (!seal_password(session, task, &result->sealed_password, err))
		return false;
	provision_say(provision, "The key signed a nonce on the token, and the certificate verifies it.");
	return true;
}

static bool import(struct provision *provision, const struct import_task *task, struct buf *out, struct err *err)
{
	struct pkcs12 *file = pkcs12_parse(task->pkcs12, task->password, err);
	struct import_result result = {0};
	struct warnings warnings = {0};
	bool good = file != NULL && import_file(provision, task, file, &result, &warnings, err);

	result.warnings = warnings.items;
	result.n_warnings = warnings.count;
	if (good)
		import_result_encode(out, &result);
	else
		provision_undo(provision);
	import_result_clear(&result);
	pkcs12_free(file);
	ERR_clear_error();
	return good;
}

bool task_import(struct provision *provision, struct msg *msg, struct buf *result, struct err *err)
{
	struct import_task task;
	bool good;

	if (!import_task_decode(msg, &task, err))
		return false;
	good = connection_require_login(&provision->connection, err) && import(provision, &task, result, err);
	import_task_clear(&task);
	return good;
}

bool provision_claim(struct provision *provision, struct bytes key_id, struct err *err)
{
	struct err why = {0};
	unsigned long key;

	if (object_find_private_key(&provision->connection.session, key_id, &key, &why))
		return err_set(err, ERR_EXISTS, "the token holds a key of that id already");
	if (why.code != ERR_NOT_FOUND)
		return err_set(err, why.code, "%s", why.text);
	provision_keep(provision);
	provision->undo = bytes_of(mem_copy(key_id.data, key_id.len), key_id.len);
	return true;
}

void provision_undo(struct provision *provision)
{
	uint32_t destroyed;

	if (provision->undo.len > 0)
		provision->left |= !objects_destroy(&provision->connection.session, provision->undo, &destroyed, NULL);
	provision_keep(provision);
}

void provision_keep(struct provision *provision)
{
	free((void *)provision->undo.data);
	provision->undo = (struct bytes){0};
}

void provision_say(const struct provision *provision, const char *text)
{
	if (provision->progress != NULL)
		provision->progress(text, provision->arg);
}
