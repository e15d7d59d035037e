/*
 * The decision, as a table: what a message is, and what is said of each recipient. One server is configured as a
 * new one is (carrier patterns, Content-Type exclusion), with three certificates: valid, expired, not yet valid.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "appliance/relay/policy/decision.h"
#include "appliance/relay/policy/pattern.h"
#include "provisioning/store/settings.h"
#include "tests/unit/test.h"

#define NOW 1800000000
#define MAX_RECIPIENTS 4

static void add_certificate(struct snapshot *snapshot, uint64_t id, const char *address, int64_t from, int64_t to)
{
	struct certificate *certificate;

	snapshot->certificates = mem_resize(snapshot->certificates, snapshot->n_certificates + 1, sizeof *snapshot->certificates);
	certificate = &snapshot->certificates[snapshot->n_certificates++];
	*certificate = (struct certificate){
	    .id = id, .address = mem_string(address), .key_type = mem_string("RSA-2048"), .not_before = from, .not_after = to};
	settings_add(&snapshot->settings, "server s smime certificate", address);
}

static struct config *configured(const char *path, const char *value)
{
	struct snapshot *snapshot = snapshot_new();
	struct config *config;
	struct err err;

	settings_add_server_defaults(&snapshot->settings, "s");
	settings_add(&snapshot->settings, "server s smime enabled", "");
	add_certificate(snapshot, 1, "alice@example.com", NOW - 10, NOW + 10);
	add_certificate(snapshot, 2, "old@example.com", NOW - 10, NOW - 1);
	add_certificate(snapshot, 3, "early@example.com", NOW + 1, NOW + 10);
	if (path != NULL && strcmp(path, "server s smime certificate") == 0)
		add_certificate(snapshot, 4, value, NOW - 10, NOW + 10);
	else if (path != NULL)
		settings_add(&snapshot->settings, path, value);
	config = config_new(snapshot, &err);
	CHECK_OK(config != NULL, &err);
	return config;
}

struct test_message {
	const char *name;
	const char *path, *value; /* one more setting */
	const struct config_user *user;
	const char *header;
	const char *recipients[MAX_RECIPIENTS];
	enum mime_presigned presigned;
	enum mime_verdict verdict;
	/* expected */
	const char *reply; /* "451 - text": NULL is accepted */
	const char *outcome; /* a letter a recipient: S signed, P plain */
	const char *rule; /* part of the first recipient's */
};

static char *alice_alone[] = {(char[]){"alice@Example.com"}};
static const struct config_user anyone = {.name = (char[]){"any"}};
static const struct config_user app = {.name = (char[]){"app"}, .certificates = alice_alone, .n_certificates = 1};

