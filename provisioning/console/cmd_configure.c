#include <stdlib.h>
#include <string.h>

#include "provisioning/console/commands.h"
#include "provisioning/console/prompt.h"
#include "provisioning/console/tree.h"
#include "provisioning/console/task.h"
#include "provisioning/store/password.h"
#include "provisioning/store/words.h"

/* ---- modes ---- */

static bool differs_from_running(struct console *console, const struct candidate *candidate, bool *differs, struct err *err)
{
	struct revision running;

	if (!store_revision(console->store, 0, &running, err))
		return false;
	*differs = !tree_equal(&running.settings, &candidate->settings) || candidate->pins.count > 0;
	revision_clear(&running);
	return true;
}

bool configure(struct console *console, const struct parsed *parsed, struct err *err)
{
	struct candidate candidate;
	bool exists, differs = false, fine;
	uint64_t candidate_base, running = 0;

	(void)parsed;
	if (!store_candidate(console->store, console->account, &candidate, &exists, err))
		return false;
	candidate_base = candidate.base;
	fine =
	    !exists || (differs_from_running(console, &candidate, &differs, err) && store_running(console->store, &running, err));
	candidate_clear(&candidate);
	if (fine && differs && candidate_base != running)
		console_say(console, "Revision %llu was committed since the candidate's edits began: commit keeps both",
			    (unsigned long long)running);
	if (fine && differs)
		console_say(console, "The candidate holds earlier edits (show | compare lists them, rollback 0 drops them)");
	console->configuring = fine;
	return fine;
}

bool leave(struct console *console, const struct parsed *parsed, struct err *err)
{
	(void)parsed;
	(void)err;
	console->ended = !console->configuring;
	console->configuring = false;
	return true;
}

/* ---- a sentence of the settings table ---- */

struct setting_words {
	char *path;
	char *value; /* NULL: none was typed */
	const struct setting_row *row; /* NULL: the words are a beginning only */
};

static void setting_words_clear(struct setting_words *words)
{
	free(words->path);
	free(words->value);
}

/* The words behind `set`, `delete` or `show`, which the session has found to be well-formed. */
static bool read_words(const struct parsed *command, bool partial, struct setting_words *words, struct err *err)
{
	struct sentences sentences = settings_sentences(partial);
	struct line_word *typed = mem_new_array(command->count, sizeof *typed);
	struct buf path = {0};
	struct parsed parsed;
	bool fine;
	size_t at;

	for (size_t i = 1; i < command->count; i++)
		typed[i - 1].text = command->words[i];
	fine = grammar_parse(&sentences, typed, command->count - 1, &parsed, &at, err);
	free(typed);
	if (!fine)
		return false;
	for (size_t i = 0; i < parsed.count - parsed.has_value; i++)
		path_append(&path, parsed.words[i]);
	*words = (struct setting_words){
	    .path = mem_string(buf_text(&path)),
	    .value = parsed.has_value ? mem_string(parsed.words[parsed.count - 1]) : NULL,
	    .row = parsed.whole ? sentences.items[parsed.sentence].setting : NULL,
	};
	buf_clear(&path);
	parsed_clear(&parsed);
	return true;
}

static void audit_as(struct console *console, const char *verb, const struct setting_words *words)
{
	struct buf text = {0};

	buf_printf(&text, "%s %s", verb, words->path);
	if (words->value != NULL && !setting_is_secret(words->row)) {
		buf_put_byte(&text, ' ');
		word_put(&text, words->value);
	}
	free(console->audit_text);
	console->audit_text = mem_string(buf_text(&text));
	buf_clear(&text);
}

/* ---- set and delete ---- */

static bool ask_password(struct setting_words *words, struct err *err)
{
	char *user = strrchr(words->path, ' '), *name, *prompt;
	struct secret *password;

	name = mem_string_n(words->path, (size_t)(user - words->path));
	prompt = mem_format("New password of user %s", strrchr(name, ' ') + 1);
	password = prompt_new_secret(prompt, err);
	free(prompt);
	free(name);
	if (password == NULL)
		return false;
	words->value = password_hash(secret_text(password), err);
	secret_free(password);
	return words->value != NULL;
}

/* The name of the next hop or webhook is the last word but one of the path: it cannot be opened for another one. */
static bool seal(struct console *console, struct setting_words *words, struct bytes password, struct err *err)
{
	size_t count;
	char **path = path_words(words->path, &count);
	char *context = mem_format(PROVISION_NEXT_HOP_CONTEXT "%s", path[count - 2]);
	struct buf sealed = {0}, value = {0};
	struct task task;
	bool good = task_open(console, &task, err);

	path_words_free(path);
	if (good) {
		good = provision_seal(&task.call, bytes_text(context), password, &sealed, err);
		task_close(&task);
	}
	free(context);
	if (good) {
		buf_put_text(&value, SETTING_SEALED_SCHEME);
		for (size_t i = 0; i < sealed.len; i++)
			buf_printf(&value, "%02x", sealed.data[i]);
		words->value = mem_string(buf_text(&value));
	}
	buf_clear(&value);
	buf_clear(&sealed);
	return good || err_prefix(err, "the password cannot be sealed on the token");
}

