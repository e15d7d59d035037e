/* The settings table: values and their errors, the configuration as a whole, the defaults of a new server, words, snapshots. */
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "provisioning/store/form.h"
#include "provisioning/store/settings.h"
#include "provisioning/store/words.h"
#include "tests/unit/test.h"

static struct err err;

static void every_row_is_sound(void)
{
	CHECK(n_setting_rows > 30);
	for (size_t i = 0; i < n_setting_rows; i++) {
		const struct setting_row *row = &setting_rows[i];
		const char *form = row->path;
		struct form_word word;

		test_case("%s", row->path);
		CHECK(row->help != NULL && strlen(row->help) > 5 && strlen(row->help) <= 51);
		CHECK(row->type != SETTING_WORD || row->choices != NULL);
		if (row->fallback != NULL)
			CHECK_OK(setting_check_value(row, row->fallback, &err), &err);
		CHECK(!row->repeatable || row->fallback == NULL);
		while (form_next(&form, &word))
			CHECK(!word.optional && !word.rest);
		for (size_t j = 0; j < i; j++)
			CHECK(strcmp(row->path, setting_rows[j].path) != 0);
	}
}

static void values_are_checked_by_their_type(void)
{
	static const struct {
		const char *path, *value, *text; /* text NULL: accepted */
	} cases[] = {
	    {"system host-name", "mx1.example.co.jp", NULL},
	    {"system host-name", "mx_1", "\"mx_1\" is no host name"},
	    {"system host-name", "a..b", "no host name"},
	    {"system host-name", "", "no host name"},
	    {"hsm module", "/usr/lib/softhsm/libsofthsm2.so", NULL},
	    {"hsm module", "libsofthsm2.so", "does not begin with /"},
	    {"hsm token", "inkan token", NULL},
	    {"hsm token", "a\nb", "holds a control character"},
	    {"hsm backend", "cryptoki", NULL},
	    {"hsm backend", "pkcs11", "\"pkcs11\" is none of engine|cryptoki"},
	    {"hsm processes", "32", NULL},
	    {"hsm processes", "0", "0 is not between 1 and 32"},
	    {"hsm processes", "33", "33 is not between 1 and 32"},
	    {"hsm processes", "2x", "\"2x\" is not a number"},
	    {"hsm processes", "-1", "is not a number"},
	    {"hsm pin-source", "operator", NULL},
	    {"hsm pin-source", "file:/run/credentials/pin", NULL},
	    {"hsm pin-source", "file:pin", "no absolute path"},
	    {"hsm pin-source", "1234", "neither operator nor file:PATH"},
	    {"hsm deadline", "20s", NULL},
	    {"hsm deadline", "20", "\"20\" is not a duration (2s, 5m, 1h, 5d)"},
	    {"hsm deadline", "0s", "0s is not between 1s and 10m"},
	    {"hsm deadline", "1d", "1d is not between 1s and 10m"},
	    {"server s smtp max-message-size", "50M", NULL},
	    {"server s smtp max-message-size", "1K", NULL},
	    {"server s smtp max-message-size", "50MB", "\"50MB\" is not a size"},
	    {"server s smtp max-message-size", "9G", "9G is not between 1K and 2G"},
	    {"server s smtp max-message-size", "99999999999999999999M", "is not a size"},
	    {"server s smtp allow-network", "192.0.2.0/24", NULL},
	    {"server s smtp allow-network", "192.0.2.7", NULL},
	    {"server s smtp allow-network", "0.0.0.0/0", NULL},
	    {"server s smtp allow-network", "2001:db8::/32", NULL},
	    {"server s smtp allow-network", "192.0.2.0/33", "prefix length 33 is not between 0 and 32"},
	    {"server s smtp allow-network", "192.0.2.1/24", "has bits set behind its prefix length"},
	    {"server s smtp allow-network", "192.0.2.0/", "\"\" is not a prefix length"},
	    {"server s smtp allow-network", "192.0.2/24", "is not a network"},
	    {"server s smtp allow-network", "example.jp", "is not a network"},
	    {"server s queue retry", "1m,5m,15m,1h", NULL},
	    {"server s queue retry", "1m,,5m", "\"\" is not a duration"},
	    {"server s queue retry", "1m,2d", "2d is not between 1s and 1d"},
	    {"server s smime exclude recipient", "@docomo\\.ne\\.jp$", NULL},
	    {"server s smime exclude recipient", "@(docomo", "missing closing parenthesis (at character 9)"},
	    {"server s smime certificate", "a..b@docomo.ne.jp", NULL},
	    {"server s smime certificate", "a@b@example.jp", NULL},
	    {"server s smime certificate", "example.jp", "is not a mail address"},
	    {"server s smime certificate", "@example.jp", "is not a mail address"},
	    {"server s smime certificate", "a b@example.jp", "is not a mail address"},
	    {"server s smime enabled", "", NULL},
	    {"server s smime enabled", "yes", "takes no value"},
	    {"server s user u password", "$y$j9T$x$y", NULL},
	    {"server s user u password", "hunter2", "prompted for, never given here"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct setting_row *row = setting_row_of(cases[i].path);

		test_case("%s %s", cases[i].path, cases[i].value);
		if (!CHECK(row != NULL))
			continue;
		if (cases[i].text == NULL)
			CHECK_OK(setting_check_value(row, cases[i].value, &err), &err);
		else if (CHECK(!setting_check_value(row, cases[i].value, &err)))
			CHECK_CONTAINS(err.text, cases[i].text);
	}
}

static void keys_are_checked_by_their_type(void)
{
	static const struct {
		enum setting_type type;
		const char *value;
		bool valid;
	} cases[] = {
	    {SETTING_ADDRESS_PORT, "0.0.0.0:25", true},
	    {SETTING_ADDRESS_PORT, "[::1]:2525", true},
	    {SETTING_ADDRESS_PORT, "0.0.0.0:99999", false},
	    {SETTING_ADDRESS_PORT, "0.0.0.0:0", false},
	    {SETTING_ADDRESS_PORT, "0.0.0.0", false},
	    {SETTING_ADDRESS_PORT, "::1:25", false},
	    {SETTING_ADDRESS_PORT, "localhost:25", false},
	    {SETTING_ADDRESS_PORT, "0.0.0.0:25x", false},
	    {SETTING_ADDRESS_PORT, "[::1]", false},
	    {SETTING_NEXT_HOP, "mx.example.jp", true},
	    {SETTING_NEXT_HOP, "mx.example.jp:2525", true},
	    {SETTING_NEXT_HOP, "127.0.0.1:2525", true},
	    {SETTING_NEXT_HOP, "[2001:db8::1]:25", true},
	    {SETTING_NEXT_HOP, "[2001:db8::1]", true},
	    {SETTING_NEXT_HOP, "maildir:/var/mail/x", true},
	    {SETTING_NEXT_HOP, "maildir:x", false},
	    {SETTING_NEXT_HOP, "mx:70000", false},
	    {SETTING_NEXT_HOP, ":25", false},
	    {SETTING_NEXT_HOP, "[::1", false},
	    {SETTING_NEXT_HOP, "2001:db8::1", false},
	    {SETTING_HEADER_NAME, "X-Class", true},
	    {SETTING_HEADER_NAME, "X Class", false},
	    {SETTING_HEADER_NAME, "X:", false},
	    {SETTING_NAME, "default", true},
	    {SETTING_NAME, "a b", false},
	    {SETTING_NAME, "*", false},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		test_case("%s", cases[i].value);
		CHECK(setting_type_check(cases[i].type, cases[i].value, &err) == cases[i].valid);
	}
	test_case("port out of range");
	CHECK(!setting_type_check(SETTING_ADDRESS_PORT, "0.0.0.0:99999", &err));
	CHECK_TEXT(err.text, "port \"99999\" is not a number from 1 to 65535");
}

#define SIGNING "hsm module", "/m.so", "hsm token", "t", "server s smime enabled", ""
#define DELIVERING "server s smtp listen 0.0.0.0:25", "", "server s next-hop mx", ""

static void a_configuration_is_checked_as_a_whole(void)
{
	static const struct {
		const char *name;
		const char *rows[14]; /* path, value, … */
		const char *text; /* NULL: accepted */
	} cases[] = {
	    {"empty", {NULL}, NULL},
	    {"a whole one", {SIGNING, DELIVERING}, NULL},
	    {"unknown setting", {"server s smime enable", ""}, "server s smime enable: there is no such setting"},
	    {"a path cut short", {"server s smime", ""}, "there is no such setting"},
	    {"bad value", {"hsm threads", "x"}, "hsm threads: \"x\" is not a number"},
	    {"bad key", {"server s smtp listen 0.0.0.0:99999", ""}, "server s smtp listen 0.0.0.0:99999: port \"99999\" is not"},
	    {"single value twice", {"hsm token", "a", "hsm token", "b"}, "hsm token: is set twice"},
	    {"repeatable value twice",
	     {"server s smtp allow-network", "::1", "server s smtp allow-network", "::1"},
	     "server s smtp allow-network: ::1 is set twice"},
	    {"repeatable values", {"server s smtp allow-network", "::1", "server s smtp allow-network", "::2"}, NULL},
	    {"engine threads", {"hsm threads", "17"}, "hsm threads: the engine back end can do at most 16"},
	    {"cryptoki threads", {"hsm threads", "17", "hsm backend", "cryptoki"}, NULL},
	    {"signing without token", {"server s smime enabled", ""}, "server s smime enabled: needs hsm module and hsm token"},
	    {"a password without TLS",
	     {"server s next-hop mx user", "u", "server s next-hop mx password", "sealed:00"},
	     "server s next-hop mx user: needs tls require or implicit, or auth-without-tls"},
	    {"a user without password",
	     {"server s next-hop mx user", "u", "server s next-hop mx tls", "require"},
	     "server s next-hop mx: user and password go together, the password is missing"},
	    {"listening twice",
	     {DELIVERING, "server b smtp listen 0.0.0.0:25", "", "server b next-hop mx", ""},
	     "server b smtp listen 0.0.0.0:25: server s listens there"},
	    {"nobody can authenticate",
	     {"server s smtp auth", "required"},
	     "server s smtp auth: is required, but there is no user"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct settings settings = {0};

		test_case("%s", cases[i].name);
		for (size_t r = 0; cases[i].rows[r] != NULL; r += 2)
			settings_add(&settings, cases[i].rows[r], cases[i].rows[r + 1]);
		if (cases[i].text == NULL)
			CHECK_OK(settings_check(&settings, &err), &err);
		else if (CHECK(!settings_check(&settings, &err)))
			CHECK_CONTAINS(err.text, cases[i].text);
		settings_clear(&settings);
	}
}

static void durations_and_sizes_are_read(void)
{
	CHECK_INT(setting_parse_duration_ms("2s"), 2000);
	CHECK_INT(setting_parse_duration_ms("5d"), INT64_C(432000000));
	CHECK_INT(setting_parse_duration_ms("999999999d"), INT64_C(86399999913600000));
	CHECK_INT(setting_parse_duration_ms("1w"), -1);
	CHECK_INT(setting_parse_duration_ms("m"), -1);
	CHECK_INT(setting_parse_size("50M"), 50 << 20);
	CHECK_INT(setting_parse_size("1G"), 1 << 30);
	CHECK_INT(setting_parse_size("50"), -1);
}

static void unset_values_come_from_the_table(void)
{
	struct settings settings = {0};

	settings_add(&settings, "hsm threads", "4");
	CHECK_TEXT(setting_effective(&settings, "hsm threads"), "4");
	CHECK_TEXT(setting_effective(&settings, "hsm processes"), "2");
	CHECK_TEXT(setting_effective(&settings, "server %s smtp max-message-size", "any"), "50M");
	CHECK_TEXT(setting_effective(&settings, "server any next-hop mx:25 priority"), "10");
	CHECK(setting_effective(&settings, "hsm module") == NULL);
	CHECK(setting_effective(&settings, "no such thing") == NULL);
	settings_clear(&settings);
}

/* ---- the defaults of a new server ---- */

static bool excluded(const struct settings *settings, const char *path, const char *subject)
{
	bool matched = false;

	for (size_t i = 0; !matched && i < settings->count; i++) {
		int number;
		PCRE2_SIZE offset;
		pcre2_code *code;
		pcre2_match_data *data;

		if (strcmp(settings->items[i].path, path) != 0)
			continue;
		code = pcre2_compile((PCRE2_SPTR)settings->items[i].value, PCRE2_ZERO_TERMINATED, PCRE2_CASELESS, &number,
				     &offset, NULL);
		if (code == NULL)
			return false;
		data = pcre2_match_data_create_from_pattern(code, NULL);
		matched = pcre2_match(code, (PCRE2_SPTR)subject, strlen(subject), 0, 0, data, NULL) >= 0;
		pcre2_match_data_free(data);
		pcre2_code_free(code);
	}
	return matched;
}

static void carrier_addresses_are_excluded_and_no_others(void)
{
	static const char *const carriers[] = {
	    "docomo.ne.jp",	"mopera.net",	    "dwmail.jp",	"ezweb.ne.jp",	    "ido.ne.jp",
	    "au.com",		"uqmobile.jp",	    "sky.tkc.ne.jp",	"sky.tkk.ne.jp",    "sky.tu-ka.ne.jp",
	    "softbank.ne.jp",	"i.softbank.jp",    "disney.ne.jp",	"d.vodafone.ne.jp", "h.vodafone.ne.jp",
	    "t.vodafone.ne.jp", "c.vodafone.ne.jp", "r.vodafone.ne.jp", "k.vodafone.ne.jp", "n.vodafone.ne.jp",
	    "s.vodafone.ne.jp", "q.vodafone.ne.jp", "jp-d.ne.jp",	"jp-h.ne.jp",	    "jp-t.ne.jp",
	    "jp-c.ne.jp",	"jp-r.ne.jp",	    "jp-k.ne.jp",	"jp-n.ne.jp",	    "jp-s.ne.jp",
	    "jp-q.ne.jp",	"emnet.ne.jp",	    "emobile.ne.jp",	"emobile-s.ne.jp",  "ymobile.ne.jp",
	    "ymobile1.ne.jp",	"y-mobile.ne.jp",   "pdx.ne.jp",	"willcom.com",	    "wcm.ne.jp",
	    "rakuten.jp",	"rakumail.jp",
	};
	static const char *const excluded_too[] = {
	    "a..b@docomo.ne.jp", "a.@ezweb.ne.jp",    "A@DOCOMO.NE.JP",
	    "x@sub.pdx.ne.jp",	 "x@a.b.willcom.com", "\"a@b\"@docomo.ne.jp",
	};
	static const char *const others[] = {
	    "a@docomo.ne.jp.example.com",
	    "a@notdocomo.ne.jp",
	    "docomo.ne.jp@example.com",
	    "a@docomo-ne.jp",
	    "a@docomoxne.jp",
	    "a@example.com",
	    "a@softbank.jp",
	    "a@x.vodafone.ne.jp",
	    "a@vodafone.ne.jp",
	    "a@jp-x.ne.jp",
	    "a@ymobile2.ne.jp",
	    "a@emobile-x.ne.jp",
	    "a@sky.example.ne.jp",
	    "a@rakuten.co.jp",
	    "a@au.com.example",
	    "@docomo.ne.jp@example.com",
	    "x@docomo.ne.jp@example.com",
	};
	const char *path = "server s smime exclude recipient";
	struct settings settings = {0};

	settings_add_server_defaults(&settings, "s");
	for (size_t i = 0; i < sizeof carriers / sizeof *carriers; i++) {
		const char *const forms[] = {"a@%s", "a@sub.%s", "a@x%s", "a@%s.example.com"};

		for (size_t f = 0; f < 4; f++) {
			char *address = mem_string(forms[f]), *at = strstr(address, "%s"), *whole;

			*at = '\0';
			whole = mem_format("%s%s%s", address, carriers[i], at + 2);
			test_case("%s", whole);
			CHECK(excluded(&settings, path, whole) == (f < 2));
			free(address);
			free(whole);
		}
	}
	for (size_t i = 0; i < sizeof excluded_too / sizeof *excluded_too; i++) {
		test_case("%s", excluded_too[i]);
		CHECK(excluded(&settings, path, excluded_too[i]));
	}
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		test_case("%s", others[i]);
		CHECK(!excluded(&settings, path, others[i]));
	}
	settings_clear(&settings);
}

static void signed_content_types_are_excluded_and_no_others(void)
{
	static const struct {
		const char *type;
		bool excluded;
	} cases[] = {
	    {"multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256; boundary=x", true},
	    {"Multipart/Signed", true},
	    {"multipart/signed ;boundary=x", true},
	    {"application/pkcs7-mime; smime-type=signed-data", true},
	    {"application/x-pkcs7-mime; name=smime.p7m", true},
	    {"multipart/signedx; boundary=x", false},
	    {"multipart/mixed; boundary=\"multipart/signed\"", false},
	    {"application/pkcs7-signature", false},
	    {"text/plain; x=multipart/signed", false},
	    {"", false},
	};
	struct settings settings = {0};

	settings_add_server_defaults(&settings, "s");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		test_case("%s", cases[i].type);
		CHECK(excluded(&settings, "server s smime exclude header Content-Type", cases[i].type) == cases[i].excluded);
	}
	test_case("as a configuration");
	CHECK_OK(settings_check(&settings, &err), &err);
	settings_clear(&settings);
}

