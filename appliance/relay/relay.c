#include "appliance/relay/relay.h"

#include <event2/bufferevent.h>
#include <event2/event.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/base/channel.h"
#include "appliance/base/clock.h"
#include "appliance/base/control.h"
#include "appliance/base/lag.h"
#include "appliance/base/log.h"
#include "appliance/base/pool.h"
#include "appliance/base/process.h"
#include "appliance/base/secret.h"
#include "appliance/relay/api/api_server.h"
#include "appliance/relay/delivery/delivery.h"
#include "appliance/relay/observe/metrics_server.h"
#include "appliance/relay/expiry.h"
#include "appliance/relay/observe/observe.h"
#include "appliance/relay/signing/identities.h"
#include "appliance/relay/smtp/server.h"
#include "appliance/relay/api_tls.h"
#include "appliance/relay/tls/tls.h"
#include "appliance/relay/webhook/webhooks.h"
#include "hsm/protocol/worker.h"

#define PRUNE_SECONDS 600
#define LOG_RETENTION_MAX_MS (400 * INT64_C(86400000)) /* of the setting `log retention` */

#define MALLOC_KEPT_BYTES (64 << 20)
#define MALLOC_STEP_BYTES (1 << 20)

struct relay {
	struct event_base *base;
	struct channel *supervisor;
	struct event *terminate, *interrupt, *prune;
	struct pool *pool;
	struct lag *lag;
	struct signer *signer;
	struct queue *queue;
	struct tls *tls;
	struct smtp_server *smtp;
	struct api_server *api;
	struct api_tls *api_tls;
	struct delivery *delivery;
	struct observe *observe;
	struct webhooks *webhooks;
	struct metrics_server *metrics;
	struct submission_tally tally;
	struct metrics_relay state; /* as the metrics show it */
	char *locked_why;
	struct expiry *expiry;
	struct config *config; /* that runs */
	struct config *trying; /* to be run when the keys of its TLS certificates have been tried */
	struct tls_trial *trial;
	struct config *waiting; /* came before the store was ready */
	bool store_ready;
	bool ready_told;
	bool stopping;
	int64_t intake_deadline; /* for sessions and requests under way */
	int status;
};

/* ---- Stopping: the server first, then deliveries, then the store ---- */

static void on_closed(void *arg)
{
	struct relay *relay = arg;

	relay->queue = NULL;
	event_base_loopbreak(relay->base);
}

static void on_delivery_stopped(void *arg)
{
	struct relay *relay = arg;

	observe_stop(relay->observe);
	metrics_server_stop(relay->metrics);
	webhooks_stop(relay->webhooks);
	queue_close(relay->queue, on_closed, relay);
}

static void on_api_stopped(void *arg)
{
	struct relay *relay = arg;

	delivery_stop(relay->delivery, clock_monotonic_ms() + RELAY_STOP_DELIVERY_MS, on_delivery_stopped, relay);
}

static void on_smtp_stopped(void *arg)
{
	struct relay *relay = arg;

	api_server_stop(relay->api, relay->intake_deadline, on_api_stopped, relay);
}

static void end_trial(struct relay *relay)
{
	tls_trial_free(relay->trial);
	config_unref(relay->trying);
	relay->trial = NULL;
	relay->trying = NULL;
}

static void stop(struct relay *relay, int64_t grace_ms, int status)
{
	int64_t intake_ms = grace_ms - RELAY_STOP_DELIVERY_MS - RELAY_STOP_CLOSE_MS;

	if (relay->stopping)
		return;
	relay->stopping = true;
	relay->status = status;
	log_info("relay.stopping", LOG_NUMBER("status", status));
	end_trial(relay);
	relay->intake_deadline = clock_monotonic_ms() + (intake_ms > 0 ? intake_ms : 0);
	smtp_server_stop(relay->smtp, relay->intake_deadline, on_smtp_stopped, relay);
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
	(void)number;
	(void)what;
	stop(arg, RELAY_STOP_GRACE_MS, 0);
}

/* ---- Configuration ---- */

static void answer_configured(struct relay *relay, uint64_t revision, const struct err *err)
{
	struct buf out = {0};

	msg_put_u64(&out, revision);
	msg_put_u8(&out, err == NULL);
	msg_put_text(&out, err == NULL ? "" : err->text);
	channel_send(relay->supervisor, RELAY_CONFIGURED, buf_bytes(&out), -1);
	buf_clear(&out);
}

static void tell_ready(struct relay *relay)
{
	if (relay->ready_told)
		return;
	relay->ready_told = true;
	channel_send(relay->supervisor, RELAY_READY, (struct bytes){0}, -1);
	log_info("relay.ready", LOG_NUMBER("revision", relay->config->snapshot->revision));
}

