/* What a Content-Type and a Content-Transfer-Encoding field say, as far as the scanner must know. Pure. */
#ifndef INKAN_RELAY_MIME_MEDIA_H
#define INKAN_RELAY_MIME_MEDIA_H

#include "appliance/base/bytes.h"

enum media {
	MEDIA_TEXT, /* text/…, and what is no type at all */
	MEDIA_MULTIPART,
	MEDIA_ENCLOSED, /* message/rfc822 */
	MEDIA_FRAGMENT, /* message/partial, message/external-body: must stay as they are (RFC 2046 §5.2.2, §5.2.3) */
	MEDIA_GLOBAL, /* message/global…: may be encoded (RFC 6532 §3.7), and some systems look inside */
	MEDIA_MESSAGE, /* any other message/… */
	MEDIA_OTHER
};

struct media_type {
	enum media media;
	bool digest; /* multipart/digest: parts are message/rfc822 by default (RFC 2046 §5.1.5) */
	bool sealed; /* multipart/signed */
	bool cms; /* application/pkcs7-mime, or octet-stream that may hold it */
	bool ambiguous; /* readers may find another boundary */
	struct buf boundary; /* of a multipart; empty when there is none */
};

/* Fills *type from a raw value, reusing type->boundary. */
void media_type_parse(struct media_type *type, struct bytes raw);
void media_type_reset(struct media_type *type, enum media media); /* keeps the memory of the boundary */

enum cte { CTE_IDENTITY, CTE_QP, CTE_BASE64, CTE_UNKNOWN };

struct cte_label {
	enum cte cte;
	bool wide; /* "8bit" or "binary", on which later systems act whatever the data are */
};

struct cte_label cte_label_parse(struct bytes raw);

#endif
