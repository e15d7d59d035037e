#include "hsm/protocol/provision.h"

#include <stdlib.h>
#include <string.h>

#include "hsm/protocol/pieces.h"

/* ---- token description ---- */

void token_description_encode(struct buf *out, const struct token_description *d)
{
	const char *texts[] = {d->module, d->library, d->label, d->manufacturer, d->model, d->serial, d->firmware};
	const bool flags[] = {d->present,	d->initialized,	  d->user_pin_set, d->logged_in,
			      d->pin_count_low, d->pin_final_try, d->pin_locked};

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		msg_put_text(out, texts[i]);
	for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
		piece_put_flag(out, flags[i]);
	msg_put_i64(out, d->free_private_memory);
	msg_put_i64(out, d->max_sessions);
	piece_put_texts(out, d->mechanisms, d->n_mechanisms);
	msg_put_text(out, d->import_rung);
	msg_put_text(out, d->seal);
	msg_put_u32(out, d->private_keys);
}

bool token_description_decode(struct msg *msg, struct token_description *description, struct err *err)
{
	struct token_description d = {0};
	char **texts[] = {&d.module, &d.library, &d.label, &d.manufacturer, &d.model, &d.serial, &d.firmware};
	bool *flags[] = {&d.present,	   &d.initialized,   &d.user_pin_set, &d.logged_in,
			 &d.pin_count_low, &d.pin_final_try, &d.pin_locked};

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		*texts[i] = msg_get_text(msg);
	for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
		*flags[i] = piece_get_flag(msg);
	d.free_private_memory = msg_get_i64(msg);
	d.max_sessions = msg_get_i64(msg);
	d.mechanisms = piece_get_texts(msg, &d.n_mechanisms);
	d.import_rung = msg_get_text(msg);
	d.seal = msg_get_text(msg);
	d.private_keys = msg_get_u32(msg);
	if (!msg_end(msg, "token description", err)) {
		token_description_clear(&d);
		return false;
	}
	*description = d;
	return true;
}

void token_description_clear(struct token_description *d)
{
	char *texts[] = {d->module, d->library,	 d->label,	 d->manufacturer, d->model,
			 d->serial, d->firmware, d->import_rung, d->seal};

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		free(texts[i]);
	piece_clear_texts(d->mechanisms, d->n_mechanisms);
	*d = (struct token_description){0};
}

/* ---- tasks ---- */

void initialize_task_encode(struct buf *out, const struct initialize_task *task)
{
	piece_reserve(out, strlen(task->label) + task->so_pin.len + task->user_pin.len);
	msg_put_text(out, task->label);
	msg_put_bytes(out, task->so_pin);
	msg_put_bytes(out, task->user_pin);
}

bool initialize_task_decode(struct msg *msg, struct initialize_task *task, struct err *err)
{
	struct initialize_task decoded = {0};

	decoded.label = msg_get_text(msg);
	decoded.so_pin = piece_get_owned(msg);
	decoded.user_pin = piece_get_owned(msg);
	if (!msg_end(msg, "initialize task", err)) {
		initialize_task_clear(&decoded);
		return false;
	}
	*task = decoded;
	return true;
}

void initialize_task_clear(struct initialize_task *task)
{
	free(task->label);
	piece_wipe_owned(&task->so_pin);
	piece_wipe_owned(&task->user_pin);
	*task = (struct initialize_task){0};
}

void import_task_encode(struct buf *out, const struct import_task *task)
{
	piece_reserve(out, strlen(task->address) + task->pkcs12.len + task->password.len + task->seal_context.len);
	msg_put_text(out, task->address);
	msg_put_bytes(out, task->pkcs12);
	msg_put_bytes(out, task->password);
	msg_put_i64(out, task->now);
	msg_put_bytes(out, task->seal_context);
	msg_put_bytes(out, task->key_id);
	piece_put_flag(out, task->password_sealed);
	msg_put_text(out, task->fingerprint);
	piece_put_flag(out, task->tls);
}

bool import_task_decode(struct msg *msg, struct import_task *task, struct err *err)
{
	struct import_task decoded = {0};
	bool good;

	decoded.address = msg_get_text(msg);
	decoded.pkcs12 = piece_get_owned(msg);
	decoded.password = piece_get_owned(msg);
	decoded.now = msg_get_i64(msg);
	decoded.seal_context = piece_get_owned(msg);
	decoded.key_id = piece_get_owned(msg);
	decoded.password_sealed = piece_get_flag(msg);
	decoded.fingerprint = msg_get_text(msg);
	decoded.tls = piece_get_flag(msg);
	good = msg_end(msg, "import task", err);
	if (good && decoded.key_id.len != PROVISION_KEY_ID_BYTES)
		good =
		    err_set(err, ERR_INVALID, "the key's id has %zu octets, not %d", decoded.key_id.len, PROVISION_KEY_ID_BYTES);
	if (good && decoded.pkcs12.len > PROVISION_PKCS12_MAX_BYTES)
		good = err_set(err, ERR_LIMIT, "the PKCS#12 file has more than %u bytes", PROVISION_PKCS12_MAX_BYTES);
	if (!good) {
		import_task_clear(&decoded);
		return false;
	}
	*task = decoded;
	return true;
}

