/* monitor: the relay's counters in one row. */
#include <inttypes.h>

#include "appliance/base/clock.h"
#include "appliance/relay/observe/observe_private.h"

static uint64_t sum_of(const uint64_t *counts, size_t count)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += counts[i];
	return sum;
}

struct history_totals observe_totals(const struct metrics *metrics)
{
	const struct submission_tally *tally = &metrics->tally;
	struct history_totals totals = {.refused = sum_of(&tally->refused[0][0], TALLY_INTERFACES * TALLY_REASONS),
					.octets = tally->octets};

	totals.messages =
	    totals.refused + sum_of(tally->signed_messages, TALLY_INTERFACES) + sum_of(tally->plain_messages, TALLY_INTERFACES);
	return totals;
}

static void number(struct query_rows *rows, uint64_t value)
{
	query_cell(rows, "%" PRIu64, value);
}

static void put_messages(struct query_rows *rows, const struct metrics *metrics)
{
	query_cell(rows, "%" PRId64, clock_wall_ms());
	query_cell(rows, "%" PRId64, metrics->relay.started);
	number(rows, sum_of(metrics->tally.signed_messages, TALLY_INTERFACES));
	number(rows, sum_of(metrics->tally.plain_messages, TALLY_INTERFACES));
	number(rows, observe_totals(metrics).refused);
	number(rows, metrics->tally.octets);
	number(rows, metrics->delivery.delivered_total);
	number(rows, metrics->delivery.deferred_total);
	number(rows, metrics->delivery.failed_total);
}

static void put_signing(struct query_rows *rows, const struct metrics *metrics)
{
	struct buf buckets = {0}, bounds = {0};

	for (size_t i = 0; i <= TALLY_BUCKETS; i++)
		buf_printf(&buckets, "%s%" PRIu64, i == 0 ? "" : ",", metrics->tally.signing.buckets[i]);
	for (size_t i = 0; i < TALLY_BUCKETS; i++)
		buf_printf(&bounds, "%s%u", i == 0 ? "" : ",", tally_bucket_ms[i]);
	query_cell(rows, "%s", buf_text(&buckets));
	query_cell(rows, "%s", buf_text(&bounds));
	number(rows, metrics->signer.workers);
	number(rows, metrics->signer.threads);
	number(rows, metrics->signer.waiting);
	number(rows, metrics->signer.running);
	number(rows, metrics->relay.locked);
	number(rows, metrics->signer.suspended);
	buf_clear(&bounds);
	buf_clear(&buckets);
}

static const char *store_state(const struct metrics *metrics)
{
	static const char *const names[] = {[QUEUE_OK] = "ok", [QUEUE_FULL] = "full", [QUEUE_FAILED] = "failed"};

	return metrics->relay.store_ready ? names[metrics->health] : "recovering";
}

static void put_queue(struct query_rows *rows, const struct metrics *metrics)
{
	number(rows, metrics->queue.messages);
	number(rows, metrics->queue.waiting);
	number(rows, metrics->queue.leased);
	number(rows, metrics->queue.held);
	query_cell(rows, "%" PRId64, metrics->queue.oldest);
	query_cell(rows, "%s", store_state(metrics));
	number(rows, metrics->smtp.sessions);
	number(rows, metrics->api.connections);
	number(rows, metrics->delivery.connections);
}

void query_monitor(struct call *call)
{
	struct observe *observe = call->observe;
	struct buf steps = {0};
	struct metrics metrics;

	observe->context.read(&metrics, observe->context.arg);
	put_messages(&call->rows, &metrics);
	put_signing(&call->rows, &metrics);
	put_queue(&call->rows, &metrics);
	history_put_steps(&steps, &observe->history);
	query_cell(&call->rows, "%s", buf_text(&steps));
	buf_clear(&steps);
	call_answer(call);
}
