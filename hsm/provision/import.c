#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hsm/import/certificate_check.h"
#include "hsm/import/ladder.h"
#include "hsm/import/leaf.h"
#include "hsm/import/pkcs12.h"
#include "hsm/provision/seal.h"
#include "hsm/provision/tasks.h"
#include "hsm/token/object.h"

#define TELL_ITERATIONS 1000000 /* some seconds */

/* On a token that cannot seal the password is not kept. */
static bool seal_password(const struct session *session, const struct import_task *task, struct bytes password,
			  struct bytes *sealed, struct warnings *warnings, struct err *err)
{
	struct buf out = {0};
	struct err why = {0};
	struct seal seal;
	bool prepared = seal_prepare(session, &seal, &why), good;

	if (!prepared && why.code == ERR_INVALID) {
		warnings_add(warnings, "The password of the PKCS#12 file is not kept: %s.", why.text);
		return true;
	}
	if (!prepared)
		return err_set(err, why.code, "%s", why.text);
	good = seal_close(session, &seal, task->seal_context, password, &out, err);
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

static bool import_file(struct provision *provision, const struct import_task *task, struct bytes password,
			const struct pkcs12 *file, struct import_result *result, struct warnings *warnings, struct err *err)
{
	const struct session *session = &provision->connection.session;
	X509 *leaf = leaf_choose(file, task->address);

	if (!certificate_check(leaf, pkcs12_certificates(file), task->address, task->tls ? KEY_PURPOSE_TLS : KEY_PURPOSE_MAIL,
			       task->now, &result->facts, warnings, err))
		return false;
	if (task->fingerprint[0] != '\0' && strcmp(task->fingerprint, result->facts.fingerprint) != 0)
		return err_set(err, ERR_INVALID,
			       "the file holds another certificate (serial %s) than the registered one: use "
			       "certificate renew for a new one",
			       result->facts.serial);
	provision_say(provision, "Password, MAC and certificate are in order; the key goes onto the token.");
	if (!climb_ladder(provision, task, file, leaf, result, warnings, err))
		return false;
	if (!seal_password(session, task, password, &result->sealed_password, warnings, err))
		return false;
	provision_say(provision, "The key signed a nonce on the token, and the certificate verifies it.");
	return true;
}

/* A mistyped password costs as much: the operator learns before that it takes long. */
static void warn_of_iterations(const struct provision *provision, struct bytes file)
{
	uint64_t iterations = pkcs12_mac_iterations(file);
	char text[128];

	if (iterations < TELL_ITERATIONS)
		return;
	snprintf(text, sizeof text, "The file asks for %llu iterations of its key derivation: this may take a minute.",
		 (unsigned long long)iterations);
	provision_say(provision, text);
}

static bool import_password(struct provision *provision, const struct import_task *task, struct bytes password, struct buf *out,
			    struct err *err)
{
	struct pkcs12 *file = pkcs12_parse(task->pkcs12, password, err);
	struct import_result result = {0};
	struct warnings warnings = {0};
	bool good = file != NULL && import_file(provision, task, password, file, &result, &warnings, err);

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

/* The password that an earlier import has kept. Another token cannot open it. */
static struct secret *kept_password(const struct session *session, const struct import_task *task, struct err *err)
{
	struct secret *password = NULL;
	struct err why = {0};
	struct seal seal;

	if (seal_find(session, &seal, &why))
		password = seal_open(session, &seal, task->seal_context, task->password, &why);
	if (password == NULL)
		err_set(err, ERR_NOT_FOUND, "the kept password cannot be opened on this token (%s)", why.text);
	return password;
}

static bool import(struct provision *provision, const struct import_task *task, struct buf *out, struct err *err)
{
	struct secret *kept = NULL;
	bool good = true;

	if (task->password_sealed) {
		kept = kept_password(&provision->connection.session, task, err);
		good = kept != NULL;
	}
	if (good) {
		warn_of_iterations(provision, task->pkcs12);
		good = import_password(provision, task, kept != NULL ? secret_bytes(kept) : task->password, out, err);
	}
	secret_free(kept);
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
