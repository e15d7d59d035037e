/*
 * All sentences are walked at once: after each word the ones that it fits are alive. A branch is one word that an alive
 * sentence could take next.
 */
#include "provisioning/console/grammar.h"

#include <stdlib.h>
#include <string.h>

#define EXPECTED_SHOWN 8 /* words that an error text lists */

struct branch {
	struct bytes text; /* the literal word, or the label */
	bool typed, rest, is_value;
	enum setting_type type; /* typed */
	const struct setting_row *setting; /* typed: the value of this setting */
	size_t sentence;
	const char *form; /* what is left of it behind this word */
};

struct state {
	const struct sentences *sentences;
	struct branch *branches;
	size_t count;
	bool complete; /* some sentence ends here */
	size_t ended; /* which */
};

static void add_branch(struct state *state, struct branch branch)
{
	state->branches = mem_resize(state->branches, state->count + 1, sizeof *state->branches);
	state->branches[state->count++] = branch;
}

static void add_choices(struct state *state, struct bytes choices, struct branch branch)
{
	while (form_next_choice(&choices, &branch.text))
		add_branch(state, branch);
}

static bool value_is_typed(const struct setting_row *setting)
{
	return setting != NULL && setting->type != SETTING_FLAG && !setting_is_secret(setting);
}

/* Adds what the sentence may take next when `form` is left of it. */
static void expand(struct state *state, size_t sentence, const char *form, bool value_taken)
{
	const struct setting_row *setting = state->sentences->items[sentence].setting;
	struct branch branch = {.sentence = sentence};
	struct form_word word;

	while (form_next(&form, &word)) {
		branch = (struct branch){
		    .sentence = sentence, .form = form, .typed = word.typed, .rest = word.rest, .type = word.type};
		branch.text = word.text;
		if (word.typed)
			add_branch(state, branch);
		else
			add_choices(state, word.text, branch);
		if (!word.optional)
			return;
	}
	if (!value_is_typed(setting) || value_taken) {
		state->complete = true;
		state->ended = sentence;
		return;
	}
	branch = (struct branch){.sentence = sentence, .form = form, .is_value = true, .setting = setting, .type = setting->type};
	branch.typed = setting->type != SETTING_WORD;
	branch.text = bytes_text("value");
	if (branch.typed)
		add_branch(state, branch);
	else
		add_choices(state, bytes_text(setting->choices), branch);
}

static struct state state_first(const struct sentences *sentences)
{
	struct state state = {.sentences = sentences};

	for (size_t i = 0; i < sentences->count; i++)
		expand(&state, i, sentences->items[i].form, false);
	return state;
}

static bool same_word(const struct branch *a, const struct branch *b)
{
	return a->typed == b->typed && bytes_equal(a->text, b->text);
}

/* ---- choosing a branch for a word ---- */

static bool starts_with(struct bytes text, const char *beginning)
{
	size_t len = strlen(beginning);

	return len <= text.len && memcmp(text.data, beginning, len) == 0;
}

static void list_word(struct buf *list, const struct branch *branch)
{
	buf_put_text(list, list->len == 0 ? "" : ", ");
	buf_printf(list, branch->typed ? "<%.*s>" : "%.*s", (int)branch->text.len, (const char *)branch->text.data);
}

/* The distinct words of the branches that begin so ("" for all), for an error text. */
static void list_words(struct buf *list, const struct state *state, const char *beginning)
{
	size_t shown = 0;

	for (size_t i = 0; i < state->count; i++) {
		const struct branch *branch = &state->branches[i];
		bool repeated = false;

		for (size_t j = 0; j < i && !repeated; j++)
			repeated = same_word(branch, &state->branches[j]);
		if (repeated || (!branch->typed && !starts_with(branch->text, beginning)) ||
		    (branch->typed && *beginning != '\0'))
			continue;
		if (shown++ == EXPECTED_SHOWN) {
			buf_put_text(list, ", ...");
			return;
		}
		list_word(list, branch);
	}
}