static const struct test_message messages[] = {
    {.name = "a user without certificates may use all",
     .user = &anyone,
     .header = "From: old@example.com\r\n\r\n",
     .recipients = {"b@x.y"},
     .reply = "451  S/MIME certificate is expired"},
    {.name = "a user with its certificate",
     .user = &app,
     .header = "From: alice@example.com\r\n\r\n",
     .recipients = {"b@x.y"},
     .outcome = "S"},
    {.name = "a user without this certificate",
     .user = &app,
     .header = "From: Old <OLD@example.com>\r\n\r\n",
     .recipients = {"b@x.y"},
     .reply = "550 5.7.1 User app may not send as old@example.com"},
    {.name = "a user without this certificate, to somebody who gets no signature",
     .user = &app,
     .header = "From: old@example.com\r\n\r\n",
     .recipients = {"b@docomo.ne.jp"},
     .reply = "550 5.7.1 User app may not send as old@example.com"},
    {.name = "an address that nobody signs for is not the user's matter",
     .user = &app,
     .header = "From: bob@example.com\r\n\r\n",
     .recipients = {"b@x.y"},
     .outcome = "P"},
    {.name = "a user hides the address behind a second one",
     .user = &app,
     .header = "From: old@example.com, alice@example.com\r\n\r\n",
     .recipients = {"b@x.y"},
     .outcome = "P"},
    {.name = "a user with a second From",
     .user = &app,
     .header = "From: alice@example.com\r\nFrom: old@example.com\r\n\r\n",
     .recipients = {"b@x.y"},
     .reply = "550 5.7.1 Message has several From fields"},
    {.name = "signed",
     .header = "From: Alice <alice@example.com>\r\n\r\n",
     .recipients = {"b@example.net"},
     .outcome = "S",
     .rule = "smime certificate alice@example.com"},
    {.name = "domain case does not matter", .header = "From: alice@EXAMPLE.com\r\n\r\n", .recipients = {"b@x.y"}, .outcome = "S"},
    {.name = "a domain in U-labels",
     .path = "server s smime certificate",
     .value = "taro@xn--wlru32m.example",
     .header = "From: taro@\xe5\x8d\xb0\xe9\x91\x91.example\r\n\r\n",
     .recipients = {"b@x.y"},
     .outcome = "S",
     .rule = "smime certificate taro@xn--wlru32m.example"},
    {.name = "local part in other case signs, noted",
     .header = "From: Alice@example.com\r\n\r\n",
     .recipients = {"b@x.y"},
     .outcome = "S"},
    {.name = "no certificate",
     .header = "From: bob@example.com\r\n\r\n",
     .recipients = {"b@x.y"},
     .outcome = "P",
     .rule = "smime unsigned-sender relay (no certificate)"},
    {.name = "no certificate, refused",
     .path = "server s smime unsigned-sender",
     .value = "refuse",
     .header = "From: bob@example.com\r\n\r\n",
     .recipients = {"b@x.y"},
     .reply = "550 5.7.1 No S/MIME certificate for bob@example.com"},
    {.name = "a longer local part is another address",
     .header = "From: xalice@example.com\r\n\r\n",
     .recipients = {"b@x.y"},
     .outcome = "P"},
    {.name = "expired",
     .header = "From: old@example.com\r\n\r\n",
     .recipients = {"b@x.y"},
     .reply = "451  S/MIME certificate is expired"},
    {.name = "expired, but nobody would be signed",
     .header = "From: old@example.com\r\n\r\n",
     .recipients = {"b@docomo.ne.jp"},
     .outcome = "P"},
    {.name = "expired, one would be signed",
     .header = "From: old@example.com\r\n\r\n",
     .recipients = {"b@docomo.ne.jp", "c@x.y"},
     .reply = "451  S/MIME certificate is expired"},
    {.name = "not valid yet",
     .header = "From: early@example.com\r\n\r\n",
     .recipients = {"b@x.y"},
     .reply = "451 4.7.0 S/MIME certificate is not valid yet"},
    {.name = "carriers are plain, others signed",
     .header = "From: alice@example.com\r\n\r\n",
     .recipients = {"a..b@docomo.ne.jp", "c@example.net", "d.@ezweb.ne.jp", "e@docomo.ne.jp.example.com"},
     .outcome = "PSPS",
     .rule = "smime exclude recipient "},
    {.name = "carrier subdomain",
     .header = "From: alice@example.com\r\n\r\n",
     .recipients = {"a@mail.docomo.ne.jp"},
     .outcome = "P"},
    {.name = "already signed with proof",
     .header = "From: alice@example.com\r\nContent-Type: multipart/signed; x=y\r\n\r\n",
     .recipients = {"b@x.y"},
     .presigned = MIME_PRESIGNED_SMIME,
     .outcome = "P",
     .rule = "smime exclude header Content-Type"},
    {.name = "already signed by label alone",
     .header = "From: alice@example.com\r\nContent-Type: multipart/signed; x=y\r\n\r\n",
     .recipients = {"b@x.y"},
     .outcome = "S"},
    {.name = "encrypted with proof",
     .header = "From: alice@example.com\r\nContent-Type: application/pkcs7-mime\r\n\r\n",
     .recipients = {"b@x.y"},
     .presigned = MIME_PRESIGNED_CMS,
     .outcome = "P"},
    {.name = "header of the operator",
     .path = "server s smime exclude header X-No-Sign",
     .value = "^yes$",
     .header = "From: alice@example.com\r\nx-no-sign:\r\n yes\r\n\r\n",
     .recipients = {"b@x.y"},
     .outcome = "P",
     .rule = "smime exclude header X-No-Sign ^yes$"},
    {.name = "header of the operator does not match",
     .path = "server s smime exclude header X-No-Sign",
     .value = "^yes$",
     .header = "From: alice@example.com\r\nX-No-Sign: no\r\n\r\n",
     .recipients = {"b@x.y"},
     .outcome = "S"},
    {.name = "two From fields",
     .header = "From: alice@example.com\r\nFrom: bob@example.com\r\n\r\n",
     .recipients = {"b@x.y"},
     .reply = "550 5.7.1 Message has "},
    {.name = "two mailboxes",
     .header = "From: alice@example.com, bob@example.com\r\n\r\n",
     .recipients = {"b@x.y"},
     .outcome = "P",
     .rule = "smime unsigned-sender relay ("},
    {.name = "no From", .header = "Subject: x\r\n\r\n", .recipients = {"b@x.y"}, .outcome = "P"},
    {.name = "unsignable",
     .header = "From: alice@example.com\r\n\r\n",
     .recipients = {"b@x.y"},
     .verdict = MIME_UNSIGNABLE,
     .reply = "554 5.6.3 Message cannot be signed: test reason"},
    {.name = "unsignable, relayed",
     .path = "server s smime unsignable",
     .value = "relay",
     .header = "From: alice@example.com\r\n\r\n",
     .recipients = {"b@x.y"},
     .verdict = MIME_UNSIGNABLE,
     .outcome = "P",
     .rule = "smime unsignable relay (test reason)"},
    {.name = "unsignable for excluded recipients only",
     .header = "From: alice@example.com\r\n\r\n",
     .recipients = {"b@docomo.ne.jp"},
     .verdict = MIME_UNSIGNABLE,
     .outcome = "P"},
    {.name = "an expression that runs away",
     .path = "server s smime exclude recipient",
     .value = "^(a+)+$",
     .header = "From: alice@example.com\r\n\r\n",
     .recipients = {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@x.y"},
     .reply = "451 4.3.5 Expression \"^(a+)+$\" of this server takes too long"},
};

static void check_outcome(const struct test_message *message, const struct decision *decision)
{
	char reply[2 * ERR_TEXT_MAX], outcome[MAX_RECIPIENTS + 1] = "";

	snprintf(reply, sizeof reply, "%d %s %s", decision->refuse_code, decision->refuse_enhanced, decision->refuse_text);
	if (message->reply != NULL) {
		CHECK_CONTAINS(reply, message->reply);
		return;
	}
	CHECK_INT(decision->refuse_code, 0);
	for (size_t i = 0; i < decision->n_recipients; i++)
		outcome[i] = decision->recipients[i].sign ? 'S' : 'P';
	CHECK_TEXT(outcome, message->outcome);
	CHECK_INT(decision->certificate != NULL, strchr(message->outcome, 'S') != NULL);
	if (message->rule != NULL)
		CHECK_CONTAINS(decision->recipients[0].rule, message->rule);
}

static void decide(const struct test_message *message)
{
	struct config *config = configured(message->path, message->value);
	struct mime_scan *scan = mime_scan_new();
	struct decision decision;
	struct decision_facts facts = {
	    .presigned = message->presigned, .verdict = message->verdict, .unsignable_reason = "test reason", .now = NOW};
	char *address = NULL;

	mime_scan_feed(scan, bytes_text(message->header));
	mime_scan_feed(scan, bytes_text("body\r\n"));
	mime_scan_finish(scan);
	facts.server = config_find_server(config, "s");
	facts.header = mime_scan_header(scan);
	facts.from = mime_header_from(facts.header, &address);
	facts.from_address = address;
	facts.user = message->user;
	facts.recipients = message->recipients;
	while (facts.n_recipients < MAX_RECIPIENTS && message->recipients[facts.n_recipients] != NULL)
		facts.n_recipients++;
	decision_make(&facts, &decision);
	check_outcome(message, &decision);
	decision_clear(&decision);
	free(address);
	mime_scan_free(scan);
	config_unref(config);
}

static void every_message_is_decided(void)
{
	for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
		test_case("%s", messages[i].name);
		decide(&messages[i]);
	}
}

