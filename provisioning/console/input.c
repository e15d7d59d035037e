#include "provisioning/console/input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "provisioning/console/prompt.h"
#include "provisioning/console/usb.h"
#include "provisioning/console/zmodem.h"

static bool read_all(int fd, const char *path, const char *what, size_t most, struct buf *out, struct err *err)
{
	uint8_t chunk[16384];
	ssize_t got;

	while ((got = read(fd, chunk, sizeof chunk)) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_errno(err, "%s", path);
		buf_put(out, chunk, (size_t)got);
		if (out->len > most)
			return err_set(err, ERR_LIMIT, "%s is larger than %s can be here (%zu KiB)", path, what, most >> 10);
	}
	mem_wipe(chunk, sizeof chunk);
	return true;
}

bool input_file(const char *path, const char *what, size_t most, struct buf *out, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat status;
	bool fine;

	if (fd < 0)
		return err_errno(err, "%s", path);
	if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))
		fine = err_set(err, ERR_INVALID, "%s is not a file", path);
	else
		fine = read_all(fd, path, what, most, out, err);
	if (fine && out->len == 0)
		fine = err_set(err, ERR_INVALID, "%s is empty", path);
	close(fd);
	return fine;
}

/* Without the lines of PEM armour. */
static void take_armour_off(struct buf *text)
{
	size_t kept = 0;

	for (size_t at = 0, end; at < text->len; at = end) {
		const uint8_t *line_end = memchr(text->data + at, '\n', text->len - at);

		end = line_end != NULL ? (size_t)(line_end - text->data) + 1 : text->len;
		if (text->data[at] == '-')
			continue;
		memmove(text->data + kept, text->data + at, end - at);
		kept += end - at;
	}
	text->len = kept;
}

static bool paste(const char *what, size_t most, bool pem, struct buf *out, struct err *err)
{
	char *prompt = mem_format("Paste %s in base64%s; end with a blank line or a line of `.`:", what, pem ? " or PEM" : "");
	struct buf text = {0};
	bool fine = prompt_paste(prompt, most * 3 / 2, &text, err);

	free(prompt);
	if (fine && pem && memmem(text.data, text.len, "-----BEGIN ", 11) != NULL) {
		buf_put_bytes(out, buf_bytes(&text));
	} else if (fine) {
		take_armour_off(&text);
		buf_reserve(out, text.len);
		fine = base64_decode(out, buf_bytes(&text), err) || err_prefix(err, "what was pasted");
	}
	if (fine && out->len > most)
		fine = err_set(err, ERR_LIMIT, "what was pasted is larger than %s can be here (%zu KiB)", what, most >> 10);
	buf_wipe_clear(&text);
	return fine;
}

bool input_any(const char *path, const char *what, size_t most, bool pem, struct buf *out, struct err *err)
{
	if (path == NULL)
		return paste(what, most, pem, out, err);
	if (strcmp(path, INPUT_ZMODEM) == 0)
		return zmodem_receive(what, most, out, err);
	if (strncmp(path, USB_SCHEME, strlen(USB_SCHEME)) == 0)
		return usb_input(path + strlen(USB_SCHEME), what, most, out, err);
	return input_file(path, what, most, out, err);
}
