#include "appliance/relay/tls/request.h"

#include <openssl/async.h>
#include <string.h>

int tls_request_sign(struct tls_requests *requests, struct sign_request *wire, unsigned char *signature, size_t *len, size_t room)
{
	struct tls_request *request = requests->running;
	int done = 0;

	if (request == NULL || ASYNC_get_current_job() == NULL) {
		requests->blocked_total++;
		return 0;
	}
	request->wire = wire;
	request->state = TLS_REQUEST_NEW;
	while (request->state == TLS_REQUEST_NEW || request->state == TLS_REQUEST_ASKED) {
		if (ASYNC_pause_job() != 1)
			break;
	}
	if (request->state == TLS_REQUEST_SIGNED && request->signature.len <= room) {
		memcpy(signature, request->signature.data, request->signature.len);
		*len = request->signature.len;
		done = 1;
	}
	request->wire = NULL;
	request->state = TLS_REQUEST_NONE;
	return done;
}
