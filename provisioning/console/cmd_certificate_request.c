/* Keys that are born on the token: request, install, cancel, show. */
#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "provisioning/console/certificate.h"
#include "provisioning/console/commands.h"
#include "provisioning/console/input.h"
#include "provisioning/console/key_making.h"
#include "provisioning/console/login.h"
#include "provisioning/console/uninterrupted.h"
#include "provisioning/console/two_person.h"

#define DEFAULT_KEY "rsa2048" /* what every mail reader verifies */
#define PEM_COLUMNS 64

/* ---- the request as text ---- */

static void put_pem(struct buf *out, struct bytes der)
{
	struct buf text = {0};

	base64_encode(&text, der);
	buf_put_text(out, "-----BEGIN CERTIFICATE REQUEST-----\n");
	for (size_t at = 0; at < text.len; at += PEM_COLUMNS) {
		buf_put_bytes(out, bytes_slice(buf_bytes(&text), at, at + PEM_COLUMNS));
		buf_put_byte(out, '\n');
	}
	buf_put_text(out, "-----END CERTIFICATE REQUEST-----");
	buf_clear(&text);
}

static const struct report_column request_columns[] = {{"", "pem", false}};

static void show_pem(struct console *console, struct bytes csr)
{
	struct report report = report_of(REPORT_LINES, request_columns, 1);
	struct buf pem = {0};

	put_pem(&pem, csr);
	report_cell(&report, "%s", buf_text(&pem));
	console_show(console, &report);
	report_clear(&report);
	buf_clear(&pem);
}

/* ---- request ---- */

static bool check_no_request(struct console *console, enum certificate_kind kind, const char *name, struct err *err)
{
	struct certificate_request request;
	struct err why = {0};

	if (store_request(console->store, kind, name, &request, &why)) {
		certificate_request_clear(&request);
		return err_set(err, ERR_EXISTS, "%s has a certificate request already: install its certificate, or cancel it",
			       name);
	}
	return why.code == ERR_NOT_FOUND || err_set(err, why.code, "%s", why.text);
}

static bool run_request(struct console *console, const struct request_task *wanted, struct key_making *making,
			struct request_result *result, struct err *err)
{
	struct request_task request = *wanted;
	struct task task;
	bool done = key_making_task(console, making, &task, err);

	request.key_id = bytes_of(making->id, sizeof making->id);
	if (done) {
		done = provision_request(&task.call, &request, result, err);
		task_close(&task);
	}
	return done;
}

static bool store_made(struct console *console, const struct request_task *wanted, const struct key_making *making,
		       const struct request_result *result, struct err *err)
{
	char *attributes = attributes_text(&result->attributes);
	bool stored = store_request_add(console->store,
					&(struct certificate_request){.kind = (enum certificate_kind)wanted->purpose,
								      .name = wanted->name,
								      .key_type = result->key_type,
								      .key_id = bytes_of(making->id, sizeof making->id),
								      .attributes = attributes,
								      .csr = result->csr,
								      .requested_by = console->account,
								      .requested_ms = clock_wall_ms()},
					err);

	free(attributes);
	return stored;
}

static bool make_and_store(struct console *console, const struct request_task *wanted, struct request_result *result,
			   struct err *err)
{
	struct key_making making;
	bool stored = false;

	if (!key_making_begin(console, &making, err))
		return false;
	if (run_request(console, wanted, &making, result, err)) {
		stored = store_made(console, wanted, &making, result, err);
		if (!stored) {
			key_making_take_back(console, &making, err);
			request_result_clear(result);
		}
	}
	key_making_end(console, &making, stored);
	return stored;
}

static bool request_certificate(struct console *console, const struct request_task *wanted, struct err *err)
{
	struct request_result result;
	sigset_t before;
	bool done;

	if (!check_no_request(console, (enum certificate_kind)wanted->purpose, wanted->name, err))
		return false;
	uninterrupted_begin(&before);
	done = make_and_store(console, wanted, &result, err);
	uninterrupted_end(&before);
	if (!done)
		return false;
	show_pem(console, result.csr);
	if (!result.attributes.local)
		console_say(console, "warning: the token made the key, but does not say so in its attributes (CKA_LOCAL)");
	console_say(console, "The key %s is on the token. Give this request to the CA; then: certificate install",
		    result.key_type);
	request_result_clear(&result);
	return true;
}

