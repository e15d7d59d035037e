#include <stdlib.h>
#include <string.h>

#include "hsm/protocol/pieces.h"

static enum key_purpose get_purpose(struct msg *msg)
{
	uint8_t purpose = msg_get_u8(msg);

	msg->bad |= purpose != KEY_PURPOSE_MAIL && purpose != KEY_PURPOSE_TLS;
	return (enum key_purpose)purpose;
}

/* ---- attributes ---- */

const unsigned long key_attribute_types[KEY_ATTRIBUTES] = {
    0x0001, 0x0002, 0x0103, 0x0162, 0x0163, 0x0165, 0x0164, 0x0108,
    0x0109, 0x0105, 0x0107, 0x010c, 0x0170, 0x0172, 0x0210, 0x0202,
};

static const char *const attribute_names[KEY_ATTRIBUTES] = {
    "token",
    "private",
    "sensitive",
    "extractable",
    "local",
    "always-sensitive",
    "never-extractable",
    "sign",
    "sign-recover",
    "decrypt",
    "unwrap",
    "derive",
    "modifiable",
    "destroyable",
    "wrap-with-trusted",
    "always-authenticate",
};

void key_attributes_put(struct buf *out, const struct key_attributes *attributes)
{
	const char *between = "";

	for (unsigned i = 0; i < KEY_ATTRIBUTES; i++) {
		uint32_t bit = UINT32_C(1) << i;

		if ((attributes->known & bit) == 0)
			continue;
		buf_printf(out, "%s%s%s", between, (attributes->set & bit) != 0 ? "" : "!", attribute_names[i]);
		between = " ";
	}
}

/* ---- request ---- */

void request_task_encode(struct buf *out, const struct request_task *task)
{
	msg_put_u8(out, (uint8_t)task->purpose);
	msg_put_text(out, task->name);
	msg_put_text(out, task->key_type);
	msg_put_bytes(out, task->key_id);
	piece_put_texts(out, task->dns_names, task->n_dns_names);
}

/* What the members mean together. */
static bool check_request(const struct request_task *task, struct err *err)
{
	if (task->key_id.len != PROVISION_KEY_ID_BYTES)
		return err_set(err, ERR_INVALID, "the key's id has %zu octets, not %d", task->key_id.len, PROVISION_KEY_ID_BYTES);
	if (task->n_dns_names > 0 && task->purpose != KEY_PURPOSE_TLS)
		return err_set(err, ERR_INVALID, "host names belong to the certificate of a TLS server");
	if (task->n_dns_names > REQUEST_DNS_NAMES_MAX)
		return err_set(err, ERR_LIMIT, "more than %d further host names", REQUEST_DNS_NAMES_MAX);
	return true;
}

bool request_task_decode(struct msg *msg, struct request_task *task, struct err *err)
{
	struct request_task decoded = {.purpose = get_purpose(msg)};
	bool good;

	decoded.name = msg_get_text(msg);
	decoded.key_type = msg_get_text(msg);
	decoded.key_id = piece_get_owned(msg);
	decoded.dns_names = piece_get_texts(msg, &decoded.n_dns_names);
	good = msg_end(msg, "request task", err) && check_request(&decoded, err);
	if (!good) {
		request_task_clear(&decoded);
		return false;
	}
	*task = decoded;
	return true;
}

void request_task_clear(struct request_task *task)
{
	free(task->name);
	free(task->key_type);
	piece_clear_owned(&task->key_id);
	piece_clear_texts(task->dns_names, task->n_dns_names);
	*task = (struct request_task){0};
}

void request_result_encode(struct buf *out, const struct request_result *result)
{
	msg_put_bytes(out, result->csr);
	msg_put_text(out, result->key_type);
	piece_put_attributes(out, &result->attributes);
}

bool request_result_decode(struct msg *msg, struct request_result *result, struct err *err)
{
	struct request_result decoded = {.csr = piece_get_owned(msg)};

	decoded.key_type = msg_get_text(msg);
	piece_get_attributes(msg, &decoded.attributes);
	if (!msg_end(msg, "request result", err)) {
		request_result_clear(&decoded);
		return false;
	}
	*result = decoded;
	return true;
}

void request_result_clear(struct request_result *result)
{
	piece_clear_owned(&result->csr);
	free(result->key_type);
	*result = (struct request_result){0};
}

/* ---- installation ---- */

void install_task_encode(struct buf *out, const struct install_task *task)
{
	msg_put_u8(out, (uint8_t)task->purpose);
	msg_put_text(out, task->name);
	msg_put_bytes(out, task->key_id);
	msg_put_bytes(out, task->csr);
	msg_put_bytes(out, task->certificates);
	msg_put_i64(out, task->now);
}

bool install_task_decode(struct msg *msg, struct install_task *task, struct err *err)
{
	struct install_task decoded = {.purpose = get_purpose(msg)};
	bool good;

	decoded.name = msg_get_text(msg);
	decoded.key_id = piece_get_owned(msg);
	decoded.csr = piece_get_owned(msg);
	decoded.certificates = piece_get_owned(msg);
	decoded.now = msg_get_i64(msg);
	good = msg_end(msg, "install task", err);
	if (good && decoded.certificates.len > PROVISION_PKCS12_MAX_BYTES)
		good = err_set(err, ERR_LIMIT, "the certificate file has more than %u bytes", PROVISION_PKCS12_MAX_BYTES);
	if (!good) {
		install_task_clear(&decoded);
		return false;
	}
	*task = decoded;
	return true;
}

void install_task_clear(struct install_task *task)
{
	free(task->name);
	piece_clear_owned(&task->key_id);
	piece_clear_owned(&task->csr);
	piece_clear_owned(&task->certificates);
	*task = (struct install_task){0};
}

/* ---- sweep ---- */

void sweep_task_encode(struct buf *out, const struct sweep_task *task)
{
	msg_put_u32(out, (uint32_t)task->count);
	for (size_t i = 0; i < task->count; i++)
		msg_put_bytes(out, task->key_ids[i]);
}

bool sweep_task_decode(struct msg *msg, struct sweep_task *task, struct err *err)
{
	struct sweep_task decoded = {.count = msg_get_count(msg, 4)};
	bool good;

	decoded.key_ids = mem_new_array(decoded.count, sizeof *decoded.key_ids);
	for (size_t i = 0; i < decoded.count; i++)
		decoded.key_ids[i] = piece_get_owned(msg);
	good = msg_end(msg, "sweep task", err);
	if (good && decoded.count > SWEEP_MAX_KEYS)
		good = err_set(err, ERR_LIMIT, "more than %d keys to sweep at once", SWEEP_MAX_KEYS);
	if (!good) {
		sweep_task_clear(&decoded);
		return false;
	}
	*task = decoded;
	return true;
}

void sweep_task_clear(struct sweep_task *task)
{
	for (size_t i = 0; i < task->count; i++)
		piece_clear_owned(&task->key_ids[i]);
	free(task->key_ids);
	*task = (struct sweep_task){0};
}
