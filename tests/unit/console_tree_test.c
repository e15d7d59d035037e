/* Editing, comparing and merging configurations; reports and their filters. */
#include <stdlib.h>
#include <string.h>

#include "provisioning/console/line.h"
#include "provisioning/console/report.h"
#include "provisioning/console/tree.h"
#include "tests/unit/test.h"

static struct err err;

static void set(struct settings *settings, const char *path, const char *value)
{
	const struct setting_row *row = setting_row_of(path);

	if (CHECK(row != NULL))
		tree_set(settings, row, path, value);
}

/* "path=value; path" in order. */
static char *dump(const struct settings *settings)
{
	struct buf out = {0};
	char *text;

	for (size_t i = 0; i < settings->count; i++)
		buf_printf(&out, "%s%s%s%s", i == 0 ? "" : "; ", settings->items[i].path,
			   settings->items[i].value[0] == '\0' ? "" : "=", settings->items[i].value);
	text = mem_string(buf_text(&out));
	buf_clear(&out);
	return text;
}

static struct settings undump(const char *text)
{
	char *copy = mem_string(text), *rest = copy, *item;
	struct settings settings = {0};

	while ((item = strsep(&rest, ";")) != NULL) {
		char *value;

		item += strspn(item, " ");
		if (*item == '\0')
			continue;
		value = strchr(item, '=');
		if (value != NULL)
			*value++ = '\0';
		settings_add(&settings, item, value == NULL ? "" : value);
	}
	free(copy);
	return settings;
}

static void a_single_setting_is_replaced_and_a_repeatable_one_added_to(void)
{
	struct settings settings = undump("server s; hsm threads=2");
	char *text;

	set(&settings, "hsm threads", "4");
	set(&settings, "server s smtp allow-network", "::1");
	set(&settings, "server s smtp allow-network", "::2");
	set(&settings, "server s smtp allow-network", "::1");
	text = dump(&settings);
	CHECK_TEXT(text, "server s; hsm threads=4; server s smtp allow-network=::1; server s smtp allow-network=::2");
	free(text);
	settings_clear(&settings);
}

static void what_a_setting_belongs_to_is_set_with_it(void)
{
	struct settings settings = undump("server s");
	char *text;

	set(&settings, "server s next-hop mx:25 priority", "5");
	set(&settings, "server s smtp listen [::1]:25", "");
	set(&settings, "server s smtp listen [::1]:25", "");
	text = dump(&settings);
	CHECK_TEXT(text, "server s; server s next-hop mx:25; server s next-hop mx:25 priority=5; server s smtp listen [::1]:25");
	free(text);
	settings_clear(&settings);
}

static void a_new_server_gets_the_defaults_once(void)
{
	struct settings settings = {0};
	size_t count;

	set(&settings, "server s smime enabled", "");
	CHECK(settings_value(&settings, "server s") != NULL);
	CHECK_CONTAINS(settings_value(&settings, "server s smime exclude recipient"), "docomo");
	CHECK_CONTAINS(settings_value(&settings, "server s smime exclude header Content-Type"), "multipart/signed");
	CHECK_OK(setting_row_of("server s smime enabled") != NULL, &err);
	count = settings.count;
	CHECK_INT(tree_delete(&settings, "server s smime exclude", NULL), count - 2);
	set(&settings, "server s received", "none");
	CHECK_INT(settings.count, 3);
	settings_clear(&settings);
}

