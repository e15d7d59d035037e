#include "appliance/base/secret.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct secret {
	size_t len;
	char data[];
};

#define SECRET_MAP_BYTES (sizeof(struct secret) + SECRET_MAX_BYTES + 1)

struct secret *secret_new(struct bytes bytes, struct err *err)
{
	struct secret *secret;

	if (bytes.len > SECRET_MAX_BYTES) {
		err_set(err, ERR_LIMIT, "secret longer than %d bytes", SECRET_MAX_BYTES);
		return NULL;
	}
	secret = mmap(NULL, SECRET_MAP_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (secret == MAP_FAILED) {
		err_errno(err, "mmap");
		return NULL;
	}
	/* An ordinary user's lock limit may be used up: the secret is then unlocked but still never dumped. */
	(void)mlock(secret, SECRET_MAP_BYTES);
	(void)madvise(secret, SECRET_MAP_BYTES, MADV_DONTDUMP);
	(void)madvise(secret, SECRET_MAP_BYTES, MADV_WIPEONFORK);
	secret->len = bytes.len;
	if (bytes.len > 0)
		memcpy(secret->data, bytes.data, bytes.len);
	secret->data[bytes.len] = '\0';
	return secret;
}

void secret_free(struct secret *secret)
{
	if (secret == NULL)
		return;
	mem_wipe(secret, SECRET_MAP_BYTES);
	munmap(secret, SECRET_MAP_BYTES);
}

struct bytes secret_bytes(const struct secret *secret)
{
	return bytes_of(secret->data, secret->len);
}

const char *secret_text(const struct secret *secret)
{
	return secret->data;
}

struct secret *secret_read_file(const char *path, struct err *err)
{
	uint8_t buffer[SECRET_MAX_BYTES + 1];
	struct secret *secret;
	ssize_t got;
	uint8_t *end;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0) {
		err_errno(err, "%s", path);
		return NULL;
	}
	got = read(fd, buffer, sizeof buffer);
	close(fd);
	if (got < 0) {
		err_errno(err, "%s", path);
		return NULL;
	}
	end = memchr(buffer, '\n', (size_t)got);
	if (end != NULL)
		got = end - buffer;
	if (got > 0 && buffer[got - 1] == '\r')
		got--;
	secret = secret_new(bytes_of(buffer, (size_t)got), err);
	mem_wipe(buffer, sizeof buffer);
	return secret;
}
