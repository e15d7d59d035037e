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
	tls->limits = (struct tls_limits){.handshake_ms = 10000, .handshakes = 1024, .per_client = 256, .per_minute = 6000};
	tls->bio = tls_stream_bio_new();
	tls->rates = tls_rates_new(err);
	tls->keys = tls_keys_new(&tls->requests, err);
	tls->tickets = tls_tickets_new(base, err);
	if (tls->keys != NULL && tls->tickets != NULL && tls->rates != NULL)
		return tls;
	tls_free(tls);
	return NULL;
}

void tls_free(struct tls *tls)
{
	if (tls == NULL)
		return;
	for (size_t i = 0; i < tls->n_records; i++)
		free(tls->records[i].why);
	free(tls->records);
	tls_rates_free(tls->rates);
	tls_tickets_free(tls->tickets);
	tls_keys_free(tls->keys);
	BIO_meth_free(tls->bio);
	ASYNC_cleanup_thread();
	free(tls);
}

void tls_set_limits(struct tls *tls, const struct tls_limits *limits)
{
	tls->limits = *limits;
}

bool tls_is_ready(const struct tls *tls)
{
	return signer_is_ready(tls->signer);
}

struct tls_state tls_state(const struct tls *tls)
{
	return tls->state;
}