static bool check_api_tls(struct relay *relay, const struct config *config, struct err *err)
{
	struct api_tls *all = api_tls_new(relay->tls, config, err);

	api_tls_free(all);
	return all != NULL;
}

static void limit_tls(struct relay *relay, const struct config *config)
{
	const struct tls_limits limits = {.handshake_ms = config->tls_handshake_ms,
					  .handshakes = config->tls_handshakes,
					  .per_client = config->tls_handshakes_per_client,
					  .per_minute = config->tls_handshakes_per_minute};

	tls_set_limits(relay->tls, &limits);
}

static bool apply_config(struct relay *relay, struct config *config, struct err *err)
{
	struct api_tls *api_tls = api_tls_new(relay->tls, config, err);

	if (api_tls == NULL)
		return false;
	if (!smtp_server_configure(relay->smtp, config, false, err) || !api_server_configure(relay->api, config, false, err)) {
		api_tls_free(api_tls);
		return false;
	}
	api_tls_free(relay->api_tls);
	relay->api_tls = api_tls;
	limit_tls(relay, config);
	delivery_configure(relay->delivery, config);
	observe_configure(relay->observe, config);
	metrics_server_configure(relay->metrics, config);
	expiry_configure(relay->expiry, config);
	webhooks_configure(relay->webhooks, config);
	config_unref(relay->config);
	relay->config = config_ref(config);
	log_info("configuration.applied", LOG_NUMBER("revision", config->snapshot->revision),
		 LOG_NUMBER("servers", config->n_servers));
	return true;
}

/* Checks everything that can refuse before it changes anything, so that a refused revision leaves the old one whole. */
static bool run_config(struct relay *relay, struct config *config, bool check_only, struct err *err)
{
	if (!delivery_check(config, err) || !smtp_server_configure(relay->smtp, config, true, err) ||
	    !api_server_configure(relay->api, config, true, err))
		return false;
	return check_only ? config_check(config, err) && check_api_tls(relay, config, err) : apply_config(relay, config, err);
}

static void refuse_config(struct relay *relay, const struct config *config, const struct err *err)
{
	log_warning("configuration.refused", LOG_NUMBER("revision", config->snapshot->revision), LOG_ERR(err));
	answer_configured(relay, config->snapshot->revision, err);
}

static void run_and_answer(struct relay *relay, struct config *config, bool check_only)
{
	struct err err;

	if (!run_config(relay, config, check_only, &err)) {
		refuse_config(relay, config, &err);
		return;
	}
	answer_configured(relay, config->snapshot->revision, NULL);
	if (!check_only)
		tell_ready(relay);
}

static void on_keys_tried(const struct err *refused, void *arg)
{
	struct relay *relay = arg;
	struct config *config = config_ref(relay->trying);

	if (refused != NULL)
		refuse_config(relay, config, refused);
	else
		run_and_answer(relay, config, false);
	config_unref(config);
	end_trial(relay);
}

/* The TLS certificates of a configuration that the running one does not show. */
static const struct certificate **new_certificates(const struct relay *relay, const struct config *config, size_t *count)
{
	size_t n_running, n_next, kept = 0;
	const struct certificate **next = config_tls_certificates(config, &n_next);
	const struct certificate **running = config_tls_certificates(relay->config, &n_running);

	for (size_t i = 0; i < n_next; i++) {
		size_t at = 0;

		while (at < n_running && running[at]->id != next[i]->id)
			at++;
		if (at == n_running)
			next[kept++] = next[i];
	}
	free(running);
	*count = kept;
	return next;
}

/*
 * A commit must not put a key into service that the token does not sign with. A relay that starts takes what it is given, its
 * mail flows without TLS; and a key that was lost in service keeps nobody from committing something else.
 */
static void try_keys(struct relay *relay, struct config *config)
{
	const struct certificate **certificates = NULL;
	size_t count = 0;

	end_trial(relay);
	if (relay->config != NULL)
		certificates = new_certificates(relay, config, &count);
	if (count == 0) {
		run_and_answer(relay, config, false);
	} else {
		relay->trying = config_ref(config);
		relay->trial = tls_trial_new(relay->tls, certificates, count, on_keys_tried, relay);
	}
	free(certificates);
}

static void configure(struct relay *relay, struct config *config, bool check_only)
{
	if (!relay->store_ready && !check_only) {
		config_unref(relay->waiting);
		relay->waiting = config_ref(config);
		return; /* answered when the store is ready: no banner before recovery (queue.md §4) */
	}
	if (check_only)
		run_and_answer(relay, config, true);
	else
		try_keys(relay, config);
}

