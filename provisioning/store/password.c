#include "provisioning/store/password.h"

#include <crypt.h>
#include <stdlib.h>
#include <string.h>

#define YESCRYPT_PREFIX "$y$"

char *password_hash(const char *password, struct err *err)
{
	char salt[CRYPT_GENSALT_OUTPUT_SIZE];
	struct crypt_data *data;
	size_t len = strlen(password);
	char *hash = NULL;

	if (len < PASSWORD_LEAST_BYTES || len > PASSWORD_MOST_BYTES) {
		err_set(err, ERR_INVALID, "a password has %d to %d characters", PASSWORD_LEAST_BYTES, PASSWORD_MOST_BYTES);
		return NULL;
	}
	if (crypt_gensalt_rn(YESCRYPT_PREFIX, 0, NULL, 0, salt, (int)sizeof salt) == NULL) {
		err_errno(err, "no salt for a password");
		return NULL;
	}
	data = mem_new(sizeof *data);
	if (crypt_rn(password, salt, data, (int)sizeof *data) == NULL)
		err_errno(err, "crypt");
	else
		hash = mem_string(data->output);
	mem_wipe(data, sizeof *data);
	free(data);
	return hash;
}

static bool same_text(const char *a, const char *b)
{
	size_t len = strlen(a);
	unsigned different = len != strlen(b);

	for (size_t i = 0; different == 0 && i < len; i++)
		different |= (unsigned)(a[i] ^ b[i]);
	return different == 0;
}

bool password_matches(const char *hash, const char *password)
{
	struct crypt_data *data = mem_new(sizeof *data);
	bool same = crypt_rn(password, hash, data, (int)sizeof *data) != NULL && same_text(data->output, hash);

	mem_wipe(data, sizeof *data);
	free(data);
	return same;
}
