/* The configuration as a whole: each row by the table, then what rows mean together (setting_rules). */
#include <stdlib.h>
#include <string.h>

#include "provisioning/store/form.h"
#include "provisioning/store/settings.h"

#define ENGINE_THREADS_MAX 16 /* sessions of libp11 0.4.12 (reference/pkcs11) */

static bool check_keys(const struct setting_row *row, const char *path, struct err *err)
{
	const char *form = row->path;
	struct form_word word;
	size_t n_words, i = 0;
	char **words = path_words(path, &n_words);
	bool valid = true;

	for (; valid && form_next(&form, &word); i++)
		valid = !word.typed || setting_type_check(word.type, words[i], err);
	path_words_free(words);
	return valid;
}

static bool check_setting(const struct setting *setting, struct err *err)
{
	const struct setting_row *row = setting_row_of(setting->path);

	if (row == NULL)
		return err_set(err, ERR_INVALID, "%s: there is no such setting", setting->path);
	if (!check_keys(row, setting->path, err) || !setting_check_value(row, setting->value, err))
		return err_prefix(err, "%s", setting->path);
	return true;
}

static int by_path(const void *a, const void *b)
{
	const struct setting *const *left = a, *const *right = b;
	int order = strcmp((*left)->path, (*right)->path);

	return order != 0 ? order : strcmp((*left)->value, (*right)->value);
}

static bool check_repeated(const struct settings *settings, struct err *err)
{
	const struct setting **sorted = mem_new_array(settings->count, sizeof *sorted);
	bool valid = true;

	for (size_t i = 0; i < settings->count; i++)
		sorted[i] = &settings->items[i];
	qsort(sorted, settings->count, sizeof *sorted, by_path);
	for (size_t i = 1; valid && i < settings->count; i++) {
		const struct setting *one = sorted[i - 1], *other = sorted[i];

		if (strcmp(one->path, other->path) != 0)
			continue;
		if (!setting_row_of(one->path)->repeatable)
			valid = err_set(err, ERR_INVALID, "%s: is set twice", one->path);
		else if (strcmp(one->value, other->value) == 0)
			valid = err_set(err, ERR_INVALID, "%s: %s is set twice", one->path, one->value);
	}
	free(sorted);
	return valid;
}

/* ---- what belongs together ---- */

static bool rule_engine_threads(const struct settings *settings, struct err *err)
{
	long threads = strtol(setting_effective(settings, "hsm threads"), NULL, 10);

	if (strcmp(setting_effective(settings, "hsm backend"), "engine") == 0 && threads > ENGINE_THREADS_MAX)
		return err_set(err, ERR_INVALID, "hsm threads: the engine back end can do at most %d", ENGINE_THREADS_MAX);
	return true;
}

static bool rule_signing_needs_token(const struct settings *settings, const char *server, struct err *err)
{
	if (settings_value(settings, "server %s smime enabled", server) == NULL)
		return true;
	if (settings_value(settings, "hsm module") == NULL || settings_value(settings, "hsm token") == NULL)
		return err_set(err, ERR_INVALID, "server %s smime enabled: needs hsm module and hsm token", server);
	return true;
}

/* A password must not go to whoever answers there. */
static bool check_login(const struct settings *settings, const char *hop, struct err *err)
{
	const char *user = settings_value(settings, "%s user", hop), *password = settings_value(settings, "%s password", hop);
	const char *tls = setting_effective(settings, "%s tls", hop);

	if (user == NULL && password == NULL)
		return true;
	if (user == NULL || password == NULL)
		return err_set(err, ERR_INVALID, "%s: user and password go together, the %s is missing", hop,
			       user == NULL ? "user" : "password");
	if (settings_value(settings, "%s auth-without-tls", hop) == NULL && strcmp(tls, "require") != 0 &&
	    strcmp(tls, "implicit") != 0)
		return err_set(err, ERR_INVALID, "%s user: needs tls require or implicit, or auth-without-tls", hop);
	return true;
}

static bool rule_logs_in_safely(const struct settings *settings, const char *server, struct err *err)
{
	size_t n_hops;
	char **hops = settings_names(settings, &n_hops, "server %s next-hop", server);
	bool valid = true;

	for (size_t i = 0; valid && i < n_hops; i++) {
		struct buf path = {0};

		buf_printf(&path, "server %s next-hop", server);
		path_append(&path, hops[i]);
		valid = check_login(settings, buf_text(&path), err);
		buf_clear(&path);
	}
	path_words_free(hops);
	return valid;
}

