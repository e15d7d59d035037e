/*
 * The two character sets that the API composes mail in. Input is UTF-8. Pure.
 */
#ifndef INKAN_RELAY_API_CHARSET_H
#define INKAN_RELAY_API_CHARSET_H

#include "appliance/base/bytes.h"

enum charset { CHARSET_UTF8, CHARSET_ISO_2022_JP };

const char *charset_name(enum charset charset); /* as MIME writes it: "UTF-8" */
bool charset_find(const char *name, enum charset *charset); /* any case */

bool utf8_is_valid(struct bytes text); /* RFC 3629: no surrogates, nothing overlong, nothing above U+10FFFF */
bool text_is_ascii(struct bytes text);
size_t utf8_octets(uint8_t first); /* of the character that begins so, in valid text: 1 to 4 */

/* Octets that are taken for ISO-8859-1, as UTF-8 behind what `out` holds. */
void latin1_to_utf8(struct buf *out, struct bytes in);

/*
 * Valid UTF-8 with other characters in the place of those that the set lacks and has an equal of, appended to `out`. For
 * ISO-2022-JP half-width katakana become full-width ones (with their sound marks joined), since RFC 1468 has none, and the
 * characters that Windows writes where JIS has another (FULLWIDTH TILDE, FULLWIDTH HYPHEN-MINUS and their like) become those of
 * JIS.
 */
void charset_adapt(struct buf *out, enum charset charset, struct bytes utf8);

/*
 * Adapted UTF-8 in another character set, appended to `out`; ISO-2022-JP ends in ASCII. A character that the set lacks is
 * ERR_INVALID and is named ("ISO-2022-JP has no character U+2460").
 */
bool charset_convert(struct buf *out, enum charset charset, struct bytes utf8, struct err *err) MUST_USE;

#endif
