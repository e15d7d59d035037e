#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/base/log.h"
#include "appliance/relay/tls/tls_private.h"

#define CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20"
#define SIGNATURES_EC "ECDSA+SHA256:ECDSA+SHA384"
#define SIGNATURES_PSS "rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:rsa_pss_rsae_sha512"
#define SIGNATURES_PKCS1 "RSA+SHA256:RSA+SHA384:RSA+SHA512"

/* The curves of TLS 1.2 are those that the worker knows (hsm/protocol/tls_text.h). */
#if OPENSSL_VERSION_NUMBER >= 0x30500000L
#define GROUPS "X25519MLKEM768:X25519:P-256:P-384"
#else
#define GROUPS "X25519:P-256:P-384"
#endif

static bool fail(struct err *err, const char *what)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;

	err_set(err, ERR_INVALID, "%s: %s", what, reason != NULL ? reason : "OpenSSL refuses it");
	ERR_clear_error();
	return false;
}

static X509 *parse(struct bytes der)
{
	const unsigned char *at = der.data;

	return d2i_X509(NULL, &at, (long)der.len);
}

static bool add_issuers(SSL_CTX *ssl, const struct certificate *certificate, struct err *err)
{
	for (size_t i = 1; i < certificate->n_chain; i++) {
		X509 *issuer = parse(certificate->chain[i]);
		bool added = issuer != NULL && SSL_CTX_add1_chain_cert(ssl, issuer) == 1;

		X509_free(issuer);
		if (!added)
			return fail(err, "the chain");
	}
	return true;
}

static bool add_key(SSL_CTX *ssl, const struct tls *tls, X509 *leaf, uint64_t certificate, struct err *err)
{
	EVP_PKEY *key = tls_key_new(tls->keys, X509_get0_pubkey(leaf), certificate, err);
	bool added;

	if (key == NULL)
		return false;
	added = SSL_CTX_use_PrivateKey(ssl, key) == 1 && SSL_CTX_check_private_key(ssl) == 1;
	EVP_PKEY_free(key);
	return added || fail(err, "the key");
}

static bool add_certificate(SSL_CTX *ssl, const struct tls *tls, const struct certificate *certificate, struct err *err)
{
	X509 *leaf = certificate->n_chain > 0 ? parse(certificate->chain[0]) : NULL;
	bool added = leaf != NULL && SSL_CTX_use_certificate(ssl, leaf) == 1;

	if (!added)
		fail(err, "the certificate");
	added = added && add_issuers(ssl, certificate, err) && add_key(ssl, tls, leaf, certificate->id, err);
	X509_free(leaf);
	return added || err_prefix(err, "TLS certificate of %s", certificate->address);
}

/* Tickets are of these certificates: after a renewal they resume nothing. */
static bool set_session_id_context(SSL_CTX *ssl, const struct certificate *const *certificates, size_t count)
{
	uint8_t digest[SHA256_DIGEST_LENGTH];
	struct buf leaves = {0};
	bool set;

	for (size_t i = 0; i < count; i++)
		buf_put_bytes(&leaves, certificates[i]->chain[0]);
	SHA256(leaves.data, leaves.len, digest);
	buf_clear(&leaves);
	set = SSL_CTX_set_session_id_context(ssl, digest, sizeof digest) == 1;
	return set;
}

static bool set_rules(SSL_CTX *ssl)
{
	SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ASYNC);
	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_max_early_data(ssl, 0);
	return SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION) == 1 && SSL_CTX_set_cipher_list(ssl, CIPHERS) == 1 &&
	       SSL_CTX_set1_groups_list(ssl, GROUPS) == 1 &&
	       SSL_CTX_set1_sigalgs_list(ssl, SIGNATURES_EC ":" SIGNATURES_PSS ":" SIGNATURES_PKCS1) == 1;
}

static SSL_CTX *make(const struct tls *tls, const struct certificate *const *certificates, size_t count, struct err *err)
{
	SSL_CTX *ssl = SSL_CTX_new(TLS_server_method());
	bool good = ssl != NULL && set_rules(ssl) && set_session_id_context(ssl, certificates, count);

	if (!good)
		fail(err, "TLS");
	for (size_t i = 0; good && i < count; i++)
		good = add_certificate(ssl, tls, certificates[i], err);
	if (good) {
		tls_tickets_use(tls->tickets, ssl);
		return ssl;
	}
	SSL_CTX_free(ssl);
	return NULL;
}

/* An RSA key without PSS serves TLS 1.2 alone; with an EC key beside it, TLS 1.3 goes on with that one. */
static void do_without_pss(struct tls_context *context)
{
	bool ec = SSL_CTX_set_current_cert(context->ssl, SSL_CERT_SET_FIRST) == 1 &&
		  EVP_PKEY_is_a(SSL_CTX_get0_privatekey(context->ssl), "EC") == 1;

	while (!ec && SSL_CTX_set_current_cert(context->ssl, SSL_CERT_SET_NEXT) == 1)
		ec = EVP_PKEY_is_a(SSL_CTX_get0_privatekey(context->ssl), "EC") == 1;
	SSL_CTX_set1_sigalgs_list(context->ssl, SIGNATURES_EC ":" SIGNATURES_PKCS1);
	if (!ec)
		SSL_CTX_set_max_proto_version(context->ssl, TLS1_2_VERSION);
	log_warning("tls.no-pss", LOG_TEXT("effect", ec ? "the RSA key serves TLS 1.2 alone" : "no TLS 1.3: use a P-256 key"));
}

static void on_tried(enum tls_key_state state, const char *why, void *arg)
{
	(void)why;
	if (state == TLS_KEY_NO_PSS)
		do_without_pss(arg);
}

struct tls_context *tls_context_new(struct tls *tls, const struct certificate *const *certificates, size_t count, struct err *err)
{
	struct tls_context *context;
	SSL_CTX *ssl;

	if (count == 0) {
		err_set(err, ERR_INVALID, "no TLS certificate");
		return NULL;
	}
	ssl = make(tls, certificates, count, err);
	if (ssl == NULL)
		return NULL;
	context = mem_new(sizeof *context);
	context->references = 1;
	context->tls = tls;
	context->ssl = ssl;
	context->probes = mem_new_array(count, sizeof(struct tls_probe *));
	for (; context->n_probes < count; context->n_probes++)
		context->probes[context->n_probes] =
		    tls_probe_new(tls, certificates[context->n_probes], false, on_tried, context);
	return context;
}

struct tls_context *tls_context_ref(struct tls_context *context)
{
	context->references++;
	return context;
}

void tls_context_unref(struct tls_context *context)
{
	if (context == NULL || --context->references > 0)
		return;
	for (size_t i = 0; i < context->n_probes; i++)
		tls_probe_free(context->probes[i]);
	free(context->probes);
	SSL_CTX_free(context->ssl);
	free(context);
}
