#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "provisioning/console/commands.h"
#include "provisioning/console/prompt.h"
#include "provisioning/console/task.h"

/* ---- initialise, log in, log out ---- */

static bool initialize(struct console *console, const char *label, const struct secret *so_pin, const struct secret *user_pin,
		       struct err *err)
{
	const struct initialize_task initialize_task = {
	    .label = (char *)label, .so_pin = secret_bytes(so_pin), .user_pin = secret_bytes(user_pin)};
	struct token_description description;
	struct task task;
	bool done;

	if (!task_open(console, &task, err))
		return false;
	done = provision_initialize(&task.call, &initialize_task, &description, err);
	task_close(&task);
	if (!done)
		return false;
	console_say(console, "Token %s is ready (%s %s, serial %s). Next: hsm login", description.label, description.manufacturer,
		    description.model, description.serial);
	token_description_clear(&description);
	return true;
}

static char *token_label(struct console *console, struct err *err)
{
	struct revision running;
	const char *label;
	char *copy = NULL;

	if (!store_revision(console->store, 0, &running, err))
		return NULL;
	label = settings_value(&running.settings, "hsm token");
	if (label != NULL)
		copy = mem_string(label);
	else
		err_set(err, ERR_INVALID,
			"the running configuration names no token: set hsm module, set hsm token, and commit first");
	revision_clear(&running);
	return copy;
}

bool hsm_initialize(struct console *console, const struct parsed *parsed, struct err *err)
{
	char *label = token_label(console, err);
	struct secret *so_pin = NULL, *user_pin = NULL;
	bool done;

	(void)parsed;
	if (label == NULL)
		return false;
	so_pin = prompt_new_secret("New SO PIN", err);
	if (so_pin != NULL)
		user_pin = prompt_new_secret("New user PIN", err);
	done = user_pin != NULL && initialize(console, label, so_pin, user_pin, err);
	secret_free(so_pin);
	secret_free(user_pin);
	free(label);
	return done;
}

static bool log_in(struct console *console, unsigned flags, struct err *err)
{
	bool keypad = (flags & CONTROL_LOGIN_KEYPAD) != 0, done;
	struct control_client client;
	struct secret *pin = NULL;

	if (!control_open(&client, console->state, err))
		return false;
	if (keypad)
		console_say(console, "Enter the PIN at the token, once for each HSM worker");
	else
		pin = prompt_secret("PIN of the token: ", err);
	done = (keypad || pin != NULL) && control_login(&client, pin != NULL ? secret_bytes(pin) : (struct bytes){0}, flags, err);
	secret_free(pin);
	control_close(&client);
	if (done)
		console_say(console, "The token accepted the PIN: signing is on");
	return done;
}

bool hsm_login(struct console *console, const struct parsed *parsed, struct err *err)
{
	(void)parsed;
	return log_in(console, 0, err);
}

bool hsm_login_final_try(struct console *console, const struct parsed *parsed, struct err *err)
{
	(void)parsed;
	return log_in(console, CONTROL_LOGIN_FINAL_TRY, err);
}

bool hsm_login_keypad(struct console *console, const struct parsed *parsed, struct err *err)
{
	(void)parsed;
	return log_in(console, CONTROL_LOGIN_KEYPAD, err);
}

bool hsm_logout(struct console *console, const struct parsed *parsed, struct err *err)
{
	struct control_client client;
	bool done;

	(void)parsed;
	if (!control_open(&client, console->state, err))
		return false;
	done = control_logout(&client, err);
	control_close(&client);
	if (done)
		console_say(console, "The PIN is forgotten: mail that needs a signature is put off until hsm login");
	return done;
}

/* ---- test ---- */

void list_keys(const struct stored_certificates *certificates, struct worker_certificates *keys)
{
	keys->items = mem_new_array(certificates->count, sizeof *keys->items);
	for (; keys->count < certificates->count; keys->count++) {
		const struct certificate *from = &certificates->items[keys->count].certificate;

		keys->items[keys->count] = (struct worker_certificate){
		    .id = from->id, .key_id = from->key_id, .chain = from->chain, .n_chain = from->n_chain, .tls = from->tls};
	}
}

static const char *address_of(const struct stored_certificates *certificates, uint64_t id)
{
	for (size_t i = 0; i < certificates->count; i++) {
		if (certificates->items[i].certificate.id == id)
			return certificates->items[i].certificate.address;
	}
	return "?";
}

