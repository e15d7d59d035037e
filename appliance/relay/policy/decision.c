#include "appliance/relay/policy/decision.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "appliance/relay/mime/encoded_word.h"
#include "appliance/relay/policy/domain.h"
#include "appliance/relay/policy/pattern.h"

static bool refuse(struct decision *decision, int code, const char *enhanced, const char *format, ...)
    __attribute__((__format__(__printf__, 4, 5)));

/* Always false: `return refuse(…)` ends a step. */
static bool refuse(struct decision *decision, int code, const char *enhanced, const char *format, ...)
{
	va_list args;

	decision->refuse_code = code;
	decision->refuse_enhanced = enhanced;
	va_start(args, format);
	vsnprintf(decision->refuse_text, sizeof decision->refuse_text, format, args);
	va_end(args);
	return false;
}

static void set_rule(struct decision_recipient *recipient, bool sign, const char *rule)
{
	free(recipient->rule);
	recipient->sign = sign;
	recipient->rule = mem_string(rule);
}

static void set_all(struct decision *decision, bool sign, const char *format, ...) __attribute__((__format__(__printf__, 3, 4)));

/* Those that are still to be signed get this verdict and rule. */
static void set_all(struct decision *decision, bool sign, const char *format, ...)
{
	char rule[ERR_TEXT_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(rule, sizeof rule, format, args);
	va_end(args);
	for (size_t i = 0; i < decision->n_recipients; i++) {
		if (decision->recipients[i].sign)
			set_rule(&decision->recipients[i], sign, rule);
	}
	if (!sign)
		decision->n_signed = 0;
}

static bool refuse_runaway(struct decision *decision, const struct config_exclusion *exclusion)
{
	return refuse(decision, 451, "4.3.5", "Expression \"%s\" of this server takes too long", exclusion->text);
}

static void exclude_recipient(const struct config_exclusion *exclusion, struct decision *decision,
			      struct decision_recipient *recipient)
{
	char *rule = mem_format("smime exclude recipient %s", exclusion->text);

	set_rule(recipient, false, rule);
	free(rule);
	decision->n_signed--;
}

/* Those that one expression excludes; each expression has a budget of its own. */
static bool exclude_by_recipient(const struct decision_facts *facts, const struct config_exclusion *exclusion,
				 struct decision *decision)
{
	uint64_t budget = PATTERN_BUDGET_STEPS;

	for (size_t i = 0; i < decision->n_recipients; i++) {
		enum pattern_result result;

		if (!decision->recipients[i].sign)
			continue;
		result = pattern_match(exclusion->pattern, bytes_text(facts->recipients[i]), &budget);
		if (result == PATTERN_LIMIT)
			return refuse_runaway(decision, exclusion);
		if (result == PATTERN_YES)
			exclude_recipient(exclusion, decision, &decision->recipients[i]);
	}
	return true;
}

/* A Content-Type that claims "already signed" is believed only with proof (design §5): a false label must not escape signing. */
static bool claims_signature(const struct config_exclusion *exclusion, struct bytes value)
{
	return strcasecmp(exclusion->header, "Content-Type") == 0 &&
	       (bytes_starts_nocase(value, "multipart/signed") || bytes_starts_nocase(value, "application/pkcs7-mime") ||
		bytes_starts_nocase(value, "application/x-pkcs7-mime"));
}

void decision_field_value(struct buf *out, const struct mime_field *field)
{
	struct buf unfolded = {0};

	mime_field_unfold(&unfolded, field);
	encoded_words_decode(out, buf_bytes(&unfolded));
	buf_clear(&unfolded);
}

/* *excluded tells; false is a refusal. */
static bool field_excludes(const struct decision_facts *facts, const struct config_exclusion *exclusion,
			   const struct mime_field *field, uint64_t *budget, struct decision *decision, bool *excluded)
{
	struct buf value = {0};
	enum pattern_result result;
	bool unproven;

	decision_field_value(&value, field);
	result = pattern_match(exclusion->pattern, buf_bytes(&value), budget);
	unproven = claims_signature(exclusion, buf_bytes(&value)) && facts->presigned == MIME_PRESIGNED_NO;
	buf_clear(&value);
	if (result == PATTERN_LIMIT)
		return refuse_runaway(decision, exclusion);
	if (result == PATTERN_YES && unproven)
		snprintf(decision->note, sizeof decision->note, "Content-Type says signed, the structure does not prove it");
	*excluded = result == PATTERN_YES && !unproven;
	return true;
}

static bool exclude_by_header(const struct decision_facts *facts, struct decision *decision)
{
	for (size_t i = 0; i < facts->server->n_exclude_headers; i++) {
		const struct config_exclusion *exclusion = &facts->server->exclude_headers[i];
		uint64_t budget = PATTERN_BUDGET_STEPS;

		for (size_t f = 0; f < facts->header->count; f++) {
			const struct mime_field *field = &facts->header->fields[f];
			bool excluded = false;

			if (!bytes_equal_nocase(field->name, exclusion->header))
				continue;
			if (!field_excludes(facts, exclusion, field, &budget, decision, &excluded))
				return false;
			if (excluded) {
				set_all(decision, false, "smime exclude header %s %s", exclusion->header, exclusion->text);
				return true;
			}
		}
	}
	return true;
}

static bool exclude_recipients(const struct decision_facts *facts, struct decision *decision)
{
	for (size_t i = 0; i < facts->server->n_exclude_recipients; i++) {
		if (!exclude_by_recipient(facts, &facts->server->exclude_recipients[i], decision))
			return false;
	}
	return true;
}

const struct certificate *decision_certificate(const struct config_server *server, const char *from_address, bool *inexact)
{
	const struct certificate *similar = NULL;
	const char *at = strrchr(from_address, '@');

	*inexact = false;
	for (size_t i = 0; at != NULL && i < server->n_certificates; i++) {
		const char *address = server->certificates[i]->address;
		const char *other_at = strrchr(address, '@');
		size_t local = (size_t)(at - from_address);

		if (other_at == NULL || (size_t)(other_at - address) != local || !domain_equal(at + 1, other_at + 1))
			continue;
		if (memcmp(address, from_address, local) == 0)
			return server->certificates[i];
		if (strncasecmp(address, from_address, local) == 0)
			similar = server->certificates[i];
	}
	*inexact = similar != NULL;
	return similar;
}

static bool no_certificate(const struct decision_facts *facts, struct decision *decision)
{
	bool one = facts->from == MIME_FROM_ONE;

	if (facts->server->refuse_unsigned_sender)
		return refuse(decision, 550, "5.7.1", "No S/MIME certificate for %s",
			      one ? facts->from_address : mime_from_phrase(facts->from));
	set_all(decision, false, "smime unsigned-sender relay (%s)", one ? "no certificate" : mime_from_phrase(facts->from));
	return true;
}

static bool choose_certificate(const struct decision_facts *facts, struct decision *decision)
{
	const struct certificate *certificate = NULL;
	bool inexact = false;

	if (facts->from == MIME_FROM_ONE)
		certificate = decision_certificate(facts->server, facts->from_address, &inexact);
	if (certificate == NULL)
		return no_certificate(facts, decision);
	if (facts->now > certificate->not_after) /* service.md N4: exactly this text, a code without an enhanced code */
		return refuse(decision, 451, "", "S/MIME certificate is expired");
	if (facts->now < certificate->not_before)
		return refuse(decision, 451, "4.7.0", "S/MIME certificate is not valid yet");
	if (inexact)
		snprintf(decision->note, sizeof decision->note, "From %s differs in case from the certificate's %s",
			 facts->from_address, certificate->address);
	decision->certificate = certificate;
	set_all(decision, true, "smime certificate %s", certificate->address);
	return true;
}

static bool check_signable(const struct decision_facts *facts, struct decision *decision)
{
	const char *reason = facts->verdict == MIME_UNSIGNABLE ? facts->unsignable_reason : NULL;

	if (facts->header->malformed)
		return refuse(decision, 550, "5.6.0", "The message header is malformed");
	if (reason == NULL)
		return true;
	if (facts->server->refuse_unsignable)
		return refuse(decision, 554, "5.6.3", "Message cannot be signed: %s", reason);
	set_all(decision, false, "smime unsignable relay (%s)", reason);
	decision->certificate = NULL;
	return true;
}

static bool check_from(const struct decision_facts *facts, struct decision *decision)
{
	if (facts->from == MIME_FROM_SEVERAL_FIELDS || facts->from == MIME_FROM_CONTROL)
		return refuse(decision, 550, "5.7.1", "Message has %s", mime_from_phrase(facts->from));
	return true;
}

/* Also when nobody would be signed: such a user has no business with this address. */
static bool check_user(const struct decision_facts *facts, struct decision *decision)
{
	const struct certificate *certificate;
	bool inexact;

	if (facts->user == NULL || facts->from != MIME_FROM_ONE)
		return true;
	certificate = decision_certificate(facts->server, facts->from_address, &inexact);
	if (certificate == NULL || config_user_may_sign(facts->user, certificate))
		return true;
	return refuse(decision, 550, "5.7.1", "User %s may not send as %s", facts->user->name, certificate->address);
}

static void decide_enabled(const struct decision_facts *facts, struct decision *decision)
{
	if (!check_from(facts, decision) || !check_user(facts, decision) || !exclude_by_header(facts, decision) ||
	    !exclude_recipients(facts, decision))
		return;
	if (decision->n_signed > 0 && !choose_certificate(facts, decision))
		return;
	if (decision->n_signed > 0)
		check_signable(facts, decision);
}

/* ---- Intelligent BCC ---- */

/* A runaway expression makes no copy: the mail must not suffer for it. */
static bool header_matches(const struct mime_header *header, const struct config_exclusion *condition, struct decision *decision)
{
	uint64_t budget = PATTERN_BUDGET_STEPS;
	bool matches = false;

	for (size_t f = 0; f < header->count && !matches; f++) {
		struct buf value = {0};
		enum pattern_result result;

		if (!bytes_equal_nocase(header->fields[f].name, condition->header))
			continue;
		decision_field_value(&value, &header->fields[f]);
		result = pattern_match(condition->pattern, buf_bytes(&value), &budget);
		buf_clear(&value);
		matches = result == PATTERN_YES;
		if (result == PATTERN_LIMIT)
			snprintf(decision->note, sizeof decision->note,
				 "intelligent-bcc expression \"%s\" takes too long: no copy", condition->text);
	}
	return matches;
}

static bool bcc_matches(const struct mime_header *header, const struct config_bcc *bcc, struct decision *decision)
{
	for (size_t i = 0; i < bcc->n_headers; i++)
		if (!header_matches(header, &bcc->headers[i], decision))
			return false;
	return true;
}

/* Who is a recipient already, or gets a copy by another rule, gets no second one: a copy that comes back to us makes no copy. */
static bool is_addressed(const struct decision_facts *facts, const struct decision *decision, const char *address)
{
	for (size_t i = 0; i < facts->n_recipients; i++)
		if (strcasecmp(facts->recipients[i], address) == 0)
			return true;
	for (size_t i = 0; i < decision->n_copies; i++)
		if (strcasecmp(decision->copies[i].address, address) == 0)
			return true;
	return false;
}

static void add_copies(const struct decision_facts *facts, const struct config_bcc *bcc, struct decision *decision)
{
	for (size_t i = 0; i < bcc->n_addresses; i++) {
		if (is_addressed(facts, decision, bcc->addresses[i]))
			continue;
		decision->copies = mem_resize(decision->copies, decision->n_copies + 1, sizeof *decision->copies);
		decision->copies[decision->n_copies++] =
		    (struct decision_copy){bcc->addresses[i], bcc->sender, mem_format("intelligent-bcc %s", bcc->name)};
	}
}

static void decide_copies(const struct decision_facts *facts, struct decision *decision)
{
	for (size_t i = 0; i < facts->server->n_bccs; i++)
		if (bcc_matches(facts->header, &facts->server->bccs[i], decision))
			add_copies(facts, &facts->server->bccs[i], decision);
}

/* ---- the whole ---- */

static bool check_size(const struct config_limits *limits, const struct mime_scan *scan, struct decision *decision)
{
	const struct mime_header *header = mime_scan_header(scan);

	if (header->too_large || header->body_offset > limits->header_bytes)
		return refuse(decision, 554, "5.6.0", "The message header is larger than %" PRIu64 " bytes",
			      limits->header_bytes);
	if (header->count > limits->header_fields)
		return refuse(decision, 554, "5.6.0", "The message header has more than %" PRIu32 " fields",
			      limits->header_fields);
	if (mime_scan_longest_line(scan) > limits->line_bytes)
		return refuse(decision, 554, "5.6.0", "The message has a line longer than %" PRIu64 " bytes", limits->line_bytes);
	return true;
}

static bool check_header(const struct mime_header *header, struct decision *decision)
{
	size_t received = 0;

	mime_header_find(header, "Received", &received);
	if (header->has_nul)
		return refuse(decision, 550, "5.6.0", "The message header holds a NUL");
	if (received > RECEIVED_FIELDS_MAX)
		return refuse(decision, 554, "5.4.6", "Mail loop: more than %d Received fields", RECEIVED_FIELDS_MAX);
	return true;
}

void decision_judge(struct decision_facts *facts, const struct mime_scan *scan, struct decision *decision)
{
	facts->header = mime_scan_header(scan);
	memset(decision, 0, sizeof *decision);
	decision->refuse_enhanced = "";
	if (!check_size(&facts->server->limits, scan, decision) || !check_header(facts->header, decision))
		return;
	facts->presigned = mime_scan_presigned(scan);
	facts->verdict = mime_scan_verdict(scan);
	facts->unsignable_reason = mime_scan_reason(scan);
	decision_make(facts, decision);
}

void decision_make(const struct decision_facts *facts, struct decision *decision)
{
	memset(decision, 0, sizeof *decision);
	decision->refuse_enhanced = "";
	decision->n_recipients = decision->n_signed = facts->n_recipients;
	decision->recipients = mem_new_array(facts->n_recipients, sizeof *decision->recipients);
	for (size_t i = 0; i < facts->n_recipients; i++)
		decision->recipients[i].sign = true;
	if (facts->server->smime_enabled)
		decide_enabled(facts, decision);
	else
		set_all(decision, false, "smime not enabled");
	if (decision->refuse_code == 0)
		decide_copies(facts, decision);
}

void decision_clear(struct decision *decision)
{
	for (size_t i = 0; i < decision->n_recipients; i++)
		free(decision->recipients[i].rule);
	free(decision->recipients);
	for (size_t i = 0; i < decision->n_copies; i++)
		free(decision->copies[i].rule);
	free(decision->copies);
	memset(decision, 0, sizeof *decision);
}
