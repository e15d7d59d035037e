/* Between config.c and config_server.c: one server's settings into its struct. */
#ifndef INKAN_RELAY_POLICY_CONFIG_PRIVATE_H
#define INKAN_RELAY_POLICY_CONFIG_PRIVATE_H

#include "appliance/relay/policy/config.h"
#include "appliance/relay/policy/pattern.h"

/* server->name is set; fills the rest. On failure what was filled is still owned by *server. */
bool config_read_server(const struct snapshot *snapshot, struct config_server *server, struct err *err) MUST_USE;

/* "192.0.2.0/24", "2001:db8::/32" or one address. */
bool config_parse_network(const char *value, struct config_network *network, struct err *err) MUST_USE;

/* HOST, HOST:PORT, [ADDRESS]:PORT or maildir:DIRECTORY: where it is, and no settings. */
bool config_parse_next_hop(const char *value, struct config_next_hop *hop, struct err *err) MUST_USE;

/* The same with its settings. */
bool config_read_next_hop(const struct settings *settings, const char *server, const char *value, struct config_next_hop *hop,
			  struct err *err) MUST_USE;

void config_read_webhook(const struct settings *settings, const char *server, const char *url, struct config_webhook *webhook);

enum config_tls config_tls_of(const char *word);

#endif
