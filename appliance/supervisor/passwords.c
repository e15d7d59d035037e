#include "appliance/supervisor/passwords.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/base/channel.h"
#include "appliance/base/control.h"
#include "appliance/base/log.h"
#include "appliance/supervisor/supervisor_private.h"
#include "hsm/protocol/provision.h"
#include "provisioning/store/settings.h"

struct password {
	char *sealed; /* as configured */
	char *next_hop;
	struct secret *secret; /* NULL: not opened */
	bool told; /* the relay has it */
	bool hopeless; /* it does not open with this token */
};

static void open_next(struct supervisor *supervisor);

static void password_clear(struct password *password)
{
	free(password->sealed);
	free(password->next_hop);
	secret_free(password->secret);
}

static void tell_relay(struct supervisor *supervisor)
{
	struct passwords *passwords = &supervisor->passwords;

	for (size_t i = 0; i < passwords->count; i++) {
		struct password *password = &passwords->items[i];

		if (password->secret == NULL || password->told)
			continue;
		relay_send_password(supervisor, password->sealed, password->secret);
		password->told = relay_has_process(supervisor);
	}
}

/* ---- one task ---- */

static void end_task(struct supervisor *supervisor)
{
	struct passwords *passwords = &supervisor->passwords;

	channel_free(passwords->task);
	passwords->task = NULL;
	passwords->asking = false;
}

static void try_later(struct supervisor *supervisor)
{
	const struct timeval wait = {.tv_sec = PASSWORDS_RETRY_MS / 1000};

	end_task(supervisor);
	event_add(supervisor->passwords.retry, &wait);
}

static void take_opened(struct supervisor *supervisor, struct msg *msg)
{
	struct password *password = &supervisor->passwords.items[supervisor->passwords.asked];
	struct bytes octets = msg_get_bytes(msg);
	struct err err;

	if (msg_end(msg, "opened password", &err))
		password->secret = secret_new(octets, &err);
	if (password->secret == NULL)
		log_error("passwords.failed", LOG_TEXT("next_hop", password->next_hop), LOG_ERR(&err));
	password->hopeless = password->secret == NULL;
}

/* What does not open now does not open later either, but for a token that is away. */
static bool take_refusal(struct supervisor *supervisor, struct msg *msg)
{
	struct password *password = &supervisor->passwords.items[supervisor->passwords.asked];
	uint8_t code = msg_get_u8(msg);
	char *text = msg_get_text(msg);

	password->hopeless = code == ERR_INTEGRITY || code == ERR_NOT_FOUND || code == ERR_DENIED;
	log_error("passwords.failed", LOG_TEXT("next_hop", password->next_hop), LOG_TEXT("error", text));
	free(text);
	return password->hopeless;
}

static void on_task_frame(struct channel *channel, uint16_t type, struct msg *msg, int fd, void *arg)
{
	struct supervisor *supervisor = arg;

	(void)channel;
	if (fd >= 0)
		close(fd);
	if (type == PROVISION_FRAME_PROGRESS)
		return;
	if (supervisor->pin.state != PIN_HELD) { /* an operator has logged out meanwhile */
		end_task(supervisor);
		return;
	}
	if (type == PROVISION_FRAME_RESULT) {
		take_opened(supervisor, msg);
	} else if (type != PROVISION_FRAME_ERROR || !take_refusal(supervisor, msg)) {
		try_later(supervisor);
		return;
	}
	end_task(supervisor);
	tell_relay(supervisor);
	open_next(supervisor);
}

static void on_task_gone(struct channel *channel, const struct err *why, void *arg)
{
	(void)channel;
	log_warning("passwords.failed", LOG_ERR(why));
	try_later(arg);
}

static void send_task(struct supervisor *supervisor)
{
	struct passwords *passwords = &supervisor->passwords;
	const struct password *password = &passwords->items[passwords->asked];
	const char *hex = password->sealed + sizeof SETTING_SEALED_SCHEME - 1;
	char *context = mem_format(PROVISION_NEXT_HOP_CONTEXT "%s", password->next_hop);
	struct buf octets = {0}, payload = {0};

	for (; hex[0] != '\0' && hex[1] != '\0'; hex += 2) {
		const char digits[] = {hex[0], hex[1], '\0'};

		buf_put_byte(&octets, (uint8_t)strtoul(digits, NULL, 16));
	}
	sealed_secret_encode(&payload, &(struct sealed_secret){bytes_text(context), buf_bytes(&octets)});
	channel_send(passwords->task, PROVISION_FRAME_UNSEAL, buf_bytes(&payload), -1);
	buf_clear(&payload);
	buf_clear(&octets);
	free(context);
}

