#include "appliance/supervisor/confirm.h"

#include <event2/event.h>
#include <stdlib.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/supervisor/supervisor_private.h"

static void look_again(struct supervisor *supervisor, int64_t in_ms)
{
	struct timeval wait = {.tv_sec = in_ms / 1000, .tv_usec = in_ms % 1000 * 1000};

	event_add(supervisor->confirm.timer, &wait);
}

static bool is_late(const struct waiting *waiting)
{
	return waiting->until_ms != 0 && waiting->until_ms <= clock_wall_ms();
}

/* ---- the program that takes it back ---- */

static void on_message(struct channel *channel, uint16_t type, struct msg *msg, int fd, void *arg)
{
	(void)channel;
	(void)type;
	(void)msg;
	(void)arg;
	if (fd >= 0)
		close(fd);
}

/* Nobody can confirm it any more, so that what ran before may run although inkan.db cannot say so yet. */
static void go_back_alone(struct supervisor *supervisor)
{
	const struct request nobody = {0};
	struct waiting waiting;
	struct err err;

	if (!configuration_waiting(supervisor->options->state, &waiting, &err)) {
		log_error("confirm.look", LOG_ERR(&err));
		return;
	}
	if (is_late(&waiting) && supervisor->apply == NULL && supervisor->running->snapshot->revision != waiting.back)
		apply_begin(supervisor, waiting.back, false, &nobody);
}

static void on_ended(const struct child_end *end, void *arg)
{
	struct supervisor *supervisor = arg;
	char how[ERR_TEXT_MAX];

	supervisor->confirm.program = NULL;
	child_end_text(end, how, sizeof how);
	if (end->code == 0) {
		log_info("confirm.rolled-back", LOG_NUMBER("revision", supervisor->running->snapshot->revision));
		look_again(supervisor, CONFIRM_LOOK_MS);
		return;
	}
	log_error("confirm.failed", LOG_TEXT("how", how), LOG_NUMBER("again_ms", CONFIRM_AGAIN_MS));
	if (!supervisor->stopping)
		go_back_alone(supervisor);
	look_again(supervisor, CONFIRM_AGAIN_MS);
}

static void take_back(struct supervisor *supervisor, const struct waiting *waiting)
{
	const struct child_events events = {.message = on_message, .ended = on_ended, .arg = supervisor};
	const char *const arguments[] = {"inkan", "-C", supervisor->options->state, "-R", NULL};
	char *path = mem_format("%s/inkan", supervisor->options->programs);
	const struct child_program program = {.path = path, .arguments = arguments};
	struct err err;

	log_warning("confirm.late", LOG_NUMBER("revision", waiting->revision), LOG_NUMBER("back", waiting->back));
	supervisor->confirm.program = child_spawn(supervisor->base, &program, &events, &err);
	if (supervisor->confirm.program != NULL) {
		child_kill_after(supervisor->confirm.program, CONFIRM_PROGRAM_MS);
	} else {
		log_error("confirm.failed", LOG_ERR(&err), LOG_NUMBER("again_ms", CONFIRM_AGAIN_MS));
		go_back_alone(supervisor);
		look_again(supervisor, CONFIRM_AGAIN_MS);
	}
	free(path);
}

/* ---- the clock ---- */

static int64_t time_to_look(const struct waiting *waiting)
{
	int64_t left_ms = waiting->until_ms - clock_wall_ms();

	if (waiting->until_ms == 0 || left_ms > CONFIRM_LOOK_MS)
		return CONFIRM_LOOK_MS;
	return left_ms > 0 ? left_ms : 0;
}

/* A revision that was applied is accepted in inkan.db a moment later: until then the two differ. */
static void look(struct supervisor *supervisor)
{
	struct waiting waiting;
	struct err err;

	if (supervisor->stopping || supervisor->confirm.program != NULL)
		return;
	if (!configuration_waiting(supervisor->options->state, &waiting, &err)) {
		log_error("confirm.look", LOG_ERR(&err));
		look_again(supervisor, CONFIRM_LOOK_MS);
	} else if (is_late(&waiting)) {
		take_back(supervisor, &waiting);
	} else if (waiting.until_ms != 0 || waiting.revision != supervisor->running->snapshot->revision) {
		look_again(supervisor, time_to_look(&waiting));
	}
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	look(arg);
}

void confirm_init(struct supervisor *supervisor)
{
	supervisor->confirm = (struct confirm){.timer = evtimer_new(supervisor->base, on_timer, supervisor)};
}

void confirm_clear(struct supervisor *supervisor)
{
	child_forget(supervisor->confirm.program);
	event_free(supervisor->confirm.timer);
	supervisor->confirm = (struct confirm){0};
}

void confirm_follow(struct supervisor *supervisor)
{
	look_again(supervisor, 0);
}

struct configuration *confirm_load(const char *state, struct err *err)
{
	struct configuration *earlier;
	struct waiting waiting;
	struct err why;

	if (configuration_waiting(state, &waiting, &why) && is_late(&waiting)) {
		earlier = configuration_load(state, waiting.back, &why);
		if (earlier != NULL) {
			log_warning("confirm.late", LOG_NUMBER("revision", waiting.revision), LOG_NUMBER("back", waiting.back));
			return earlier;
		}
		log_error("confirm.failed", LOG_ERR(&why));
	}
	return configuration_load(state, CONFIGURATION_RUNNING, err);
}
