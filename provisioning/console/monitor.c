#include "provisioning/console/monitor.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/base/query.h"
#include "provisioning/console/columns.h"
#include "provisioning/console/console.h"

/* ---- a sample ---- */

static unsigned read_list(const char *text, uint64_t *numbers, unsigned most)
{
	unsigned count = 0;
	char *end;

	while (*text != '\0' && count < most) {
		numbers[count++] = strtoull(text, &end, 10);
		if (*end != ',')
			break;
		text = end + 1;
	}
	return count;
}

void monitor_read(char *const *cells, struct monitor_sample *sample)
{
	const struct {
		int column;
		uint64_t *to;
	} numbers[] = {
	    {QUERY_MONITOR_SIGNED, &sample->signed_total},
	    {QUERY_MONITOR_PLAIN, &sample->plain_total},
	    {QUERY_MONITOR_REFUSED, &sample->refused_total},
	    {QUERY_MONITOR_OCTETS, &sample->octets_total},
	    {QUERY_MONITOR_DELIVERED, &sample->delivered_total},
	    {QUERY_MONITOR_DEFERRED, &sample->deferred_total},
	    {QUERY_MONITOR_FAILED, &sample->failed_total},
	    {QUERY_MONITOR_WORKERS, &sample->workers},
	    {QUERY_MONITOR_THREADS, &sample->threads},
	    {QUERY_MONITOR_WAITING, &sample->waiting},
	    {QUERY_MONITOR_RUNNING, &sample->running},
	    {QUERY_MONITOR_MESSAGES, &sample->messages},
	    {QUERY_MONITOR_DUE, &sample->due},
	    {QUERY_MONITOR_ACTIVE, &sample->active},
	    {QUERY_MONITOR_HELD, &sample->held},
	    {QUERY_MONITOR_SESSIONS, &sample->sessions},
	    {QUERY_MONITOR_API, &sample->api},
	    {QUERY_MONITOR_NEXT_HOPS, &sample->next_hops},
	};

	*sample = (struct monitor_sample){.now_ms = strtoll(cells[QUERY_MONITOR_NOW], NULL, 10),
					  .started = strtoll(cells[QUERY_MONITOR_STARTED], NULL, 10),
					  .oldest = strtoll(cells[QUERY_MONITOR_OLDEST], NULL, 10),
					  .locked = cells[QUERY_MONITOR_LOCKED][0] == '1',
					  .suspended = cells[QUERY_MONITOR_SUSPENDED][0] == '1'};
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		*numbers[i].to = strtoull(cells[numbers[i].column], NULL, 10);
	read_list(cells[QUERY_MONITOR_BUCKETS], sample->buckets, MONITOR_BUCKETS);
	sample->n_bounds = read_list(cells[QUERY_MONITOR_BOUNDS], sample->bounds, MONITOR_BUCKETS - 1);
	read_list(cells[QUERY_MONITOR_STEPS], sample->steps, MONITOR_STEPS);
	snprintf(sample->store, sizeof sample->store, "%s", cells[QUERY_MONITOR_STORE]);
}

int64_t monitor_percentile(const struct monitor_sample *now, const struct monitor_sample *before, unsigned permille, bool *beyond)
{
	uint64_t counts[MONITOR_BUCKETS], all = 0, wanted, below = 0;

	*beyond = false;
	for (unsigned i = 0; i <= now->n_bounds; i++) {
		counts[i] = now->buckets[i] - (before != NULL && before->buckets[i] <= now->buckets[i] ? before->buckets[i] : 0);
		all += counts[i];
	}
	if (all == 0)
		return -1;
	wanted = (all * permille + 999) / 1000;
	for (unsigned i = 0; i < now->n_bounds; i++) {
		uint64_t from = i == 0 ? 0 : now->bounds[i - 1], width = now->bounds[i] - from;

		if (below + counts[i] >= wanted)
			return (int64_t)(from + (width * (wanted - below) + counts[i] - 1) / counts[i]);
		below += counts[i];
	}
	*beyond = true;
	return now->n_bounds == 0 ? -1 : (int64_t)now->bounds[now->n_bounds - 1];
}

/* ---- lines ---- */

struct screen {
	const struct monitor *monitor;
	struct buf *out;
	unsigned rows, columns, used;
	bool utf8;
};

