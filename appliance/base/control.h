/*
 * Frame types of inkand's two other conversations (codecs: control.c; frames: frame.h).
 *
 * 1. Console and inkand, on run/control.sock (mode 0600): one request at a time, each answered with CONTROL_OK or
 *    CONTROL_ERROR. The first request is HELLO with the version; another version is refused with a clear text.
 * 2. inkand and inkan-relay, on the relay's CHILD_CONTROL_FD (hsm/protocol/worker.h has the same of the HSM program).
 */
#ifndef INKAN_BASE_CONTROL_H
#define INKAN_BASE_CONTROL_H

#include "appliance/base/msg.h"

#define CONTROL_VERSION 6u /* raised with every change of this file, worker.h or provision.h */

enum control_frame {
	CONTROL_HELLO = 1, /* u32 version */
	CONTROL_STATUS = 2, /* OK: struct supervisor_status */
	CONTROL_LOGIN = 3, /* bytes PIN, u8 CONTROL_LOGIN_*; OK once a worker is ready, ERROR when the token refused the PIN */
	CONTROL_LOGOUT = 4, /* wipes the PIN everywhere, stops the workers; OK when the last one has ended */
	CONTROL_APPLY = 5, /* u64 revision, u8 check only; OK when the relay runs it (or, check only, would) */
	CONTROL_PROVISION = 6, /* OK with the descriptor of a task connection (hsm/protocol/provision.h) */
	CONTROL_STOP = 7, /* inkand ends */
	CONTROL_RELAY = 8, /* OK with the descriptor of a connection to the relay, for questions (query.h) */
	CONTROL_OK = 32,
	CONTROL_ERROR = 33 /* u8 enum err_code, text */
};

enum control_login_flag {
	CONTROL_LOGIN_KEYPAD = 1, /* no PIN: it is entered at the token */
	CONTROL_LOGIN_FINAL_TRY = 2 /* although one more wrong PIN locks the token */
};

enum relay_frame {
	RELAY_LISTENER = 1, /* text "ADDRESS:PORT" (SMTP) or "api ADDRESS:PORT", with the descriptor of a listening socket; before
			       the CONFIGURE that names it */
	RELAY_CONFIGURE = 2, /* u8 check only, bytes snapshot (provisioning/store/snapshot.h); answered with CONFIGURED */
	RELAY_CONFIGURED = 3, /* u64 revision, u8 ok, text why not */
	RELAY_WORKER = 4, /* u32 number, u32 threads, with the descriptor of a sign.h connection */
	RELAY_LOCKED = 5, /* u8 locked (opened passwords are forgotten), text why */
	RELAY_READY = 6, /* from the relay: store recovered, configuration runs, mail is accepted */
	RELAY_STOP = 7, /* u32 milliseconds until SIGKILL: finish what is under way, exit 0 */
	RELAY_CONSOLE = 8, /* with the descriptor of a console's connection: it asks, the relay answers (query.h) */
	RELAY_PING = 9, /* u64 number, to a relay that is ready; answered with PONG by its event loop */
	RELAY_PONG = 10, /* u64 number, u32 milliseconds that the event loop was held up at most since the last one */
	RELAY_SIGNING = 11, /* from the relay: u8 suspended, text why: its circuit breaker */
	RELAY_PASSWORD = 12 /* text sealed password of a next hop, bytes the same in clear */
};

struct child_status {
	char *name; /* "relay", "worker 1" */
	int64_t pid; /* 0: not running */
	char *state; /* "running", "starting", "waiting 4 s", "stopped" */
	uint32_t restarts;
	char *last_error;
	char *health; /* a worker: its last canary signature; the relay: how long its event loop was held up; "" unknown */
	uint32_t threads; /* of a running worker, that sign; else 0 */
	uint32_t rate_tenths; /* of a signature a second, in the last seconds */
};

struct supervisor_status {
	int64_t pid;
	int64_t started; /* wall seconds */
	uint64_t revision; /* applied */
	char *pin; /* "none", "held", "rejected" */
	char *pin_error;
	char *token_model, *token_serial, *token_firmware; /* as the last ready worker said */
	struct child_status *children;
	size_t n_children;
	char *signing; /* "on", or why not */
};

void supervisor_status_encode(struct buf *out, const struct supervisor_status *status);
bool supervisor_status_decode(struct msg *msg, struct supervisor_status *status, struct err *err) MUST_USE;
void supervisor_status_clear(struct supervisor_status *status);

#endif
