#include "appliance/relay/delivery/reporter.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/relay/delivery/bounce.h"
#include "appliance/relay/delivery/dsn.h"
#include "appliance/relay/delivery/schedule.h"
#include "appliance/relay/queue/fault.h"

#define DEFAULT_LIFETIME_MS (5 * 24 * INT64_C(3600000)) /* of a bounce for a server that is not configured any more */

/* A group on its way into the queue. */
struct report {
	struct reporter *reporter; /* NULL: it is gone, only the queue's callback is still to come */
	struct report *previous, *next;
	struct group *group; /* NULL once handed over */
	struct bounce *bounce;
	int64_t *due_ms; /* of the deferred recipients of the group */
};

struct reporter {
	struct event_base *base;
	struct queue *queue;
	struct config *config;
	const struct reporter_events *events;
	void *arg;
	struct report *reports;
	size_t unfinished;
	struct delivery_state totals;
};

/* ---- What becomes of each recipient ---- */

static const struct config_server *server_of(const struct reporter *reporter, const struct group *group)
{
	return reporter->config == NULL ? NULL : config_find_server(reporter->config, group->message->server);
}

static struct schedule schedule_of(const struct config_server *server)
{
	if (server == NULL)
		return schedule_default;
	return (struct schedule){server->retry_ms, server->n_retry};
}

/* RFC 3463 §3.5: 4.4.7, delivery time expired. The last reply stays readable in the text. */
static void expire(struct group_recipient *recipient)
{
	char *reply = mem_format("delivery time expired; the last attempt said: %s", recipient->reply);

	free(recipient->reply);
	recipient->reply = reply;
	recipient->kind = QUEUE_PERMANENT;
	recipient->remote = false;
	snprintf(recipient->status, sizeof recipient->status, "4.4.7");
}

/* Once for each recipient (QUEUE_NOTIFY_WARNED), when it has waited so long. */
static void warn_of_delay(const struct report *report, struct group_recipient *recipient, int64_t now_ms)
{
	const struct group *group = report->group;
	const struct config_server *server = server_of(report->reporter, group);

	recipient->warned = server != NULL && server->delay_warning_ms > 0 && (recipient->notify & QUEUE_NOTIFY_WARNED) == 0 &&
			    now_ms - group->message->received * 1000 >= server->delay_warning_ms &&
			    dsn_wanted(group->message->sender, recipient->notify, DSN_DELAYED);
}

static void schedule_recipients(struct report *report, int64_t now_ms)
{
	struct group *group = report->group;
	struct schedule schedule = schedule_of(server_of(report->reporter, group));

	report->due_ms = mem_new_array(group->count, sizeof *report->due_ms);
	for (size_t i = 0; i < group->count; i++) {
		struct group_recipient *recipient = &group->recipients[i];

		if (recipient->kind == QUEUE_DEFERRED &&
		    !schedule_next(&schedule, now_ms, group->message->expires * 1000, recipient->attempts, &report->due_ms[i]))
			expire(recipient);
		else if (recipient->kind == QUEUE_DEFERRED)
			warn_of_delay(report, recipient, now_ms);
	}
}

/* ---- Log and totals ---- */

static const char *const result_names[] = {
    [QUEUE_DELIVERED] = "delivered", [QUEUE_DEFERRED] = "deferred", [QUEUE_PERMANENT] = "failed", [QUEUE_DAMAGED] = "damaged"};

/*
 * Where the time went, in seconds, as Postfix tells it: in the queue until it was claimed (earlier attempts included), waiting
 * for a connection, setting the connection up, transmission.
 */
static void format_delays(const struct group *group, int64_t delay_ms, char *out, size_t size)
{
	int64_t now = clock_monotonic_ms(), claimed = now - group->claimed_ms;
	int64_t sent = group->sent_ms > 0 ? group->sent_ms : now;
	int64_t opened = group->opened_ms == 0			? sent
			 : group->opened_ms > group->claimed_ms ? group->opened_ms
								: group->claimed_ms;
	int64_t waiting = delay_ms > claimed ? delay_ms - claimed : 0;

	snprintf(out, size, "%.2f/%.2f/%.2f/%.2f", (double)waiting / 1e3, (double)(opened - group->claimed_ms) / 1e3,
		 (double)(sent - opened) / 1e3, (double)(now - sent) / 1e3);
}

static void log_recipient(const struct group *group, const struct group_recipient *recipient, int64_t delay_ms)
{
	char id[24], delays[96];

	snprintf(id, sizeof id, "%" PRIx64, group->message->id);
	format_delays(group, delay_ms, delays, sizeof delays);
	log_write(
	    recipient->kind == QUEUE_DAMAGED ? LOG_ERROR : LOG_INFO, "delivery.result",
	    (const struct log_field[]){LOG_TEXT("id", id), LOG_TEXT("server", group->message->server),
				       LOG_TEXT("sender", group->message->sender), LOG_TEXT("recipient", recipient->address),
				       LOG_TEXT("rendering", group->rendering == QUEUE_SIGNED ? "signed" : "plain"),
				       LOG_TEXT("rule", recipient->rule == NULL ? "" : recipient->rule),
				       LOG_TEXT("next_hop", group->hop == NULL ? "" : group->hop),
				       LOG_TEXT("result", result_names[recipient->kind]), LOG_TEXT("status", recipient->status),
				       LOG_TEXT("reply", recipient->reply), LOG_NUMBER("attempt", recipient->attempts + 1),
				       LOG_NUMBER("delay", delay_ms / 1000), LOG_TEXT("delays", delays), (struct log_field){0}});
}

