/* monitor: the screen of monitor.h, anew each second. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "provisioning/console/commands.h"
#include "provisioning/console/control_client.h"
#include "provisioning/console/monitor.h"
#include "provisioning/console/relay_client.h"
#include "provisioning/console/terminal.h"

#define REFRESH_MS 1000
#define ANSWER_MS 3000
#define SAMPLES 64 /* a minute, and a little */
#define SLOW_REFRESHES 10 /* of certificates and the host name */

struct watch {
	struct console *console;
	struct relay_client relay;
	bool open; /* the relay's connection */
	struct monitor monitor;
	struct monitor_sample samples[SAMPLES]; /* a ring */
	unsigned next, count, refreshes;
	bool dumb; /* a terminal that knows no cursor */
};

/* ---- what is shown ---- */

static const struct monitor_sample *sample_before(const struct watch *watch, int64_t ms)
{
	const struct monitor_sample *found = NULL, *now = watch->monitor.now;

	for (unsigned i = 2; i <= watch->count; i++) {
		const struct monitor_sample *one = &watch->samples[(watch->next + SAMPLES - i) % SAMPLES];

		if (one->started != now->started || now->now_ms - one->now_ms > ms + REFRESH_MS)
			break; /* of another relay, or older */
		found = one;
		if (now->now_ms - one->now_ms >= ms)
			break;
	}
	return found;
}

static bool ask_relay(struct watch *watch, struct err *err)
{
	struct query query = {.kind = QUERY_MONITOR};
	struct query_rows rows;
	bool fine = watch->open || relay_open_within(&watch->relay, watch->console->state, ANSWER_MS, err);

	watch->open = fine;
	fine = fine && relay_ask(&watch->relay, &query, QUERY_MONITOR_COLUMNS, &rows, err);
	query_clear(&query);
	if (!fine) {
		if (watch->open)
			relay_close(&watch->relay);
		watch->open = false;
		return false;
	}
	fine = rows.n_cells == QUERY_MONITOR_COLUMNS || err_set(err, ERR_INVALID, "the relay gave no figures");
	if (fine)
		monitor_read(rows.cells, &watch->samples[watch->next]);
	query_rows_clear(&rows);
	return fine;
}

static void take_sample(struct watch *watch)
{
	struct monitor *monitor = &watch->monitor;
	struct err err;

	monitor->now = monitor->second = monitor->minute = NULL;
	if (!ask_relay(watch, &err)) {
		snprintf(monitor->trouble, sizeof monitor->trouble, "%s", err.text);
		return;
	}
	monitor->now = &watch->samples[watch->next];
	watch->next = (watch->next + 1) % SAMPLES;
	watch->count += watch->count < SAMPLES;
	monitor->second = sample_before(watch, REFRESH_MS / 2);
	monitor->minute = sample_before(watch, 60000);
}

static void take_workers(struct monitor *monitor, const struct supervisor_status *status)
{
	snprintf(monitor->signing, sizeof monitor->signing, "%s", status->signing);
	monitor->n_workers = 0;
	for (size_t i = 0; i < status->n_children && monitor->n_workers < MONITOR_NAMES_MAX; i++) {
		const struct child_status *child = &status->children[i];
		struct monitor_worker *worker = &monitor->workers[monitor->n_workers];

		if (strncmp(child->name, "worker", 6) != 0)
			continue;
		*worker = (struct monitor_worker){
		    .threads = child->threads, .restarts = child->restarts, .rate = child->rate_tenths / 10.0};
		snprintf(worker->name, sizeof worker->name, "%s", child->name);
		snprintf(worker->state, sizeof worker->state, "%s", child->state);
		snprintf(worker->health, sizeof worker->health, "%s", child->health);
		monitor->n_workers++;
	}
}

static void ask_supervisor(struct watch *watch)
{
	struct supervisor_status status = {0};
	struct control_client client;

	if (!control_open_within(&client, watch->console->state, ANSWER_MS, NULL))
		return;
	if (control_status(&client, &status, NULL)) {
		take_workers(&watch->monitor, &status);
		supervisor_status_clear(&status);
	}
	control_close(&client);
}

static int by_end(const void *a, const void *b)
{
	const struct stored_certificate *left = a, *right = b;

	return (left->certificate.not_after > right->certificate.not_after) -
	       (left->certificate.not_after < right->certificate.not_after);
}

static void take_certificates(struct monitor *monitor, struct stored_certificates *stored,
			      const struct certificate_choices *choices)
{
	monitor->n_certificates = 0;
	if (stored->count > 0)
		qsort(stored->items, stored->count, sizeof *stored->items, by_end);
	for (size_t i = 0; i < stored->count && monitor->n_certificates < MONITOR_NAMES_MAX; i++) {
		const struct certificate *one = &stored->items[i].certificate;
		const uint64_t *meant = certificate_choices_find(choices, one->address);
		struct monitor_certificate *to = &monitor->certificates[monitor->n_certificates];

		if (meant == NULL || *meant != one->id)
			continue;
		snprintf(to->address, sizeof to->address, "%s", one->address);
		to->not_after = one->not_after;
		monitor->n_certificates++;
	}
}

