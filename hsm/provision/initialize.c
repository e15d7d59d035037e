#include <string.h>

#include "hsm/import/generate.h"
#include "hsm/protocol/provision.h"
#include "hsm/provision/seal.h"
#include "hsm/provision/tasks.h"

static bool check_pin(const char *whose, struct bytes pin, const struct token_info *info, struct err *err)
{
	if (pin.len >= info->pin_min_bytes && pin.len <= info->pin_max_bytes && pin.len > 0)
		return true;
	return err_set(err, ERR_INVALID, "this token wants the %s of %lu to %lu octets", whose, info->pin_min_bytes,
		       info->pin_max_bytes);
}

/*
 * A token of that label that has its user PIN may hold keys: never initialised again. One without is what an interrupted
 * initialisation left, and holds none.
 */
static bool choose_slot(const struct module *module, const char *label, unsigned long *slot, struct token_info *info,
			struct err *err)
{
	if (!module_find_token(module, label, slot, info, NULL))
		return module_find_free_slot(module, slot, info, err);
	if (info->user_pin_set)
		return err_set(
		    err, ERR_EXISTS,
		    "token \"%s\" is initialised already: doing it again would destroy its keys, which Inkan never does "
		    "(delete the token with the vendor's tool, or choose another label)",
		    label);
	return true;
}

static bool set_pin(struct module *module, const struct initialize_task *task, unsigned long slot, struct err *err)
{
	struct session session;
	bool good;

	if (!session_open(module, slot, &session, err))
		return false;
	good = session_init_pin(&session, task->so_pin, task->user_pin, err);
	session_close(&session);
	return good;
}

static bool initialize_token(struct module *module, const struct initialize_task *task, struct err *err)
{
	struct token_info info;
	unsigned long slot;

	if (!choose_slot(module, task->label, &slot, &info, err) || !check_pin("SO PIN", task->so_pin, &info, err) ||
	    !check_pin("PIN", task->user_pin, &info, err))
		return false;
	if (!module_init_token(module, slot, task->so_pin, task->label, err))
		return false;
	/* The slot may have another number afterwards, as with SoftHSM. */
	if (!module_find_token(module, task->label, &slot, &info, NULL))
		return err_set(err, ERR_UNAVAILABLE,
			       "the module took the initialisation, but shows no token \"%s\" afterwards: initialise it with the "
			       "vendor's own tool, then give its label with 'set hsm token'",
			       task->label);
	return set_pin(module, task, slot, err);
}

static bool check_label(const char *label, struct err *err)
{
	size_t len = strlen(label);

	if (len == 0 || len > TOKEN_LABEL_MAX_BYTES || label[len - 1] == ' ')
		return err_set(err, ERR_INVALID, "a token label has 1 to %d octets and does not end with a blank",
			       TOKEN_LABEL_MAX_BYTES);
	return true;
}

/* A token that makes no AES key serves all the same: 'show hsm' tells that it does not seal. */
static bool prepare_seal(const struct session *session, struct err *err)
{
	struct err why = {0};
	struct seal seal;

	if (seal_prepare(session, &seal, &why) || why.code == ERR_INVALID)
		return true;
	return err_set(err, why.code, "%s", why.text);
}

/* Where it cannot be made now, the first checkpoint tries again, and says why. */
static void prepare_audit_key(const struct session *session)
{
	struct generated_key key = {0};
	bool made;

	if (audit_key_prepare(session, &key, &made, NULL))
		generated_key_clear(&key);
}

/* A session as the new user: the seal key is made, and the description tells what the token can do. */
static bool finish(struct provision *provision, const struct initialize_task *task, struct buf *result, struct err *err)
{
	struct hsm_settings settings = *provision->settings;
	struct secret *pin = secret_new(task->user_pin, err);
	struct msg nothing = {0};
	bool good = pin != NULL;

	settings.token = task->label;
	if (good) {
		connection_close(&provision->connection);
		connection_open(&provision->connection, &settings, pin, CONNECTION_LOGIN_NEEDED);
		good = connection_require_login(&provision->connection, err) && prepare_seal(&provision->connection.session, err);
		if (good)
			prepare_audit_key(&provision->connection.session);
		good = good && task_describe(provision, &nothing, result, err);
	}
	secret_free(pin);
	return good;
}

bool task_initialize(struct provision *provision, struct msg *msg, struct buf *result, struct err *err)
{
	struct initialize_task task;
	bool good;

	if (!initialize_task_decode(msg, &task, err))
		return false;
	good = provision->connection.module != NULL;
	if (!good && err != NULL)
		*err = provision->connection.why;
	/* A token with a session open cannot be initialised. */
	session_close(&provision->connection.session);
	good = good && check_label(task.label, err) && initialize_token(provision->connection.module, &task, err) &&
	       finish(provision, &task, result, err);
	initialize_task_clear(&task);
	return good;
}
