#include "hsm/protocol/worker.h"

#include <stdlib.h>

#define CERTIFICATE_LEAST_BYTES 17 /* id, purpose, length of the key id, number of certificates in the chain */

static void text_list_encode(struct buf *out, char *const *items, size_t count)
{
	msg_put_u32(out, (uint32_t)count);
	for (size_t i = 0; i < count; i++)
		msg_put_text(out, items[i]);
}

static char **text_list_decode(struct msg *msg, size_t *count)
{
	size_t n = msg_get_count(msg, 4);
	char **items = n > 0 ? mem_new_array(n, sizeof *items) : NULL;

	for (size_t i = 0; i < n; i++)
		items[i] = msg_get_text(msg);
	*count = n;
	return items;
}

static void text_list_clear(char **items, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(items[i]);
	free(items);
}

void hsm_settings_encode(struct buf *out, const struct hsm_settings *settings)
{
	msg_put_text(out, settings->module);
	msg_put_text(out, settings->token);
	msg_put_text(out, settings->backend);
	msg_put_u32(out, settings->threads);
	msg_put_text(out, settings->import_minimum);
	text_list_encode(out, settings->environment, settings->n_environment);
	text_list_encode(out, settings->writable, settings->n_writable);
	msg_put_u32(out, settings->canary_ms);
	msg_put_u32(out, settings->processes);
}

void hsm_settings_decode(struct msg *msg, struct hsm_settings *settings)
{
	*settings = (struct hsm_settings){0};
	settings->module = msg_get_text(msg);
	settings->token = msg_get_text(msg);
	settings->backend = msg_get_text(msg);
	settings->threads = msg_get_u32(msg);
	settings->import_minimum = msg_get_text(msg);
	settings->environment = text_list_decode(msg, &settings->n_environment);
	settings->writable = text_list_decode(msg, &settings->n_writable);
	settings->canary_ms = msg_get_u32(msg);
	settings->processes = msg_get_u32(msg);
}

void hsm_settings_clear(struct hsm_settings *settings)
{
	free(settings->module);
	free(settings->token);
	free(settings->backend);
	free(settings->import_minimum);
	text_list_clear(settings->environment, settings->n_environment);
	text_list_clear(settings->writable, settings->n_writable);
	*settings = (struct hsm_settings){0};
}

static void certificate_encode(struct buf *out, const struct worker_certificate *certificate)
{
	msg_put_u64(out, certificate->id);
	msg_put_u8(out, certificate->tls ? 1 : 0);
	msg_put_bytes(out, certificate->key_id);
	msg_put_u32(out, (uint32_t)certificate->n_chain);
	for (size_t i = 0; i < certificate->n_chain; i++)
		msg_put_bytes(out, certificate->chain[i]);
}

static void certificate_decode(struct msg *msg, struct worker_certificate *certificate)
{
	unsigned tls;

	certificate->id = msg_get_u64(msg);
	tls = msg_get_u8(msg);
	msg->bad |= tls > 1;
	certificate->tls = tls == 1;
	certificate->key_id = msg_get_bytes(msg);
	certificate->n_chain = msg_get_count(msg, 4);
	if (certificate->n_chain > 0)
		certificate->chain = mem_new_array(certificate->n_chain, sizeof *certificate->chain);
	for (size_t i = 0; i < certificate->n_chain; i++)
		certificate->chain[i] = msg_get_bytes(msg);
}

void worker_certificates_encode(struct buf *out, const struct worker_certificates *certificates)
{
	msg_put_u32(out, (uint32_t)certificates->count);
	for (size_t i = 0; i < certificates->count; i++)
		certificate_encode(out, &certificates->items[i]);
}

bool worker_certificates_decode(struct msg *msg, struct worker_certificates *certificates, struct err *err)
{
	struct worker_certificates got = {0};
	struct msg own;

	buf_put_bytes(&got.storage, msg->rest);
	own = msg_of(buf_bytes(&got.storage));
	own.bad = msg->bad;
	got.count = msg_get_count(&own, CERTIFICATE_LEAST_BYTES);
	if (got.count > 0)
		got.items = mem_new_array(got.count, sizeof *got.items);
	for (size_t i = 0; i < got.count; i++)
		certificate_decode(&own, &got.items[i]);
	msg->rest = bytes_slice(msg->rest, msg->rest.len, msg->rest.len);
	msg->bad = own.bad;
	if (!msg_end(&own, "list of certificates", err)) {
		worker_certificates_clear(&got);
		return false;
	}
	*certificates = got;
	return true;
}

