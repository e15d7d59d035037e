#include "tests/unit/fake_inkand.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "appliance/base/control.h"
#include "appliance/base/frame.h"
#include "hsm/protocol/provision.h"
#include "hsm/protocol/worker.h"
#include "provisioning/store/store.h"

#define WAIT_MS 5000

struct fake_inkand {
	pthread_t thread;
	pthread_mutex_t lock;
	char *state;
	int listener, stop[2];
	struct fake_answers answers;
	struct fake_seen seen;
};

static void send_frame(int fd, unsigned type, struct buf *payload, int pass_fd)
{
	struct err err;

	if (!frame_send(fd, (uint16_t)type, buf_bytes(payload), pass_fd, clock_monotonic_ms() + WAIT_MS, &err))
		fprintf(stderr, "fake inkand: %s\n", err.text);
	buf_clear(payload);
}

static void send_error(int fd, unsigned type, enum err_code code, const char *text)
{
	struct buf payload = {0};

	msg_put_u8(&payload, (uint8_t)code);
	msg_put_text(&payload, text);
	if (type == PROVISION_FRAME_ERROR)
		msg_put_u8(&payload, 0); /* nothing is left on the token */
	send_frame(fd, type, &payload, -1);
}

static void keep(char *to, size_t size, struct bytes from)
{
	snprintf(to, size, "%.*s", (int)from.len, (const char *)from.data);
}

/* ---- the HSM program ---- */

static void put_import_result(struct buf *out, struct import_task *task)
{
	struct bytes chain[] = {bytes_text("leaf"), bytes_text("intermediate")};
	char *names[] = {task->address};
	struct import_result result = {
	    .facts = {.chain = chain,
		      .n_chain = 2,
		      .names = names,
		      .n_names = 1,
		      .subject = (char *)"CN=subject",
		      .issuer = (char *)"CN=issuer",
		      .serial = (char *)"0a",
		      .fingerprint = (char *)"feed",
		      .key_type = (char *)"EC-P256",
		      .not_before = task->now - 86400,
		      .not_after = task->now + 86400 * 30},
	    .rung = (char *)"rewrap",
	    .attributes = {.sensitive = true, .never_extractable = false},
	    .sealed_password = bytes_text("sealed"),
	};
	char *warnings[] = {(char *)"issued for long"};

	result.key_id = task->key_id;
	result.warnings = warnings;
	result.n_warnings = 1;
	import_result_encode(out, &result);
}

static void answer_import(struct fake_inkand *fake, int fd, struct msg *msg)
{
	struct buf progress = {0}, result = {0};
	struct import_task task;
	struct err err;

	if (!import_task_decode(msg, &task, &err)) {
		send_error(fd, PROVISION_FRAME_ERROR, err.code, err.text);
		return;
	}
	msg_put_text(&progress, "unwrapping");
	send_frame(fd, PROVISION_FRAME_PROGRESS, &progress, -1);
	if (fake->answers.at_import != NULL)
		fake->answers.at_import(fake->state);
	if (fake->answers.refuse_import != NULL) {
		send_error(fd, PROVISION_FRAME_ERROR, ERR_INVALID, fake->answers.refuse_import);
	} else if (!bytes_equal_text(task.password, "right")) {
		send_error(fd, PROVISION_FRAME_ERROR, ERR_DENIED, "wrong password of the PKCS#12 file");
	} else {
		fake->seen.keys++;
		fake->seen.imported++;
		put_import_result(&result, &task);
		send_frame(fd, PROVISION_FRAME_RESULT, &result, -1);
	}
	import_task_clear(&task);
}

static void answer_delete(struct fake_inkand *fake, int fd)
{
	struct buf result = {0};

	fake->seen.deleted++;
	fake->seen.keys--;
	msg_put_u32(&result, 2);
	send_frame(fd, PROVISION_FRAME_RESULT, &result, -1);
}

