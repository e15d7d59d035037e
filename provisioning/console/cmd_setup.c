/*
 * system setup: a first configuration by question and answer. Each step asks, sets by the very lines that anybody could type,
 * and commits; a step that is broken off or refused leaves the candidate as it was before it.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "provisioning/console/commands.h"
#include "provisioning/console/prompt.h"
#include "provisioning/console/terminal.h"
#include "provisioning/console/two_person.h"
#include "provisioning/store/words.h"

#define SERVER "server default"

struct setup {
	struct console *console;
	bool ended; /* Ctrl-C, a hang-up, or the end of the input */
	bool edited; /* the step has set something */
	struct buf step; /* the lines that it has set */
	struct buf made; /* the lines that were committed */
	char *address; /* whose certificate was imported, or NULL */
};

/* ---- questions and lines ---- */

/* NULL: nothing was answered, or the setup has ended. */
static char *ask(struct setup *setup, const char *question)
{
	char *prompt = mem_format("  %s: ", question), *answer;
	struct bytes trimmed;
	struct err err;

	answer = setup->ended ? NULL : prompt_text(prompt, &err);
	free(prompt);
	if (answer == NULL || terminal_is_over()) {
		setup->ended = true;
		free(answer);
		return NULL;
	}
	trimmed = bytes_trim(bytes_text(answer));
	prompt = trimmed.len > 0 ? mem_string_n((const char *)trimmed.data, trimmed.len) : NULL;
	free(answer);
	return prompt;
}

static bool agrees(struct setup *setup, const char *question)
{
	char *answer = ask(setup, question);
	bool yes = answer != NULL && (answer[0] == 'y' || answer[0] == 'Y');

	free(answer);
	return yes;
}

/* As if it had been typed, in the mode that it needs. */
static bool run_line(struct setup *setup, const char *line, bool configuring)
{
	struct console *console = setup->console;
	const struct filters *filters = console->filters;
	char *audit_text = console->audit_text;
	bool mode = console->configuring, done;
	struct fault fault;

	console->audit_text = NULL;
	console->filters = NULL;
	console->configuring = configuring;
	done = console_run_line(console, line, &fault);
	if (!done)
		fault_print(&fault, line, "", console->messages);
	if (fault.err.code == ERR_CANCELLED && !done)
		setup->ended = true;
	console->configuring = mode;
	console->filters = filters;
	console->audit_text = audit_text;
	return done;
}

static bool say_and_run(struct setup *setup, const char *line, bool configuring)
{
	console_say(setup->console, "  > %s", line);
	return run_line(setup, line, configuring);
}

/* `value` NULL: the path alone. */
static bool set(struct setup *setup, const char *path, const char *value)
{
	struct buf line = {0};
	bool done;

	buf_printf(&line, "set %s", path);
	if (value != NULL) {
		buf_put_byte(&line, ' ');
		word_put(&line, value);
	}
	done = say_and_run(setup, buf_text(&line), true);
	if (done) {
		setup->edited = true;
		buf_printf(&setup->step, "%s\n", buf_text(&line));
	}
	buf_clear(&line);
	return done;
}

/* Asks until the answer is accepted or there is none. Is it set now? */
static bool ask_setting(struct setup *setup, const char *question, const char *path)
{
	bool done = false;
	char *answer;

	while (!done && (answer = ask(setup, question)) != NULL) {
		done = set(setup, path, answer);
		free(answer);
	}
	return done;
}

/* ---- steps: false: to be tried again ---- */

static bool step_name(struct setup *setup)
{
	ask_setting(setup, "Host name of this appliance, such as mx1.example.co.jp", "system host-name");
	ask_setting(setup, "DNS server (Enter: those of /etc/resolv.conf)", "system name-server");
	return true;
}

static bool step_token(struct setup *setup)
{
	if (ask_setting(setup, "PKCS#11 module of the HSM, a file", "hsm module"))
		ask_setting(setup, "Label of the token", "hsm token");
	return true;
}

static bool step_pin(struct setup *setup)
{
	if (agrees(setup, "Initialise a new token and set its PINs? yes, or Enter for no") &&
	    !say_and_run(setup, "hsm initialize", false))
		return false;
	return !agrees(setup, "Give the PIN, so that signing can begin? yes, or Enter for no") ||
	       say_and_run(setup, "hsm login", false);
}

static bool step_server(struct setup *setup)
{
	ask_setting(setup, "Address to take mail on, such as 0.0.0.0:25", SERVER " smtp listen");
	ask_setting(setup, "Network that may send, such as 192.0.2.0/24", SERVER " smtp allow-network");
	ask_setting(setup, "Next hop, HOST[:PORT] (Enter: by the MX of each domain)", SERVER " next-hop");
	return true;
}

static bool import(struct setup *setup, const char *address)
{
	struct buf line = {0};
	char *file = ask(setup, "PKCS#12 file (Enter: paste it in base64)");
	bool done = false;

	if (!setup->ended) {
		buf_put_text(&line, "certificate import ");
		word_put(&line, address);
		if (file != NULL) {
			buf_put_byte(&line, ' ');
			word_put(&line, file);
		}
		done = say_and_run(setup, buf_text(&line), false);
	}
	buf_clear(&line);
	free(file);
	return done;
}

