/*
 * A Maildir on disk: one file a delivery, written in tmp/, synced, then renamed to new/ (and new/ synced), so that a reader never
 * sees a part and a crash leaves only a file in tmp/. Lines end with LF there. The calls of struct maildir_file block: pool
 * thread, one at a time; converting is pure.
 */
#ifndef INKAN_RELAY_DELIVERY_MAILDIR_H
#define INKAN_RELAY_DELIVERY_MAILDIR_H

#include "appliance/base/bytes.h"

/* Makes PATH and its cur, new and tmp (mode 0700) where missing; the parent of PATH must exist. Any thread. */
bool maildir_make(const char *path, struct err *err) MUST_USE;

/* maildir_make, and a file can be made in tmp/. */
bool maildir_check(const char *path, struct err *err) MUST_USE;

/* CRLF to LF across any cut of the input. Zero-initialise for each message. */
struct maildir_lines {
	bool cr; /* a CR has come whose LF may follow */
};
void maildir_lines_feed(struct maildir_lines *lines, struct bytes in, struct buf *out);
void maildir_lines_finish(struct maildir_lines *lines, struct buf *out);

/* "Return-Path:", "Delivered-To:" and "X-Original-To:", as a delivery agent puts them on top. Line breaks in addresses become
 * '?'. */
void maildir_put_header(struct buf *out, const char *sender, const char *address);

/* A file being written. Zero-initialise; fd counts only while `open`. */
struct maildir_file {
	bool open;
	int fd;
	char *directory; /* of the Maildir */
	char *name; /* the same in tmp/ and new/ */
};

bool maildir_file_create(struct maildir_file *file, const char *directory, struct err *err) MUST_USE;
bool maildir_file_write(struct maildir_file *file, struct bytes octets, struct err *err) MUST_USE;
bool maildir_file_finish(struct maildir_file *file, struct err *err) MUST_USE; /* durable and visible in new/ when true */
void maildir_file_discard(struct maildir_file *file); /* closes; nothing is left of an unfinished file */

#endif