/* A CA may give a wildcard (RFC 6125 §6.4.3); no listener is named so. */
static bool check_dns_name(const char *name, struct err *err)
{
	return setting_type_check(SETTING_HOST_NAME, strncmp(name, "*.", 2) == 0 ? name + 2 : name, err) ||
	       err_prefix(err, "dns %s", name);
}

/* What follows the name: [key TYPE] [dns NAME [[dns] NAME]...]. */
static bool read_options(const struct parsed *parsed, size_t at, struct request_task *wanted, struct err *err)
{
	if (at < parsed->count && strcmp(parsed->words[at], "key") == 0) {
		wanted->key_type = parsed->words[at + 1];
		at += 2;
	}
	for (; at < parsed->count; at++) {
		if (strcmp(parsed->words[at], "dns") == 0)
			continue;
		if (!check_dns_name(parsed->words[at], err))
			return false;
		wanted->dns_names[wanted->n_dns_names++] = parsed->words[at];
	}
	return true;
}

bool certificate_request(struct console *console, const struct parsed *parsed, struct err *err)
{
	enum certificate_kind kind = certificate_kind_of(parsed);
	struct request_task wanted = {.purpose = (enum key_purpose)kind,
				      .name = parsed->typed[0],
				      .key_type = (char *)DEFAULT_KEY,
				      .dns_names = mem_new_array(parsed->count, sizeof *wanted.dns_names)};
	bool done = read_options(parsed, kind == CERTIFICATE_KIND_TLS ? 4 : 3, &wanted, err) &&
		    request_certificate(console, &wanted, err);

	free(wanted.dns_names);
	return done;
}

/* ---- install ---- */

static bool run_install(struct console *console, const struct certificate_request *request, struct bytes certificates,
			struct import_result *result, struct err *err)
{
	const struct install_task install = {.purpose = (enum key_purpose)request->kind,
					     .name = request->name,
					     .key_id = request->key_id,
					     .csr = request->csr,
					     .certificates = certificates,
					     .now = clock_wall_seconds()};
	struct task task;
	bool done = task_open(console, &task, err);

	if (done) {
		done = provision_install(&task.call, &install, result, err);
		task_close(&task);
	}
	return done;
}

static bool has_certificate(struct console *console, const char *address, bool *has, struct err *err)
{
	struct stored_certificates found;

	if (!store_certificates(console->store, address, &found, err))
		return false;
	*has = found.count > 0;
	stored_certificates_clear(&found);
	return true;
}

static bool store_installed(struct console *console, enum certificate_kind kind, const char *address,
			    const struct import_result *result, bool *renewal, struct err *err)
{
	struct imported imported;
	uint64_t id;
	bool stored;

	if (!has_certificate(console, address, renewal, err))
		return false;
	imported_fill(&imported, console, kind, address, result);
	stored = store_certificate_add(console->store, &imported.certificate, *renewal, &id, err);
	imported_clear(&imported);
	return stored;
}

static bool install_and_store(struct console *console, const struct certificate_request *request, struct bytes certificates,
			      bool *renewal, struct err *err)
{
	struct buf payload = {0};
	struct import_result result;
	bool stored, waits;

	if (!two_person_needed(console, APPROVAL_CERTIFICATES, false, &waits, err) ||
	    !run_install(console, request, certificates, &result, err))
		return false;
	if (waits) {
		import_result_encode(&payload, &result);
		stored = two_person_ask(console, APPROVAL_CERTIFICATES, buf_bytes(&payload), (struct bytes){0}, err);
		buf_clear(&payload);
	} else {
		stored = store_installed(console, request->kind, request->name, &result, renewal, err);
	}
	if (stored || console->waits) {
		imported_audit(console, &result);
		imported_show(console, request->name, &result);
	}
	import_result_clear(&result);
	return stored;
}

static bool install_approved(struct console *console, const struct certificate_request *request, bool *renewal, struct err *err)
{
	struct msg msg = msg_of(console->approval->payload);
	struct import_result result;
	bool stored;

	if (!import_result_decode(&msg, &result, err))
		return false;
	stored = bytes_equal(result.key_id, request->key_id)
		     ? store_installed(console, request->kind, request->name, &result, renewal, err)
		     : err_set(err, ERR_EXISTS, "the request of %s is another one by now", request->name);
	if (stored) {
		imported_audit(console, &result);
		imported_show(console, request->name, &result);
	}
	import_result_clear(&result);
	return stored;
}

