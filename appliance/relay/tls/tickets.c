#include <event2/event.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/base/log.h"
#include "appliance/base/secret.h"
#include "appliance/relay/tls/tls_private.h"

/* RFC 5077 §4: the name that a ticket carries, and the keys behind it. */
struct ticket_keys {
	uint8_t name[16];
	uint8_t cipher[32]; /* AES-256-CBC */
	uint8_t mac[32]; /* HMAC-SHA-256 */
};

struct tls_tickets {
	struct event *daily;
	struct secret *current, *previous; /* struct ticket_keys each; previous is NULL on the first day */
};

static const struct ticket_keys *keys_of(const struct secret *secret)
{
	return (const struct ticket_keys *)(const void *)secret_bytes(secret).data;
}

bool tls_tickets_rotate(struct tls_tickets *tickets, struct err *err)
{
	struct ticket_keys made;
	struct secret *fresh;

	if (RAND_priv_bytes((unsigned char *)&made, sizeof made) != 1)
		return err_set(err, ERR_INTERNAL, "no random octets");
	fresh = secret_new(bytes_of(&made, sizeof made), err);
	OPENSSL_cleanse(&made, sizeof made);
	if (fresh == NULL)
		return false;
	secret_free(tickets->previous);
	tickets->previous = tickets->current;
	tickets->current = fresh;
	return true;
}

static void on_day(evutil_socket_t fd, short what, void *arg)
{
	struct err err;

	(void)fd;
	(void)what;
	if (tls_tickets_rotate(arg, &err))
		log_info("tls.ticket-keys-changed");
	else
		log_error("tls.ticket-keys-kept", LOG_ERR(&err));
}

struct tls_tickets *tls_tickets_new(struct event_base *base, struct err *err)
{
	static const struct timeval day = {.tv_sec = TLS_TICKET_MS / 1000};
	struct tls_tickets *tickets = mem_new(sizeof *tickets);

	if (!tls_tickets_rotate(tickets, err)) {
		free(tickets);
		return NULL;
	}
	tickets->daily = event_new(base, -1, EV_PERSIST, on_day, tickets);
	event_add(tickets->daily, &day);
	return tickets;
}

void tls_tickets_free(struct tls_tickets *tickets)
{
	if (tickets == NULL)
		return;
	event_free(tickets->daily);
	secret_free(tickets->current);
	secret_free(tickets->previous);
	free(tickets);
}

static bool set_mac(EVP_MAC_CTX *mac, const struct ticket_keys *keys)
{
	OSSL_PARAM params[] = {OSSL_PARAM_octet_string(OSSL_MAC_PARAM_KEY, (void *)keys->mac, sizeof keys->mac),
			       OSSL_PARAM_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0), OSSL_PARAM_END};

	return EVP_MAC_CTX_set_params(mac, params) == 1;
}

static int seal(const struct ticket_keys *keys, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
	memcpy(name, keys->name, sizeof keys->name);
	return RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) == 1 &&
		       EVP_EncryptInit_ex2(cipher, EVP_aes_256_cbc(), keys->cipher, iv, NULL) == 1 && set_mac(mac, keys)
		   ? 1
		   : -1;
}

static bool has_name(const struct secret *secret, const unsigned char *name)
{
	return secret != NULL && memcmp(keys_of(secret)->name, name, sizeof keys_of(secret)->name) == 0;
}

/* SSL_CTX_set_tlsext_ticket_key_evp_cb(3). Runs on a handshake's small stack. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int sealing)
{
	const struct tls_tickets *tickets = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), 0);
	const struct secret *found = NULL;

	if (sealing)
		return seal(keys_of(tickets->current), name, iv, cipher, mac);
	if (has_name(tickets->current, name))
		found = tickets->current;
	else if (has_name(tickets->previous, name))
		found = tickets->previous;
	if (found == NULL)
		return 0; /* a full handshake */
	if (EVP_DecryptInit_ex2(cipher, EVP_aes_256_cbc(), keys_of(found)->cipher, iv, NULL) != 1 ||
	    !set_mac(mac, keys_of(found)))
		return -1;
	return found == tickets->current ? 1 : 2; /* 2: and give it a new one */
}

void tls_tickets_use(struct tls_tickets *tickets, SSL_CTX *ssl)
{
	SSL_CTX_set_ex_data(ssl, 0, tickets);
	SSL_CTX_set_tlsext_ticket_key_evp_cb(ssl, on_ticket);
}
