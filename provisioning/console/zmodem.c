#include "provisioning/console/zmodem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "provisioning/console/input.h"
#include "provisioning/console/terminal.h"

#define CTRL_C '\003'
#define BEGIN_FRAME '*' /* ZPAD */
#define LOOK_MS 200 /* for a signal */
#define DRAIN_MS 300 /* of silence, after the end: what the sender says last is not the console's */
#define KILL_MS 2000

struct transfer {
	char directory[32];
	pid_t child;
	int to, from; /* the child's standard input and output; -1: closed */
	uint8_t waiting[4096]; /* from the terminal, for the child */
	size_t n_waiting, octets, most_octets;
	int64_t last_ms, end_ms;
	bool begun;
};

/* ---- the directory ---- */

static bool make_directory(struct transfer *transfer, struct err *err)
{
	static const char *const places[] = {"/dev/shm", "/run", "/tmp"};

	for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
		snprintf(transfer->directory, sizeof transfer->directory, "%s/inkan-rz-XXXXXX", places[i]);
		if (mkdtemp(transfer->directory) != NULL)
			return true;
	}
	return err_errno(err, "a directory for the transfer");
}

static void wipe_file(int directory, const char *name)
{
	static const uint8_t zeros[4096];
	int fd = openat(directory, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat status;

	if (fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
		for (off_t at = 0; at < status.st_size; at += (off_t)sizeof zeros) {
			if (pwrite(fd, zeros, sizeof zeros, at) < 0)
				break;
		}
	}
	if (fd >= 0)
		close(fd);
	unlinkat(directory, name, 0);
}

/* Gives each name to `use` until it says no. */
static void each_file(const struct transfer *transfer, bool (*use)(int directory, const char *name, void *arg), void *arg)
{
	DIR *directory = opendir(transfer->directory);
	const struct dirent *entry;

	while (directory != NULL && (entry = readdir(directory)) != NULL) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
		    !use(dirfd(directory), entry->d_name, arg))
			break;
	}
	if (directory != NULL)
		closedir(directory);
}

static bool wipe_one(int directory, const char *name, void *arg)
{
	(void)arg;
	wipe_file(directory, name);
	return true;
}

static void remove_directory(const struct transfer *transfer)
{
	each_file(transfer, wipe_one, NULL);
	rmdir(transfer->directory);
}

struct found {
	char *name;
	size_t count;
};

static bool find_one(int directory, const char *name, void *arg)
{
	struct found *found = arg;

	(void)directory;
	if (found->count++ == 0)
		found->name = mem_string(name);
	return true;
}

static bool read_received(const struct transfer *transfer, const char *what, size_t most, struct buf *out, struct err *err)
{
	struct found found = {0};
	char *path;
	bool fine;

	each_file(transfer, find_one, &found);
	if (found.count != 1) {
		free(found.name);
		return err_set(err, ERR_INVALID, found.count == 0 ? "no file came" : "several files came: send one");
	}
	path = mem_format("%s/%s", transfer->directory, found.name);
	buf_reserve(out, most + 1); /* so that growing leaves no copies behind */
	fine = input_file(path, what, most, out, err);
	free(path);
	free(found.name);
	return fine;
}

/* ---- rz ---- */

