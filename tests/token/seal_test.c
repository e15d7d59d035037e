/* Sealing secrets under a token key: by GCM, and by CBC and HMAC where a token has no usable GCM. */
#include <stdlib.h>
#include <string.h>

#include "appliance/base/msg.h"
#include "hsm/provision/seal.h"
#include "hsm/token/cipher.h"
#include "hsm/token/cryptoki.h"
#include "tests/token/provisioning.h"
#include "tests/unit/test.h"

static const struct {
	const char *name, *weakness;
	enum seal_mechanism mechanism;
	const char *shown, *objects;
} tokens[] = {
    {"SoftHSM", "", SEAL_GCM, "AES-256-GCM", "4 inkan-seal 696e6b616e2d7365616c\n"},
    {"without GCM", "no-gcm", SEAL_CBC_HMAC, "AES-256-CBC-PAD + HMAC-SHA256",
     "4 inkan-seal 696e6b616e2d7365616c\n4 inkan-seal-mac 696e6b616e2d7365616c2d6d6163\n"},
    {"GCM that forgets the context", "forgetful", SEAL_CBC_HMAC, "AES-256-CBC-PAD + HMAC-SHA256",
     "4 inkan-seal 696e6b616e2d7365616c\n4 inkan-seal-mac 696e6b616e2d7365616c2d6d6163\n"},
};

#define N_TOKENS (sizeof tokens / sizeof *tokens)

static void open_token(struct desk *desk, size_t i)
{
	provisioning_fresh();
	provisioning_settings(&desk->settings);
	free(desk->settings.module);
	desk->settings.module = provisioning_module("weak_module");
	setenv("INKAN_WEAK_MODULE", softhsm_module(), 1);
	setenv("INKAN_WEAK", tokens[i].weakness, 1);
	desk_open(desk);
	test_case("%s", tokens[i].name);
}

static const struct session *session_of(const struct desk *desk)
{
	return &desk->provision.connection.session;
}

static void the_key_is_made_once_and_found_again(void)
{
	for (size_t i = 0; i < N_TOKENS; i++) {
		struct seal none = {0}, first = {0}, second = {0};
		struct desk desk;
		char *objects;
		struct err err;

		open_token(&desk, i);
		CHECK_OK(seal_find(session_of(&desk), &none, &err), &err);
		CHECK_INT(none.mechanism, SEAL_NONE);
		CHECK_OK(seal_prepare(session_of(&desk), &first, &err), &err);
		CHECK_OK(seal_prepare(session_of(&desk), &second, &err), &err);
		CHECK_INT(first.mechanism, tokens[i].mechanism);
		CHECK_TEXT(seal_name(first.mechanism), tokens[i].shown);
		CHECK(first.key == second.key && first.mac_key == second.mac_key);
		objects = desk_objects(&desk);
		CHECK_TEXT(objects, tokens[i].objects);
		free(objects);
		desk_close(&desk);
	}
}

static void the_keys_cannot_be_read(void)
{
	for (size_t i = 0; i < N_TOKENS; i++) {
		struct seal seal = {0};
		struct desk desk;
		struct err err;

		open_token(&desk, i);
		if (CHECK_OK(seal_prepare(session_of(&desk), &seal, &err), &err)) {
			unsigned long keys[] = {seal.key, seal.mac_key};

			for (size_t k = 0; k < 2 && keys[k] != 0; k++) {
				uint8_t value[64];
				CK_ATTRIBUTE secret = {CKA_VALUE, value, sizeof value};
				bool always = false, never = false;

				CHECK_INT(session_functions(session_of(&desk))
					      ->C_GetAttributeValue(session_of(&desk)->handle, keys[k], &secret, 1),
					  CKR_ATTRIBUTE_SENSITIVE);
				CHECK_OK(object_flag(session_of(&desk), keys[k], CKA_ALWAYS_SENSITIVE, &always, &err), &err);
				CHECK_OK(object_flag(session_of(&desk), keys[k], CKA_NEVER_EXTRACTABLE, &never, &err), &err);
				CHECK(always && never);
			}
		}
		desk_close(&desk);
	}
}

