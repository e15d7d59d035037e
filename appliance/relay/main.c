#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "appliance/base/log.h"
#include "appliance/base/process.h"
#include "appliance/relay/relay.h"

static int usage(void)
{
	fputs("usage: inkan-relay -C STATE [--log text|json]\n"
	      "Started by inkand, with its end of the control channel as file descriptor 3.\n",
	      stderr);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"log", required_argument, NULL, 'l'}, {0}};
	enum log_format format = LOG_FORMAT_TEXT;
	const char *state = NULL;
	int option;

	while ((option = getopt_long(argc, argv, "C:", options, NULL)) != -1) {
		if (option == 'C')
			state = optarg;
		else if (option != 'l' || !log_format_parse(optarg, &format))
			return usage();
	}
	if (state == NULL || optind != argc)
		return usage();
	log_open("inkan-relay", format, LOG_INFO);
	umask(077);
	process_no_dump();
	return relay_run(state);
}
