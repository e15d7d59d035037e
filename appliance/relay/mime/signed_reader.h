/*
 * Reads a multipart/signed message as its recipient's program would and verifies it with a certificate: the self-check of what is
 * about to go out. It shares nothing with the scanner and the writer that made the message: a push parser of its own, which
 * splits at the boundary of the outer Content-Type, digests the first part and takes the CMS out of the second. It is
 * stricter than readers are: what they may disagree about (a bare CR or LF, a line over 998 octets, a preamble, a second
 * Content-Type) fails. 8-bit octets do not: the scanner leaves those of part headers, with a note. Pure; one thread at a time;
 * memory is bounded by the limits below.
 */
#ifndef INKAN_RELAY_MIME_SIGNED_READER_H
#define INKAN_RELAY_MIME_SIGNED_READER_H

#include "hsm/cms/cms.h"

#define SIGNED_READER_LINE_MAX_BYTES (512u << 10) /* of a header */
#define SIGNED_READER_CMS_MAX_BYTES (256u << 10) /* base64 */

struct signed_reader;

struct signed_reader *signed_reader_new(void);
void signed_reader_feed(struct signed_reader *reader, struct bytes octets);

/*
 * The message is over. True when the structure is sound and the CMS is a SignedData whose messageDigest attribute is the digest
 * of the first part and whose one signature verifies with this certificate (cms_verify). Else ERR_INTEGRITY with the reason.
 */
bool signed_reader_verify(struct signed_reader *reader, const struct cms_identity *identity, bool pss, struct err *err) MUST_USE;
void signed_reader_free(struct signed_reader *reader); /* NULL is fine */

#endif
