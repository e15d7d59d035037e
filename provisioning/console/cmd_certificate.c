#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "provisioning/console/commands.h"
#include "provisioning/console/login.h"
#include "provisioning/console/prompt.h"
#include "provisioning/console/task.h"
#include "provisioning/console/uninterrupted.h"

/* Authenticated with a sealed password, so that it opens for no other address. */
#define SEAL_CONTEXT "inkan certificate password "

/* ---- the PKCS#12 file ---- */

static bool read_all(int fd, const char *path, struct buf *out, struct err *err)
{
	uint8_t chunk[16384];
	ssize_t got;

	while ((got = read(fd, chunk, sizeof chunk)) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_errno(err, "%s", path);
		buf_put(out, chunk, (size_t)got);
		if (out->len > PROVISION_PKCS12_MAX_BYTES)
			return err_set(err, ERR_LIMIT, "%s is larger than a PKCS#12 file can be here (%u KiB)", path,
				       PROVISION_PKCS12_MAX_BYTES >> 10);
	}
	mem_wipe(chunk, sizeof chunk);
	return true;
}

static bool read_pkcs12(const char *path, struct buf *out, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat status;
	bool fine;

	if (fd < 0)
		return err_errno(err, "%s", path);
	if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))
		fine = err_set(err, ERR_INVALID, "%s is not a file", path);
	else
		fine = read_all(fd, path, out, err);
	if (fine && out->len == 0)
		fine = err_set(err, ERR_INVALID, "%s is empty", path);
	close(fd);
	return fine;
}

/* ---- import and renewal ---- */

static struct stored_certificate as_stored(const struct console *console, const char *address, const struct import_result *result)
{
	const struct certificate_facts *facts = &result->facts;

	return (struct stored_certificate){
	    .certificate = {.address = (char *)address,
			    .names = facts->names,
			    .n_names = facts->n_names,
			    .key_type = facts->key_type,
			    .key_id = result->key_id,
			    .chain = facts->chain,
			    .n_chain = facts->n_chain,
			    .not_before = facts->not_before,
			    .not_after = facts->not_after},
	    .subject = facts->subject,
	    .issuer = facts->issuer,
	    .serial = facts->serial,
	    .fingerprint = facts->fingerprint,
	    .rung = result->rung,
	    .sensitive = result->attributes.sensitive,
	    .extractable = result->attributes.extractable,
	    .local = result->attributes.local,
	    .always_sensitive = result->attributes.always_sensitive,
	    .never_extractable = result->attributes.never_extractable,
	    .sealed_password = result->sealed_password,
	    .imported_by = console->account,
	    .imported_ms = clock_wall_ms(),
	};
}

static void show_imported(struct console *console, const char *address, const struct import_result *result)
{
	static const struct report_column columns[] = {
	    {"Certificate", "address", false},
	    {"Subject", "subject", false},
	    {"Issuer", "issuer", false},
	    {"Serial", "serial", false},
	    {"Key", "key", false},
	    {"Valid from", "not_before", false},
	    {"Valid until", "not_after", false},
	    {"Key came by", "rung", false},
	    {"Sensitive", "sensitive", false},
	    {"Extractable", "extractable", false},
	    {"SHA-256", "fingerprint", false},
	};
	struct report report = report_of(REPORT_RECORDS, columns, sizeof columns / sizeof *columns);
	char from[CONSOLE_TIME_BYTES], until[CONSOLE_TIME_BYTES];

	console_date(from, result->facts.not_before);
	console_date(until, result->facts.not_after);
	report_cell(&report, "%s", address);
	report_cell(&report, "%s", result->facts.subject);
	report_cell(&report, "%s", result->facts.issuer);
	report_cell(&report, "%s", result->facts.serial);
	report_cell(&report, "%s", result->facts.key_type);
	report_cell(&report, "%s", from);
	report_cell(&report, "%s", until);
	report_cell(&report, "%s", result->rung);
	report_cell(&report, "%s", result->attributes.sensitive ? "yes" : "no");
	report_cell(&report, "%s", result->attributes.extractable ? "yes" : "no");
	report_cell(&report, "%s", result->facts.fingerprint);
	console_show(console, &report);
	report_clear(&report);
	for (size_t i = 0; i < result->n_warnings; i++)
		console_say(console, "warning: %s", result->warnings[i]);
}

/* A key whose certificate could not be stored must not stay on the token. */
static void remove_orphan(struct console *console, struct bytes key_id, struct err *why)
{
	struct task task;
	struct err err;
	uint32_t destroyed;

	if (!task_open(console, &task, &err)) {
		err_prefix(why, "the key is left on the token (%s)", err.text);
		return;
	}
	if (!provision_delete(&task.call, key_id, &destroyed, &err))
		err_prefix(why, "the key is left on the token (%s)", err.text);
	task_close(&task);
}

static bool run_import(struct console *console, const char *address, struct bytes file, const struct secret *password,
		       struct import_result *result, struct err *err)
{
	char *context = mem_format("%s%s", SEAL_CONTEXT, address);
	const struct import_task import = {.address = (char *)address,
					   .pkcs12 = file,
					   .password = secret_bytes(password),
					   .now = clock_wall_seconds(),
					   .seal_context = bytes_text(context)};
	struct task task;
	bool done = task_open(console, &task, err);

	if (done) {
		done = provision_import(&task.call, &import, result, err);
		task_close(&task);
	}
	free(context);
	return done;
}

