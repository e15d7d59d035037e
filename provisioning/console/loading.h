/*
 * Lines of `set` and `delete` in a text, as `save` writes them: blank lines and those that begin with # say nothing, words are
 * not abbreviated, a line may end with CR. A secret's value is TREE_HIDDEN (what is there stays) or sealed. Pure.
 */
#ifndef INKAN_CONSOLE_LOADING_H
#define INKAN_CONSOLE_LOADING_H

#include "provisioning/store/settings.h"

struct loading {
	const char *name; /* of the text, in errors */
	size_t line; /* that is read */
	bool whole; /* the text is a whole configuration: its new servers get no defaults */
	const struct settings *before; /* where secrets that were left out are kept */
	struct settings settings; /* what the lines are brought into; settings_clear it */
	struct buf missing; /* paths of secrets that are kept nowhere, "set PATH" a line; buf_clear it */
	size_t set, deleted;
};

/* Errors are "NAME:LINE: …"; then `settings` is of no use. */
bool loading_text(struct loading *loading, struct bytes text, struct err *err) MUST_USE;

#endif
