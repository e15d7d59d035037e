#include "provisioning/console/editor.h"

#include <errno.h>
#include <histedit.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "provisioning/console/committing.h"
#include "provisioning/console/terminal.h"

#define HISTORY_LINES 500

struct editor {
	struct console *console;
	EditLine *edit;
	History *history;
	char *prompt;
};

static struct editor *editor_of(EditLine *edit)
{
	struct editor *editor = NULL;

	el_get(edit, EL_CLIENTDATA, &editor);
	return editor;
}

static char *prompt_of(EditLine *edit)
{
	return editor_of(edit)->prompt;
}

static char *text_before_cursor(EditLine *edit)
{
	const LineInfo *info = el_line(edit);

	return mem_string_n(info->buffer, (size_t)(info->cursor - info->buffer));
}

static bool quote_is_open(const char *text)
{
	bool open = false;

	for (; *text != '\0'; text++) {
		if (open && *text == '\\' && text[1] != '\0')
			text++;
		else if (*text == '"')
			open = !open;
	}
	return open;
}

static void list(struct editor *editor, const char *before)
{
	char *text = editor_list(editor->console, before);

	fputc('\n', editor->console->out);
	pager_begin(&editor->console->pager);
	pager_show(&editor->console->pager, bytes_text(text), editor->console->out);
	free(text);
}

/* `?` lists what may come next, except inside quotes. */
static unsigned char on_question(EditLine *edit, int key)
{
	char *before = text_before_cursor(edit);
	const char typed[] = {(char)key, '\0'};
	unsigned char result = CC_REDISPLAY;

	if (quote_is_open(before)) {
		el_insertstr(edit, typed);
		result = CC_REFRESH;
	} else {
		list(editor_of(edit), before);
	}
	free(before);
	return result;
}

static unsigned char on_tab(EditLine *edit, int key)
{
	char *before = text_before_cursor(edit);
	char *added = editor_complete(editor_of(edit)->console, before);
	unsigned char result = CC_REFRESH;

	(void)key;
	if (added[0] != '\0') {
		el_insertstr(edit, added);
	} else {
		list(editor_of(edit), before);
		result = CC_REDISPLAY;
	}
	free(added);
	free(before);
	return result;
}

static void set_prompt(struct editor *editor)
{
	free(editor->prompt);
	editor->prompt = mem_format("%s%s", editor->console->account, editor->console->configuring ? "# " : "> ");
}

static void editor_init(struct editor *editor, struct console *console)
{
	HistEvent event;

	*editor = (struct editor){.console = console, .edit = el_init("inkan", stdin, console->out, console->messages)};
	editor->history = history_init();
	history(editor->history, &event, H_SETSIZE, HISTORY_LINES);
	history(editor->history, &event, H_SETUNIQUE, 1);
	el_set(editor->edit, EL_CLIENTDATA, editor);
	el_set(editor->edit, EL_PROMPT, prompt_of);
	el_set(editor->edit, EL_EDITOR, "emacs");
	el_set(editor->edit, EL_HIST, history, editor->history);
	el_set(editor->edit, EL_ADDFN, "inkan-list", "List what may come next", on_question);
	el_set(editor->edit, EL_ADDFN, "inkan-complete", "Complete a word", on_tab);
	el_set(editor->edit, EL_BIND, "?", "inkan-list", NULL);
	el_set(editor->edit, EL_BIND, "\t", "inkan-complete", NULL);
	el_set(editor->edit, EL_BIND, "^R", "em-inc-search-prev", NULL);
}

static void run_typed(struct editor *editor, char *line)
{
	struct fault fault;
	HistEvent event;

	line[strcspn(line, "\r\n")] = '\0';
	if (line[strspn(line, " \t")] == '\0')
		return;
	history(editor->history, &event, H_ENTER, line);
	if (!console_run_line(editor->console, line, &fault))
		fault_print(&fault, line, "", editor->console->messages);
}

/* Above the prompt, as long as a commit waits for its confirmation. */
static void say_waits(struct console *console)
{
	struct revision running;
	struct err err;
	char *waits;

	if (!store_revision(console->store, 0, &running, &err))
		return;
	waits = revision_waits_text(&running, clock_wall_ms());
	if (waits != NULL)
		console_say(console, "[%s]", waits);
	free(waits);
	revision_clear(&running);
}

static bool next_line(struct editor *editor)
{
	const char *typed;
	int len = 0;
	char *line;

	set_prompt(editor);
	say_waits(editor->console);
	terminal_begin_line();
	typed = el_gets(editor->edit, &len);
	if (typed == NULL || len <= 0) {
		if (!terminal_interrupted() || terminal_is_over())
			return false;
		fputc('\n', editor->console->out);
		el_reset(editor->edit);
		return true;
	}
	line = mem_string(typed);
	run_typed(editor, line);
	free(line);
	return true;
}

void editor_run(struct console *console)
{
	struct terminal_signals before;
	struct editor editor;

	setenv("TERM", "dumb", 0); /* a line that does not say what stands at its end */
	terminal_watch(&before);
	editor_init(&editor, console);
	while (!console->ended && !terminal_is_over() && next_line(&editor))
		;
	terminal_unwatch(&before);
	pager_clear(&console->pager);
	el_end(editor.edit);
	history_end(editor.history);
	free(editor.prompt);
}
