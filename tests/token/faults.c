#include "tests/token/faults.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/test.h"

static char *directory, *module;
static char *module_variable, *directory_variable;

/* BUILD/tests/token/THIS -> BUILD/tests/token/faulty_module.so */
static char *module_path(void)
{
	char self[4096], *slash;
	ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);

	if (len <= 0)
		exit(1);
	self[len] = '\0';
	slash = strrchr(self, '/');
	*slash = '\0';
	return mem_format("%s/faulty_module.so", self);
}

static char *path_of(const char *name)
{
	return mem_format("%s/%s", directory, name);
}

void faults_prepare(struct test_start *start)
{
	free(directory);
	free(module);
	free(module_variable);
	free(directory_variable);
	directory = mem_string(test_directory());
	module = module_path();
	module_variable = mem_format("INKAN_FAULTY_MODULE=%s", softhsm_module());
	directory_variable = mem_format("INKAN_FAULTY_DIRECTORY=%s", directory);
	start->module = module;
	start->environment[0] = module_variable;
	start->environment[1] = directory_variable;
	start->environment[2] = NULL;
}

void fault_on(const char *name, const char *value)
{
	char *path = path_of(name);

	CHECK(test_write_file(path, bytes_text(value)));
	free(path);
}

void fault_off(const char *name)
{
	char *path = path_of(name);

	unlink(path);
	free(path);
}

unsigned fault_logins(void)
{
	char *path = path_of("logins");
	FILE *file = fopen(path, "re");
	unsigned lines = 0;
	int c;

	free(path);
	while (file != NULL && (c = fgetc(file)) != EOF)
		lines += c == '\n';
	if (file != NULL)
		fclose(file);
	return lines;
}

struct call_row { /* tests/token/faulty_switches.h */
	char name[24];
	uint64_t count;
};

uint64_t fault_calls(const char *function)
{
	char *path = path_of("calls");
	struct buf rows = {0};
	uint64_t count = 0;

	CHECK(test_read_file(path, &rows));
	for (size_t at = 0; at + sizeof(struct call_row) <= rows.len; at += sizeof(struct call_row)) {
		struct call_row row;

		memcpy(&row, rows.data + at, sizeof row);
		if (strncmp(row.name, function, sizeof row.name) == 0)
			count = row.count;
	}
	buf_clear(&rows);
	free(path);
	return count;
}
