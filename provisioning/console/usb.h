/* Files on USB sticks and other removable media that are mounted with a FAT file system. */
#ifndef INKAN_CONSOLE_USB_H
#define INKAN_CONSOLE_USB_H

#include "appliance/base/bytes.h"

#define USB_SCHEME "usb:"
#define USB_FILES_MAX 200 /* listed of a directory */

/* Where such media are mounted: of the text of /proc/self/mountinfo, with /sys/dev/block at `blocks`. */
struct usb_mounts {
	char **paths;
	size_t count;
};
void usb_mounts_find(struct usb_mounts *mounts, const char *mountinfo, const char *blocks);
void usb_mounts_clear(struct usb_mounts *mounts);

/* The files at the top of the mounted media, "NAME  SIZE\n" each; says so when there is none. */
void usb_list(const struct usb_mounts *mounts, struct buf *out);

/* NAME below one of the media, which no link and no `..` leaves. ERR_NOT_FOUND: on none; ERR_INVALID: on several. */
bool usb_read(const struct usb_mounts *mounts, const char *name, const char *what, size_t most, struct buf *out,
	      struct err *err) MUST_USE;

/* "usb:NAME" of a command, on this machine. With no NAME the error lists the files. */
bool usb_input(const char *name, const char *what, size_t most, struct buf *out, struct err *err) MUST_USE;

#endif
