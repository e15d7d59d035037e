/*
 * The engine: claims, groups, hands to destinations.
 *
 * Memory and fairness. Work in hand (claimed, not yet reported) is topped up only while it is below HAND_LOW_RECIPIENTS, so a
 * destination that keeps up takes as much as it can and no more. When it stays above that for a second and there is more
 * than one destination, something is slow, and claiming goes on all the same: what a destination cannot hold is postponed,
 * so that mail for the others, behind it in the queue, is reached.
 */
#include "appliance/relay/delivery/delivery.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/relay/delivery/delivery_private.h"
#include "appliance/relay/delivery/dns.h"
#include "appliance/relay/delivery/maildir.h"
#include "appliance/relay/delivery/passwords.h"
#include "appliance/relay/delivery/reporter.h"
#include "appliance/relay/delivery/resolver.h"
#include "appliance/relay/delivery/routes.h"
#include "appliance/relay/delivery/tls_client.h"

#define CLAIM_RECIPIENTS 256 /* in one claim */
#define HAND_LOW_RECIPIENTS 512 /* below it the next claim is made */
#define POSTPONE_STEP_MS 2000 /* between the lots that a slow destination is given later */
#define POSTPONE_MAX_MS 600000
#define CROWDED_WAIT_MS 1000 /* claims while something is slow */
#define CLAIM_WAIT_MIN_MS 20
#define CLAIM_WAIT_MAX_MS 60000 /* the due event is only a hint */
#define CLAIM_RETRY_MS 1000 /* after a claim that failed */

/* Outlives the delivery when that is freed during a claim. */
struct claim_request {
	struct delivery *delivery;
};

struct delivery {
	struct event_base *base;
	struct queue *queue;
	struct config *config;
	char *helo;
	struct destination_context context;
	struct passwords passwords;
	struct reporter *reporter;
	struct routes routes;
	struct claim_request *claiming; /* NULL: no claim is under way */
	size_t in_hand; /* recipients claimed and not reported */
	bool hungry; /* there may be more to claim */
	bool has_unroutable; /* recipients were deferred for want of a configured server */
	struct event *timer; /* the next due recipient */
	struct event *crowded; /* claim although there is enough in hand */
	bool stopping;
	struct event *stop; /* at the deadline, or active as soon as nothing runs */
	void (*stopped)(void *arg);
	void *stopped_arg;
};

static void claim_more(struct delivery *delivery);

/* ---- Retrying early ---- */

static void on_retried(uint64_t changed, const struct err *err, void *arg)
{
	(void)arg;
	if (err != NULL)
		log_warning("delivery.retry-failed", LOG_ERR(err));
	else
		log_info("delivery.retrying", LOG_NUMBER("recipients", changed));
}

/* Nobody knows for what they wait. */
static void retry_waiting(struct delivery *delivery)
{
	const struct queue_filter everything = {0};

	queue_set(delivery->queue, &everything, QUEUE_RETRY_NOW, on_retried, NULL);
}

/* What goes where this destination goes; others have their own reasons to wait. */
static void retry_servers(struct delivery *delivery, const struct destination *destination)
{
	for (size_t i = 0; i < delivery->config->n_servers; i++) {
		const struct config_server *server = &delivery->config->servers[i];

		if (destination_serves(destination, server, NULL))
			queue_set(delivery->queue, &(struct queue_filter){.server = server->name}, QUEUE_RETRY_NOW, on_retried,
				  NULL);
	}
}

/* A next hop that is back shall get what waits for it now, not at the end of each recipient's own wait. */
static void on_recovered(const struct destination *destination, const uint64_t *messages, size_t count, void *arg)
{
	struct delivery *delivery = arg;

	if (count == 0)
		retry_servers(delivery, destination);
	for (size_t i = 0; i < count; i++)
		queue_set(delivery->queue, &(struct queue_filter){.message = messages[i]}, QUEUE_RETRY_NOW, on_retried, NULL);
}

/* ---- Handing out a claim ---- */

/* The groups of one claim, with where they go. */
struct lot {
	struct group *groups[CLAIM_RECIPIENTS];
	size_t count;
};

