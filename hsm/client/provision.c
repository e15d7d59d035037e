#include "hsm/client/provision.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "appliance/base/clock.h"
#include "appliance/base/frame.h"

/* How a task's RESULT is read; the rest of every task is the same. */
typedef bool result_decode(struct msg *msg, void *out, struct err *err);

static bool take_error(const struct provision_call *call, struct msg *msg, struct err *err)
{
	uint8_t code = msg_get_u8(msg);
	char *text = msg_get_text(msg);
	bool left = msg_get_u8(msg) != 0;

	if (!msg_end(msg, "error from the HSM program", err)) {
		free(text);
		return false;
	}
	if (call->clean != NULL)
		*call->clean = !left;
	err_set(err, code == ERR_NONE || code > ERR_INTERNAL ? ERR_INTERNAL : (enum err_code)code, "%s", text);
	free(text);
	return false;
}

static bool show_progress(const struct provision_call *call, struct msg *msg, struct err *err)
{
	char *text = msg_get_text(msg);
	bool good = msg_end(msg, "progress of the HSM program", err);

	if (good && call->progress != NULL)
		call->progress(text, call->arg);
	free(text);
	return good;
}

/* Says that the task goes on, for the person who watches. Whatever ends the wait is found by the read that follows. */
static void wait_and_tell(const struct provision_call *call, int64_t began_ms)
{
	struct pollfd wait = {.fd = call->fd, .events = POLLIN};
	char text[64];

	if (call->progress == NULL)
		return;
	while (clock_monotonic_ms() < call->deadline_ms && poll(&wait, 1, PROVISION_TELL_MS) == 0) {
		snprintf(text, sizeof text, "Still working: %lld s so far.", (long long)(clock_monotonic_ms() - began_ms) / 1000);
		call->progress(text, call->arg);
	}
}

/* One frame. *done says that the task is over, the return value how. */
static bool receive(const struct provision_call *call, result_decode *decode, void *out, bool *done, struct err *err)
{
	struct buf payload = {0};
	uint16_t type = 0;
	bool good = frame_receive(call->fd, &type, &payload, NULL, call->deadline_ms, err);
	struct msg msg = msg_of(buf_bytes(&payload));

	if (good && type == PROVISION_FRAME_RESULT) {
		*done = true;
		good = decode(&msg, out, err);
	} else if (good && type == PROVISION_FRAME_PROGRESS) {
		good = show_progress(call, &msg, err);
	} else if (good && type == PROVISION_FRAME_ERROR) {
		good = take_error(call, &msg, err);
	} else if (good) {
		good = err_set(err, ERR_INVALID, "unexpected frame %u from the HSM program", type);
	}
	buf_wipe_clear(&payload);
	return good;
}

/* Sends the task, wipes and releases its encoding, and waits for the end of it. */
static bool run(const struct provision_call *call, enum provision_frame task, struct buf *payload, result_decode *decode,
		void *out, struct err *err)
{
	int64_t began_ms = clock_monotonic_ms();
	bool done = false;
	bool good =
	    frame_send(call->fd, (uint16_t)task, buf_bytes(payload), call->lock > 0 ? call->lock : -1, call->deadline_ms, err);

	buf_wipe_clear(payload);
	while (good && !done) {
		wait_and_tell(call, began_ms);
		good = receive(call, decode, out, &done, err);
	}
	return good;
}

static bool decode_description(struct msg *msg, void *out, struct err *err)
{
	return token_description_decode(msg, out, err);
}

static bool decode_import(struct msg *msg, void *out, struct err *err)
{
	return import_result_decode(msg, out, err);
}

static bool decode_request(struct msg *msg, void *out, struct err *err)
{
	return request_result_decode(msg, out, err);
}

static bool decode_test(struct msg *msg, void *out, struct err *err)
{
	return test_results_decode(msg, out, err);
}

static bool decode_count(struct msg *msg, void *out, struct err *err)
{
	uint32_t count = msg_get_u32(msg);

	if (!msg_end(msg, "number of objects", err))
		return false;
	*(uint32_t *)out = count;
	return true;
}

bool provision_describe(const struct provision_call *call, struct token_description *description, struct err *err)
{
	struct buf payload = {0};

	return run(call, PROVISION_FRAME_DESCRIBE, &payload, decode_description, description, err);
}

bool provision_initialize(const struct provision_call *call, const struct initialize_task *task,
			  struct token_description *description, struct err *err)
{
	struct buf payload = {0};

