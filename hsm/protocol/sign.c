#include "hsm/protocol/sign.h"

#include <stdlib.h>
#include <string.h>

static const struct {
	size_t bytes;
	const char *micalg;
} digests[] = {
    [SIGN_SHA256] = {32, "sha-256"},
    [SIGN_SHA384] = {48, "sha-384"},
    [SIGN_SHA512] = {64, "sha-512"},
};

static bool known_digest(unsigned digest)
{
	return digest >= SIGN_SHA256 && digest <= SIGN_SHA512;
}

size_t sign_digest_bytes(enum sign_digest digest)
{
	return known_digest(digest) ? digests[digest].bytes : 0;
}

const char *sign_digest_micalg(enum sign_digest digest)
{
	return known_digest(digest) ? digests[digest].micalg : NULL;
}

void sign_request_encode(struct buf *out, const struct sign_request *request)
{
	msg_put_u64(out, request->id);
	msg_put_u64(out, request->certificate);
	msg_put_u8(out, (uint8_t)request->algorithm);
	msg_put_bytes(out, bytes_of(request->digest, sign_digest_bytes(request->algorithm)));
	msg_put_i64(out, request->signing_time);
	msg_put_u8(out, request->pss ? 1 : 0);
	msg_put_u32(out, request->budget_ms);
}

bool sign_request_decode(struct msg *msg, struct sign_request *request, struct err *err)
{
	struct sign_request got = {.id = msg_get_u64(msg), .certificate = msg_get_u64(msg)};
	unsigned algorithm = msg_get_u8(msg);
	struct bytes digest = msg_get_bytes(msg);
	unsigned pss;

	got.signing_time = msg_get_i64(msg);
	pss = msg_get_u8(msg);
	got.budget_ms = msg_get_u32(msg);
	if (!msg_end(msg, "signing request", err))
		return false;
	got.algorithm = (enum sign_digest)algorithm;
	if (!known_digest(algorithm) || digest.len != digests[algorithm].bytes)
		return err_set(err, ERR_INVALID, "signing request with a digest of algorithm %u and %zu bytes", algorithm,
			       digest.len);
	if (pss > 1 || got.signing_time < 0)
		return err_set(err, ERR_INVALID, "malformed signing request");
	got.pss = pss == 1;
	memcpy(got.digest, digest.data, digest.len);
	*request = got;
	return true;
}

void sign_tls_encode(struct buf *out, const struct sign_request *request)
{
	msg_put_u64(out, request->id);
	msg_put_u64(out, request->certificate);
	msg_put_u8(out, (uint8_t)request->algorithm);
	msg_put_bytes(out, bytes_of(request->tls_text, request->tls_len));
	msg_put_u8(out, request->pss ? 1 : 0);
	msg_put_u32(out, request->budget_ms);
}

bool sign_tls_decode(struct msg *msg, struct sign_request *request, struct err *err)
{
	struct sign_request got = {.id = msg_get_u64(msg), .certificate = msg_get_u64(msg)};
	unsigned algorithm = msg_get_u8(msg);
	struct bytes text = msg_get_bytes(msg);
	unsigned pss = msg_get_u8(msg);

	got.budget_ms = msg_get_u32(msg);
	if (!msg_end(msg, "TLS signing request", err))
		return false;
	if (!known_digest(algorithm) || pss > 1 || text.len == 0 || text.len > sizeof got.tls_text)
		return err_set(err, ERR_INVALID, "malformed TLS signing request");
	got.algorithm = (enum sign_digest)algorithm;
	got.pss = pss == 1;
	got.tls_len = text.len;
	memcpy(got.tls_text, text.data, text.len);
	*request = got;
	return true;
}

void sign_result_encode(struct buf *out, const struct sign_result *result)
{
	msg_put_u64(out, result->id);
	msg_put_bytes(out, result->cms);
}

bool sign_result_decode(struct msg *msg, struct sign_result *result, struct err *err)
{
	struct sign_result got = {.id = msg_get_u64(msg)};

	got.cms = msg_get_bytes(msg);
	if (!msg_end(msg, "signing result", err))
		return false;
	if (got.cms.len == 0)
		return err_set(err, ERR_INVALID, "signing result without a signature");
	*result = got;
	return true;
}

void sign_failure_encode(struct buf *out, const struct sign_failure *failure)
{
	msg_put_u64(out, failure->id);
	msg_put_u8(out, (uint8_t)failure->class);
	msg_put_text(out, failure->text);
}

bool sign_failure_decode(struct msg *msg, struct sign_failure *failure, struct err *err)
{
	struct sign_failure got = {.id = msg_get_u64(msg)};
	unsigned class = msg_get_u8(msg);
	bool ok;

	got.text = msg_get_text(msg);
	ok = msg_end(msg, "signing failure", err);
	if (ok && (class < SIGN_FAIL_RETRY || class > SIGN_FAIL_WRONG))
		ok = err_set(err, ERR_INVALID, "signing failure of unknown class %u", class);
	if (!ok) {
		free(got.text);
		return false;
	}
	got.class = (enum sign_failure_class) class;
	*failure = got;
	return true;
}
