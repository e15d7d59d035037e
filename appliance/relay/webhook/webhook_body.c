#include "appliance/relay/webhook/webhook_body.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_encoded(struct buf *out, const char *text)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._*";

	for (; *text != '\0'; text++) {
		if (strchr(plain, *text) != NULL)
			buf_put_byte(out, (uint8_t)*text);
		else
			buf_printf(out, "%%%02X", (unsigned)(uint8_t)*text);
	}
}

static void put_field(struct buf *out, const char *name, const char *value)
{
	if (out->len > 0)
		buf_put_byte(out, '&');
	buf_put_text(out, name);
	buf_put_byte(out, '=');
	put_encoded(out, value);
}

size_t webhook_body_write(struct buf *out, const char *api_key, const char *server, enum api_event_kind kind,
			  const struct event_row *rows, size_t count, uint64_t after)
{
	struct event_row *chosen = mem_new_array(count, sizeof *chosen);
	struct buf json = {0};
	size_t n_chosen = 0;

	for (size_t i = 0; i < count; i++)
		if (rows[i].id > after && (kind != API_BOUNCES || rows[i].status == QUEUE_LOG_FAILED))
			chosen[n_chosen++] = rows[i];
	if (n_chosen > 0) {
		api_events_write(&json, kind, chosen, n_chosen);
		if (api_key != NULL)
			put_field(out, "api_key", api_key);
		put_field(out, "server_composition", server);
		put_field(out, "event_type", api_event_kind_name(kind));
		put_field(out, "event", buf_text(&json));
	}
	buf_clear(&json);
	free(chosen);
	return n_chosen;
}

void webhook_sign(char out[static WEBHOOK_SIGNATURE_BYTES], struct bytes secret, int64_t timestamp, struct bytes body)
{
	struct buf text = {0};
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	buf_printf(&text, "%" PRId64 ".", timestamp);
	buf_put_bytes(&text, body);
	if (HMAC(EVP_sha256(), secret.data, (int)secret.len, text.data, text.len, digest, &len) == NULL)
		abort();
	buf_wipe_clear(&text);
	memcpy(out, "v1=", 3);
	hex_encode(out + 3, bytes_of(digest, 32));
}
