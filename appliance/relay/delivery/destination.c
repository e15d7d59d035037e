#include "appliance/relay/delivery/destination.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/relay/delivery/hops.h"
#include "appliance/relay/delivery/maildir_writer.h"
#include "appliance/relay/delivery/mx.h"
#include "appliance/relay/delivery/passwords.h"

#define MX_STALE_MS 60000 /* exchangers that cannot be asked for anew are used so much longer */

enum lane_state { LANE_OPENING, LANE_IDLE, LANE_BUSY, LANE_ENDING };

struct lane {
	struct lane *next;
	struct destination *destination;
	enum lane_state state;
	struct smtp_client *client; /* one of these two */
	struct maildir_writer *writer;
	struct hop *hop; /* of the client */
};

struct destination {
	const struct destination_context *context;
	char *maildir; /* NULL: hops */
	char *domain; /* NULL: configured hops, or the maildir */
	enum config_tls mx_tls;
	uint16_t mx_port;
	struct mx_lookup *lookup; /* under way */
	int64_t mx_until; /* monotonic ms: so long the hops of the domain hold */
	struct hops hops;
	struct group_list waiting;
	struct lane *lanes;
	unsigned limit, window;
	int64_t full_until; /* monotonic ms; the window does not grow before */
	unsigned losses; /* in a row */
	bool lossy; /* down because connections were lost, not refused: a new one proves nothing */
	bool has_deferred; /* recipients were deferred since the next hops went down */
	uint64_t deferred[DESTINATION_REMEMBERED_MESSAGES]; /* messages, of a domain */
	size_t n_deferred; /* more than fit: they are not remembered */
	char *down_reason; /* of the last failure; NULL: none yet */
	char down_status[SMTP_REPLY_STATUS_MAX_BYTES];
	struct event *probe;
	bool stopping;
};

static void pump(struct destination *destination);

/* ---- Lanes ---- */

/* An idle connection may be on its way out. */
static bool lane_is(const struct lane *lane, enum lane_state state)
{
	return lane->state == state && (state != LANE_IDLE || lane->client == NULL || smtp_client_is_idle(lane->client));
}

static unsigned count_lanes(const struct destination *destination, enum lane_state state, const struct hop *hop)
{
	unsigned count = 0;

	for (const struct lane *lane = destination->lanes; lane != NULL; lane = lane->next)
		count += lane_is(lane, state) && (hop == NULL || lane->hop == hop);
	return count;
}

static struct lane *find_idle(const struct destination *destination)
{
	struct lane *lane = destination->lanes;

	while (lane != NULL && !lane_is(lane, LANE_IDLE))
		lane = lane->next;
	return lane;
}

static struct lane *lane_new(struct destination *destination)
{
	struct lane *lane = mem_new(sizeof *lane);

	lane->destination = destination;
	lane->next = destination->lanes;
	destination->lanes = lane;
	return lane;
}

static void lane_free(struct lane *lane)
{
	struct lane **link = &lane->destination->lanes;

	while (*link != lane)
		link = &(*link)->next;
	*link = lane->next;
	smtp_client_free(lane->client);
	hop_unref(lane->hop);
	maildir_writer_free(lane->writer);
	free(lane);
}

static void lane_send(struct lane *lane, struct group *group)
{
	lane->state = LANE_BUSY;
	if (lane->client != NULL)
		smtp_client_send(lane->client, group);
	else
		maildir_writer_send(lane->writer, group);
}

/* Leaky growth: one more lane for each transaction that was answered. */
static void grow_window(struct destination *destination)
{
	if (destination->window < destination->limit && clock_monotonic_ms() >= destination->full_until)
		destination->window++;
}

/* Results first, then what the server did not take in the same transaction. */
static void take_finished(struct lane *lane, struct group *group)
{
	struct destination *destination = lane->destination;
	struct group *again = group_split_again(group);

	if (again != NULL)
		group_list_prepend(&destination->waiting, again);
	destination->context->settled(group, destination->context->arg);
}

/* ---- A next hop that is down ---- */

