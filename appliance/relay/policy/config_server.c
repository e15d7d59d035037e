#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/relay/policy/config_private.h"
#include "provisioning/store/settings.h"

struct reader {
	const struct snapshot *snapshot;
	const struct settings *settings;
	struct config_server *server;
};

static const char *text(const struct reader *reader, const char *name)
{
	return setting_effective(reader->settings, "server %s %s", reader->server->name, name);
}

static bool flag(const struct reader *reader, const char *name)
{
	return settings_value(reader->settings, "server %s %s", reader->server->name, name) != NULL;
}

static uint32_t number(const struct reader *reader, const char *name)
{
	return (uint32_t)strtoul(text(reader, name), NULL, 10);
}

/* The index of a value in a table of words that ends with NULL; the settings table allows no other. */
static int word(const struct reader *reader, const char *name, const char *const *words)
{
	const char *value = text(reader, name);

	for (int i = 0; words[i] != NULL; i++) {
		if (strcmp(value, words[i]) == 0)
			return i;
	}
	return 0;
}

/* Every value of a repeatable leaf: calls `add` for each. */
static bool each_value(const struct reader *reader, const char *name,
		       bool (*add)(const struct reader *, const char *, struct err *), struct err *err)
{
	char *path = mem_format("server %s %s", reader->server->name, name);
	bool fine = true;

	for (size_t i = 0; fine && i < reader->settings->count; i++) {
		const struct setting *setting = &reader->settings->items[i];

		if (strcmp(setting->path, path) == 0 && !add(reader, setting->value, err))
			fine = err_prefix(err, "%s", path);
	}
	free(path);
	return fine;
}

/* Every name below a path: calls `add` for each. */
static bool each_name(const struct reader *reader, const char *name,
		      bool (*add)(const struct reader *, const char *, struct err *), struct err *err)
{
	size_t count;
	char **names = settings_names(reader->settings, &count, "server %s %s", reader->server->name, name);
	bool fine = true;

	for (size_t i = 0; fine && i < count; i++) {
		if (!add(reader, names[i], err))
			fine = err_prefix(err, "server %s %s %s", reader->server->name, name, names[i]);
	}
	path_words_free(names);
	return fine;
}

#define GROW(array, count) ((array) = mem_resize((array), (count) + 1, sizeof *(array)), &(array)[(count)++])

/* Of the right kind alone: a certificate that signs mail does not serve TLS, nor the opposite. */
static const struct certificate *find_certificate(const struct snapshot *snapshot, const char *address, bool tls)
{
	for (size_t i = 0; i < snapshot->n_certificates; i++) {
		if (snapshot->certificates[i].tls == tls && strcmp(snapshot->certificates[i].address, address) == 0)
			return &snapshot->certificates[i];
	}
	return NULL;
}

static bool add_tls_certificates(const struct reader *reader, const char *path, const struct certificate ***certificates,
				 size_t *count, struct err *err)
{
	char *wanted = mem_format("%s certificate", path);
	bool fine = true;

	for (size_t i = 0; fine && i < reader->settings->count; i++) {
		const struct setting *setting = &reader->settings->items[i];
		const struct certificate *certificate;

		if (strcmp(setting->path, wanted) != 0)
			continue;
		certificate = find_certificate(reader->snapshot, setting->value, true);
		if (certificate != NULL)
			*GROW(*certificates, *count) = certificate;
		else
			fine = err_set(err, ERR_NOT_FOUND, "no TLS certificate is registered for %s", setting->value);
	}
	free(wanted);
	return fine;
}

static bool add_listen(const struct reader *reader, const char *value, struct err *err)
{
	static const char *const tls[] = {"none", "starttls", "implicit", NULL};
	struct config_listen *listen = GROW(reader->server->listens, reader->server->n_listens);
	struct buf path = {0};
	bool fine;

	buf_printf(&path, "server %s smtp listen", reader->server->name);
	path_append(&path, value);
	*listen = (struct config_listen){.address = mem_string(value)};
	for (int i = 0; tls[i] != NULL; i++) {
		if (strcmp(setting_effective(reader->settings, "%s tls", buf_text(&path)), tls[i]) == 0)
			listen->tls = (enum config_listen_tls)i;
	}
	fine = add_tls_certificates(reader, buf_text(&path), &listen->certificates, &listen->n_certificates, err);
	buf_clear(&path);
	return fine;
}

