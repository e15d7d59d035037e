/* What the tables say, as mdoc(7): the commands for inkan(8), the settings for inkan.conf(5). Pure. */
#ifndef INKAN_MANUAL_MDOC_H
#define INKAN_MANUAL_MDOC_H

#include "provisioning/store/form.h"

/* A form as the words of an `.It` or `.Ic` line, with its macros: "Ic certificate import Ar address Op Ar file". */
void mdoc_put_form(struct buf *out, const char *form);

/* The choices "a|b|c" behind what is there: " Cm a | b | c". */
void mdoc_put_choices(struct buf *out, const char *choices);

/* A line of text that nothing in it makes a request or an escape. */
void mdoc_put_text(struct buf *out, const char *text);

/* The section COMMANDS of inkan(8): every command with its help, and who may type it where. */
void mdoc_put_commands(struct buf *out);

/* The page inkan.conf(5). */
void mdoc_put_settings_page(struct buf *out);

#endif
