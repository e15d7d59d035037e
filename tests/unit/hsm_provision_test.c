/* The provisioning conversation: codecs (round trip, every cut) and the console's blocking client. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "appliance/base/frame.h"
#include "hsm/client/provision.h"
#include "tests/unit/test.h"

#define KEY_ID "12345678901234567890"

static struct bytes owned(const char *text)
{
	return bytes_of(mem_string(text), strlen(text));
}

static char **texts(const char *first, const char *second)
{
	char **list = mem_new_array(2, sizeof *list);

	list[0] = mem_string(first);
	list[1] = mem_string(second);
	return list;
}

static struct token_description a_description(void)
{
	return (struct token_description){.module = mem_string("/lib/m.so"),
					  .library = mem_string("SoftHSM 2.6"),
					  .label = mem_string("inkan"),
					  .manufacturer = mem_string("maker"),
					  .model = mem_string("model"),
					  .serial = mem_string("0123"),
					  .firmware = mem_string("2.6"),
					  .present = true,
					  .user_pin_set = true,
					  .pin_final_try = true,
					  .free_private_memory = -1,
					  .max_sessions = 100,
					  .mechanisms = texts("CKM_RSA_PKCS", "CKM_ECDSA"),
					  .n_mechanisms = 2,
					  .import_rung = mem_string("rewrap"),
					  .seal = mem_string("AES-256-GCM"),
					  .private_keys = 7};
}

static struct import_result a_result(void)
{
	struct import_result result = {.facts = {.names = texts("taro@example.co.jp", "jiro@example.co.jp"),
						 .n_names = 2,
						 .subject = mem_string("CN=Taro"),
						 .issuer = mem_string("CN=CA"),
						 .serial = mem_string("01ab"),
						 .fingerprint = mem_string("ff00"),
						 .key_type = mem_string("RSA-2048"),
						 .not_before = -5,
						 .not_after = 4102444800},
				       .key_id = owned("12345678901234567890"),
				       .rung = mem_string("rewrap"),
				       .attributes = {.sensitive = true, .never_extractable = true},
				       .sealed_password = owned("sealed"),
				       .warnings = texts("one", "two"),
				       .n_warnings = 2};

	result.facts.n_chain = 2;
	result.facts.chain = mem_new_array(2, sizeof *result.facts.chain);
	result.facts.chain[0] = owned("leaf");
	result.facts.chain[1] = owned("intermediate");
	return result;
}

/* ---- one row a message: build it, decode and encode again ---- */

static void build_description(struct buf *out)
{
	struct token_description description = a_description();

	token_description_encode(out, &description);
	token_description_clear(&description);
	CHECK(description.module == NULL && description.mechanisms == NULL);
}

static bool again_description(struct msg *msg, struct buf *out, struct err *err)
{
	struct token_description description;

	if (!token_description_decode(msg, &description, err))
		return false;
	token_description_encode(out, &description);
	token_description_clear(&description);
	return true;
}

static void build_initialize(struct buf *out)
{
	initialize_task_encode(out, &(struct initialize_task){"inkan", bytes_text("so pin"), bytes_text("user pin")});
}

static bool again_initialize(struct msg *msg, struct buf *out, struct err *err)
{
	struct initialize_task task;

	if (!initialize_task_decode(msg, &task, err))
		return false;
	initialize_task_encode(out, &task);
	initialize_task_clear(&task);
	return true;
}

static void build_import(struct buf *out)
{
	import_task_encode(out, &(struct import_task){"taro@example.co.jp", bytes_text("p12"), bytes_text("暗証"), 1795525200,
						      bytes_text("context"), bytes_text(KEY_ID), true, "ff00", true});
}

static bool again_import(struct msg *msg, struct buf *out, struct err *err)
{
	struct import_task task;

	if (!import_task_decode(msg, &task, err))
		return false;
	import_task_encode(out, &task);
	import_task_clear(&task);
	return true;
}

static void build_result(struct buf *out)
{
	struct import_result result = a_result();

	import_result_encode(out, &result);
	import_result_clear(&result);
}

