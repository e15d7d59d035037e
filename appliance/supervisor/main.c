/* inkand: see inkand(8). */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "appliance/base/log.h"
#include "appliance/base/process.h"
#include "appliance/supervisor/handover.h"
#include "appliance/supervisor/privileges.h"
#include "appliance/supervisor/supervisor.h"

#define EXIT_USAGE 2
#define DEFAULT_STATE "/var/lib/inkan"

static const char usage_text[] = "usage: inkand [-C DIR] [--log text|json] [--relay-user USER] [--hsm-user USER]\n";

static const char help_text[] = "Starts, watches and restarts Inkan's programs.\n"
				"\n"
				"  -C DIR              state directory (default " DEFAULT_STATE ")\n"
				"  --log text|json     form of the log on standard error (default text)\n"
				"  --relay-user USER   user of inkan-relay, name or number (as root; default inkan-relay)\n"
				"  --hsm-user USER     user of inkan-hsm, name or number (as root; default inkan-hsm)\n"
				"  --help              this text\n";

struct arguments {
	const char *state;
	enum log_format log;
	const char *relay_user, *hsm_user; /* NULL: not given */
};

static _Noreturn void usage(const char *problem)
{
	fprintf(stderr, "inkand: %s\n%s", problem, usage_text);
	exit(EXIT_USAGE);
}

static _Noreturn void fail(const struct err *err)
{
	log_error("failed", LOG_ERR(err));
	exit(EXIT_FAILURE);
}

static _Noreturn void help(void)
{
	printf("%s%s", usage_text, help_text);
	exit(EXIT_SUCCESS);
}

static void parse_arguments(int argc, char **argv, struct arguments *arguments)
{
	enum { OPTION_LOG = 256, OPTION_RELAY_USER, OPTION_HSM_USER, OPTION_HELP };
	static const struct option options[] = {{"log", required_argument, NULL, OPTION_LOG},
						{"relay-user", required_argument, NULL, OPTION_RELAY_USER},
						{"hsm-user", required_argument, NULL, OPTION_HSM_USER},
						{"help", no_argument, NULL, OPTION_HELP},
						{0}};
	int option;

	*arguments = (struct arguments){.state = DEFAULT_STATE, .log = LOG_FORMAT_TEXT};
	while ((option = getopt_long(argc, argv, "C:", options, NULL)) != -1) {
		if (option == 'C')
			arguments->state = optarg;
		else if (option == OPTION_RELAY_USER)
			arguments->relay_user = optarg;
		else if (option == OPTION_HSM_USER)
			arguments->hsm_user = optarg;
		else if (option == OPTION_HELP)
			help();
		else if (option != OPTION_LOG)
			usage("see the options above");
		else if (!log_format_parse(optarg, &arguments->log))
			usage("--log takes text or json");
	}
	if (optind != argc)
		usage("no arguments are taken");
}

/* A number that the user database does not know is user and group alike. */
static bool find_user(const char *name, struct run_as *run_as, struct err *err)
{
	const struct passwd *entry = getpwnam(name);
	char *end;
	unsigned long number = strtoul(name, &end, 10);

	if (entry == NULL && *end == '\0' && *name >= '0' && *name <= '9' && number < UINT_MAX) {
		entry = getpwuid((uid_t)number);
		*run_as = (struct run_as){.uid = (uid_t)number, .gid = (gid_t)number, .change = true};
	} else if (entry == NULL) {
		return err_set(err, ERR_NOT_FOUND, "there is no user %s", name);
	}
	if (entry != NULL)
		*run_as = (struct run_as){.uid = entry->pw_uid, .gid = entry->pw_gid, .change = true};
	return true;
}

/* An ordinary user cannot change users: all programs run as that one. Root stays root only where that is asked for by name. */
static void choose_user(const char *given, const char *option, const char *fallback, struct run_as *run_as)
{
	struct err err;

	*run_as = (struct run_as){.uid = geteuid(), .gid = getegid()};
	if (geteuid() != 0 && given == NULL)
		return;
	if (!find_user(given != NULL ? given : fallback, run_as, &err)) {
		err_prefix(&err, "%s", option);
		fail(&err);
	}
	if (run_as->uid == geteuid())
		run_as->change = false;
	if (run_as->change && geteuid() != 0) {
		err_set(&err, ERR_DENIED, "%s: only root can run programs as another user", option);
		fail(&err);
	}
}

/* The programs are where this one is, wherever that is. */
static char *program_directory(void)
{
	char path[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);
	struct err err;
	char *slash;

	if (len < 0) {
		err_errno(&err, "/proc/self/exe");
		fail(&err);
	}
	path[len] = '\0';
	slash = strrchr(path, '/');
	*slash = '\0';
	return mem_string(path);
}

/* Made here, so that its name can be made absolute. */
static char *state_directory(const char *given)
{
	struct err err;
	char *path;

	if (mkdir(given, 0711) != 0 && errno != EEXIST) {
		err_errno(&err, "%s", given);
		fail(&err);
	}
	path = realpath(given, NULL);
	if (path == NULL) {
		err_errno(&err, "%s", given);
		fail(&err);
	}
	return path;
}

int main(int argc, char **argv)
{
	struct supervisor_options options = {0};
	struct arguments arguments;
	char *state, *programs;
	struct err err;
	bool confined;

	parse_arguments(argc, argv, &arguments);
	log_open("inkand", arguments.log, LOG_INFO);
	umask(077);
	process_no_dump();
	choose_user(arguments.relay_user, "--relay-user", "inkan-relay", &options.relay);
	choose_user(arguments.hsm_user, "--hsm-user", "inkan-hsm", &options.hsm);
	state = state_directory(arguments.state);
	programs = program_directory();
	options.state = state;
	options.programs = programs;
	options.arguments = argv;
	options.log_format = arguments.log == LOG_FORMAT_JSON ? "json" : "text";
	privileges_raise_limits();
	(void)process_lock_memory();
	confined = getenv(HANDOVER_VARIABLE) != NULL; /* by the program before; the kernel takes 16 confinements at most */
	if (!privileges_keep_needed(&err) || (!confined && !privileges_confine(programs, &err)) ||
	    !supervisor_run(&options, &err))
		fail(&err);
	free(state);
	free(programs);
	return EXIT_SUCCESS;
}
