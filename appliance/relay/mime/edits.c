#include "appliance/relay/mime/scan_private.h"

#include <stdlib.h>

void mime_unsignable(struct mime_scan *scan, const char *reason)
{
	if (scan->reason == NULL)
		scan->reason = reason;
}

void mime_ambiguous(struct mime_scan *scan, const char *why)
{
	if (scan->ambiguous == NULL)
		scan->ambiguous = why;
}

void mime_note(struct mime_scan *scan, const char *note)
{
	if (scan->note == NULL)
		scan->note = note;
}

const char *mime_frozen(const struct mime_scan *scan)
{
	return scan->n_frames > 0 ? scan->frames[scan->n_frames - 1].frozen : NULL;
}

static void append(struct mime_scan *scan, const struct mime_edit *edit)
{
	if (scan->n_edits == scan->edits_capacity) {
		scan->edits_capacity = scan->edits_capacity > 0 ? 2 * scan->edits_capacity : 16;
		scan->edits = mem_resize(scan->edits, scan->edits_capacity, sizeof *scan->edits);
	}
	scan->edits[scan->n_edits++] = *edit;
}

void mime_edit(struct mime_scan *scan, enum edit_need need, struct mime_edit edit)
{
	if (need == EDIT_HARD && mime_frozen(scan) != NULL)
		mime_unsignable(scan, mime_frozen(scan));
	if (scan->n_edits >= MIME_EDITS_MAX)
		mime_unsignable(scan, "more edits than the limit");
	if (scan->reason != NULL)
		return;
	scan->hard_edits = scan->hard_edits || need == EDIT_HARD;
	append(scan, &edit);
}

static int by_offset(const void *a, const void *b)
{
	const struct mime_edit *left = a, *right = b;

	if (left->offset != right->offset)
		return left->offset < right->offset ? -1 : 1;
	return left->end < right->end ? -1 : left->end > right->end;
}

static void drop_edits(struct mime_scan *scan)
{
	free(scan->edits);
	scan->edits = NULL;
	scan->n_edits = scan->edits_capacity = 0;
}

/* Where readers may disagree about the structure, nothing is edited; what could have been left alone then is. */
static void settle_ambiguous(struct mime_scan *scan)
{
	const char *why = scan->ambiguous != NULL ? scan->ambiguous : scan->root_types;

	if (why != NULL && (scan->hard_edits || scan->label_line)) {
		mime_unsignable(scan, why);
	} else if (scan->ambiguous != NULL && scan->n_edits > 0) {
		mime_note(scan, "a From line in a text part was left as it is");
		drop_edits(scan);
	}
}

void mime_settle(struct mime_scan *scan)
{
	settle_ambiguous(scan);
	if (scan->reason != NULL) {
		scan->verdict = MIME_UNSIGNABLE;
		drop_edits(scan);
		return;
	}
	scan->verdict = scan->n_edits > 0 ? MIME_REENCODE : MIME_FAST;
	if (scan->n_edits > 1)
		qsort(scan->edits, scan->n_edits, sizeof *scan->edits, by_offset);
}