/* A password that the relay must know in clear: kept under a key of the token. */
static bool ask_sealed(struct console *console, struct setting_words *words, struct err *err)
{
	const char *last = strrchr(words->path, ' ');
	struct secret *password = prompt_new_secret(strcmp(last, " api-key") == 0  ? "API key of the webhook"
						    : strcmp(last, " secret") == 0 ? "Secret of the webhook"
										   : "Password at the next hop",
						    err);
	bool good;

	if (password == NULL)
		return false;
	good = seal(console, words, secret_bytes(password), err);
	secret_free(password);
	return good;
}

static bool ask_secret(struct console *console, struct setting_words *words, struct err *err)
{
	return words->row->type == SETTING_SEALED ? ask_sealed(console, words, err) : ask_password(words, err);
}

typedef bool edit_candidate(struct candidate *candidate, const struct setting_words *words, struct err *err);

static bool edit(struct console *console, const struct setting_words *words, edit_candidate *apply, struct err *err)
{
	struct candidate candidate;
	bool exists, done;

	if (!store_candidate(console->store, console->account, &candidate, &exists, err))
		return false;
	done = apply(&candidate, words, err) && store_candidate_save(console->store, console->account, &candidate, err);
	candidate_clear(&candidate);
	return done;
}

static bool apply_set(struct candidate *candidate, const struct setting_words *words, struct err *err)
{
	(void)err;
	tree_set(&candidate->settings, words->row, words->path, words->value == NULL ? "" : words->value);
	return true;
}

static bool apply_delete(struct candidate *candidate, const struct setting_words *words, struct err *err)
{
	if (tree_delete(&candidate->settings, words->path, words->value) == 0)
		return err_set(err, ERR_NOT_FOUND, "%s%s%s is not set", words->path, words->value == NULL ? "" : " ",
			       words->value == NULL ? "" : words->value);
	return true;
}

bool set_setting(struct console *console, const struct parsed *parsed, struct err *err)
{
	struct setting_words words;
	bool done;

	if (!read_words(parsed, false, &words, err))
		return false;
	audit_as(console, "set", &words);
	done = (!setting_is_secret(words.row) || ask_secret(console, &words, err)) && edit(console, &words, apply_set, err);
	setting_words_clear(&words);
	return done;
}

bool delete_setting(struct console *console, const struct parsed *parsed, struct err *err)
{
	struct setting_words words;
	bool done;

	if (!read_words(parsed, true, &words, err))
		return false;
	audit_as(console, "delete", &words);
	done = edit(console, &words, apply_delete, err);
	setting_words_clear(&words);
	return done;
}

/* ---- showing ---- */

static const struct report_column setting_columns[] = {{"", NULL, false}, {"", "path", false}, {"", "value", false}};

static const char *shown_value(const struct setting *setting)
{
	const struct setting_row *row = setting_row_of(setting->path);

	return setting_is_secret(row) ? TREE_HIDDEN : setting->value;
}

static void add_line(struct report *report, const char *before, const struct setting *setting)
{
	struct buf line = {0};

	buf_put_text(&line, before);
	tree_put_line(&line, setting);
	report_cell(report, "%s", buf_text(&line));
	report_cell(report, "%s", setting->path);
	report_cell(report, "%s", shown_value(setting));
	buf_clear(&line);
}

static void show_settings(struct console *console, const struct settings *settings, const char *path)
{
	struct report report = report_of(REPORT_LINES, setting_columns, 3);
	struct settings below = {0};

	tree_below(settings, path, &below);
	for (size_t i = 0; i < below.count; i++)
		add_line(&report, "", &below.items[i]);
	console_show(console, &report);
	settings_clear(&below);
	report_clear(&report);
}

static void add_difference(char sign, const struct setting *setting, void *arg)
{
	const char before[] = {sign, ' ', '\0'};

	add_line(arg, before, setting);
}

/* Certificates that a commit would put into use in place of others. */
static void add_certificates(struct console *console, const struct revision *from, const struct candidate *to,
			     struct report *report)
{
	struct certificate_choices choices = {0};
	struct err err;

