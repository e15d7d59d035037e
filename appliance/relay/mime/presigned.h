/* Is a message already signed or encrypted, by its structure and not by its label (smime.md §10). */
#ifndef INKAN_RELAY_MIME_PRESIGNED_H
#define INKAN_RELAY_MIME_PRESIGNED_H

#include "appliance/relay/mime/scan.h"

enum mime_presigned {
	MIME_PRESIGNED_NO, /* also when the label says so but the structure does not prove it */
	MIME_PRESIGNED_SMIME, /* multipart/signed with a CMS signature as second part */
	MIME_PRESIGNED_PGP, /* multipart/signed with an OpenPGP signature */
	MIME_PRESIGNED_CMS /* root application/pkcs7-mime, signed, enveloped or compressed */
};

/* Of a finished scan. The scanner keeps the octets that this needs (bounded). Parses with OpenSSL. */
enum mime_presigned mime_scan_presigned(const struct mime_scan *scan);

#endif