static void on_task_begun(void *arg, const struct err *failed, int fd)
{
	struct supervisor *supervisor = arg;

	if (failed != NULL) {
		log_warning("passwords.put-off", LOG_ERR(failed));
		try_later(supervisor);
		return;
	}
	supervisor->passwords.task = channel_new(supervisor->base, fd, on_task_frame, on_task_gone, supervisor);
	send_task(supervisor);
}

/* One after the other: each is a login. */
static void open_next(struct supervisor *supervisor)
{
	struct passwords *passwords = &supervisor->passwords;
	const struct request request = {.done = on_task_begun, .arg = supervisor};
	size_t i = 0;

	while (i < passwords->count && (passwords->items[i].secret != NULL || passwords->items[i].hopeless))
		i++;
	if (i == passwords->count || passwords->asking || supervisor->stopping || supervisor->pin.state != PIN_HELD)
		return;
	passwords->asking = true;
	passwords->asked = i;
	tasks_begin(supervisor, &request);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	passwords_follow(arg, false);
}

/* ---- what is configured ---- */

static struct password *find(const struct passwords *passwords, const char *sealed)
{
	for (size_t i = 0; i < passwords->count; i++) {
		if (strcmp(passwords->items[i].sealed, sealed) == 0)
			return &passwords->items[i];
	}
	return NULL;
}

static void add(struct passwords *passwords, const struct setting *setting)
{
	size_t n_words;
	char **words;

	if (find(passwords, setting->value) != NULL)
		return;
	words = path_words(setting->path, &n_words);
	passwords->items = mem_resize(passwords->items, passwords->count + 1, sizeof *passwords->items);
	passwords->items[passwords->count++] =
	    (struct password){.sealed = mem_string(setting->value), .next_hop = mem_string(words[n_words - 2])};
	path_words_free(words);
}

static bool is_configured(const struct settings *settings, const char *sealed)
{
	for (size_t i = 0; i < settings->count; i++) {
		if (strcmp(settings->items[i].value, sealed) == 0)
			return true;
	}
	return false;
}

static void drop_others(struct passwords *passwords, const struct settings *settings)
{
	size_t kept = 0;

	for (size_t i = 0; i < passwords->count; i++) {
		if (is_configured(settings, passwords->items[i].sealed))
			passwords->items[kept++] = passwords->items[i];
		else
			password_clear(&passwords->items[i]);
	}
	passwords->count = kept;
}

void passwords_follow(struct supervisor *supervisor, bool again)
{
	struct passwords *passwords = &supervisor->passwords;
	const struct settings *settings = &supervisor->running->snapshot->settings;

	if (!passwords->asking) /* its index must stay what it is */
		drop_others(passwords, settings);
	for (size_t i = 0; i < settings->count; i++) {
		const struct setting_row *row = setting_row_of(settings->items[i].path);

		if (row != NULL && row->type == SETTING_SEALED)
			add(passwords, &settings->items[i]);
	}
	for (size_t i = 0; i < passwords->count; i++) {
		passwords->items[i].told = passwords->items[i].told && !again;
		passwords->items[i].hopeless = false;
	}
	tell_relay(supervisor);
	open_next(supervisor);
}

void passwords_forget(struct supervisor *supervisor)
{
	struct passwords *passwords = &supervisor->passwords;

	if (passwords->task != NULL)
		end_task(supervisor);
	event_del(passwords->retry);
	for (size_t i = 0; i < passwords->count; i++) {
		secret_free(passwords->items[i].secret);
		passwords->items[i].secret = NULL;
		passwords->items[i].told = false;
	}
}

void passwords_init(struct supervisor *supervisor)
{
	supervisor->passwords = (struct passwords){.retry = evtimer_new(supervisor->base, on_retry, supervisor)};
}

void passwords_clear(struct supervisor *supervisor)
{
	struct passwords *passwords = &supervisor->passwords;

	channel_free(passwords->task);
	event_free(passwords->retry);
	for (size_t i = 0; i < passwords->count; i++)
		password_clear(&passwords->items[i]);
	free(passwords->items);
	*passwords = (struct passwords){0};
}
