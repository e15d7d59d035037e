#include <stdlib.h>
#include <string.h>

#include "provisioning/manual/mdoc.h"

/* "system", "server", "server smtp": what the settings of one list are about. */
static void put_group(struct buf *out, const char *form)
{
	struct form_word word, next;

	if (!form_next(&form, &word))
		return;
	buf_put_bytes(out, word.text);
	if (!form_next(&form, &word) || !word.typed || !form_next(&form, &word) || !form_next(&form, &next))
		return;
	buf_put_byte(out, ' ');
	buf_put_bytes(out, word.text);
}

static void put_value(struct buf *out, const struct setting_row *row)
{
	if (row->type == SETTING_FLAG || setting_is_secret(row))
		return;
	if (row->type == SETTING_WORD)
		mdoc_put_choices(out, row->choices);
	else
		buf_put_text(out, " Ar value");
}

/* "a size (64K, 50M, 1G)", and what it may be. */
static void put_kind(struct buf *out, const struct setting_row *row)
{
	char least[SETTING_RANGE_BYTES], most[SETTING_RANGE_BYTES], *kind;

	if (row->type == SETTING_FLAG || row->type == SETTING_WORD)
		return;
	if (setting_is_secret(row))
		kind = mem_string("The value is prompted for and never shown.");
	else if (setting_range(row, least, most))
		kind = mem_format("Value: %s; from %s to %s.", setting_type_form(row->type), least, most);
	else
		kind = mem_format("Value: %s.", setting_type_form(row->type));
	mdoc_put_text(out, kind);
	free(kind);
}

static void put_default(struct buf *out, const struct setting_row *row)
{
	char *text;

	if (row->fallback == NULL)
		return;
	text = mem_format("Default: %s.", row->fallback);
	mdoc_put_text(out, text);
	free(text);
}

static void put_setting(struct buf *out, const struct setting_row *row)
{
	char *help = mem_format("%s.", row->help);

	buf_put_text(out, ".It ");
	mdoc_put_form(out, row->path);
	put_value(out, row);
	buf_put_byte(out, '\n');
	mdoc_put_text(out, help);
	put_kind(out, row);
	put_default(out, row);
	if (row->repeatable)
		buf_put_text(out, "May be given several times.\n");
	free(help);
}

static void put_settings(struct buf *out)
{
	struct buf group = {0}, before = {0};

	for (size_t i = 0; i < n_setting_rows; i++) {
		buf_reset(&group);
		put_group(&group, setting_rows[i].path);
		if (i == 0 || !bytes_equal(buf_bytes(&group), buf_bytes(&before))) {
			buf_printf(out, "%s.Ss Settings: %s\n.Bl -tag -width Ds\n", i == 0 ? "" : ".El\n", buf_text(&group));
			buf_reset(&before);
			buf_put_bytes(&before, buf_bytes(&group));
		}
		put_setting(out, &setting_rows[i]);
	}
	buf_put_text(out, ".El\n");
	buf_clear(&group);
	buf_clear(&before);
}

static const char head[] = ".Dd November 24, 2026\n"
			   ".Dt INKAN.CONF 5\n"
			   ".Os\n"
			   ".Sh NAME\n"
			   ".Nm inkan.conf\n"
			   ".Nd settings of the Inkan signing appliance\n"
			   ".Sh DESCRIPTION\n"
			   "The configuration of Inkan is a tree of settings.\n"
			   "It is kept in numbered revisions in\n"
			   ".Pa inkan.db\n"
			   "and written at the console of\n"
			   ".Xr inkan 8 :\n"
			   "one line\n"
			   ".Ic set Ar path value\n"
			   "for each setting, in configuration mode or in a script, which is also the\n"
			   "form in which\n"
			   ".Ic show configuration\n"
			   "shows it.\n"
			   "Nothing changes for the mail server until\n"
			   ".Ic commit .\n"
			   ".Ic delete Ar path\n"
			   "takes away a setting and all below it.\n"
			   ".Pp\n"
			   "A blank ends a word; inside double quotes it does not, and\n"
			   ".Ql \\e\\(dq\n"
			   "and\n"
			   ".Ql \\e\\e\n"
			   "are escapes there.\n"
			   "Words may be abbreviated as long as they are clear.\n"
			   "Lines that begin with\n"
			   ".Sq #\n"
			   "are comments.\n"
			   ".Pp\n"
			   ".Ic show configuration schema\n"
			   "prints a JSON schema of what\n"
			   ".Ic show configuration | json\n"
			   "shows.\n"
			   "This page and the schema are made from the table that the console and\n"
			   "the mail server read.\n"
			   ".Sh SETTINGS\n";

static const char tail[] = ".Sh EXAMPLES\n"
			   ".Bd -literal -offset indent\n"
			   "set system host-name mx1.example.co.jp\n"
			   "set server default smtp listen 0.0.0.0:25\n"
			   "set server default smtp allow-network 192.0.2.0/24\n"
			   "set server default next-hop mx.example.jp\n"
			   "set server default smime enabled\n"
			   "set server default smime certificate info@example.jp\n"
			   ".Ed\n"
			   ".Sh SEE ALSO\n"
			   ".Xr inkan 8 ,\n"
			   ".Xr inkand 8\n";

void mdoc_put_settings_page(struct buf *out)
{
	buf_put_text(out, head);
	put_settings(out);
	buf_put_text(out, tail);
}