static void count_recipient(struct delivery_state *totals, const struct group_recipient *recipient)
{
	switch (recipient->kind) {
	case QUEUE_DELIVERED:
		totals->delivered_total++;
		break;
	case QUEUE_DEFERRED:
		totals->deferred_total++;
		break;
	case QUEUE_PERMANENT:
	case QUEUE_DAMAGED:
		totals->failed_total++;
		break;
	}
}

static void log_and_count(struct report *report, int64_t now_ms)
{
	const struct group *group = report->group;

	for (size_t i = 0; i < group->count; i++) {
		log_recipient(group, &group->recipients[i], now_ms - group->message->received * 1000);
		count_recipient(&report->reporter->totals, &group->recipients[i]);
	}
}

/* ---- Handing over ---- */

static void report_unlink(struct report *report)
{
	struct reporter *reporter = report->reporter;

	if (reporter == NULL)
		return;
	if (report->previous != NULL)
		report->previous->next = report->next;
	else
		reporter->reports = report->next;
	if (report->next != NULL)
		report->next->previous = report->previous;
	reporter->unfinished--;
	report->reporter = NULL;
}

static void report_free(struct report *report)
{
	report_unlink(report);
	bounce_free(report->bounce);
	group_free(report->group);
	free(report->due_ms);
	free(report);
}

/* A failed store is told by the queue's health; here it only means that these deliveries may be repeated. */
static void on_stored(const struct err *err, void *arg)
{
	struct report *report = arg;
	struct reporter *reporter = report->reporter;

	(void)fault_point("delivery.reported");
	if (err != NULL)
		log_error("delivery.report-failed", LOG_ERR(err));
	report_free(report);
	if (reporter != NULL)
		reporter->events->stored(reporter->arg);
}

static void hand_over(struct report *report, const struct queue_notice *notice)
{
	struct reporter *reporter = report->reporter;
	struct group *group = report->group;
	struct queue_result results[GROUP_RECIPIENTS_MAX];
	size_t count = group->count;

	for (size_t i = 0; i < count; i++)
		results[i] = (struct queue_result){.recipient = group->recipients[i].id,
						   .kind = group->recipients[i].kind,
						   .due = report->due_ms[i],
						   .warned = group->recipients[i].warned,
						   .reply = group->recipients[i].reply};
	queue_report(reporter->queue, group->token, results, count, notice, on_stored, report);
	group_free(group);
	report->group = NULL;
	reporter->events->handed_over(count, reporter->arg);
}

static void log_bounce(const struct group *group, const struct queue_notice *notice)
{
	char id[24], about[24];

	snprintf(id, sizeof id, "%" PRIx64, notice->message.id);
	snprintf(about, sizeof about, "%" PRIx64, group->message->id);
	log_info("delivery.bounced", LOG_TEXT("id", id), LOG_TEXT("about", about),
		 LOG_TEXT("recipient", notice->recipient.address));
}

static void on_bounce(const struct queue_notice *notice, void *arg)
{
	struct report *report = arg;

	report->bounce = NULL;
	report->reporter->totals.bounced_total++;
	log_bounce(report->group, notice);
	hand_over(report, notice);
}

static struct report *report_new(struct reporter *reporter, struct group *group)
{
	struct report *report = mem_new(sizeof *report);

	report->reporter = reporter;
	report->group = group;
	report->next = reporter->reports;
	if (report->next != NULL)
		report->next->previous = report;
	reporter->reports = report;
	reporter->unfinished++;
	return report;
}

void reporter_take(struct reporter *reporter, struct group *group)
{
	struct report *report = report_new(reporter, group);
	const struct config_server *server = server_of(reporter, group);
	int64_t now_ms = clock_wall_ms();

	(void)fault_point("delivery.answered");
	schedule_recipients(report, now_ms);
	log_and_count(report, now_ms);
	if (bounce_wanted(group))
		report->bounce =
		    bounce_begin(reporter->base, reporter->queue, group, reporter->config->host_name,
				 server == NULL ? DEFAULT_LIFETIME_MS : server->queue_lifetime_ms, on_bounce, report);
	else
		hand_over(report, NULL);
}

void reporter_postpone(struct reporter *reporter, struct group *group, int64_t due_ms, const char *why)
{
	struct report *report = report_new(reporter, group);

	group_settle_rest(group, QUEUE_DEFERRED, "4.4.5", why);
	report->due_ms = mem_new_array(group->count, sizeof *report->due_ms);
	for (size_t i = 0; i < group->count; i++)
		report->due_ms[i] = due_ms;
	hand_over(report, NULL);
}

/* ---- The reporter ---- */

struct reporter *reporter_new(struct event_base *base, struct queue *queue, const struct reporter_events *events, void *arg)
{
	struct reporter *reporter = mem_new(sizeof *reporter);

	reporter->base = base;
	reporter->queue = queue;
	reporter->events = events;
	reporter->arg = arg;
	return reporter;
}

void reporter_configure(struct reporter *reporter, struct config *config)
{
	struct config *old = reporter->config;

	reporter->config = config_ref(config);
	config_unref(old);
}

size_t reporter_unfinished(const struct reporter *reporter)
{
	return reporter->unfinished;
}

void reporter_state(const struct reporter *reporter, struct delivery_state *state)
{
	state->delivered_total += reporter->totals.delivered_total;
	state->deferred_total += reporter->totals.deferred_total;
	state->failed_total += reporter->totals.failed_total;
	state->bounced_total += reporter->totals.bounced_total;
}

void reporter_free(struct reporter *reporter)
{
	struct report *report;

	if (reporter == NULL)
		return;
	while ((report = reporter->reports) != NULL) {
		bool in_queue = report->group == NULL; /* which still has it as its callback's argument */

		report_unlink(report);
		if (!in_queue)
			report_free(report);
	}
	config_unref(reporter->config);
	free(reporter);
}
