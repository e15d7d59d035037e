#include "appliance/relay/smtp/smtp_address.h"

#include <string.h>

#include "tests/unit/test.h"

static const struct {
	const char *in, *address, *rest;
	unsigned flags;
} good[] = {
    {"<alice@example.com>", "alice@example.com", "", 0},
    {"<alice@example.com> SIZE=1", "alice@example.com", " SIZE=1", 0},
    {"alice@example.com", "alice@example.com", "", 0},
    {"alice@example.com BODY=7BIT", "alice@example.com", " BODY=7BIT", 0},
    {"<>", "", "", SMTP_PATH_NULL},
    {"<> SIZE=1", "", " SIZE=1", SMTP_PATH_NULL},
    {"<a.b-c_d+e=f/g@mx-1.example.co.jp>", "a.b-c_d+e=f/g@mx-1.example.co.jp", "", 0},
    {"<!#$%&'*+-/=?^_`{|}~@example.com>", "!#$%&'*+-/=?^_`{|}~@example.com", "", 0},
    {"<Alice@Example.COM>", "Alice@Example.COM", "", 0},
    {"<a@b>", "a@b", "", 0},
    {"<a@1.example>", "a@1.example", "", 0},
    {"<a@my_host.example>", "a@my_host.example", "", 0},

    /* old carrier addresses */
    {"<a..b@docomo.ne.jp>", "a..b@docomo.ne.jp", "", 0},
    {"<a.@ezweb.ne.jp>", "a.@ezweb.ne.jp", "", 0},
    {"<.a@docomo.ne.jp>", ".a@docomo.ne.jp", "", 0},
    {"<a...b..@docomo.ne.jp>", "a...b..@docomo.ne.jp", "", 0},

    /* quotes only where they are needed */
    {"<\"taro\"@docomo.ne.jp>", "taro@docomo.ne.jp", "", 0},
    {"<\"a.b\"@example.com>", "a.b@example.com", "", 0},
    {"<\"a..b\"@docomo.ne.jp>", "\"a..b\"@docomo.ne.jp", "", 0},
    {"<\"a b\"@example.com>", "\"a b\"@example.com", "", 0},
    {"<\"a@b\"@example.com>", "\"a@b\"@example.com", "", 0},
    {"<\"a>b\"@example.com>", "\"a>b\"@example.com", "", 0},
    {"<\"\\a\\b\"@example.com>", "ab@example.com", "", 0},
    {"<\"a\\\"b\\\\c\"@example.com>", "\"a\\\"b\\\\c\"@example.com", "", 0},
    {"<\"\"@example.com>", "\"\"@example.com", "", 0},

    /* address literals */
    {"<a@[192.0.2.1]>", "a@[192.0.2.1]", "", 0},
    {"<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]", "", 0},
    {"<a@[ipv6:::ffff:192.0.2.1]>", "a@[ipv6:::ffff:192.0.2.1]", "", 0},

    /* source routes are dropped */
    {"<@a.example:alice@b.example>", "alice@b.example", "", 0},
    {"<@a.example,@[192.0.2.1]:alice@b.example>", "alice@b.example", "", 0},

    {"<postmaster>", "postmaster", "", SMTP_PATH_POSTMASTER},
    {"<PostMaster>", "PostMaster", "", SMTP_PATH_POSTMASTER},
    {"<postmaster@example.com>", "postmaster@example.com", "", 0},

    {"<\xe5\xb1\xb1\xe7\x94\xb0@example.jp>", "\xe5\xb1\xb1\xe7\x94\xb0@example.jp", "", SMTP_PATH_UTF8},
    {"<a@\xe4\xbe\x8b.jp>", "a@\xe4\xbe\x8b.jp", "", SMTP_PATH_UTF8},
    {"<\"\xe5\xb1\xb1 \xe7\x94\xb0\"@example.jp>", "\"\xe5\xb1\xb1 \xe7\x94\xb0\"@example.jp", "", SMTP_PATH_UTF8},
    {"<\"\xe5\xb1\xb1\"@example.jp>", "\xe5\xb1\xb1@example.jp", "", SMTP_PATH_UTF8},
    {"<\xf0\x9f\x98\x80@example.jp>", "\xf0\x9f\x98\x80@example.jp", "", SMTP_PATH_UTF8},
};

