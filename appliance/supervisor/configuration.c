#include "appliance/supervisor/configuration.h"

#include <stdlib.h>
#include <string.h>

#include "appliance/supervisor/listeners.h"
#include "provisioning/store/settings.h"

#define PIN_FILE_PREFIX "file:"

static char *effective_text(const struct settings *settings, const char *path)
{
	const char *value = setting_effective(settings, "%s", path);

	return mem_string(value != NULL ? value : "");
}

static unsigned effective_number(const struct settings *settings, const char *path)
{
	const char *value = setting_effective(settings, "%s", path);

	return value != NULL ? (unsigned)strtoul(value, NULL, 10) : 0;
}

static uint32_t effective_ms(const struct settings *settings, const char *path)
{
	const char *value = setting_effective(settings, "%s", path);
	int64_t ms = value != NULL ? setting_parse_duration_ms(value) : 0;

	return ms > 0 && ms <= UINT32_MAX ? (uint32_t)ms : 0;
}

static void append(char ***items, size_t *count, char *item)
{
	*items = mem_resize(*items, *count + 1, sizeof **items);
	(*items)[(*count)++] = item;
}

static void read_environment(const struct settings *settings, struct hsm_settings *hsm)
{
	size_t count;
	char **names = settings_names(settings, &count, "hsm module-environment");

	for (size_t i = 0; i < count; i++) {
		const char *value = settings_value(settings, "hsm module-environment %s", names[i]);

		if (value != NULL)
			append(&hsm->environment, &hsm->n_environment, mem_format("%s=%s", names[i], value));
	}
	path_words_free(names);
}

static void read_writable(const struct settings *settings, struct hsm_settings *hsm)
{
	for (size_t i = 0; i < settings->count; i++)
		if (strcmp(settings->items[i].path, "hsm module-writable") == 0)
			append(&hsm->writable, &hsm->n_writable, mem_string(settings->items[i].value));
}

static void read_hsm(const struct settings *settings, struct hsm_settings *hsm)
{
	*hsm = (struct hsm_settings){
	    .module = effective_text(settings, "hsm module"),
	    .token = effective_text(settings, "hsm token"),
	    .backend = effective_text(settings, "hsm backend"),
	    .threads = effective_number(settings, "hsm threads"),
	    .import_minimum = effective_text(settings, "hsm import-minimum"),
	    .canary_ms = effective_ms(settings, "hsm canary"),
	    .processes = effective_number(settings, "hsm processes"),
	};
	read_environment(settings, hsm);
	read_writable(settings, hsm);
}

struct configuration *configuration_new(struct snapshot *snapshot, struct err *err)
{
	const struct settings *settings = &snapshot->settings;
	char **listens = listeners_wanted(settings, err);
	struct configuration *configuration;
	const char *pin_source;

	if (listens == NULL) {
		snapshot_free(snapshot);
		return NULL;
	}
	configuration = mem_new(sizeof *configuration);
	configuration->snapshot = snapshot;
	configuration->listens = listens;
	configuration->processes = effective_number(settings, "hsm processes");
	read_hsm(settings, &configuration->hsm);
	pin_source = setting_effective(settings, "hsm pin-source");
	if (pin_source != NULL && strncmp(pin_source, PIN_FILE_PREFIX, strlen(PIN_FILE_PREFIX)) == 0)
		configuration->pin_file = mem_string(pin_source + strlen(PIN_FILE_PREFIX));
	return configuration;
}

struct configuration *configuration_empty(void)
{
	return configuration_new(snapshot_new(), NULL);
}

void configuration_free(struct configuration *configuration)
{
	if (configuration == NULL)
		return;
	snapshot_free(configuration->snapshot);
	hsm_settings_clear(&configuration->hsm);
	free(configuration->pin_file);
	path_words_free(configuration->listens);
	free(configuration);
}

bool configuration_same_hsm(const struct configuration *a, const struct configuration *b)
{
	struct buf encoded_a = {0}, encoded_b = {0};
	bool same;

	hsm_settings_encode(&encoded_a, &a->hsm);
	hsm_settings_encode(&encoded_b, &b->hsm);
	same = bytes_equal(buf_bytes(&encoded_a), buf_bytes(&encoded_b));
	buf_clear(&encoded_a);
	buf_clear(&encoded_b);
	return same;
}

bool configuration_has_hsm(const struct configuration *configuration)
{
	return configuration->hsm.module[0] != '\0' && configuration->hsm.token[0] != '\0';
}

static bool contains(const struct worker_certificates *certificates, uint64_t id)
{
	for (size_t i = 0; i < certificates->count; i++)
		if (certificates->items[i].id == id)
			return true;
	return false;
}

static void add_certificates(struct worker_certificates *to, const struct snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->n_certificates; i++) {
		const struct certificate *from = &snapshot->certificates[i];

		if (contains(to, from->id))
			continue;
		to->items = mem_resize(to->items, to->count + 1, sizeof *to->items);
		to->items[to->count++] = (struct worker_certificate){
		    .id = from->id, .key_id = from->key_id, .chain = from->chain, .n_chain = from->n_chain, .tls = from->tls};
	}
}

struct worker_certificates configuration_certificates(const struct configuration *running, const struct configuration *other)
{
	struct worker_certificates certificates = {0};

	add_certificates(&certificates, running->snapshot);
	if (other != NULL)
		add_certificates(&certificates, other->snapshot);
	return certificates;
}
