/*
 * tpm2-pkcs11 on a TPM in software: swtpm on ports of loopback, and tpm2-abrmd on a bus of its own before it, since a TPM has
 * room for three keys and one client (a real one has the kernel's resource manager, /dev/tpmrm0). Lost by the end of both.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/matrix/matrix.h"
#include "tests/unit/test.h"

static const char *directory;
static char *bus, *bus_address;
static unsigned port; /* and the next one: its control */
static pid_t tpm, manager;

static struct sockaddr_in loopback(unsigned number)
{
	return (struct sockaddr_in){
	    .sin_family = AF_INET, .sin_port = htons((uint16_t)number), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static bool try_port(unsigned number, int (*call)(int, const struct sockaddr *, socklen_t))
{
	struct sockaddr_in address = loopback(number);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool good = call(fd, (struct sockaddr *)&address, sizeof address) == 0;

	close(fd);
	return good;
}

static void choose_ports(void)
{
	port = 20000 + (unsigned)getpid() % 10000 / 2 * 2;
	while (!try_port(port, bind) || !try_port(port + 1, bind))
		port += 2;
}

static bool bus_is_there(void)
{
	return access(bus, F_OK) == 0;
}

static bool tpm_listens(void)
{
	return try_port(port + 1, connect);
}

static void start_bus(void)
{
	char *address = mem_format("--address=%s", bus_address);
	const char *const arguments[] = {"dbus-daemon", "--session", "--nofork", "--nopidfile", address, NULL};

	matrix_daemon_start(arguments);
	matrix_await(bus_is_there, "dbus-daemon does not start");
	free(address);
}

static void start_tpm(void)
{
	char *state = mem_format("dir=%s", directory), *server = mem_format("type=tcp,port=%u,bindaddr=127.0.0.1", port),
	     *control = mem_format("type=tcp,port=%u,bindaddr=127.0.0.1", port + 1);
	const char *const arguments[] = {"swtpm",
					 "socket",
					 "--tpm2",
					 "--tpmstate",
					 state,
					 "--server",
					 server,
					 "--ctrl",
					 control,
					 "--flags",
					 "not-need-init,startup-clear",
					 NULL};

	tpm = matrix_daemon_start(arguments);
	matrix_await(tpm_listens, "swtpm does not start");
	free(state);
	free(server);
	free(control);
}

static bool manager_answers(void)
{
	char *command = mem_format("DBUS_SESSION_BUS_ADDRESS=%s dbus-send --session --print-reply --dest=org.freedesktop.DBus / "
				   "org.freedesktop.DBus.GetNameOwner string:com.intel.tss2.Tabrmd >/dev/null 2>&1",
				   bus_address);
	bool good = system(command) == 0;

	free(command);
	return good;
}

static void start_manager(void)
{
	char *tcti = mem_format("--tcti=swtpm:host=127.0.0.1,port=%u", port);
	const char *const arguments[] = {"tpm2-abrmd", "--session", "--allow-root", tcti, NULL};

	matrix_must(setenv("DBUS_SESSION_BUS_ADDRESS", bus_address, 1) == 0, "setenv");
	manager = matrix_daemon_start(arguments);
	matrix_await(manager_answers, "tpm2-abrmd does not start");
	free(tcti);
}

static void lose(void)
{
	matrix_daemon_stop(manager);
	matrix_daemon_stop(tpm);
}

static void restore(void)
{
	start_tpm();
	start_manager();
}

int main(void)
{
	struct matrix_token token = {.column = "tpm2-pkcs11 1.9.0",
				     .module = matrix_module("/usr/lib/*/pkcs11/libtpm2_pkcs11.so"),
				     .so_pin = MATRIX_SO_PIN,
				     .lose = lose,
				     .restore = restore};

	directory = test_directory();
	bus = mem_format("%s/bus", directory);
	bus_address = mem_format("unix:path=%s", bus);
	choose_ports();
	start_bus();
	restore();
	token.environment[0] = mem_format("TPM2_PKCS11_STORE=%s", directory);
	token.environment[1] = mem_string("TPM2_PKCS11_TCTI=tabrmd:bus_type=session");
	token.environment[2] = mem_format("DBUS_SESSION_BUS_ADDRESS=%s", bus_address);
	token.writable[0] = mem_string(directory);
	return matrix_run(&token);
}
