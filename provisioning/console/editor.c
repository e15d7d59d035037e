#include "provisioning/console/editor.h"

#include <errno.h>
#include <histedit.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "appliance/base/clock.h"
#include "provisioning/console/committing.h"
#include "provisioning/console/history.h"
#include "provisioning/console/history_file.h"
#include "provisioning/console/terminal.h"
#include "provisioning/store/settings.h"

struct editor {
	struct console *console;
	struct terminal_size size; /* that libedit knows of */
	EditLine *edit;
	History *history;
	char *prompt;
	uint64_t revision; /* that ran when it was looked at last */
	bool asked; /* it was looked at */
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

static void follow_size(struct editor *editor)
{
	struct terminal_size size = terminal_size();

	if (size.rows != editor->size.rows || size.columns != editor->size.columns)
		el_resize(editor->edit);
	editor->size = size;
}

/* The next character; octets that make none are dropped. A signal before or in the wait ends it: none is lost. */
static int on_read(EditLine *edit, wchar_t *key)
{
	mbstate_t state = {0};

	for (;;) {
		char octet;
		ssize_t got;
		size_t made;

		if (terminal_wait() != TERMINAL_INPUT) {
			errno = EINTR;
			return -1;
		}
		got = read(STDIN_FILENO, &octet, 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return (int)got;
		follow_size(editor_of(edit));
		made = mbrtowc(key, &octet, 1, &state);
		if (made == (size_t)-1) { /* what was begun is dropped; this octet may begin another */
			state = (mbstate_t){0};
			made = mbrtowc(key, &octet, 1, &state);
		}
		if (made == (size_t)-1)
			state = (mbstate_t){0};
		else if (made != (size_t)-2)
			return 1;
	}
}

static void recall(const char *line, void *arg)
{
	struct editor *editor = arg;
	HistEvent event;

	history(editor->history, &event, H_ENTER, line);
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
	el_set(editor->edit, EL_GETCFN, on_read);
	el_set(editor->edit, EL_PROMPT, prompt_of);
	el_set(editor->edit, EL_EDITOR, "emacs");
	el_set(editor->edit, EL_HIST, history, editor->history);
	el_set(editor->edit, EL_ADDFN, "inkan-list", "List what may come next", on_question);
	el_set(editor->edit, EL_ADDFN, "inkan-complete", "Complete a word", on_tab);
	el_set(editor->edit, EL_BIND, "?", "inkan-list", NULL);
	el_set(editor->edit, EL_BIND, "\t", "inkan-complete", NULL);
	el_set(editor->edit, EL_BIND, "^R", "em-inc-search-prev", NULL);
	editor->size = terminal_size();
	history_read(console, recall, editor);
}

static size_t word_start(const char *line, size_t column)
{
	size_t at = column < strlen(line) ? column : strlen(line);

	while (at > 0 && line[at - 1] != ' ' && line[at - 1] != '\t')
		at--;
	return at;
}

static void run_typed(struct editor *editor, char *line)
{
	struct fault fault;
	bool done, understood;

	line[strcspn(line, "\r\n")] = '\0';
	if (line[strspn(line, " \t")] == '\0')
		return;
	done = console_run_line(editor->console, line, &fault);
	understood = done || fault.exit_code != EXIT_USAGE;
	if (!done)
		fault_print(&fault, line, "", editor->console->messages);
	if (!understood)
		line[history_safe_length(line, word_start(line, fault.column))] = '\0';
	if (!history_may_hold(line, understood))
		return;
	recall(line, editor);
	if (understood)
		history_append(editor->console, line);
}

static void say_changed(struct editor *editor, const struct revision *running)
{
	const struct console *console = editor->console;

	if (editor->revision != running->number && console->configuring && editor->asked &&
	    strcmp(running->by, console->account) != 0)
		console_say(editor->console, "[revision %llu was committed by %s: it runs now; commit keeps it]",
			    (unsigned long long)running->number, running->by);
	editor->revision = running->number;
	editor->asked = true;
}

/* Above the prompt: that a commit waits for its confirmation, that somebody else has committed; and how long idle may be. */
static void look_at_running(struct editor *editor)
{
	struct revision running;
	struct err err;
	char *waits;

	if (!store_revision(editor->console->store, 0, &running, &err))
		return;
	waits = revision_waits_text(&running, clock_wall_ms());
	if (waits != NULL)
		console_say(editor->console, "[%s]", waits);
	say_changed(editor, &running);
	terminal_set_idle(setting_parse_duration_ms(setting_effective(&running.settings, "system idle-timeout")));
	free(waits);
	revision_clear(&running);
}

static bool next_line(struct editor *editor)
{
	const char *typed;
	int len = 0;
	char *line;

	set_prompt(editor);
	look_at_running(editor);
	terminal_begin_line();
	terminal_idle_begin();
	el_set(editor->edit, EL_PREP_TERM, 1); /* before the prompt, so that no key behind it is the line discipline's */
	typed = el_gets(editor->edit, &len);
	terminal_idle_end();
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

static void say_idle(struct console *console)
{
	struct err err;

	console_say(console, "\nLogged out: no key was pressed for a while (system idle-timeout). The candidate is kept.");
	if (!console_audit(console, "logout: idle", "ok", &err))
		console_say(console, "error: %s", err.text);
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
	if (terminal_was_idle())
		say_idle(console);
	terminal_unwatch(&before);
	pager_clear(&console->pager);
	el_end(editor.edit);
	history_end(editor.history);
	free(editor.prompt);
}
