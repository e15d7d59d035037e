/* Which mounts are removable, and what is read from them: no more than what is on them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "provisioning/console/usb.h"
#include "tests/unit/test.h"

static char root[] = "/tmp/inkan-usb-XXXXXX";

static void put_file(const char *name, const char *text)
{
	char *path = mem_format("%s/%s", root, name);
	FILE *file = fopen(path, "w");

	CHECK(file != NULL);
	if (file != NULL) {
		fputs(text, file);
		fclose(file);
	}
	free(path);
}

static void make_directory(const char *name)
{
	char *path = mem_format("%s/%s", root, name);

	CHECK(mkdir(path, 0700) == 0);
	free(path);
}

static void link_to(const char *target, const char *name)
{
	char *path = mem_format("%s/%s", root, name);

	CHECK(symlink(target, path) == 0);
	free(path);
}

/* A stick (8:17), a disk of this machine (8:1), one behind USB (8:33), and where they are mounted. */
static void set_up(void)
{
	static const char *const directories[] = {"sdb",       "sdb/sdb1", "sda",     "sda/sda1", "usb1",
						  "usb1/sdc1", "block",	   "a stick", "disk",	  "second"};

	CHECK(mkdtemp(root) != NULL);
	for (size_t i = 0; i < sizeof directories / sizeof *directories; i++)
		make_directory(directories[i]);
	put_file("sdb/removable", "1\n");
	put_file("sda/removable", "0\n");
	link_to("../sdb/sdb1", "block/8:17");
	link_to("../sda/sda1", "block/8:1");
	link_to("../usb1/sdc1", "block/8:33");
	put_file("a stick/info.p12", "stick");
	put_file("a stick/both.p12", "stick");
	put_file("second/both.p12", "second");
	put_file("disk/disk.p12", "disk");
	put_file("outside", "outside");
	link_to("../outside", "a stick/link");
}

static void find(struct usb_mounts *mounts)
{
	char *blocks = mem_format("%s/block", root);
	char *text = mem_format("22 1 8:1 / / rw - ext4 /dev/sda2 rw\n"
				"30 22 8:1 / %s/disk rw,nosuid shared:5 - vfat /dev/sda1 rw\n"
				"31 22 8:17 / %s/a\\040stick rw,nosuid shared:6 master:1 - vfat /dev/sdb1 rw\n"
				"32 22 8:33 / %s/second rw - exfat /dev/sdc1 rw\n"
				"33 22 8:17 / %s/disk rw - ext4 /dev/sdb2 rw\n"
				"34 22 ../8:17 / %s/disk rw - vfat x rw\nbroken - vfat\n\n",
				root, root, root, root, root);

	usb_mounts_find(mounts, text, blocks);
	free(text);
	free(blocks);
}

static void removable_media_with_fat_are_found(void)
{
	struct usb_mounts mounts;
	struct buf list = {0};

	find(&mounts);
	CHECK_INT(mounts.count, 2);
	CHECK(mounts.count == 2 && strstr(mounts.paths[0], "/a stick") != NULL && strstr(mounts.paths[1], "/second") != NULL);
	usb_list(&mounts, &list);
	CHECK(strstr(buf_text(&list), "info.p12") != NULL);
	CHECK(strstr(buf_text(&list), "link") == NULL && strstr(buf_text(&list), "disk.p12") == NULL);
	usb_mounts_clear(&mounts);
	buf_reset(&list);
	usb_list(&mounts, &list);
	CHECK(strstr(buf_text(&list), "no removable medium") != NULL);
	buf_clear(&list);
}

static void only_what_is_on_them_is_read(void)
{
	static const struct {
		const char *name, *content;
		enum err_code code;
	} cases[] = {
	    {"info.p12", "stick", 0},
	    {"./info.p12", "stick", 0},
	    {"both.p12", NULL, ERR_INVALID},
	    {"absent.p12", NULL, ERR_NOT_FOUND},
	    {"disk.p12", NULL, ERR_NOT_FOUND},
	    {"link", NULL, ERR_NOT_FOUND},
	    {"../outside", NULL, ERR_NOT_FOUND},
	    {"/etc/passwd", NULL, ERR_NOT_FOUND},
	    {".", NULL, ERR_INVALID},
	};
	struct usb_mounts mounts;

	find(&mounts);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct buf out = {0};
		struct err err = {0};
		bool fine = usb_read(&mounts, cases[i].name, "a file", 1000, &out, &err);

		test_case("%s", cases[i].name);
		CHECK_INT(fine, cases[i].content != NULL);
		CHECK(fine || err.code == cases[i].code);
		CHECK(!fine || bytes_equal_text(buf_bytes(&out), cases[i].content));
		buf_clear(&out);
	}
	usb_mounts_clear(&mounts);
}

static void tear_down(void)
{
	char *command = mem_format("rm -r '%s'", root);

	CHECK_INT(system(command), 0);
	free(command);
}

int main(void)
{
	set_up();
	TEST(removable_media_with_fat_are_found);
	TEST(only_what_is_on_them_is_read);
	tear_down();
	return test_finish();
}