static bool rule_somebody_can_authenticate(const struct settings *settings, const char *server, struct err *err)
{
	size_t n_users;

	path_words_free(settings_names(settings, &n_users, "server %s user", server));
	if (n_users == 0 && strcmp(setting_effective(settings, "server %s smtp auth", server), "required") == 0)
		return err_set(err, ERR_INVALID, "server %s smtp auth: is required, but there is no user", server);
	return true;
}

/* Listeners are bound once: the same address in two servers can only be a mistake. */
static bool rule_listens_once(const struct settings *settings, char **servers, struct err *err)
{
	struct settings seen = {0};
	bool valid = true;

	for (size_t s = 0; valid && servers[s] != NULL; s++) {
		size_t n_listens;
		char **listens = settings_names(settings, &n_listens, "server %s smtp listen", servers[s]);

		for (size_t i = 0; valid && i < n_listens; i++) {
			const char *other = settings_value(&seen, "%s", listens[i]);

			if (other != NULL)
				valid = err_set(err, ERR_INVALID, "server %s smtp listen %s: server %s listens there", servers[s],
						listens[i], other);
			settings_add(&seen, listens[i], servers[s]);
		}
		path_words_free(listens);
	}
	settings_clear(&seen);
	return valid;
}

static bool rule_copies_go_somewhere(const struct settings *settings, const char *server, struct err *err)
{
	size_t count;
	char **names = settings_names(settings, &count, "server %s intelligent-bcc", server);
	bool valid = true;

	for (size_t i = 0; valid && i < count; i++)
		valid = settings_value(settings, "server %s intelligent-bcc %s address", server, names[i]) != NULL ||
			err_set(err, ERR_INVALID, "server %s intelligent-bcc %s: has no address", server, names[i]);
	path_words_free(names);
	return valid;
}

static bool check_listen_tls(const struct settings *settings, const char *service, const char *listen, struct err *err)
{
	struct buf path = {0};
	bool tls, certificate, valid = true;

	buf_put_text(&path, service);
	path_append(&path, listen);
	tls = strcmp(setting_effective(settings, "%s tls", buf_text(&path)), "none") != 0;
	certificate = settings_value(settings, "%s certificate", buf_text(&path)) != NULL;
	if (tls && !certificate)
		valid = err_set(err, ERR_INVALID, "%s tls: needs a certificate: set %s certificate NAME (or tls none)",
				buf_text(&path), buf_text(&path));
	else if (tls && (settings_value(settings, "hsm module") == NULL || settings_value(settings, "hsm token") == NULL))
		valid = err_set(err, ERR_INVALID, "%s tls: needs hsm module and hsm token", buf_text(&path));
	buf_clear(&path);
	return valid;
}

static bool rule_tls_has_certificate(const struct settings *settings, const char *server, struct err *err)
{
	static const char *const services[] = {"smtp", "api"};
	bool valid = true;

	for (size_t s = 0; valid && s < sizeof services / sizeof *services; s++) {
		char *service = mem_format("server %s %s listen", server, services[s]);
		size_t n_listens;
		char **listens = settings_names(settings, &n_listens, "%s", service);

		for (size_t i = 0; valid && i < n_listens; i++)
			valid = check_listen_tls(settings, service, listens[i], err);
		path_words_free(listens);
		free(service);
	}
	return valid;
}

static bool (*const setting_rules[])(const struct settings *settings, const char *server, struct err *err) = {
    rule_signing_needs_token, rule_logs_in_safely,	rule_somebody_can_authenticate,
    rule_copies_go_somewhere, rule_tls_has_certificate,
};

bool settings_check(const struct settings *settings, struct err *err)
{
	char **servers;
	size_t n_servers;
	bool valid;

	for (size_t i = 0; i < settings->count; i++) {
		if (!check_setting(&settings->items[i], err))
			return false;
	}
	if (!check_repeated(settings, err) || !rule_engine_threads(settings, err))
		return false;
	servers = settings_names(settings, &n_servers, "server");
	valid = rule_listens_once(settings, servers, err);
	for (size_t s = 0; valid && s < n_servers; s++) {
		for (size_t i = 0; valid && i < sizeof setting_rules / sizeof *setting_rules; i++)
			valid = setting_rules[i](settings, servers[s], err);
	}
	path_words_free(servers);
	return valid;
}