static void arm_probe(struct destination *destination)
{
	int64_t wait_ms = hops_next_try(&destination->hops) - clock_monotonic_ms();
	struct timeval wait = {0};

	if (destination->stopping || !destination->has_deferred || destination->lossy)
		return;
	if (wait_ms > 0)
		wait = (struct timeval){.tv_sec = wait_ms / 1000, .tv_usec = wait_ms % 1000 * 1000};
	event_add(destination->probe, &wait);
}

static void remember(struct destination *destination, uint64_t message)
{
	if (destination->n_deferred < DESTINATION_REMEMBERED_MESSAGES)
		destination->deferred[destination->n_deferred] = message;
	destination->n_deferred++;
}

static void defer_down(struct destination *destination, struct group *group)
{
	bool insecure = strncmp(destination->down_status, "4.7.", 4) == 0;
	char *reply = mem_format(insecure ? "the next hop cannot be used securely: %s" : "the next hop is down: %s",
				 destination->down_reason);

	group_settle_rest(group, QUEUE_DEFERRED, destination->down_status, reply);
	free(reply);
	destination->has_deferred = true;
	remember(destination, group->message->id);
	destination->context->settled(group, destination->context->arg);
}

/* Nothing can be sent now, and no lane is there that might tell otherwise. */
static bool is_down(const struct destination *destination)
{
	return destination->maildir == NULL && hops_usable(&destination->hops, clock_monotonic_ms(), arc4random()) == NULL &&
	       count_lanes(destination, LANE_OPENING, NULL) + count_lanes(destination, LANE_BUSY, NULL) +
		       count_lanes(destination, LANE_IDLE, NULL) ==
		   0;
}

static void settle_waiting(struct destination *destination, enum queue_result_kind kind, const char *status, const char *reason)
{
	struct group *group;

	while ((group = group_list_take(&destination->waiting)) != NULL) {
		group_settle_rest(group, kind, status, reason);
		destination->context->settled(group, destination->context->arg);
	}
}

/* No mail exchanger of the domain has an address: that is no matter of time (RFC 5321 §5.1). */
static bool leads_nowhere(const struct destination *destination)
{
	for (size_t i = 0; i < destination->hops.count; i++) {
		if (!destination->hops.items[i]->unknown)
			return false;
	}
	return destination->domain != NULL && destination->hops.count > 0;
}

static void defer_waiting(struct destination *destination)
{
	struct group *group;

	if (leads_nowhere(destination)) {
		destination->mx_until = 0;
		settle_waiting(destination, QUEUE_PERMANENT, "5.4.4", destination->down_reason);
		return;
	}
	while ((group = group_list_take(&destination->waiting)) != NULL)
		defer_down(destination, group);
	arm_probe(destination);
}

static void fail_hop(struct destination *destination, struct hop *hop, const char *status, const struct err *why)
{
	int64_t now = clock_monotonic_ms();

	free(destination->down_reason);
	destination->down_reason = mem_string(why->text);
	snprintf(destination->down_status, sizeof destination->down_status, "%s", status);
	destination->window = 1;
	hop->unknown = why->code == ERR_NOT_FOUND;
	if (hop_failed(hop, now))
		log_warning("delivery.next-hop-down", LOG_TEXT("next_hop", hop->settings.host),
			    LOG_NUMBER("port", hop->settings.port), LOG_TEXT("status", status), LOG_ERR(why),
			    LOG_NUMBER("failures", hop->failures), LOG_NUMBER("again_in_ms", hop->down_until - now));
}

static void tell_recovered(struct destination *destination)
{
	if (!destination->has_deferred)
		return;
	destination->has_deferred = false;
	if (destination->domain == NULL || destination->n_deferred > DESTINATION_REMEMBERED_MESSAGES)
		destination->n_deferred = 0;
	destination->context->recovered(destination->deferred, destination->n_deferred, destination->context->arg);
	destination->n_deferred = 0;
}

/* After lost connections only an answered transaction counts. */
static void take_reached(struct destination *destination, struct hop *hop)
{
	if (destination->lossy)
		return;
	if (hop->down_until > 0)
		log_info("delivery.next-hop-up", LOG_TEXT("next_hop", hop->settings.host),
			 LOG_NUMBER("port", hop->settings.port));
	hop_reached(hop);
	if (destination->window < DESTINATION_WINDOW_FIRST)
		destination->window = DESTINATION_WINDOW_FIRST;
	tell_recovered(destination);
}

