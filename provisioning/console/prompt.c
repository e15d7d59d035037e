#include "provisioning/console/prompt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "provisioning/console/terminal.h"

#define ANSWER_MAX_BYTES 32768 /* more of a line is dropped: what uses it has a lower limit */

static bool read_octet(char *octet)
{
	ssize_t got;

	if (terminal_wait() != TERMINAL_INPUT)
		return false;
	do
		got = read(STDIN_FILENO, octet, 1);
	while (got < 0 && errno == EINTR);
	return got == 1;
}

bool prompt_read_line(struct buf *line)
{
	bool any = false;
	char octet;

	while (read_octet(&octet)) {
		any = true;
		if (octet == '\n')
			break;
		if (line->len < ANSWER_MAX_BYTES)
			buf_put_byte(line, (uint8_t)octet);
	}
	mem_wipe(&octet, sizeof octet);
	if (line->len > 0 && line->data[line->len - 1] == '\r')
		line->len--;
	return any;
}

static void set_echo(const struct termios *usual, bool echo)
{
	struct termios changed = *usual;

	changed.c_lflag &= ~(tcflag_t)ECHO;
	changed.c_lflag |= ICANON | ECHONL;
	tcsetattr(STDIN_FILENO, TCSAFLUSH, echo ? usual : &changed);
}

/* At a terminal. Ctrl-C takes the question back, and never leaves the terminal without echo. */
static bool ask_person(const char *prompt, bool echo, const struct termios *usual, struct buf *answer)
{
	struct terminal_signals before;
	bool answered;

	terminal_watch(&before);
	if (!echo)
		set_echo(usual, false); /* first: what is typed from the prompt on is neither shown nor dropped */
	fputs(prompt, stderr);
	fflush(stderr);
	answered = prompt_read_line(answer);
	if (!echo)
		set_echo(usual, true);
	terminal_unwatch(&before);
	if (terminal_interrupted())
		fputc('\n', stderr);
	return answered && !terminal_interrupted();
}

static bool ask(const char *prompt, bool echo, struct buf *answer, struct err *err)
{
	struct termios usual;
	bool terminal = tcgetattr(STDIN_FILENO, &usual) == 0;

	buf_reserve(answer, ANSWER_MAX_BYTES); /* so that no copy is left behind by growing */
	if (terminal ? ask_person(prompt, echo, &usual, answer) : prompt_read_line(answer))
		return true;
	if (terminal && terminal_interrupted())
		return err_set(err, ERR_CANCELLED, "interrupted");
	return err_set(err, ERR_INVALID, "no answer to \"%s\": standard input has ended", prompt);
}

struct secret *prompt_secret(const char *prompt, struct err *err)
{
	struct buf answer = {0};
	struct secret *secret = NULL;

	if (ask(prompt, false, &answer, err))
		secret = secret_new(buf_bytes(&answer), err);
	buf_wipe_clear(&answer);
	return secret;
}

struct secret *prompt_new_secret(const char *name, struct err *err)
{
	char *first_prompt = mem_format("%s: ", name), *again_prompt = mem_format("%s again: ", name);
	struct secret *secret = prompt_secret(first_prompt, err), *again = NULL;
	bool same;

	if (secret != NULL)
		again = prompt_secret(again_prompt, err);
	same = again != NULL && bytes_equal(secret_bytes(secret), secret_bytes(again));
	if (again != NULL && !same)
		err_set(err, ERR_INVALID, "%s: the two entries differ", name);
	if (same && secret_bytes(secret).len == 0)
		same = err_set(err, ERR_INVALID, "%s: is empty", name);
	free(first_prompt);
	free(again_prompt);
	secret_free(again);
	if (same)
		return secret;
	secret_free(secret);
	return NULL;
}

char *prompt_text(const char *prompt, struct err *err)
{
	struct buf answer = {0};
	char *text = ask(prompt, true, &answer, err) ? mem_string(buf_text(&answer)) : NULL;

	buf_clear(&answer);
	return text;
}

/* ---- pasted text ---- */

#define END_OF_INPUT '\004' /* Ctrl-D, which only a terminal's line mode knows */

/* Without its end and without blanks around it; dropped beyond `most`. False at the end of the input. */
static bool read_pasted_line(struct buf *line, size_t most, bool terminal)
{
	bool any = false;
	char octet;

	while (read_octet(&octet) && !(terminal && octet == END_OF_INPUT)) {
		any = true;
		if (octet == '\n')
			break;
		if (line->len <= most)
			buf_put_byte(line, (uint8_t)octet);
	}
	return any;
}

static bool begins(struct bytes line, const char *text)
{
	return line.len >= strlen(text) && memcmp(line.data, text, strlen(text)) == 0;
}

/* Follows PEM blocks, inside which a blank line ends nothing. */
static bool ends_paste(struct bytes line, bool *in_block)
{
	if (begins(line, "-----BEGIN "))
		*in_block = true;
	else if (begins(line, "-----END "))
		*in_block = false;
	return bytes_equal_text(line, ".") || (line.len == 0 && !*in_block);
}

static void read_paste(size_t most, struct buf *text, bool terminal)
{
	bool in_block = false, ended = false;
	struct buf line = {0};

	buf_reserve(&line, most + 2); /* so that growing leaves no copies behind */
	buf_reserve(text, most + 2);
	while (!ended && !terminal_interrupted() && read_pasted_line(&line, most, terminal)) {
		struct bytes trimmed = bytes_trim(buf_bytes(&line));

		ended = ends_paste(trimmed, &in_block) && (text->len > 0 || trimmed.len > 0);
		if (!ended && trimmed.len > 0 && text->len <= most) {
			buf_put_bytes(text, bytes_slice(trimmed, 0, most + 1 - text->len));
			buf_put_byte(text, '\n');
		}
		buf_reset(&line);
	}
	buf_wipe_clear(&line);
}

static void set_raw(const struct termios *usual)
{
	struct termios changed = *usual;

	changed.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	changed.c_iflag |= ICRNL;
	changed.c_cc[VMIN] = 1;
	changed.c_cc[VTIME] = 0;
	tcsetattr(STDIN_FILENO, TCSADRAIN, &changed);
}

bool prompt_paste(const char *prompt, size_t most, struct buf *text, struct err *err)
{
	struct terminal_signals before;
	struct termios usual;
	bool terminal = tcgetattr(STDIN_FILENO, &usual) == 0;

	if (terminal) {
		terminal_watch(&before);
		fprintf(stderr, "%s\n", prompt);
		fflush(stderr);
		set_raw(&usual);
	}
	read_paste(most, text, terminal);
	if (terminal) {
		tcsetattr(STDIN_FILENO, TCSADRAIN, &usual);
		terminal_unwatch(&before);
	}
	if (terminal_interrupted())
		return err_set(err, ERR_CANCELLED, "interrupted");
	if (text->len > most)
		return err_set(err, ERR_LIMIT, "what was pasted has more than %zu octets", most);
	return text->len > 0 || err_set(err, ERR_INVALID, "nothing was pasted");
}