static bool add_api_listen(const struct reader *reader, const char *value, struct err *err)
{
	struct config_api_listen *listen = GROW(reader->server->api_listens, reader->server->n_api_listens);
	struct buf path = {0};
	bool fine;

	buf_printf(&path, "server %s api listen", reader->server->name);
	path_append(&path, value);
	*listen = (struct config_api_listen){
	    .address = mem_string(value),
	    .tls = strcmp(setting_effective(reader->settings, "%s tls", buf_text(&path)), "none") != 0,
	};
	fine = add_tls_certificates(reader, buf_text(&path), &listen->certificates, &listen->n_certificates, err);
	buf_clear(&path);
	return fine;
}

bool config_parse_network(const char *value, struct config_network *network, struct err *err)
{
	char *address = mem_string(value);
	char *slash = strchr(address, '/');
	bool v6, parsed;
	unsigned bits;

	if (slash != NULL)
		*slash++ = '\0';
	v6 = strchr(address, ':') != NULL;
	bits = v6 ? 128 : 32;
	memset(network, 0, sizeof *network);
	memset(network->octets + 10, 0xff, 2);
	parsed = inet_pton(v6 ? AF_INET6 : AF_INET, address, v6 ? network->octets : network->octets + 12) == 1;
	if (parsed && slash != NULL) {
		char *end;
		unsigned long given = strtoul(slash, &end, 10);

		parsed = *slash != '\0' && *end == '\0' && given <= bits;
		bits = (unsigned)given;
	}
	free(address);
	if (!parsed)
		return err_set(err, ERR_INVALID, "\"%s\" is not a network", value);
	network->bits = v6 ? bits : bits + 96;
	return true;
}

static bool add_network(const struct reader *reader, const char *value, struct err *err)
{
	struct config_network network;

	if (!config_parse_network(value, &network, err))
		return false;
	*GROW(reader->server->networks, reader->server->n_networks) = network;
	return true;
}

static bool add_user(const struct reader *reader, const char *name, struct err *err)
{
	const char *hash = settings_value(reader->settings, "server %s user %s password", reader->server->name, name);
	struct config_user *user;
	char *path;

	(void)err;
	if (hash == NULL) /* a user without a password cannot log in */
		return true;
	user = GROW(reader->server->users, reader->server->n_users);
	*user = (struct config_user){.name = mem_string(name), .password_hash = mem_string(hash)};
	path = mem_format("server %s user %s certificate", reader->server->name, name);
	for (size_t i = 0; i < reader->settings->count; i++) {
		if (strcmp(reader->settings->items[i].path, path) == 0)
			*GROW(user->certificates, user->n_certificates) = mem_string(reader->settings->items[i].value);
	}
	free(path);
	return true;
}

static bool add_next_hop(const struct reader *reader, const char *value, struct err *err)
{
	struct config_next_hop hop;

	if (!config_read_next_hop(reader->settings, reader->server->name, value, &hop, err))
		return false;
	*GROW(reader->server->next_hops, reader->server->n_next_hops) = hop;
	return true;
}

static bool add_webhook(const struct reader *reader, const char *url, struct err *err)
{
	(void)err;
	config_read_webhook(reader->settings, reader->server->name, url,
			    GROW(reader->server->webhooks, reader->server->n_webhooks));
	return true;
}

static int by_priority(const void *a, const void *b)
{
	const struct config_next_hop *left = a, *right = b;

	return (left->priority > right->priority) - (left->priority < right->priority);
}

static bool exclusion_init(struct config_exclusion *exclusion, const char *header, const char *expression, struct err *err)
{
	struct pattern *pattern = pattern_new(expression, err);

	if (pattern == NULL)
		return false;
	*exclusion = (struct config_exclusion){
	    .header = header == NULL ? NULL : mem_string(header), .text = mem_string(expression), .pattern = pattern};
	return true;
}

