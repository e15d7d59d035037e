/*
 * The applied configuration as the relay runs it: a snapshot compiled into structs, regular expressions compiled,
 * defaults filled in. Immutable and reference-counted: a message keeps the configuration it began with while a commit
 * brings the next one (design §5). Loop's thread.
 */
#ifndef INKAN_RELAY_POLICY_CONFIG_H
#define INKAN_RELAY_POLICY_CONFIG_H

#include <netinet/in.h>

#include "hsm/protocol/sign.h"
#include "provisioning/store/snapshot.h"

struct pattern; /* pattern.h: a compiled regular expression */

enum config_listen_tls { CONFIG_LISTEN_PLAIN, CONFIG_LISTEN_STARTTLS, CONFIG_LISTEN_IMPLICIT };

struct config_listen {
	char *address; /* as configured, "0.0.0.0:25": the key by which inkand hands over the socket */
	enum config_listen_tls tls;
	const struct certificate **certificates; /* shown to TLS clients; they belong to config.snapshot */
	size_t n_certificates;
};

struct config_api_listen {
	char *address;
	bool tls;
	const struct certificate **certificates;
	size_t n_certificates;
};

struct config_network {
	uint8_t octets[16]; /* IPv4 as ::ffff:a.b.c.d */
	unsigned bits; /* 0..128 */
};

struct config_user {
	char *name;
	char *password_hash; /* crypt(5) */
	char **certificates; /* addresses that it may sign as; none: all of the server's */
	size_t n_certificates;
};

enum config_tls {
	CONFIG_TLS_NONE,
	CONFIG_TLS_MAY, /* if it can, unverified; else plain */
	CONFIG_TLS_REQUIRE, /* STARTTLS, verified */
	CONFIG_TLS_IMPLICIT /* from the first octet, verified */
};

#define CONFIG_TLS_PIN_BYTES 32 /* SHA-256 of a certificate or of its public key (SubjectPublicKeyInfo) */

struct config_next_hop {
	char *name; /* as configured, "[::1]:2525": the key of its settings */
	char *host; /* host name or address; NULL for a maildir */
	uint16_t port;
	char *maildir; /* directory of a maildir next hop, or NULL */
	unsigned priority, weight;
	enum config_tls tls;
	char *tls_ca_file, *tls_name; /* NULL: the system's CAs; the host */
	uint8_t (*tls_pins)[CONFIG_TLS_PIN_BYTES];
	size_t n_tls_pins;
	char *user, *sealed_password; /* NULL: no login there. The password is opened elsewhere (control.h, RELAY_PASSWORD) */
	bool auth_without_tls;
};

/* All settings the same? */
bool config_next_hop_equal(const struct config_next_hop *a, const struct config_next_hop *b);
void config_next_hop_copy(struct config_next_hop *to, const struct config_next_hop *from);
void config_next_hop_clear(struct config_next_hop *hop);

/* Who is told of events, by HTTP. */
struct config_webhook {
	char *name; /* "SERVER URL": unique */
	char *server, *url;
	char *sealed_api_key, *sealed_secret; /* NULL: none. Opened elsewhere (control.h, RELAY_PASSWORD) */
	char *ca_file; /* NULL: the system's CAs */
	bool deliveries, bounces;
	int64_t interval_ms;
	size_t batch, backlog; /* events */
};
void config_webhook_copy(struct config_webhook *to, const struct config_webhook *from);
void config_webhook_clear(struct config_webhook *webhook);

struct config_exclusion {
	char *header; /* NULL: of recipients */
	char *text; /* the expression as configured */
	struct pattern *pattern;
};

/* Intelligent BCC (service.md S7): mail that matches also goes to further addresses, always plain, in an envelope of its own. */
struct config_bcc {
	char *name;
	struct config_exclusion *headers; /* all must match; none: every mail */
	size_t n_headers;
	char **addresses;
	size_t n_addresses;
	char *sender; /* reverse path of the copy; "" is the null sender: never bounced */
};

