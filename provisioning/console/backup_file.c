#include "provisioning/console/backup_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARK "INKAN BACKUP "
#define CHUNK_BYTES 65536

/* ---- the head ---- */

static bool read_hex(const char *text, uint8_t *octets, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		unsigned octet;

		if (strspn(text + 2 * i, "0123456789abcdef") < 2 || sscanf(text + 2 * i, "%2x", &octet) != 1)
			return false;
		octets[i] = (uint8_t)octet;
	}
	return text[2 * count] == '\0';
}

static bool read_line(const char *line, struct backup_head *head, unsigned *seen)
{
	char digest[2 * sizeof head->sha256 + 2] = "";

	if (strncmp(line, "made ", 5) == 0)
		return snprintf(head->made, sizeof head->made, "%s", line + 5) < (int)sizeof head->made;
	if (strncmp(line, "by ", 3) == 0)
		return snprintf(head->by, sizeof head->by, "%s", line + 3) < (int)sizeof head->by;
	if (sscanf(line, "size %" SCNu64, &head->size) == 1) {
		*seen |= 1;
		return head->size <= BACKUP_MAX_BYTES;
	}
	if (sscanf(line, "sha256 %65s", digest) == 1 && read_hex(digest, head->sha256, sizeof head->sha256)) {
		*seen |= 2;
		return true;
	}
	return false;
}

bool backup_head_read(struct bytes text, struct backup_head *head, size_t *length, struct err *err)
{
	const uint8_t *end = memmem(text.data, text.len, "\n\n", 2);
	struct backup_head read = {0};
	char *copy, *line, *rest;
	unsigned seen = 0;
	bool fine = true;

	if (text.len < strlen(MARK) || memcmp(text.data, MARK, strlen(MARK)) != 0)
		return err_set(err, ERR_INVALID, "this is no backup of Inkan");
	copy = mem_string_n((const char *)text.data, end != NULL ? (size_t)(end - text.data) : text.len);
	line = strtok_r(copy, "\n", &rest);
	if (line == NULL || sscanf(line, MARK "%u", &read.version) != 1 || read.version == 0)
		fine = err_set(err, ERR_INVALID, "this is no backup of Inkan");
	else if (read.version > BACKUP_VERSION)
		fine = err_set(err, ERR_INVALID, "this is a backup of version %u, this program knows %d: install the newer Inkan",
			       read.version, BACKUP_VERSION);
	while (fine && (line = strtok_r(NULL, "\n", &rest)) != NULL)
		fine = read_line(line, &read, &seen) || err_set(err, ERR_INTEGRITY, "the head of the backup is damaged");
	free(copy);
	if (fine && (end == NULL || seen != 3))
		fine = err_set(err, ERR_INTEGRITY, "the head of the backup is cut short");
	if (!fine)
		return false;
	*head = read;
	*length = (size_t)(end - text.data) + 2;
	return true;
}

/* ---- octets ---- */

static bool write_octets(int fd, const uint8_t *octets, size_t len)
{
	while (len > 0) {
		ssize_t written = write(fd, octets, len);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return false;
		octets += written;
		len -= (size_t)written;
	}
	return true;
}

/* From where `from` stands to its end; `to` -1: digest only. */
static bool pass(int from, int to, uint64_t *size, uint8_t digest[static 32], struct err *err)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	uint8_t *chunk = mem_new_array(CHUNK_BYTES, 1);
	bool fine = context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;
	ssize_t got = 0;

	*size = 0;
	if (!fine)
		err_set(err, ERR_INTERNAL, "no SHA-256");
	while (fine && ((got = read(from, chunk, CHUNK_BYTES)) > 0 || (got < 0 && errno == EINTR))) {
		if (got < 0)
			continue;
		*size += (uint64_t)got;
		EVP_DigestUpdate(context, chunk, (size_t)got);
		if (to >= 0 && !write_octets(to, chunk, (size_t)got))
			fine = err_errno(err, "write");
	}
	if (fine && got < 0)
		fine = err_errno(err, "read");
	if (fine)
		EVP_DigestFinal_ex(context, digest, NULL);
	EVP_MD_CTX_free(context);
	mem_wipe(chunk, CHUNK_BYTES);
	free(chunk);
	return fine;
}

