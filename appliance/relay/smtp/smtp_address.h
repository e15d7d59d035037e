/*
 * Paths and mailboxes of the envelope (RFC 5321 §4.1.2, RFC 6531 §3.3). Pure; fuzzed.
 *
 * Wider than the RFC where real clients are: dots may stand anywhere in an unquoted local part (the old addresses of Japanese
 * carriers, `a..b@docomo.ne.jp` and `a.@ezweb.ne.jp`), a local part may be longer than 64 octets (VERP, SRS), a domain may
 * hold underscores, the angle brackets may be missing. A source route is read and dropped (RFC 5321 appendix C).
 */
#ifndef INKAN_RELAY_SMTP_ADDRESS_H
#define INKAN_RELAY_SMTP_ADDRESS_H

#include "appliance/base/bytes.h"
#include "appliance/relay/smtp/smtp_limits.h"

enum smtp_path_flags {
	SMTP_PATH_NULL = 1, /* "<>" is allowed: gives "" */
	SMTP_PATH_POSTMASTER = 2, /* "<Postmaster>" without a domain is allowed (RFC 5321 §4.5.1) */
	SMTP_PATH_UTF8 = 4 /* octets >= 0x80 are allowed where they are UTF-8 (SMTPUTF8) */
};

enum smtp_path_result {
	SMTP_PATH_OK,
	SMTP_PATH_SYNTAX,
	SMTP_PATH_NO_DOMAIN,
	SMTP_PATH_TOO_LONG,
	SMTP_PATH_NEEDS_UTF8 /* an octet >= 0x80 without SMTP_PATH_UTF8 */
};

/*
 * Reads a path from the front of *in and leaves what follows it (nothing, or text that begins with a space). `address`
 * gets local-part@domain, NUL-terminated: as written, but a quoted local part with the fewest quotes that it needs
 * (`"taro"@x` is `taro@x`), so that no two spellings of one address pass as two. Both untouched unless SMTP_PATH_OK.
 */
enum smtp_path_result smtp_path_parse(struct bytes *in, unsigned flags, char address[static SMTP_ADDRESS_MAX_BYTES + 1]);

/*
 * The octets of the UTF8-2, UTF8-3 or UTF8-4 (RFC 3629 §4) at the front of `left` octets, one at least: no overlong forms, no
 * surrogates, nothing past U+10FFFF. 0: none of them.
 */
size_t smtp_utf8_length(const uint8_t *at, size_t left);

#endif