static bool show_results(struct console *console, const struct stored_certificates *certificates,
			 const struct test_results *results, struct err *err)
{
	static const struct report_column columns[] = {
	    {"ADDRESS", "address", false}, {"NUMBER", "id", true}, {"MS", "milliseconds", true}, {"RESULT", "result", false}};
	struct report report = report_of(REPORT_TABLE, columns, 4);
	size_t failed = 0;

	for (size_t i = 0; i < results->count; i++) {
		const struct test_result *result = &results->items[i];

		failed += !result->passed;
		report_cell(&report, "%s", address_of(certificates, result->certificate));
		report_cell(&report, "%llu", (unsigned long long)result->certificate);
		report_cell(&report, "%u", result->milliseconds);
		report_cell(&report, "%s%s%s", result->passed ? "signed and verified" : "FAILED",
			    result->text[0] == '\0' ? "" : ": ", result->text);
	}
	console_show(console, &report);
	report_clear(&report);
	if (results->count == 0)
		console_say(console, "The token answers; no certificate is registered yet");
	return failed == 0 || err_set(err, ERR_INTEGRITY, "%zu of %zu keys failed", failed, results->count);
}

static bool test(struct console *console, const struct stored_certificates *certificates, struct err *err)
{
	struct worker_certificates keys = {0};
	struct test_results results;
	struct task task;
	bool done;

	if (!task_open(console, &task, err))
		return false;
	list_keys(certificates, &keys);
	done = provision_test(&task.call, &keys, &results, err);
	free(keys.items);
	task_close(&task);
	if (!done)
		return false;
	done = show_results(console, certificates, &results, err);
	test_results_clear(&results);
	return done;
}

bool hsm_test(struct console *console, const struct parsed *parsed, struct err *err)
{
	struct stored_certificates certificates;
	bool done;

	(void)parsed;
	if (!store_certificates(console->store, NULL, &certificates, err))
		return false;
	done = test(console, &certificates, err);
	stored_certificates_clear(&certificates);
	return done;
}

/* ---- show hsm ---- */

static void show_children(struct console *console, const struct supervisor_status *status)
{
	static const struct report_column columns[] = {{"PROGRAM", "program", false}, {"PID", "pid", true},
						       {"STATE", "state", false},     {"RESTARTS", "restarts", true},
						       {"HEALTH", "health", false},   {"LAST ERROR", "last_error", false}};
	struct report report = report_of(REPORT_TABLE, columns, 6);

	for (size_t i = 0; i < status->n_children; i++) {
		const struct child_status *child = &status->children[i];

		report_cell(&report, "%s", child->name);
		report_cell(&report, "%lld", (long long)child->pid);
		report_cell(&report, "%s", child->state);
		report_cell(&report, "%u", child->restarts);
		report_cell(&report, "%s", child->health[0] != '\0' ? child->health : "-");
		report_cell(&report, "%s", child->last_error);
	}
	console_show(console, &report);
	report_clear(&report);
}

static void put_mechanisms(struct buf *out, const struct token_description *token)
{
	for (size_t i = 0; i < token->n_mechanisms; i++)
		buf_printf(out, "%s%s", i == 0 ? "" : " ", token->mechanisms[i]);
}

static const char *token_state(const struct token_description *token)
{
	if (!token->present)
		return "there is no token of this label";
	if (!token->initialized)
		return "not initialised";
	if (token->pin_locked)
		return "PIN LOCKED";
	if (token->pin_final_try)
		return "PIN: ONE TRY LEFT";
	if (token->pin_count_low)
		return "wrong PINs were given";
	return token->user_pin_set ? "ready" : "no user PIN yet";
}

static void put_limit(struct report *report, int64_t value, const char *unlimited)
{
	if (value < 0 || (value == 0 && unlimited != NULL))
		report_cell(report, "%s", value < 0 ? "unknown" : unlimited);
	else
		report_cell(report, "%lld", (long long)value);
}

static char *backend_of(struct console *console)
{
	struct revision running;
	char *backend;

	if (!store_revision(console->store, 0, &running, NULL))
		return mem_string("unknown");
	backend = mem_string(setting_effective(&running.settings, "hsm backend"));
	revision_clear(&running);
	return backend;
}