static bool step_certificate(struct setup *setup)
{
	char *address = ask(setup, "Mail address to sign for");

	if (address == NULL)
		return true;
	if (!import(setup, address)) {
		free(address);
		return false;
	}
	free(setup->address);
	setup->address = address;
	return set(setup, SERVER " smime enabled", NULL) && set(setup, SERVER " smime certificate", address);
}

static bool step_test(struct setup *setup)
{
	char *from = setup->address != NULL ? mem_string(setup->address) : ask(setup, "Send a test mail from"),
	     *to = from != NULL ? ask(setup, setup->address != NULL ? "Send a test mail to" : "To") : NULL;
	struct buf line = {0};
	bool done = true;

	if (to != NULL) {
		buf_put_text(&line, "test mail from ");
		word_put(&line, from);
		buf_put_text(&line, " to ");
		word_put(&line, to);
		done = say_and_run(setup, buf_text(&line), false);
	}
	buf_clear(&line);
	free(from);
	free(to);
	return done;
}

static const struct step {
	const char *title;
	bool (*run)(struct setup *setup);
	const char *command; /* that it needs: the beginning of its form; NULL: none */
} steps[] = {
    {"name and DNS", step_name, NULL},
    {"the HSM's token", step_token, NULL},
    {"PIN", step_pin, NULL},
    {"the first server", step_server, NULL},
    {"the first certificate", step_certificate, NULL},
    {"a test mail", step_test, "test mail"},
};

#define N_STEPS (sizeof steps / sizeof *steps)

/* ---- a step is done as a whole ---- */

static bool commit_step(struct setup *setup, const struct step *step)
{
	char *line = mem_format("commit comment \"system setup: %s\"", step->title);
	bool done = say_and_run(setup, line, true);

	free(line);
	return done;
}

static void take_back(struct setup *setup)
{
	struct console *console = setup->console;
	struct err err;

	if (!setup->edited)
		return;
	if (store_candidate_discard(console->store, console->account, &err))
		console_say(console, "  (what this step has set is dropped; nothing of it was committed)");
	else
		console_say(console, "error: %s", err.text);
}

static bool try_step(struct setup *setup, const struct step *step)
{
	bool done;

	setup->edited = false;
	buf_reset(&setup->step);
	done = step->run(setup) && !setup->ended && (!setup->edited || commit_step(setup, step));
	if (done)
		buf_put_bytes(&setup->made, buf_bytes(&setup->step));
	else
		take_back(setup);
	return done;
}

static bool is_there(const char *command)
{
	for (size_t i = 0; command != NULL && i < n_commands; i++)
		if (strncmp(commands[i].form, command, strlen(command)) == 0)
			return true;
	return command == NULL;
}

static void run_step(struct setup *setup, size_t number)
{
	const struct step *step = &steps[number];

	if (!is_there(step->command))
		return;
	console_say(setup->console, "\nStep %zu of %zu: %s", number + 1, N_STEPS, step->title);
	while (!try_step(setup, step) && !setup->ended)
		if (!agrees(setup, "Try this step again? yes, or Enter to go on"))
			break;
}

static bool nothing_is_edited(struct console *console, struct err *err)
{
	struct candidate candidate;
	bool exists;

	if (!store_candidate(console->store, console->account, &candidate, &exists, err))
		return false;
	candidate_clear(&candidate);
	return !exists || err_set(err, ERR_EXISTS, "the candidate holds edits: commit them, or drop them with rollback 0 first");
}

/* Its steps build on what the last one has committed: none could, while that waits. */
static bool nobody_else_decides(struct console *console, struct err *err)
{
	struct revision running;
	bool waits;

	if (!store_revision(console->store, 0, &running, err))
		return false;
	waits = two_person_is_on(&running.settings);
	revision_clear(&running);
	return !waits ||
	       err_set(err, ERR_DENIED,
		       "with " TWO_PERSON_SETTING " the steps would wait for a second administrator: configure by hand, "
		       "commit, and let it be approved");
}

bool system_setup(struct console *console, const struct parsed *parsed, struct err *err)
{
	struct setup setup = {.console = console};

	(void)parsed;
	if (!nobody_else_decides(console, err) || !nothing_is_edited(console, err))
		return false;
	console_say(console, "Enter alone skips a question, Ctrl-C leaves the setup. Each step commits what\n"
			     "its answers set: the setup can be left and begun again at any time.");
	for (size_t i = 0; i < N_STEPS && !setup.ended; i++)
		run_step(&setup, i);
	if (setup.made.len > 0) {
		console_say(console, "\nThe setup has set and committed:");
		fputs(buf_text(&setup.made), console->out);
		fflush(console->out);
	}
	buf_clear(&setup.step);
	buf_clear(&setup.made);
	free(setup.address);
	return !setup.ended || err_set(err, ERR_CANCELLED, "the setup was left; what its steps have committed runs");
}