void worker_certificates_clear(struct worker_certificates *certificates)
{
	for (size_t i = 0; i < certificates->count; i++)
		free(certificates->items[i].chain);
	free(certificates->items);
	buf_clear(&certificates->storage);
	*certificates = (struct worker_certificates){0};
}

/* The certificates travel as one field, so that the copy that their views need is a copy of them alone, never of the PIN. */
void worker_start_encode(struct buf *out, const struct worker_start *start)
{
	struct buf certificates = {0};

	worker_certificates_encode(&certificates, &start->certificates);
	hsm_settings_encode(out, &start->settings);
	msg_put_bytes(out, buf_bytes(&certificates));
	msg_put_u8(out, start->has_pin ? 1 : 0);
	msg_put_u8(out, start->final_try ? 1 : 0);
	msg_put_bytes(out, start->has_pin ? start->pin : (struct bytes){0});
	buf_clear(&certificates);
}

bool worker_start_decode(struct msg *msg, struct worker_start *start, struct err *err)
{
	struct worker_start got = {0};
	struct msg certificates;
	unsigned has_pin, final_try;
	bool ok;

	hsm_settings_decode(msg, &got.settings);
	certificates = msg_of(msg_get_bytes(msg));
	has_pin = msg_get_u8(msg);
	got.has_pin = has_pin == 1;
	final_try = msg_get_u8(msg);
	got.final_try = final_try == 1;
	got.pin = msg_get_bytes(msg);
	ok = msg_end(msg, "start message", err) && worker_certificates_decode(&certificates, &got.certificates, err);
	if (ok && (has_pin > 1 || final_try > 1 || (!got.has_pin && got.pin.len > 0)))
		ok = err_set(err, ERR_INVALID, "malformed start message");
	if (!ok) {
		worker_start_clear(&got);
		return false;
	}
	*start = got;
	return true;
}

void worker_start_clear(struct worker_start *start)
{
	hsm_settings_clear(&start->settings);
	worker_certificates_clear(&start->certificates);
	*start = (struct worker_start){0};
}

void worker_ready_encode(struct buf *out, const struct worker_ready *ready)
{
	msg_put_text(out, ready->token);
	msg_put_text(out, ready->model);
	msg_put_text(out, ready->serial);
	msg_put_text(out, ready->firmware);
	msg_put_u32(out, ready->threads);
	msg_put_u32(out, ready->keys_loaded);
	msg_put_u32(out, ready->keys_missing);
}

bool worker_ready_decode(struct msg *msg, struct worker_ready *ready, struct err *err)
{
	struct worker_ready got = {0};

	got.token = msg_get_text(msg);
	got.model = msg_get_text(msg);
	got.serial = msg_get_text(msg);
	got.firmware = msg_get_text(msg);
	got.threads = msg_get_u32(msg);
	got.keys_loaded = msg_get_u32(msg);
	got.keys_missing = msg_get_u32(msg);
	if (!msg_end(msg, "ready message", err)) {
		worker_ready_clear(&got);
		return false;
	}
	*ready = got;
	return true;
}

void worker_ready_clear(struct worker_ready *ready)
{
	free(ready->token);
	free(ready->model);
	free(ready->serial);
	free(ready->firmware);
	*ready = (struct worker_ready){0};
}

void worker_health_encode(struct buf *out, const struct worker_health *health)
{
	msg_put_u8(out, health->good ? 1 : 0);
	msg_put_u32(out, health->milliseconds);
	msg_put_text(out, health->text);
}

bool worker_health_decode(struct msg *msg, struct worker_health *health, struct err *err)
{
	struct worker_health got = {0};

	got.good = msg_get_u8(msg) != 0;
	got.milliseconds = msg_get_u32(msg);
	got.text = msg_get_text(msg);
	if (!msg_end(msg, "health message", err)) {
		worker_health_clear(&got);
		return false;
	}
	*health = got;
	return true;
}

void worker_health_clear(struct worker_health *health)
{
	free(health->text);
	*health = (struct worker_health){0};
}

void worker_failed_encode(struct buf *out, const struct worker_failed *failed)
{
	msg_put_u32(out, failed->exit_code);
	msg_put_text(out, failed->text);
}

bool worker_failed_decode(struct msg *msg, struct worker_failed *failed, struct err *err)
{
	struct worker_failed got = {.exit_code = msg_get_u32(msg)};

	got.text = msg_get_text(msg);
	if (!msg_end(msg, "failure message", err)) {
		worker_failed_clear(&got);
		return false;
	}
	*failed = got;
	return true;
}

void worker_failed_clear(struct worker_failed *failed)
{
	free(failed->text);
	*failed = (struct worker_failed){0};
}