/* Recipients of one message stand near each other, so the search from the end is short. */
static struct group *group_for(struct lot *lot, const struct queue_item *item, uint64_t token, const char *domain)
{
	for (size_t i = lot->count; i-- > 0;) {
		if (group_takes(lot->groups[i], item, domain))
			return lot->groups[i];
	}
	lot->groups[lot->count] = group_new(item, token, domain);
	return lot->groups[lot->count++];
}

/* Where mail goes by domain: that of the address ("" when it has none); else NULL. */
static const char *domain_of(const struct delivery *delivery, const struct queue_item *item)
{
	const struct config_server *server = config_find_server(delivery->config, item->message->server);
	const char *at = strrchr(item->address, '@');

	if (server == NULL || server->n_next_hops > 0)
		return NULL;
	return at == NULL ? "" : at + 1;
}

static void sort_into_groups(struct delivery *delivery, struct lot *lot, struct queue_claim *claim)
{
	for (size_t i = 0; i < claim->count; i++) {
		const char *domain = domain_of(delivery, &claim->items[i]);

		group_add(group_for(lot, &claim->items[i], claim->token, domain), &claim->items[i]);
	}
}

static void refuse_unroutable(struct delivery *delivery, struct group *group)
{
	char *why = mem_format("server %s is not configured here", group->message->server);

	delivery->has_unroutable = true;
	group_settle_rest(group, QUEUE_DEFERRED, "4.3.5", why);
	free(why);
	reporter_take(delivery->reporter, group);
}

static void refuse_domainless(struct delivery *delivery, struct group *group)
{
	group_settle_rest(group, QUEUE_PERMANENT, "5.1.3", "the address has no domain to deliver to");
	reporter_take(delivery->reporter, group);
}

static void postpone(struct delivery *delivery, struct route *route, struct group *group)
{
	int64_t wait_ms = POSTPONE_STEP_MS * (int64_t)(1 + route->postponed / routes_waiting_limit(&delivery->routes));

	route->postponed += group->count;
	reporter_postpone(delivery->reporter, group, clock_wall_ms() + (wait_ms < POSTPONE_MAX_MS ? wait_ms : POSTPONE_MAX_MS),
			  "waiting for a connection to the next hop");
}

/* True when the group could go where it belongs. */
static bool hand_out(struct delivery *delivery, struct group *group)
{
	const struct config_server *server = config_find_server(delivery->config, group->message->server);
	struct route *route;

	if (server == NULL) {
		refuse_unroutable(delivery, group);
		return true;
	}
	if (group->domain != NULL && *group->domain == '\0') {
		refuse_domainless(delivery, group);
		return true;
	}
	route = routes_find(&delivery->routes, server, group->domain, &delivery->context);
	if (destination_waiting(route->destination) < routes_waiting_limit(&delivery->routes)) {
		route->postponed = 0;
		destination_add(route->destination, group);
		return true;
	}
	postpone(delivery, route, group);
	return false;
}

static void take_claim(struct delivery *delivery, struct queue_claim *claim)
{
	struct lot lot = {.count = 0};
	size_t stuck = 0;

	delivery->in_hand += claim->count;
	delivery->hungry |= claim->count == CLAIM_RECIPIENTS;
	sort_into_groups(delivery, &lot, claim);
	for (size_t i = 0; i < lot.count; i++) {
		if (!hand_out(delivery, lot.groups[i]))
			stuck++;
	}
	if (delivery->hungry && stuck > lot.count / 2 && delivery->claiming == NULL)
		claim_more(delivery); /* one destination fills the front of the queue: look behind it */
}

/* ---- Claiming ---- */

static void arm(struct event *event, int64_t wait_ms)
{
	const struct timeval wait = {.tv_sec = wait_ms / 1000, .tv_usec = wait_ms % 1000 * 1000};

	event_add(event, &wait);
}

static int64_t wait_for_due(const struct delivery *delivery)
{
	int64_t due = queue_next_due(delivery->queue), wait_ms;

	if (due < 0)
		return CLAIM_WAIT_MAX_MS;
	wait_ms = due - clock_wall_ms();
	return wait_ms < CLAIM_WAIT_MIN_MS ? CLAIM_WAIT_MIN_MS : wait_ms > CLAIM_WAIT_MAX_MS ? CLAIM_WAIT_MAX_MS : wait_ms;
}

static void maybe_claim(struct delivery *delivery);
static void check_stopped(struct delivery *delivery);