static _Noreturn void become_rz(const struct transfer *transfer, int in, int out, size_t most)
{
	static char *const arguments[] = {"rz", "--binary", "--restricted", "--overwrite", "--quiet", NULL};
	static char *const environment[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", NULL};
	const struct rlimit size = {most + 1, most + 1}, none = {0, 0};
	int null = open("/dev/null", O_WRONLY);
	sigset_t all;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigemptyset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	signal(SIGPIPE, SIG_DFL);
	setsid(); /* without a terminal of its own */
	setrlimit(RLIMIT_FSIZE, &size);
	setrlimit(RLIMIT_CORE, &none);
	if (chdir(transfer->directory) != 0 || null < 0 || dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
	    dup2(null, STDERR_FILENO) < 0)
		_exit(127);
	closefrom(STDERR_FILENO + 1);
	execve(ZMODEM_RZ, arguments, environment);
	_exit(127);
}

static bool start_rz(struct transfer *transfer, size_t most, struct err *err)
{
	int in[2], out[2];

	if (access(ZMODEM_RZ, X_OK) != 0)
		return err_errno(err, "%s (package lrzsz)", ZMODEM_RZ);
	if (pipe2(in, O_CLOEXEC) != 0)
		return err_errno(err, "pipe");
	if (pipe2(out, O_CLOEXEC) != 0) {
		close(in[0]);
		close(in[1]);
		return err_errno(err, "pipe");
	}
	transfer->child = fork();
	if (transfer->child == 0)
		become_rz(transfer, in[0], out[1], most);
	close(in[0]);
	close(out[1]);
	transfer->to = in[1];
	transfer->from = out[0];
	return transfer->child > 0 || err_errno(err, "fork");
}

/* Ends rz, unless it has ended by itself; -> its exit status, or -1. */
static int end_rz(struct transfer *transfer, bool at_once)
{
	int64_t deadline = clock_monotonic_ms() + KILL_MS;
	int status = 0;

	if (transfer->to >= 0)
		close(transfer->to);
	if (transfer->from >= 0)
		close(transfer->from);
	if (transfer->child <= 0)
		return -1;
	if (at_once)
		kill(transfer->child, SIGKILL);
	while (waitpid(transfer->child, &status, WNOHANG) == 0) {
		if (clock_monotonic_ms() > deadline)
			kill(transfer->child, SIGKILL);
		usleep(10000);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* ---- between the terminal and rz ---- */

static bool take_typed(struct transfer *transfer, struct err *err)
{
	ssize_t got = read(STDIN_FILENO, transfer->waiting, sizeof transfer->waiting);

	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (got <= 0)
		return err_set(err, ERR_CANCELLED, "the terminal has hung up");
	if (!transfer->begun && memchr(transfer->waiting, CTRL_C, (size_t)got) != NULL)
		return err_set(err, ERR_CANCELLED, "interrupted");
	transfer->begun |= memchr(transfer->waiting, BEGIN_FRAME, (size_t)got) != NULL;
	transfer->n_waiting = (size_t)got;
	transfer->octets += (size_t)got;
	transfer->last_ms = clock_monotonic_ms();
	return transfer->octets <= transfer->most_octets || err_set(err, ERR_LIMIT, "more came than the file can be");
}

static void give_waiting(struct transfer *transfer)
{
	ssize_t put = write(transfer->to, transfer->waiting, transfer->n_waiting);

	if (put > 0) {
		transfer->n_waiting -= (size_t)put;
		memmove(transfer->waiting, transfer->waiting + put, transfer->n_waiting);
	} else if (put < 0 && errno != EINTR && errno != EAGAIN) {
		transfer->n_waiting = 0; /* it has ended */
	}
}

/* What rz says; false when it has ended. */
static bool pass_said(struct transfer *transfer)
{
	uint8_t said[4096];
	ssize_t got = read(transfer->from, said, sizeof said);

	if (got < 0)
		return errno == EINTR || errno == EAGAIN;
	for (ssize_t at = 0; at < got;) {
		ssize_t put = write(STDOUT_FILENO, said + at, (size_t)(got - at));

		if (put <= 0 && errno != EINTR)
			return false;
		at += put > 0 ? put : 0;
	}
	return got > 0;
}

static bool in_time(const struct transfer *transfer, struct err *err)
{
	int64_t now = clock_monotonic_ms();

	if (terminal_interrupted())
		return err_set(err, ERR_CANCELLED, "interrupted");
	if (now > transfer->end_ms || now > transfer->last_ms + ZMODEM_QUIET_MS)
		return err_set(err, ERR_TIMEOUT, "the sender was silent for %d s, or took too long", ZMODEM_QUIET_MS / 1000);
	return true;
}

static bool relay(struct transfer *transfer, struct err *err)
{
	while (in_time(transfer, err)) {
		bool full = transfer->n_waiting > 0;
		struct pollfd polled[] = {{.fd = full ? -1 : STDIN_FILENO, .events = POLLIN},
					  {.fd = full ? transfer->to : -1, .events = POLLOUT},
					  {.fd = transfer->from, .events = POLLIN}};

		if (poll(polled, 3, LOOK_MS) <= 0)
			continue;
		if (polled[0].revents != 0 && !take_typed(transfer, err))
			return false;
		if (polled[1].revents != 0)
			give_waiting(transfer);
		if (polled[2].revents != 0 && !pass_said(transfer))
			return true;
	}
	return false;
}

/* Tells the sender to end (ZMODEM's own cancel), and takes the rest of what it says. */
static void settle_line(bool cancelled)
{
	static const char cancel[] = "\030\030\030\030\030\030\030\030\b\b\b\b\b\b\b\b";
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
	uint8_t rest[256];

	if (cancelled && write(STDOUT_FILENO, cancel, sizeof cancel - 1) < 0)
		return;
	while (!terminal_interrupted() && poll(&input, 1, DRAIN_MS) > 0 && read(STDIN_FILENO, rest, sizeof rest) > 0)
		;
}

static bool transfer_file(struct transfer *transfer, size_t most, struct err *err)
{
	bool done = start_rz(transfer, most, err) && relay(transfer, err);
	int status = end_rz(transfer, !done);

	settle_line(!done);
	mem_wipe(transfer->waiting, sizeof transfer->waiting);
	if (done && status != 0)
		return err_set(err, ERR_INVALID, "the transfer has failed: the file did not come whole, or is too large");
	return done;
}

static bool transfer_raw(struct transfer *transfer, size_t most, struct err *err)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN}, pipe_before;
	struct terminal_signals before;
	struct termios usual, raw;
	bool done;

	if (tcgetattr(STDIN_FILENO, &usual) != 0)
		return err_set(err, ERR_INVALID, "ZMODEM needs a terminal");
	raw = usual;
	cfmakeraw(&raw);
	terminal_watch(&before);
	sigaction(SIGPIPE, &ignore, &pipe_before);
	tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
	done = transfer_file(transfer, most, err);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &usual);
	sigaction(SIGPIPE, &pipe_before, NULL);
	terminal_unwatch(&before);
	return done;
}

bool zmodem_receive(const char *what, size_t most, struct buf *out, struct err *err)
{
	int64_t now = clock_monotonic_ms();
	struct transfer transfer = {.to = -1,
				    .from = -1,
				    .most_octets = 4 * most + 65536, /* every octet escaped, and asked for again */
				    .last_ms = now,
				    .end_ms = now + ZMODEM_WHOLE_MS};
	bool done;

	if (!make_directory(&transfer, err))
		return false;
	fprintf(stderr, "Send %s by ZMODEM now (Ctrl-C ends it):\n", what);
	fflush(stderr);
	done = transfer_raw(&transfer, most, err) && read_received(&transfer, what, most, out, err);
	remove_directory(&transfer);
	fputc('\n', stderr);
	return done;
}
