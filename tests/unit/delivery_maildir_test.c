/* A maildir as next hop, and the check of next hops at commit. */
#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/delivery_stage.h"

static const char hello[] = "Subject: hello\r\n\r\nend\r\n";

static struct stage stage;

static void post_to(const char *server, const char *recipients)
{
	const struct post message = {.server = server, .recipients = recipients, .body = bytes_text(hello)};

	stage_post(&stage, &message);
}

/* The contents of the files of DIRECTORY/new, each followed by a line "=="; the count is the result. */
static size_t read_new(const char *directory, struct buf *out)
{
	char *path = mem_format("%s/new", directory);
	DIR *entries = opendir(path);
	size_t count = 0;

	for (struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;) {
		char *file = mem_format("%s/%s", path, entry->d_name);

		if (entry->d_name[0] != '.') {
			CHECK(test_read_file(file, out));
			buf_put_text(out, "==\n");
			count++;
		}
		free(file);
	}
	if (entries != NULL)
		closedir(entries);
	free(path);
	return count;
}

static void delivers_into_a_maildir(void)
{
	char *directory = mem_format("%s/box", test_directory()), *temporary = mem_format("%s/tmp", directory);
	struct buf files = {0};

	stage_open(&stage);
	stage_set(&stage, "", "server default next-hop maildir:%s", directory);
	stage_configure(&stage);
	post_to("default", "b@example.net c@example.net");
	CHECK(stage_drain(&stage));
	CHECK_INT(read_new(directory, &files), 2);
	CHECK_CONTAINS(buf_text(&files),
		       "Return-Path: <a@example.com>\nDelivered-To: b@example.net\nX-Original-To: b@example.net\n"
		       "Subject: hello\n\nend\n==\n");
	CHECK_CONTAINS(buf_text(&files), "Delivered-To: c@example.net\n");
	CHECK_INT(rmdir(temporary), 0); /* nothing is left there */
	buf_clear(&files);
	free(temporary);
	free(directory);
	stage_close(&stage);
}

static void a_large_message_comes_whole_into_a_maildir(void)
{
	char *directory = mem_format("%s/box", test_directory());
	struct buf body = {0}, want = {0}, got = {0};
	struct post message = {.recipients = "b@example.net"};

	buf_put_text(&want, "Return-Path: <a@example.com>\nDelivered-To: b@example.net\nX-Original-To: b@example.net\n");
	for (unsigned i = 0; i < 40000; i++) {
		buf_printf(&body, "line %u\r\n", i);
		buf_printf(&want, "line %u\n", i);
	}
	buf_put_text(&want, "==\n");
	message.body = buf_bytes(&body);
	stage_open(&stage);
	stage_set(&stage, "", "server default next-hop maildir:%s", directory);
	stage_configure(&stage);
	stage_post(&stage, &message);
	CHECK(stage_drain(&stage));
	CHECK_INT(read_new(directory, &got), 1);
	CHECK(bytes_equal(buf_bytes(&got), buf_bytes(&want)));
	buf_clear(&body);
	buf_clear(&want);
	buf_clear(&got);
	free(directory);
	stage_close(&stage);
}

static void a_maildir_that_cannot_be_written_defers(void)
{
	char *directory = mem_format("%s/box", test_directory()), *temporary = mem_format("%s/tmp", directory);

	stage_open(&stage);
	stage_set(&stage, "", "server default next-hop maildir:%s", directory);
	stage_configure(&stage);
	CHECK_INT(rmdir(temporary), 0);
	CHECK(test_write_file(temporary, bytes_text("in the way")));
	post_to("default", "b@example.net");
	CHECK(stage_settle(&stage, 1));
	CHECK_CONTAINS(stage_row(&stage, "b@example.net").reply, "cannot make ");
	free(temporary);
	free(directory);
	stage_close(&stage);
}

static void refuse(const char *want, const char *first, const char *second)
{
	struct snapshot *snapshot = snapshot_new();
	struct config *config;
	struct err err;

	settings_add(&snapshot->settings, "system host-name", "mx1.example.co.jp");
	settings_add(&snapshot->settings, first, "");
	if (second != NULL)
		settings_add(&snapshot->settings, second, "");
	config = config_new(snapshot, &err);
	if (!CHECK_OK(config != NULL, &err))
		return;
	CHECK(!delivery_check(config, &err));
	CHECK_CONTAINS(err.text, want);
	config_unref(config);
}

static void the_check_names_what_cannot_work(void)
{
	char *both = mem_format("server default next-hop maildir:%s/box", test_directory());

	refuse("server default next-hop: maildir relative: the path must begin with /",
	       "server default next-hop maildir:relative", NULL);
	refuse("server default next-hop: cannot make the directory /nowhere/box: No such file",
	       "server default next-hop maildir:/nowhere/box", NULL);
	refuse("must be the only next-hop", both, "server default next-hop 127.0.0.1:25");
	free(both);
}

int main(void)
{
	TEST(delivers_into_a_maildir);
	TEST(a_large_message_comes_whole_into_a_maildir);
	TEST(a_maildir_that_cannot_be_written_defers);
	TEST(the_check_names_what_cannot_work);
	return test_finish();
}