static void take_claim_answer(struct delivery *delivery, struct queue_claim *claim, const struct err *err)
{
	delivery->claiming = NULL;
	if (delivery->stopping) {
		check_stopped(delivery);
	} else if (err != NULL) {
		log_error("delivery.claim-failed", LOG_ERR(err));
		arm(delivery->timer, CLAIM_RETRY_MS);
	} else {
		take_claim(delivery, claim);
		maybe_claim(delivery);
	}
}

static void on_claim(struct queue_claim *claim, const struct err *err, void *arg)
{
	struct claim_request *request = arg;

	if (request->delivery != NULL)
		take_claim_answer(request->delivery, claim, err);
	free(request);
	if (claim != NULL)
		queue_claim_free(claim);
}

static void claim_more(struct delivery *delivery)
{
	delivery->hungry = false;
	delivery->claiming = mem_new(sizeof *delivery->claiming);
	delivery->claiming->delivery = delivery;
	event_del(delivery->timer);
	event_del(delivery->crowded);
	queue_claim(delivery->queue, CLAIM_RECIPIENTS, on_claim, delivery->claiming);
}

/* Claims when there is room; else sees to it that somebody comes back here. */
static void maybe_claim(struct delivery *delivery)
{
	if (delivery->claiming != NULL || delivery->stopping || delivery->config == NULL)
		return;
	if (!delivery->hungry)
		arm(delivery->timer, wait_for_due(delivery));
	else if (delivery->in_hand < HAND_LOW_RECIPIENTS)
		claim_more(delivery);
	else if (delivery->routes.count > 1 && !event_pending(delivery->crowded, EV_TIMEOUT, NULL))
		arm(delivery->crowded, CROWDED_WAIT_MS);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	delivery_wake(arg);
}

static void on_crowded(evutil_socket_t fd, short what, void *arg)
{
	struct delivery *delivery = arg;

	(void)fd;
	(void)what;
	if (delivery->claiming == NULL && !delivery->stopping)
		claim_more(delivery);
}

void delivery_wake(struct delivery *delivery)
{
	delivery->hungry = true;
	maybe_claim(delivery);
}

/* ---- What the parts tell ---- */

static void on_handed_over(size_t recipients, void *arg)
{
	struct delivery *delivery = arg;

	delivery->in_hand -= recipients;
	if (delivery->hungry)
		maybe_claim(delivery);
}

/* What was deferred is known to the queue only now: the timer waits for the recipient that is due next. */
static void on_stored(void *arg)
{
	struct delivery *delivery = arg;

	check_stopped(delivery);
	maybe_claim(delivery);
}

static const struct reporter_events reporter_events = {.handed_over = on_handed_over, .stored = on_stored};

static void on_settled(struct group *group, void *arg)
{
	struct delivery *delivery = arg;

	reporter_take(delivery->reporter, group);
}

static void on_freed_lane(void *arg)
{
	check_stopped(arg);
}

/* ---- Stopping ---- */

static bool is_working(const struct delivery *delivery)
{
	return delivery->claiming != NULL || reporter_unfinished(delivery->reporter) > 0 || routes_are_busy(&delivery->routes);
}

static void check_stopped(struct delivery *delivery)
{
	if (delivery->stopping && !is_working(delivery))
		event_active(delivery->stop, 0, 0);
}

static void on_stop(evutil_socket_t fd, short what, void *arg)
{
	struct delivery *delivery = arg;
	void (*stopped)(void *arg) = delivery->stopped;

	(void)fd;
	(void)what;
	event_del(delivery->stop);
	routes_clear(&delivery->routes);
	delivery->stopped = NULL;
	if (stopped != NULL)
		stopped(delivery->stopped_arg);
}

void delivery_stop(struct delivery *delivery, int64_t deadline_ms, void (*stopped)(void *arg), void *arg)
{
	int64_t wait_ms = deadline_ms - clock_monotonic_ms();

	delivery->stopping = true;
	delivery->stopped = stopped;
	delivery->stopped_arg = arg;
	event_del(delivery->timer);
	event_del(delivery->crowded);
	arm(delivery->stop, wait_ms > 0 ? wait_ms : 0);
	routes_stop(&delivery->routes);
	check_stopped(delivery);
}

/* ---- The engine itself ---- */

