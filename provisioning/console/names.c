#include "provisioning/console/names.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "provisioning/console/relay_client.h"
#include "provisioning/store/form.h"

#define FILES_LOOKED_AT 5000 /* entries of a directory */

struct search {
	const struct console *console;
	const struct names_place *place;
	const struct expectation *wanted;
	struct names *names;
};

static bool is_known(const struct names *names, const char *text)
{
	for (size_t i = 0; i < names->count; i++)
		if (strcmp(names->items[i].text, text) == 0)
			return true;
	return false;
}

static bool begins(const char *text, const char *beginning)
{
	return strncmp(text, beginning, strlen(beginning)) == 0;
}

/* Takes `note`, which may be NULL. */
static void add(struct search *search, const char *text, char *note)
{
	struct names *names = search->names;

	if (names->count == NAMES_MAX || *text == '\0' || !begins(text, search->place->beginning) || is_known(names, text)) {
		free(note);
		return;
	}
	names->items = mem_resize(names->items, names->count + 1, sizeof *names->items);
	names->items[names->count++] = (struct name){.text = mem_string(text), .note = note != NULL ? note : mem_string("")};
}

/* ---- of the configuration ---- */

/* What is edited, or what runs. */
static bool read_settings(const struct console *console, struct settings *settings)
{
	struct candidate candidate;
	struct revision revision;
	bool exists;

	if (console->configuring) {
		if (!store_candidate(console->store, console->account, &candidate, &exists, NULL))
			return false;
		settings_copy(settings, &candidate.settings);
		candidate_clear(&candidate);
		return true;
	}
	if (!store_revision(console->store, 0, &revision, NULL))
		return false;
	settings_copy(settings, &revision.settings);
	revision_clear(&revision);
	return true;
}

static void servers(struct search *search)
{
	struct settings settings = {0};
	size_t count;
	char **found;

	if (!read_settings(search->console, &settings))
		return;
	found = settings_names(&settings, &count, "server");
	for (size_t i = 0; i < count; i++)
		add(search, found[i], NULL);
	path_words_free(found);
	settings_clear(&settings);
}

/* The word of this row that stands behind the words typed; or the value, where that is wanted. */
static void add_of_row(struct search *search, const struct setting *row, const struct parsed *typed)
{
	bool value = search->wanted->setting != NULL;
	size_t count, same = 0;
	char **words = path_words(row->path, &count);

	while (words != NULL && same < count && same < typed->count && strcmp(words[same], typed->words[same]) == 0)
		same++;
	if (words != NULL && same == typed->count && (value ? count == same : count > same))
		add(search, value ? row->value : words[same], NULL);
	path_words_free(words);
}

/* Keys and values that the configuration has at this place. */
static void existing(struct search *search)
{
	struct sentences sentences = settings_sentences(true);
	struct settings settings = {0};
	struct parsed typed;
	size_t at;

	if (!grammar_parse(&sentences, search->place->words + 1, search->place->count - 1, &typed, &at, NULL))
		return;
	if (read_settings(search->console, &settings)) {
		for (size_t i = 0; i < settings.count; i++)
			add_of_row(search, &settings.items[i], &typed);
		settings_clear(&settings);
	}
	parsed_clear(&typed);
}

/* ---- of the database ---- */

static void add_certificates(struct search *search, bool tls)
{
	struct stored_certificates found;
	char date[CONSOLE_TIME_BYTES];

	if (!store_certificates(search->console->store, NULL, &found, NULL))
		return;
	for (size_t i = 0; i < found.count; i++) {
		const struct certificate *one = &found.items[i].certificate;

		console_date(date, one->not_after);
		if (one->tls == tls)
			add(search, one->address, mem_format("valid until %s", date));
	}
	stored_certificates_clear(&found);
}

static void mail_certificates(struct search *search)
{
	add_certificates(search, false);
}

static void tls_certificates(struct search *search)
{
	add_certificates(search, true);
}

static void requests(struct search *search)
{
	enum certificate_kind kind =
	    strcmp(search->wanted->word, "<address>") == 0 ? CERTIFICATE_KIND_MAIL : CERTIFICATE_KIND_TLS;
	struct certificate_requests found;

	if (!store_requests(search->console->store, NULL, &found, NULL))
		return;
	for (size_t i = 0; i < found.count; i++)
		if (found.items[i].kind == kind)
			add(search, found.items[i].name, mem_format("requested, %s", found.items[i].key_type));
	certificate_requests_clear(&found);
}