/* ---- SMTP lanes ---- */

static void on_finished(struct group *group, bool answered, void *arg)
{
	struct lane *lane = arg;
	struct destination *destination = lane->destination;

	lane->state = LANE_ENDING; /* idle follows, or closed */
	if (answered) {
		destination->losses = 0;
		destination->lossy = false;
		hop_answered(lane->hop);
		grow_window(destination);
		tell_recovered(destination);
	}
	take_finished(lane, group);
	destination->context->freed_lane(destination->context->arg);
}

static void on_idle(void *arg)
{
	struct lane *lane = arg;
	struct destination *destination = lane->destination;
	bool opened = lane->state == LANE_OPENING;

	lane->state = LANE_IDLE;
	if (opened)
		take_reached(destination, lane->hop);
	pump(destination);
}

/* A hop that refuses one more connection while it serves others is full, not down. */
static void take_refusal(struct destination *destination, struct hop *hop, const struct smtp_client_closed *how)
{
	unsigned others = count_lanes(destination, LANE_IDLE, hop) + count_lanes(destination, LANE_BUSY, hop);

	if (others == 0) {
		fail_hop(destination, hop, how->status, &how->why);
		return;
	}
	destination->window = others;
	destination->full_until = clock_monotonic_ms() + DESTINATION_FULL_MS;
}

static void take_loss(struct destination *destination, struct hop *hop, const struct err *why)
{
	if (++destination->losses < DESTINATION_LOSSES_MAX && !destination->lossy)
		return;
	destination->losses = 0;
	destination->lossy = true;
	fail_hop(destination, hop, "4.4.2", why);
}

static void on_closed(const struct smtp_client_closed *closed, void *arg)
{
	struct lane *lane = arg;
	struct destination *destination = lane->destination;
	struct smtp_client_closed how = *closed;
	struct hop *hop = hop_ref(lane->hop);

	lane_free(lane);
	if (how.unsent != NULL)
		group_list_prepend(&destination->waiting, how.unsent);
	if (!destination->stopping && !how.established && how.why.code != ERR_CANCELLED)
		take_refusal(destination, hop, &how);
	else if (!destination->stopping && !how.polite && how.unsent == NULL)
		take_loss(destination, hop, &how.why);
	hop_unref(hop);
	pump(destination);
	destination->context->freed_lane(destination->context->arg);
}

static const struct smtp_client_events client_events = {.finished = on_finished, .idle = on_idle, .closed = on_closed};

static void open_client(struct destination *destination, struct hop *hop)
{
	const struct destination_context *context = destination->context;
	struct lane *lane = lane_new(destination);
	const struct smtp_client_settings settings = {.base = context->base,
						      .resolver = context->resolver,
						      .queue = context->queue,
						      .pool = context->pool,
						      .timeouts = context->timeouts,
						      .hop = &hop->settings,
						      .tls = hop->tls,
						      .passwords = context->passwords,
						      .helo = context->helo,
						      .events = &client_events,
						      .arg = lane};

	lane->hop = hop_ref(hop);
	lane->client = smtp_client_new(&settings);
}

/* ---- Maildir lanes ---- */

static void on_written(struct group *group, void *arg)
{
	struct lane *lane = arg;
	struct destination *destination = lane->destination;

	lane->state = LANE_IDLE;
	grow_window(destination);
	take_finished(lane, group);
	pump(destination);
	destination->context->freed_lane(destination->context->arg);
}

static void open_writer(struct destination *destination)
{
	const struct destination_context *context = destination->context;
	struct lane *lane = lane_new(destination);

	lane->writer = maildir_writer_new(context->base, context->queue, context->pool, destination->maildir, on_written, lane);
	lane->state = LANE_IDLE;
}

/* ---- The work ---- */

/* What must be there before it is worth a connection. */
static bool prepare(const struct destination *destination, struct hop *hop, struct err *err)
{
	const struct config_next_hop *settings = &hop->settings;

	if (settings->user != NULL && passwords_find(destination->context->passwords, settings->sealed_password) == NULL)
		return err_set(err, ERR_DENIED, "%s: the password of %s is locked: hsm login", settings->name, settings->user);
	if (!hop_prepare_tls(hop, err))
		return err_prefix(err, "%s", settings->name);
	return true;
}