enum config_auth { CONFIG_AUTH_NONE, CONFIG_AUTH_OFFERED, CONFIG_AUTH_OPTIONAL, CONFIG_AUTH_REQUIRED };
enum config_received { CONFIG_RECEIVED_NORMAL, CONFIG_RECEIVED_ABBREVIATED, CONFIG_RECEIVED_NONE };

struct config_limits {
	uint32_t sessions, sessions_per_client, recipients, messages_per_session, bad_commands;
	uint32_t header_fields;
	uint32_t messages_per_minute; /* of a client; 0: no limit */
	uint32_t failed_logins; /* of a client in a row, then it waits */
	uint64_t message_bytes, header_bytes, line_bytes, command_bytes; /* line and command with their CRLF */
	int64_t idle_ms, session_ms;
	int64_t bad_command_delay_ms; /* of the reply, once half of bad_commands are used up */
	int64_t receive_interval_ms; /* between two messages of a client; 0: none */
};

struct config_server {
	char *name;
	struct config_listen *listens;
	size_t n_listens;
	struct config_api_listen *api_listens;
	size_t n_api_listens;
	uint32_t api_connections, api_connections_per_client; /* at once */
	struct config_network *networks;
	size_t n_networks;
	struct config_user *users;
	size_t n_users;
	enum config_auth auth;
	bool auth_without_tls; /* AUTH is offered on a connection without TLS */
	bool normalise_line_ends;
	enum config_received received;
	struct config_limits limits;
	struct config_next_hop *next_hops; /* by priority */
	size_t n_next_hops;
	bool smime_enabled;
	bool refuse_unsigned_sender, refuse_unsignable;
	bool pss; /* RSASSA-PSS; an EC key signs as it always does */
	const struct certificate **certificates; /* in operation here; they belong to config.snapshot */
	size_t n_certificates;
	struct config_exclusion *exclude_recipients, *exclude_headers;
	size_t n_exclude_recipients, n_exclude_headers;
	struct config_bcc *bccs;
	size_t n_bccs;
	struct config_webhook *webhooks;
	size_t n_webhooks;
	int64_t log_retention_ms;
	int64_t queue_lifetime_ms;
	int64_t *retry_ms; /* waits between attempts; the last one repeats */
	size_t n_retry;
	int64_t delay_warning_ms; /* the sender is told of mail that waits so long; 0: never */
	unsigned delivery_connections; /* at most, per next hop */
	enum config_tls mx_tls; /* of mail exchangers, where there is no next hop */
	uint16_t mx_port;
};

struct config {
	unsigned references;
	struct snapshot *snapshot;
	char *host_name;
	int64_t signing_deadline_ms;
	int64_t tls_handshake_ms;
	uint32_t tls_handshakes, tls_handshakes_per_client; /* at once */
	uint32_t tls_handshakes_per_minute; /* of a client, that need a signature; 0: any number */
	char **name_servers; /* "ADDRESS" or "ADDRESS:PORT"; none: those of /etc/resolv.conf */
	size_t n_name_servers;
	struct config_server *servers;
	size_t n_servers;
};

/* Takes the snapshot on success. Errors name the setting: "server default smime exclude recipient: …". */
struct config *config_new(struct snapshot *snapshot, struct err *err);

/*
 * What a commit is refused for but a start is not: an expression that runs away when it is tried (pattern_probe). Takes some
 * milliseconds an expression that does.
 */
bool config_check(const struct config *config, struct err *err) MUST_USE;
struct config *config_ref(struct config *config);
void config_unref(struct config *config);

/* The TLS certificates of all listeners, each once. free() the array. */
const struct certificate **config_tls_certificates(const struct config *config, size_t *count);

const struct config_server *config_find_server(const struct config *config, const char *name);

const struct config_user *config_find_user(const struct config_server *server, const char *name);
bool config_user_may_sign(const struct config_user *user, const struct certificate *certificate);

/* May this client address (any family) send without authentication? Loopback only when configured, as any network. */
bool config_network_allows(const struct config_server *server, const struct sockaddr *client);

/* The digest that goes with a certificate's key: SHA-384 for P-384, else SHA-256 (smime.md §5). */
enum sign_digest config_certificate_digest(const struct certificate *certificate);

#endif
