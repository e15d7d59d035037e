/* Commands and addresses: no read outside the line, and an address that was read is one line that reads as itself again. */
#include <stdlib.h>
#include <string.h>

#include "appliance/relay/smtp/smtp_auth.h"
#include "appliance/relay/smtp/smtp_dsn.h"
#include "appliance/relay/smtp/smtp_syntax.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

static void check_address(const char *address, unsigned flags)
{
	char again[SMTP_ADDRESS_MAX_BYTES + 1];
	struct bytes in = bytes_text(address);

	require(strlen(address) <= SMTP_ADDRESS_MAX_BYTES);
	for (const unsigned char *c = (const unsigned char *)address; *c != '\0'; c++)
		require(*c >= ' ' && *c != 0x7f && (*c < 0x80 || (flags & SMTP_PATH_UTF8) != 0));
	if (*address == '\0')
		return;
	require(smtp_path_parse(&in, flags, again) == SMTP_PATH_OK && strcmp(again, address) == 0 && in.len == 0);
}

static void check_path_command(struct bytes arguments, const char *keyword, unsigned flags)
{
	enum smtp_path_result why = SMTP_PATH_OK;
	struct smtp_path path;
	enum smtp_path_command_result result = smtp_parse_path_command(arguments, keyword, flags, &path, &why);

	require((result == SMTP_PATH_COMMAND_ADDRESS) == (why != SMTP_PATH_OK));
	if (result != SMTP_PATH_COMMAND_OK)
		return;
	check_address(path.address, flags);
	for (size_t i = 0; i < path.n_params; i++)
		require(path.params[i].keyword.data >= arguments.data && path.params[i].keyword.len > 0);
}

static void check_auth(struct bytes arguments)
{
	struct bytes mechanism, initial;
	struct smtp_auth auth = {0};

	if (!smtp_parse_auth(arguments, &mechanism, &initial) || !smtp_auth_start(&auth, mechanism))
		return;
	if (smtp_auth_feed(&auth, initial) == SMTP_AUTH_COMPLETE)
		require(auth.user.len > 0 && auth.password.len > 0 && memchr(auth.user.data, '\0', auth.user.len) == NULL);
	smtp_auth_clear(&auth);
}

/* What is let into a report decodes to nothing that could end its line. */
static void check_dsn(struct bytes value)
{
	enum queue_return ret;
	uint32_t notify = 0;

	smtp_parse_return(value, &ret);
	if (smtp_parse_notify(value, &notify))
		require(notify == QUEUE_NOTIFY_NEVER || (notify != 0 && (notify & QUEUE_NOTIFY_NEVER) == 0));
	if (!smtp_is_envelope_id(value) && !smtp_is_original_recipient(value, true))
		return;
	for (size_t i = 0; i < value.len; i++)
		require(value.data[i] > ' ' && value.data[i] != 0x7f &&
			(value.data[i] != '+' || (value.data[i + 1] >= '2' && value.data[i + 1] <= '7')));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = size == 0 ? NULL : mem_copy(data, size); /* of just this size */
	struct bytes arguments, name;
	uint64_t octets;
	bool last;

	smtp_verb_of(bytes_of(copy, size), &arguments);
	check_path_command(arguments, "FROM:", SMTP_PATH_NULL | SMTP_PATH_UTF8);
	check_path_command(arguments, "FROM:", 0);
	check_path_command(arguments, "TO:", SMTP_PATH_POSTMASTER);
	if (smtp_parse_hello(arguments, &name))
		require(name.len > 0 && memchr(name.data, ' ', name.len) == NULL);
	if (smtp_parse_bdat(arguments, &octets, &last))
		require(arguments.len > 0);
	check_auth(arguments);
	check_dsn(arguments);
	free(copy);
	return 0;
}
