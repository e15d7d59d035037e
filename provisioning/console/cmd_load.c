/*
 * save and load (service.md L5): a configuration as lines of `set`. A password that is kept as a hash is left out, and what is
 * there stays; one that is sealed under a key of the token goes along as it is, since only that token opens it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "provisioning/console/commands.h"
#include "provisioning/console/input.h"
#include "provisioning/console/loading.h"
#include "provisioning/console/prompt.h"
#include "provisioning/console/tree.h"

#define LOAD_MAX_BYTES ((size_t)4 << 20)
#define SAVED_MARK "# Inkan configuration"
#define TERMINAL "terminal"

/* ---- save ---- */

static void put_head(struct console *console, struct buf *text, uint64_t running)
{
	char time[CONSOLE_TIME_BYTES];

	console_time(time, clock_wall_ms());
	buf_printf(text,
		   SAVED_MARK ": the candidate of %s on revision %llu, saved %s UTC\n"
			      "# Bring it back with: load override FILE (or: load merge FILE), then commit.\n"
			      "# Passwords shown as " TREE_HIDDEN
			      " are left out: load keeps those that are there, others must be set again.\n"
			      "# Values of " SETTING_SEALED_SCHEME " are opened by the token that sealed them alone.\n",
		   console->account, (unsigned long long)running, time);
}

static void put_setting(struct buf *text, const struct setting *setting)
{
	const struct setting_row *row = setting_row_of(setting->path);

	if (row != NULL && row->type == SETTING_SEALED)
		buf_printf(text, "set %s %s", setting->path, setting->value);
	else
		tree_put_line(text, setting);
	buf_put_byte(text, '\n');
}

/* What is there is replaced only when it was saved by us: a slip of the finger must not cost another file. */
static bool may_replace(const char *path, struct err *err)
{
	char begin[sizeof SAVED_MARK] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW);
	struct stat status;
	bool ours;

	if (fd < 0)
		return errno == ENOENT || err_errno(err, "%s", path);
	ours = fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
	       read(fd, begin, sizeof begin - 1) == (ssize_t)sizeof begin - 1 && memcmp(begin, SAVED_MARK, sizeof begin - 1) == 0;
	close(fd);
	return ours || err_set(err, ERR_EXISTS, "%s is there already, and is no saved configuration: name another file", path);
}

static bool write_all(int fd, struct bytes text)
{
	while (text.len > 0) {
		ssize_t written = write(fd, text.data, text.len);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return false;
		text = bytes_slice(text, (size_t)written, text.len);
	}
	return fsync(fd) == 0;
}

/* Whole or not at all. */
static bool write_file(const char *path, struct bytes text, struct err *err)
{
	char *partial = mem_format("%s.partial", path);
	int fd = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	bool written = fd >= 0 && write_all(fd, text);

	if (fd >= 0 && close(fd) != 0)
		written = false;
	written = written && rename(partial, path) == 0;
	if (!written) {
		err_errno(err, "%s", path);
		if (fd >= 0)
			(void)unlink(partial);
	}
	free(partial);
	return written;
}

bool save_configuration(struct console *console, const struct parsed *parsed, struct err *err)
{
	struct candidate candidate;
	struct settings sorted = {0};
	struct buf text = {0};
	bool exists, saved;

	if (!may_replace(parsed->typed[0], err) || !store_candidate(console->store, console->account, &candidate, &exists, err))
		return false;
	tree_below(&candidate.settings, "", &sorted);
	put_head(console, &text, candidate.base);
	for (size_t i = 0; i < sorted.count; i++)
		put_setting(&text, &sorted.items[i]);
	saved = write_file(parsed->typed[0], buf_bytes(&text), err);
	if (saved)
		console_say(console, "Saved: %zu settings in %s", sorted.count, parsed->typed[0]);
	buf_wipe_clear(&text);
	settings_clear(&sorted);
	candidate_clear(&candidate);
	return saved;
}

/* ---- load ---- */

static bool read_text(const char *name, struct buf *text, struct err *err)
{
	if (strcmp(name, TERMINAL) == 0)
		return prompt_paste("Paste lines of set and delete; end with a blank line or a line of `.`:", LOAD_MAX_BYTES,
				    text, err);
	return input_file(name, "a configuration", LOAD_MAX_BYTES, text, err);
}

static void say_loaded(struct console *console, struct loading *loading)
{
	console_say(console, "Loaded: %zu settings%s; show | compare lists what commit would change", loading->set,
		    loading->deleted > 0 ? ", and some were deleted" : "");
	if (loading->missing.len > 0)
		console_say(console, "These passwords were left out and are kept nowhere here, set them again:\n%.*s",
			    (int)loading->missing.len - 1, buf_text(&loading->missing));
}

/* The candidate is saved when all of the text was understood. */
static bool load(struct console *console, const char *name, bool whole, struct err *err)
{
	struct loading loading = {.name = name, .whole = whole};
	struct candidate candidate;
	struct buf text = {0};
	bool exists, done;

	if (!read_text(name, &text, err) || !store_candidate(console->store, console->account, &candidate, &exists, err)) {
		buf_wipe_clear(&text);
		return false;
	}
	loading.before = &candidate.settings;
	if (!whole)
		settings_copy(&loading.settings, &candidate.settings);
	done = loading_text(&loading, buf_bytes(&text), err);
	if (done) {
		settings_clear(&candidate.settings);
		candidate.settings = loading.settings;
		loading.settings = (struct settings){0};
		done = store_candidate_save(console->store, console->account, &candidate, err);
	}
	if (done)
		say_loaded(console, &loading);
	settings_clear(&loading.settings);
	buf_clear(&loading.missing);
	buf_wipe_clear(&text);
	candidate_clear(&candidate);
	return done;
}

bool load_merge(struct console *console, const struct parsed *parsed, struct err *err)
{
	return load(console, parsed->typed[0], false, err);
}

bool load_override(struct console *console, const struct parsed *parsed, struct err *err)
{
	return load(console, parsed->typed[0], true, err);
}