/* TLS that cannot be set up, such as with a CA file that the relay may not read, is told at commit. */
static bool check_tls(const struct config_next_hop *hop, struct err *err)
{
	struct tls_client *tls;

	if (hop->host == NULL || hop->tls == CONFIG_TLS_NONE)
		return true;
	tls = tls_client_new(hop, err);
	tls_client_free(tls);
	return tls != NULL || err_prefix(err, "%s", hop->name);
}

static bool check_server(const struct config_server *server, struct err *err)
{
	for (size_t i = 0; i < server->n_next_hops; i++) {
		const char *maildir = server->next_hops[i].maildir;

		if (!check_tls(&server->next_hops[i], err))
			return false;
		if (maildir == NULL)
			continue;
		if (server->n_next_hops > 1)
			return err_set(err, ERR_INVALID, "maildir:%s must be the only next-hop", maildir);
		if (!maildir_check(maildir, err))
			return false;
	}
	return true;
}

bool delivery_check(const struct config *config, struct err *err)
{
	for (size_t i = 0; i < config->n_servers; i++) {
		if (!check_server(&config->servers[i], err))
			return err_prefix(err, "server %s next-hop", config->servers[i].name);
	}
	return true;
}

struct delivery *delivery_new(struct event_base *base, struct queue *queue, struct pool *pool)
{
	struct delivery *delivery = mem_new(sizeof *delivery);

	delivery->base = base;
	delivery->queue = queue;
	delivery->context = (struct destination_context){.base = base,
							 .queue = queue,
							 .pool = pool,
							 .resolver = resolver_new(base),
							 .dns = dns_new(base),
							 .passwords = &delivery->passwords,
							 .timeouts = &smtp_timeouts_default,
							 .settled = on_settled,
							 .recovered = on_recovered,
							 .freed_lane = on_freed_lane,
							 .arg = delivery};
	delivery->reporter = reporter_new(base, queue, &reporter_events, delivery);
	delivery->timer = event_new(base, -1, 0, on_timer, delivery);
	delivery->crowded = event_new(base, -1, 0, on_crowded, delivery);
	delivery->stop = event_new(base, -1, 0, on_stop, delivery);
	return delivery;
}

void delivery_set_timeouts(struct delivery *delivery, const struct smtp_timeouts *timeouts)
{
	delivery->context.timeouts = timeouts;
}

void delivery_configure(struct delivery *delivery, struct config *config)
{
	struct config *old = delivery->config;
	bool stranded = delivery->has_unroutable || routes_have_deferred(&delivery->routes); /* who need not wait now */

	delivery->config = config_ref(config);
	reporter_configure(delivery->reporter, config);
	free(delivery->helo);
	delivery->helo = mem_string(config->host_name);
	delivery->context.helo = delivery->helo;
	resolver_configure(delivery->context.resolver, config->name_servers, config->n_name_servers);
	dns_set_servers(delivery->context.dns, config->name_servers, config->n_name_servers);
	routes_update(&delivery->routes, config, &delivery->context);
	config_unref(old);
	delivery->has_unroutable = false;
	if (stranded)
		retry_waiting(delivery);
	delivery_wake(delivery);
}

void delivery_set_password(struct delivery *delivery, const char *sealed, struct secret *password)
{
	passwords_put(&delivery->passwords, sealed, password);
	if (delivery->config == NULL)
		return;
	routes_forget_failures(&delivery->routes);
	if (routes_have_deferred(&delivery->routes))
		retry_waiting(delivery);
}

void delivery_forget_passwords(struct delivery *delivery)
{
	passwords_clear(&delivery->passwords);
	routes_log_out(&delivery->routes);
}

struct delivery_state delivery_state(const struct delivery *delivery)
{
	struct delivery_state state = {0};

	reporter_state(delivery->reporter, &state);
	state.connections = routes_lanes(&delivery->routes);
	return state;
}

void delivery_free(struct delivery *delivery)
{
	if (delivery == NULL)
		return;
	if (delivery->claiming != NULL)
		delivery->claiming->delivery = NULL;
	routes_clear(&delivery->routes);
	reporter_free(delivery->reporter);
	resolver_free(delivery->context.resolver);
	dns_free(delivery->context.dns);
	event_free(delivery->timer);
	event_free(delivery->crowded);
	event_free(delivery->stop);
	config_unref(delivery->config);
	passwords_clear(&delivery->passwords);
	free(delivery->helo);
	free(delivery);
}
