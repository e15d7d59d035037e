#include "provisioning/manual/mdoc.h"

#include <string.h>

/* Of a word on a macro line: quoted, since one that is a macro's name or a delimiter would be taken as such. */
static void put_argument(struct buf *out, struct bytes word)
{
	buf_put_text(out, " \"");
	for (size_t i = 0; i < word.len; i++) {
		if (word.data[i] == '\\')
			buf_put_text(out, "\\e");
		else if (word.data[i] == '-')
			buf_put_text(out, "\\-");
		else if (word.data[i] == '"')
			buf_put_text(out, "\\(dq");
		else
			buf_put_byte(out, word.data[i]);
	}
	buf_put_byte(out, '"');
}

static void put_alternatives(struct buf *out, const char *macro, struct bytes choices)
{
	struct bytes choice;
	const char *before = "";

	buf_printf(out, " %s", macro);
	while (form_next_choice(&choices, &choice)) {
		buf_put_text(out, before);
		put_argument(out, choice);
		before = " |";
	}
}

static void put_word(struct buf *out, const struct form_word *word, bool literal_before)
{
	bool choice = memchr(word->text.data, '|', word->text.len) != NULL;

	if (word->optional)
		buf_put_text(out, " Op");
	if (word->typed) {
		buf_put_text(out, " Ar");
		put_argument(out, word->text);
		if (word->rest)
			buf_put_text(out, " ...");
	} else if (choice) {
		put_alternatives(out, "Cm", word->text);
	} else {
		if (!literal_before || word->optional)
			buf_put_text(out, " Ic");
		put_argument(out, word->text);
	}
}

void mdoc_put_form(struct buf *out, const char *form)
{
	struct form_word word;
	bool literal = false;
	struct buf line = {0};

	while (form_next(&form, &word)) {
		put_word(&line, &word, literal);
		literal = !word.typed && !word.optional && memchr(word.text.data, '|', word.text.len) == NULL;
	}
	buf_put_bytes(out, bytes_slice(buf_bytes(&line), 1, line.len));
	buf_clear(&line);
}

void mdoc_put_choices(struct buf *out, const char *choices)
{
	put_alternatives(out, "Cm", bytes_text(choices));
}

void mdoc_put_text(struct buf *out, const char *text)
{
	if (*text == '.' || *text == '\'')
		buf_put_text(out, "\\&");
	for (; *text != '\0'; text++) {
		if (*text == '\\')
			buf_put_text(out, "\\e");
		else
			buf_put_byte(out, (uint8_t)*text);
	}
	buf_put_byte(out, '\n');
}
