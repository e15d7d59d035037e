/* The key of a registered certificate once more, onto another token, and the password that was kept for that. */
#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "provisioning/console/certificate.h"
#include "provisioning/console/commands.h"
#include "provisioning/console/control_client.h"
#include "provisioning/console/input.h"
#include "provisioning/console/login.h"
#include "provisioning/console/prompt.h"
#include "provisioning/console/task.h"
#include "provisioning/console/two_person.h"
#include "provisioning/console/uninterrupted.h"

/* ---- reinstall ---- */

struct again {
	struct console *console;
	const struct stored_certificate *stored;
	struct buf file;
};

/* Under its old CKA_ID: the configuration goes on to mean this certificate. */
static bool import_again(struct again *again, struct bytes password, bool sealed, struct import_result *result, struct err *err)
{
	const struct certificate *certificate = &again->stored->certificate;
	char *context = mem_format("%s%s", SEAL_CONTEXT, certificate->address);
	const struct import_task import = {.address = certificate->address,
					   .pkcs12 = buf_bytes(&again->file),
					   .password = password,
					   .now = clock_wall_seconds(),
					   .seal_context = bytes_text(context),
					   .key_id = certificate->key_id,
					   .password_sealed = sealed,
					   .fingerprint = again->stored->fingerprint,
					   .tls = certificate->tls};
	struct task task;
	bool done = task_open(again->console, &task, err);

	if (done) {
		done = provision_import(&task.call, &import, result, err);
		task_close(&task);
	}
	free(context);
	return done;
}

static bool import_with_asked(struct again *again, struct import_result *result, struct err *err)
{
	struct secret *password = prompt_secret("Password of the PKCS#12 file: ", err);
	bool done = password != NULL && import_again(again, secret_bytes(password), false, result, err);

	secret_free(password);
	return done;
}

/* With the kept password; where there is none, or the token is not the one that sealed it, the operator is asked. */
static bool import_with_kept(struct again *again, struct import_result *result, struct err *err)
{
	struct bytes kept = again->stored->sealed_password;

	if (kept.len == 0) {
		console_say(again->console, "The password was not kept.");
		return import_with_asked(again, result, err);
	}
	if (import_again(again, kept, true, result, err))
		return true;
	if (err->code != ERR_NOT_FOUND)
		return false;
	console_say(again->console, "%s", err->text);
	return import_with_asked(again, result, err);
}

static bool store_again(struct again *again, const struct import_result *result, struct err *err)
{
	const struct certificate *certificate = &again->stored->certificate;
	struct imported imported;
	bool stored;

	imported_fill(&imported, again->console, certificate->tls ? CERTIFICATE_KIND_TLS : CERTIFICATE_KIND_MAIL,
		      certificate->address, result);
	stored = store_certificate_key_again(again->console->store, certificate->id, &imported.certificate, err);
	imported_clear(&imported);
	if (stored) {
		imported_audit(again->console, result);
		imported_show(again->console, certificate->address, result);
	}
	return stored;
}

/* The workers look for the key when a configuration is applied. */
static bool apply_running(struct console *console, struct err *err)
{
	struct control_client control;
	uint64_t running;
	bool done;

	if (!store_running(console->store, &running, err) || !control_open(&control, console->state, err))
		return false;
	done = running == 0 || control_apply(&control, running, false, err);
	control_close(&control);
	return done || err_prefix(err, "the key is on the token, but the programs were not told");
}

static bool reinstall(struct console *console, const struct stored_certificate *stored, const char *path, struct err *err)
{
	struct again again = {.console = console, .stored = stored};
	struct import_result result = {0};
	sigset_t before;
	bool done = input_any(path, "the PKCS#12 file", PROVISION_PKCS12_MAX_BYTES, false, &again.file, err);

	uninterrupted_begin(&before);
	done = done && import_with_kept(&again, &result, err) && store_again(&again, &result, err);
	uninterrupted_end(&before);
	import_result_clear(&result);
	buf_wipe_clear(&again.file);
	return done && apply_running(console, err);
}

bool certificate_reinstall(struct console *console, const struct parsed *parsed, struct err *err)
{
	const char *address = parsed->typed[0];
	struct stored_certificates certificates;
	bool done;

	if (!store_certificates(console->store, address, &certificates, err))
		return false;
	if (certificates.count == 0)
		done = err_set(err, ERR_NOT_FOUND, "no certificate is registered for %s; use certificate import", address);
	else if (strcmp(certificates.items[0].rung, "generate") == 0)
		done = err_set(err, ERR_INVALID,
			       "the key of %s was born on its token and is nowhere else: use certificate request for a new one",
			       address);
	else
		done = reinstall(console, &certificates.items[0], parsed->n_typed > 1 ? parsed->typed[1] : NULL, err);
	stored_certificates_clear(&certificates);
	if (done)
		console_say(console, "The key is on the token again, and the certificate is what it was");
	return done;
}

/* ---- forget ---- */

bool certificate_forget_password(struct console *console, const struct parsed *parsed, struct err *err)
{
	const char *address = parsed->typed[0];
	struct stored_certificates certificates;
	uint32_t forgotten = 0;
	size_t registered;
	bool waits;

	if (!two_person_needed(console, APPROVAL_CERTIFICATES, false, &waits, err) ||
	    !store_certificates(console->store, address, &certificates, err))
		return false;
	registered = certificates.count;
	stored_certificates_clear(&certificates);
	if (registered == 0)
		return err_set(err, ERR_NOT_FOUND, "no certificate is registered for %s", address);
	if (waits)
		return two_person_ask(console, APPROVAL_CERTIFICATES, (struct bytes){0}, (struct bytes){0}, err);
	if (!store_certificate_forget_passwords(console->store, address, &forgotten, err))
		return false;
	if (forgotten > 0)
		console_say(console, "Forgotten: a reinstallation will ask for the password");
	else
		console_say(console, "No password was kept");
	return true;
}
