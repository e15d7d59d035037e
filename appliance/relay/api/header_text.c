#include "appliance/relay/api/header_text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define ENCODED_WORD_COLUMNS 75 /* RFC 2047 §2 */
#define ENCODED_WORD_FRAME 7 /* columns around the character set's name and the text */
#define PLAIN_WORD_COLUMNS 200 /* longer words are encoded, so that the line can be folded */
#define PARAMETER_COLUMNS 60 /* of a value on one line */
#define ESCAPE_OCTETS 3u /* ISO-2022-JP: from one set to another */

static size_t column_of(const struct buf *out)
{
	size_t at = out->len;

	while (at > 0 && out->data[at - 1] != '\n')
		at--;
	return out->len - at;
}

/* A new line when a blank and `columns` more do not fit on this one. */
static void fold_for(struct buf *out, size_t columns)
{
	if (column_of(out) > 1 && column_of(out) + 1 + columns > HEADER_LINE_COLUMNS)
		buf_put_text(out, "\r\n");
}

static void put_blank(struct buf *out, size_t columns)
{
	fold_for(out, columns);
	buf_put_byte(out, ' ');
}

/* ---- Encoded words ---- */

/* The most octets of a character set that fit into one encoded word of so many columns. */
static size_t room_of(size_t columns, enum charset charset)
{
	size_t frame = ENCODED_WORD_FRAME + strlen(charset_name(charset));

	return columns > frame + 4 ? (columns - frame) / 4 * 3 : 0;
}

/* As many characters from the front of `text` as fit; at most what charset_convert makes of them, in octets. */
static size_t characters_that_fit(struct bytes text, enum charset charset, size_t room)
{
	size_t at = 0, used = 0;
	bool escaped = false;

	while (at < text.len) {
		size_t octets = utf8_octets(text.data[at]), cost = octets;
		bool escape = octets > 1;

		if (charset == CHARSET_ISO_2022_JP) {
			/* ASCII of two octets in UTF-8, as YEN SIGN is, may take sets of its own: counted as if it always did */
			cost = (escape ? 2u : 1u) + (escape != escaped || octets == 2 ? ESCAPE_OCTETS : 0u);
			if (used + cost + (escape ? ESCAPE_OCTETS : 0) > room)
				break;
			escaped = escape;
		} else if (used + cost > room) {
			break;
		}
		used += cost;
		at += octets;
	}
	return at;
}

static bool put_encoded_word(struct buf *out, enum charset charset, struct bytes part, struct err *err)
{
	struct buf converted = {0};
	bool right = charset_convert(&converted, charset, part, err);

	if (right) {
		buf_printf(out, "=?%s?B?", charset_name(charset));
		base64_encode(out, buf_bytes(&converted));
		buf_put_text(out, "?=");
	}
	buf_clear(&converted);
	return right;
}

/* The first word may begin where the line is; each later one has a blank before it, which readers drop (RFC 2047 §6.2). */
static bool put_encoded(struct buf *out, enum charset charset, const char *text, struct err *err)
{
	size_t least = room_of(ENCODED_WORD_COLUMNS, charset) / 2;
	struct buf adapted = {0};
	struct bytes left;
	bool right = true;

	charset_adapt(&adapted, charset, bytes_text(text));
	left = buf_bytes(&adapted);
	while (right && left.len > 0) {
		size_t column = column_of(out), room, fits;

		room = column + 1 < HEADER_LINE_COLUMNS ? room_of(HEADER_LINE_COLUMNS - column - 1, charset) : 0;
		if (room < least) {
			buf_put_text(out, "\r\n");
			room = room_of(ENCODED_WORD_COLUMNS, charset);
		}
		buf_put_byte(out, ' ');
		fits = characters_that_fit(left, charset, room);
		right = put_encoded_word(out, charset, bytes_slice(left, 0, fits), err);
		left = bytes_slice(left, fits, left.len);
	}
	buf_clear(&adapted);
	return right;
}

/* ---- Text ---- */

static size_t longest_word(const char *text)
{
	size_t longest = 0;

	for (size_t len; *text != '\0'; text += len + strspn(text + len, " \t")) {
		len = strcspn(text, " \t");
		longest = len > longest ? len : longest;
	}
	return longest;
}

static bool goes_as_it_is(const char *text)
{
	size_t len = strlen(text);

	if (len == 0)
		return true;
	return text_is_ascii(bytes_text(text)) && strstr(text, "=?") == NULL && text[0] != ' ' && text[0] != '\t' &&
	       text[len - 1] != ' ' && text[len - 1] != '\t' && longest_word(text) <= PLAIN_WORD_COLUMNS;
}

/* Folded before a blank: unfolding gives the text back, blank for blank. */
static void put_folded(struct buf *out, const char *text)
{
	buf_put_byte(out, ' ');
	while (*text != '\0') {
		size_t blanks = strspn(text, " \t"), word = strcspn(text + blanks, " \t");

		if (blanks > 0 && column_of(out) + blanks + word > HEADER_LINE_COLUMNS)
			buf_put_text(out, "\r\n");
		buf_put(out, text, blanks + word);
		text += blanks + word;
	}
}

static bool take_back(struct buf *out, size_t len)
{
	out->len = len;
	return false;
}

