#include "appliance/relay/relay_private.h"

#include <event2/bufferevent.h>
#include <event2/event.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "appliance/base/control.h"
#include "appliance/base/log.h"
#include "appliance/base/pool.h"
#include "appliance/base/process.h"
#include "appliance/relay/signing/identities.h"
#include "hsm/protocol/worker.h"

#define PRUNE_SECONDS 600
#define LOG_RETENTION_MAX_MS (400 * INT64_C(86400000)) /* of the setting `log retention` */

#define MALLOC_KEPT_BYTES (64 << 20)
#define MALLOC_STEP_BYTES (1 << 20)

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
	int64_t now = clock_monotonic_ms();
	int64_t left = relay->intake_deadline + RELAY_STOP_DELIVERY_MS - now;
	int64_t wait_ms = left < RELAY_STOP_DELIVERY_MS	      ? RELAY_STOP_DELIVERY_MS
			  : left > RELAY_STOP_DELIVERY_MAX_MS ? RELAY_STOP_DELIVERY_MAX_MS
							      : left;

	delivery_stop(relay->delivery, now + wait_ms, on_delivery_stopped, relay);
}

static void on_smtp_stopped(void *arg)
{
	struct relay *relay = arg;

	api_server_stop(relay->api, relay->intake_deadline, on_api_stopped, relay);
}

void relay_stop(struct relay *relay, int64_t grace_ms, int status)
{
	int64_t intake_ms = grace_ms - RELAY_STOP_DELIVERY_MS - RELAY_STOP_CLOSE_MS;

	if (relay->stopping)
		return;
	relay->stopping = true;
	relay->status = status;
	log_info("relay.stopping", LOG_NUMBER("status", status));
	relay_end_trial(relay);
	relay->intake_deadline = clock_monotonic_ms() + (intake_ms > 0 ? intake_ms : 0);
	smtp_server_stop(relay->smtp, relay->intake_deadline, on_smtp_stopped, relay);
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
	(void)number;
	(void)what;
	relay_stop(arg, RELAY_STOP_GRACE_MS, 0);
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
		relay_configure(relay, config, false);
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
		relay_stop(relay, RELAY_STOP_GRACE_MS, 1);
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

/* ---- What the parts call ---- */

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

static void on_lag(unsigned ms, unsigned late_ms, void *arg)
{
	struct relay *relay = arg;

	relay->state.held_up_total++;
	relay->state.held_up_ms_total += ms;
	log_warning("loop.held-up", LOG_NUMBER("ms", ms), LOG_NUMBER("late_ms", late_ms));
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
	signer_watch(relay->signer, relay_signer_event, relay);
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
	relay->observe = observe_new(&(struct observe_context){.base = relay->base,
							       .queue = relay->queue,
							       .smtp = relay->smtp,
							       .delivery = relay->delivery,
							       .tls = relay->tls,
							       .submission = context,
							       .read = read_metrics,
							       .arg = relay});
	relay->expiry = expiry_new(relay->base);
	relay->supervisor = channel_new(relay->base, CHILD_CONTROL_FD, relay_frame, relay_supervisor_gone, relay);
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
