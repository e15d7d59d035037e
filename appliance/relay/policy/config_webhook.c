/* A webhook and what is set for it. */
#include <stdlib.h>
#include <string.h>

#include "appliance/relay/policy/config_private.h"
#include "provisioning/store/settings.h"

static char *copy(const char *text)
{
	return text == NULL ? NULL : mem_string(text);
}

static size_t number(const struct settings *settings, const char *path, const char *name)
{
	return strtoul(setting_effective(settings, "%s %s", path, name), NULL, 10);
}

/* Neither is named: both. */
static void read_events(const struct settings *settings, const char *path, struct config_webhook *webhook)
{
	char *events = mem_format("%s event", path);

	for (size_t i = 0; i < settings->count; i++) {
		if (strcmp(settings->items[i].path, events) != 0)
			continue;
		webhook->deliveries |= strcmp(settings->items[i].value, "deliveries") == 0;
		webhook->bounces |= strcmp(settings->items[i].value, "bounces") == 0;
	}
	if (!webhook->deliveries && !webhook->bounces)
		webhook->deliveries = webhook->bounces = true;
	free(events);
}

void config_read_webhook(const struct settings *settings, const char *server, const char *url, struct config_webhook *webhook)
{
	struct buf buf = {0};
	const char *path;

	buf_printf(&buf, "server %s webhook", server);
	path_append(&buf, url);
	path = buf_text(&buf);
	*webhook = (struct config_webhook){
	    .name = mem_format("%s %s", server, url),
	    .server = mem_string(server),
	    .url = mem_string(url),
	    .sealed_api_key = copy(settings_value(settings, "%s api-key", path)),
	    .sealed_secret = copy(settings_value(settings, "%s secret", path)),
	    .ca_file = copy(settings_value(settings, "%s ca-file", path)),
	    .interval_ms = setting_parse_duration_ms(setting_effective(settings, "%s interval", path)),
	    .batch = number(settings, path, "batch"),
	    .backlog = number(settings, path, "backlog"),
	};
	read_events(settings, path, webhook);
	buf_clear(&buf);
}

void config_webhook_copy(struct config_webhook *to, const struct config_webhook *from)
{
	*to = *from;
	to->name = copy(from->name);
	to->server = copy(from->server);
	to->url = copy(from->url);
	to->sealed_api_key = copy(from->sealed_api_key);
	to->sealed_secret = copy(from->sealed_secret);
	to->ca_file = copy(from->ca_file);
}

void config_webhook_clear(struct config_webhook *webhook)
{
	free(webhook->name);
	free(webhook->server);
	free(webhook->url);
	free(webhook->sealed_api_key);
	free(webhook->sealed_secret);
	free(webhook->ca_file);
	*webhook = (struct config_webhook){0};
}
