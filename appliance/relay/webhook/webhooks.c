#include "appliance/relay/webhook/webhooks.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/relay/delivery/passwords.h"
#include "appliance/relay/webhook/poster.h"
#include "appliance/relay/webhook/webhook_body.h"

#define KINDS 2 /* API_DELIVERIES, API_BOUNCES: in this order */

struct webhook {
	struct webhooks *owner;
	struct config_webhook config;
	struct event *timer;
	struct post *post;
	bool asking; /* the store answers to this */
	bool gone; /* no longer configured: freed when nobody asks for it */
	bool wanted; /* of the configuration that is being applied */
	uint64_t done[KINDS]; /* events up to here were taken, of each kind */

	/* the batch */
	struct buf bodies[KINDS];
	uint64_t first, last; /* events */
	size_t count;
	int kind; /* whose body is being posted */
	unsigned failures; /* in a row */
	struct webhook *next;
};

struct webhooks {
	struct event_base *base;
	struct queue *queue;
	struct poster *poster;
	struct passwords passwords;
	struct webhook *first;
	struct webhooks_state state;
	bool stopped;
};

static void post_next(struct webhook *webhook);

/* ---- time ---- */

static void look_in(struct webhook *webhook, int64_t ms)
{
	const struct timeval wait = {.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	evtimer_add(webhook->timer, &wait);
}

static int64_t retry_ms(unsigned failures)
{
	int64_t wait = INT64_C(1000) << (failures < 10 ? failures - 1 : 9);

	return wait < WEBHOOK_RETRY_MAX_MS ? wait : WEBHOOK_RETRY_MAX_MS;
}

/* ---- the end ---- */

static void drop_batch(struct webhook *webhook)
{
	for (int kind = 0; kind < KINDS; kind++)
		buf_wipe_clear(&webhook->bodies[kind]);
	webhook->count = 0;
}

static void free_if_over(struct webhook *webhook)
{
	if (!webhook->gone || webhook->asking)
		return;
	drop_batch(webhook);
	event_free(webhook->timer);
	config_webhook_clear(&webhook->config);
	free(webhook);
}

/* True: nothing more is to be done for it, and it may be freed. */
static bool is_over(struct webhook *webhook)
{
	webhook->asking = false;
	if (!webhook->gone && !webhook->owner->stopped)
		return false;
	free_if_over(webhook);
	return true;
}

static void stop_one(struct webhook *webhook)
{
	evtimer_del(webhook->timer);
	post_cancel(webhook->post);
	webhook->post = NULL;
}

/* ---- posting ---- */

static void on_placed(const struct err *err, void *arg)
{
	struct webhook *webhook = arg;

	if (is_over(webhook))
		return;
	if (err != NULL)
		log_warning("webhook.place-failed", LOG_TEXT("webhook", webhook->config.name), LOG_ERR(err));
	look_in(webhook, err == NULL ? 0 : WEBHOOK_POLL_MS);
}

static void end_batch(struct webhook *webhook)
{
	webhook->owner->state.events_total += webhook->count;
	if (webhook->failures > 0)
		log_info("webhook.answers", LOG_TEXT("webhook", webhook->config.name));
	webhook->failures = 0;
	drop_batch(webhook);
	webhook->asking = true;
	event_set_place(webhook->owner->queue, webhook->config.name, webhook->last, on_placed, webhook);
}

/* The batch is read again before the next attempt: what was too much meanwhile is no longer in it. */
static void on_posted(const struct err *err, void *arg)
{
	struct webhook *webhook = arg;

	webhook->post = NULL;
	if (err == NULL) {
		webhook->done[webhook->kind++] = webhook->last;
		post_next(webhook);
		return;
	}
	webhook->owner->state.failed_posts_total++;
	webhook->failures++;
	log_warning("webhook.failed", LOG_TEXT("webhook", webhook->config.name), LOG_NUMBER("events", webhook->count),
		    LOG_NUMBER("failures", webhook->failures), LOG_ERR(err));
	drop_batch(webhook);
	look_in(webhook, retry_ms(webhook->failures));
}

static void post(struct webhook *webhook, const struct secret *secret)
{
	struct bytes body = buf_bytes(&webhook->bodies[webhook->kind]);
	int64_t now = clock_wall_seconds();
	char signature[WEBHOOK_SIGNATURE_BYTES], *headers[4] = {NULL};

	headers[0] = mem_format("X-Inkan-Delivery: %s-%" PRIx64 "-%" PRIx64,
				api_event_kind_name((enum api_event_kind)webhook->kind), webhook->first, webhook->last);
	headers[1] = mem_format("X-Inkan-Timestamp: %" PRId64, now);
	if (secret != NULL) {
		webhook_sign(signature, secret_bytes(secret), now, body);
		headers[2] = mem_format("X-Inkan-Signature: %s", signature);
	}
	webhook->owner->state.posts_total++;
	webhook->post =
	    poster_post(webhook->owner->poster,
			&(struct post_request){
			    .url = webhook->config.url, .ca_file = webhook->config.ca_file, .headers = headers, .body = body},
			on_posted, webhook);
	for (size_t i = 0; headers[i] != NULL; i++)
		free(headers[i]);
}

static void post_next(struct webhook *webhook)
{
	const char *sealed = webhook->config.sealed_secret;

	while (webhook->kind < KINDS && webhook->bodies[webhook->kind].len == 0)
		webhook->kind++;
	if (webhook->kind == KINDS)
		end_batch(webhook);
	else
		post(webhook, sealed == NULL ? NULL : passwords_find(&webhook->owner->passwords, sealed));
}

/* ---- looking for events ---- */

/* A secret that is configured must be there: nothing goes out unsigned meanwhile. */
static bool is_locked(const struct webhook *webhook)
{
	const char *sealed[] = {webhook->config.sealed_api_key, webhook->config.sealed_secret};

	for (size_t i = 0; i < sizeof sealed / sizeof *sealed; i++)
		if (sealed[i] != NULL && passwords_find(&webhook->owner->passwords, sealed[i]) == NULL)
			return true;
	return false;
}

static bool is_full(const struct webhook *webhook, const struct event_row *rows, size_t count)
{
	return count >= webhook->config.batch || webhook->failures > 0 ||
	       clock_wall_ms() - rows[0].created >= webhook->config.interval_ms;
}

static void make_bodies(struct webhook *webhook, const struct event_row *rows, size_t count)
{
	const bool wanted[KINDS] = {webhook->config.deliveries, webhook->config.bounces};
	const char *sealed = webhook->config.sealed_api_key;
	const struct secret *key = sealed == NULL ? NULL : passwords_find(&webhook->owner->passwords, sealed);

	drop_batch(webhook);
	for (int kind = 0; kind < KINDS; kind++)
		if (wanted[kind])
			webhook_body_write(&webhook->bodies[kind], key == NULL ? NULL : secret_text(key), webhook->config.server,
					   (enum api_event_kind)kind, rows, count, webhook->done[kind]);
	webhook->first = rows[0].id;
	webhook->last = rows[count - 1].id;
	webhook->count = count;
	webhook->kind = 0;
}

static void note_gap(struct webhook *webhook, const struct event_gap *gap)
{
	webhook->owner->state.dropped_total += gap->skipped;
	log_warning("webhook.dropped", LOG_TEXT("webhook", webhook->config.name), LOG_NUMBER("events", gap->skipped));
	event_set_place(webhook->owner->queue, webhook->config.name, gap->until, NULL, NULL);
}

static void on_next(const struct event_row *rows, size_t count, const struct event_gap *gap, const struct err *err, void *arg)
{
	struct webhook *webhook = arg;

	if (is_over(webhook))
		return;
	if (err != NULL)
		log_warning("webhook.list-failed", LOG_TEXT("webhook", webhook->config.name), LOG_ERR(err));
	if (gap != NULL && err == NULL)
		note_gap(webhook, gap);
	if (count == 0 || is_locked(webhook) || !is_full(webhook, rows, count)) {
		look_in(webhook, WEBHOOK_POLL_MS);
		return;
	}
	make_bodies(webhook, rows, count);
	post_next(webhook);
}

static void on_time(evutil_socket_t fd, short what, void *arg)
{
	struct webhook *webhook = arg;

	(void)fd;
	(void)what;
	webhook->asking = true;
	event_next(webhook->owner->queue, webhook->config.name, webhook->config.server, webhook->config.backlog,
		   webhook->config.batch, on_next, webhook);
}

/* ---- configuration ---- */

static struct webhook *find(const struct webhooks *webhooks, const char *name)
{
	struct webhook *webhook = webhooks->first;

	while (webhook != NULL && strcmp(webhook->config.name, name) != 0)
		webhook = webhook->next;
	return webhook;
}

static void add(struct webhooks *webhooks, const struct config_webhook *config)
{
	struct webhook *webhook = mem_new(sizeof *webhook);

	*webhook = (struct webhook){.owner = webhooks, .wanted = true, .asking = true, .next = webhooks->first};
	config_webhook_copy(&webhook->config, config);
	webhook->timer = evtimer_new(webhooks->base, on_time, webhook);
	if (webhook->timer == NULL)
		abort();
	webhooks->first = webhook;
	event_begin_place(webhooks->queue, config->name, on_placed, webhook);
}

static void take_configured(struct webhooks *webhooks, const struct config_webhook *config)
{
	struct webhook *webhook = find(webhooks, config->name);

	if (webhook == NULL) {
		add(webhooks, config);
		return;
	}
	webhook->wanted = true;
	config_webhook_clear(&webhook->config);
	config_webhook_copy(&webhook->config, config);
}

static void drop_unwanted(struct webhooks *webhooks)
{
	struct webhook **at = &webhooks->first, *webhook;

	while ((webhook = *at) != NULL) {
		if (webhook->wanted) {
			at = &webhook->next;
			continue;
		}
		*at = webhook->next;
		stop_one(webhook);
		event_drop_place(webhooks->queue, webhook->config.name, NULL, NULL);
		webhook->gone = true;
		free_if_over(webhook);
	}
}

void webhooks_configure(struct webhooks *webhooks, const struct config *config)
{
	if (webhooks->stopped)
		return;
	for (struct webhook *webhook = webhooks->first; webhook != NULL; webhook = webhook->next)
		webhook->wanted = false;
	for (size_t s = 0; s < config->n_servers; s++)
		for (size_t i = 0; i < config->servers[s].n_webhooks; i++)
			take_configured(webhooks, &config->servers[s].webhooks[i]);
	drop_unwanted(webhooks);
}

void webhooks_set_password(struct webhooks *webhooks, const char *sealed, struct secret *secret)
{
	passwords_put(&webhooks->passwords, sealed, secret);
}

void webhooks_forget_passwords(struct webhooks *webhooks)
{
	passwords_clear(&webhooks->passwords);
}

struct webhooks *webhooks_new(struct event_base *base, struct queue *queue)
{
	struct webhooks *webhooks = mem_new(sizeof *webhooks);

	*webhooks = (struct webhooks){.base = base, .queue = queue, .poster = poster_new(base)};
	return webhooks;
}

void webhooks_stop(struct webhooks *webhooks)
{
	webhooks->stopped = true;
	for (struct webhook *webhook = webhooks->first; webhook != NULL; webhook = webhook->next)
		stop_one(webhook);
	passwords_clear(&webhooks->passwords);
}

struct webhooks_state webhooks_state(const struct webhooks *webhooks)
{
	return webhooks->state;
}
