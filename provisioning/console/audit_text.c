#include "provisioning/console/audit_text.h"

#include <stdlib.h>

#include "provisioning/console/tree.h"

static void put_line(char sign, const struct setting *setting, void *arg)
{
	struct buf *out = arg;

	buf_printf(out, "\n%c ", sign);
	tree_put_line(out, setting);
}

static void put_choices(struct buf *out, const struct certificate_choices *from, const struct certificate_choices *to)
{
	for (size_t i = 0; i < to->count; i++) {
		const struct certificate_choice *now = &to->items[i];
		const uint64_t *before = certificate_choices_find(from, now->address);

		if (before == NULL)
			buf_printf(out, "\n+ %s means certificate %llu", now->address, (unsigned long long)now->certificate);
		else if (*before != now->certificate)
			buf_printf(out, "\n~ %s means certificate %llu, no longer %llu", now->address,
				   (unsigned long long)now->certificate, (unsigned long long)*before);
	}
	for (size_t i = 0; i < from->count; i++) {
		if (certificate_choices_find(to, from->items[i].address) == NULL)
			buf_printf(out, "\n- %s means certificate %llu", from->items[i].address,
				   (unsigned long long)from->items[i].certificate);
	}
}

void audit_text_commit(struct console *console, const struct revision *from, const struct revision *to, uint64_t number)
{
	struct buf text = {0};

	if (console->audit_text == NULL)
		return;
	console->committed = true;
	buf_printf(&text, "%s [revision %llu, after %llu]", console->audit_text, (unsigned long long)number,
		   (unsigned long long)from->number);
	tree_compare(&from->settings, &to->settings, put_line, &text);
	put_choices(&text, &from->choices, &to->choices);
	free(console->audit_text);
	console->audit_text = mem_string(buf_text(&text));
	buf_clear(&text);
}
