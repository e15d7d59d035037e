#include "appliance/supervisor/pin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define IDENTITY_BYTES 128

void pin_init(struct pin *pin, const char *state_directory)
{
	*pin = (struct pin){.rejected_path = mem_format("%s/run/pin-rejected", state_directory)};
}

static void drop_secret(struct pin *pin)
{
	secret_free(pin->secret);
	free(pin->file);
	pin->secret = NULL;
	pin->file = NULL;
}

void pin_clear(struct pin *pin)
{
	drop_secret(pin);
	free(pin->rejected_path);
	*pin = (struct pin){0};
}

bool pin_usable(const struct pin *pin)
{
	return pin->state == PIN_TRIED || pin->state == PIN_HELD;
}

const char *pin_state_name(const struct pin *pin)
{
	static const char *const names[] = {
	    [PIN_NONE] = "none", [PIN_TRIED] = "none", [PIN_HELD] = "held", [PIN_REJECTED] = "rejected"};

	return names[pin->state];
}

void pin_try(struct pin *pin, struct secret *secret, bool final_try)
{
	drop_secret(pin);
	pin->secret = secret;
	pin->final_try = final_try;
	pin->state = PIN_TRIED;
	pin->error[0] = '\0';
}

void pin_accepted(struct pin *pin)
{
	pin->state = PIN_HELD;
	pin->error[0] = '\0';
	(void)unlink(pin->rejected_path);
}

void pin_forget(struct pin *pin, const char *why)
{
	drop_secret(pin);
	pin->state = PIN_NONE;
	snprintf(pin->error, sizeof pin->error, "%s", why);
}

/* A file that was written again, or replaced, has another identity. */
static bool file_identity(const char *path, char identity[static IDENTITY_BYTES])
{
	struct stat status;

	if (stat(path, &status) != 0)
		return false;
	snprintf(identity, IDENTITY_BYTES, "%llu %llu %lld.%09ld %lld\n", (unsigned long long)status.st_dev,
		 (unsigned long long)status.st_ino, (long long)status.st_mtim.tv_sec, status.st_mtim.tv_nsec,
		 (long long)status.st_size);
	return true;
}

static void remember_rejected_file(const struct pin *pin)
{
	char identity[IDENTITY_BYTES];
	FILE *file;

	if (!file_identity(pin->file, identity))
		return;
	file = fopen(pin->rejected_path, "we");
	if (file == NULL)
		return;
	fputs(identity, file);
	fclose(file);
}

static bool was_rejected(const struct pin *pin, const char *path)
{
	char identity[IDENTITY_BYTES], remembered[IDENTITY_BYTES] = "";
	FILE *file = fopen(pin->rejected_path, "re");
	bool same;

	if (file == NULL)
		return false;
	same = fgets(remembered, sizeof remembered, file) != NULL && file_identity(path, identity) &&
	       strcmp(identity, remembered) == 0;
	fclose(file);
	return same;
}

void pin_reject(struct pin *pin, const char *why)
{
	if (pin->file != NULL)
		remember_rejected_file(pin);
	drop_secret(pin);
	pin->state = PIN_REJECTED;
	snprintf(pin->error, sizeof pin->error, "%s", why);
}

bool pin_read_file(struct pin *pin, const char *path, struct err *err)
{
	struct secret *secret;

	if (was_rejected(pin, path))
		return err_set(err, ERR_DENIED, "%s: the token rejected this PIN before; write the right one there, or log in",
			       path);
	secret = secret_read_file(path, err);
	if (secret == NULL)
		return false;
	if (secret_bytes(secret).len == 0) {
		secret_free(secret);
		return err_set(err, ERR_INVALID, "%s: the first line is empty", path);
	}
	drop_secret(pin);
	pin->secret = secret;
	pin->file = mem_string(path);
	pin->state = PIN_HELD;
	pin->error[0] = '\0';
	return true;
}
