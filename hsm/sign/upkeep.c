#include "hsm/sign/upkeep.h"

#include <event2/event.h>

#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/base/pool.h"

struct upkeep {
	struct pool *pool;
	struct token *token;
	struct keyring *keyring;
	struct jobs *jobs;
	struct event *load_timer;
	struct event *check_timer;
	/* One load and one check at a time, written by the pool's thread until it is done. */
	bool loading, checking;
	struct keyring_entry *entry;
	bool loaded, present;
	int64_t load_ms;
	enum token_fault load_fault, check_fault;
	struct err load_err, check_err;
};

static void in_ms(struct event *timer, int64_t ms)
{
	struct timeval delay = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	event_add(timer, &delay);
}

static void load_work(void *arg)
{
	struct upkeep *upkeep = arg;
	int64_t start = clock_monotonic_ms();

	upkeep->loaded = keyring_load(upkeep->entry, &upkeep->load_fault, &upkeep->load_err);
	upkeep->load_ms = clock_monotonic_ms() - start;
}

static void load_finished(void *arg)
{
	struct upkeep *upkeep = arg;
	bool missing = !upkeep->loaded && (upkeep->load_fault == TOKEN_FAULT_KEY || upkeep->load_fault == TOKEN_FAULT_MECHANISM);

	upkeep->loading = false;
	keyring_release(upkeep->entry);
	if (missing)
		log_warning("key.missing", LOG_ERR(&upkeep->load_err));
	else
		jobs_judge(upkeep->jobs, upkeep->loaded, upkeep->load_fault, &upkeep->load_err);
	in_ms(upkeep->load_timer, upkeep->loaded || missing ? UPKEEP_REST * upkeep->load_ms : UPKEEP_CHECK_MS);
}

static void on_load_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	upkeep_load_keys(arg);
}

void upkeep_load_keys(struct upkeep *upkeep)
{
	if (upkeep->loading)
		return;
	upkeep->entry = keyring_find_unloaded(upkeep->keyring);
	if (upkeep->entry == NULL)
		return;
	upkeep->loading = true;
	pool_submit(upkeep->pool, load_work, load_finished, upkeep);
}

static void check_work(void *arg)
{
	struct upkeep *upkeep = arg;

	upkeep->present = token_check(upkeep->token, &upkeep->check_fault, &upkeep->check_err);
}

static void check_finished(void *arg)
{
	struct upkeep *upkeep = arg;

	upkeep->checking = false;
	jobs_judge(upkeep->jobs, upkeep->present, upkeep->check_fault, &upkeep->check_err);
	in_ms(upkeep->check_timer, UPKEEP_CHECK_MS);
}

static void on_check_timer(evutil_socket_t fd, short what, void *arg)
{
	struct upkeep *upkeep = arg;
	int64_t quiet = jobs_quiet_ms(upkeep->jobs);

	(void)fd;
	(void)what;
	if (upkeep->checking)
		return;
	if (quiet < UPKEEP_CHECK_MS) {
		in_ms(upkeep->check_timer, UPKEEP_CHECK_MS - quiet);
		return;
	}
	upkeep->checking = true;
	pool_submit(upkeep->pool, check_work, check_finished, upkeep);
}

struct upkeep *upkeep_new(struct event_base *base, struct pool *pool, struct token *token, struct keyring *keyring,
			  struct jobs *jobs)
{
	struct upkeep *upkeep = mem_new(sizeof *upkeep);

	upkeep->pool = pool;
	upkeep->token = token;
	upkeep->keyring = keyring;
	upkeep->jobs = jobs;
	upkeep->load_timer = evtimer_new(base, on_load_timer, upkeep);
	upkeep->check_timer = evtimer_new(base, on_check_timer, upkeep);
	in_ms(upkeep->check_timer, UPKEEP_CHECK_MS);
	return upkeep;
}
