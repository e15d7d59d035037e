#include "appliance/relay/api/compose.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "appliance/relay/mime/codec.h"

#define PIECES_MAX (4 * API_ATTACHMENTS_MAX + 16)
#define FILE_STEP_BYTES (32u << 10) /* of an attachment, encoded at once */
#define QP_SHARE 6 /* quoted-printable where at most one octet in so many is beyond ASCII, else base64 */

/* Text that is there, or a file whose base64 is to be written. */
struct piece {
	struct buf text;
	const struct compose_file *file;
};

struct composer {
	const struct api_mail *mail;
	const struct compose_file *files;
	size_t n_files;
	const struct compose_facts *facts;
	compose_read *read;
	void *arg;
	struct piece pieces[PIECES_MAX];
	size_t n_pieces;
	size_t at; /* piece that is being given out */
	struct mime_codec codec; /* of its file */
	uint64_t done; /* of its file */
	bool encoding;
	bool inlined[API_ATTACHMENTS_MAX]; /* the html names it */
	unsigned boundaries;
};

static struct buf *text_of(struct composer *composer)
{
	struct piece *last = composer->n_pieces == 0 ? NULL : &composer->pieces[composer->n_pieces - 1];

	if (last == NULL || last->file != NULL)
		last = &composer->pieces[composer->n_pieces++];
	return &last->text;
}

/* ---- Text leaves ---- */

static void put_crlf_lines(struct buf *out, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '\r' && text[1] == '\n')
			continue;
		if (*text == '\n' || *text == '\r')
			buf_put_text(out, "\r\n");
		else
			buf_put_byte(out, (uint8_t)*text);
	}
	if (out->len > 0 && out->data[out->len - 1] != '\n')
		buf_put_text(out, "\r\n");
}

/* Every line short enough, and none that mbox software would change. */
static bool goes_as_it_is(struct bytes text)
{
	while (text.len > 0) {
		const uint8_t *end = memmem(text.data, text.len, "\r\n", 2);
		size_t len = end == NULL ? text.len : (size_t)(end - text.data);

		if (len > MIME_LINE_MAX_OCTETS || (len >= 5 && memcmp(text.data, "From ", 5) == 0))
			return false;
		text = bytes_slice(text, len + 2, text.len);
	}
	return true;
}

static enum mime_edit_kind encoding_of(struct bytes text)
{
	size_t beyond = 0;

	for (size_t i = 0; i < text.len; i++)
		beyond += text.data[i] >= 0x80 || text.data[i] == 0x1b;
	return beyond <= text.len / QP_SHARE ? MIME_EDIT_QP : MIME_EDIT_BASE64;
}

static void put_encoded(struct buf *out, enum mime_edit_kind kind, struct bytes text)
{
	struct mime_codec codec;

	mime_codec_init(&codec, kind);
	mime_codec_put(&codec, text, out);
	mime_codec_finish(&codec, out);
	mime_codec_clear(&codec);
	if (out->data[out->len - 1] != '\n')
		buf_put_text(out, "\r\n");
}

static bool put_text_leaf(struct composer *composer, const char *subtype, const char *text, struct err *err)
{
	struct buf lines = {0}, adapted = {0}, octets = {0}, *out = text_of(composer);
	enum charset charset = composer->mail->charset;
	bool converted;

	put_crlf_lines(&lines, text);
	charset_adapt(&adapted, charset, buf_bytes(&lines));
	converted = charset_convert(&octets, charset, buf_bytes(&adapted), err);
	if (converted) {
		bool plain = text_is_ascii(buf_bytes(&octets)) && goes_as_it_is(buf_bytes(&octets));
		enum mime_edit_kind kind = encoding_of(buf_bytes(&octets));

		buf_printf(out, "Content-Type: text/%s; charset=%s\r\nContent-Transfer-Encoding: %s\r\n\r\n", subtype,
			   charset_name(charset),
			   plain		  ? "7bit"
			   : kind == MIME_EDIT_QP ? "quoted-printable"
						  : "base64");
		if (plain)
			buf_put_bytes(out, buf_bytes(&octets));
		else
			put_encoded(out, kind, buf_bytes(&octets));
	}
	buf_clear(&lines);
	buf_clear(&adapted);
	buf_clear(&octets);
	return converted;
}

/* ---- Attachments ---- */

static bool is_media_type(const char *type)
{
	const char *slash = strchr(type, '/');

	if (slash == NULL || slash == type || slash[1] == '\0' || strlen(type) > 127 || strchr(slash + 1, '/') != NULL)
		return false;
	for (const char *at = type; *at != '\0'; at++) {
		if (!isalnum((unsigned char)*at) && strchr("!#$&-^_.+/", *at) == NULL)
			return false;
	}
	/* RFC 2045 §6.4: what is composite cannot be base64 */
	return strncasecmp(type, "multipart/", 10) != 0 && strncasecmp(type, "message/", 8) != 0;
}