static bool refuse(const struct state *state, const struct line_word *word, struct err *err)
{
	struct buf list = {0};

	if (state->count == 0 && state->complete && setting_is_secret(state->sentences->items[state->ended].setting))
		return err_set(err, ERR_INVALID, "the password is prompted for, never given here");
	if (state->count == 0)
		return err_set(err, ERR_INVALID, "nothing more is expected here");
	list_words(&list, state, "");
	err_set(err, ERR_INVALID, "\"%s\" is not known here; expected: %s", word->text, buf_text(&list));
	buf_clear(&list);
	return false;
}

static const struct branch *choose_literal(const struct state *state, const struct line_word *word, bool *ambiguous)
{
	const struct branch *found = NULL;

	*ambiguous = false;
	for (size_t i = 0; i < state->count; i++) {
		const struct branch *branch = &state->branches[i];

		if (branch->typed)
			continue;
		if (bytes_equal_text(branch->text, word->text)) {
			*ambiguous = false;
			return branch;
		}
		if (word->quoted || *word->text == '\0' || !starts_with(branch->text, word->text))
			continue;
		*ambiguous |= found != NULL && !same_word(found, branch);
		found = branch;
	}
	return found;
}

static bool fits(const struct branch *branch, const char *text, struct err *err)
{
	return branch->setting != NULL ? setting_check_value(branch->setting, text, err)
				       : setting_type_check(branch->type, text, err);
}

static const struct branch *choose_typed(const struct state *state, const struct line_word *word, struct err *err)
{
	bool any = false;

	for (size_t i = 0; i < state->count; i++) {
		if (!state->branches[i].typed)
			continue;
		any = true;
		if (fits(&state->branches[i], word->text, err))
			return &state->branches[i];
	}
	if (!any)
		refuse(state, word, err);
	return NULL;
}

static const struct branch *choose(const struct state *state, const struct line_word *word, struct err *err)
{
	bool ambiguous;
	const struct branch *branch = choose_literal(state, word, &ambiguous);
	struct buf list = {0};

	if (branch == NULL)
		return choose_typed(state, word, err);
	if (!ambiguous)
		return branch;
	list_words(&list, state, word->text);
	err_set(err, ERR_INVALID, "\"%s\" may be %s", word->text, buf_text(&list));
	buf_clear(&list);
	return NULL;
}

/* The state behind a chosen word: every branch with the same word goes on. */
static void advance(struct state *state, const struct branch *chosen)
{
	struct state next = {.sentences = state->sentences};

	for (size_t i = 0; i < state->count; i++) {
		const struct branch *branch = &state->branches[i];

		if (same_word(branch, chosen) && branch->setting == chosen->setting)
			expand(&next, branch->sentence, branch->form, branch->is_value);
	}
	free(state->branches);
	*state = next;
}

/* ---- parsing ---- */

void parsed_clear(struct parsed *parsed)
{
	for (size_t i = 0; i < parsed->count; i++)
		free(parsed->words[i]);
	free(parsed->words);
	free(parsed->typed);
	*parsed = (struct parsed){0};
}

bool parsed_has(const struct parsed *parsed, const char *word)
{
	for (size_t i = 0; i < parsed->count; i++) {
		if (strcmp(parsed->words[i], word) == 0)
			return true;
	}
	return false;
}

static void add_word(struct parsed *parsed, char *word, bool typed)
{
	parsed->words = mem_resize(parsed->words, parsed->count + 2, sizeof *parsed->words);
	parsed->words[parsed->count++] = word;
	parsed->words[parsed->count] = NULL;
	if (!typed)
		return;
	parsed->typed = mem_resize(parsed->typed, parsed->n_typed + 1, sizeof *parsed->typed);
	parsed->typed[parsed->n_typed++] = word;
}

static bool take_words(struct state *state, const struct line_word *words, size_t count, struct parsed *parsed, size_t *at,
		       struct err *err)
{
	const struct branch *chosen = NULL;

	for (*at = 0; *at < count; ++*at) {
		const struct line_word *word = &words[*at];

		if (chosen == NULL || !chosen->rest) {
			chosen = choose(state, word, err);
			if (chosen == NULL)
				return false;
		}
		add_word(parsed, chosen->typed ? mem_string(word->text) : bytes_string(chosen->text), chosen->typed);
		parsed->sentence = chosen->sentence;
		parsed->has_value = chosen->is_value;
		if (chosen->rest) {
			state->complete = true;
			state->ended = chosen->sentence;
		} else {
			advance(state, chosen);
			chosen = NULL;
		}
	}
	return true;
}

