#include <stdlib.h>

#include "hsm/import/ladder.h"
#include "hsm/protocol/provision.h"
#include "hsm/provision/seal.h"
#include "hsm/provision/tasks.h"
#include "hsm/token/object.h"

#define MECHANISMS_MAX 1024 /* of a token */

/* The mechanisms that signing, import and sealing can use. */
static const struct {
	unsigned long type;
	const char *name;
} useful[] = {
    {0x0000, "CKM_RSA_PKCS_KEY_PAIR_GEN"}, {0x0001, "CKM_RSA_PKCS"},	     {0x000d, "CKM_RSA_PKCS_PSS"},
    {0x0040, "CKM_SHA256_RSA_PKCS"},	   {0x0041, "CKM_SHA384_RSA_PKCS"},  {0x0042, "CKM_SHA512_RSA_PKCS"},
    {0x0009, "CKM_RSA_PKCS_OAEP"},	   {0x1040, "CKM_EC_KEY_PAIR_GEN"},  {0x1041, "CKM_ECDSA"},
    {0x1080, "CKM_AES_KEY_GEN"},	   {0x1085, "CKM_AES_CBC_PAD"},	     {0x1087, "CKM_AES_GCM"},
    {0x2109, "CKM_AES_KEY_WRAP"},	   {0x210a, "CKM_AES_KEY_WRAP_PAD"}, {0x210b, "CKM_AES_KEY_WRAP_KWP"},
    {0x1054, "CKM_RSA_AES_KEY_WRAP"},	   {0x0136, "CKM_DES3_CBC_PAD"},     {0x03b0, "CKM_PKCS5_PBKD2"},
    {0x03a8, "CKM_PBE_SHA1_DES3_EDE_CBC"}, {0x0251, "CKM_SHA256_HMAC"},	     {0x0350, "CKM_GENERIC_SECRET_KEY_GEN"},
};

#define N_USEFUL (sizeof useful / sizeof *useful)

static bool lists(const unsigned long *mechanisms, size_t count, unsigned long type)
{
	for (size_t i = 0; i < count; i++)
		if (mechanisms[i] == type)
			return true;
	return false;
}

static void describe_mechanisms(const struct connection *c, struct token_description *out)
{
	unsigned long mechanisms[MECHANISMS_MAX];
	size_t count = 0;

	if (!module_mechanisms(c->module, c->session.slot, mechanisms, MECHANISMS_MAX, &count, NULL))
		return;
	out->mechanisms = mem_new_array(N_USEFUL, sizeof *out->mechanisms);
	for (size_t i = 0; i < N_USEFUL; i++)
		if (lists(mechanisms, count, useful[i].type))
			out->mechanisms[out->n_mechanisms++] = mem_string(useful[i].name);
}

static void describe_token(const struct token_info *info, struct token_description *out)
{
	out->label = mem_string(info->label);
	out->manufacturer = mem_string(info->manufacturer);
	out->model = mem_string(info->model);
	out->serial = mem_string(info->serial);
	out->firmware = mem_string(info->firmware);
	out->initialized = info->initialized;
	out->user_pin_set = info->user_pin_set;
	out->pin_count_low = info->pin_count_low;
	out->pin_final_try = info->pin_final_try;
	out->pin_locked = info->pin_locked;
	out->free_private_memory = info->free_private_memory;
	out->max_sessions = info->max_sessions;
}

/* What can be told only by trying. */
static void describe_by_trying(const struct connection *c, struct token_description *out)
{
	const char *rung = ladder_probe(&c->session);
	struct seal seal = {0};

	out->import_rung = mem_string(rung != NULL ? rung : "");
	(void)!seal_find(&c->session, &seal, NULL);
	out->seal = mem_string(seal_name(seal.mechanism));
	(void)!objects_count_private_keys(&c->session, &out->private_keys, NULL);
}

bool task_describe(struct provision *provision, struct msg *msg, struct buf *result, struct err *err)
{
	const struct connection *c = &provision->connection;
	struct token_description description = {.free_private_memory = -1, .max_sessions = -1};
	char library[MODULE_LIBRARY_BYTES];

	if (!msg_end(msg, "task", err))
		return false;
	if (c->module == NULL) {
		if (err != NULL)
			*err = c->why;
		return false;
	}
	module_library(c->module, library);
	description.module = mem_string(provision->settings->module);
	description.library = mem_string(library);
	description.present = c->present;
	description.logged_in = c->logged_in;
	if (c->present) {
		struct token_info info = c->info;

		/* After the login, which may have changed the PIN's flags. */
		(void)!module_token_info(c->module, c->session.slot, &info, NULL);
		describe_token(&info, &description);
		describe_mechanisms(c, &description);
	}
	if (c->logged_in)
		describe_by_trying(c, &description);
	token_description_encode(result, &description);
	token_description_clear(&description);
	return true;
}