void import_task_clear(struct import_task *task)
{
	free(task->address);
	piece_wipe_owned(&task->pkcs12);
	piece_wipe_owned(&task->password);
	piece_clear_owned(&task->seal_context);
	piece_clear_owned(&task->key_id);
	free(task->fingerprint);
	*task = (struct import_task){0};
}

/* ---- import result ---- */

static void put_facts(struct buf *out, const struct certificate_facts *facts)
{
	msg_put_u32(out, (uint32_t)facts->n_chain);
	for (size_t i = 0; i < facts->n_chain; i++)
		msg_put_bytes(out, facts->chain[i]);
	piece_put_texts(out, facts->names, facts->n_names);
	msg_put_text(out, facts->subject);
	msg_put_text(out, facts->issuer);
	msg_put_text(out, facts->serial);
	msg_put_text(out, facts->fingerprint);
	msg_put_text(out, facts->key_type);
	msg_put_i64(out, facts->not_before);
	msg_put_i64(out, facts->not_after);
}

static void get_facts(struct msg *msg, struct certificate_facts *facts)
{
	facts->n_chain = msg_get_count(msg, 4);
	facts->chain = mem_new_array(facts->n_chain, sizeof *facts->chain);
	for (size_t i = 0; i < facts->n_chain; i++)
		facts->chain[i] = piece_get_owned(msg);
	facts->names = piece_get_texts(msg, &facts->n_names);
	facts->subject = msg_get_text(msg);
	facts->issuer = msg_get_text(msg);
	facts->serial = msg_get_text(msg);
	facts->fingerprint = msg_get_text(msg);
	facts->key_type = msg_get_text(msg);
	facts->not_before = msg_get_i64(msg);
	facts->not_after = msg_get_i64(msg);
}

void certificate_facts_clear(struct certificate_facts *facts)
{
	for (size_t i = 0; i < facts->n_chain; i++)
		piece_clear_owned(&facts->chain[i]);
	free(facts->chain);
	piece_clear_texts(facts->names, facts->n_names);
	free(facts->subject);
	free(facts->issuer);
	free(facts->serial);
	free(facts->fingerprint);
	free(facts->key_type);
	*facts = (struct certificate_facts){0};
}

void import_result_encode(struct buf *out, const struct import_result *result)
{
	put_facts(out, &result->facts);
	msg_put_bytes(out, result->key_id);
	msg_put_text(out, result->rung);
	piece_put_attributes(out, &result->attributes);
	msg_put_bytes(out, result->sealed_password);
	piece_put_texts(out, result->warnings, result->n_warnings);
}

bool import_result_decode(struct msg *msg, struct import_result *result, struct err *err)
{
	struct import_result decoded = {0};

	get_facts(msg, &decoded.facts);
	decoded.key_id = piece_get_owned(msg);
	decoded.rung = msg_get_text(msg);
	piece_get_attributes(msg, &decoded.attributes);
	decoded.sealed_password = piece_get_owned(msg);
	decoded.warnings = piece_get_texts(msg, &decoded.n_warnings);
	if (!msg_end(msg, "import result", err)) {
		import_result_clear(&decoded);
		return false;
	}
	*result = decoded;
	return true;
}

void import_result_clear(struct import_result *result)
{
	certificate_facts_clear(&result->facts);
	piece_clear_owned(&result->key_id);
	free(result->rung);
	piece_clear_owned(&result->sealed_password);
	piece_clear_texts(result->warnings, result->n_warnings);
	*result = (struct import_result){0};
}

/* ---- test results ---- */

void test_results_encode(struct buf *out, const struct test_results *results)
{
	msg_put_u32(out, (uint32_t)results->count);
	for (size_t i = 0; i < results->count; i++) {
		msg_put_u64(out, results->items[i].certificate);
		piece_put_flag(out, results->items[i].passed);
		msg_put_u32(out, results->items[i].milliseconds);
		msg_put_text(out, results->items[i].text);
	}
}

bool test_results_decode(struct msg *msg, struct test_results *results, struct err *err)
{
	struct test_results decoded = {.count = msg_get_count(msg, 8 + 1 + 4 + 4)};

	decoded.items = mem_new_array(decoded.count, sizeof *decoded.items);
	for (size_t i = 0; i < decoded.count; i++) {
		decoded.items[i].certificate = msg_get_u64(msg);
		decoded.items[i].passed = piece_get_flag(msg);
		decoded.items[i].milliseconds = msg_get_u32(msg);
		decoded.items[i].text = msg_get_text(msg);
	}
	if (!msg_end(msg, "test results", err)) {
		test_results_clear(&decoded);
		return false;
	}
	*results = decoded;
	return true;
}

void test_results_clear(struct test_results *results)
{
	for (size_t i = 0; i < results->count; i++)
		free(results->items[i].text);
	free(results->items);
	*results = (struct test_results){0};
}

void sealed_secret_encode(struct buf *out, const struct sealed_secret *sealed)
{
	buf_reserve(out, sealed->context.len + sealed->secret.len + 8);
	msg_put_bytes(out, sealed->context);
	msg_put_bytes(out, sealed->secret);
}

bool sealed_secret_decode(struct msg *msg, struct sealed_secret *sealed, struct err *err)
{
	sealed->context = msg_get_bytes(msg);
	sealed->secret = msg_get_bytes(msg);
	return msg_end(msg, "secret", err);
}