	initialize_task_encode(&payload, task);
	return run(call, PROVISION_FRAME_INITIALIZE, &payload, decode_description, description, err);
}

bool provision_import(const struct provision_call *call, const struct import_task *task, struct import_result *result,
		      struct err *err)
{
	struct buf payload = {0};

	if (task->pkcs12.len > PROVISION_PKCS12_MAX_BYTES)
		return err_set(err, ERR_LIMIT, "the PKCS#12 file has more than %u bytes", PROVISION_PKCS12_MAX_BYTES);
	import_task_encode(&payload, task);
	return run(call, PROVISION_FRAME_IMPORT, &payload, decode_import, result, err);
}

bool provision_request(const struct provision_call *call, const struct request_task *task, struct request_result *result,
		       struct err *err)
{
	struct buf payload = {0};

	request_task_encode(&payload, task);
	return run(call, PROVISION_FRAME_REQUEST, &payload, decode_request, result, err);
}

bool provision_install(const struct provision_call *call, const struct install_task *task, struct import_result *result,
		       struct err *err)
{
	struct buf payload = {0};

	if (task->certificates.len > PROVISION_PKCS12_MAX_BYTES)
		return err_set(err, ERR_LIMIT, "the certificate file has more than %u bytes", PROVISION_PKCS12_MAX_BYTES);
	install_task_encode(&payload, task);
	return run(call, PROVISION_FRAME_INSTALL, &payload, decode_import, result, err);
}

bool provision_delete(const struct provision_call *call, struct bytes key_id, uint32_t *destroyed, struct err *err)
{
	struct buf payload = {0};

	msg_put_bytes(&payload, key_id);
	return run(call, PROVISION_FRAME_DELETE, &payload, decode_count, destroyed, err);
}

struct counts {
	uint32_t *items;
	size_t count;
};

static bool decode_counts(struct msg *msg, void *out, struct err *err)
{
	const struct counts *counts = out;

	for (size_t i = 0; i < counts->count; i++)
		counts->items[i] = msg_get_u32(msg);
	return msg_end(msg, "numbers of objects", err);
}

bool provision_sweep(const struct provision_call *call, const struct sweep_task *task, uint32_t *destroyed, struct err *err)
{
	struct counts counts = {destroyed, task->count + 1};
	struct buf payload = {0};

	sweep_task_encode(&payload, task);
	return run(call, PROVISION_FRAME_SWEEP, &payload, decode_counts, &counts, err);
}

bool provision_test(const struct provision_call *call, const struct worker_certificates *certificates,
		    struct test_results *results, struct err *err)
{
	struct buf payload = {0};

	worker_certificates_encode(&payload, certificates);
	return run(call, PROVISION_FRAME_TEST, &payload, decode_test, results, err);
}

static bool decode_sealed(struct msg *msg, void *out, struct err *err)
{
	struct bytes sealed = msg_get_bytes(msg);

	if (!msg_end(msg, "sealed secret", err))
		return false;
	buf_put_bytes(out, sealed);
	return true;
}

bool provision_seal(const struct provision_call *call, struct bytes context, struct bytes secret, struct buf *sealed,
		    struct err *err)
{
	struct buf payload = {0};

	sealed_secret_encode(&payload, &(struct sealed_secret){context, secret});
	return run(call, PROVISION_FRAME_SEAL, &payload, decode_sealed, sealed, err);
}

static bool decode_checkpoint(struct msg *msg, void *out, struct err *err)
{
	return checkpoint_result_decode(msg, out, err);
}

bool provision_checkpoint(const struct provision_call *call, const struct checkpoint_task *task, struct checkpoint_result *result,
			  struct err *err)
{
	struct buf payload = {0};

	checkpoint_task_encode(&payload, task);
	return run(call, PROVISION_FRAME_CHECKPOINT, &payload, decode_checkpoint, result, err);
}

static bool decode_benchmark(struct msg *msg, void *out, struct err *err)
{
	return benchmark_results_decode(msg, out, err);
}

bool provision_benchmark(const struct provision_call *call, uint32_t seconds, const struct worker_certificates *certificates,
			 struct benchmark_results *results, struct err *err)
{
	struct buf payload = {0};

	benchmark_task_encode(&payload, seconds, certificates);
	return run(call, PROVISION_FRAME_BENCHMARK, &payload, decode_benchmark, results, err);
}
