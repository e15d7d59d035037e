#include "appliance/relay/mime/media.h"

#include "appliance/relay/mime/syntax.h"

static const struct {
	const char *type, *subtype; /* NULL: any */
	enum media media;
} medias[] = {
    {"text", NULL, MEDIA_TEXT},
    {"multipart", NULL, MEDIA_MULTIPART},
    {"message", "rfc822", MEDIA_ENCLOSED},
    {"message", "partial", MEDIA_FRAGMENT},
    {"message", "external-body", MEDIA_FRAGMENT},
    {"message", "global", MEDIA_GLOBAL},
    {"message", "global-headers", MEDIA_GLOBAL},
    {"message", NULL, MEDIA_MESSAGE},
};

void media_type_reset(struct media_type *type, enum media media)
{
	struct buf boundary = type->boundary;

	buf_reset(&boundary);
	*type = (struct media_type){.media = media, .boundary = boundary};
}

static enum media media_of(struct bytes type, struct bytes subtype)
{
	for (size_t i = 0; i < sizeof medias / sizeof *medias; i++) {
		if (bytes_equal_nocase(type, medias[i].type) &&
		    (medias[i].subtype == NULL || bytes_equal_nocase(subtype, medias[i].subtype)))
			return medias[i].media;
	}
	return MEDIA_OTHER;
}

static void take_boundary(struct media_type *type, const struct mime_parameter *parameter, bool first)
{
	if (!first) {
		type->ambiguous = true;
		return;
	}
	type->ambiguous = type->ambiguous || parameter->odd;
	buf_put_bytes(&type->boundary, buf_bytes(&parameter->value));
	while (type->boundary.len > 0 && mime_is_blank(type->boundary.data[type->boundary.len - 1]))
		type->boundary.len--;
}

static void find_boundary(struct media_type *type, struct bytes rest)
{
	struct mime_parameter parameter = {0};
	unsigned found = 0;

	mime_skip_cfws(&rest);
	type->ambiguous = rest.len > 0 && rest.data[0] != ';';
	while (mime_next_parameter(&rest, &parameter)) {
		if (bytes_equal_nocase(parameter.name, "boundary"))
			take_boundary(type, &parameter, found++ == 0);
		else if (bytes_starts_nocase(parameter.name, "boundary*"))
			type->ambiguous = true;
	}
	buf_clear(&parameter.value);
}

void media_type_parse(struct media_type *type, struct bytes raw)
{
	struct buf unfolded = {0};
	struct bytes rest, major, minor;

	media_type_reset(type, MEDIA_TEXT);
	mime_unfold(&unfolded, raw);
	rest = bytes_trim(buf_bytes(&unfolded));
	if (mime_take_type(&rest, &major, &minor)) {
		type->media = media_of(major, minor);
		type->digest = bytes_equal_nocase(minor, "digest");
		type->sealed = bytes_equal_nocase(minor, "signed");
		type->cms = bytes_equal_nocase(major, "application") &&
			    (bytes_equal_nocase(minor, "pkcs7-mime") || bytes_equal_nocase(minor, "x-pkcs7-mime") ||
			     bytes_equal_nocase(minor, "octet-stream"));
		if (type->media == MEDIA_MULTIPART)
			find_boundary(type, rest);
	} else {
		type->ambiguous = bytes_starts_nocase(bytes_trim(buf_bytes(&unfolded)), "multipart");
	}
	buf_clear(&unfolded);
}

/* Beside the five labels of RFC 2045 §6.1 those that senders write for "not encoded". */
static const struct {
	const char *name;
	struct cte_label label;
} labels[] = {
    {"7bit", {CTE_IDENTITY, false}},	   {"8bit", {CTE_IDENTITY, true}},	  {"binary", {CTE_IDENTITY, true}},
    {"quoted-printable", {CTE_QP, false}}, {"base64", {CTE_BASE64, false}},	  {"", {CTE_IDENTITY, false}},
    {"7-bit", {CTE_IDENTITY, false}},	   {"8-bit", {CTE_IDENTITY, false}},	  {"7bits", {CTE_IDENTITY, false}},
    {"8bits", {CTE_IDENTITY, false}},	   {"plain", {CTE_IDENTITY, false}},	  {"none", {CTE_IDENTITY, false}},
    {"ascii", {CTE_IDENTITY, false}},	   {"us-ascii", {CTE_IDENTITY, false}},	  {"utf-8", {CTE_IDENTITY, false}},
    {"utf8", {CTE_IDENTITY, false}},	   {"iso-8859-1", {CTE_IDENTITY, false}}, {"iso-2022-jp", {CTE_IDENTITY, false}},
};

static struct cte_label label_of(struct bytes token)
{
	for (size_t i = 0; i < sizeof labels / sizeof *labels; i++) {
		if (bytes_equal_nocase(token, labels[i].name))
			return labels[i].label;
	}
	return (struct cte_label){CTE_UNKNOWN, false};
}

struct cte_label cte_label_parse(struct bytes raw)
{
	struct buf unfolded = {0};
	struct cte_label label;
	struct bytes rest, token;

	mime_unfold(&unfolded, raw);
	rest = bytes_trim(buf_bytes(&unfolded));
	mime_skip_cfws(&rest);
	token = mime_take_token(&rest);
	label = label_of(token);
	mime_skip_cfws(&rest);
	if (rest.len > 0 && (label.cte != CTE_IDENTITY || token.len == 0))
		label.cte = CTE_UNKNOWN;
	buf_clear(&unfolded);
	return label;
}