/* Those that use the token are the children with a number in their name. */
static void show_workers(struct console *console, struct report *report, const struct supervisor_status *status)
{
	unsigned running = 0, known = 0, threads = 0, tenths = 0;
	const char *last_error = "";
	char *backend = backend_of(console);

	for (size_t i = 0; i < status->n_children; i++) {
		const struct child_status *child = &status->children[i];

		if (strncmp(child->name, "worker", strlen("worker")) != 0)
			continue;
		known++;
		running += child->threads > 0;
		threads += child->threads;
		tenths += child->rate_tenths;
		if (child->last_error[0] != '\0')
			last_error = child->last_error;
	}
	report_cell(report, "%s", backend);
	report_cell(report, "%u of %u running, %u threads", running, known, threads);
	report_cell(report, "%u.%u", tenths / 10, tenths % 10);
	report_cell(report, "%s", last_error[0] != '\0' ? last_error : "none");
	free(backend);
}

static void show_token(struct console *console, const struct supervisor_status *status, const struct token_description *token)
{
	static const struct report_column columns[] = {
	    {"Module", "module", false},
	    {"Library", "library", false},
	    {"Token", "token", false},
	    {"State", "state", false},
	    {"PIN", "pin", false},
	    {"Signing", "signing", false},
	    {"Back end", "backend", false},
	    {"Workers", "workers", false},
	    {"Signatures/s", "rate", false},
	    {"Last error", "last_error", false},
	    {"Model", "model", false},
	    {"Serial", "serial", false},
	    {"Firmware", "firmware", false},
	    {"Free memory", "free_memory", false},
	    {"Sessions at most", "max_sessions", false},
	    {"Private keys", "private_keys", false},
	    {"Import goes by", "import_rung", false},
	    {"Seal", "seal", false},
	    {"Mechanisms", "mechanisms", false},
	};
	struct report report = report_of(REPORT_RECORDS, columns, sizeof columns / sizeof *columns);
	struct buf mechanisms = {0};

	put_mechanisms(&mechanisms, token);
	report_cell(&report, "%s", token->module);
	report_cell(&report, "%s", token->library);
	report_cell(&report, "%s", token->label);
	report_cell(&report, "%s", token_state(token));
	report_cell(&report, "%s%s%s", status->pin, status->pin_error[0] == '\0' ? "" : ": ", status->pin_error);
	report_cell(&report, "%s", status->signing);
	show_workers(console, &report, status);
	report_cell(&report, "%s%s%s", token->manufacturer, token->manufacturer[0] == '\0' ? "" : " ", token->model);
	report_cell(&report, "%s", token->serial);
	report_cell(&report, "%s", token->firmware);
	put_limit(&report, token->free_private_memory, NULL);
	put_limit(&report, token->max_sessions, "no limit");
	if (token->logged_in)
		report_cell(&report, "%u", token->private_keys);
	else
		report_cell(&report, "%s", "unknown before hsm login");
	report_cell(&report, "%s", token->import_rung);
	report_cell(&report, "%s", token->seal);
	report_cell(&report, "%s", buf_text(&mechanisms));
	console_show(console, &report);
	buf_clear(&mechanisms);
	report_clear(&report);
}

static bool describe(struct console *console, struct token_description *token, struct err *err)
{
	struct task task;
	bool done;

	if (!task_open(console, &task, err))
		return false;
	task.call.progress = NULL;
	done = provision_describe(&task.call, token, err);
	task_close(&task);
	return done;
}

static bool ask_status(const struct console *console, struct supervisor_status *status, struct err *err)
{
	struct control_client client;
	bool done;

	if (!control_open(&client, console->state, err))
		return false;
	done = control_status(&client, status, err);
	control_close(&client);
	return done;
}

bool show_hsm(struct console *console, const struct parsed *parsed, struct err *err)
{
	struct supervisor_status status = {0};
	struct token_description token;
	bool done;

	(void)parsed;
	if (!ask_status(console, &status, err))
		return false;
	done = describe(console, &token, err);
	if (done) {
		show_token(console, &status, &token);
		token_description_clear(&token);
	}
	if (!console->filters->json) /* one report a line of JSON: `show system programs` has this one */
		show_children(console, &status);
	supervisor_status_clear(&status);
	return done;
}

bool show_programs(struct console *console, const struct parsed *parsed, struct err *err)
{
	struct supervisor_status status = {0};

	(void)parsed;
	if (!ask_status(console, &status, err))
		return false;
	show_children(console, &status);
	supervisor_status_clear(&status);
	return true;
}