static void what_is_sealed_opens_again(void)
{
	static const char *const secrets[] = {"", "x", "0123456789abcdef", "日本語の暗証番号", NULL};

	for (size_t i = 0; i < N_TOKENS; i++) {
		char longest[SECRET_MAX_BYTES];
		struct seal seal = {0};
		struct desk desk;
		struct err err;

		memset(longest, 'p', sizeof longest);
		open_token(&desk, i);
		CHECK_OK(seal_prepare(session_of(&desk), &seal, &err), &err);
		for (size_t s = 0; s < sizeof secrets / sizeof *secrets; s++) {
			struct bytes secret = secrets[s] != NULL ? bytes_text(secrets[s]) : bytes_of(longest, sizeof longest);
			struct buf sealed = {0};
			struct secret *opened = NULL;

			if (CHECK_OK(seal_close(session_of(&desk), &seal, bytes_text("context"), secret, &sealed, &err), &err))
				opened = seal_open(session_of(&desk), &seal, bytes_text("context"), buf_bytes(&sealed), &err);
			if (CHECK_OK(opened != NULL, &err))
				CHECK_BYTES(secret_bytes(opened), secret);
			secret_free(opened);
			buf_clear(&sealed);
		}
		desk_close(&desk);
	}
}

static void the_same_secret_is_never_sealed_alike(void)
{
	for (size_t i = 0; i < N_TOKENS; i++) {
		struct buf first = {0}, second = {0};
		struct seal seal = {0};
		struct desk desk;
		struct err err;

		open_token(&desk, i);
		CHECK_OK(seal_prepare(session_of(&desk), &seal, &err), &err);
		CHECK_OK(seal_close(session_of(&desk), &seal, (struct bytes){0}, bytes_text("secret"), &first, &err), &err);
		CHECK_OK(seal_close(session_of(&desk), &seal, (struct bytes){0}, bytes_text("secret"), &second, &err), &err);
		CHECK(!bytes_equal(buf_bytes(&first), buf_bytes(&second)));
		buf_clear(&first);
		buf_clear(&second);
		desk_close(&desk);
	}
}

static void expect_closed(const struct desk *desk, const struct seal *seal, const char *context, struct bytes sealed)
{
	struct err err = {0};
	struct secret *opened = seal_open(session_of(desk), seal, bytes_text(context), sealed, &err);

	CHECK(opened == NULL);
	CHECK_INT(err.code, ERR_INTEGRITY);
	CHECK_CONTAINS(err.text, "the sealed secret does not open");
	secret_free(opened);
}

/* Every octet, every cut, one octet more, another context. */
static void what_was_tampered_with_does_not_open(void)
{
	for (size_t i = 0; i < N_TOKENS; i++) {
		struct buf sealed = {0};
		struct seal seal = {0};
		struct desk desk;
		struct err err;

		open_token(&desk, i);
		CHECK_OK(seal_prepare(session_of(&desk), &seal, &err), &err);
		CHECK_OK(seal_close(session_of(&desk), &seal, bytes_text("context"), bytes_text("secret"), &sealed, &err), &err);
		for (size_t at = 0; at < sealed.len; at++) {
			test_case("%s, octet %zu", tokens[i].name, at);
			sealed.data[at] ^= 0x01;
			expect_closed(&desk, &seal, "context", buf_bytes(&sealed));
			sealed.data[at] ^= 0x01;
			test_case("%s, first %zu octets", tokens[i].name, at);
			expect_closed(&desk, &seal, "context", bytes_of(sealed.data, at));
		}
		test_case("%s, another context", tokens[i].name);
		expect_closed(&desk, &seal, "contexu", buf_bytes(&sealed));
		expect_closed(&desk, &seal, "", buf_bytes(&sealed));
		test_case("%s, one octet more", tokens[i].name);
		buf_put_byte(&sealed, 0);
		expect_closed(&desk, &seal, "context", buf_bytes(&sealed));
		buf_clear(&sealed);
		desk_close(&desk);
	}
}

