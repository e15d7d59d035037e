#include "appliance/relay/tls/tls.h"

#include <openssl/async.h>
#include <stdlib.h>

#include "appliance/relay/tls/tls_private.h"

struct tls *tls_new(struct event_base *base, struct signer *signer, struct err *err)
{
	struct tls *tls = mem_new(sizeof *tls);

	tls->base = base;
	tls->signer = signer;
	LIST_INIT(&tls->unfinished);
	tls->bio = tls_stream_bio_new();
	tls->keys = tls_keys_new(&tls->requests, err);
	tls->tickets = tls_tickets_new(base, err);
	if (tls->keys != NULL && tls->tickets != NULL)
		return tls;
	tls_free(tls);
	return NULL;
}

void tls_free(struct tls *tls)
{
	if (tls == NULL)
		return;
	tls_tickets_free(tls->tickets);
	tls_keys_free(tls->keys);
	BIO_meth_free(tls->bio);
	ASYNC_cleanup_thread();
	free(tls);
}

bool tls_is_ready(const struct tls *tls)
{
	return signer_is_ready(tls->signer);
}

struct tls_state tls_state(const struct tls *tls)
{
	return tls->state;
}
