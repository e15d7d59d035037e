#include "appliance/relay/relay_private.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/base/control.h"
#include "appliance/base/log.h"
#include "appliance/base/secret.h"

static void on_listener(struct relay *relay, struct msg *msg, int fd)
{
	char *address = msg_get_text(msg);

	if (fd >= 0 && strncmp(address, "api ", 4) == 0)
		api_server_add_socket(relay->api, address + 4, fd);
	else if (fd >= 0 && strncmp(address, "metrics ", 8) == 0)
		metrics_server_add_socket(relay->metrics, address + 8, fd);
	else if (fd >= 0)
		smtp_server_add_socket(relay->smtp, address, fd);
	free(address);
}

static void on_worker(struct relay *relay, struct msg *msg, int fd)
{
	uint32_t number = msg_get_u32(msg), threads = msg_get_u32(msg);

	if (fd < 0)
		return;
	log_info("signer.worker-attached", LOG_NUMBER("worker", number), LOG_NUMBER("threads", threads));
	signer_attach(relay->signer, number, fd, threads);
}

static void on_ping(struct relay *relay, struct msg *msg)
{
	struct buf out = {0};

	msg_put_u64(&out, msg_get_u64(msg));
	msg_put_u32(&out, lag_take_worst_ms(relay->lag));
	channel_send(relay->supervisor, RELAY_PONG, buf_bytes(&out), -1);
	buf_clear(&out);
}

static void tell_signing(struct relay *relay, bool suspended, const char *why)
{
	struct buf out = {0};

	msg_put_u8(&out, suspended);
	msg_put_text(&out, why);
	channel_send(relay->supervisor, RELAY_SIGNING, buf_bytes(&out), -1);
	buf_clear(&out);
}

void relay_signer_event(enum signer_event event, const char *text, void *arg)
{
	struct relay *relay = arg;
	struct signer_state state = signer_state(relay->signer);

	if (event == SIGNER_EVENT_SUSPENDED)
		log_error("alarm.signing-suspended", LOG_TEXT("why", text), LOG_NUMBER("workers", state.workers),
			  LOG_NUMBER("waiting", state.waiting + state.running));
	else if (event == SIGNER_EVENT_RESUMED)
		log_warning("alarm.signing-resumed", LOG_TEXT("how", text));
	else
		log_error("alarm.wrong-signature", LOG_TEXT("why", text), LOG_NUMBER("count", state.wrong_total));
	if (event != SIGNER_EVENT_WRONG)
		tell_signing(relay, event == SIGNER_EVENT_SUSPENDED, text);
}

static void on_password(struct relay *relay, struct msg *msg)
{
	char *sealed = msg_get_text(msg);
	struct bytes octets = msg_get_bytes(msg);
	struct secret *password = NULL, *again = NULL;
	struct err err;

	if (msg_end(msg, "password", &err)) {
		password = secret_new(octets, &err);
		again = secret_new(octets, &err);
	}
	if (password != NULL && again != NULL) {
		delivery_set_password(relay->delivery, sealed, password);
		webhooks_set_password(relay->webhooks, sealed, again);
	} else {
		log_error("relay.password", LOG_ERR(&err));
		secret_free(password);
		secret_free(again);
	}
	free(sealed);
}

static void on_locked(struct relay *relay, struct msg *msg)
{
	bool locked = msg_get_u8(msg) != 0;
	char *why = msg_get_text(msg);

	log_info(locked ? "signer.locked" : "signer.unlocked", LOG_TEXT("why", why));
	signer_set_locked(relay->signer, locked, why);
	relay->state.locked = locked;
	if (locked) {
		delivery_forget_passwords(relay->delivery);
		webhooks_forget_passwords(relay->webhooks);
	}
	free(relay->locked_why);
	relay->locked_why = why;
}

static void on_console(struct relay *relay, int fd)
{
	if (fd >= 0 && relay->store_ready)
		observe_add_console(relay->observe, fd);
	else if (fd >= 0)
		close(fd);
}

void relay_frame(struct channel *channel, uint16_t type, struct msg *msg, int fd, void *arg)
{
	struct relay *relay = arg;

	(void)channel;
	switch (type) {
	case RELAY_LISTENER:
		on_listener(relay, msg, fd);
		return;
	case RELAY_CONFIGURE:
		relay_on_configure(relay, msg);
		break;
	case RELAY_WORKER:
		on_worker(relay, msg, fd);
		return;
	case RELAY_LOCKED:
		on_locked(relay, msg);
		break;
	case RELAY_PING:
		on_ping(relay, msg);
		break;
	case RELAY_CONSOLE:
		on_console(relay, fd);
		return;
	case RELAY_PASSWORD:
		on_password(relay, msg);
		break;
	case RELAY_STOP:
		relay_stop(relay, msg_get_u32(msg), 0);
		break;
	default:
		log_warning("supervisor.unknown-frame", LOG_NUMBER("type", type));
		break;
	}
	if (fd >= 0)
		close(fd);
}

void relay_supervisor_gone(struct channel *channel, const struct err *why, void *arg)
{
	(void)channel;
	log_error("supervisor.gone", LOG_ERR(why));
	relay_stop(arg, RELAY_STOP_GRACE_MS, 0);
}
