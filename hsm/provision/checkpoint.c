/*
 * The task CHECKPOINT. The audit key is known by a CKA_ID that no certificate's key can have (object.h); what it signs is
 * composed here, from numbers, so that it can be nothing else.
 */
#include <openssl/x509.h>
#include <string.h>

#include "appliance/base/checkpoint_text.h"
#include "hsm/import/generate.h"
#include "hsm/protocol/provision.h"
#include "hsm/provision/tasks.h"
#include "hsm/token/object.h"
#include "hsm/token/proof.h"

/* Kinds of key in the order of preference: a token may make no EC keys. */
static const char *const kinds[] = {"p256", "rsa2048"};

static bool make_key(const struct session *session, struct generated_key *key, struct err *err)
{
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (key_generate(session, kinds[i], bytes_text(AUDIT_KEY_ID), AUDIT_KEY_ID, key, err))
			return true;
		if (err->code == ERR_UNAVAILABLE)
			return false;
	}
	return false;
}

bool audit_key_prepare(const struct session *session, struct generated_key *key, bool *made, struct err *err)
{
	struct generated_key found = {0};
	struct err why = {0};

	*made = false;
	if (object_find_private_key(session, bytes_text(AUDIT_KEY_ID), &found.key, &why)) {
		found.public_key = key_public_read(session, bytes_text(AUDIT_KEY_ID), err);
		if (found.public_key == NULL)
			return err_prefix(err, "the audit key of the token");
		*key = found;
		return true;
	}
	if (why.code != ERR_NOT_FOUND)
		return err_set(err, why.code, "%s", why.text);
	*made = make_key(session, key, &why);
	return *made || err_set(err, why.code, "the audit key cannot be made: %s", why.text);
}

static bool sign(const struct session *session, const struct checkpoint_task *task, struct buf *out, struct err *err)
{
	uint8_t signature[KEY_SIGNATURE_MAX_BYTES], *public_key = NULL;
	struct generated_key key = {0};
	struct buf text = {0};
	size_t len = 0;
	bool made, good = audit_key_prepare(session, &key, &made, err);

	checkpoint_text(&text, task->rows, task->hash, task->time_ms);
	good = good && key_sign(session, key.key, key.public_key, buf_bytes(&text), signature, &len, err);
	if (good) {
		int public_len = i2d_PUBKEY(key.public_key, &public_key);

		checkpoint_result_encode(out, &(struct checkpoint_result){.public_key = bytes_of(public_key, (size_t)public_len),
									  .signature = bytes_of(signature, len),
									  .made = made});
	}
	OPENSSL_free(public_key);
	generated_key_clear(&key);
	buf_clear(&text);
	return good;
}

bool task_checkpoint(struct provision *provision, struct msg *msg, struct buf *result, struct err *err)
{
	struct checkpoint_task task;

	return checkpoint_task_decode(msg, &task, err) && connection_require_login(&provision->connection, err) &&
	       sign(&provision->connection.session, &task, result, err);
}
