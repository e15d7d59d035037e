/*
 * signing/submission.h played by a test: what was submitted is kept, and the reply is what the test wants. To be included
 * by one file of a program, since it defines the functions.
 */
#ifndef INKAN_TESTS_FAKE_SUBMISSION_H
#define INKAN_TESTS_FAKE_SUBMISSION_H

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/relay/signing/submission.h"

struct submission {
	struct event_base *base;
	struct config *config;
	void (*resume)(void *arg);
	void *resume_arg;
	void (*done)(const struct submission_reply *reply, void *arg);
	void *done_arg;
	struct event *later;
};

/* What the next submissions do. */
static struct {
	int code; /* 0: 250 */
	const char *enhanced, *text;
	bool at_once; /* the reply comes from within submission_finish */
	unsigned delay_ms; /* else after this */
	bool pause; /* every append asks to wait, for a turn of the loop */
	bool hold; /* appends ask to wait and nobody resumes until fake_release */
} fake;

/* What the last submission got. */
static struct {
	char *sender, *client, *protocol, *user, *envelope_id;
	enum queue_return ret;
	struct buf dsn; /* "ORIGINAL/NOTIFY " of each recipient */
	struct buf recipients; /* each with a blank behind */
	struct buf content;
	uint64_t revision, expected_size;
	enum queue_body_type body_type;
	bool smtputf8;
	unsigned begun, finished, aborted, appends_while_waiting;
} got;

static struct submission *fake_waiting;

static char *fake_copy(const char *text)
{
	return text == NULL ? NULL : mem_string(text);
}

static void fake_reset(void)
{
	free(got.sender);
	free(got.client);
	free(got.protocol);
	free(got.user);
	free(got.envelope_id);
	buf_clear(&got.recipients);
	buf_clear(&got.dsn);
	buf_clear(&got.content);
	memset(&got, 0, sizeof got);
	memset(&fake, 0, sizeof fake);
}

struct submission *submission_begin(const struct submission_context *context, const struct submission_envelope *envelope)
{
	struct submission *submission = mem_new(sizeof *submission);
	unsigned begun = got.begun, finished = got.finished, aborted = got.aborted;

	free(got.sender);
	free(got.client);
	free(got.protocol);
	free(got.user);
	free(got.envelope_id);
	buf_clear(&got.recipients);
	buf_clear(&got.dsn);
	buf_clear(&got.content);
	memset(&got, 0, sizeof got);
	got.begun = begun + 1;
	got.finished = finished;
	got.aborted = aborted;
	got.sender = mem_string(envelope->sender);
	got.client = mem_string(envelope->client);
	got.protocol = mem_string(envelope->protocol);
	got.user = fake_copy(envelope->user);
	got.envelope_id = fake_copy(envelope->envelope_id);
	got.ret = envelope->ret;
	got.body_type = envelope->body_type;
	got.smtputf8 = envelope->smtputf8;
	got.expected_size = envelope->expected_size;
	got.revision = envelope->config->snapshot->revision;
	for (size_t i = 0; i < envelope->n_recipients; i++) {
		const struct queue_recipient *recipient = &envelope->recipients[i];

		buf_printf(&got.recipients, "%s ", recipient->address);
		buf_printf(&got.dsn, "%s/%u ", recipient->original == NULL ? "" : recipient->original, recipient->notify);
	}
	submission->base = context->base;
	submission->config = config_ref(envelope->config);
	return submission;
}

static void fake_free(struct submission *submission)
{
	if (submission->later != NULL)
		event_free(submission->later);
	if (fake_waiting == submission)
		fake_waiting = NULL;
	config_unref(submission->config);
	free(submission);
}

static void fake_later(struct submission *submission, unsigned ms, event_callback_fn callback)
{
	struct timeval wait = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	if (submission->later != NULL)
		event_free(submission->later);
	submission->later = evtimer_new(submission->base, callback, submission);
	evtimer_add(submission->later, &wait);
}

static void fake_resume(int fd, short what, void *arg)
{
	struct submission *submission = arg;

	(void)fd;
	(void)what;
	fake_waiting = NULL;
	submission->resume(submission->resume_arg);
}

bool submission_append(struct submission *submission, struct bytes octets)
{
	if (fake_waiting == submission)
		got.appends_while_waiting++;
	buf_put_bytes(&got.content, octets);
	if (!fake.pause && !fake.hold)
		return true;
	fake_waiting = submission;
	if (fake.pause)
		fake_later(submission, 0, fake_resume);
	return false;
}

void submission_on_resume(struct submission *submission, void (*resume)(void *arg), void *arg)
{
	submission->resume = resume;
	submission->resume_arg = arg;
}

static void fake_done(int fd, short what, void *arg)
{
	struct submission *submission = arg;
	struct submission_reply reply = {
	    .code = fake.code == 0 ? 250 : fake.code, .enhanced = fake.code == 0 ? "2.0.0" : fake.enhanced, .id = 1};

	(void)fd;
	(void)what;
	snprintf(reply.text, sizeof reply.text, "%s", fake.code == 0 ? "Ok: queued as 1" : fake.text);
	got.finished++;
	submission->done(&reply, submission->done_arg);
	fake_free(submission);
}

void submission_finish(struct submission *submission, void (*done)(const struct submission_reply *reply, void *arg), void *arg)
{
	submission->done = done;
	submission->done_arg = arg;
	if (fake.at_once)
		fake_done(-1, 0, submission);
	else
		fake_later(submission, fake.delay_ms, fake_done);
}

void submission_abort(struct submission *submission)
{
	got.aborted++;
	fake_free(submission);
}

#endif