/* ---- write ---- */

static void put_head(struct buf *text, const char *made, const char *by, uint64_t size, const uint8_t digest[static 32])
{
	buf_printf(text, MARK "%d\nmade %s\nby %s\nsize %" PRIu64 "\nsha256 ", BACKUP_VERSION, made, by, size);
	for (size_t i = 0; i < 32; i++)
		buf_printf(text, "%02x", digest[i]);
	buf_put_text(text, "\n\n");
}

static bool write_parts(int from, int to, const char *made, const char *by, struct err *err)
{
	uint8_t digest[32], again[32];
	uint64_t size, copied;
	struct buf head = {0};
	bool fine = pass(from, -1, &size, digest, err);

	if (fine)
		put_head(&head, made, by, size, digest);
	fine = fine && (write_octets(to, head.data, head.len) || err_errno(err, "write"));
	fine = fine && (lseek(from, 0, SEEK_SET) == 0 || err_errno(err, "seek")) && pass(from, to, &copied, again, err);
	buf_clear(&head);
	if (fine && fsync(to) != 0)
		fine = err_errno(err, "write");
	return fine;
}

static bool write_partial(const char *database, const char *partial, const char *made, const char *by, struct err *err)
{
	int from = open(database, O_RDONLY | O_CLOEXEC), to;
	bool written;

	if (from < 0)
		return err_errno(err, "%s", database);
	(void)unlink(partial); /* of one that was broken off */
	to = open(partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	written = to >= 0 ? write_parts(from, to, made, by, err) : err_errno(err, "%s", partial);
	close(from);
	if (to >= 0 && close(to) != 0 && written)
		written = err_errno(err, "%s", partial);
	return written;
}

bool backup_write(const char *database, const char *path, const char *made, const char *by, bool force, struct err *err)
{
	char *partial = mem_format("%s.partial", path);
	struct stat status;
	bool written;

	if (lstat(path, &status) != 0)
		written = errno == ENOENT || err_errno(err, "%s", path);
	else if (!S_ISREG(status.st_mode))
		written = err_set(err, ERR_EXISTS, "%s is there already, and is no file", path);
	else
		written = force || err_set(err, ERR_EXISTS, "%s is there already: name another file, or say force", path);
	if (written) {
		written = write_partial(database, partial, made, by, err);
		if (written && rename(partial, path) != 0)
			written = err_errno(err, "%s", path);
		if (!written)
			(void)unlink(partial);
	}
	free(partial);
	return written;
}

/* ---- read ---- */

static bool read_parts(int from, int to, struct backup_head *head, struct err *err)
{
	uint8_t text[BACKUP_HEAD_MAX_BYTES], digest[32];
	ssize_t got = pread(from, text, sizeof text, 0);
	uint64_t size;
	size_t length;

	if (got < 0)
		return err_errno(err, "read");
	if (!backup_head_read(bytes_of(text, (size_t)got), head, &length, err))
		return false;
	if (lseek(from, (off_t)length, SEEK_SET) < 0)
		return err_errno(err, "seek");
	if (!pass(from, to, &size, digest, err))
		return false;
	if (size != head->size || memcmp(digest, head->sha256, sizeof digest) != 0)
		return err_set(err, ERR_INTEGRITY, "the backup is damaged: %" PRIu64 " octets of %" PRIu64 "%s", size, head->size,
			       size == head->size ? ", and their digest is another" : "");
	return true;
}

bool backup_read(const char *path, const char *database, struct backup_head *head, struct err *err)
{
	int from = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), to;
	struct stat status;
	bool fine;

	if (from < 0)
		return err_errno(err, "%s", path);
	if (fstat(from, &status) != 0 || !S_ISREG(status.st_mode)) {
		close(from);
		return err_set(err, ERR_INVALID, "%s is not a file", path);
	}
	(void)unlink(database); /* of one that was broken off */
	to = open(database, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	fine = to >= 0 ? read_parts(from, to, head, err) || err_prefix(err, "%s", path) : err_errno(err, "%s", database);
	close(from);
	if (to >= 0)
		close(to);
	if (!fine)
		(void)unlink(database);
	return fine;
}
