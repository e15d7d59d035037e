/* The tasks on keys that are born on the token: a request for a certificate, and the certificate that a CA made of it. */
#include <openssl/err.h>
#include <openssl/x509.h>

#include "hsm/import/certificate_check.h"
#include "hsm/import/certificate_file.h"
#include "hsm/import/generate.h"
#include "hsm/import/protection.h"
#include "hsm/provision/tasks.h"
#include "hsm/token/object.h"
#include "hsm/token/proof.h"

/* ---- request ---- */

static bool request(struct provision *provision, const struct request_task *task, struct buf *out, struct err *err)
{
	const struct session *session = &provision->connection.session;
	struct generated_key key = {0};
	struct buf csr = {0};
	bool good = provision_claim(provision, task->key_id, err);

	if (good)
		provision_say(provision, "The token makes the key; an RSA key may take a minute.");
	good = good && key_generate(session, task->key_type, task->key_id, task->name, &key, err);
	good = good && csr_make(session, &key, task, &csr, err);
	if (good)
		request_result_encode(
		    out, &(struct request_result){.csr = buf_bytes(&csr), .key_type = key.type, .attributes = key.attributes});
	else
		provision_undo(provision);
	buf_clear(&csr);
	generated_key_clear(&key);
	return good;
}

bool task_request(struct provision *provision, struct msg *msg, struct buf *result, struct err *err)
{
	struct request_task task;
	bool good;

	if (!request_task_decode(msg, &task, err))
		return false;
	good = connection_require_login(&provision->connection, err) && request(provision, &task, result, err);
	request_task_clear(&task);
	return good;
}

/* ---- installation ---- */

static bool check_key(const struct session *session, const struct install_task *task, EVP_PKEY *public_key,
		      struct import_result *result, struct err *err)
{
	unsigned long key = 0;

	return object_find_private_key(session, task->key_id, &key, err) && key_protect(session, key, &result->attributes, err) &&
	       key_prove(session, key, public_key, err);
}

static bool check_certificates(const struct session *session, const struct install_task *task, EVP_PKEY *public_key,
			       struct import_result *result, struct warnings *warnings, struct err *err)
{
	STACK_OF(X509) *certificates = certificate_file_read(task->certificates, err);
	X509 *leaf = certificates != NULL ? certificate_file_find(certificates, public_key) : NULL;
	bool good = certificates != NULL;

	if (good && leaf == NULL)
		good =
		    err_set(err, ERR_INVALID, "no certificate in the file is of the key that was requested for %s", task->name);
	good = good &&
	       certificate_check(leaf, certificates, task->name, task->purpose, task->now, &result->facts, warnings, err) &&
	       check_key(session, task, public_key, result, err);
	sk_X509_pop_free(certificates, X509_free);
	return good;
}

static bool install(struct provision *provision, const struct install_task *task, struct buf *out, struct err *err)
{
	const uint8_t *at = task->csr.data;
	X509_REQ *csr = d2i_X509_REQ(NULL, &at, (long)task->csr.len);
	EVP_PKEY *public_key = csr != NULL ? X509_REQ_get0_pubkey(csr) : NULL;
	struct import_result result = {.key_id = task->key_id, .rung = (char *)"generate"};
	struct warnings warnings = {0};
	bool good = public_key != NULL || err_set(err, ERR_INVALID, "malformed certificate request");

	good = good && check_certificates(&provision->connection.session, task, public_key, &result, &warnings, err);
	result.warnings = warnings.items;
	result.n_warnings = warnings.count;
	if (good)
		import_result_encode(out, &result);
	certificate_facts_clear(&result.facts);
	warnings_clear(&warnings);
	X509_REQ_free(csr);
	ERR_clear_error();
	return good;
}

bool task_install(struct provision *provision, struct msg *msg, struct buf *result, struct err *err)
{
	struct install_task task;
	bool good;

	if (!install_task_decode(msg, &task, err))
		return false;
	good = connection_require_login(&provision->connection, err) && install(provision, &task, result, err);
	install_task_clear(&task);
	return good;
}