static void without_smime_nothing_is_signed(void)
{
	static const char *const recipients[] = {"b@x.y"};
	struct snapshot *snapshot = snapshot_new();
	struct decision decision;
	struct config *config;
	struct err err;
	struct decision_facts facts = {.recipients = recipients, .n_recipients = 1, .from = MIME_FROM_SEVERAL_FIELDS, .now = NOW};

	settings_add_server_defaults(&snapshot->settings, "s");
	add_certificate(snapshot, 1, "alice@example.com", NOW - 10, NOW + 10);
	config = config_new(snapshot, &err);
	if (!CHECK_OK(config != NULL, &err))
		return;
	facts.server = config_find_server(config, "s");
	decision_make(&facts, &decision);
	CHECK_INT(decision.refuse_code, 0);
	CHECK_INT(decision.n_signed, 0);
	CHECK_TEXT(decision.recipients[0].rule, "smime not enabled");
	decision_clear(&decision);
	config_unref(config);
}

/* ---- Intelligent BCC ---- */

#define BCC "server s intelligent-bcc r "

static struct config *configured_bcc(const char *const settings[][2])
{
	struct snapshot *snapshot = snapshot_new();
	struct config *config;
	struct err err;

	settings_add(&snapshot->settings, "server s smime enabled", "");
	add_certificate(snapshot, 1, "alice@example.com", NOW - 10, NOW + 10);
	add_certificate(snapshot, 2, "old@example.com", NOW - 10, NOW - 1);
	for (size_t i = 0; settings[i][0] != NULL; i++)
		settings_add(&snapshot->settings, settings[i][0], settings[i][1]);
	config = config_new(snapshot, &err);
	CHECK_OK(config != NULL, &err);
	return config;
}