static void accounts(struct search *search)
{
	struct accounts found;

	if (!store_accounts(search->console->store, &found, NULL))
		return;
	for (size_t i = 0; i < found.count; i++)
		add(search, found.items[i].name, mem_string(account_role_name(found.items[i].role)));
	accounts_clear(&found);
}

static void revisions(struct search *search)
{
	struct revisions found;

	if (!store_revisions(search->console->store, &found, NULL))
		return;
	for (size_t i = 0; i < found.count; i++) {
		char number[24], time[CONSOLE_TIME_BYTES];

		snprintf(number, sizeof number, "%zu", i);
		console_time(time, found.items[i].created_ms);
		add(search, number, mem_format("%s %s %.12s", time, found.items[i].by, found.items[i].comment));
	}
	revisions_clear(&found);
}

/* ---- of the relay ---- */

static bool add_queue_id(char *const *cells, void *arg)
{
	struct search *search = arg;

	add(search, cells[QUERY_QUEUE_ID], mem_format("%.22s -> %.22s", cells[QUERY_QUEUE_SENDER], cells[QUERY_QUEUE_RECIPIENT]));
	return search->names->count < NAMES_MAX;
}

static void queue_ids(struct search *search)
{
	struct query query = {.kind = QUERY_QUEUE, .cursor = mem_string(""), .limit = NAMES_MAX};
	struct relay_client client;

	if (relay_open_within(&client, search->console->state, NAMES_RELAY_MS, NULL)) {
		(void)!relay_ask_all(&client, &query, QUERY_QUEUE_COLUMNS, NAMES_MAX, add_queue_id, search, NULL, NULL);
		relay_close(&client);
	}
	query_clear(&query);
}

static void queue_ids_or_all(struct search *search)
{
	add(search, "all", mem_string("everything in the queue"));
	queue_ids(search);
}

/* ---- of the file system ---- */

static int by_text(const void *a, const void *b)
{
	return strcmp(((const struct name *)a)->text, ((const struct name *)b)->text);
}

static void add_file(struct search *search, const char *directory, const char *name)
{
	char *path = mem_format("%s%s", directory, name);
	struct stat status;
	size_t before = search->names->count;

	if (stat(path, &status) == 0 && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode))) {
		char *text = mem_format("%s%s", path, S_ISDIR(status.st_mode) ? "/" : "");

		add(search, text, S_ISDIR(status.st_mode) ? NULL : mem_format("%lld octets", (long long)status.st_size));
		if (search->names->count > before)
			search->names->items[before].open = S_ISDIR(status.st_mode);
		free(text);
	}
	free(path);
}

static void files(struct search *search)
{
	const char *beginning = search->place->beginning, *slash = strrchr(beginning, '/');
	char *directory = slash == NULL ? mem_string("") : mem_string_n(beginning, (size_t)(slash - beginning) + 1);
	DIR *open = opendir(*directory == '\0' ? "." : directory);
	struct dirent *entry;

	for (unsigned i = 0; open != NULL && i < FILES_LOOKED_AT && (entry = readdir(open)) != NULL; i++) {
		const char *rest = beginning + strlen(directory);

		if (begins(entry->d_name, rest) && (entry->d_name[0] != '.' || *rest == '.') && strcmp(entry->d_name, ".") != 0 &&
		    strcmp(entry->d_name, "..") != 0)
			add_file(search, directory, entry->d_name);
	}
	if (open != NULL)
		closedir(open);
	free(directory);
	if (search->names->count > 0)
		qsort(search->names->items, search->names->count, sizeof *search->names->items, by_text);
}

/* ---- filters: NAME VALUE pairs at the end of a command ---- */

static const struct {
	const char *command, *names; /* how its form begins, and what its filters are called */
} filtered[] = {
    {"show log delivery", "id|server|sender|from|to|status|text|since|until|last|count"},
    {"show log audit", "last|row|who|what|since|until|failed"},
    {"show queue", "server|destination|sender|recipient|state|count"},
    {"show sessions", "server|count"},
    {"show statistics", "last|server"},
};

