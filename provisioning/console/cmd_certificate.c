#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "provisioning/console/certificate.h"
#include "provisioning/console/commands.h"
#include "provisioning/console/input.h"
#include "provisioning/console/key_making.h"
#include "provisioning/console/login.h"
#include "provisioning/console/prompt.h"
#include "provisioning/console/two_person.h"
#include "provisioning/console/uninterrupted.h"

/* ---- import and renewal ---- */

static bool run_import(struct console *console, enum certificate_kind kind, const char *address, struct bytes file,
		       const struct secret *password, struct key_making *making, struct import_result *result, struct err *err)
{
	char *context = mem_format("%s%s", SEAL_CONTEXT, address);
	const struct import_task import = {.address = (char *)address,
					   .pkcs12 = file,
					   .password = secret_bytes(password),
					   .now = clock_wall_seconds(),
					   .seal_context = bytes_text(context),
					   .key_id = bytes_of(making->id, sizeof making->id),
					   .tls = kind == CERTIFICATE_KIND_TLS};
	struct task task;
	bool done = key_making_task(console, making, &task, err);

	if (done) {
		done = provision_import(&task.call, &import, result, err);
		task_close(&task);
	}
	free(context);
	return done;
}

static bool store_imported(struct console *console, enum certificate_kind kind, const char *address,
			   const struct import_result *result, bool renewal, struct err *err)
{
	struct imported imported;
	uint64_t id;
	bool stored;

	imported_fill(&imported, console, kind, address, result);
	stored = store_certificate_add(console->store, &imported.certificate, renewal, &id, err);
	imported_clear(&imported);
	return stored;
}

/* What has come of the import, for who does the rest when it is approved. */
static bool ask_for_imported(struct console *console, const struct import_result *result, struct err *err)
{
	struct buf payload = {0};
	bool asked;

	import_result_encode(&payload, result);
	asked = two_person_ask(console, APPROVAL_CERTIFICATES, buf_bytes(&payload), result->key_id, err);
	buf_clear(&payload);
	return asked;
}

static bool store_approved(struct console *console, enum certificate_kind kind, const char *address, bool renewal,
			   struct err *err)
{
	struct msg msg = msg_of(console->approval->payload);
	struct import_result result;
	bool stored;

	if (!import_result_decode(&msg, &result, err))
		return false;
	stored = store_imported(console, kind, address, &result, renewal, err);
	if (stored) {
		imported_audit(console, &result);
		imported_show(console, address, &result);
	}
	import_result_clear(&result);
	return stored;
}

static bool import_and_store(struct console *console, enum certificate_kind kind, const char *address, struct bytes file,
			     const struct secret *password, bool renewal, struct err *err)
{
	struct key_making making;
	struct import_result result;
	bool stored = false, asked = false, waits;

	if (!two_person_needed(console, APPROVAL_CERTIFICATES, false, &waits, err) || !key_making_begin(console, &making, err))
		return false;
	if (run_import(console, kind, address, file, password, &making, &result, err)) {
		if (waits)
			asked = ask_for_imported(console, &result, err);
		else
			stored = store_imported(console, kind, address, &result, renewal, err);
		if (stored || console->waits) {
			imported_audit(console, &result);
			imported_show(console, address, &result);
		} else {
			key_making_take_back(console, &making, err);
		}
		import_result_clear(&result);
	}
	key_making_end(console, &making, stored);
	return stored || asked;
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
	bool done;

	if (!check_registered(console, address, renewal, err))
		return false;
	if (console->approval != NULL)
		return store_approved(console, certificate_kind_of(parsed), address, renewal, err);
	done = input_any(parsed->n_typed > 1 ? parsed->typed[1] : NULL, "the PKCS#12 file", PROVISION_PKCS12_MAX_BYTES, false,
			 &file, err);

	if (done) {
		password = prompt_secret("Password of the PKCS#12 file: ", err);
		done = password != NULL;
	}
	uninterrupted_begin(&before);
	done = done && import_and_store(console, certificate_kind_of(parsed), address, buf_bytes(&file), password, renewal, err);
	uninterrupted_end(&before);
	secret_free(password);
	buf_wipe_clear(&file);
	return done;
}

bool certificate_import(struct console *console, const struct parsed *parsed, struct err *err)
{
	if (!bring_in(console, parsed, false, err))
		return false;
	if (!console->waits)
		registered_say(console, certificate_kind_of(parsed), parsed->typed[0], false);
	return true;
}

bool certificate_renew(struct console *console, const struct parsed *parsed, struct err *err)
{
	if (!bring_in(console, parsed, true, err))
		return false;
	if (!console->waits)
		registered_say(console, certificate_kind_of(parsed), parsed->typed[0], true);
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

/* A revision that nobody confirmed yet may be rolled back, with the certificates of the one before. */
static bool check_confirmed(struct console *console, struct err *err)
{
	struct revision running;
	bool confirmed;

	if (!store_revision(console->store, 0, &running, err))
		return false;
	confirmed = running.confirm_ms == 0 ||
		    err_set(err, ERR_DENIED, "revision %llu waits for its confirmation, and may be rolled back: commit first",
			    (unsigned long long)running.number);
	revision_clear(&running);
	return confirmed;
}

static bool delete_address(struct console *console, const char *address, bool previous, struct err *err)
{
	struct stored_certificates certificates;
	sigset_t before;
	bool fine, waits;

	if (!two_person_needed(console, APPROVAL_CERTIFICATES, false, &waits, err) ||
	    !store_certificates(console->store, address, &certificates, err))
		return false;
	if (certificates.count == 0)
		fine = err_set(err, ERR_NOT_FOUND, "no certificate is registered for %s", address);
	else if (previous)
		fine = check_superseded(console, address, &certificates, err);
	else
		fine = check_unused(console, address, err);
	fine = fine && check_confirmed(console, err) && (console->approval != NULL || login_confirm(console, err));
	uninterrupted_begin(&before);
	if (fine && waits)
		fine = two_person_ask(console, APPROVAL_CERTIFICATES, (struct bytes){0}, (struct bytes){0}, err);
	else
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
