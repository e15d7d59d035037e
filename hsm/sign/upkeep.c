#include "hsm/sign/upkeep.h"

#include <event2/event.h>
#include <openssl/rand.h>

#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/base/pool.h"

#define WATCH_MS 1000

/* One signature at a time, on a thread of the pool. */
struct canary {
	struct event *timer;
	bool flying;
	int64_t since_ms;
	struct keyring_entry *entry;
	uint8_t digest[32];
	bool made;
	int64_t took_ms;
	enum token_fault fault;
	struct err err;
};

struct upkeep {
	struct upkeep_place place;
	struct event *load_timer;
	upkeep_loaded *loaded_now; /* NULL: nobody waits for the keys */
	void *loaded_arg;
	struct event *loaded_timer;
	struct event *check_timer;
	struct event *watch;
	int64_t check_since_ms, load_since_ms;
	struct canary canary;
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

static void tell_loaded(struct upkeep *upkeep)
{
	upkeep_loaded *loaded = upkeep->loaded_now;

	upkeep->loaded_now = NULL;
	event_del(upkeep->loaded_timer);
	if (loaded != NULL)
		loaded(upkeep->loaded_arg);
}

static void on_loaded_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	tell_loaded(arg);
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
		jobs_judge(upkeep->place.jobs, upkeep->loaded, upkeep->load_fault, &upkeep->load_err);
	if (upkeep->loaded_now != NULL && (upkeep->loaded || missing)) {
		upkeep_load_keys(upkeep);
		return;
	}
	tell_loaded(upkeep);
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
	upkeep->entry = keyring_find_unloaded(upkeep->place.keyring);
	if (upkeep->entry == NULL) {
		tell_loaded(upkeep);
		return;
	}
	upkeep->loading = true;
	upkeep->load_since_ms = clock_monotonic_ms();
	pool_submit(upkeep->place.pool, load_work, load_finished, upkeep);
}

void upkeep_load_now(struct upkeep *upkeep, upkeep_loaded *loaded, void *arg)
{
	tell_loaded(upkeep);
	upkeep->loaded_now = loaded;
	upkeep->loaded_arg = arg;
	in_ms(upkeep->loaded_timer, UPKEEP_LOAD_MS);
	upkeep_load_keys(upkeep);
}

static void check_work(void *arg)
{
	struct upkeep *upkeep = arg;

	upkeep->present = token_check(upkeep->place.token, &upkeep->check_fault, &upkeep->check_err);
}

static void check_finished(void *arg)
{
	struct upkeep *upkeep = arg;

	upkeep->checking = false;
	jobs_judge(upkeep->place.jobs, upkeep->present, upkeep->check_fault, &upkeep->check_err);
	in_ms(upkeep->check_timer, UPKEEP_CHECK_MS);
}

static void on_check_timer(evutil_socket_t fd, short what, void *arg)
{
	struct upkeep *upkeep = arg;
	int64_t quiet = jobs_quiet_ms(upkeep->place.jobs);

	(void)fd;
	(void)what;
	if (upkeep->checking)
		return;
	if (quiet < UPKEEP_CHECK_MS) {
		in_ms(upkeep->check_timer, UPKEEP_CHECK_MS - quiet);
		return;
	}
	upkeep->checking = true;
	upkeep->check_since_ms = clock_monotonic_ms();
	pool_submit(upkeep->place.pool, check_work, check_finished, upkeep);
}

/* ---- the canary ---- */

static void canary_work(void *arg)
{
	struct canary *canary = arg;
	int64_t start = clock_monotonic_ms();

	canary->fault = TOKEN_FAULT_NONE;
	canary->made = keyring_try(canary->entry, canary->digest, &canary->fault, &canary->err);
	canary->took_ms = clock_monotonic_ms() - start;
}

static void canary_finished(void *arg)
{
	struct upkeep *upkeep = arg;
	struct canary *canary = &upkeep->canary;

	canary->flying = false;
	keyring_release(canary->entry);
	if (canary->made) {
		jobs_note_signature(upkeep->place.jobs);
		log_info("canary.signed", LOG_NUMBER("ms", canary->took_ms));
	} else {
		log_error("canary.failed", LOG_NUMBER("ms", canary->took_ms), LOG_ERR(&canary->err));
	}
	upkeep->place.report(canary->made, canary->took_ms, canary->made ? "" : canary->err.text, upkeep->place.arg);
	jobs_judge(upkeep->place.jobs, canary->made, canary->fault, &canary->err);
	in_ms(canary->timer, canary->made ? upkeep->place.canary_ms : UPKEEP_CANARY_AGAIN_MS);
}

static void on_canary_work(void *arg)
{
	struct upkeep *upkeep = arg;

	canary_work(&upkeep->canary);
}

static void on_canary_timer(evutil_socket_t fd, short what, void *arg)
{
	struct upkeep *upkeep = arg;
	struct canary *canary = &upkeep->canary;
	int64_t left = upkeep->place.canary_ms - jobs_unsigned_ms(upkeep->place.jobs);

	(void)fd;
	(void)what;
	if (left <= 0)
		canary->entry = keyring_next_loaded(upkeep->place.keyring);
	if (left > 0 || canary->entry == NULL || RAND_bytes(canary->digest, sizeof canary->digest) != 1) {
		in_ms(canary->timer, left > 0 ? left : UPKEEP_CANARY_AGAIN_MS);
		return;
	}
	canary->flying = true;
	canary->since_ms = clock_monotonic_ms();
	pool_submit(upkeep->place.pool, on_canary_work, canary_finished, upkeep);
}

static void on_watch(evutil_socket_t fd, short what, void *arg)
{
	struct upkeep *upkeep = arg;
	int64_t now = clock_monotonic_ms();

	(void)fd;
	(void)what;
	if ((upkeep->loading && now - upkeep->load_since_ms > UPKEEP_LOAD_STUCK_MS) ||
	    (upkeep->checking && now - upkeep->check_since_ms > UPKEEP_STUCK_MS) ||
	    (upkeep->canary.flying && now - upkeep->canary.since_ms > UPKEEP_STUCK_MS))
		jobs_fail(upkeep->place.jobs, "the PKCS#11 module does not answer");
}

struct upkeep *upkeep_new(const struct upkeep_place *place)
{
	static const struct timeval every = {.tv_sec = WATCH_MS / 1000};
	struct upkeep *upkeep = mem_new(sizeof *upkeep);

	upkeep->place = *place;
	upkeep->load_timer = evtimer_new(place->base, on_load_timer, upkeep);
	upkeep->loaded_timer = evtimer_new(place->base, on_loaded_timer, upkeep);
	upkeep->check_timer = evtimer_new(place->base, on_check_timer, upkeep);
	upkeep->canary.timer = evtimer_new(place->base, on_canary_timer, upkeep);
	upkeep->watch = event_new(place->base, -1, EV_PERSIST, on_watch, upkeep);
	event_add(upkeep->watch, &every);
	in_ms(upkeep->check_timer, UPKEEP_CHECK_MS);
	if (place->canary_ms > 0)
		in_ms(upkeep->canary.timer, place->canary_ms);
	return upkeep;
}
