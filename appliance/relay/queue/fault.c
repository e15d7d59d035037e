#include "appliance/relay/queue/fault.h"

#ifdef INKAN_FAULT_POINTS

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FAULT_POINTS_MAX 32

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	const char *name;
	unsigned passed;
} points[FAULT_POINTS_MAX];

static char plan[256];

/* Before main: a relay is confined later, and inkand hands no environment on, so a file beside the program serves as well. */
static void __attribute__((constructor)) read_plan(void)
{
	const char *given = getenv("INKAN_FAULT");
	char path[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);
	FILE *file = NULL;

	if (given != NULL) {
		snprintf(plan, sizeof plan, "%s", given);
		return;
	}
	if (len > 0) {
		path[len] = '\0';
		snprintf(strrchr(path, '/'), 7, "/fault");
		file = fopen(path, "r");
	}
	if (file != NULL && fgets(plan, sizeof plan, file) != NULL)
		plan[strcspn(plan, "\n")] = '\0';
	if (file != NULL)
		fclose(file);
}

/* How often `name` was passed, this time included. */
static unsigned count_passage(const char *name)
{
	unsigned passed = 0;

	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < FAULT_POINTS_MAX; i++) {
		if (points[i].name == NULL)
			points[i].name = name;
		if (strcmp(points[i].name, name) == 0) {
			passed = ++points[i].passed;
			break;
		}
	}
	pthread_mutex_unlock(&lock);
	return passed;
}

static bool matches(const char *entry, const char *name, const char **action)
{
	size_t len = strlen(name);

	if (strncmp(entry, name, len) != 0 || entry[len] != '=')
		return false;
	*action = entry + len + 1;
	return true;
}

static const char *find_action(const char *name)
{
	const char *entry = plan, *action;

	for (; *entry != '\0'; entry += strcspn(entry, ",")) {
		entry += *entry == ',';
		if (matches(entry, name, &action))
			return action;
	}
	return NULL;
}

int fault_point(const char *name)
{
	const char *action = find_action(name);
	unsigned long when = 0;
	char *end = NULL;
	int error = 0;

	if (action == NULL)
		return 0;
	if (strncmp(action, "errno:", 6) == 0)
		error = (int)strtol(action + 6, &end, 10);
	else
		end = (char *)(uintptr_t)action + strlen("kill");
	if (*end == ':')
		when = strtoul(end + 1, NULL, 10);
	if (when != 0 && count_passage(name) != when)
		return 0;
	if (error == 0)
		kill(getpid(), SIGKILL);
	return error;
}

#endif
