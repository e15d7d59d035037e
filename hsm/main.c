/* inkan-hsm: the only program that loads a PKCS#11 module. Started by inkand with its orders on CHILD_CONTROL_FD. */
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "appliance/base/log.h"
#include "hsm/protocol/worker.h"
#include "hsm/provision/role.h"
#include "hsm/provision/wiping.h"
#include "hsm/sign/role.h"

static const struct {
	const char *name;
	void (*prepare)(void); /* before OpenSSL's first call; NULL: nothing */
	int (*run)(void);
} roles[] = {
    {"sign", NULL, sign_role},
    {"provision", wiping_begin, provision_role},
};

static int usage(void)
{
	fputs("usage: inkan-hsm sign|provision [--log text|json]\n"
	      "(inkand starts it; it reads its orders from file descriptor 3)\n",
	      stderr);
	return WORKER_EXIT_USAGE;
}

int main(int argc, char **argv)
{
	enum log_format format = LOG_FORMAT_TEXT;

	if (argc != 2 && !(argc == 4 && strcmp(argv[2], "--log") == 0 && log_format_parse(argv[3], &format)))
		return usage();
	for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
		if (strcmp(argv[1], roles[i].name) != 0)
			continue;
		log_open("inkan-hsm", format, LOG_INFO);
		signal(SIGPIPE, SIG_IGN);
		if (roles[i].prepare != NULL)
			roles[i].prepare();
		/* No host configuration: it could load engines and providers into the process that holds the PIN. */
		OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
		return roles[i].run();
	}
	return usage();
}
