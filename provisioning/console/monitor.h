/* What `monitor` shows: samples of the relay's counters in, the lines of a screen out. Pure. */
#ifndef INKAN_CONSOLE_MONITOR_H
#define INKAN_CONSOLE_MONITOR_H

#include "appliance/base/bytes.h"

#define MONITOR_BUCKETS 16
#define MONITOR_STEPS 60 /* of ten seconds */
#define MONITOR_NAMES_MAX 12 /* workers, certificates that are shown at most */

/* Totals since the relay's start, and what holds now (enum query_monitor). */
struct monitor_sample {
	int64_t now_ms, started; /* wall ms, wall seconds */
	uint64_t signed_total, plain_total, refused_total, octets_total;
	uint64_t delivered_total, deferred_total, failed_total;
	uint64_t buckets[MONITOR_BUCKETS], bounds[MONITOR_BUCKETS];
	unsigned n_bounds; /* a bucket more than bounds */
	uint64_t workers, threads, waiting, running;
	bool locked, suspended;
	uint64_t messages, due, active, held;
	int64_t oldest; /* wall seconds; 0 none */
	char store[16];
	uint64_t sessions, api, next_hops;
	uint64_t steps[MONITOR_STEPS];
};

/* The cells of a QUERY_MONITOR row. */
void monitor_read(char *const *cells, struct monitor_sample *sample);

struct monitor_worker {
	char name[24], state[24], health[64];
	unsigned threads, restarts;
	double rate; /* signatures a second */
};

struct monitor_certificate {
	char address[80];
	int64_t not_after; /* wall seconds */
};

struct monitor {
	const struct monitor_sample *now, *second, *minute; /* now, about a second and a minute before; NULL: not known */
	char host[64];
	char signing[128]; /* "on", or why not */
	char trouble[ERR_TEXT_MAX]; /* why there is no sample; "" */
	struct monitor_worker workers[MONITOR_NAMES_MAX];
	size_t n_workers;
	struct monitor_certificate certificates[MONITOR_NAMES_MAX]; /* the first to end first */
	size_t n_certificates;
	int64_t wall_ms;
};

/* At most `rows` lines of at most `columns`, each with its LF. */
void monitor_lines(const struct monitor *monitor, unsigned rows, unsigned columns, bool utf8, struct buf *out);

/*
 * The time within which `permille` of the signatures between two samples were made (before NULL: of all), ms, as exactly as the
 * buckets tell; -1: there were none. *beyond: it is longer than that.
 */
int64_t monitor_percentile(const struct monitor_sample *now, const struct monitor_sample *before, unsigned permille,
			   bool *beyond);

#endif