static bool open_lane(struct destination *destination)
{
	struct hop *hop;
	struct err err;

	if (destination->maildir != NULL) {
		open_writer(destination);
		return true;
	}
	while ((hop = hops_usable(&destination->hops, clock_monotonic_ms(), arc4random())) != NULL) {
		if (prepare(destination, hop, &err)) {
			open_client(destination, hop);
			return true;
		}
		fail_hop(destination, hop, "4.7.0", &err);
	}
	return false;
}

static void fill_idle_lanes(struct destination *destination)
{
	struct lane *lane;

	while (destination->waiting.first != NULL && (lane = find_idle(destination)) != NULL)
		lane_send(lane, group_list_take(&destination->waiting));
}

static bool wants_lane(const struct destination *destination)
{
	unsigned window = destination->window < destination->limit ? destination->window : destination->limit;

	return destination_lanes(destination) < window &&
	       destination->waiting.groups >
		   count_lanes(destination, LANE_OPENING, NULL) + count_lanes(destination, LANE_IDLE, NULL);
}

/* ---- Mail exchangers ---- */

static void take_exchangers(struct destination *destination, const struct mx_answer *answer)
{
	struct config_next_hop *hops = mem_new_array(answer->count, sizeof *hops);
	size_t count = answer->count;

	for (size_t i = 0; i < count; i++) {
		char *name = mem_string(answer->hosts[i].name);

		hops[i] = (struct config_next_hop){.name = name,
						   .host = name,
						   .port = destination->mx_port,
						   .priority = answer->hosts[i].preference,
						   .weight = 1,
						   .tls = destination->mx_tls};
	}
	hops_replace(&destination->hops, hops, count);
	for (size_t i = 0; i < count; i++)
		free(hops[i].host);
	free(hops);
	destination->mx_until = clock_monotonic_ms() + answer->ttl_seconds * INT64_C(1000);
}

static void on_exchangers(const struct mx_answer *answer, void *arg)
{
	struct destination *destination = arg;

	destination->lookup = NULL;
	if (answer->outcome == MX_FOUND)
		take_exchangers(destination, answer);
	else if (answer->outcome == MX_REFUSED || destination->hops.count == 0)
		settle_waiting(destination, answer->outcome == MX_REFUSED ? QUEUE_PERMANENT : QUEUE_DEFERRED, answer->status,
			       answer->reason);
	else
		destination->mx_until = clock_monotonic_ms() + MX_STALE_MS; /* the old ones, while no name server answers */
	pump(destination);
	destination->context->freed_lane(destination->context->arg);
}

/* Is it known where mail goes? Asks when it is not. */
static bool is_routed(struct destination *destination)
{
	if (destination->domain == NULL || destination->waiting.first == NULL)
		return true;
	if (destination->lookup == NULL && clock_monotonic_ms() < destination->mx_until)
		return true;
	if (destination->lookup == NULL)
		destination->lookup = mx_begin(destination->context->dns, destination->domain, destination->context->helo,
					       on_exchangers, destination);
	return false;
}

static void pump(struct destination *destination)
{
	if (destination->stopping || !is_routed(destination))
		return;
	fill_idle_lanes(destination);
	while (wants_lane(destination) && open_lane(destination))
		;
	fill_idle_lanes(destination);
	if ((destination->waiting.first != NULL || destination->has_deferred) && is_down(destination))
		defer_waiting(destination);
}

static void on_probe(evutil_socket_t fd, short what, void *arg)
{
	struct destination *destination = arg;

	(void)fd;
	(void)what;
	if (destination->lanes == NULL && !open_lane(destination))
		arm_probe(destination);
}

/* ---- The public calls ---- */

/* A maildir is the only next hop of its server: delivery_check sees to it. */
static const char *maildir_of(const struct config_server *server)
{
	for (size_t i = 0; i < server->n_next_hops; i++) {
		if (server->next_hops[i].maildir != NULL)
			return server->next_hops[i].maildir;
	}
	return NULL;
}

