/*
 * The provisioning half of inkan-hsm, for tests: SoftHSM tokens of its own (an empty golden one is copied for each test), a
 * connection in this process, and the role as a process. Whatever cannot be had ends the test program.
 */
#ifndef INKAN_TESTS_PROVISIONING_H
#define INKAN_TESTS_PROVISIONING_H

#include "hsm/client/provision.h"
#include "hsm/provision/tasks.h"
#include "tests/token/softhsm.h"
#include "tests/unit/pkcs12_file.h"

#define PROVISIONING_LABEL "inkan"
#define PROVISIONING_PIN "PIN-1234"
#define PROVISIONING_SO_PIN "SO-12345"

/* $SOFTHSM2_CONF of this process and its children: a fresh copy of an empty token, or no token at all. */
void provisioning_fresh(void);
void provisioning_without_token(void);

/* A module that was built beside the test program: "weak_module". free() it. */
char *provisioning_module(const char *name);

/* The settings of a token: SoftHSM, PROVISIONING_LABEL, import-minimum rewrap; the test may change them. */
void provisioning_settings(struct hsm_settings *settings);
void provisioning_set(char **setting, const char *value); /* replaces one text of them */

/* A new CKA_ID, valid until the next call but seven. */
struct bytes provisioning_key_id(void);

/* A connection in this process, logged in; task functions take it. */
struct desk {
	struct hsm_settings settings;
	struct secret *pin;
	struct provision provision;
};
void desk_open(struct desk *desk); /* desk->settings are filled by the caller */
void desk_open_plain(struct desk *desk); /* provisioning_fresh, SoftHSM, PROVISIONING_PIN */
void desk_close(struct desk *desk);

/* Every object that the session sees, one line "CLASS LABEL ID" each, sorted; free() it. */
char *desk_objects(const struct desk *desk);

/* IMPORT in this process. */
bool desk_import(struct desk *desk, const struct import_task *task, struct import_result *result, struct err *err) MUST_USE;

/* ---- the role as a process ---- */

struct role {
	pid_t pid;
	int control;
	struct provision_call call; /* for hsm/client/provision.h */
	char progress[1024];
};

/* Starts `inkan-hsm provision` of this build and sends START; `pin` NULL: none. */
void role_start(struct role *role, const struct hsm_settings *settings, const char *pin);
int role_end(struct role *role); /* its exit code; -1: by a signal or not in time */

#endif
