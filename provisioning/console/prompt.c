#include "provisioning/console/prompt.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define ANSWER_MAX_BYTES 32768 /* more of a line is dropped: what uses it has a lower limit */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
	(void)number;
	interrupted = 1;
}

static bool read_octet(char *octet)
{
	ssize_t got;

	do
		got = read(STDIN_FILENO, octet, 1);
	while (got < 0 && errno == EINTR && !interrupted);
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
	const struct sigaction action = {.sa_handler = on_interrupt};
	struct sigaction before;
	bool answered;

	interrupted = 0;
	sigaction(SIGINT, &action, &before);
	fputs(prompt, stderr);
	fflush(stderr);
	if (!echo)
		set_echo(usual, false);
	answered = prompt_read_line(answer);
	if (!echo)
		set_echo(usual, true);
	sigaction(SIGINT, &before, NULL);
	if (interrupted)
		fputc('\n', stderr);
	return answered && !interrupted;
}

static bool ask(const char *prompt, bool echo, struct buf *answer, struct err *err)
{
	struct termios usual;
	bool terminal = tcgetattr(STDIN_FILENO, &usual) == 0;

	buf_reserve(answer, ANSWER_MAX_BYTES); /* so that no copy is left behind by growing */
	if (terminal ? ask_person(prompt, echo, &usual, answer) : prompt_read_line(answer))
		return true;
	if (terminal && interrupted)
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