/* ---- words and snapshots ---- */

static void words_are_split_and_written_back(void)
{
	static const struct {
		const char *text;
		size_t count;
		const char *words[4];
	} cases[] = {
	    {"", 0, {NULL}},
	    {"  set\tsystem ", 2, {"set", "system"}},
	    {"a \"b c\" d", 3, {"a", "b c", "d"}},
	    {"\"\"", 1, {""}},
	    {"\"a\\\"b\\\\c\"", 1, {"a\"b\\c"}},
	    {"\"a\\.b\"", 1, {"a\\.b"}},
	    {"^.*@docomo\\.ne\\.jp$", 1, {"^.*@docomo\\.ne\\.jp$"}},
	    {"a\\ b", 2, {"a\\", "b"}},
	    {"it's", 1, {"it's"}},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct buf again = {0};
		size_t count = 99;
		char **words = path_words(cases[i].text, &count);

		test_case("%s", cases[i].text);
		if (!CHECK(words != NULL) || !CHECK_INT(count, cases[i].count))
			continue;
		for (size_t w = 0; w < count; w++) {
			CHECK_TEXT(words[w], cases[i].words[w]);
			path_append(&again, words[w]);
		}
		path_words_free(words);
		words = path_words(buf_text(&again), &count);
		for (size_t w = 0; w < cases[i].count; w++)
			CHECK_TEXT(words[w], cases[i].words[w]);
		path_words_free(words);
		buf_clear(&again);
	}
	test_case("open quote");
	size_t count = 0;

	CHECK(path_words("a \"b", &count) == NULL);
}

