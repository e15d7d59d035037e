/* The tasks on keys that are there: delete, sweep, test. */
#include <openssl/err.h>
#include <openssl/x509.h>

#include "appliance/base/clock.h"
#include "hsm/import/ladder.h"
#include "hsm/protocol/provision.h"
#include "hsm/provision/tasks.h"
#include "hsm/token/object.h"
#include "hsm/token/proof.h"

bool task_delete(struct provision *provision, struct msg *msg, struct buf *result, struct err *err)
{
	struct bytes key_id = msg_get_bytes(msg);
	uint32_t destroyed = 0;

	if (!msg_end(msg, "delete task", err))
		return false;
	if (key_id_is_audit(key_id))
		return err_set(err, ERR_DENIED, "the audit key of the token is no certificate's: it stays");
	if (!connection_require_login(&provision->connection, err) ||
	    !objects_destroy(&provision->connection.session, key_id, &destroyed, err))
		return false;
	msg_put_u32(result, destroyed);
	return true;
}

static bool sweep(const struct session *session, const struct sweep_task *task, struct buf *result, struct err *err)
{
	uint32_t destroyed = 0;

	for (size_t i = 0; i < task->count; i++) {
		if (key_id_is_audit(task->key_ids[i]))
			return err_set(err, ERR_DENIED, "the audit key of the token is no certificate's: it stays");
		if (!objects_destroy(session, task->key_ids[i], &destroyed, err))
			return false;
		msg_put_u32(result, destroyed);
	}
	if (!objects_destroy_unfinished(session, &destroyed, err))
		return false;
	msg_put_u32(result, destroyed);
	return true;
}

bool task_sweep(struct provision *provision, struct msg *msg, struct buf *result, struct err *err)
{
	struct sweep_task task;
	bool good;

	if (!sweep_task_decode(msg, &task, err))
		return false;
	good = connection_require_login(&provision->connection, err) && sweep(&provision->connection.session, &task, result, err);
	sweep_task_clear(&task);
	return good;
}

/* With the certificate's public key, lent to the token for the session. A token that cannot do it has not failed. */
static bool prove_on_token(const struct session *session, unsigned long key, EVP_PKEY *public_key, struct err *how)
{
	unsigned long object = 0;

	if (ladder_lend_public_key(session, public_key, &object, how) &&
	    key_prove_on_token(session, key, object, public_key, how)) {
		err_set(how, ERR_NONE, "in software and on the token");
		return true;
	}
	if (how->code == ERR_INTEGRITY)
		return false;
	err_set(how, ERR_NONE, "in software; the token does not verify");
	return true;
}

/* *how says what was done, or what failed. */
static bool prove(const struct session *session, const struct worker_certificate *certificate, struct err *how)
{
	const uint8_t *at = certificate->n_chain > 0 ? certificate->chain[0].data : NULL;
	X509 *leaf = at != NULL ? d2i_X509(NULL, &at, (long)certificate->chain[0].len) : NULL;
	unsigned long key = 0;
	bool good;

	if (leaf == NULL || X509_get0_pubkey(leaf) == NULL)
		good = err_set(how, ERR_INVALID, "malformed certificate");
	else if (key_id_is_audit(certificate->key_id))
		good = err_set(how, ERR_DENIED, "the audit key of the token signs neither mail nor TLS");
	else
		good = object_find_private_key(session, certificate->key_id, &key, how) &&
		       key_prove(session, key, X509_get0_pubkey(leaf), how) &&
		       prove_on_token(session, key, X509_get0_pubkey(leaf), how);
	X509_free(leaf);
	ERR_clear_error();
	return good;
}

static struct test_result test_one(const struct session *session, const struct worker_certificate *certificate)
{
	int64_t start = clock_monotonic_ms();
	struct err how = {0};
	bool passed = prove(session, certificate, &how);

	return (struct test_result){
	    .certificate = certificate->id,
	    .passed = passed,
	    .milliseconds = (uint32_t)(clock_monotonic_ms() - start),
	    .text = mem_string(how.text),
	};
}

bool task_test(struct provision *provision, struct msg *msg, struct buf *result, struct err *err)
{
	struct worker_certificates certificates;
	struct test_results results = {0};

	if (!worker_certificates_decode(msg, &certificates, err))
		return false;
	if (!connection_require_login(&provision->connection, err)) {
		worker_certificates_clear(&certificates);
		return false;
	}
	results.items = mem_new_array(certificates.count, sizeof *results.items);
	for (; results.count < certificates.count; results.count++)
		results.items[results.count] = test_one(&provision->connection.session, &certificates.items[results.count]);
	test_results_encode(result, &results);
	test_results_clear(&results);
	worker_certificates_clear(&certificates);
	return true;
}