static bool import_and_store(struct console *console, const char *address, struct bytes file, const struct secret *password,
			     bool renewal, struct err *err)
{
	struct stored_certificate certificate;
	struct import_result result;
	uint64_t id;
	bool stored;

	if (!run_import(console, address, file, password, &result, err))
		return false;
	certificate = as_stored(console, address, &result);
	stored = store_certificate_add(console->store, &certificate, renewal, &id, err);
	if (stored)
		show_imported(console, address, &result);
	else
		remove_orphan(console, result.key_id, err);
	import_result_clear(&result);
	return stored;
}

static bool check_registered(struct console *console, const char *address, bool renewal, struct err *err)
{
	struct stored_certificates found;
	bool registered;

	if (!store_certificates(console->store, address, &found, err))
		return false;
	registered = found.count > 0;
	stored_certificates_clear(&found);
	if (registered && !renewal)
		return err_set(err, ERR_EXISTS, "%s is already registered; use certificate renew", address);
	if (!registered && renewal)
		return err_set(err, ERR_NOT_FOUND, "no certificate is registered for %s; use certificate import", address);
	return true;
}

static bool bring_in(struct console *console, const struct parsed *parsed, bool renewal, struct err *err)
{
	const char *address = parsed->typed[0];
	struct secret *password = NULL;
	struct buf file = {0};
	sigset_t before;
	bool done = check_registered(console, address, renewal, err) && read_pkcs12(parsed->typed[1], &file, err);

	if (done) {
		password = prompt_secret("Password of the PKCS#12 file: ", err);
		done = password != NULL;
	}
	uninterrupted_begin(&before);
	done = done && import_and_store(console, address, buf_bytes(&file), password, renewal, err);
	uninterrupted_end(&before);
	secret_free(password);
	buf_wipe_clear(&file);
	return done;
}

bool certificate_import(struct console *console, const struct parsed *parsed, struct err *err)
{
	if (!bring_in(console, parsed, false, err))
		return false;
	console_say(console, "Registered. It signs after: set server NAME smime certificate %s, and commit", parsed->typed[0]);
	return true;
}

bool certificate_renew(struct console *console, const struct parsed *parsed, struct err *err)
{
	if (!bring_in(console, parsed, true, err))
		return false;
	console_say(console, "Renewed. The new certificate signs after the next commit");
	return true;
}

/* ---- deletion ---- */

static bool delete_one(struct console *console, const struct certificate *certificate, struct err *err)
{
	struct task task;
	uint32_t destroyed;
	bool done;

	if (!task_open(console, &task, err))
		return false;
	done = provision_delete(&task.call, certificate->key_id, &destroyed, err);
	task_close(&task);
	if (!done)
		return false;
	if (destroyed == 0)
		console_say(console, "The key of certificate %llu was not on the token", (unsigned long long)certificate->id);
	return store_certificate_delete(console->store, certificate->id, err);
}

/* `previous` spares the current one. The key goes first: a row without its key can be deleted again. */
static bool delete_all(struct console *console, const struct stored_certificates *certificates, bool previous, struct err *err)
{
	size_t deleted = 0;

	for (size_t i = certificates->count; i-- > 0;) {
		const struct stored_certificate *one = &certificates->items[i];

		if (previous && one->state == CERTIFICATE_CURRENT)
			continue;
		if (!delete_one(console, &one->certificate, err))
			return false;
		deleted++;
	}
	console_say(console, "Deleted: %zu certificate%s with key", deleted, deleted == 1 ? "" : "s");
	return true;
}

static bool check_unused(struct console *console, const char *address, struct err *err)
{
	char *where;

	if (!store_certificate_operated(console->store, address, &where, err))
		return false;
	if (where != NULL)
		err_set(err, ERR_DENIED, "%s operates %s: delete it there and commit first", where, address);
	free(where);
	return where == NULL;
}

/* The superseded ones may go once the running configuration has the new one. */
static bool check_superseded(struct console *console, const char *address, const struct stored_certificates *certificates,
			     struct err *err)
{
	struct revision running;
	const uint64_t *signs;
	size_t superseded = 0;
	bool fine = true;

	if (!store_revision(console->store, 0, &running, err))
		return false;
	signs = certificate_choices_find(&running.choices, address);
	for (size_t i = 0; fine && i < certificates->count; i++) {
		const struct stored_certificate *one = &certificates->items[i];

		if (one->state == CERTIFICATE_CURRENT)
			continue;
		superseded++;
		if (signs != NULL && *signs == one->certificate.id)
			fine = err_set(err, ERR_DENIED, "the previous certificate of %s signs until the next commit", address);
	}
	revision_clear(&running);
	if (fine && superseded == 0)
		return err_set(err, ERR_NOT_FOUND, "%s has no previous certificate", address);
	return fine;
}

static bool delete_address(struct console *console, const char *address, bool previous, struct err *err)
{
	struct stored_certificates certificates;
	sigset_t before;
	bool fine;

	if (!store_certificates(console->store, address, &certificates, err))
		return false;
	if (certificates.count == 0)
		fine = err_set(err, ERR_NOT_FOUND, "no certificate is registered for %s", address);
	else if (previous)
		fine = check_superseded(console, address, &certificates, err);
	else
		fine = check_unused(console, address, err);
	fine = fine && login_confirm(console, err);
	uninterrupted_begin(&before);
	fine = fine && delete_all(console, &certificates, previous, err);
	uninterrupted_end(&before);
	stored_certificates_clear(&certificates);
	return fine;
}

bool certificate_delete(struct console *console, const struct parsed *parsed, struct err *err)
{
	return delete_address(console, parsed->typed[0], false, err);
}

bool certificate_delete_previous(struct console *console, const struct parsed *parsed, struct err *err)
{
	return delete_address(console, parsed->typed[0], true, err);
}
