/* What an operator hands over: a file, or text pasted at the terminal (base64, PEM). */
#ifndef INKAN_CONSOLE_INPUT_H
#define INKAN_CONSOLE_INPUT_H

#include "appliance/base/bytes.h"

/* The whole of a regular file of at most `most` octets, and at least one; `what` names it in errors ("a PKCS#12 file"). */
bool input_file(const char *path, const char *what, size_t most, struct buf *out, struct err *err) MUST_USE;

#define INPUT_ZMODEM "zmodem" /* ./zmodem is a file */

/*
 * With a path the file, INPUT_ZMODEM what a terminal program sends, usb:NAME a file on a stick; with NULL what is pasted. Base64
 * is decoded; with `pem` text that holds PEM blocks stays as it is, without, their armour is taken off. The caller wipes and
 * clears *out.
 */
bool input_any(const char *path, const char *what, size_t most, bool pem, struct buf *out, struct err *err) MUST_USE;

#endif