static const struct {
	const char *in;
	enum smtp_path_result result;
	unsigned flags;
} bad[] = {
    {"", SMTP_PATH_SYNTAX, 0},
    {"<>", SMTP_PATH_SYNTAX, 0},
    {"<", SMTP_PATH_SYNTAX, SMTP_PATH_NULL},
    {"< >", SMTP_PATH_SYNTAX, SMTP_PATH_NULL},
    {"<alice@example.com", SMTP_PATH_SYNTAX, 0},
    {"<alice@example.com>x", SMTP_PATH_SYNTAX, 0},
    {"<alice@example.com>>", SMTP_PATH_SYNTAX, 0},
    {"alice@example.com>", SMTP_PATH_SYNTAX, 0},
    {"<<alice@example.com>>", SMTP_PATH_SYNTAX, 0},
    {"<alice>", SMTP_PATH_NO_DOMAIN, 0},
    {"alice", SMTP_PATH_NO_DOMAIN, 0},
    {"<postmaster>", SMTP_PATH_NO_DOMAIN, 0},
    {"<postmasters>", SMTP_PATH_NO_DOMAIN, SMTP_PATH_POSTMASTER},
    {"<@example.com>", SMTP_PATH_SYNTAX, 0},
    {"<alice@>", SMTP_PATH_SYNTAX, 0},
    {"<alice@@example.com>", SMTP_PATH_SYNTAX, 0},
    {"<alice@a@b>", SMTP_PATH_SYNTAX, 0},
    {"<al ice@example.com>", SMTP_PATH_SYNTAX, 0},
    {"<alice@exam ple.com>", SMTP_PATH_SYNTAX, 0},
    {"<alice@example.com.>", SMTP_PATH_SYNTAX, 0},
    {"<alice@.example.com>", SMTP_PATH_SYNTAX, 0},
    {"<alice@example..com>", SMTP_PATH_SYNTAX, 0},
    {"<alice@-example.com>", SMTP_PATH_SYNTAX, 0},
    {"<alice@example-.com>", SMTP_PATH_SYNTAX, 0},
    {"<alice@exa!mple.com>", SMTP_PATH_SYNTAX, 0},
    {"<alice,bob@example.com>", SMTP_PATH_SYNTAX, 0},
    {"<alice;bob@example.com>", SMTP_PATH_SYNTAX, 0},
    {"<alice@example.com,bob@example.com>", SMTP_PATH_SYNTAX, 0},
    {"<(x)alice@example.com>", SMTP_PATH_SYNTAX, 0},
    {"Alice <alice@example.com>", SMTP_PATH_SYNTAX, 0},
    {"<al\"ice\"@example.com>", SMTP_PATH_SYNTAX, 0},
    {"<\"alice@example.com>", SMTP_PATH_SYNTAX, 0},
    {"<\"alice\\\"@example.com>", SMTP_PATH_SYNTAX, 0},
    {"<\"alice\\", SMTP_PATH_SYNTAX, 0},
    {"<\"al\tice\"@example.com>", SMTP_PATH_SYNTAX, 0},
    {"<\"al\x7fice\"@example.com>", SMTP_PATH_SYNTAX, 0},
    {"<\"a\"b@example.com>", SMTP_PATH_SYNTAX, 0},
    {"<a@[192.0.2.1>", SMTP_PATH_SYNTAX, 0},
    {"<a@[192.0.2.256]>", SMTP_PATH_SYNTAX, 0},
    {"<a@[2001:db8::1]>", SMTP_PATH_SYNTAX, 0},
    {"<a@[IPv6:2001:db8::g]>", SMTP_PATH_SYNTAX, 0},
    {"<a@[tag:content]>", SMTP_PATH_SYNTAX, 0},
    {"<a@[]>", SMTP_PATH_SYNTAX, 0},
    {"<a@[192.0.2.1]x>", SMTP_PATH_SYNTAX, 0},
    {"<@a.example:>", SMTP_PATH_SYNTAX, 0},
    {"<@a.example alice@b.example>", SMTP_PATH_SYNTAX, 0},
    {"<@a.example,b.example:alice@c.example>", SMTP_PATH_SYNTAX, 0},

    {"<\xe5\xb1\xb1@example.jp>", SMTP_PATH_NEEDS_UTF8, 0},
    {"<a@\xe4\xbe\x8b.jp>", SMTP_PATH_NEEDS_UTF8, 0},
    {"<\"\xe5\xb1\xb1\"@example.jp>", SMTP_PATH_NEEDS_UTF8, 0},
    {"<\xe9@example.jp>", SMTP_PATH_SYNTAX, SMTP_PATH_UTF8}, /* ISO-8859-1 */
    {"<\xc0\xaf@example.jp>", SMTP_PATH_SYNTAX, SMTP_PATH_UTF8}, /* overlong */
    {"<\xe0\x80\xaf@example.jp>", SMTP_PATH_SYNTAX, SMTP_PATH_UTF8}, /* overlong */
    {"<\xed\xa0\x80@example.jp>", SMTP_PATH_SYNTAX, SMTP_PATH_UTF8}, /* a surrogate */
    {"<\xf4\x90\x80\x80@example.jp>", SMTP_PATH_SYNTAX, SMTP_PATH_UTF8}, /* past U+10FFFF */
    {"<a@example.\xe5\xb1", SMTP_PATH_SYNTAX, SMTP_PATH_UTF8}, /* cut short */
};