static void put_line(struct screen *screen, const char *format, ...) PRINTF_LIKE(2, 3);

static void put_line(struct screen *screen, const char *format, ...)
{
	char *line = NULL;
	va_list args;
	size_t len;

	if (screen->used == screen->rows)
		return;
	va_start(args, format);
	if (vasprintf(&line, format, args) < 0)
		line = mem_string("");
	va_end(args);
	len = text_fit(bytes_text(line), screen->columns);
	while (len > 0 && line[len - 1] == ' ')
		len--;
	buf_put(screen->out, line, len);
	buf_put_byte(screen->out, '\n');
	screen->used++;
	free(line);
}

static double per_second(uint64_t now, uint64_t before, int64_t ms)
{
	return ms <= 0 || now < before ? 0 : (double)(now - before) * 1000 / (double)ms;
}

static uint64_t messages_in(const struct monitor_sample *sample)
{
	return sample->signed_total + sample->plain_total + sample->refused_total;
}

static void put_rates(struct screen *screen, const char *title, const struct monitor_sample *now,
		      const struct monitor_sample *before)
{
	int64_t ms;

	if (before == NULL) {
		put_line(screen, "%-12s %10s %10s %10s %10s", title, "-", "-", "-", "-");
		return;
	}
	ms = now->now_ms - before->now_ms;
	put_line(screen, "%-12s %10.1f %10.1f %10.1f %10.1f", title, per_second(messages_in(now), messages_in(before), ms),
		 per_second(now->signed_total, before->signed_total, ms), per_second(now->plain_total, before->plain_total, ms),
		 per_second(now->refused_total, before->refused_total, ms));
}

static void put_messages(struct screen *screen)
{
	const struct monitor *monitor = screen->monitor;
	const struct monitor_sample *now = monitor->now;

	put_line(screen, "%-12s %10s %10s %10s %10s", "MESSAGES", "IN", "SIGNED", "PLAIN", "REFUSED");
	put_rates(screen, "a second", now, monitor->second);
	put_rates(screen, "  (minute)", now, monitor->minute);
	put_line(screen, "%-12s %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %10" PRIu64, "since start", messages_in(now),
		 now->signed_total, now->plain_total, now->refused_total);
}