static bool again_result(struct msg *msg, struct buf *out, struct err *err)
{
	struct import_result result;

	if (!import_result_decode(msg, &result, err))
		return false;
	import_result_encode(out, &result);
	import_result_clear(&result);
	return true;
}

static void build_tests(struct buf *out)
{
	struct test_result items[] = {{1, true, 12, ""}, {UINT64_MAX, false, 9000, "C_Sign: CKR_DEVICE_ERROR"}};

	test_results_encode(out, &(struct test_results){items, 2});
}

static bool again_tests(struct msg *msg, struct buf *out, struct err *err)
{
	struct test_results results;

	if (!test_results_decode(msg, &results, err))
		return false;
	test_results_encode(out, &results);
	test_results_clear(&results);
	return true;
}

static void build_request(struct buf *out)
{
	char *names[] = {(char *)"mx.example.co.jp", (char *)"*.example.net"};

	request_task_encode(out, &(struct request_task){.purpose = KEY_PURPOSE_TLS,
							.name = (char *)"mx1.example.co.jp",
							.key_type = (char *)"p384",
							.key_id = bytes_text(KEY_ID),
							.dns_names = names,
							.n_dns_names = 2});
}

static bool again_request(struct msg *msg, struct buf *out, struct err *err)
{
	struct request_task task;

	if (!request_task_decode(msg, &task, err))
		return false;
	request_task_encode(out, &task);
	request_task_clear(&task);
	return true;
}

static void build_requested(struct buf *out)
{
	request_result_encode(out, &(struct request_result){bytes_text("csr"), "EC-P384", {.local = true, .known = 3, .set = 1}});
}

static bool again_requested(struct msg *msg, struct buf *out, struct err *err)
{
	struct request_result result;

	if (!request_result_decode(msg, &result, err))
		return false;
	request_result_encode(out, &result);
	request_result_clear(&result);
	return true;
}

static void build_install(struct buf *out)
{
	install_task_encode(out, &(struct install_task){KEY_PURPOSE_MAIL, "taro@example.co.jp", bytes_text(KEY_ID),
							bytes_text("csr"), bytes_text("pem"), 1795525200});
}

static bool again_install(struct msg *msg, struct buf *out, struct err *err)
{
	struct install_task task;

	if (!install_task_decode(msg, &task, err))
		return false;
	install_task_encode(out, &task);
	install_task_clear(&task);
	return true;
}

static void build_sweep(struct buf *out)
{
	struct bytes ids[] = {bytes_text(KEY_ID), bytes_text("another")};

	sweep_task_encode(out, &(struct sweep_task){ids, 2});
}

static bool again_sweep(struct msg *msg, struct buf *out, struct err *err)
{
	struct sweep_task task;

	if (!sweep_task_decode(msg, &task, err))
		return false;
	sweep_task_encode(out, &task);
	sweep_task_clear(&task);
	return true;
}

static const struct {
	const char *name;
	const char *malformed;
	void (*build)(struct buf *out);
	bool (*again)(struct msg *msg, struct buf *out, struct err *err);
} messages[] = {
    {"description", "malformed token description", build_description, again_description},
    {"initialize", "malformed initialize task", build_initialize, again_initialize},
    {"import", "malformed import task", build_import, again_import},
    {"import result", "malformed import result", build_result, again_result},
    {"request", "malformed request task", build_request, again_request},
    {"request result", "malformed request result", build_requested, again_requested},
    {"install", "malformed install task", build_install, again_install},
    {"sweep", "malformed sweep task", build_sweep, again_sweep},
    {"test results", "malformed test results", build_tests, again_tests},
};

static void every_message_comes_back_as_it_was(void)
{
	for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
		struct buf first = {0}, second = {0};
		struct msg msg;
		struct err err;

		test_case("%s", messages[i].name);
		messages[i].build(&first);
		msg = msg_of(buf_bytes(&first));
		CHECK_OK(messages[i].again(&msg, &second, &err), &err);
		CHECK_BYTES(buf_bytes(&second), buf_bytes(&first));
		buf_clear(&first);
		buf_clear(&second);
	}
}

