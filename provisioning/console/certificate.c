#include "provisioning/console/certificate.h"

#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"

char *attributes_text(const struct key_attributes *attributes)
{
	struct buf out = {0};
	char *text;

	key_attributes_put(&out, attributes);
	text = mem_string(buf_text(&out));
	buf_clear(&out);
	return text;
}

enum certificate_kind certificate_kind_of(const struct parsed *parsed)
{
	return strchr(parsed->typed[0], '@') == NULL ? CERTIFICATE_KIND_TLS : CERTIFICATE_KIND_MAIL;
}

void registered_say(struct console *console, enum certificate_kind kind, const char *name, bool renewal)
{
	if (renewal)
		console_say(console, "Renewed. The new certificate %s after the next commit",
			    kind == CERTIFICATE_KIND_TLS ? "serves" : "signs");
	else if (kind == CERTIFICATE_KIND_TLS)
		console_say(console,
			    "Registered. It serves after: set server NAME smtp listen ADDRESS:PORT certificate %s, and commit",
			    name);
	else
		console_say(console, "Registered. It signs after: set server NAME smime certificate %s, and commit", name);
}

void imported_fill(struct imported *imported, const struct console *console, enum certificate_kind kind, const char *address,
		   const struct import_result *result)
{
	const struct certificate_facts *facts = &result->facts;

	imported->attributes = attributes_text(&result->attributes);
	imported->certificate = (struct stored_certificate){
	    .certificate = {.address = (char *)address,
			    .names = facts->names,
			    .n_names = facts->n_names,
			    .key_type = facts->key_type,
			    .key_id = result->key_id,
			    .chain = facts->chain,
			    .n_chain = facts->n_chain,
			    .not_before = facts->not_before,
			    .not_after = facts->not_after,
			    .tls = kind == CERTIFICATE_KIND_TLS},
	    .subject = facts->subject,
	    .issuer = facts->issuer,
	    .serial = facts->serial,
	    .fingerprint = facts->fingerprint,
	    .rung = result->rung,
	    .attributes = imported->attributes,
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

void imported_clear(struct imported *imported)
{
	free(imported->attributes);
	*imported = (struct imported){0};
}

void imported_audit(struct console *console, const struct import_result *result)
{
	char *attributes = attributes_text(&result->attributes), *command = console->audit_text;

	console->audit_text = mem_format("%s [serial %s, %s, key by %s: %s]", command, result->facts.serial,
					 result->facts.key_type, result->rung, attributes);
	free(command);
	free(attributes);
}

void imported_show(struct console *console, const char *address, const struct import_result *result)
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
	    {"Attributes", "attributes", false},
	    {"SHA-256", "fingerprint", false},
	};
	struct report report = report_of(REPORT_RECORDS, columns, sizeof columns / sizeof *columns);
	char from[CONSOLE_TIME_BYTES], until[CONSOLE_TIME_BYTES], *attributes = attributes_text(&result->attributes);

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
	report_cell(&report, "%s", attributes);
	report_cell(&report, "%s", result->facts.fingerprint);
	console_show(console, &report);
	report_clear(&report);
	free(attributes);
	for (size_t i = 0; i < result->n_warnings; i++)
		console_say(console, "warning: %s", result->warnings[i]);
}