static void names_are_distinct_and_in_order(void)
{
	struct settings settings = {0};
	size_t count;
	char **names;

	settings_add(&settings, "server b smtp listen 0.0.0.0:25", "");
	settings_add(&settings, "server a smime enabled", "");
	settings_add(&settings, "server b smime enabled", "");
	settings_add(&settings, "serverless x", "");
	names = settings_names(&settings, &count, "server");
	CHECK_INT(count, 2);
	CHECK_TEXT(names[0], "b");
	CHECK_TEXT(names[1], "a");
	path_words_free(names);
	names = settings_names(&settings, &count, "server %s smtp listen", "b");
	CHECK_INT(count, 1);
	CHECK_TEXT(names[0], "0.0.0.0:25");
	path_words_free(names);
	path_words_free(settings_names(&settings, &count, "server a smime enabled"));
	CHECK_INT(count, 0);
	settings_clear(&settings);
}

static struct snapshot *example_snapshot(void)
{
	struct snapshot *snapshot = snapshot_new();
	struct certificate *certificate = mem_new(sizeof *certificate);

	snapshot->revision = 7;
	settings_add(&snapshot->settings, "hsm token", "t");
	settings_add(&snapshot->settings, "server s smime enabled", "");
	*certificate = (struct certificate){.id = 3,
					    .address = mem_string("a@example.jp"),
					    .names = mem_new_array(2, sizeof(char *)),
					    .n_names = 2,
					    .key_type = mem_string("EC-P256"),
					    .key_id = bytes_of(mem_copy("\1\2", 2), 2),
					    .chain = mem_new_array(1, sizeof(struct bytes)),
					    .n_chain = 1,
					    .not_before = -5,
					    .not_after = 5};
	certificate->names[0] = mem_string("a@example.jp");
	certificate->names[1] = mem_string("b@example.jp");
	certificate->chain[0] = bytes_of(mem_copy("der", 3), 3);
	snapshot->certificates = certificate;
	snapshot->n_certificates = 1;
	return snapshot;
}