static void answer_initialize(struct fake_inkand *fake, int fd, struct msg *msg)
{
	struct token_description description = {.module = (char *)"",
						.library = (char *)"",
						.manufacturer = (char *)"Maker",
						.model = (char *)"Model",
						.serial = (char *)"1",
						.firmware = (char *)"",
						.import_rung = (char *)"",
						.seal = (char *)""};
	struct initialize_task task;
	struct buf result = {0};
	struct err err;

	if (!initialize_task_decode(msg, &task, &err)) {
		send_error(fd, PROVISION_FRAME_ERROR, err.code, err.text);
		return;
	}
	keep(fake->seen.label, sizeof fake->seen.label, bytes_text(task.label));
	keep(fake->seen.so_pin, sizeof fake->seen.so_pin, task.so_pin);
	keep(fake->seen.user_pin, sizeof fake->seen.user_pin, task.user_pin);
	description.label = task.label;
	token_description_encode(&result, &description);
	send_frame(fd, PROVISION_FRAME_RESULT, &result, -1);
	initialize_task_clear(&task);
}

static void answer_test(int fd, struct msg *msg)
{
	struct worker_certificates certificates;
	struct test_results results = {0};
	struct buf out = {0};
	struct err err;

	if (!worker_certificates_decode(msg, &certificates, &err)) {
		send_error(fd, PROVISION_FRAME_ERROR, err.code, err.text);
		return;
	}
	results.items = mem_new_array(certificates.count, sizeof *results.items);
	for (; results.count < certificates.count; results.count++)
		results.items[results.count] = (struct test_result){.certificate = certificates.items[results.count].id,
								    .passed = results.count == 0,
								    .milliseconds = 3,
								    .text = (char *)(results.count == 0 ? "" : "no such key")};
	test_results_encode(&out, &results);
	send_frame(fd, PROVISION_FRAME_RESULT, &out, -1);
	free(results.items);
	worker_certificates_clear(&certificates);
}

static void serve_task(struct fake_inkand *fake, int fd)
{
	struct buf payload = {0};
	uint16_t type;
	struct msg msg;

	if (!frame_receive(fd, &type, &payload, NULL, clock_monotonic_ms() + WAIT_MS, NULL))
		return;
	msg = msg_of(buf_bytes(&payload));
	pthread_mutex_lock(&fake->lock);
	if (type == PROVISION_FRAME_IMPORT)
		answer_import(fake, fd, &msg);
	else if (type == PROVISION_FRAME_DELETE)
		answer_delete(fake, fd);
	else if (type == PROVISION_FRAME_INITIALIZE)
		answer_initialize(fake, fd, &msg);
	else if (type == PROVISION_FRAME_TEST)
		answer_test(fd, &msg);
	else
		send_error(fd, PROVISION_FRAME_ERROR, ERR_INVALID, "the fake knows no such task");
	pthread_mutex_unlock(&fake->lock);
	buf_wipe_clear(&payload);
}

/* ---- inkand ---- */

/* Reads the revision as inkand does: with a handle of its own. */
static void answer_apply(struct fake_inkand *fake, int fd, struct msg *msg)
{
	struct fake_apply apply = {.revision = msg_get_u64(msg), .check_only = msg_get_u8(msg) != 0};
	struct snapshot *snapshot = NULL;
	struct buf nothing = {0};
	struct err err = {0};
	struct store *store = store_open(fake->state, STORE_READ_ONLY, &err);

	if (store != NULL)
		snapshot = store_snapshot(store, apply.revision, &err);
	if (snapshot != NULL) {
		apply.settings = snapshot->settings.count;
		apply.certificates = snapshot->n_certificates;
		fake->seen.applies[fake->seen.n_applies++ % FAKE_APPLIES_MAX] = apply;
	}
	if (fake->answers.refuse_apply != NULL)
		send_error(fd, CONTROL_ERROR, ERR_INVALID, fake->answers.refuse_apply);
	else if (snapshot == NULL)
		send_error(fd, CONTROL_ERROR, err.code, err.text);
	else
		send_frame(fd, CONTROL_OK, &nothing, -1);
	snapshot_free(snapshot);
	store_close(store);
}

static void answer_login(struct fake_inkand *fake, int fd, struct msg *msg)
{
	struct buf nothing = {0};

	keep(fake->seen.pin, sizeof fake->seen.pin, msg_get_bytes(msg));
	fake->seen.login_flags = msg_get_u8(msg);
	if (fake->answers.refuse_login != NULL)
		send_error(fd, CONTROL_ERROR, ERR_DENIED, fake->answers.refuse_login);
	else
		send_frame(fd, CONTROL_OK, &nothing, -1);
}