static void every_cut_and_every_addition_is_malformed(void)
{
	for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
		struct buf whole = {0}, unused = {0};

		messages[i].build(&whole);
		buf_put_byte(&whole, 0);
		for (size_t len = 0; len <= whole.len; len++) {
			struct msg msg = msg_of(bytes_of(whole.data, len));
			struct err err = {0};

			if (len == whole.len - 1)
				continue;
			test_case("%s, %zu octets", messages[i].name, len);
			CHECK(!messages[i].again(&msg, &unused, &err));
			CHECK_TEXT(err.text, messages[i].malformed);
		}
		CHECK_INT(unused.len, 0);
		buf_clear(&whole);
	}
}

static void limits_are_kept(void)
{
	struct bytes large = bytes_of(mem_new(PROVISION_PKCS12_MAX_BYTES + 1), PROVISION_PKCS12_MAX_BYTES + 1);
	struct import_task task = {.address = "a@b", .pkcs12 = large, .key_id = bytes_text(KEY_ID)}, decoded;
	struct import_result result;
	struct buf out = {0};
	struct msg msg;
	struct err err;

	import_task_encode(&out, &task);
	msg = msg_of(buf_bytes(&out));
	CHECK(!import_task_decode(&msg, &decoded, &err));
	CHECK_INT(err.code, ERR_LIMIT);
	CHECK(!provision_import(&(struct provision_call){.fd = -1}, &task, &result, &err));
	CHECK_TEXT(err.text, "the PKCS#12 file has more than 1048576 bytes");
	buf_clear(&out);
	free((void *)large.data);
}

static void attributes_are_told_by_name(void)
{
	const struct key_attributes attributes = {.known = 0x807f, .set = 0x0017};
	struct buf out = {0};

	key_attributes_put(&out, &attributes);
	CHECK_TEXT(buf_text(&out), "token private sensitive !extractable local !always-sensitive !never-extractable "
				   "!always-authenticate");
	buf_clear(&out);
}

static void a_flag_is_0_or_1(void)
{
	static const size_t first_flag = 4 + 8; /* count, certificate */
	struct test_results results;
	struct buf out = {0};
	struct msg msg;
	struct err err;

	build_tests(&out);
	CHECK_INT(out.data[first_flag], 1);
	out.data[first_flag] = 2;
	msg = msg_of(buf_bytes(&out));
	CHECK(!test_results_decode(&msg, &results, &err));
	buf_clear(&out);
}

/* ---- no copy of a password stays in the memory of this process ---- */

static const uint8_t masked[] = {0x02, 0x3c, 0x25, 0x30, 0x11, 0x25, 0x34, 0x26, 0x26, 0x22, 0x3a, 0x27, 0x31, 0x64, 0x67, 0x66};

static size_t matches(const uint8_t *data, size_t len)
{
	size_t found = 0;

	for (size_t i = 0; i + sizeof masked <= len; i++) {
		size_t same = 0;

		while (same < sizeof masked && (data[i + same] ^ 0x55) == masked[same])
			same++;
		found += same == sizeof masked;
	}
	return found;
}

static size_t matches_in_mapping(int memory, unsigned long from, unsigned long to)
{
	static uint8_t chunk[65536];
	size_t found = 0;

	for (unsigned long at = from; at < to; at += sizeof chunk - sizeof masked + 1) {
		size_t want = to - at < sizeof chunk ? to - at : sizeof chunk;
		ssize_t got = pread(memory, chunk, want, (off_t)at);

		found += got > 0 ? matches(chunk, (size_t)got) : 0;
		mem_wipe(chunk, sizeof chunk);
	}
	return found;
}

/* Heap and stack: the mappings that are writable and small enough not to be a sanitizer's shadow. */
static size_t copies_in_memory(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	unsigned long from, to;
	char line[512], mode[8];
	size_t found = 0;

	if (!CHECK(maps != NULL && memory >= 0))
		return 0;
	while (fgets(line, sizeof line, maps) != NULL)
		if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) == 3 && mode[1] == 'w' && to - from < 64ul << 20)
			found += matches_in_mapping(memory, from, to);
	fclose(maps);
	close(memory);
	return found;
}