static void snapshots_travel_whole_or_not_at_all(void)
{
	struct snapshot *snapshot = example_snapshot(), *copy;
	struct buf out = {0}, again = {0};
	struct msg msg;

	snapshot_encode(&out, snapshot);
	msg = msg_of(buf_bytes(&out));
	copy = snapshot_decode(&msg, &err);
	if (CHECK_OK(copy != NULL, &err)) {
		CHECK_TEXT(copy->certificates[0].names[1], "b@example.jp");
		snapshot_encode(&again, copy);
		CHECK_BYTES(buf_bytes(&again), buf_bytes(&out));
	}
	for (size_t len = 0; len < out.len; len++) {
		struct snapshot *cut;

		test_case("first %zu octets", len);
		msg = msg_of(bytes_of(out.data, len));
		cut = snapshot_decode(&msg, &err);
		CHECK(cut == NULL);
		snapshot_free(cut);
	}
	buf_clear(&again);
	buf_clear(&out);
	snapshot_free(copy);
	snapshot_free(snapshot);
}

int main(void)
{
	TEST(every_row_is_sound);
	TEST(values_are_checked_by_their_type);
	TEST(keys_are_checked_by_their_type);
	TEST(a_configuration_is_checked_as_a_whole);
	TEST(durations_and_sizes_are_read);
	TEST(unset_values_come_from_the_table);
	TEST(carrier_addresses_are_excluded_and_no_others);
	TEST(signed_content_types_are_excluded_and_no_others);
	TEST(words_are_split_and_written_back);
	TEST(names_are_distinct_and_in_order);
	TEST(snapshots_travel_whole_or_not_at_all);
	return test_finish();
}
