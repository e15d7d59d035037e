#include "provisioning/console/pager.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <termios.h>
#include <unistd.h>

#include "provisioning/console/columns.h"
#include "provisioning/console/terminal.h"

#define MORE "---(more)---"
#define WANTED_MAX_BYTES 60
#define TAB_COLUMNS 8

void pager_begin(struct pager *pager)
{
	pager->rows = 0;
	pager->ended = false;
}

void pager_clear(struct pager *pager)
{
	free(pager->wanted);
	*pager = (struct pager){0};
}

unsigned pager_line_rows(struct bytes line, unsigned columns)
{
	size_t width = 0;

	for (size_t i = 0; i < line.len;) {
		size_t tab = i;

		while (tab < line.len && line.data[tab] != '\t')
			tab++;
		width += text_columns(bytes_slice(line, i, tab));
		if (tab < line.len)
			width += TAB_COLUMNS - width % TAB_COLUMNS;
		i = tab + 1;
	}
	return width == 0 ? 1 : (unsigned)((width + columns - 1) / columns);
}

/* ---- keys ---- */

static bool read_key(char *key)
{
	return terminal_wait() == TERMINAL_INPUT && read(STDIN_FILENO, key, 1) == 1;
}

static void erase(FILE *out, size_t columns)
{
	fprintf(out, "\r%*s\r", (int)columns, "");
	fflush(out);
}

/* The text behind a `/`; NULL when it was taken back. */
static char *read_wanted(FILE *out)
{
	struct buf wanted = {0};
	char key = 0, *text = NULL;

	fputc('/', out);
	fflush(out);
	while (read_key(&key) && key != '\r' && key != '\n' && key != '\033') {
		if (key != '\b' && key != 0x7f) {
			if (wanted.len < WANTED_MAX_BYTES && (unsigned char)key >= ' ') {
				buf_put_byte(&wanted, (uint8_t)key);
				fputc(key, out);
			}
		} else if (wanted.len > 0) {
			wanted.len--;
			fputs("\b \b", out);
		} else {
			key = '\033';
			break;
		}
		fflush(out);
	}
	erase(out, wanted.len + 1);
	if (wanted.len > 0 && (key == '\r' || key == '\n'))
		text = mem_string(buf_text(&wanted));
	buf_clear(&wanted);
	return text;
}

static bool line_has(struct bytes line, const char *wanted)
{
	size_t len = strlen(wanted);

	for (size_t i = 0; i + len <= line.len; i++) {
		if (strncasecmp((const char *)line.data + i, wanted, len) == 0)
			return true;
	}
	return false;
}

static size_t line_length(struct bytes text)
{
	const uint8_t *end = memchr(text.data, '\n', text.len);

	return end == NULL ? text.len : (size_t)(end - text.data);
}

/* Moves *text to the next line that holds what is looked for; false: there is none, and nothing moves. */
static bool skip_to(struct bytes *text, const char *wanted)
{
	for (struct bytes rest = *text; rest.len > 0;) {
		size_t len = line_length(rest);

		if (line_has(bytes_slice(rest, 0, len), wanted)) {
			*text = rest;
			return true;
		}
		rest = bytes_slice(rest, len + 1, rest.len);
	}
	return false;
}

static bool search(struct pager *pager, bool again, struct bytes *text, FILE *out)
{
	char *wanted = again ? NULL : read_wanted(out);

	if (wanted != NULL) {
		free(pager->wanted);
		pager->wanted = wanted;
	}
	return pager->wanted != NULL && (again || wanted != NULL) && skip_to(text, pager->wanted);
}

/* ---- a stop ---- */

/* Sets how many rows may follow; `needed` are those of the next line. */
static void stop(struct pager *pager, unsigned screen, unsigned needed, struct bytes *text, FILE *out)
{
	const char *prompt = MORE;
	char key;

	for (;;) {
		fputs(prompt, out);
		fflush(out);
		if (!read_key(&key))
			key = 'q';
		erase(out, strlen(prompt));
		prompt = MORE;
		if (key == ' ' || key == 'f') {
			pager->rows = 0;
			return;
		}
		if (key == '\r' || key == '\n') {
			pager->rows = needed < screen ? screen - needed : 0;
			return;
		}
		if (key == 'q' || key == 'Q' || key == 3 || key == 4) {
			pager->ended = true;
			return;
		}
		if (key == '/' || key == 'n') {
			if (search(pager, key == 'n', text, out)) {
				pager->rows = 0;
				return;
			}
			prompt = "---(not found)---";
		} else if (key == 'h' || key == '?') {
			prompt = "---(blank: screen, Enter: line, /TEXT, n: next, q: quit)---";
		}
	}
}

static void show_lines(struct pager *pager, struct bytes text, FILE *out)
{
	while (text.len > 0 && !pager->ended) {
		struct terminal_size size = terminal_size();
		size_t len = line_length(text);
		unsigned rows = pager_line_rows(bytes_slice(text, 0, len), size.columns), screen = size.rows - 1;

		if (pager->rows > 0 && pager->rows + rows > screen) {
			stop(pager, screen, rows, &text, out);
			continue;
		}
		fwrite(text.data, 1, len, out);
		fputc('\n', out);
		pager->rows += rows;
		text = bytes_slice(text, len + 1, text.len);
	}
	fflush(out);
}

void pager_show(struct pager *pager, struct bytes text, FILE *out)
{
	struct termios usual, raw;
	bool terminal = tcgetattr(STDIN_FILENO, &usual) == 0;

	if (pager->ended || text.len == 0)
		return;
	if (terminal) {
		raw = usual;
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		raw.c_oflag |= OPOST | ONLCR;
		raw.c_cc[VMIN] = 1;
		raw.c_cc[VTIME] = 0;
		tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
	}
	show_lines(pager, text, out);
	if (terminal)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &usual);
}
