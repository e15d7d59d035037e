#include "appliance/relay/delivery/tls_client.h"

#include <arpa/inet.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tls_client {
	SSL_CTX *context;
	char *name; /* the certificate's, and for SNI */
	bool is_address; /* the name */
	bool verified; /* else any certificate does */
	uint8_t (*pins)[CONFIG_TLS_PIN_BYTES];
	size_t n_pins;
};

static bool openssl_failure(struct err *err, const char *what)
{
	unsigned long code = ERR_peek_last_error();

	err_set(err, ERR_INVALID, "%s: %s", what, code == 0 ? "OpenSSL failed" : ERR_reason_error_string(code));
	ERR_clear_error();
	return false;
}

/* The chain counts for nothing where the certificate itself is known. */
static int accept_any(int valid, X509_STORE_CTX *store)
{
	(void)valid;
	(void)store;
	return 1;
}

static bool set_trust(struct tls_client *tls, const struct config_next_hop *hop, struct err *err)
{
	if (!tls->verified || tls->n_pins > 0) {
		SSL_CTX_set_verify(tls->context, SSL_VERIFY_PEER, accept_any);
		return true;
	}
	SSL_CTX_set_verify(tls->context, SSL_VERIFY_PEER, NULL);
	if (hop->tls_ca_file == NULL)
		return SSL_CTX_set_default_verify_paths(tls->context) == 1 || openssl_failure(err, "the system's CAs");
	return SSL_CTX_load_verify_locations(tls->context, hop->tls_ca_file, NULL) == 1 || openssl_failure(err, hop->tls_ca_file);
}

static bool set_up(struct tls_client *tls, const struct config_next_hop *hop, struct err *err)
{
	if (tls->context == NULL || SSL_CTX_set_min_proto_version(tls->context, TLS1_2_VERSION) != 1)
		return openssl_failure(err, "TLS");
	/* SMTP says itself where a reply ends: a connection that is cut without a TLS alert hides nothing. */
	SSL_CTX_set_options(tls->context, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_mode(tls->context, SSL_MODE_RELEASE_BUFFERS);
	return set_trust(tls, hop, err);
}

static bool is_address(const char *name)
{
	uint8_t octets[16];

	return inet_pton(AF_INET, name, octets) == 1 || inet_pton(AF_INET6, name, octets) == 1;
}

struct tls_client *tls_client_new(const struct config_next_hop *hop, struct err *err)
{
	struct tls_client *tls = mem_new(sizeof *tls);

	tls->name = mem_string(hop->tls_name != NULL ? hop->tls_name : hop->host);
	tls->is_address = is_address(tls->name);
	tls->verified = hop->tls == CONFIG_TLS_REQUIRE || hop->tls == CONFIG_TLS_IMPLICIT;
	tls->n_pins = hop->n_tls_pins;
	if (tls->n_pins > 0) {
		tls->pins = mem_new_array(tls->n_pins, sizeof *tls->pins);
		memcpy(tls->pins, hop->tls_pins, tls->n_pins * sizeof *tls->pins);
	}
	tls->context = SSL_CTX_new(TLS_client_method());
	if (set_up(tls, hop, err))
		return tls;
	tls_client_free(tls);
	return NULL;
}

void tls_client_free(struct tls_client *tls)
{
	if (tls == NULL)
		return;
	SSL_CTX_free(tls->context);
	free(tls->name);
	free(tls->pins);
	free(tls);
}

static bool set_name(const struct tls_client *tls, SSL *ssl)
{
	if (!tls->is_address && SSL_set_tlsext_host_name(ssl, tls->name) != 1)
		return false;
	if (!tls->verified || tls->n_pins > 0)
		return true;
	if (tls->is_address)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), tls->name) == 1;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set1_host(ssl, tls->name) == 1;
}

struct bufferevent *tls_client_begin(const struct tls_client *tls, struct event_base *base, evutil_socket_t fd, struct err *err)
{
	SSL *ssl = SSL_new(tls->context);
	struct bufferevent *connection = NULL;

	/* From here on the SSL belongs to the bufferevent, also when that cannot be made. */
	if (ssl != NULL && set_name(tls, ssl))
		connection = bufferevent_openssl_socket_new(base, fd, ssl, BUFFEREVENT_SSL_CONNECTING,
							    BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
	else
		SSL_free(ssl);
	if (connection == NULL)
		openssl_failure(err, "TLS");
	else
		bufferevent_openssl_set_allow_dirty_shutdown(connection, 1);
	return connection;
}

static bool is_pinned(const struct tls_client *tls, const uint8_t digest[static CONFIG_TLS_PIN_BYTES])
{
	for (size_t i = 0; i < tls->n_pins; i++) {
		if (memcmp(tls->pins[i], digest, CONFIG_TLS_PIN_BYTES) == 0)
			return true;
	}
	return false;
}

/* The certificate's own digest, or that of its public key. */
static bool matches_pin(const struct tls_client *tls, X509 *certificate)
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned char *key = NULL;
	unsigned len;
	int key_len;
	bool pinned;

	if (X509_digest(certificate, EVP_sha256(), digest, &len) == 1 && is_pinned(tls, digest))
		return true;
	key_len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &key);
	pinned = key_len > 0 && EVP_Digest(key, (size_t)key_len, digest, &len, EVP_sha256(), NULL) == 1 && is_pinned(tls, digest);
	OPENSSL_free(key);
	return pinned;
}

bool tls_client_trusts(const struct tls_client *tls, struct bufferevent *connection, struct err *err)
{
	SSL *ssl = bufferevent_openssl_get_ssl(connection);
	X509 *certificate = SSL_get0_peer_certificate(ssl);

	if (!tls->verified)
		return true;
	if (certificate == NULL)
		return err_set(err, ERR_DENIED, "the server shows no certificate");
	if (tls->n_pins > 0)
		return matches_pin(tls, certificate) ||
		       err_set(err, ERR_DENIED, "the server's certificate is not the pinned one");
	if (SSL_get_verify_result(ssl) != X509_V_OK)
		return err_set(err, ERR_DENIED, "the server's certificate is not trusted: %s",
			       X509_verify_cert_error_string(SSL_get_verify_result(ssl)));
	return true;
}

void tls_client_failure(struct bufferevent *connection, int socket_error, struct err *err)
{
	SSL *ssl = bufferevent_openssl_get_ssl(connection);
	unsigned long code = bufferevent_get_openssl_error(connection);
	long verify = SSL_get_verify_result(ssl);

	if (code != 0 && ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED)
		err_set(err, ERR_DENIED, "the server's certificate is not trusted: %s", X509_verify_cert_error_string(verify));
	else if (code != 0)
		err_set(err, ERR_UNAVAILABLE, "the TLS handshake failed: %s", ERR_reason_error_string(code));
	else
		err_set(err, ERR_UNAVAILABLE, "the TLS handshake failed: %s",
			socket_error == 0 ? "the server closed the connection" : strerror(socket_error));
	ERR_clear_error();
}

const char *tls_client_description(struct bufferevent *connection)
{
	static char text[128];
	const SSL *ssl = bufferevent_openssl_get_ssl(connection);

	snprintf(text, sizeof text, "%s %s", SSL_get_version(ssl), SSL_get_cipher_name(ssl));
	return text;
}