bool header_put_text(struct buf *out, const char *field, enum charset charset, const char *text, struct err *err)
{
	size_t before = out->len;

	buf_printf(out, "%s:", field);
	if (goes_as_it_is(text))
		put_folded(out, text);
	else if (!put_encoded(out, charset, text, err))
		return take_back(out, before);
	buf_put_text(out, "\r\n");
	return true;
}

/* ---- Mailboxes ---- */

static bool is_atom_octet(char octet)
{
	return isalnum((unsigned char)octet) || (octet != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", octet) != NULL) ||
	       (unsigned char)octet >= 0x80;
}

static bool is_phrase_of_atoms(const char *name)
{
	for (; *name != '\0'; name++) {
		if (!is_atom_octet(*name) && *name != ' ')
			return false;
	}
	return true;
}

static bool is_dot_atom(const char *text, size_t len)
{
	bool dot = true;

	for (size_t i = 0; i < len; i++) {
		if (text[i] == '.' ? dot : !is_atom_octet(text[i]))
			return false;
		dot = text[i] == '.';
	}
	return !dot;
}

static void put_quoted(struct buf *out, const char *text, size_t len)
{
	buf_put_byte(out, '"');
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '"' || text[i] == '\\')
			buf_put_byte(out, '\\');
		buf_put_byte(out, (uint8_t)text[i]);
	}
	buf_put_byte(out, '"');
}

static void put_address(struct buf *out, const char *address, bool angle)
{
	const char *at = strrchr(address, '@');
	size_t local = at == NULL ? strlen(address) : (size_t)(at - address);

	buf_put_text(out, angle ? "<" : "");
	if (address[0] == '"' || is_dot_atom(address, local))
		buf_put(out, address, local);
	else
		put_quoted(out, address, local); /* RFC 5322 knows no `a..b` outside quotes */
	buf_put_text(out, address + local);
	buf_put_text(out, angle ? ">" : "");
}

static bool put_mailbox(struct buf *out, enum charset charset, const struct header_mailbox *mailbox, struct err *err)
{
	struct buf quoted = {0};

	if (mailbox->name[0] == '\0') {
		put_blank(out, strlen(mailbox->address) + 3);
		put_address(out, mailbox->address, false);
		return true;
	}
	if (!goes_as_it_is(mailbox->name)) {
		if (!put_encoded(out, charset, mailbox->name, err))
			return false;
	} else if (is_phrase_of_atoms(mailbox->name)) {
		fold_for(out, strcspn(mailbox->name, " "));
		put_folded(out, mailbox->name);
	} else {
		put_quoted(&quoted, mailbox->name, strlen(mailbox->name));
		put_blank(out, quoted.len);
		buf_put_bytes(out, buf_bytes(&quoted));
		buf_clear(&quoted);
	}
	put_blank(out, strlen(mailbox->address) + 5);
	put_address(out, mailbox->address, true);
	return true;
}

bool header_put_mailboxes(struct buf *out, const char *field, enum charset charset, const struct header_mailbox *mailboxes,
			  size_t n_mailboxes, struct err *err)
{
	size_t before = out->len;

	buf_printf(out, "%s:", field);
	for (size_t i = 0; i < n_mailboxes; i++) {
		if (!put_mailbox(out, charset, &mailboxes[i], err))
			return take_back(out, before);
		buf_put_text(out, i + 1 < n_mailboxes ? "," : "\r\n");
	}
	return true;
}

/* ---- Parameters ---- */

static bool is_attribute_octet(uint8_t octet)
{
	return octet > ' ' && octet < 0x7f && strchr("*'%()<>@,;:\\\"/[]?=", octet) == NULL;
}

static bool fits_in_quotes(const char *value)
{
	return text_is_ascii(bytes_text(value)) && strlen(value) <= PARAMETER_COLUMNS;
}

static void put_percent(struct buf *out, uint8_t octet)
{
	if (is_attribute_octet(octet))
		buf_put_byte(out, octet);
	else
		buf_printf(out, "%%%02X", octet);
}

/* RFC 2231 §4.1: sections of whole characters. */
static void put_sections(struct buf *out, const char *name, const char *value)
{
	unsigned section = 0;
	size_t begun = 0;

	for (const char *at = value; *at != '\0' || section == 0;) {
		buf_printf(out, ";\r\n %s*%u*=%s", name, section, section == 0 ? "UTF-8''" : "");
		begun = out->len;
		while (*at != '\0' && out->len - begun < PARAMETER_COLUMNS - 12) {
			for (size_t left = utf8_octets((uint8_t)*at); left > 0; left--)
				put_percent(out, (uint8_t)*at++);
		}
		section++;
	}
}

void header_put_parameter(struct buf *out, const char *name, const char *value)
{
	struct buf whole = {0};

	if (fits_in_quotes(value)) {
		buf_printf(out, ";\r\n %s=", name);
		put_quoted(out, value, strlen(value));
		return;
	}
	for (const char *at = value; *at != '\0'; at++)
		put_percent(&whole, (uint8_t)*at);
	if (whole.len <= PARAMETER_COLUMNS)
		buf_printf(out, ";\r\n %s*=UTF-8''%s", name, buf_text(&whole));
	else
		put_sections(out, name, value);
	buf_clear(&whole);
}