/* One character a step, the highest full; what is more than nothing is seen. */
static void put_spark(struct screen *screen)
{
	static const char *const blocks[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
	static const char *const ascii[] = {" ", "_", ".", ",", "-", "=", "+", "*", "#"};
	const uint64_t *steps = screen->monitor->now->steps;
	unsigned width = screen->columns < MONITOR_STEPS ? screen->columns : MONITOR_STEPS;
	struct buf line = {0};
	uint64_t most = 0;

	for (unsigned i = MONITOR_STEPS - width; i < MONITOR_STEPS; i++)
		most = steps[i] > most ? steps[i] : most;
	for (unsigned i = MONITOR_STEPS - width; i < MONITOR_STEPS; i++) {
		size_t level = steps[i] == 0 ? 0 : (size_t)(steps[i] * 8 + most - 1) / most;

		buf_put_text(&line, (screen->utf8 ? blocks : ascii)[level]);
	}
	put_line(screen, "Messages in each 10 s of the last 10 minutes, at most %" PRIu64 ":", most);
	put_line(screen, "%s%s", buf_text(&line), screen->columns > MONITOR_STEPS ? "|" : "");
	buf_clear(&line);
}

static char *age_text(int64_t seconds)
{
	if (seconds < 100)
		return mem_format("%" PRId64 "s", seconds < 0 ? 0 : seconds);
	if (seconds < 100 * 60)
		return mem_format("%" PRId64 "m", seconds / 60);
	if (seconds < 100 * 3600)
		return mem_format("%" PRId64 "h", seconds / 3600);
	return mem_format("%" PRId64 "d", seconds / 86400);
}

static char *percentile_text(const struct monitor *monitor, unsigned permille)
{
	bool beyond;
	int64_t ms = monitor_percentile(monitor->now, monitor->minute, permille, &beyond);

	if (ms < 0)
		return mem_string("-");
	return mem_format("%s%" PRId64 " ms", beyond ? ">" : "", ms);
}

static void put_flow(struct screen *screen)
{
	const struct monitor *monitor = screen->monitor;
	const struct monitor_sample *now = monitor->now, *before = monitor->second;
	char *oldest = now->oldest == 0 ? mem_string("-") : age_text(now->now_ms / 1000 - now->oldest);
	char *p50 = percentile_text(monitor, 500), *p99 = percentile_text(monitor, 990);
	int64_t ms = before == NULL ? 0 : now->now_ms - before->now_ms;

	put_line(screen,
		 "QUEUE     messages %" PRIu64 "   due %" PRIu64 "   active %" PRIu64 "   held %" PRIu64 "   oldest %s%s%s",
		 now->messages, now->due, now->active, now->held, oldest, strcmp(now->store, "ok") == 0 ? "" : "   store ",
		 strcmp(now->store, "ok") == 0 ? "" : now->store);
	put_line(screen, "DELIVERY  delivered/s %.1f   deferred/s %.1f   failed/s %.1f   connections %" PRIu64,
		 per_second(now->delivered_total, before == NULL ? 0 : before->delivered_total, ms),
		 per_second(now->deferred_total, before == NULL ? 0 : before->deferred_total, ms),
		 per_second(now->failed_total, before == NULL ? 0 : before->failed_total, ms), now->next_hops);
	put_line(screen, "CLIENTS   SMTP sessions %" PRIu64 "   API connections %" PRIu64, now->sessions, now->api);
	put_line(screen, "SIGNING   p50 %s   p99 %s (%s)   under way %" PRIu64 "   waiting %" PRIu64, p50, p99,
		 monitor->minute != NULL ? "minute" : "since start", now->running, now->waiting);
	free(p99);
	free(p50);
	free(oldest);
}

static void put_workers(struct screen *screen, unsigned most)
{
	const struct monitor *monitor = screen->monitor;

	put_line(screen, "HSM       signing %s   workers %" PRIu64 "   threads %" PRIu64, monitor->signing, monitor->now->workers,
		 monitor->now->threads);
	for (size_t i = 0; i < monitor->n_workers && i < most; i++) {
		const struct monitor_worker *worker = &monitor->workers[i];

		put_line(screen, "  %-10s %-12s %6.1f/s   restarts %u   %s", worker->name, worker->state, worker->rate,
			 worker->restarts, worker->health);
	}
	if (monitor->n_workers > most)
		put_line(screen, "  and %zu more: show system programs", monitor->n_workers - most);
}

static void put_certificates(struct screen *screen)
{
	const struct monitor *monitor = screen->monitor;

	put_line(screen, "CERTIFICATES that end next");
	for (size_t i = 0; i < monitor->n_certificates; i++) {
		const struct monitor_certificate *one = &monitor->certificates[i];
		int64_t left = one->not_after - monitor->wall_ms / 1000;
		char date[CONSOLE_TIME_BYTES];

		console_date(date, one->not_after);
		if (left < 0)
			put_line(screen, "  %-48.48s %s  EXPIRED", one->address, date);
		else
			put_line(screen, "  %-48.48s %s  %" PRId64 " days", one->address, date, left / 86400);
	}
	if (monitor->n_certificates == 0)
		put_line(screen, "  (none is in operation)");
}

static void put_head(struct screen *screen)
{
	const struct monitor *monitor = screen->monitor;
	char time[CONSOLE_TIME_BYTES];
	char *up = monitor->now == NULL ? mem_string("-") : age_text(monitor->wall_ms / 1000 - monitor->now->started);

	console_time(time, monitor->wall_ms);
	put_line(screen, "Inkan %-24.24s %s UTC   up %-5s q leaves", monitor->host, time, up);
	put_line(screen, "%s", "");
	free(up);
}

void monitor_lines(const struct monitor *monitor, unsigned rows, unsigned columns, bool utf8, struct buf *out)
{
	struct screen screen = {.monitor = monitor, .out = out, .rows = rows, .columns = columns, .utf8 = utf8};

	put_head(&screen);
	if (monitor->now == NULL) {
		put_line(&screen, "No figures: %s", monitor->trouble);
		put_certificates(&screen);
		return;
	}
	put_messages(&screen);
	put_spark(&screen);
	put_flow(&screen);
	put_workers(&screen, rows > 24 ? rows - 20 : 4);
	put_certificates(&screen);
}
