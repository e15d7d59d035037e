#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "provisioning/console/commands.h"

#define DAY_SECONDS 86400

static bool names(const struct settings *settings, const char *path, const char *value)
{
	for (size_t i = 0; i < settings->count; i++) {
		if (strcmp(settings->items[i].path, path) == 0 && strcmp(settings->items[i].value, value) == 0)
			return true;
	}
	return false;
}

static bool listener_operates(const struct settings *settings, const char *server, const char *service, const char *name)
{
	size_t n_listens;
	char **listens = settings_names(settings, &n_listens, "server %s %s listen", server, service);
	bool found = false;

	for (size_t i = 0; !found && i < n_listens; i++) {
		struct buf path = {0};

		buf_printf(&path, "server %s %s listen", server, service);
		path_append(&path, listens[i]);
		buf_put_text(&path, " certificate");
		found = names(settings, buf_text(&path), name);
		buf_clear(&path);
	}
	path_words_free(listens);
	return found;
}

static bool server_operates(const struct settings *settings, const char *server, const struct certificate *certificate)
{
	char *path = mem_format("server %s smime certificate", server);
	bool found = certificate->tls ? listener_operates(settings, server, "smtp", certificate->address) ||
					    listener_operates(settings, server, "api", certificate->address)
				      : names(settings, path, certificate->address);

	free(path);
	return found;
}

/* "default, second": the servers of the running configuration that operate a certificate; "" for none. */
static void put_servers(struct buf *out, const struct settings *settings, const struct certificate *certificate)
{
	size_t n_servers;
	char **servers = settings_names(settings, &n_servers, "server");

	for (size_t s = 0; s < n_servers; s++) {
		if (server_operates(settings, servers[s], certificate))
			buf_printf(out, "%s%s", out->len == 0 ? "" : ", ", servers[s]);
	}
	path_words_free(servers);
}

static int64_t days_left(const struct certificate *certificate, int64_t now)
{
	int64_t seconds = certificate->not_after - now;

	return seconds >= 0 ? seconds / DAY_SECONDS : -((-seconds + DAY_SECONDS - 1) / DAY_SECONDS);
}

static void put_use(struct buf *out, const struct stored_certificate *one, const struct revision *running)
{
	const struct certificate *certificate = &one->certificate;
	const uint64_t *signs = certificate_choices_find(&running->choices, certificate->address);
	struct buf servers = {0};

	put_servers(&servers, &running->settings, certificate);
	if (signs != NULL && *signs == certificate->id && one->state == CERTIFICATE_CURRENT)
		buf_printf(out, "operated on %s", buf_text(&servers));
	else if (signs != NULL && *signs == certificate->id)
		buf_printf(out, "operated on %s until commit", buf_text(&servers));
	else if (one->state == CERTIFICATE_SUPERSEDED)
		buf_put_text(out, "previous");
	else
		buf_put_text(out, signs != NULL ? "renewed: takes effect at commit" : "unused");
	buf_clear(&servers);
}

static void put_state(struct buf *out, const struct stored_certificate *one, const struct revision *running, int64_t now)
{
	int64_t days = days_left(&one->certificate, now);

	if (now > one->certificate.not_after)
		buf_put_text(out, "EXPIRED, ");
	else if (now < one->certificate.not_before)
		buf_put_text(out, "not yet valid, ");
	else if (days <= CERTIFICATE_EXPIRING_DAYS)
		buf_put_text(out, "expiring, ");
	put_use(out, one, running);
}

static const struct report_column short_columns[] = {{"ADDRESS", "address", false},
						     {"KEY", "key", false},
						     {"VALID UNTIL", "not_after", false},
						     {"DAYS", "days", true},
						     {"STATE", "state", false}};

static void add_short(struct report *report, const struct stored_certificate *one, const char *state, int64_t now)
{
	char until[CONSOLE_TIME_BYTES];

	console_date(until, one->certificate.not_after);
	report_cell(report, "%s", one->certificate.address);
	report_cell(report, "%s", one->certificate.key_type);
	report_cell(report, "%s", until);
	report_cell(report, "%lld", (long long)days_left(&one->certificate, now));
	report_cell(report, "%s", state);
}

