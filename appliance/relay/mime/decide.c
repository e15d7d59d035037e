#include "appliance/relay/mime/scan_private.h"

/* ---- Labels ---- */

static const char conflicting[] = "conflicting Content-Transfer-Encoding fields";

static void set_cte(struct mime_scan *scan, enum edit_need need, const char *label)
{
	const struct entity *entity = &scan->entity;
	uint64_t at = entity->insert_at;

	if (entity->n_ctes == 0) {
		mime_edit(scan, need, (struct mime_edit){.offset = at, .end = at, .kind = MIME_EDIT_CTE, .label = label});
		return;
	}
	for (unsigned i = 0; i < entity->n_ctes; i++) {
		const struct cte_field *field = &entity->ctes[i];
		enum mime_edit_kind kind = i == 0 ? MIME_EDIT_CTE : MIME_EDIT_DELETE;

		mime_edit(scan, need, (struct mime_edit){field->offset, field->end, kind, i == 0 ? label : NULL});
	}
}

static void keep_ctes(struct mime_scan *scan)
{
	for (unsigned i = 0; i < scan->entity.n_ctes; i++) {
		const struct cte_field *field = &scan->entity.ctes[i];

		if (field->blanks < field->colon)
			mime_edit(scan, EDIT_HARD,
				  (struct mime_edit){.offset = field->blanks, .end = field->colon, .kind = MIME_EDIT_COLON});
	}
}

static void relabel(struct mime_scan *scan)
{
	if (!scan->entity.wide)
		keep_ctes(scan);
	else if (scan->entity.cte_conflict)
		mime_unsignable(scan, conflicting);
	else
		set_cte(scan, EDIT_HARD, "7bit");
}

void mime_decide_container(struct mime_scan *scan)
{
	relabel(scan);
}

/* ---- Leaves ---- */

static bool is_dirty(const struct body *body)
{
	return body->counts.eight_bit || body->counts.nul || body->counts.bare || body->long_line;
}

static uint64_t base64_size(uint64_t octets)
{
	uint64_t characters = (octets + 2) / 3 * 4, lines = (characters + 75) / 76;

	return characters + (lines > 0 ? 2 * (lines - 1) : 0);
}

/* Some systems look into a message/global, or an encoded message, and act on an 8bit label that they find there. */
static bool is_looked_into(const struct mime_scan *scan)
{
	return scan->entity.type.media == MEDIA_GLOBAL || scan->entity.type.media == MEDIA_ENCLOSED;
}

static bool shows_label(const struct mime_scan *scan)
{
	return scan->body.label_line && is_looked_into(scan);
}

static bool suits_qp(const struct mime_scan *scan, uint64_t octets)
{
	const struct octet_counts *counts = &scan->body.counts;
	enum media media = scan->entity.type.media;

	if (media == MEDIA_OTHER || media == MEDIA_GLOBAL || counts->nul || counts->bare)
		return false;
	return octets + 2 * counts->escapes <= base64_size(octets);
}

static void encode_leaf(struct mime_scan *scan, enum edit_need need, uint64_t end)
{
	bool qp = suits_qp(scan, end - scan->body.offset);

	set_cte(scan, need, qp ? "quoted-printable" : "base64");
	mime_edit(scan, need,
		  (struct mime_edit){.offset = scan->body.offset, .end = end, .kind = qp ? MIME_EDIT_QP : MIME_EDIT_BASE64});
}

static void repair(struct mime_scan *scan, enum mime_edit_kind kind, uint64_t end)
{
	keep_ctes(scan);
	mime_edit(scan, EDIT_HARD, (struct mime_edit){.offset = scan->body.offset, .end = end, .kind = kind});
}

static void clean_dirty_leaf(struct mime_scan *scan, uint64_t end)
{
	const struct entity *entity = &scan->entity;

	if (entity->cte_conflict)
		mime_unsignable(scan, conflicting);
	else if (entity->cte == CTE_UNKNOWN)
		mime_unsignable(scan, "8-bit octets or long lines under an unknown transfer encoding");
	else if (entity->type.media == MEDIA_FRAGMENT)
		mime_unsignable(scan, "8-bit octets or long lines in a message/partial or message/external-body");
	else if (entity->cte == CTE_IDENTITY)
		encode_leaf(scan, EDIT_HARD, end);
	else if (is_looked_into(scan)) /* a repair could make a label out of what stands around it */
		mime_unsignable(scan, "8-bit octets, long lines or an 8bit label inside an encoded message");
	else
		repair(scan, entity->cte == CTE_QP ? MIME_EDIT_REPAIR_QP : MIME_EDIT_REPAIR_BASE64, end);
}

/*
 * A From_ line would be changed by delivery into an mbox file. That is no reason to refuse a message: where an edit is not
 * possible the line stays.
 */
static void hide_from_line(struct mime_scan *scan, uint64_t end)
{
	bool possible = mime_frozen(scan) == NULL && scan->entity.ended != HEADER_GARBAGE && scan->n_edits + 8 <= MIME_EDITS_MAX;

	if (scan->entity.wide) {
		encode_leaf(scan, EDIT_HARD, end);
	} else if (possible) {
		encode_leaf(scan, EDIT_SOFT, end);
	} else {
		mime_note(scan, "a From line in a text part was left as it is");
		keep_ctes(scan);
	}
}

static void decide_leaf(struct mime_scan *scan, uint64_t end)
{
	const struct entity *entity = &scan->entity;
	bool plain = entity->cte == CTE_IDENTITY && !entity->cte_conflict;

	if (entity->top && scan->body.counts.eight_bit)
		scan->head_default_edited = false;
	if (is_dirty(&scan->body) || shows_label(scan))
		clean_dirty_leaf(scan, end);
	else if (plain && scan->body.from_line && entity->type.media == MEDIA_TEXT)
		hide_from_line(scan, end);
	else
		relabel(scan);
}

/* ---- The rest ---- */

static void mark(struct mime_scan *scan, uint64_t end)
{
	mime_edit(scan, EDIT_HARD, (struct mime_edit){.offset = scan->body.offset, .end = end, .kind = MIME_EDIT_MARK});
}

void mime_decide_body(struct mime_scan *scan, uint64_t end, bool part_follows)
{
	bool dirty = is_dirty(&scan->body);

	switch (scan->body.kind) {
	case BODY_LEAF:
		decide_leaf(scan, end);
		return;
	case BODY_PREAMBLE:
		if (dirty && part_follows)
			mark(scan, end);
		else if (dirty)
			mime_unsignable(scan, "8-bit octets or long lines in a multipart without parts");
		return;
	case BODY_EPILOGUE:
		if (dirty)
			mark(scan, end);
		return;
	case BODY_NO_PARTS:
		if (dirty)
			mime_unsignable(scan, "8-bit octets or long lines in a multipart without parts");
		return;
	case BODY_DEEP:
		if (dirty || scan->body.label_line)
			mime_unsignable(scan, "8-bit octets or long lines below 100 levels of multiparts");
		return;
	}
}
