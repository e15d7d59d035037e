#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "provisioning/console/grammar.h"
#include "provisioning/console/report.h"

struct filter {
	pcre2_code *expression;
	bool except;
};

enum { FILTER_MATCH, FILTER_EXCEPT, FILTER_COUNT, FILTER_JSON, FILTER_COMPARE, FILTER_NO_MORE };

static const struct sentence filter_sentences[] = {
    [FILTER_MATCH] = {"match <expression>", NULL, "Show the lines that match"},
    [FILTER_EXCEPT] = {"except <expression>", NULL, "Show the lines that do not match"},
    [FILTER_COUNT] = {"count", NULL, "Show how many lines there are"},
    [FILTER_JSON] = {"json", NULL, "Show as JSON"},
    [FILTER_COMPARE] = {"compare [<revision:number>]", NULL, "Show changes to what runs, or to rollback N"},
    [FILTER_NO_MORE] = {"no-more", NULL, "Show all at once, without ---(more)---"},
};

static const struct sentences filter_grammar = {filter_sentences, sizeof filter_sentences / sizeof *filter_sentences, false};

struct sentences filters_sentences(void)
{
	return filter_grammar;
}

static bool add_expression(struct filters *filters, const char *text, bool except, struct err *err)
{
	PCRE2_UCHAR message[128];
	PCRE2_SIZE offset;
	int number;
	pcre2_code *code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, PCRE2_CASELESS, &number, &offset, NULL);

	if (code == NULL) {
		pcre2_get_error_message(number, message, sizeof message);
		return err_set(err, ERR_INVALID, "expression does not compile: %s (at character %zu)", (char *)message,
			       offset + 1);
	}
	filters->items = mem_resize(filters->items, filters->count + 1, sizeof *filters->items);
	filters->items[filters->count++] = (struct filter){.expression = code, .except = except};
	return true;
}

static bool add_filter(struct filters *filters, const struct parsed *parsed, struct err *err)
{
	switch (parsed->sentence) {
	case FILTER_MATCH:
	case FILTER_EXCEPT:
		return add_expression(filters, parsed->typed[0], parsed->sentence == FILTER_EXCEPT, err);
	case FILTER_COUNT:
		filters->count_lines = true;
		return true;
	case FILTER_JSON:
		filters->json = true;
		return true;
	case FILTER_NO_MORE:
		filters->no_more = true;
		return true;
	default:
		filters->compare = true;
		filters->compare_with = parsed->n_typed == 0 ? 0 : (uint32_t)strtoul(parsed->typed[0], NULL, 10);
		return true;
	}
}

bool filters_parse(struct filters *filters, const struct line_word *words, size_t count, size_t *at, struct err *err)
{
	struct filters found = {0};
	size_t begin = 0;
	bool fine = true;

	while (fine && begin <= count) {
		struct parsed parsed;
		size_t end = begin;

		while (end < count && !line_word_is_pipe(&words[end]))
			end++;
		fine = grammar_parse(&filter_grammar, words + begin, end - begin, &parsed, at, err);
		*at += begin;
		if (!fine)
			break;
		fine = add_filter(&found, &parsed, err);
		*at = begin + 1;
		parsed_clear(&parsed);
		begin = end + 1;
	}
	if (fine)
		*filters = found;
	else
		filters_clear(&found);
	return fine;
}

void filters_clear(struct filters *filters)
{
	for (size_t i = 0; i < filters->count; i++)
		pcre2_code_free(filters->items[i].expression);
	free(filters->items);
	*filters = (struct filters){0};
}

static bool passes(const struct filters *filters, struct bytes line)
{
	bool pass = true;

	for (size_t i = 0; pass && i < filters->count; i++) {
		pcre2_match_data *data = pcre2_match_data_create_from_pattern(filters->items[i].expression, NULL);
		int matched = pcre2_match(filters->items[i].expression, line.data, line.len, 0, 0, data, NULL);

		pass = (matched >= 0) != filters->items[i].except;
		pcre2_match_data_free(data);
	}
	return pass;
}

static size_t filter_lines(const struct filters *filters, struct bytes text, struct buf *out)
{
	size_t passed = 0;

	while (text.len > 0) {
		const uint8_t *end = memchr(text.data, '\n', text.len);
		size_t len = end == NULL ? text.len : (size_t)(end - text.data) + 1;
		struct bytes line = bytes_of(text.data, end == NULL ? len : len - 1);

		if (passes(filters, line)) {
			buf_put(out, text.data, len);
			passed++;
		}
		text = bytes_slice(text, len, text.len);
	}
	return passed;
}

static bool row_passes(const struct filters *filters, const struct report *report, size_t first)
{
	struct buf row = {0};
	bool pass;

	for (size_t i = first; i < first + report->n_columns; i++)
		buf_printf(&row, "%s%s", i == first ? "" : " ", report->cells[i]);
	pass = passes(filters, buf_bytes(&row));
	buf_clear(&row);
	return pass;
}

/* Rows instead of lines. */
static void apply_to_rows(const struct filters *filters, const struct report *report, struct buf *out)
{
	struct report chosen = *report;

	chosen.cells = mem_new_array(report->n_cells + 1, sizeof *chosen.cells);
	chosen.n_cells = 0;
	for (size_t i = 0; i + report->n_columns <= report->n_cells; i += report->n_columns) {
		if (!row_passes(filters, report, i))
			continue;
		memcpy(chosen.cells + chosen.n_cells, report->cells + i, report->n_columns * sizeof *chosen.cells);
		chosen.n_cells += report->n_columns;
	}
	if (filters->count_lines)
		buf_printf(out, "%zu\n", chosen.n_cells / report->n_columns);
	else
		report_json(&chosen, out);
	free(chosen.cells); /* the texts are the report's */
}

void filters_apply(const struct filters *filters, const struct report *report, struct buf *out)
{
	struct buf text = {0}, passed = {0};
	size_t lines;

	if (filters->json) {
		apply_to_rows(filters, report, out);
		return;
	}
	report_text(report, filters->count == 0 && !filters->count_lines, &text);
	lines = filter_lines(filters, buf_bytes(&text), &passed);
	if (filters->count_lines)
		buf_printf(out, "%zu\n", lines);
	else
		buf_put_bytes(out, buf_bytes(&passed));
	buf_clear(&passed);
	buf_clear(&text);
}
