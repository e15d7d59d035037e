/* Lanes: the connections and maildir writers of a destination. */
#include "appliance/relay/delivery/destination_private.h"

#include <stdlib.h>

#include "appliance/base/clock.h"
#include "appliance/relay/delivery/maildir_writer.h"
#include "appliance/relay/delivery/passwords.h"

/* ---- Lanes ---- */

/* An idle connection may be on its way out. */
static bool lane_is(const struct lane *lane, enum lane_state state)
{
	return lane->state == state && (state != LANE_IDLE || lane->client == NULL || smtp_client_is_idle(lane->client));
}

unsigned destination_count_lanes(const struct destination *destination, enum lane_state state, const struct hop *hop)
{
	unsigned count = 0;

	for (const struct lane *lane = destination->lanes; lane != NULL; lane = lane->next)
		count += lane_is(lane, state) && (hop == NULL || lane->hop == hop);
	return count;
}

struct lane *destination_idle_lane(const struct destination *destination)
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

void lane_free(struct lane *lane)
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

void lane_send(struct lane *lane, struct group *group)
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
		destination_tell_recovered(destination);
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
		destination_reached(destination, lane->hop);
	destination_pump(destination);
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
		destination_refused(destination, hop, &how);
	else if (!destination->stopping && !how.polite && how.unsent == NULL)
		destination_lost(destination, hop, &how.why);
	hop_unref(hop);
	destination_pump(destination);
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
	destination_pump(destination);
	destination->context->freed_lane(destination->context->arg);
}

static void open_writer(struct destination *destination)
{
	const struct destination_context *context = destination->context;
	struct lane *lane = lane_new(destination);

	lane->writer = maildir_writer_new(context->base, context->queue, context->pool, destination->maildir, on_written, lane);
	lane->state = LANE_IDLE;
}

/* ---- Opening ---- */

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

bool destination_open_lane(struct destination *destination)
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
		destination_fail_hop(destination, hop, "4.7.0", &err);
	}
	return false;
}