static bool check_end(const struct state *state, struct parsed *parsed, struct err *err)
{
	struct buf list = {0};

	parsed->whole = state->complete;
	if (state->complete)
		parsed->sentence = state->ended;
	if (state->complete || state->sentences->partial)
		return true;
	list_words(&list, state, "");
	err_set(err, ERR_INVALID, "something is missing; expected: %s", buf_text(&list));
	buf_clear(&list);
	return false;
}

bool grammar_parse(const struct sentences *sentences, const struct line_word *words, size_t count, struct parsed *parsed,
		   size_t *at, struct err *err)
{
	struct state state = state_first(sentences);
	struct parsed found = {0};
	bool fine = take_words(&state, words, count, &found, at, err) && check_end(&state, &found, err);

	free(state.branches);
	if (fine)
		*parsed = found;
	else
		parsed_clear(&found);
	return fine;
}

void grammar_place(const struct sentences *sentences, const struct line_word *words, size_t at, size_t *from, size_t *len)
{
	struct state state = state_first(sentences);
	struct parsed parsed = {0};
	size_t reached;

	*from = 0;
	*len = strlen(words[at].text);
	if (take_words(&state, words, at, &parsed, &reached, NULL)) {
		for (size_t i = 0; i < state.count; i++) {
			const struct branch *branch = &state.branches[i];

			if (branch->typed && *len == strlen(words[at].text))
				setting_place(branch->setting, branch->type, words[at].text, from, len);
		}
	}
	free(state.branches);
	parsed_clear(&parsed);
}

/* ---- what may come next ---- */

void expectations_clear(struct expectations *expectations)
{
	for (size_t i = 0; i < expectations->count; i++)
		free(expectations->items[i].word);
	free(expectations->items);
	*expectations = (struct expectations){0};
}

static int by_word(const void *a, const void *b)
{
	const struct expectation *left = a, *right = b;

	return left->typed != right->typed ? left->typed - right->typed : strcmp(left->word, right->word);
}

static bool ends_sentence(const struct branch *branch)
{
	const char *form = branch->form;
	struct form_word word;

	return !form_next(&form, &word) || word.optional || word.typed;
}

static void expect_branch(struct expectations *found, const struct state *state, const struct branch *branch)
{
	char *word = mem_format(branch->typed ? "<%.*s>" : "%.*s", (int)branch->text.len, (const char *)branch->text.data);
	const char *help = ends_sentence(branch) ? state->sentences->items[branch->sentence].help : "";

	for (size_t i = 0; i < found->count; i++) {
		if (strcmp(found->items[i].word, word) == 0) {
			if (found->items[i].help != help)
				found->items[i].help = "";
			free(word);
			return;
		}
	}
	found->items = mem_resize(found->items, found->count + 1, sizeof *found->items);
	found->items[found->count++] = (struct expectation){.word = word,
							    .typed = branch->typed,
							    .help = help,
							    .form = branch->typed ? setting_type_form(branch->type) : NULL,
							    .setting = branch->setting,
							    .sentence = state->sentences->items[branch->sentence].form};
}

bool grammar_expect(const struct sentences *sentences, const struct line_word *words, size_t count, const char *beginning,
		    struct expectations *expectations)
{
	struct state state = state_first(sentences);
	struct expectations found = {0};
	struct parsed parsed = {0};
	size_t at;
	bool fine = take_words(&state, words, count, &parsed, &at, NULL);

	for (size_t i = 0; fine && i < state.count; i++) {
		if (state.branches[i].typed || starts_with(state.branches[i].text, beginning))
			expect_branch(&found, &state, &state.branches[i]);
	}
	found.complete = fine && (state.complete || sentences->partial);
	if (found.count > 0)
		qsort(found.items, found.count, sizeof *found.items, by_word);
	free(state.branches);
	parsed_clear(&parsed);
	*expectations = found;
	return fine;
}
