/* inkan: the operator's console (inkan(8)). */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "appliance/base/process.h"
#include "provisioning/console/audit_file.h"
#include "provisioning/console/checkpoint.h"
#include "provisioning/console/commands.h"
#include "provisioning/console/committing.h"
#include "provisioning/console/editor.h"
#include "provisioning/console/key_making.h"
#include "provisioning/console/login.h"
#include "provisioning/console/prompt.h"
#include "provisioning/console/script.h"
#include "provisioning/console/terminal.h"
#include "provisioning/console/two_person.h"

#define DEFAULT_STATE "/var/lib/inkan"

struct options {
	const char *state, *account, *password_file, *file;
	bool take_back; /* -R: what inkand starts when a commit was not confirmed */
	const char **commands;
	size_t n_commands;
};

static int usage(void)
{
	fputs("usage: inkan [-C STATE] [-u ACCOUNT] [-P PASSWORD-FILE] [-c 'COMMAND']... [FILE]\n", stderr);
	return EXIT_USAGE;
}

static bool read_options(int argc, char **argv, struct options *options)
{
	int option;

	*options = (struct options){.state = DEFAULT_STATE};
	while ((option = getopt(argc, argv, "C:u:P:c:R")) != -1) {
		if (option == 'C') {
			options->state = optarg;
		} else if (option == 'u') {
			options->account = optarg;
		} else if (option == 'P') {
			options->password_file = optarg;
		} else if (option == 'R') {
			options->take_back = true;
		} else if (option == 'c') {
			options->commands = mem_resize(options->commands, options->n_commands + 1, sizeof *options->commands);
			options->commands[options->n_commands++] = optarg;
		} else {
			return false;
		}
	}
	if (optind < argc)
		options->file = argv[optind++];
	return optind == argc && (options->file == NULL || options->n_commands == 0);
}

/* Where the operator is: the address of an SSH session, the terminal, or the name of a script. */
static char *find_origin(void)
{
	const char *ssh = getenv("SSH_CONNECTION");
	const char *terminal = ttyname(STDIN_FILENO);

	if (ssh != NULL && *ssh != '\0')
		return mem_string_n(ssh, strcspn(ssh, " "));
	return mem_string(terminal != NULL ? terminal : "script");
}

static bool open_state(struct console *console, struct err *err)
{
	/* 0711: the mail server's user passes through to its own directories */
	if (mkdir(console->state, 0700) == 0 ? chmod(console->state, 0711) != 0 : errno != EEXIST)
		return err_errno(err, "%s", console->state);
	console->store = store_open(console->state, STORE_READ_WRITE, err);
	return console->store != NULL;
}

/* Of a person; what a script did stands in its rows. */
static int log_out(struct console *console)
{
	struct err err;

	if (console_audit(console, "logout", "ok", &err))
		return EXIT_OK;
	fprintf(stderr, "inkan: %s\n", err.text);
	return EXIT_ERROR;
}

static int run_lines(struct console *console, const struct options *options)
{
	if (options->n_commands > 0)
		return script_run_commands(console, options->commands, options->n_commands);
	if (options->file != NULL)
		return script_run_file(console, options->file);
	if (!console->interactive)
		return script_run_input(console);
	certificates_warn(console);
	two_person_tell(console);
	editor_run(console);
	return log_out(console);
}

/* Nobody logs in: who may open the database and inkand's socket may do more than this. */
static int take_back(struct console *console)
{
	struct err err;

	console->account = mem_string(COMMIT_AUTOMATIC);
	if (open_state(console, &err) && commit_take_back(console, &err))
		return EXIT_OK;
	fprintf(stderr, "inkan: %s\n", err.text);
	return EXIT_ERROR;
}

static int run(struct console *console, const struct options *options)
{
	struct err err;
	int code;

	if (!login_can_begin(options->account, &err)) { /* before a state directory is made for nobody */
		fprintf(stderr, "inkan: %s\n", err.text);
		return EXIT_USAGE;
	}
	if (!open_state(console, &err)) {
		fprintf(stderr, "inkan: %s\n", err.text);
		return EXIT_ERROR;
	}
	if (!login(console, options->account, options->password_file, &err)) {
		fprintf(stderr, "inkan: %s\n", err.text);
		return EXIT_ERROR;
	}
	two_person_expire(console);
	keys_sweep(console);
	code = run_lines(console, options);
	checkpoint_at_logout(console);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(stderr, "inkan: standard output: %s\n", strerror(errno));
		return code == EXIT_OK ? EXIT_ERROR : code;
	}
	return code;
}

int main(int argc, char **argv)
{
	struct console console = {.out = stdout, .messages = stderr};
	struct options options;
	int code;

	if (argc >= 3 && strcmp(argv[1], "audit") == 0 && strcmp(argv[2], "verify") == 0)
		return audit_verify_program(argc - 3, argv + 3);
	umask(077);
	(void)signal(SIGXFSZ, SIG_IGN); /* a full disk is an error like any other */
	terminal_set_locale();
	process_no_dump();
	if (!read_options(argc, argv, &options))
		return usage();
	console.state = mem_string(options.state);
	console.origin = find_origin();
	console.interactive = options.n_commands == 0 && options.file == NULL && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	code = options.take_back ? take_back(&console) : run(&console, &options);
	store_close(console.store);
	free(console.account);
	free(console.state);
	free(console.origin);
	free(options.commands);
	return code;
}
