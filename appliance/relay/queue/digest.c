#include "appliance/relay/queue/digest.h"

#include <openssl/evp.h>
#include <stdlib.h>

struct digest {
	EVP_MD_CTX *context;
};

/* SHA-256 of memory fails only when OpenSSL has no such digest or no memory: nothing could be stored safely then. */
static void require(int ok)
{
	if (ok != 1)
		abort();
}

struct digest *digest_new(void)
{
	struct digest *digest = mem_new(sizeof *digest);

	digest->context = EVP_MD_CTX_new();
	require(digest->context != NULL && EVP_DigestInit_ex(digest->context, EVP_sha256(), NULL) == 1);
	return digest;
}

void digest_add(struct digest *digest, struct bytes octets)
{
	require(EVP_DigestUpdate(digest->context, octets.data, octets.len));
}

void digest_end(struct digest *digest, uint8_t out[static DIGEST_BYTES])
{
	require(EVP_DigestFinal_ex(digest->context, out, NULL));
}

void digest_free(struct digest *digest)
{
	if (digest == NULL)
		return;
	EVP_MD_CTX_free(digest->context);
	free(digest);
}

void digest_of(struct bytes octets, uint8_t out[static DIGEST_BYTES])
{
	require(EVP_Digest(octets.data, octets.len, out, NULL, EVP_sha256(), NULL));
}