static void another_token_does_not_open_it(void)
{
	struct buf sealed = {0};
	struct seal seal = {0};
	struct desk desk;
	struct err err;

	open_token(&desk, 0);
	CHECK_OK(seal_prepare(session_of(&desk), &seal, &err), &err);
	CHECK_OK(seal_close(session_of(&desk), &seal, bytes_text("context"), bytes_text("secret"), &sealed, &err), &err);
	desk_close(&desk);
	open_token(&desk, 0);
	CHECK_OK(seal_prepare(session_of(&desk), &seal, &err), &err);
	expect_closed(&desk, &seal, "context", buf_bytes(&sealed));
	desk_close(&desk);
	open_token(&desk, 1);
	CHECK_OK(seal_prepare(session_of(&desk), &seal, &err), &err);
	expect_closed(&desk, &seal, "context", buf_bytes(&sealed));
	desk_close(&desk);
	buf_clear(&sealed);
}

static void without_a_key_nothing_is_sealed(void)
{
	struct seal none = {0};
	struct buf sealed = {0};
	struct desk desk;
	struct err err;

	open_token(&desk, 0);
	CHECK(!seal_close(session_of(&desk), &none, (struct bytes){0}, bytes_text("secret"), &sealed, &err));
	CHECK_INT(err.code, ERR_NOT_FOUND);
	CHECK_INT(sealed.len, 0);
	desk_close(&desk);
}

/* An earlier try that ended between its two keys left the MAC key alone: it does not decide the mechanism. */
static void a_stale_mac_key_is_replaced(void)
{
	unsigned long stale;
	struct seal seal = {0};
	struct desk desk;
	char *objects;
	struct err err;

	open_token(&desk, 0);
	CHECK_OK(secret_key_generate(session_of(&desk), SECRET_KEY_HMAC_SHA256, SEAL_MAC_KEY_LABEL, &stale, &err), &err);
	CHECK_OK(seal_prepare(session_of(&desk), &seal, &err), &err);
	CHECK_INT(seal.mechanism, SEAL_GCM);
	objects = desk_objects(&desk);
	CHECK_TEXT(objects, tokens[0].objects);
	free(objects);
	desk_close(&desk);
}

/* A key of that name whose value can be read is nobody's seal key. */
static void a_readable_key_of_that_name_is_not_taken(void)
{
	CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
	struct template readable = {0};
	CK_OBJECT_HANDLE object;
	struct seal seal = {0};
	struct desk desk;
	struct err err;

	open_token(&desk, 0);
	template_flag(&readable, CKA_TOKEN, true);
	template_flag(&readable, CKA_SENSITIVE, false);
	template_flag(&readable, CKA_EXTRACTABLE, true);
	template_number(&readable, CKA_VALUE_LEN, 32);
	template_text(&readable, CKA_LABEL, SEAL_KEY_LABEL);
	CHECK_INT(session_functions(session_of(&desk))
		      ->C_GenerateKey(session_of(&desk)->handle, &mechanism, readable.items, readable.count, &object),
		  CKR_OK);
	CHECK_OK(seal_find(session_of(&desk), &seal, &err), &err);
	CHECK_INT(seal.mechanism, SEAL_NONE);
	desk_close(&desk);
}

int main(void)
{
	TEST(the_key_is_made_once_and_found_again);
	TEST(the_keys_cannot_be_read);
	TEST(what_is_sealed_opens_again);
	TEST(the_same_secret_is_never_sealed_alike);
	TEST(what_was_tampered_with_does_not_open);
	TEST(another_token_does_not_open_it);
	TEST(without_a_key_nothing_is_sealed);
	TEST(a_stale_mac_key_is_replaced);
	TEST(a_readable_key_of_that_name_is_not_taken);
	return test_finish();
}