static void on_configure(struct relay *relay, struct msg *msg)
{
	bool check_only = msg_get_u8(msg) != 0;
	struct bytes encoded = msg_get_bytes(msg);
	struct msg inner = msg_of(encoded);
	struct snapshot *snapshot;
	struct config *config;
	struct err err;

	snapshot = snapshot_decode(&inner, &err);
	if (snapshot == NULL) {
		answer_configured(relay, 0, &err);
		return;
	}
	config = config_new(snapshot, &err);
	if (config == NULL) {
		answer_configured(relay, snapshot->revision, &err);
		snapshot_free(snapshot);
		return;
	}
	configure(relay, config, check_only);
	config_unref(config);
}

/* ---- What inkand says ---- */

static struct bufferevent *open_api_stream(const struct config_api_listen *listen, int fd, void *arg)
{
	struct relay *relay = arg;
	struct tls_context *context = api_tls_find(relay->api_tls, listen->address);

	if (!listen->tls)
		return bufferevent_socket_new(relay->base, fd, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
	if (context != NULL && tls_admits(relay->tls, fd))
		return tls_server_new(context, fd, NULL);
	close(fd);
	return NULL;
}

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

static void on_lag(unsigned ms, unsigned late_ms, void *arg)
{
	struct relay *relay = arg;

	relay->state.held_up_total++;
	relay->state.held_up_ms_total += ms;
	log_warning("loop.held-up", LOG_NUMBER("ms", ms), LOG_NUMBER("late_ms", late_ms));
}

static void tell_signing(struct relay *relay, bool suspended, const char *why)
{
	struct buf out = {0};

	msg_put_u8(&out, suspended);
	msg_put_text(&out, why);
	channel_send(relay->supervisor, RELAY_SIGNING, buf_bytes(&out), -1);
	buf_clear(&out);
}

static void on_signer_event(enum signer_event event, const char *text, void *arg)
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

static void on_frame(struct channel *channel, uint16_t type, struct msg *msg, int fd, void *arg)
{
	struct relay *relay = arg;

	(void)channel;
	switch (type) {
	case RELAY_LISTENER:
		on_listener(relay, msg, fd);
		return;
	case RELAY_CONFIGURE:
		on_configure(relay, msg);
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
		stop(relay, msg_get_u32(msg), 0);
		break;
	default:
		log_warning("supervisor.unknown-frame", LOG_NUMBER("type", type));
		break;
	}
	if (fd >= 0)
		close(fd);
}

static void on_supervisor_gone(struct channel *channel, const struct err *why, void *arg)
{
	(void)channel;
	log_error("supervisor.gone", LOG_ERR(why));
	stop(arg, RELAY_STOP_GRACE_MS, 0);
}

/* ---- What the store says ---- */

static void on_store_ready(const struct err *err, void *arg)
{
	struct relay *relay = arg;
	struct config *config = relay->waiting;

	if (err != NULL) {
		log_error("store.failed", LOG_ERR(err));
		relay->status = 1;
		event_base_loopbreak(relay->base);
		return;
	}
	relay->store_ready = true;
	relay->waiting = NULL;
	if (config != NULL)
		configure(relay, config, false);
	config_unref(config);
}

static void on_due(void *arg)
{
	struct relay *relay = arg;

	if (relay->store_ready)
		delivery_wake(relay->delivery);
}

/* A failed commit or sync is final for this process: the supervisor's restart recovers the store (queue.md §4 rule 1). */
static void on_health(enum queue_health health, const struct err *err, void *arg)
{
	struct relay *relay = arg;

	if (health == QUEUE_OK)
		log_info("store.ok");
	else
		log_error(health == QUEUE_FULL ? "store.full" : "store.failed", LOG_TEXT("error", err == NULL ? "" : err->text));
	smtp_server_set_health(relay->smtp, health);
	if (health == QUEUE_FAILED)
		stop(relay, RELAY_STOP_GRACE_MS, 1);
}

/* ---- The delivery log ---- */

static void on_pruned(uint64_t messages, const struct err *err, void *arg)
{
	(void)arg;
	if (err != NULL)
		log_warning("log.prune-failed", LOG_ERR(err));
	else if (messages > 0)
		log_info("log.pruned", LOG_NUMBER("messages", messages));
}

/* By each server's retention; what servers have left that are configured no more goes by the longest one there can be. */
static void on_prune(evutil_socket_t fd, short what, void *arg)
{
	struct relay *relay = arg;
	int64_t now = clock_wall_ms();

	(void)fd;
	(void)what;
	if (!relay->store_ready || relay->stopping || relay->config == NULL)
		return;
	for (size_t i = 0; i < relay->config->n_servers; i++)
		queue_log_prune(relay->queue, relay->config->servers[i].name, now - relay->config->servers[i].log_retention_ms,
				on_pruned, NULL);
	queue_log_prune(relay->queue, NULL, now - LOG_RETENTION_MAX_MS, on_pruned, NULL);
}

/* ---- Metrics ---- */

static void read_metrics(struct metrics *metrics, void *arg)
{
	struct relay *relay = arg;

	*metrics = (struct metrics){
	    .relay = relay->state,
	    .config = relay->config,
	    .tally = relay->tally,
	    .smtp = smtp_server_state(relay->smtp),
	    .api = api_server_state(relay->api),
	    .tls = tls_state(relay->tls),
	    .delivery = delivery_state(relay->delivery),
	    .signer = signer_state(relay->signer),
	    .queue = queue_count(relay->queue),
	    .health = queue_health(relay->queue),
	    .webhooks = webhooks_state(relay->webhooks),
	    .now = clock_wall_seconds(),
	};
	metrics->relay.store_ready = relay->store_ready;
	metrics->relay.stopping = relay->stopping;
	metrics->relay.locked_why = relay->locked_why;
}

/* ---- Start and end ---- */

static bool confine(const char *state_directory, struct err *err)
{
	char *mail = mem_format("%s/mail", state_directory), *maildir = mem_format("%s/maildir", state_directory);
	const char *writable[] = {mail, maildir, NULL};
	const char *readable[] = {"/etc", "/usr", "/lib", "/lib64", "/dev", "/proc", "/run", NULL};
	const struct confinement confinement = {.readable = readable, .writable = writable, .network = true};
	bool confined = process_confine(&confinement, err);

	free(mail);
	free(maildir);
	return confined;
}

static bool open_store(struct relay *relay, const char *state_directory, struct err *err)
{
	char *mail = mem_format("%s/mail", state_directory);
	const struct queue_settings settings = {.directory = mail, .ballast_bytes = 64u << 20, .recent_bytes = 4u << 20};
	const struct queue_events events = {.ready = on_store_ready, .due = on_due, .health = on_health, .arg = relay};

	relay->queue = queue_open(relay->base, &settings, &events, err);
	free(mail);
	return relay->queue != NULL;
}

static bool start(struct relay *relay, const char *state_directory, struct err *err)
{
	signal(SIGPIPE, SIG_IGN);
	/* Bursts of buffers must not go back to the kernel and be faulted in again at each. */
	mallopt(M_TRIM_THRESHOLD, MALLOC_KEPT_BYTES);
	mallopt(M_TOP_PAD, MALLOC_STEP_BYTES);
	if (!confine(state_directory, err))
		return false;
	relay->base = event_base_new();
	relay->pool = pool_new(relay->base, RELAY_POOL_THREADS, err);
	if (relay->pool == NULL || !open_store(relay, state_directory, err))
		return false;
	relay->lag = lag_new(relay->base, RELAY_HELD_UP_MS, on_lag, relay);
	relay->signer = signer_new(relay->base);
	signer_watch(relay->signer, on_signer_event, relay);
	relay->locked_why = mem_string("no worker yet");
	relay->state = (struct metrics_relay){.locked = true, .started = clock_wall_seconds()};
	signer_set_locked(relay->signer, true, relay->locked_why);

	const struct submission_context context = {.base = relay->base,
						   .queue = relay->queue,
						   .signer = relay->signer,
						   .pool = relay->pool,
						   .tally = &relay->tally,
						   .identities = identities_new()};

	relay->tls = tls_new(relay->base, relay->signer, err);
	if (relay->tls == NULL)
		return false;
	relay->smtp = smtp_server_new(&context);
	smtp_server_use_tls(relay->smtp, relay->tls);
	relay->webhooks = webhooks_new(relay->base, relay->queue);
	relay->metrics = metrics_server_new(relay->base, read_metrics, relay);
	relay->api = api_server_new(&context, open_api_stream, relay);
	relay->delivery = delivery_new(relay->base, relay->queue, relay->pool);
	relay->observe = observe_new(&(struct observe_context){
	    .base = relay->base, .queue = relay->queue, .smtp = relay->smtp, .delivery = relay->delivery, .tls = relay->tls});
	relay->expiry = expiry_new(relay->base);
	relay->supervisor = channel_new(relay->base, CHILD_CONTROL_FD, on_frame, on_supervisor_gone, relay);
	relay->terminate = evsignal_new(relay->base, SIGTERM, on_signal, relay);
	relay->interrupt = evsignal_new(relay->base, SIGINT, on_signal, relay);
	event_add(relay->terminate, NULL);
	event_add(relay->interrupt, NULL);
	relay->prune = event_new(relay->base, -1, EV_PERSIST, on_prune, relay);
	event_add(relay->prune, &(struct timeval){.tv_sec = PRUNE_SECONDS});
	return true;
}

int relay_run(const char *state_directory)
{
	struct relay relay = {0};
	struct err err;

	if (!start(&relay, state_directory, &err)) {
		log_error("relay.cannot-start", LOG_ERR(&err));
		return 1;
	}
	event_base_dispatch(relay.base);
	log_info("relay.stopped", LOG_NUMBER("status", relay.status));
	_exit(relay.status); /* the store is closed; the kernel takes the rest */
}