static void deletion_takes_what_is_below_or_one_value(void)
{
	static const struct {
		const char *path, *value;
		size_t deleted;
		const char *left;
	} cases[] = {
	    {"server a", NULL, 3, "hsm threads=2; server ab"},
	    {"server a smtp allow-network", NULL, 2, "hsm threads=2; server a; server ab"},
	    {"server a smtp allow-network", "::2", 1, "hsm threads=2; server a; server a smtp allow-network=::1; server ab"},
	    {"server a smtp", NULL, 2, "hsm threads=2; server a; server ab"},
	    {"server", NULL, 4, "hsm threads=2"},
	    {"server a smtp allow-network", "::3", 0, NULL},
	    {"hsm", NULL, 1, "server a; server a smtp allow-network=::1; server a smtp allow-network=::2; server ab"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct settings settings = undump(
		    "hsm threads=2; server a; server a smtp allow-network=::1; server a smtp allow-network=::2; server ab");
		char *text;

		test_case("%s %s", cases[i].path, cases[i].value == NULL ? "" : cases[i].value);
		CHECK_INT(tree_delete(&settings, cases[i].path, cases[i].value), cases[i].deleted);
		text = dump(&settings);
		if (cases[i].left != NULL)
			CHECK_TEXT(text, cases[i].left);
		free(text);
		settings_clear(&settings);
	}
}

static void lists_follow_the_table(void)
{
	struct settings settings =
	    undump("server b smime enabled; server a smime enabled; server b; hsm token=t; server b smtp auth=none;"
		   "server b smtp allow-network=::2; server b smtp allow-network=::1; system host-name=mx");
	struct settings below = {0};
	char *text;

	tree_below(&settings, "", &below);
	text = dump(&below);
	CHECK_TEXT(
	    text, "system host-name=mx; hsm token=t; server b; server b smtp allow-network=::2; server b smtp allow-network=::1; "
		  "server b smtp auth=none; server b smime enabled; server a smime enabled");
	free(text);
	settings_clear(&below);
	tree_below(&settings, "server b smtp", &below);
	CHECK_INT(below.count, 3);
	settings_clear(&below);
	settings_clear(&settings);
}

static void lines_can_be_typed_again(void)
{
	static const struct {
		struct setting setting;
		const char *line;
	} cases[] = {
	    {{(char *)"hsm token", (char *)"my token"}, "set hsm token \"my token\""},
	    {{(char *)"server s", (char *)""}, "set server s"},
	    {{(char *)"server s smime exclude recipient", (char *)"@x\\.jp$"}, "set server s smime exclude recipient @x\\.jp$"},
	    {{(char *)"server s user u password", (char *)"$y$secret"}, "set server s user u password <hidden>"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct buf line = {0};

		test_case("%s", cases[i].line);
		tree_put_line(&line, &cases[i].setting);
		CHECK_TEXT(buf_text(&line), cases[i].line);
		buf_clear(&line);
	}
}

static void add_difference(char sign, const struct setting *setting, void *arg)
{
	buf_printf(arg, "%c %s=%s\n", sign, setting->path, setting->value);
}

static void differences_are_listed_by_path(void)
{
	struct settings from = undump("hsm token=a; server s; server s smtp auth=none; server s smtp allow-network=::1");
	struct settings to = undump("server s smtp allow-network=::2; server s; server s smtp auth=required; hsm token=a");
	struct buf out = {0};

	CHECK_INT(tree_compare(&from, &to, add_difference, &out), 4);
	CHECK_TEXT(buf_text(&out), "- server s smtp allow-network=::1\n+ server s smtp allow-network=::2\n"
				   "- server s smtp auth=none\n+ server s smtp auth=required\n");
	CHECK(!tree_equal(&from, &to));
	CHECK(tree_equal(&from, &from));
	buf_clear(&out);
	settings_clear(&from);
	settings_clear(&to);
}

static void edits_are_merged_unless_both_changed_the_same(void)
{
	static const struct {
		const char *name, *base, *mine, *theirs;
		const char *merged; /* NULL: refused with `error` */
		const char *error;
	} cases[] = {
	    {"different settings", "hsm threads=1", "hsm threads=2", "hsm threads=1; hsm token=t", "hsm token=t; hsm threads=2",
	     NULL},
	    {"the same change", "hsm threads=1", "hsm threads=2", "hsm threads=2", "hsm threads=2", NULL},
	    {"both changed", "hsm threads=1", "hsm threads=2", "hsm threads=3", NULL, "hsm threads was changed by both"},
	    {"both added", "", "hsm threads=2", "hsm threads=3", NULL, "hsm threads was changed by both"},
	    {"mine deletes", "hsm threads=1; hsm token=t", "hsm token=t", "hsm threads=1; hsm token=t; server s",
	     "hsm token=t; server s", NULL},
	    {"repeatable", "server s smtp allow-network=::1", "server s smtp allow-network=::1; server s smtp allow-network=::2",
	     "server s smtp allow-network=::3", "server s smtp allow-network=::3; server s smtp allow-network=::2", NULL},
	    {"only theirs", "hsm threads=1", "hsm threads=1", "hsm threads=9", "hsm threads=9", NULL},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct settings base = undump(cases[i].base), mine = undump(cases[i].mine), theirs = undump(cases[i].theirs),
				merged = {0};
		bool fine = tree_merge(&base, &mine, &theirs, &merged, &err);

		test_case("%s", cases[i].name);
		if (cases[i].merged == NULL) {
			CHECK(!fine);
			CHECK_TEXT(err.text, cases[i].error);
		} else if (CHECK_OK(fine, &err)) {
			char *text = dump(&merged);

			CHECK_TEXT(text, cases[i].merged);
			free(text);
		}
		settings_clear(&base);
		settings_clear(&mine);
		settings_clear(&theirs);
		settings_clear(&merged);
	}
}

/* ---- reports ---- */

static const struct report_column columns[] = {{"NAME", "name", false}, {"COUNT", "count", true}, {"NOTE", "note", false}};

static struct report example_report(enum report_style style)
{
	struct report report = report_of(style, columns, 3);

	report_cell(&report, "alpha");
	report_cell(&report, "%d", 5);
	report_cell(&report, "first");
	report_cell(&report, "朱");
	report_cell(&report, "%d", 12345);
	report_cell(&report, "say \"x\"");
	return report;
}

static void reports_are_written_and_filtered(void)
{
	static const struct {
		enum report_style style;
		const char *filters, *text;
	} cases[] = {
	    {REPORT_TABLE, "", "NAME   COUNT  NOTE\nalpha      5  first\n朱     12345  say \"x\"\n"},
	    {REPORT_LINES, "", "alpha\n朱\n"},
	    {REPORT_NOTES, "", "alpha\n    5\n朱\n    12345\n"},
	    {REPORT_RECORDS, "", "NAME:  alpha\nCOUNT: 5\nNOTE:  first\n\nNAME:  朱\nCOUNT: 12345\nNOTE:  say \"x\"\n"},
	    {REPORT_TABLE, "match ALPHA", "alpha      5  first\n"},
	    {REPORT_TABLE, "except alp | match 1", "朱     12345  say \"x\"\n"},
	    {REPORT_TABLE, "match nothing", ""},
	    {REPORT_TABLE, "count", "2\n"},
	    {REPORT_TABLE, "match alpha | count", "1\n"},
	    {REPORT_TABLE, "json",
	     "[\n  {\n    \"name\": \"alpha\",\n    \"count\": 5,\n    \"note\": \"first\"\n  },\n"
	     "  {\n    \"name\": \"朱\",\n    \"count\": 12345,\n    \"note\": \"say \\\"x\\\"\"\n  }\n]\n"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct report report = example_report(cases[i].style);
		struct filters filters = {0};
		struct buf out = {0};
		struct line line;
		size_t at;

		test_case("%d | %s", cases[i].style, cases[i].filters);
		if (!CHECK_OK(line_split(&line, cases[i].filters, &at, &err), &err))
			return;
		if (line.count == 0 || CHECK_OK(filters_parse(&filters, line.words, line.count, &at, &err), &err))
			filters_apply(&filters, &report, &out);
		CHECK_TEXT(buf_text(&out), cases[i].text);
		filters_clear(&filters);
		line_clear(&line);
		buf_clear(&out);
		report_clear(&report);
	}
}

static void long_cells_of_records_go_on_below(void)
{
	static const struct report_column one[] = {{"Mechanisms", "mechanisms", false}};
	struct report report = report_of(REPORT_RECORDS, one, 1);
	struct buf words = {0}, out = {0};

	for (int i = 0; i < 30; i++)
		buf_printf(&words, "%sCKM_%d", i == 0 ? "" : " ", i);
	report_cell(&report, "%s", buf_text(&words));
	report_text(&report, true, &out);
	for (const char *line = buf_text(&out); *line != '\0'; line += strcspn(line, "\n") + 1)
		CHECK(strcspn(line, "\n") < 80);
	CHECK_CONTAINS(buf_text(&out), "\n            CKM_");
	CHECK_CONTAINS(buf_text(&out), "CKM_29\n");
	report_clear(&report);
	buf_clear(&out);
	buf_clear(&words);
}

static void bad_filters_are_refused_at_their_place(void)
{
	static const struct {
		const char *filters;
		size_t at;
		const char *error;
	} cases[] = {
	    {"", 0, "something is missing"},
	    {"match", 1, "something is missing"},
	    {"match a(b", 1, "expression does not compile"},
	    {"count | nonsense", 2, "\"nonsense\" is not known here"},
	    {"match a | match", 4, "something is missing"},
	    {"compare x", 1, "\"x\" is not a number"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct filters filters;
		struct line line;
		size_t at;

		test_case("%s", cases[i].filters);
		if (!CHECK_OK(line_split(&line, cases[i].filters, &at, &err), &err))
			return;
		CHECK(!filters_parse(&filters, line.words, line.count, &at, &err));
		CHECK_INT(at, cases[i].at);
		CHECK_CONTAINS(err.text, cases[i].error);
		line_clear(&line);
	}
}

int main(void)
{
	TEST(a_single_setting_is_replaced_and_a_repeatable_one_added_to);
	TEST(what_a_setting_belongs_to_is_set_with_it);
	TEST(a_new_server_gets_the_defaults_once);
	TEST(deletion_takes_what_is_below_or_one_value);
	TEST(lists_follow_the_table);
	TEST(lines_can_be_typed_again);
	TEST(differences_are_listed_by_path);
	TEST(edits_are_merged_unless_both_changed_the_same);
	TEST(reports_are_written_and_filtered);
	TEST(long_cells_of_records_go_on_below);
	TEST(bad_filters_are_refused_at_their_place);
	return test_finish();
}