static bool add_exclude_recipient(const struct reader *reader, const char *value, struct err *err)
{
	struct config_exclusion exclusion;

	if (!exclusion_init(&exclusion, NULL, value, err))
		return false;
	*GROW(reader->server->exclude_recipients, reader->server->n_exclude_recipients) = exclusion;
	return true;
}

/* All values of `PATH HEADER`, for each header that is named below PATH. */
static bool header_expressions(const struct reader *reader, const char *prefix, struct config_exclusion **items, size_t *count,
			       struct err *err)
{
	size_t n_headers;
	char **headers = settings_names(reader->settings, &n_headers, "%s", prefix);
	bool fine = true;

	for (size_t h = 0; fine && h < n_headers; h++) {
		struct buf path = {0};

		buf_put_text(&path, prefix);
		path_append(&path, headers[h]);
		for (size_t i = 0; fine && i < reader->settings->count; i++) {
			const struct setting *setting = &reader->settings->items[i];
			struct config_exclusion exclusion;

			if (strcmp(setting->path, buf_text(&path)) != 0)
				continue;
			fine = exclusion_init(&exclusion, headers[h], setting->value, err);
			if (fine)
				*GROW(*items, *count) = exclusion;
			else
				err_prefix(err, "%s", buf_text(&path));
		}
		buf_clear(&path);
	}
	path_words_free(headers);
	return fine;
}

static bool read_exclude_headers(const struct reader *reader, struct err *err)
{
	char *prefix = mem_format("server %s smime exclude header", reader->server->name);
	bool fine = header_expressions(reader, prefix, &reader->server->exclude_headers, &reader->server->n_exclude_headers, err);

	free(prefix);
	return fine;
}

static void add_addresses(const struct reader *reader, const char *prefix, struct config_bcc *bcc)
{
	char *path = mem_format("%s address", prefix);

	for (size_t i = 0; i < reader->settings->count; i++)
		if (strcmp(reader->settings->items[i].path, path) == 0)
			*GROW(bcc->addresses, bcc->n_addresses) = mem_string(reader->settings->items[i].value);
	free(path);
}

static bool add_bcc(const struct reader *reader, const char *name, struct err *err)
{
	struct config_bcc *bcc = GROW(reader->server->bccs, reader->server->n_bccs);
	char *prefix = mem_format("server %s intelligent-bcc %s", reader->server->name, name);
	char *headers = mem_format("%s header", prefix);
	const char *sender = settings_value(reader->settings, "%s sender", prefix);
	bool fine;

	*bcc = (struct config_bcc){.name = mem_string(name), .sender = mem_string(sender != NULL ? sender : "")};
	add_addresses(reader, prefix, bcc);
	fine = header_expressions(reader, headers, &bcc->headers, &bcc->n_headers, err);
	free(headers);
	free(prefix);
	return fine;
}

static bool add_certificate(const struct reader *reader, const char *address, struct err *err)
{
	const struct certificate *certificate = find_certificate(reader->snapshot, address, false);

	if (certificate != NULL) {
		*GROW(reader->server->certificates, reader->server->n_certificates) = certificate;
		return true;
	}
	return err_set(err, ERR_NOT_FOUND, "no certificate is registered for %s", address);
}

static bool read_retry(const struct reader *reader, struct err *err)
{
	char *list = mem_string(text(reader, "queue retry"));
	char *rest = list, *item;
	bool fine = true;

	while (fine && (item = strsep(&rest, ",")) != NULL) {
		int64_t wait = setting_parse_duration_ms(item);

		fine = wait > 0 || err_set(err, ERR_INVALID, "\"%s\" is not a duration", item);
		if (fine)
			*GROW(reader->server->retry_ms, reader->server->n_retry) = wait;
	}
	free(list);
	return fine;
}

static uint64_t size(const struct reader *reader, const char *name)
{
	return (uint64_t)setting_parse_size(text(reader, name));
}

static int64_t duration_ms(const struct reader *reader, const char *name)
{
	return setting_parse_duration_ms(text(reader, name));
}