static void judge(const struct config *config, const char *header, const char *recipient, struct decision *decision)
{
	struct mime_scan *scan = mime_scan_new();
	struct decision_facts facts = {.server = &config->servers[0], .recipients = &recipient, .n_recipients = 1, .now = NOW};
	char *address = NULL;

	mime_scan_feed(scan, bytes_text(header));
	mime_scan_finish(scan);
	facts.from = mime_header_from(mime_scan_header(scan), &address);
	facts.from_address = address;
	decision_judge(&facts, scan, decision);
	free(address);
	mime_scan_free(scan);
}

static void copies_follow_the_rules(void)
{
	static const struct {
		const char *name;
		const char *settings[4][2];
		const char *header, *recipient, *copies; /* "address sender;" each */
	} cases[] = {
	    {"every mail", {{BCC "address", "a@x.y"}}, "From: alice@example.com\r\n\r\n", "b@x.y", "a@x.y ;"},
	    {"a field that matches",
	     {{BCC "address", "a@x.y"}, {BCC "header Subject", "contract"}, {BCC "sender", "me@x.y"}},
	     "From: alice@example.com\r\nSubject: a CONTRACT\r\n\r\n",
	     "b@x.y",
	     "a@x.y me@x.y;"},
	    {"a field that does not",
	     {{BCC "address", "a@x.y"}, {BCC "header Subject", "contract"}},
	     "From: alice@example.com\r\nSubject: hello\r\n\r\n",
	     "b@x.y",
	     ""},
	    {"an encoded, folded field",
	     {{BCC "address", "a@x.y"}, {BCC "header Subject", "^日本$"}},
	     "From: alice@example.com\r\nSubject: =?utf-8?b?5pel?=\r\n =?utf-8?b?5pys?=\r\n\r\n",
	     "b@x.y",
	     "a@x.y ;"},
	    {"all fields must match",
	     {{BCC "address", "a@x.y"}, {BCC "header Subject", "contract"}, {BCC "header X-Kind", "legal"}},
	     "From: alice@example.com\r\nSubject: contract\r\n\r\n",
	     "b@x.y",
	     ""},
	    {"who is a recipient gets no copy", {{BCC "address", "B@x.y"}}, "From: alice@example.com\r\n\r\n", "b@x.y", ""},
	    {"two rules, one address",
	     {{BCC "address", "a@x.y"}, {"server s intelligent-bcc q address", "A@x.y"}},
	     "From: alice@example.com\r\n\r\n",
	     "b@x.y",
	     "a@x.y ;"},
	    {"a refused mail has none", {{BCC "address", "a@x.y"}}, "From: old@example.com\r\n\r\n", "b@x.y", ""},
	    {"a runaway expression makes no copy and refuses nothing",
	     {{BCC "address", "a@x.y"}, {BCC "header Subject", "^(a+)+$"}},
	     "From: alice@example.com\r\nSubject: "
	     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!\r\n\r\n",
	     "b@x.y",
	     ""},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct config *config = configured_bcc(cases[i].settings);
		struct decision decision;
		struct buf got = {0};

		test_case("%s", cases[i].name);
		judge(config, cases[i].header, cases[i].recipient, &decision);
		for (size_t c = 0; c < decision.n_copies; c++)
			buf_printf(&got, "%s %s;", decision.copies[c].address, decision.copies[c].sender);
		CHECK_TEXT(buf_text(&got), cases[i].copies);
		if (decision.refuse_code == 0)
			CHECK(decision.recipients[0].sign);
		buf_clear(&got);
		decision_clear(&decision);
		config_unref(config);
	}
}