/* A Content-ID must be what the html's URL decodes to (RFC 2392). */
static bool is_content_id(const char *id)
{
	for (const char *at = id; *at != '\0'; at++) {
		if (*at <= ' ' || *at >= 0x7f || strchr("<>\"", *at) != NULL)
			return false;
	}
	return *id != '\0' && strlen(id) < 200;
}

static size_t token_length(const char *text)
{
	return strcspn(text, "\"'<> \t\r\n)&");
}

static bool html_names(const char *html, const char *id)
{
	for (const char *at = html; at != NULL && (at = strcasestr(at, "cid:")) != NULL; at += 4) {
		size_t len = token_length(at + 4);

		if (len == strlen(id) && strncmp(at + 4, id, len) == 0)
			return true;
	}
	return false;
}

static const char *content_id_of(const struct composer *composer, const struct compose_file *file)
{
	const char *html = composer->mail->html;

	if (html == NULL)
		return NULL;
	if (is_content_id(file->name) && html_names(html, file->name))
		return file->name;
	return html_names(html, file->field) ? file->field : NULL;
}

static void put_attachment(struct composer *composer, const struct compose_file *file)
{
	const char *id = content_id_of(composer, file);
	struct buf *out = text_of(composer);

	buf_printf(out, "Content-Type: %s", is_media_type(file->type) ? file->type : "application/octet-stream");
	if (file->name[0] != '\0')
		header_put_parameter(out, "name", file->name);
	buf_printf(out, "\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: %s", id != NULL ? "inline" : "attachment");
	if (file->name[0] != '\0')
		header_put_parameter(out, "filename", file->name);
	if (id != NULL)
		buf_printf(out, "\r\nContent-ID: <%s>", id);
	buf_put_text(out, "\r\n\r\n");
	composer->pieces[composer->n_pieces++].file = file;
}

/* ---- The tree ---- */

static unsigned open_multipart(struct composer *composer, const char *subtype)
{
	unsigned number = composer->boundaries++;

	buf_printf(text_of(composer), "Content-Type: multipart/%s;\r\n boundary=\"=_%s.%u\"\r\n\r\n", subtype,
		   composer->facts->boundary, number);
	return number;
}

static void put_boundary(struct composer *composer, unsigned number, bool last)
{
	buf_printf(text_of(composer), "%s--=_%s.%u%s\r\n", last ? "\r\n" : "", composer->facts->boundary, number,
		   last ? "--" : "");
}

static void next_part(struct composer *composer, unsigned number, bool first)
{
	if (!first)
		buf_put_text(text_of(composer), "\r\n");
	put_boundary(composer, number, false);
}

static void put_files(struct composer *composer, unsigned number, bool inlined)
{
	for (size_t i = 0; i < composer->n_files; i++) {
		if (composer->inlined[i] != inlined)
			continue;
		next_part(composer, number, false);
		put_attachment(composer, &composer->files[i]);
	}
}

static bool any_file(const struct composer *composer, bool inlined)
{
	bool any = false;

	for (size_t i = 0; i < composer->n_files; i++)
		any |= composer->inlined[i] == inlined;
	return any;
}

static bool put_html(struct composer *composer, struct err *err)
{
	unsigned number;

	if (!any_file(composer, true))
		return put_text_leaf(composer, "html", composer->mail->html, err);
	number = open_multipart(composer, "related");
	next_part(composer, number, true);
	if (!put_text_leaf(composer, "html", composer->mail->html, err))
		return false;
	put_files(composer, number, true);
	put_boundary(composer, number, true);
	return true;
}

static bool put_body(struct composer *composer, struct err *err)
{
	const struct api_mail *mail = composer->mail;
	unsigned number;

	if (mail->html == NULL)
		return put_text_leaf(composer, "plain", mail->text, err);
	if (mail->text == NULL)
		return put_html(composer, err);
	number = open_multipart(composer, "alternative");
	next_part(composer, number, true);
	if (!put_text_leaf(composer, "plain", mail->text, err))
		return false;
	next_part(composer, number, false);
	if (!put_html(composer, err))
		return false;
	put_boundary(composer, number, true);
	return true;
}

static bool put_content(struct composer *composer, struct err *err)
{
	unsigned number;

	if (!any_file(composer, false))
		return put_body(composer, err);
	number = open_multipart(composer, "mixed");
	next_part(composer, number, true);
	if (!put_body(composer, err))
		return false;
	put_files(composer, number, false);
	put_boundary(composer, number, true);
	return true;
}