static const struct report_column detail_columns[] = {
    {"Address", "address", false},
    {"For", "kind", false},
    {"Number", "id", true},
    {"State", "state", false},
    {"Names in it", "names", false},
    {"Subject", "subject", false},
    {"Issuer", "issuer", false},
    {"Serial", "serial", false},
    {"SHA-256", "fingerprint", false},
    {"Chain", "chain", false},
    {"Key", "key", false},
    {"Key id", "key_id", false},
    {"Valid from", "not_before", false},
    {"Valid until", "not_after", false},
    {"Key came by", "rung", false},
    {"Attributes", "attributes", false},
    {"Read back", "read_back", false},
    {"Password", "password", false},
    {"Imported by", "imported_by", false},
    {"Imported at", "imported_at", false},
};

static void put_names(struct buf *out, const struct certificate *certificate)
{
	for (size_t i = 0; i < certificate->n_names; i++)
		buf_printf(out, "%s%s", i == 0 ? "" : ", ", certificate->names[i]);
}

static void put_attributes(struct buf *out, const struct stored_certificate *one)
{
	buf_printf(out, "%s, %s, %s", one->sensitive ? "sensitive" : "NOT SENSITIVE",
		   one->extractable ? "EXTRACTABLE" : "not extractable",
		   one->local || strcmp(one->rung, "generate") == 0 ? "born on the token" : "brought to the token");
}

static void add_identity(struct report *report, const struct stored_certificate *one, const char *state)
{
	struct buf names = {0};

	put_names(&names, &one->certificate);
	report_cell(report, "%s", one->certificate.address);
	report_cell(report, "%s", one->certificate.tls ? "TLS servers" : "mail");
	report_cell(report, "%llu", (unsigned long long)one->certificate.id);
	report_cell(report, "%s", state);
	report_cell(report, "%s", buf_text(&names));
	report_cell(report, "%s", one->subject);
	report_cell(report, "%s", one->issuer);
	report_cell(report, "%s", one->serial);
	report_cell(report, "%s", one->fingerprint);
	report_cell(report, "%zu certificate%s", one->certificate.n_chain, one->certificate.n_chain == 1 ? "" : "s");
	buf_clear(&names);
}

static void add_key(struct report *report, const struct stored_certificate *one)
{
	char from[CONSOLE_TIME_BYTES], until[CONSOLE_TIME_BYTES], imported[CONSOLE_TIME_BYTES];
	char *key_id = mem_new(2 * one->certificate.key_id.len + 1);
	struct buf attributes = {0};

	console_time(from, one->certificate.not_before * 1000);
	console_time(until, one->certificate.not_after * 1000);
	console_time(imported, one->imported_ms);
	hex_encode(key_id, one->certificate.key_id);
	put_attributes(&attributes, one);
	report_cell(report, "%s", one->certificate.key_type);
	report_cell(report, "%s", key_id);
	report_cell(report, "%s", from);
	report_cell(report, "%s", until);
	report_cell(report, "%s", one->rung);
	report_cell(report, "%s", buf_text(&attributes));
	report_cell(report, "%s", one->attributes);
	report_cell(report, "%s", one->sealed_password.len > 0 ? "kept, sealed by the token" : "not kept");
	report_cell(report, "%s", one->imported_by);
	report_cell(report, "%s", imported);
	buf_clear(&attributes);
	free(key_id);
}

static void add_rows(struct report *report, const struct stored_certificates *certificates, const struct revision *running)
{
	int64_t now = clock_wall_seconds();

	for (size_t i = 0; i < certificates->count; i++) {
		const struct stored_certificate *one = &certificates->items[i];
		struct buf state = {0};

		put_state(&state, one, running, now);
		if (report->style == REPORT_TABLE) {
			add_short(report, one, buf_text(&state), now);
		} else {
			add_identity(report, one, buf_text(&state));
			add_key(report, one);
		}
		buf_clear(&state);
	}
}

static bool show_all(struct console *console, struct report *report, struct err *err)
{
	struct stored_certificates certificates;
	struct revision running;

	if (!store_revision(console->store, 0, &running, err))
		return false;
	if (!store_certificates(console->store, NULL, &certificates, err)) {
		revision_clear(&running);
		return false;
	}
	add_rows(report, &certificates, &running);
	console_show(console, report);
	stored_certificates_clear(&certificates);
	revision_clear(&running);
	report_clear(report);
	return true;
}

bool show_certificates(struct console *console, const struct parsed *parsed, struct err *err)
{
	struct report report = report_of(REPORT_TABLE, short_columns, sizeof short_columns / sizeof *short_columns);

	(void)parsed;
	return show_all(console, &report, err);
}

bool show_certificates_detail(struct console *console, const struct parsed *parsed, struct err *err)
{
	struct report report = report_of(REPORT_RECORDS, detail_columns, sizeof detail_columns / sizeof *detail_columns);

	(void)parsed;
	return show_all(console, &report, err);
}
