#include "appliance/relay/policy/config.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/relay/policy/config_private.h"
#include "appliance/relay/policy/domain.h"
#include "provisioning/store/settings.h"

static void exclusions_clear(struct config_exclusion *items, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(items[i].header);
		free(items[i].text);
		pattern_free(items[i].pattern);
	}
	free(items);
}

static void bcc_clear(struct config_bcc *bcc)
{
	for (size_t i = 0; i < bcc->n_addresses; i++)
		free(bcc->addresses[i]);
	free(bcc->addresses);
	exclusions_clear(bcc->headers, bcc->n_headers);
	free(bcc->sender);
	free(bcc->name);
}

static void server_clear(struct config_server *server)
{
	for (size_t i = 0; i < server->n_listens; i++) {
		free(server->listens[i].address);
		free(server->listens[i].certificates);
	}
	for (size_t i = 0; i < server->n_api_listens; i++) {
		free(server->api_listens[i].address);
		free(server->api_listens[i].certificates);
	}
	free(server->api_listens);
	for (size_t i = 0; i < server->n_users; i++) {
		free(server->users[i].name);
		free(server->users[i].password_hash);
		for (size_t c = 0; c < server->users[i].n_certificates; c++)
			free(server->users[i].certificates[c]);
		free(server->users[i].certificates);
	}
	for (size_t i = 0; i < server->n_next_hops; i++)
		config_next_hop_clear(&server->next_hops[i]);
	free(server->name);
	free(server->listens);
	free(server->networks);
	free(server->users);
	free(server->next_hops);
	free(server->certificates);
	exclusions_clear(server->exclude_recipients, server->n_exclude_recipients);
	exclusions_clear(server->exclude_headers, server->n_exclude_headers);
	for (size_t i = 0; i < server->n_bccs; i++)
		bcc_clear(&server->bccs[i]);
	free(server->bccs);
	free(server->retry_ms);
	for (size_t i = 0; i < server->n_webhooks; i++)
		config_webhook_clear(&server->webhooks[i]);
	free(server->webhooks);
}

static void config_free(struct config *config)
{
	for (size_t i = 0; i < config->n_servers; i++)
		server_clear(&config->servers[i]);
	free(config->servers);
	free(config->host_name);
	for (size_t i = 0; i < config->n_name_servers; i++)
		free(config->name_servers[i]);
	free(config->name_servers);
	snapshot_free(config->snapshot);
	free(config);
}

static void read_name_servers(struct config *config, const struct settings *settings)
{
	for (size_t i = 0; i < settings->count; i++) {
		if (strcmp(settings->items[i].path, "system name-server") != 0)
			continue;
		config->name_servers = mem_resize(config->name_servers, config->n_name_servers + 1, sizeof *config->name_servers);
		config->name_servers[config->n_name_servers++] = mem_string(settings->items[i].value);
	}
}

/* A configuration without `set system host-name` greets with the machine's own name. */
static char *host_name(const struct settings *settings)
{
	const char *configured = setting_effective(settings, "system host-name");
	char name[256];

	if (configured != NULL)
		return mem_string(configured);
	if (gethostname(name, sizeof name) != 0)
		return mem_string("localhost");
	name[sizeof name - 1] = '\0';
	return mem_string(name);
}

static uint32_t system_number(const struct settings *settings, const char *name)
{
	return (uint32_t)strtoul(setting_effective(settings, "system %s", name), NULL, 10);
}

static void read_tls_limits(struct config *config, const struct settings *settings)
{
	config->tls_handshake_ms = setting_parse_duration_ms(setting_effective(settings, "system tls handshake-timeout"));
	config->tls_handshakes = system_number(settings, "tls max-handshakes");
	config->tls_handshakes_per_client = system_number(settings, "tls max-handshakes-per-client");
	config->tls_handshakes_per_minute = system_number(settings, "tls max-handshakes-per-minute");
}

struct config *config_new(struct snapshot *snapshot, struct err *err)
{
	struct config *config = mem_new(sizeof *config);
	char **names;

	config->references = 1;
	config->host_name = host_name(&snapshot->settings);
	config->signing_deadline_ms = setting_parse_duration_ms(setting_effective(&snapshot->settings, "hsm deadline"));
	read_tls_limits(config, &snapshot->settings);
	read_name_servers(config, &snapshot->settings);
	names = settings_names(&snapshot->settings, &config->n_servers, "server");
	config->servers = mem_new_array(config->n_servers, sizeof *config->servers);
	for (size_t i = 0; i < config->n_servers; i++) {
		config->servers[i].name = mem_string(names[i]);
		if (!config_read_server(snapshot, &config->servers[i], err)) {
			path_words_free(names);
			config_free(config); /* the snapshot stays the caller's */
			return NULL;
		}
	}
	path_words_free(names);
	config->snapshot = snapshot;
	return config;
}

