#include "appliance/supervisor/child_exec.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "appliance/base/process.h"
#include "hsm/protocol/worker.h"

#define REPORT_FD (CHILD_CONTROL_FD + 1)
#define FIRST_FREE_FD (REPORT_FD + 1) /* above what the child uses: descriptors are moved here before they are placed */

/* Nothing else of inkand's environment reaches a child, so that no OPENSSL_CONF or LD_PRELOAD can. */
static const char *const child_environment[] = {
    "PATH", "TZ", "LANG", "LC_ALL", "LC_CTYPE", "ASAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS",
};

#define N_ENVIRONMENT (sizeof child_environment / sizeof *child_environment)

static void collect_environment(char *environment[static N_ENVIRONMENT + 1])
{
	size_t n = 0;

	for (size_t i = 0; i < N_ENVIRONMENT; i++) {
		const char *value = getenv(child_environment[i]);

		if (value != NULL)
			environment[n++] = mem_format("%s=%s", child_environment[i], value);
	}
	environment[n] = NULL;
}

/* *report follows the pipe to where it ends up. */
static bool place_descriptors(int control, int *report, struct err *err)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	control = fcntl(control, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
	*report = fcntl(*report, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
	if (null < 0 || control < 0 || *report < 0)
		return err_errno(err, "descriptors");
	if (dup2(null, STDIN_FILENO) < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0 || dup2(control, CHILD_CONTROL_FD) < 0 ||
	    dup3(*report, REPORT_FD, O_CLOEXEC) < 0)
		return err_errno(err, "descriptors");
	*report = REPORT_FD;
	return close_range(FIRST_FREE_FD, ~0u, 0) == 0 ? true : err_errno(err, "close_range");
}

static void reset_signals(void)
{
	sigset_t none;

	for (int number = 1; number < NSIG; number++)
		(void)signal(number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The death signal is set last: the kernel forgets it when the user changes. */
static bool become(const struct child_program *program, pid_t parent, struct err *err)
{
	if (setsid() < 0)
		return err_errno(err, "setsid");
	if (program->run_as.change && !process_drop_privileges(program->run_as.uid, program->run_as.gid, err))
		return false;
	if (program->death_signal != 0 && prctl(PR_SET_PDEATHSIG, program->death_signal, 0, 0, 0) != 0)
		return err_errno(err, "death signal");
	if (getppid() != parent)
		return err_set(err, ERR_UNAVAILABLE, "inkand has died");
	return true;
}

/*
 * The program is opened before the user changes, since its directory may be closed to that user. By path where that
 * works: the process then has its proper name.
 */
static bool execute(const struct child_program *program, int file, char *const *environment, struct err *err)
{
	char *const *arguments = (char *const *)(uintptr_t)program->arguments;

	execve(program->path, arguments, environment);
	if (errno == EACCES)
		fexecve(file, arguments, environment);
	return err_errno(err, "execute %s", program->path);
}

/* In the child. Comes back only with an error. */
static void run(const struct child_program *program, int control, int *report, pid_t parent, struct err *err)
{
	char *environment[N_ENVIRONMENT + 1];
	int file;

	reset_signals();
	collect_environment(environment);
	if (!place_descriptors(control, report, err))
		return;
	file = open(program->path, O_PATH | O_CLOEXEC);
	if (file < 0)
		err_errno(err, "%s", program->path);
	else if (become(program, parent, err))
		execute(program, file, environment, err);
}

static void run_or_report(const struct child_program *program, int control, int report, pid_t parent)
{
	struct err err;
	ssize_t written;

	run(program, control, &report, parent, &err);
	written = write(report, err.text, strlen(err.text));
	_exit(written >= 0 ? 127 : 126);
}

/* The pipe ends without an octet when exec closed it. */
static bool read_report(int report, struct err *err)
{
	char text[ERR_TEXT_MAX];
	ssize_t got;

	do
		got = read(report, text, sizeof text - 1);
	while (got < 0 && errno == EINTR);
	if (got == 0)
		return true;
	if (got < 0)
		return err_errno(err, "start a program");
	text[got] = '\0';
	return err_set(err, ERR_SYSTEM, "%s", text);
}

pid_t child_exec(const struct child_program *program, int control, struct err *err)
{
	pid_t parent = getpid(), pid;
	int report[2];
	bool started;

	if (pipe2(report, O_CLOEXEC) != 0) {
		err_errno(err, "pipe");
		return -1;
	}
	pid = fork();
	if (pid == 0)
		run_or_report(program, control, report[1], parent);
	if (pid < 0)
		err_errno(err, "fork");
	close(report[1]);
	started = pid > 0 && read_report(report[0], err);
	close(report[0]);
	if (pid > 0 && !started)
		waitpid(pid, NULL, 0);
	return started ? pid : -1;
}
