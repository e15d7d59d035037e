#include "hsm/provision/seal.h"

#include <openssl/crypto.h>

#include "appliance/base/msg.h"
#include "hsm/token/cipher.h"
#include "hsm/token/object.h"

#define SEAL_VERSION 1

const char *seal_name(enum seal_mechanism mechanism)
{
	static const char *const names[] = {
	    [SEAL_NONE] = "",
	    [SEAL_GCM] = "AES-256-GCM",
	    [SEAL_CBC_HMAC] = "AES-256-CBC-PAD + HMAC-SHA256",
	};

	return names[mechanism];
}

struct sealed {
	uint8_t version, mechanism;
	struct bytes iv, ciphertext, mac;
};

/* What the MAC of SEAL_CBC_HMAC covers: everything, each with its length. */
static void authenticated_octets(struct buf *out, const struct sealed *sealed, struct bytes context)
{
	msg_put_u8(out, sealed->version);
	msg_put_u8(out, sealed->mechanism);
	msg_put_bytes(out, sealed->iv);
	msg_put_bytes(out, context);
	msg_put_bytes(out, sealed->ciphertext);
}

static bool compute_mac(const struct session *session, const struct seal *seal, const struct sealed *sealed, struct bytes context,
			uint8_t mac[static HMAC_SHA256_BYTES], struct err *err)
{
	struct buf covered = {0};
	bool good;

	authenticated_octets(&covered, sealed, context);
	good = token_hmac(session, seal->mac_key, buf_bytes(&covered), mac, err);
	buf_clear(&covered);
	return good;
}

/* ---- close ---- */

static void put_sealed(struct buf *out, const struct sealed *sealed)
{
	msg_put_u8(out, sealed->version);
	msg_put_u8(out, sealed->mechanism);
	msg_put_bytes(out, sealed->iv);
	msg_put_bytes(out, sealed->ciphertext);
	msg_put_bytes(out, sealed->mac);
}

static bool close_gcm(const struct session *session, const struct seal *seal, struct bytes context, struct bytes plain,
		      struct buf *out, struct err *err)
{
	uint8_t iv[GCM_IV_BYTES] = {0};
	struct buf ciphertext = {0};
	bool good = session_random(session, iv, sizeof iv, err) &&
		    token_gcm_encrypt(session, seal->key, iv, context, plain, &ciphertext, err);

	if (good)
		put_sealed(out, &(struct sealed){SEAL_VERSION, SEAL_GCM, bytes_of(iv, sizeof iv), buf_bytes(&ciphertext), {0}});
	buf_clear(&ciphertext);
	return good;
}

static bool close_cbc(const struct session *session, const struct seal *seal, struct bytes context, struct bytes plain,
		      struct buf *out, struct err *err)
{
	uint8_t iv[CBC_IV_BYTES] = {0}, mac[HMAC_SHA256_BYTES] = {0};
	struct buf ciphertext = {0};
	struct sealed sealed = {.version = SEAL_VERSION, .mechanism = SEAL_CBC_HMAC, .iv = bytes_of(iv, sizeof iv)};
	bool good =
	    session_random(session, iv, sizeof iv, err) && token_cbc_encrypt(session, seal->key, iv, plain, &ciphertext, err);

	sealed.ciphertext = buf_bytes(&ciphertext);
	good = good && compute_mac(session, seal, &sealed, context, mac, err);
	sealed.mac = bytes_of(mac, sizeof mac);
	if (good)
		put_sealed(out, &sealed);
	buf_clear(&ciphertext);
	return good;
}

bool seal_close(const struct session *session, const struct seal *seal, struct bytes context, struct bytes secret,
		struct buf *out, struct err *err)
{
	struct buf plain = {0};
	bool good;

	if (seal->mechanism == SEAL_NONE)
		return err_set(err, ERR_NOT_FOUND, "the token has no seal key");
	/* With its length in front: some tokens do not encrypt nothing, and a password may be empty. */
	buf_reserve(&plain, secret.len + 4);
	msg_put_bytes(&plain, secret);
	good = (seal->mechanism == SEAL_GCM ? close_gcm : close_cbc)(session, seal, context, buf_bytes(&plain), out, err);
	buf_wipe_clear(&plain);
	return good;
}

/* ---- open ---- */

static bool open_gcm(const struct session *session, const struct seal *seal, const struct sealed *sealed, struct bytes context,
		     struct buf *plain, struct err *err)
{
	if (sealed->iv.len != GCM_IV_BYTES || sealed->mac.len != 0)
		return err_set(err, ERR_INVALID, "malformed");
	return token_gcm_decrypt(session, seal->key, sealed->iv.data, context, sealed->ciphertext, plain, err);
}

static bool open_cbc(const struct session *session, const struct seal *seal, const struct sealed *sealed, struct bytes context,
		     struct buf *plain, struct err *err)
{
	uint8_t mac[HMAC_SHA256_BYTES];

	if (sealed->iv.len != CBC_IV_BYTES || sealed->mac.len != sizeof mac)
		return err_set(err, ERR_INVALID, "malformed");
	if (!compute_mac(session, seal, sealed, context, mac, err))
		return false;
	if (CRYPTO_memcmp(mac, sealed->mac.data, sizeof mac) != 0)
		return err_set(err, ERR_INTEGRITY, "the MAC does not fit");
	return token_cbc_decrypt(session, seal->key, sealed->iv.data, sealed->ciphertext, plain, err);
}