struct config *config_ref(struct config *config)
{
	config->references++;
	return config;
}

void config_unref(struct config *config)
{
	if (config != NULL && --config->references == 0)
		config_free(config);
}

struct certificate_set {
	const struct certificate **items;
	size_t count;
};

static void add_each(struct certificate_set *set, const struct certificate *const *certificates, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		size_t at = 0;

		while (at < set->count && set->items[at] != certificates[i])
			at++;
		if (at < set->count)
			continue;
		set->items = mem_resize(set->items, set->count + 1, sizeof *set->items);
		set->items[set->count++] = certificates[i];
	}
}

const struct certificate **config_tls_certificates(const struct config *config, size_t *count)
{
	struct certificate_set set = {0};

	for (size_t s = 0; s < config->n_servers; s++) {
		const struct config_server *server = &config->servers[s];

		for (size_t i = 0; i < server->n_listens; i++) {
			if (server->listens[i].tls != CONFIG_LISTEN_PLAIN)
				add_each(&set, server->listens[i].certificates, server->listens[i].n_certificates);
		}
		for (size_t i = 0; i < server->n_api_listens; i++) {
			if (server->api_listens[i].tls)
				add_each(&set, server->api_listens[i].certificates, server->api_listens[i].n_certificates);
		}
	}
	*count = set.count;
	return set.items;
}

const struct config_server *config_find_server(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->n_servers; i++) {
		if (strcmp(config->servers[i].name, name) == 0)
			return &config->servers[i];
	}
	return NULL;
}

const struct config_user *config_find_user(const struct config_server *server, const char *name)
{
	for (size_t i = 0; i < server->n_users; i++) {
		if (strcmp(server->users[i].name, name) == 0)
			return &server->users[i];
	}
	return NULL;
}

/* The local part exactly: two certificates may differ in its case alone. */
static bool same_address(const char *a, const char *b)
{
	const char *a_at = strrchr(a, '@'), *b_at = strrchr(b, '@');

	return a_at != NULL && b_at != NULL && a_at - a == b_at - b && strncmp(a, b, (size_t)(a_at - a)) == 0 &&
	       domain_equal(a_at + 1, b_at + 1);
}

bool config_user_may_sign(const struct config_user *user, const struct certificate *certificate)
{
	for (size_t i = 0; i < user->n_certificates; i++) {
		if (same_address(user->certificates[i], certificate->address))
			return true;
	}
	return user->n_certificates == 0;
}

static bool address_octets(const struct sockaddr *address, uint8_t octets[static 16])
{
	if (address->sa_family == AF_INET6) {
		memcpy(octets, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 16);
		return true;
	}
	if (address->sa_family != AF_INET)
		return false;
	memset(octets, 0, 10);
	octets[10] = octets[11] = 0xff;
	memcpy(octets + 12, &((const struct sockaddr_in *)(const void *)address)->sin_addr, 4);
	return true;
}

static bool in_network(const struct config_network *network, const uint8_t octets[static 16])
{
	unsigned whole = network->bits / 8, rest = network->bits % 8;

	if (memcmp(network->octets, octets, whole) != 0)
		return false;
	return rest == 0 || (network->octets[whole] ^ octets[whole]) >> (8 - rest) == 0;
}

bool config_network_allows(const struct config_server *server, const struct sockaddr *client)
{
	uint8_t octets[16];

	if (!address_octets(client, octets))
		return false;
	for (size_t i = 0; i < server->n_networks; i++) {
		if (in_network(&server->networks[i], octets))
			return true;
	}
	return false;
}

enum sign_digest config_certificate_digest(const struct certificate *certificate)
{
	return strcmp(certificate->key_type, "EC-P384") == 0 ? SIGN_SHA384 : SIGN_SHA256;
}

static bool probe(const struct config_server *server, const char *what, const struct config_exclusion *items, size_t count,
		  struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		const char *header = items[i].header != NULL ? items[i].header : "";

		if (pattern_probe(items[i].pattern, items[i].text) == PATTERN_LIMIT)
			return err_set(err, ERR_LIMIT,
				       "server %s %s%s%s: expression \"%s\" runs away (repetitions within or behind each "
				       "other?): write it simpler",
				       server->name, what, header[0] != '\0' ? " " : "", header, items[i].text);
	}
	return true;
}

bool config_check(const struct config *config, struct err *err)
{
	for (size_t i = 0; i < config->n_servers; i++) {
		const struct config_server *server = &config->servers[i];

		if (!probe(server, "smime exclude recipient", server->exclude_recipients, server->n_exclude_recipients, err) ||
		    !probe(server, "smime exclude header", server->exclude_headers, server->n_exclude_headers, err))
			return false;
		for (size_t b = 0; b < server->n_bccs; b++)
			if (!probe(server, "intelligent-bcc", server->bccs[b].headers, server->bccs[b].n_headers, err))
				return false;
	}
	return true;
}
