/*
 * Any octets as a message, signed as the relay signs it, with a key of this process: the reader of the self-check, which shares
 * no code with scanner and writer, verifies it however it is fed; the scanner finds nothing to edit in it and sees that it is
 * signed; what is stored of the rendering is read back as itself; one octet of the signed part changed, and it fails.
 */
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "appliance/relay/mime/presigned.h"
#include "appliance/relay/mime/rendering.h"
#include "appliance/relay/mime/signed_reader.h"
#include "hsm/cms/cms.h"
#include "tests/fuzz/fuzz.h"

#define BOUNDARY "----=_inkan_0123456789abcdef0123456789abcdef"

static EVP_PKEY *key;
static struct cms_identity *identity;

struct memory {
	struct bytes original;
	struct buf encoded;
};

static void make_identity(void)
{
	X509 *certificate = X509_new();
	struct err err = {0};
	struct bytes chain;
	uint8_t *der = NULL;

	key = EVP_EC_gen("P-256");
	require(key != NULL && certificate != NULL);
	X509_set_version(certificate, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 86400);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC, (const uint8_t *)"fuzz", -1, -1, 0);
	X509_NAME_add_entry_by_txt(X509_get_issuer_name(certificate), "CN", MBSTRING_ASC, (const uint8_t *)"issuer", -1, -1, 0);
	X509_set_pubkey(certificate, key);
	require(X509_sign(certificate, key, EVP_sha256()) > 0);
	chain.len = (size_t)i2d_X509(certificate, &der);
	chain.data = der;
	identity = cms_identity_new(&chain, 1, &err);
	require(identity != NULL);
	OPENSSL_free(der);
	X509_free(certificate);
}

static bool make_signature(void *arg, enum sign_digest algorithm, bool pss, struct bytes text, struct buf *signature,
			   struct err *err)
{
	EVP_MD_CTX *sign = EVP_MD_CTX_new();
	uint8_t room[128];
	size_t len = sizeof room;

	(void)arg;
	(void)err;
	require(algorithm == SIGN_SHA256 && !pss && EVP_DigestSignInit(sign, NULL, EVP_sha256(), NULL, key) == 1 &&
		EVP_DigestSign(sign, room, &len, text.data, text.len) == 1);
	EVP_MD_CTX_free(sign);
	buf_put(signature, room, len);
	return true;
}

static ssize_t read_original(void *arg, void *data, size_t len, uint64_t offset, struct err *err)
{
	struct memory *memory = arg;
	struct bytes part = bytes_slice(memory->original, offset, offset + len);

	(void)err;
	if (part.len > 0)
		memcpy(data, part.data, part.len);
	return (ssize_t)part.len;
}

static bool write_encoded(void *arg, struct bytes octets, struct err *err)
{
	(void)err;
	buf_put_bytes(&((struct memory *)arg)->encoded, octets);
	return true;
}

static void ignore_octets(void *arg, struct bytes octets)
{
	(void)arg;
	(void)octets;
}

static void flatten(const struct rendering *rendering, const struct memory *memory, struct buf *out)
{
	for (size_t i = 0; i < rendering->count; i++) {
		const struct piece *piece = &rendering->pieces[i];
		struct bytes from = piece->source == PIECE_ORIGINAL  ? memory->original
				    : piece->source == PIECE_LITERAL ? buf_bytes(&rendering->literal)
								     : buf_bytes(&memory->encoded);

		require(piece->offset + piece->length <= from.len);
		buf_put_bytes(out, bytes_slice(from, piece->offset, piece->offset + piece->length));
	}
	require(out->len == rendering->size);
}

/* Pieces of a size that follows from the octets; 0 at once. */
static bool verifies(struct bytes message, size_t step)
{
	struct signed_reader *reader = signed_reader_new();
	struct err err = {0};
	bool fine;

	for (size_t at = 0; at < message.len; at += step)
		signed_reader_feed(reader, bytes_slice(message, at, at + step));
	fine = signed_reader_verify(reader, identity, false, &err);
	require(fine || err.code == ERR_INTEGRITY);
	signed_reader_free(reader);
	return fine;
}

static void stored_form_comes_back(const struct rendering *rendering, const struct memory *memory, struct bytes message)
{
	struct rendering read = {0};
	struct buf stored = {0}, again = {0};
	struct err err = {0};

	rendering_encode(&stored, rendering);
	require(rendering_decode(buf_bytes(&stored), &read, &err));
	flatten(&read, memory, &again);
	require(bytes_equal(buf_bytes(&again), message));
	rendering_clear(&read);
	buf_clear(&stored);
	buf_clear(&again);
}

static void check_signed(struct buf *message, struct bytes part)
{
	struct mime_scan *scan = mime_scan_new();
	size_t head = message->len, count;
	uint8_t *found = memmem(message->data, message->len, "\r\n--" BOUNDARY "\r\n", 4 + 44 + 2);

	require(verifies(buf_bytes(message), message->len));
	require(verifies(buf_bytes(message), 1 + part.len % 61));
	mime_scan_feed(scan, buf_bytes(message));
	mime_scan_finish(scan);
	require(mime_scan_verdict(scan) == MIME_FAST);
	mime_scan_edits(scan, &count);
	require(count == 0 && mime_scan_presigned(scan) == MIME_PRESIGNED_SMIME);
	mime_scan_free(scan);
	require(found != NULL);
	head = (size_t)(found - message->data) + 4 + 44 + 2;
	require(bytes_equal(bytes_slice(buf_bytes(message), head, head + part.len), part));
	if (part.len > 0) {
		message->data[head + part.len / 2] ^= 1;
		require(!verifies(buf_bytes(message), message->len));
	}
}

static void sign_and_check(const struct mime_scan *scan, struct memory *memory)
{
	struct rendering_io io = {read_original, write_encoded, ignore_octets, memory};
	struct cms_content content = {.algorithm = SIGN_SHA256, .signing_time = 1795500000};
	struct rendering part = {0}, message = {0};
	struct buf part_octets = {0}, cms = {0}, out = {0};
	uint8_t digest[EVP_MAX_MD_SIZE];
	struct err err = {0};

	require(rendering_signed_part(scan, &io, &part, &err));
	flatten(&part, memory, &part_octets);
	require(EVP_Digest(part_octets.data, part_octets.len, digest, NULL, EVP_sha256(), NULL) == 1);
	content.digest = bytes_of(digest, 32);
	require(cms_sign(identity, &content, make_signature, NULL, &cms, &err));
	rendering_signed_message(scan, &part, "sha-256", BOUNDARY, buf_bytes(&cms), &message);
	flatten(&message, memory, &out);
	stored_form_comes_back(&message, memory, buf_bytes(&out));
	check_signed(&out, buf_bytes(&part_octets));
	rendering_clear(&part);
	rendering_clear(&message);
	buf_clear(&part_octets);
	buf_clear(&cms);
	buf_clear(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct memory memory = {.original = bytes_of(data, size)};
	struct mime_scan *scan = mime_scan_new();

	if (identity == NULL)
		make_identity();
	mime_scan_feed(scan, memory.original);
	mime_scan_finish(scan);
	if (mime_scan_verdict(scan) != MIME_UNSIGNABLE && !mime_scan_header(scan)->malformed &&
	    (size == 0 || memmem(data, size, BOUNDARY, strlen(BOUNDARY)) == NULL))
		sign_and_check(scan, &memory);
	mime_scan_free(scan);
	buf_clear(&memory.encoded);
	return 0;
}