static void build_secret_import(struct buf *out)
{
	uint8_t password[sizeof masked];

	for (size_t i = 0; i < sizeof masked; i++)
		password[i] = masked[i] ^ 0x55;
	import_task_encode(out, &(struct import_task){.address = "a@b",
						      .password = bytes_of(password, sizeof password),
						      .key_id = bytes_text(KEY_ID)});
	mem_wipe(password, sizeof password);
}

static void clearing_wipes_the_password(void)
{
	struct import_task task;
	struct buf out = {0};
	struct msg msg;
	struct err err;

	build_secret_import(&out);
	msg = msg_of(buf_bytes(&out));
	if (!CHECK_OK(import_task_decode(&msg, &task, &err), &err))
		return;
	CHECK(copies_in_memory() >= 2);
	buf_wipe_clear(&out);
	import_task_clear(&task);
	CHECK_INT(copies_in_memory(), 0);
}

/* ---- the client ---- */

struct conversation {
	uint8_t left; /* what an ERROR says of it */
	int ours, theirs;
	struct provision_call call;
	char progress[256];
};

static void note_progress(const char *text, void *arg)
{
	struct conversation *c = arg;

	snprintf(c->progress + strlen(c->progress), sizeof c->progress - strlen(c->progress), "%s;", text);
}

static void begin(struct conversation *c)
{
	int fds[2];
	struct err err;

	*c = (struct conversation){0};
	if (!CHECK_OK(frame_socketpair(fds, false, &err), &err))
		abort();
	c->ours = fds[0];
	c->theirs = fds[1];
	c->call = (struct provision_call){
	    .fd = fds[0], .deadline_ms = clock_monotonic_ms() + 5000, .progress = note_progress, .arg = c};
}

static void answer(struct conversation *c, uint16_t type, struct buf *payload)
{
	struct err err;

	CHECK_OK(frame_send(c->theirs, type, buf_bytes(payload), -1, clock_monotonic_ms() + 1000, &err), &err);
	buf_clear(payload);
}

static void answer_text(struct conversation *c, uint16_t type, int code, const char *text)
{
	struct buf payload = {0};

	if (code >= 0)
		msg_put_u8(&payload, (uint8_t)code);
	msg_put_text(&payload, text);
	if (type == PROVISION_FRAME_ERROR)
		msg_put_u8(&payload, c->left);
	answer(c, type, &payload);
}

static void end(struct conversation *c, uint16_t task)
{
	struct buf payload = {0};
	uint16_t type = 0;
	struct err err;

	if (CHECK_OK(frame_receive(c->theirs, &type, &payload, NULL, clock_monotonic_ms() + 1000, &err), &err))
		CHECK_INT(type, task);
	buf_clear(&payload);
	close(c->ours);
	close(c->theirs);
}

static void the_client_gives_progress_and_result(void)
{
	struct token_description description = {0};
	struct test_results results = {0};
	struct worker_certificates none = {0};
	struct import_result imported = {0};
	struct buf payload = {0};
	struct conversation c;
	struct bytes id = bytes_text("id");
	uint32_t swept[2] = {0}, destroyed = 0;
	struct err err;

	begin(&c);
	answer_text(&c, PROVISION_FRAME_PROGRESS, -1, "one");
	answer_text(&c, PROVISION_FRAME_PROGRESS, -1, "two");
	build_description(&payload);
	answer(&c, PROVISION_FRAME_RESULT, &payload);
	if (CHECK_OK(provision_describe(&c.call, &description, &err), &err))
		CHECK_TEXT(description.label, "inkan");
	CHECK_TEXT(c.progress, "one;two;");
	token_description_clear(&description);
	end(&c, PROVISION_FRAME_DESCRIBE);

	begin(&c);
	build_result(&payload);
	answer(&c, PROVISION_FRAME_RESULT, &payload);
	if (CHECK_OK(provision_import(&c.call, &(struct import_task){.address = "a@b"}, &imported, &err), &err))
		CHECK_TEXT(imported.facts.names[1], "jiro@example.co.jp");
	import_result_clear(&imported);
	end(&c, PROVISION_FRAME_IMPORT);

	begin(&c);
	msg_put_u32(&payload, 2);
	answer(&c, PROVISION_FRAME_RESULT, &payload);
	CHECK_OK(provision_delete(&c.call, bytes_text("id"), &destroyed, &err), &err);
	CHECK_INT(destroyed, 2);
	end(&c, PROVISION_FRAME_DELETE);

	begin(&c);
	msg_put_u32(&payload, 2);
	msg_put_u32(&payload, 1);
	answer(&c, PROVISION_FRAME_RESULT, &payload);
	CHECK_OK(provision_sweep(&c.call, &(struct sweep_task){&id, 1}, swept, &err), &err);
	CHECK_INT(swept[0], 2);
	CHECK_INT(swept[1], 1);
	end(&c, PROVISION_FRAME_SWEEP);

	begin(&c);
	build_tests(&payload);
	answer(&c, PROVISION_FRAME_RESULT, &payload);
	if (CHECK_OK(provision_test(&c.call, &none, &results, &err), &err))
		CHECK_TEXT(results.items[1].text, "C_Sign: CKR_DEVICE_ERROR");
	test_results_clear(&results);
	end(&c, PROVISION_FRAME_TEST);
}