struct destination *destination_new(const struct destination_context *context, const struct config_server *server,
				    const char *domain)
{
	struct destination *destination = mem_new(sizeof *destination);

	destination->context = context;
	if (maildir_of(server) != NULL)
		destination->maildir = mem_string(maildir_of(server));
	else if (server->n_next_hops > 0)
		hops_init(&destination->hops, server->next_hops, server->n_next_hops);
	else
		destination->domain = mem_string(domain);
	destination->mx_tls = server->mx_tls;
	destination->mx_port = server->mx_port;
	destination->limit = 1;
	destination->window = DESTINATION_WINDOW_FIRST;
	destination->probe = event_new(context->base, -1, 0, on_probe, destination);
	return destination;
}

static bool serves_domain(const struct destination *destination, const struct config_server *server, const char *domain)
{
	return destination->domain != NULL && server->n_next_hops == 0 && destination->mx_tls == server->mx_tls &&
	       destination->mx_port == server->mx_port && (domain == NULL || strcasecmp(destination->domain, domain) == 0);
}

bool destination_is_forgettable(const struct destination *destination)
{
	return destination->domain != NULL && destination->lookup == NULL && destination->lanes == NULL &&
	       destination->waiting.first == NULL && !destination->has_deferred;
}

bool destination_serves(const struct destination *destination, const struct config_server *server, const char *domain)
{
	const char *maildir = maildir_of(server);

	if (destination->domain != NULL || server->n_next_hops == 0)
		return serves_domain(destination, server, domain);
	if (destination->maildir != NULL || maildir != NULL)
		return destination->maildir != NULL && maildir != NULL && strcmp(destination->maildir, maildir) == 0;
	if (destination->hops.count != server->n_next_hops)
		return false;
	for (size_t i = 0; i < server->n_next_hops; i++) {
		if (!config_next_hop_equal(&destination->hops.items[i]->settings, &server->next_hops[i]))
			return false;
	}
	return true;
}

void destination_set_limit(struct destination *destination, unsigned lanes)
{
	destination->limit = lanes > 0 ? lanes : 1;
}

void destination_add(struct destination *destination, struct group *group)
{
	group_list_append(&destination->waiting, group);
	pump(destination);
}

size_t destination_waiting(const struct destination *destination)
{
	return destination->waiting.recipients;
}

unsigned destination_lanes(const struct destination *destination)
{
	unsigned count = 0;

	for (const struct lane *lane = destination->lanes; lane != NULL; lane = lane->next)
		count++;
	return count;
}

unsigned destination_busy(const struct destination *destination)
{
	return count_lanes(destination, LANE_BUSY, NULL);
}

bool destination_has_deferred(const struct destination *destination)
{
	return destination->has_deferred;
}

void destination_forget_failures(struct destination *destination)
{
	hops_forget_failures(&destination->hops);
	destination->lossy = false;
	destination->mx_until = 0;
	arm_probe(destination);
}

void destination_log_out(struct destination *destination)
{
	for (struct lane *lane = destination->lanes; lane != NULL; lane = lane->next) {
		if (lane->client != NULL && lane->hop->settings.user != NULL)
			smtp_client_quit(lane->client);
	}
}

static void free_waiting(struct destination *destination)
{
	struct group *group;

	while ((group = group_list_take(&destination->waiting)) != NULL)
		group_free(group);
}

void destination_stop(struct destination *destination)
{
	destination->stopping = true;
	event_del(destination->probe);
	mx_cancel(destination->lookup);
	destination->lookup = NULL;
	free_waiting(destination);
	for (struct lane *lane = destination->lanes; lane != NULL; lane = lane->next) {
		if (lane->client != NULL)
			smtp_client_quit(lane->client);
	}
}

void destination_free(struct destination *destination)
{
	if (destination == NULL)
		return;
	mx_cancel(destination->lookup);
	free_waiting(destination);
	while (destination->lanes != NULL)
		lane_free(destination->lanes);
	event_free(destination->probe);
	hops_clear(&destination->hops);
	free(destination->maildir);
	free(destination->domain);
	free(destination->down_reason);
	free(destination);
}