static void read_limits(const struct reader *reader)
{
	reader->server->api_connections = number(reader, "api max-connections");
	reader->server->api_connections_per_client = number(reader, "api max-connections-per-client");
	reader->server->limits = (struct config_limits){
	    .sessions = number(reader, "smtp max-sessions"),
	    .sessions_per_client = number(reader, "smtp max-sessions-per-client"),
	    .recipients = number(reader, "smtp max-recipients"),
	    .messages_per_session = number(reader, "smtp max-messages-per-session"),
	    .messages_per_minute = number(reader, "smtp max-messages-per-minute"),
	    .bad_commands = number(reader, "smtp max-bad-commands"),
	    .failed_logins = number(reader, "smtp max-failed-logins"),
	    .header_fields = number(reader, "smtp max-header-fields"),
	    .header_bytes = size(reader, "smtp max-header-size"),
	    .message_bytes = size(reader, "smtp max-message-size"),
	    .line_bytes = size(reader, "smtp max-line-length"),
	    .command_bytes = size(reader, "smtp max-command-length"),
	    .idle_ms = duration_ms(reader, "smtp idle-timeout"),
	    .session_ms = duration_ms(reader, "smtp session-timeout"),
	    .bad_command_delay_ms = duration_ms(reader, "smtp bad-command-delay"),
	    .receive_interval_ms = duration_ms(reader, "smtp receive-interval"),
	};
}

static void read_words(const struct reader *reader)
{
	static const char *const auth[] = {"none", "offered", "optional", "required", NULL};
	static const char *const received[] = {"normal", "abbreviated", "none", NULL};
	struct config_server *server = reader->server;
	const char *delay_warning;

	server->auth = (enum config_auth)word(reader, "smtp auth", auth);
	server->auth_without_tls = flag(reader, "smtp auth-without-tls");
	server->normalise_line_ends = strcmp(text(reader, "smtp bare-line-ends"), "normalise") == 0;
	server->received = (enum config_received)word(reader, "received", received);
	server->smime_enabled = flag(reader, "smime enabled");
	server->refuse_unsigned_sender = strcmp(text(reader, "smime unsigned-sender"), "refuse") == 0;
	server->pss = strcmp(text(reader, "smime padding"), "pss") == 0;
	server->refuse_unsignable = strcmp(text(reader, "smime unsignable"), "refuse") == 0;
	server->log_retention_ms = setting_parse_duration_ms(text(reader, "log retention"));
	server->queue_lifetime_ms = setting_parse_duration_ms(text(reader, "queue lifetime"));
	delay_warning = settings_value(reader->settings, "server %s queue delay-warning", server->name);
	server->delay_warning_ms = delay_warning == NULL ? 0 : setting_parse_duration_ms(delay_warning);
	server->mx_tls = config_tls_of(text(reader, "mx-tls"));
	server->mx_port = (uint16_t)number(reader, "mx-port");
	server->delivery_connections = number(reader, "delivery-connections");
}

bool config_read_server(const struct snapshot *snapshot, struct config_server *server, struct err *err)
{
	const struct reader reader = {.snapshot = snapshot, .settings = &snapshot->settings, .server = server};

	read_limits(&reader);
	read_words(&reader);
	if (!each_name(&reader, "smtp listen", add_listen, err) || !each_name(&reader, "api listen", add_api_listen, err) ||
	    !each_value(&reader, "smtp allow-network", add_network, err) || !each_name(&reader, "user", add_user, err) ||
	    !each_name(&reader, "next-hop", add_next_hop, err) || !each_name(&reader, "webhook", add_webhook, err) ||
	    !each_value(&reader, "smime certificate", add_certificate, err) ||
	    !each_value(&reader, "smime exclude recipient", add_exclude_recipient, err) || !read_exclude_headers(&reader, err) ||
	    !each_name(&reader, "intelligent-bcc", add_bcc, err) || !read_retry(&reader, err))
		return false;
	if (server->n_next_hops > 0)
		qsort(server->next_hops, server->n_next_hops, sizeof *server->next_hops, by_priority);
	return true;
}