static void expressions_match_decoded_fields(void)
{
	struct config *config = configured("server s smime exclude header Subject", "^極秘");
	struct decision decision;

	judge(config, "From: alice@example.com\r\nSubject: =?ISO-2022-JP?B?GyRCNkBIaxsoQg==?= x\r\n\r\n", "b@x.y", &decision);
	CHECK_TEXT(decision.recipients[0].rule, "smime certificate alice@example.com"); /* other characters */
	decision_clear(&decision);
	judge(config, "From: alice@example.com\r\nSubject: =?UTF-8?B?5qW156eY?= x\r\n\r\n", "b@x.y", &decision);
	CHECK_CONTAINS(decision.recipients[0].rule, "smime exclude header Subject");
	decision_clear(&decision);
	config_unref(config);
}

static void expressions_are_of_characters(void)
{
	static const struct {
		const char *expression, *subject;
		bool excludes;
	} cases[] = {{"^[極秘]+$", "=?UTF-8?B?5qW156eY?=", true},
		     {"^[極秘]+$", "=?UTF-8?B?5qeY?=", false}, /* 様: each of its octets is in 極秘 */
		     {"^.{2}$", "=?UTF-8?B?5qW156eY?=", true},
		     {"^ÜBER$", "=?UTF-8?Q?=C3=BCber?=", true},
		     {"^a.*z$", "a\xff\xfez", false}};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct config *config = configured("server s smime exclude header Subject", cases[i].expression);
		char *header = mem_format("From: alice@example.com\r\nSubject: %s\r\n\r\n", cases[i].subject);
		struct decision decision;

		test_case("%s on %s", cases[i].expression, cases[i].subject);
		judge(config, header, "b@x.y", &decision);
		CHECK_INT(decision.n_signed, !cases[i].excludes);
		decision_clear(&decision);
		config_unref(config);
		free(header);
	}
}

/* Each field is below the limits of PCRE2; together they would take minutes. */
static void expressions_have_one_budget_for_all_fields(void)
{
	struct config *config = configured("server s smime exclude header X-A", "a.*a.*a[bc]");
	struct decision decision;
	struct buf header = {0};
	int64_t begun = clock_monotonic_ms();

	buf_put_text(&header, "From: alice@example.com\r\n");
	for (int field = 0; field < 900; field++)
		buf_printf(&header, "X-A: %0250d\r\n", 0);
	for (size_t i = 0; i < header.len; i++)
		header.data[i] = header.data[i] == '0' ? 'a' : header.data[i];
	buf_put_text(&header, "\r\n");
	judge(config, buf_text(&header), "b@x.y", &decision);
	CHECK_INT(decision.refuse_code, 451);
	CHECK_CONTAINS(decision.refuse_text, "takes too long");
	CHECK(clock_monotonic_ms() - begun < 5000);
	decision_clear(&decision);
	buf_clear(&header);
	config_unref(config);
}

static void linear_expressions_wear_out_no_budget(void)
{
	struct config *config = configured("server s smime exclude header X-A", "^.*(secret|top).*$");
	struct decision decision;
	struct buf header = {0};

	buf_put_text(&header, "From: alice@example.com\r\n");
	for (int field = 0; field < 900; field++)
		buf_printf(&header, "X-A: %0250d\r\n", 0);
	buf_put_text(&header, "\r\n");
	judge(config, buf_text(&header), "b@x.y", &decision);
	CHECK_INT(decision.refuse_code, 0);
	CHECK_INT(decision.n_signed, 1);
	decision_clear(&decision);
	buf_clear(&header);
	config_unref(config);
}

static void runaway_expressions_are_found_at_commit(void)
{
	static const struct {
		const char *expression;
		bool fine;
	} cases[] = {{"^(a+)+$", false},	   {"^(\\w+\\s?)+$", false},
		     {"^(é+)+$", false},	   {"^(([a-z])+.)+[A-Z]([a-z])+$", false},
		     {"^.*@example\\.com$", true}, {"@([^@]+\\.)?docomo\\.ne\\.jp$", true},
		     {"^multipart/signed", true}};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct config *config = configured("server s smime exclude recipient", cases[i].expression);
		struct err err;

		test_case("%s", cases[i].expression);
		CHECK_INT(config_check(config, &err), cases[i].fine);
		if (!cases[i].fine)
			CHECK_CONTAINS(err.text, "runs away");
		config_unref(config);
	}
}

int main(void)
{
	TEST(every_message_is_decided);
	TEST(without_smime_nothing_is_signed);
	TEST(copies_follow_the_rules);
	TEST(expressions_match_decoded_fields);
	TEST(expressions_are_of_characters);
	TEST(expressions_have_one_budget_for_all_fields);
	TEST(linear_expressions_wear_out_no_budget);
	TEST(runaway_expressions_are_found_at_commit);
	return test_finish();
}