static bool install(struct console *console, const struct certificate_request *request, const char *path, bool *renewal,
		    struct err *err)
{
	struct buf file = {0};
	sigset_t before;
	bool done = input_any(path, "the certificate", PROVISION_PKCS12_MAX_BYTES, true, &file, err);

	uninterrupted_begin(&before);
	done = done && install_and_store(console, request, buf_bytes(&file), renewal, err);
	uninterrupted_end(&before);
	buf_clear(&file);
	return done;
}

bool certificate_install(struct console *console, const struct parsed *parsed, struct err *err)
{
	const char *address = parsed->typed[0], *path = parsed->n_typed > 1 ? parsed->typed[1] : NULL;
	struct certificate_request request;
	bool renewal = false, done;

	if (!store_request(console->store, certificate_kind_of(parsed), address, &request, err))
		return false;
	done = console->approval != NULL ? install_approved(console, &request, &renewal, err)
					 : install(console, &request, path, &renewal, err);
	certificate_request_clear(&request);
	if (!done)
		return false;
	if (!console->waits)
		registered_say(console, certificate_kind_of(parsed), address, renewal);
	return true;
}

/* ---- cancel ---- */

static bool cancel(struct console *console, const struct certificate_request *request, struct err *err)
{
	struct task task;
	uint32_t destroyed;
	bool done = task_open(console, &task, err);

	if (done) {
		done = provision_delete(&task.call, request->key_id, &destroyed, err);
		task_close(&task);
	}
	return done && store_request_delete(console->store, request->id, err);
}

static bool cancel_request(struct console *console, enum certificate_kind kind, const char *name, struct err *err)
{
	struct certificate_request request;
	sigset_t before;
	bool done, waits;

	if (!two_person_needed(console, APPROVAL_CERTIFICATES, false, &waits, err) ||
	    !store_request(console->store, kind, name, &request, err))
		return false;
	done = console->approval != NULL || login_confirm(console, err);
	uninterrupted_begin(&before);
	if (done && waits)
		done = two_person_ask(console, APPROVAL_CERTIFICATES, (struct bytes){0}, (struct bytes){0}, err);
	else
		done = done && cancel(console, &request, err);
	uninterrupted_end(&before);
	certificate_request_clear(&request);
	if (done && !console->waits)
		console_say(console, "The request is cancelled; its key has left the token");
	return done;
}

bool certificate_request_cancel(struct console *console, const struct parsed *parsed, struct err *err)
{
	return cancel_request(console, certificate_kind_of(parsed), parsed->typed[0], err);
}

/* ---- show ---- */

static const char *kind_name(enum certificate_kind kind)
{
	return kind == CERTIFICATE_KIND_TLS ? "tls" : "mail";
}

bool show_certificate_requests(struct console *console, const struct parsed *parsed, struct err *err)
{
	static const struct report_column columns[] = {{"NAME", "name", false},	      {"FOR", "kind", false},
						       {"KEY", "key", false},	      {"REQUESTED", "requested_at", false},
						       {"BY", "requested_by", false}, {NULL, "attributes", false}};
	bool json = console->filters != NULL && console->filters->json;
	struct report report = report_of(REPORT_TABLE, columns, json ? 6 : 5);
	struct certificate_requests requests;

	(void)parsed;
	if (!store_requests(console->store, NULL, &requests, err))
		return false;
	for (size_t i = 0; i < requests.count; i++) {
		const struct certificate_request *one = &requests.items[i];
		char at[CONSOLE_TIME_BYTES];

		console_time(at, one->requested_ms);
		report_cell(&report, "%s", one->name);
		report_cell(&report, "%s", kind_name(one->kind));
		report_cell(&report, "%s", one->key_type);
		report_cell(&report, "%s", at);
		report_cell(&report, "%s", one->requested_by);
		if (json)
			report_cell(&report, "%s", one->attributes);
	}
	console_show(console, &report);
	report_clear(&report);
	certificate_requests_clear(&requests);
	return true;
}

bool show_certificate_request(struct console *console, const struct parsed *parsed, struct err *err)
{
	struct certificate_request request;

	if (!store_request(console->store, certificate_kind_of(parsed), parsed->typed[0], &request, err))
		return false;
	show_pem(console, request.csr);
	certificate_request_clear(&request);
	return true;
}
