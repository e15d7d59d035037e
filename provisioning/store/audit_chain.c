#include "provisioning/store/audit_chain.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include "appliance/base/checkpoint_text.h"

struct audit_link audit_link_next(const struct audit_link *previous, const struct audit_entry *entry)
{
	struct buf fields = {0};
	struct audit_link link;

	buf_put(&fields, previous->hash, sizeof previous->hash);
	msg_put_u64(&fields, entry->number);
	msg_put_i64(&fields, entry->time_ms);
	msg_put_text(&fields, entry->who);
	msg_put_text(&fields, entry->from);
	msg_put_text(&fields, entry->what);
	msg_put_text(&fields, entry->result);
	SHA256(fields.data, fields.len, link.hash);
	buf_clear(&fields);
	return link;
}

void audit_checkpoint_clear(struct audit_checkpoint *checkpoint)
{
	free((void *)checkpoint->signature.data);
	*checkpoint = (struct audit_checkpoint){0};
}

void audit_checkpoints_clear(struct audit_checkpoints *checkpoints)
{
	for (size_t i = 0; i < checkpoints->count; i++)
		audit_checkpoint_clear(&checkpoints->items[i]);
	free(checkpoints->items);
	*checkpoints = (struct audit_checkpoints){0};
}

void audit_keys_clear(struct audit_keys *keys)
{
	for (size_t i = 0; i < keys->count; i++)
		free((void *)keys->items[i].public_key.data);
	free(keys->items);
	*keys = (struct audit_keys){0};
}

struct audit_link audit_fingerprint(struct bytes public_key)
{
	struct audit_link fingerprint;

	SHA256(public_key.data, public_key.len, fingerprint.hash);
	return fingerprint;
}

bool audit_checkpoint_verifies(const struct audit_checkpoint *checkpoint, struct bytes public_key)
{
	const uint8_t *at = public_key.data;
	EVP_PKEY *key = d2i_PUBKEY(NULL, &at, (long)public_key.len);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	struct buf text = {0};
	bool good = false;

	checkpoint_text(&text, checkpoint->number, checkpoint->link.hash, checkpoint->time_ms);
	if (key != NULL && context != NULL && EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key) == 1)
		good = EVP_DigestVerify(context, checkpoint->signature.data, checkpoint->signature.len, text.data, text.len) == 1;
	EVP_MD_CTX_free(context);
	EVP_PKEY_free(key);
	ERR_clear_error();
	buf_clear(&text);
	return good;
}