static void ask_store(struct watch *watch)
{
	struct stored_certificates stored;
	struct revision running;
	const char *host;

	if (!store_revision(watch->console->store, 0, &running, NULL))
		return;
	host = settings_value(&running.settings, "system host-name");
	if (host != NULL)
		snprintf(watch->monitor.host, sizeof watch->monitor.host, "%s", host);
	else if (gethostname(watch->monitor.host, sizeof watch->monitor.host - 1) != 0)
		watch->monitor.host[0] = '\0';
	if (store_certificates(watch->console->store, NULL, &stored, NULL)) {
		take_certificates(&watch->monitor, &stored, &running.choices);
		stored_certificates_clear(&stored);
	}
	revision_clear(&running);
}

/* ---- the screen ---- */

/* On a dumb terminal, and where nobody looks, one screen after the other; else in place, and what is longer than before wiped. */
static void draw(struct watch *watch)
{
	struct terminal_size size = terminal_size();
	FILE *out = watch->console->out;
	struct buf lines = {0};

	watch->monitor.wall_ms = clock_wall_ms();
	monitor_lines(&watch->monitor, size.rows - 1, size.columns - 1, terminal_shows_utf8(), &lines);
	if (!watch->dumb)
		fputs("\033[H", out);
	for (struct bytes rest = buf_bytes(&lines); rest.len > 0;) {
		const uint8_t *end = memchr(rest.data, '\n', rest.len);
		size_t len = (size_t)(end - rest.data);

		fwrite(rest.data, 1, len, out);
		fputs(watch->dumb ? "\n" : "\033[K\n", out);
		rest = bytes_slice(rest, len + 1, rest.len);
	}
	fputs(watch->dumb ? "\n" : "\033[J", out);
	fflush(out);
	buf_clear(&lines);
}

static void refresh(struct watch *watch)
{
	if (watch->refreshes++ % SLOW_REFRESHES == 0)
		ask_store(watch);
	take_sample(watch);
	ask_supervisor(watch);
	if (!terminal_interrupted())
		draw(watch);
}

/* Up to the next refresh; false: to leave. */
static bool wait_for_leave(void)
{
	int64_t until = clock_monotonic_ms() + REFRESH_MS, left;
	enum terminal_event event;
	char key;

	while ((left = until - clock_monotonic_ms()) > 0) {
		if (!terminal_wait_for((int)left, &event))
			return true;
		if (event != TERMINAL_INPUT || read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q' || key == 4)
			return false;
	}
	return !terminal_interrupted();
}

static void set_keys(const struct termios *usual)
{
	struct termios keys = *usual;

	keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	keys.c_cc[VMIN] = 1;
	keys.c_cc[VTIME] = 0;
	keys.c_cc[VSUSP] = _POSIX_VDISABLE; /* nobody stops it with the terminal like this */
	tcsetattr(STDIN_FILENO, TCSADRAIN, &keys);
}

static bool is_dumb(void)
{
	const char *term = getenv("TERM");

	return term == NULL || *term == '\0' || strcmp(term, "dumb") == 0 || strcmp(term, "unknown") == 0;
}

static void watch_at_terminal(struct watch *watch)
{
	struct terminal_signals before;
	struct termios usual;
	bool terminal = tcgetattr(STDIN_FILENO, &usual) == 0;

	terminal_watch(&before);
	terminal_idle_begin();
	if (terminal)
		set_keys(&usual);
	if (!watch->dumb)
		fputs("\033[H\033[J", watch->console->out);
	do
		refresh(watch);
	while (!terminal_interrupted() && wait_for_leave());
	if (terminal)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &usual);
	terminal_idle_end();
	terminal_unwatch(&before);
	fputc('\n', watch->console->out);
	fflush(watch->console->out);
}

/* In a script one screen, whose rates are of a second. */
static bool show_once(struct watch *watch, struct err *err)
{
	take_sample(watch);
	if (watch->monitor.now != NULL)
		(void)poll(NULL, 0, REFRESH_MS);
	refresh(watch);
	return watch->monitor.now != NULL || err_set(err, ERR_UNAVAILABLE, "%s", watch->monitor.trouble);
}

bool monitor(struct console *console, const struct parsed *parsed, struct err *err)
{
	const struct filters *filters = console->filters;
	struct watch *watch;
	bool fine = true;

	(void)parsed;
	if (filters != NULL && (filters->count > 0 || filters->count_lines || filters->json))
		return err_set(err, ERR_INVALID, "monitor is a screen: for figures, show statistics or the metrics of the relay");
	watch = mem_new(sizeof *watch);
	*watch = (struct watch){.console = console, .dumb = !console->interactive || is_dumb()};
	if (console->interactive)
		watch_at_terminal(watch);
	else
		fine = show_once(watch, err);
	if (watch->open)
		relay_close(&watch->relay);
	free(watch);
	return fine;
}