static void answer_provision(struct fake_inkand *fake, int fd)
{
	struct buf nothing = {0};
	int pair[2];

	if (!frame_socketpair(pair, false, NULL))
		return;
	send_frame(fd, CONTROL_OK, &nothing, pair[0]);
	close(pair[0]);
	pthread_mutex_unlock(&fake->lock);
	serve_task(fake, pair[1]);
	pthread_mutex_lock(&fake->lock);
	close(pair[1]);
}

static void answer(struct fake_inkand *fake, int fd, uint16_t type, struct msg *msg)
{
	struct buf nothing = {0};

	switch (type) {
	case CONTROL_HELLO:
		if (msg_get_u32(msg) == CONTROL_VERSION)
			send_frame(fd, CONTROL_OK, &nothing, -1);
		else
			send_error(fd, CONTROL_ERROR, ERR_INVALID, "another version");
		break;
	case CONTROL_LOGIN:
		answer_login(fake, fd, msg);
		break;
	case CONTROL_LOGOUT:
		fake->seen.pin[0] = '\0';
		send_frame(fd, CONTROL_OK, &nothing, -1);
		break;
	case CONTROL_APPLY:
		answer_apply(fake, fd, msg);
		break;
	case CONTROL_PROVISION:
		answer_provision(fake, fd);
		break;
	default:
		send_error(fd, CONTROL_ERROR, ERR_INVALID, "the fake knows no such request");
	}
}

static void serve_connection(struct fake_inkand *fake, int fd)
{
	struct buf payload = {0};
	uint16_t type;

	while (frame_receive(fd, &type, &payload, NULL, clock_monotonic_ms() + WAIT_MS, NULL)) {
		struct msg msg = msg_of(buf_bytes(&payload));

		pthread_mutex_lock(&fake->lock);
		answer(fake, fd, type, &msg);
		pthread_mutex_unlock(&fake->lock);
		buf_wipe_clear(&payload);
	}
	buf_clear(&payload);
}

static void *run(void *arg)
{
	struct fake_inkand *fake = arg;
	struct pollfd wait[2] = {{.fd = fake->listener, .events = POLLIN}, {.fd = fake->stop[0], .events = POLLIN}};

	while (poll(wait, 2, -1) > 0 && wait[1].revents == 0) {
		int fd = accept(fake->listener, NULL, NULL);

		if (fd >= 0) {
			serve_connection(fake, fd);
			close(fd);
		}
	}
	return NULL;
}

struct fake_inkand *fake_inkand_start(const char *state)
{
	struct fake_inkand *fake = mem_new(sizeof *fake);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char *directory = mem_format("%s/run", state);

	fake->state = mem_string(state);
	pthread_mutex_init(&fake->lock, NULL);
	mkdir(directory, 0700);
	snprintf(address.sun_path, sizeof address.sun_path, "%s/control.sock", directory);
	fake->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(fake->listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(fake->listener, 4) != 0 ||
	    pipe(fake->stop) != 0 || pthread_create(&fake->thread, NULL, run, fake) != 0) {
		perror("fake inkand");
		exit(1);
	}
	free(directory);
	return fake;
}

void fake_inkand_answer(struct fake_inkand *fake, struct fake_answers answers)
{
	pthread_mutex_lock(&fake->lock);
	fake->answers = answers;
	pthread_mutex_unlock(&fake->lock);
}

struct fake_seen fake_inkand_seen(struct fake_inkand *fake)
{
	struct fake_seen seen;

	pthread_mutex_lock(&fake->lock);
	seen = fake->seen;
	pthread_mutex_unlock(&fake->lock);
	return seen;
}

void fake_inkand_stop(struct fake_inkand *fake)
{
	close(fake->stop[1]);
	pthread_join(fake->thread, NULL);
	close(fake->stop[0]);
	close(fake->listener);
	pthread_mutex_destroy(&fake->lock);
	free(fake->state);
	free(fake);
}