static void the_client_reports_what_went_wrong(void)
{
	struct token_description description;
	struct initialize_task task = {"inkan", bytes_text("so"), bytes_text("user")};
	struct buf payload = {0};
	struct conversation c;
	struct err err;

	begin(&c);
	answer_text(&c, PROVISION_FRAME_ERROR, ERR_EXISTS, "it is there already");
	CHECK(!provision_initialize(&c.call, &task, &description, &err));
	CHECK_INT(err.code, ERR_EXISTS);
	CHECK_TEXT(err.text, "it is there already");
	end(&c, PROVISION_FRAME_INITIALIZE);

	for (int left = 0; left <= 1; left++) {
		struct import_result imported;
		bool clean = left;

		begin(&c);
		c.left = (uint8_t)left;
		c.call.clean = &clean;
		answer_text(&c, PROVISION_FRAME_ERROR, ERR_UNAVAILABLE, "token lost");
		CHECK(!provision_import(&c.call, &(struct import_task){.address = "a@b"}, &imported, &err));
		CHECK_INT(clean, !left);
		end(&c, PROVISION_FRAME_IMPORT);
	}

	begin(&c);
	answer_text(&c, PROVISION_FRAME_ERROR, 200, "odd");
	CHECK(!provision_describe(&c.call, &description, &err));
	CHECK_INT(err.code, ERR_INTERNAL);
	end(&c, PROVISION_FRAME_DESCRIBE);

	begin(&c);
	answer(&c, PROVISION_FRAME_RESULT, &payload);
	CHECK(!provision_describe(&c.call, &description, &err));
	CHECK_TEXT(err.text, "malformed token description");
	end(&c, PROVISION_FRAME_DESCRIBE);

	begin(&c);
	answer(&c, 99, &payload);
	CHECK(!provision_describe(&c.call, &description, &err));
	CHECK_TEXT(err.text, "unexpected frame 99 from the HSM program");
	end(&c, PROVISION_FRAME_DESCRIBE);

	begin(&c);
	c.call.deadline_ms = clock_monotonic_ms() + 30;
	CHECK(!provision_describe(&c.call, &description, &err));
	CHECK_INT(err.code, ERR_TIMEOUT);
	end(&c, PROVISION_FRAME_DESCRIBE);

	begin(&c);
	close(c.theirs);
	CHECK(!provision_describe(&c.call, &description, &err));
	CHECK_INT(err.code, ERR_UNAVAILABLE);
	close(c.ours);
}

int main(void)
{
	TEST(every_message_comes_back_as_it_was);
	TEST(every_cut_and_every_addition_is_malformed);
	TEST(limits_are_kept);
	TEST(attributes_are_told_by_name);
	TEST(a_flag_is_0_or_1);
	TEST(clearing_wipes_the_password);
	TEST(the_client_gives_progress_and_result);
	TEST(the_client_reports_what_went_wrong);
	return test_finish();
}