/* ---- The header ---- */

static bool put_boxes(struct buf *out, const char *field, enum charset charset, const struct api_mailboxes *boxes,
		      struct err *err)
{
	return boxes->n_rows == 0 || header_put_mailboxes(out, field, charset, boxes->rows, boxes->n_rows, err);
}

static bool put_header(struct composer *composer, struct err *err)
{
	const struct api_mail *mail = composer->mail;
	struct buf *out = text_of(composer);
	char date[CLOCK_RFC5322_BYTES];

	clock_rfc5322(date, composer->facts->now);
	buf_printf(out, "Date: %s\r\nMessage-ID: <%s@%s>\r\n", date, composer->facts->message_id, composer->facts->host_name);
	if (!put_boxes(out, "From", mail->charset, &mail->from, err) || !put_boxes(out, "To", mail->charset, &mail->to, err) ||
	    !put_boxes(out, "Cc", mail->charset, &mail->cc, err) ||
	    !put_boxes(out, "Reply-To", mail->charset, &mail->reply_to, err) ||
	    !header_put_text(out, "Subject", mail->charset, mail->subject, err))
		return false;
	for (size_t i = 0; i < mail->n_headers; i++) {
		if (!header_put_text(out, mail->headers[i].name, mail->charset, mail->headers[i].value, err))
			return false;
	}
	buf_put_text(out, "MIME-Version: 1.0\r\n");
	return true;
}

bool composer_needs_utf8(const struct api_mail *mail)
{
	const struct api_mailboxes *lists[] = {&mail->to, &mail->cc, &mail->bcc, &mail->from, &mail->reply_to};

	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
		for (size_t j = 0; j < lists[i]->n_rows; j++) {
			if (!text_is_ascii(bytes_text(lists[i]->rows[j].address)))
				return true;
		}
	}
	return mail->envelope_from != NULL && !text_is_ascii(bytes_text(mail->envelope_from));
}

/* ---- Giving it out ---- */

struct composer *composer_new(const struct api_mail *mail, const struct compose_file *files, size_t n_files,
			      const struct compose_facts *facts, compose_read *read, void *arg, struct err *err)
{
	struct composer *composer = mem_new(sizeof *composer);

	composer->mail = mail;
	composer->files = files;
	composer->n_files = n_files;
	composer->facts = facts;
	composer->read = read;
	composer->arg = arg;
	for (size_t i = 0; i < n_files; i++)
		composer->inlined[i] = content_id_of(composer, &files[i]) != NULL;
	if (put_header(composer, err) && put_content(composer, err))
		return composer;
	composer_free(composer);
	return NULL;
}

void composer_free(struct composer *composer)
{
	if (composer == NULL)
		return;
	for (size_t i = 0; i < composer->n_pieces; i++)
		buf_clear(&composer->pieces[i].text);
	if (composer->encoding)
		mime_codec_clear(&composer->codec);
	free(composer);
}

static void end_file(struct composer *composer, struct buf *out)
{
	size_t before = out->len;

	mime_codec_finish(&composer->codec, out);
	mime_codec_clear(&composer->codec);
	if (out->len > before && out->data[out->len - 1] != '\n')
		buf_put_text(out, "\r\n");
	composer->encoding = false;
	composer->at++;
}

static bool give_file(struct composer *composer, const struct compose_file *file, struct buf *out, struct err *err)
{
	uint64_t left;
	uint8_t *octets;
	size_t step;
	bool read;

	if (!composer->encoding) {
		mime_codec_init(&composer->codec, MIME_EDIT_BASE64);
		composer->encoding = true;
		composer->done = 0;
	}
	left = file->len - composer->done;
	step = left < FILE_STEP_BYTES ? (size_t)left : FILE_STEP_BYTES;
	octets = mem_new(step + 1);
	read = step == 0 || composer->read(octets, step, file->offset + composer->done, composer->arg, err);
	if (read) {
		mime_codec_put(&composer->codec, bytes_of(octets, step), out);
		composer->done += step;
		if (composer->done == file->len)
			end_file(composer, out);
	}
	free(octets);
	return read;
}

bool composer_next(struct composer *composer, struct buf *out, struct err *err)
{
	size_t before = out->len;

	while (composer->at < composer->n_pieces && out->len == before) {
		struct piece *piece = &composer->pieces[composer->at];

		if (piece->file != NULL) {
			if (!give_file(composer, piece->file, out, err))
				return false;
		} else {
			buf_put_bytes(out, buf_bytes(&piece->text));
			composer->at++;
		}
	}
	return true;
}