static void reads_paths(void)
{
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		struct bytes in = bytes_text(good[i].in);
		char address[SMTP_ADDRESS_MAX_BYTES + 1] = "untouched";

		test_case("%s", good[i].in);
		CHECK_INT(smtp_path_parse(&in, good[i].flags, address), SMTP_PATH_OK);
		CHECK_TEXT(address, good[i].address);
		CHECK_BYTES(in, bytes_text(good[i].rest));
	}
}

static void refuses_what_is_no_path(void)
{
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct bytes in = bytes_text(bad[i].in);
		char address[SMTP_ADDRESS_MAX_BYTES + 1] = "untouched";

		test_case("%s", bad[i].in);
		CHECK_INT(smtp_path_parse(&in, bad[i].flags, address), bad[i].result);
		CHECK_TEXT(address, "untouched");
		CHECK_INT(in.len, strlen(bad[i].in));
	}
}

/* What was read is read as itself again: an address has one spelling. */
static void gives_a_canonical_spelling(void)
{
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		char first[SMTP_ADDRESS_MAX_BYTES + 1] = "", again[SMTP_ADDRESS_MAX_BYTES + 1] = "";
		struct bytes in = bytes_text(good[i].in);

		test_case("%s", good[i].in);
		if (!CHECK_INT(smtp_path_parse(&in, good[i].flags, first), SMTP_PATH_OK) || *first == '\0')
			continue;
		in = bytes_text(first);
		CHECK_INT(smtp_path_parse(&in, good[i].flags, again), SMTP_PATH_OK);
		CHECK_TEXT(again, first);
	}
}

/* <x…x@label.label.…> of exactly this many octets between the brackets */
static void put_path(struct buf *out, size_t local, size_t label, size_t total)
{
	size_t start;

	buf_put_byte(out, '<');
	start = out->len;
	for (size_t i = 0; i < local; i++)
		buf_put_byte(out, 'x');
	buf_put_byte(out, '@');
	while (out->len - start < total) {
		for (size_t i = 0; i < label && out->len - start < total; i++)
			buf_put_byte(out, 'd');
		if (out->len - start + 1 < total)
			buf_put_byte(out, '.');
		else if (out->len - start < total)
			buf_put_byte(out, 'd');
	}
	buf_put_byte(out, '>');
}

static void keeps_the_limits_of_length(void)
{
	static const struct {
		const char *name;
		size_t local, label, total;
		enum smtp_path_result result;
	} cases[] = {
	    {"a long local part", 200, 10, SMTP_ADDRESS_MAX_BYTES, SMTP_PATH_OK},
	    {"the longest address", 64, 20, SMTP_ADDRESS_MAX_BYTES, SMTP_PATH_OK},
	    {"one octet more", 64, 20, SMTP_ADDRESS_MAX_BYTES + 1, SMTP_PATH_TOO_LONG},
	    {"much more", 64, 20, 2000, SMTP_PATH_TOO_LONG},
	    {"the longest label", 10, 63, 11 + 63, SMTP_PATH_OK},
	    {"one octet more", 10, 64, 11 + 64, SMTP_PATH_SYNTAX},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char address[SMTP_ADDRESS_MAX_BYTES + 1];
		struct buf path = {0};
		struct bytes in;

		test_case("%s", cases[i].name);
		put_path(&path, cases[i].local, cases[i].label, cases[i].total);
		CHECK_INT(path.len, cases[i].total + 2);
		in = buf_bytes(&path);
		CHECK_INT(smtp_path_parse(&in, 0, address), cases[i].result);
		if (cases[i].result == SMTP_PATH_OK)
			CHECK_INT(strlen(address), cases[i].total);
		buf_clear(&path);
	}
}

int main(void)
{
	TEST(reads_paths);
	TEST(refuses_what_is_no_path);
	TEST(gives_a_canonical_spelling);
	TEST(keeps_the_limits_of_length);
	return test_finish();
}