static bool parse(struct bytes octets, struct sealed *sealed, struct err *err)
{
	struct msg msg = msg_of(octets);

	sealed->version = msg_get_u8(&msg);
	sealed->mechanism = msg_get_u8(&msg);
	sealed->iv = msg_get_bytes(&msg);
	sealed->ciphertext = msg_get_bytes(&msg);
	sealed->mac = msg_get_bytes(&msg);
	return msg_end(&msg, "sealed secret", err) &&
	       (sealed->version == SEAL_VERSION ||
		err_set(err, ERR_INVALID, "sealed in form %u, which this version does not know", sealed->version));
}

static bool decrypt(const struct session *session, const struct seal *seal, struct bytes context, struct bytes octets,
		    struct buf *plain, struct err *err)
{
	struct sealed sealed;

	if (!parse(octets, &sealed, err))
		return false;
	if (sealed.mechanism != seal->mechanism)
		return err_set(err, ERR_INVALID, "sealed with another mechanism than the token's seal key has");
	return (seal->mechanism == SEAL_GCM ? open_gcm : open_cbc)(session, seal, &sealed, context, plain, err);
}

struct secret *seal_open(const struct session *session, const struct seal *seal, struct bytes context, struct bytes sealed,
			 struct err *err)
{
	struct secret *secret = NULL;
	struct buf plain = {0};
	struct bytes inside;
	struct msg msg;

	if (seal->mechanism == SEAL_NONE) {
		err_set(err, ERR_NOT_FOUND, "the token has no seal key");
		return NULL;
	}
	if (decrypt(session, seal, context, sealed, &plain, err)) {
		msg = msg_of(buf_bytes(&plain));
		inside = msg_get_bytes(&msg);
		if (msg_end(&msg, "secret", err))
			secret = secret_new(inside, err);
	}
	buf_wipe_clear(&plain);
	if (secret == NULL && err != NULL) {
		err->code = ERR_INTEGRITY;
		err_prefix(err, "the sealed secret does not open");
	}
	return secret;
}

/* ---- keys ---- */

bool seal_find(const struct session *session, struct seal *seal, struct err *err)
{
	struct seal found = {SEAL_NONE, 0, 0};
	size_t keys = 0, mac_keys = 0;

	if (!secret_key_find(session, SECRET_KEY_AES_256, SEAL_KEY_LABEL, &found.key, 1, &keys, err) ||
	    !secret_key_find(session, SECRET_KEY_HMAC_SHA256, SEAL_MAC_KEY_LABEL, &found.mac_key, 1, &mac_keys, err))
		return false;
	if (keys > 0)
		found.mechanism = mac_keys > 0 ? SEAL_CBC_HMAC : SEAL_GCM;
	*seal = found;
	return true;
}

/* Seals and opens something, and sees that another context does not open it. */
static bool works(const struct session *session, const struct seal *seal, struct err *err)
{
	struct bytes text = bytes_text("trial"), context = bytes_text("context");
	struct secret *opened = NULL, *wrong = NULL;
	struct buf sealed = {0};
	bool good = seal_close(session, seal, context, text, &sealed, err);

	if (good) {
		wrong = seal_open(session, seal, bytes_text("another"), buf_bytes(&sealed), NULL);
		opened = seal_open(session, seal, context, buf_bytes(&sealed), err);
		good = opened != NULL;
	}
	if (good && (wrong != NULL || !bytes_equal(secret_bytes(opened), text)))
		good = err_set(err, ERR_INTEGRITY, "the token does not authenticate what it decrypts");
	secret_free(opened);
	secret_free(wrong);
	buf_clear(&sealed);
	return good;
}

static bool add_mac_key(const struct session *session, struct seal *seal, struct err *err)
{
	seal->mechanism = SEAL_CBC_HMAC;
	if (!secret_key_generate(session, SECRET_KEY_HMAC_SHA256, SEAL_MAC_KEY_LABEL, &seal->mac_key, err))
		return false;
	if (works(session, seal, err))
		return true;
	secret_key_destroy(session, seal->mac_key);
	return false;
}

/* `stale_mac_key` is what an earlier try left behind that did not come to its end; 0: none. */
static bool make_keys(const struct session *session, unsigned long stale_mac_key, struct seal *seal, struct err *err)
{
	struct seal made = {SEAL_GCM, 0, 0};
	struct err why = {0};

	if (stale_mac_key != 0)
		secret_key_destroy(session, stale_mac_key);
	if (!secret_key_generate(session, SECRET_KEY_AES_256, SEAL_KEY_LABEL, &made.key, err))
		return err_prefix(err, "the seal key cannot be made");
	if (!works(session, &made, NULL) && !add_mac_key(session, &made, &why)) {
		secret_key_destroy(session, made.key);
		return err_set(err, why.code == ERR_INTEGRITY ? ERR_INVALID : why.code, "the seal key cannot be used: %s",
			       why.text);
	}
	*seal = made;
	return true;
}

bool seal_prepare(const struct session *session, struct seal *seal, struct err *err)
{
	struct seal found;

	if (!seal_find(session, &found, err))
		return false;
	if (found.mechanism == SEAL_NONE)
		return make_keys(session, found.mac_key, seal, err);
	*seal = found;
	return true;
}