	if (!store_resolve_certificates(console->store, &to->settings, &to->pins, &choices, &err)) {
		console_say(console, "%s", err.text);
		return;
	}
	for (size_t i = 0; i < choices.count; i++) {
		const struct certificate_choice *choice = &choices.items[i];
		const uint64_t *before = certificate_choices_find(&from->choices, choice->address);

		if (before == NULL || *before == choice->certificate)
			continue;
		report_cell(report, "! certificate %s: %llu takes the place of %llu", choice->address,
			    (unsigned long long)choice->certificate, (unsigned long long)*before);
		report_cell(report, "certificate %s", choice->address);
		report_cell(report, "%llu", (unsigned long long)choice->certificate);
	}
	certificate_choices_clear(&choices);
}

static bool load_compared(struct console *console, struct revision *revision, struct err *err)
{
	struct revisions list;
	uint64_t number = 0;
	uint32_t back = console->filters->compare_with;

	if (back > 0) {
		if (!store_revisions(console->store, &list, err))
			return false;
		number = back < list.count ? list.items[back].number : 0;
		revisions_clear(&list);
		if (number == 0)
			return err_set(err, ERR_NOT_FOUND, "there is no rollback %u", back);
	}
	return store_revision(console->store, number, revision, err);
}

static bool show_difference(struct console *console, const struct candidate *candidate, struct err *err)
{
	struct report report = report_of(REPORT_LINES, setting_columns, 3);
	struct revision from;

	if (!load_compared(console, &from, err))
		return false;
	tree_compare(&from.settings, &candidate->settings, add_difference, &report);
	add_certificates(console, &from, candidate, &report);
	console_show(console, &report);
	revision_clear(&from);
	report_clear(&report);
	return true;
}

bool show_candidate(struct console *console, const struct parsed *parsed, struct err *err)
{
	struct setting_words words = {0};
	struct candidate candidate;
	bool exists, done = true;

	if (parsed->count > 1 && !read_words(parsed, true, &words, err))
		return false;
	if (!store_candidate(console->store, console->account, &candidate, &exists, err)) {
		setting_words_clear(&words);
		return false;
	}
	if (console->filters->compare)
		done = show_difference(console, &candidate, err);
	else
		show_settings(console, &candidate.settings, words.path == NULL ? "" : words.path);
	candidate_clear(&candidate);
	setting_words_clear(&words);
	return done;
}

bool show_running(struct console *console, const struct parsed *parsed, struct err *err)
{
	struct revision running;

	if (console->filters->compare)
		return show_candidate(console, &(struct parsed){.count = 1}, err);
	(void)parsed;
	if (!store_revision(console->store, 0, &running, err))
		return false;
	show_settings(console, &running.settings, "");
	revision_clear(&running);
	return true;
}

static char *joined_names(char **names)
{
	struct buf text = {0};
	char *joined;

	for (size_t i = 0; names[i] != NULL; i++)
		buf_printf(&text, "%s%s", i == 0 ? "" : ",", names[i]);
	joined = mem_string(text.len == 0 ? "-" : buf_text(&text));
	buf_clear(&text);
	path_words_free(names);
	return joined;
}

static void add_server(struct report *report, const struct settings *settings, const char *name)
{
	char *path = mem_format("server %s smime certificate", name);
	size_t count, certificates = 0;
	char *listens = joined_names(settings_names(settings, &count, "server %s smtp listen", name));
	char *next_hops = joined_names(settings_names(settings, &count, "server %s next-hop", name));

	for (size_t i = 0; i < settings->count; i++)
		certificates += strcmp(settings->items[i].path, path) == 0;
	report_cell(report, "%s", name);
	report_cell(report, "%s", settings_value(settings, "server %s smime enabled", name) != NULL ? "on" : "off");
	report_cell(report, "%zu", certificates);
	report_cell(report, "%s", listens);
	report_cell(report, "%s", next_hops);
	free(next_hops);
	free(listens);
	free(path);
}

bool show_servers(struct console *console, const struct parsed *parsed, struct err *err)
{
	static const struct report_column columns[] = {{"SERVER", "server", false},
						       {"S/MIME", "smime", false},
						       {"CERTIFICATES", "certificates", true},
						       {"LISTENS ON", "listens", false},
						       {"DELIVERS TO", "next_hops", false}};
	struct report report = report_of(REPORT_TABLE, columns, 5);
	struct revision running;
	size_t n_servers;
	char **servers;

	(void)parsed;
	if (!store_revision(console->store, 0, &running, err))
		return false;
	servers = settings_names(&running.settings, &n_servers, "server");
	for (size_t i = 0; i < n_servers; i++)
		add_server(&report, &running.settings, servers[i]);
	console_show(console, &report);
	path_words_free(servers);
	revision_clear(&running);
	report_clear(&report);
	return true;
}
