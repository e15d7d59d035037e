#include "hsm/sign/handshake.h"

#include <openssl/err.h>
#include <openssl/rsa.h>

#include "hsm/protocol/tls_text.h"

static const EVP_MD *digest_of(enum sign_digest algorithm)
{
	return algorithm == SIGN_SHA256 ? EVP_sha256() : algorithm == SIGN_SHA384 ? EVP_sha384() : EVP_sha512();
}

static bool set_padding(EVP_PKEY_CTX *context, EVP_PKEY *key, bool pss)
{
	if (EVP_PKEY_is_a(key, "RSA") != 1 || !pss)
		return true;
	return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
	       EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1;
}

static bool verifies(EVP_PKEY *key, const struct sign_request *request, struct bytes signature)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY_CTX *padding;
	bool good = context != NULL && EVP_DigestVerifyInit(context, &padding, digest_of(request->algorithm), NULL, key) == 1 &&
		    set_padding(padding, key, request->pss) &&
		    EVP_DigestVerify(context, signature.data, signature.len, request->tls_text, request->tls_len) == 1;

	EVP_MD_CTX_free(context);
	ERR_clear_error();
	return good;
}

bool handshake_sign(struct token_key *key, EVP_PKEY *public_key, const struct sign_request *request, struct buf *signature,
		    enum token_fault *fault, struct err *err)
{
	uint8_t digest[SIGN_DIGEST_MAX_BYTES];
	struct buf made = {0};
	bool good;

	*fault = TOKEN_FAULT_NONE;
	if (!tls_text_is_server_signature(bytes_of(request->tls_text, request->tls_len)))
		return err_set(err, ERR_INVALID, "a TLS key signs nothing but the handshakes of a TLS server");
	if (EVP_Digest(request->tls_text, request->tls_len, digest, NULL, digest_of(request->algorithm), NULL) != 1)
		return err_set(err, ERR_INTERNAL, "hashing the handshake failed");
	good = token_sign(key, request->algorithm, request->pss, bytes_of(digest, sign_digest_bytes(request->algorithm)), &made,
			  fault, err);
	if (good && !verifies(public_key, request, buf_bytes(&made))) {
		*fault = TOKEN_FAULT_RETRY;
		good = err_set(err, ERR_INTEGRITY, "the token's signature does not verify with the certificate");
	}
	if (good)
		buf_put_bytes(signature, buf_bytes(&made));
	buf_clear(&made);
	return good;
}

void handshake_example(struct sign_request *request, const uint8_t random[static 32])
{
	*request = (struct sign_request){.algorithm = SIGN_SHA256, .tls_len = TLS_TEXT_EXAMPLE_BYTES};
	tls_text_example(request->tls_text, random);
}
