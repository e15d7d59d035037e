/* A next hop and what is set for it. */
#include <stdlib.h>
#include <string.h>

#include "appliance/relay/policy/config_private.h"
#include "provisioning/store/settings.h"

#define MAILDIR_SCHEME "maildir:"
#define SMTP_PORT 25
#define SMTPS_PORT 465 /* RFC 8314 */

/* The end of the host in HOST[:PORT] or [ADDRESS][:PORT]; *port is the colon of the port, or NULL. */
static const char *split(const char *value, const char **host, const char **port)
{
	const char *end;

	*host = value;
	if (*value != '[') {
		*port = strchr(value, ':');
		return *port != NULL ? *port : value + strlen(value);
	}
	*host = value + 1;
	end = strchr(value, ']');
	*port = end != NULL && end[1] == ':' ? end + 1 : NULL;
	return end != NULL && *port == NULL && end[1] != '\0' ? NULL : end;
}

bool config_parse_next_hop(const char *value, struct config_next_hop *hop, struct err *err)
{
	const char *host, *end, *port;
	unsigned long parsed = 0;

	*hop = (struct config_next_hop){0};
	if (strncmp(value, MAILDIR_SCHEME, sizeof MAILDIR_SCHEME - 1) == 0) {
		hop->name = mem_string(value);
		hop->maildir = mem_string(value + sizeof MAILDIR_SCHEME - 1);
		return true;
	}
	end = split(value, &host, &port);
	if (end == NULL)
		return err_set(err, ERR_INVALID, "\"%s\" is not HOST, HOST:PORT or [ADDRESS]:PORT", value);
	if (port != NULL) {
		char *rest;

		parsed = strtoul(port + 1, &rest, 10);
		if (port[1] == '\0' || *rest != '\0' || parsed == 0 || parsed > 65535)
			return err_set(err, ERR_INVALID, "\"%s\": the port is a number from 1 to 65535", value);
	}
	if (end == host)
		return err_set(err, ERR_INVALID, "\"%s\" names no host", value);
	hop->name = mem_string(value);
	hop->host = mem_string_n(host, (size_t)(end - host));
	hop->port = (uint16_t)parsed;
	return true;
}

enum config_tls config_tls_of(const char *word)
{
	static const char *const words[] = {[CONFIG_TLS_NONE] = "none",
					    [CONFIG_TLS_MAY] = "may",
					    [CONFIG_TLS_REQUIRE] = "require",
					    [CONFIG_TLS_IMPLICIT] = "implicit"};

	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		if (strcmp(word, words[i]) == 0)
			return (enum config_tls)i;
	}
	return CONFIG_TLS_NONE;
}

static char *copy(const char *text)
{
	return text == NULL ? NULL : mem_string(text);
}

static void add_pin(struct config_next_hop *hop, const char *value)
{
	const char *hex = value + sizeof SETTING_TLS_PIN_SCHEME - 1;
	uint8_t *pin;

	hop->tls_pins = mem_resize(hop->tls_pins, hop->n_tls_pins + 1, sizeof *hop->tls_pins);
	pin = hop->tls_pins[hop->n_tls_pins++];
	for (size_t i = 0; i < CONFIG_TLS_PIN_BYTES; i++) {
		const char digits[] = {hex[2 * i], hex[2 * i + 1], '\0'};

		pin[i] = (uint8_t)strtoul(digits, NULL, 16);
	}
}

static void read_pins(const struct settings *settings, const char *path, struct config_next_hop *hop)
{
	char *pins = mem_format("%s tls-pin", path);

	for (size_t i = 0; i < settings->count; i++) {
		if (strcmp(settings->items[i].path, pins) == 0)
			add_pin(hop, settings->items[i].value);
	}
	free(pins);
}

static unsigned number(const struct settings *settings, const char *path, const char *name)
{
	return (unsigned)strtoul(setting_effective(settings, "%s %s", path, name), NULL, 10);
}

bool config_read_next_hop(const struct settings *settings, const char *server, const char *value, struct config_next_hop *hop,
			  struct err *err)
{
	struct buf buf = {0};
	const char *path;

	if (!config_parse_next_hop(value, hop, err))
		return false;
	buf_printf(&buf, "server %s next-hop", server);
	path_append(&buf, value);
	path = buf_text(&buf);
	hop->priority = number(settings, path, "priority");
	hop->weight = number(settings, path, "weight");
	hop->tls = config_tls_of(setting_effective(settings, "%s tls", path));
	if (hop->port == 0)
		hop->port = hop->tls == CONFIG_TLS_IMPLICIT ? SMTPS_PORT : SMTP_PORT;
	hop->tls_ca_file = copy(settings_value(settings, "%s tls-ca-file", path));
	hop->tls_name = copy(settings_value(settings, "%s tls-name", path));
	hop->user = copy(settings_value(settings, "%s user", path));
	hop->sealed_password = copy(settings_value(settings, "%s password", path));
	hop->auth_without_tls = settings_value(settings, "%s auth-without-tls", path) != NULL;
	read_pins(settings, path, hop);
	buf_clear(&buf);
	return true;
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

bool config_next_hop_equal(const struct config_next_hop *a, const struct config_next_hop *b)
{
	return same_text(a->host, b->host) && a->port == b->port && same_text(a->maildir, b->maildir) &&
	       a->priority == b->priority && a->weight == b->weight && a->tls == b->tls &&
	       same_text(a->tls_ca_file, b->tls_ca_file) && same_text(a->tls_name, b->tls_name) &&
	       a->n_tls_pins == b->n_tls_pins &&
	       (a->n_tls_pins == 0 || memcmp(a->tls_pins, b->tls_pins, a->n_tls_pins * sizeof *a->tls_pins) == 0) &&
	       same_text(a->user, b->user) && same_text(a->sealed_password, b->sealed_password) &&
	       a->auth_without_tls == b->auth_without_tls;
}

void config_next_hop_copy(struct config_next_hop *to, const struct config_next_hop *from)
{
	*to = *from;
	to->name = copy(from->name);
	to->host = copy(from->host);
	to->maildir = copy(from->maildir);
	to->tls_ca_file = copy(from->tls_ca_file);
	to->tls_name = copy(from->tls_name);
	to->user = copy(from->user);
	to->sealed_password = copy(from->sealed_password);
	to->tls_pins = NULL;
	if (from->n_tls_pins > 0) {
		to->tls_pins = mem_new_array(from->n_tls_pins, sizeof *to->tls_pins);
		memcpy(to->tls_pins, from->tls_pins, from->n_tls_pins * sizeof *to->tls_pins);
	}
}

void config_next_hop_clear(struct config_next_hop *hop)
{
	free(hop->name);
	free(hop->host);
	free(hop->maildir);
	free(hop->tls_ca_file);
	free(hop->tls_name);
	free(hop->tls_pins);
	free(hop->user);
	free(hop->sealed_password);
	*hop = (struct config_next_hop){0};
}
