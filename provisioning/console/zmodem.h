/*
 * A file that the operator's terminal program sends by ZMODEM: lrzsz's rz receives it, in a private directory in memory,
 * behind pipes: the terminal stays the console's, which bounds size and time and ends the transfer by Ctrl-C or a hang-up.
 */
#ifndef INKAN_CONSOLE_ZMODEM_H
#define INKAN_CONSOLE_ZMODEM_H

#include "appliance/base/bytes.h"

#define ZMODEM_RZ "/usr/bin/rz"
#define ZMODEM_QUIET_MS 60000 /* of the sender, then it is given up */
#define ZMODEM_WHOLE_MS 1800000 /* 1 MiB takes 20 minutes at 9600 baud */

/*
 * One file of at most `most` octets. Ctrl-C ends it until the sender has begun; then the sender's own cancel does (five
 * Ctrl-X). Nothing of the file stays on this machine. ERR_CANCELLED, ERR_TIMEOUT, ERR_LIMIT; ERR_INVALID: no terminal.
 */
bool zmodem_receive(const char *what, size_t most, struct buf *out, struct err *err) MUST_USE;

#endif
