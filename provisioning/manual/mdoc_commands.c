#include <stdlib.h>
#include <string.h>

#include "provisioning/console/commands.h"
#include "provisioning/manual/mdoc.h"

static struct bytes first_word(const char *form)
{
	return bytes_of((const uint8_t *)form, strcspn(form, " "));
}

static void put_roles(struct buf *out, unsigned roles)
{
	static const enum account_role all[] = {ROLE_ADMINISTRATOR, ROLE_OPERATOR, ROLE_AUDITOR};
	const char *before = "For the role";

	if (roles == ROLES_ALL)
		return;
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		if ((roles & all[i]) != 0) {
			buf_printf(out, "%s\n.Cm %s\n", before, account_role_name(all[i]));
			before = "or";
		}
	}
	out->len--;
	buf_put_text(out, " .\n");
}

static void put_modes(struct buf *out, unsigned modes)
{
	if (modes == MODE_OPERATIONAL)
		buf_put_text(out, "In operational mode.\n");
	else if (modes == MODE_CONFIGURATION)
		buf_put_text(out, "In configuration mode.\n");
	else if (modes == (MODE_CONFIGURATION | MODE_SCRIPT))
		buf_put_text(out, "In configuration mode, and in a script without it.\n");
}

static void put_command(struct buf *out, const struct command *command)
{
	char *help = mem_format("%s.", command->help);

	buf_put_text(out, ".It ");
	mdoc_put_form(out, command->form);
	buf_put_byte(out, '\n');
	mdoc_put_text(out, help);
	put_roles(out, command->roles);
	put_modes(out, command->modes);
	free(help);
}

void mdoc_put_commands(struct buf *out)
{
	buf_put_text(out, ".Sh COMMANDS\n"
			  "This list is made from the console's own table, as\n.Ic help\nshows it.\n"
			  "What is said of no role is for every one.\n");
	for (size_t i = 0; i < n_commands; i++) {
		bool begins = i == 0 || !bytes_equal(first_word(commands[i - 1].form), first_word(commands[i].form));
		bool ends = i + 1 == n_commands || !bytes_equal(first_word(commands[i + 1].form), first_word(commands[i].form));

		if (begins)
			buf_printf(out, ".Ss Commands: %.*s\n.Bl -tag -width Ds\n", (int)first_word(commands[i].form).len,
				   commands[i].form);
		put_command(out, &commands[i]);
		if (ends)
			buf_put_text(out, ".El\n");
	}
}