static const struct {
	const char *name, *values;
} filter_words[] = {
    {"status", "queued|succeeded|failed|deferred"},
    {"state", "waiting|deferred|held|active"},
    {"last", "24h|7d"},
};

static void add_words(struct search *search, const char *choices)
{
	struct bytes rest = bytes_text(choices), choice;

	while (form_next_choice(&rest, &choice)) {
		char *word = bytes_string(choice);

		add(search, word, NULL);
		free(word);
	}
}

static size_t literal_words(const char *form)
{
	struct form_word word;
	size_t count = 0;

	while (form_next(&form, &word) && !word.typed)
		count++;
	return count;
}

static void filter_value(struct search *search, const char *name)
{
	if (strcmp(name, "server") == 0)
		servers(search);
	else if (strcmp(name, "id") == 0)
		queue_ids(search);
	for (size_t i = 0; i < sizeof filter_words / sizeof *filter_words; i++)
		if (strcmp(filter_words[i].name, name) == 0)
			add_words(search, filter_words[i].values);
}

static void filters(struct search *search)
{
	size_t first = literal_words(search->wanted->sentence), count = search->place->count;

	if (count > first && (count - first) % 2 == 1) {
		filter_value(search, search->place->words[count - 1].text);
		return;
	}
	for (size_t i = 0; i < sizeof filtered / sizeof *filtered; i++)
		if (begins(search->wanted->sentence, filtered[i].command))
			add_words(search, filtered[i].names);
}

static void filters_or_ids(struct search *search)
{
	filters(search);
	if (search->place->count == literal_words(search->wanted->sentence))
		queue_ids(search);
}

/* ---- which ---- */

/* The first row whose sentence begins so and whose word is this one; NULL: any. Without `find` there is nothing to list. */
static const struct {
	const char *sentence, *word;
	void (*find)(struct search *search);
} sources[] = {
    {"account add", "<account>", NULL},
    {NULL, "<account>", accounts},
    {"certificate import", NULL, NULL}, /* a new name */
    {"certificate request", NULL, requests},
    {"certificate install", "<address>", requests},
    {"certificate install", "<name>", requests},
    {"show certificates request", NULL, requests},
    {NULL, "<file>", files},
    {NULL, "<file-or-terminal>", files},
    {"certificate", "<address>", mail_certificates},
    {"certificate", "<name>", tls_certificates},
    {"test mail", "<from>", mail_certificates},
    {NULL, "<server>", servers},
    {NULL, "<id-or-all>", queue_ids_or_all},
    {NULL, "<id>", queue_ids},
    {NULL, "<id-or-filter>", filters_or_ids},
    {NULL, "<filter>", filters},
    {"rollback", "<revision>", revisions},
};

static bool ends_with(const char *text, const char *end)
{
	return strlen(text) >= strlen(end) && strcmp(text + strlen(text) - strlen(end), end) == 0;
}

/* Behind `set`, `delete`, `show`: what is there, and what its type may name. */
static void of_setting(struct search *search)
{
	const struct setting_row *value = search->wanted->setting;

	existing(search);
	if (value == NULL || strcmp(search->place->words[0].text, "set") != 0)
		return;
	if (value->type == SETTING_MAIL_ADDRESS && ends_with(value->path, " certificate"))
		mail_certificates(search);
	else if (value->type == SETTING_HOST_NAME && ends_with(value->path, " certificate"))
		tls_certificates(search);
	else if (value->type == SETTING_PATH)
		files(search);
}

void names_find(const struct console *console, const struct names_place *place, const struct expectation *wanted,
		struct names *names)
{
	struct search search = {console, place, wanted, names};

	*names = (struct names){0};
	if (console->store == NULL || !wanted->typed)
		return;
	if (place->settings) {
		of_setting(&search);
		return;
	}
	for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
		if ((sources[i].sentence != NULL && !begins(wanted->sentence, sources[i].sentence)) ||
		    (sources[i].word != NULL && strcmp(sources[i].word, wanted->word) != 0))
			continue;
		if (sources[i].find != NULL)
			sources[i].find(&search);
		return;
	}
}

void names_clear(struct names *names)
{
	for (size_t i = 0; i < names->count; i++) {
		free(names->items[i].text);
		free(names->items[i].note);
	}
	free(names->items);
	*names = (struct names){0};
}
