/* Every SQL statement of the queue by name. Parameters are numbered in the order of their columns. */
#ifndef INKAN_QUEUE_STATEMENTS_H
#define INKAN_QUEUE_STATEMENTS_H

enum statement {
	S_BEGIN,
	S_COMMIT,
	S_ROLLBACK,
	/* a new message */
	S_INSERT_MESSAGE,
	S_INSERT_BODY,
	S_INSERT_FILE,
	S_INSERT_RECIPIENT,
	/* results and the operator */
	S_DELETE_RECIPIENT,
	S_DEFER_RECIPIENT,
	S_SET_STATE,
	S_SET_DUE,
	S_MESSAGE_HAS_RECIPIENT,
	S_DELETE_MESSAGE,
	S_DELETE_BODY,
	S_DELETE_FILE,
	S_SLICE_ALL,
	S_SLICE_SERVER,
	S_SLICE_MESSAGE,
	/* claims */
	S_SCAN_DUE,
	S_LOAD_RECIPIENT,
	S_LOAD_MESSAGE,
	/* reads */
	S_LOAD_PARTS,
	S_LOAD_BODY,
	S_LIST_ALL,
	S_LIST_MESSAGE,
	S_OLDEST,
	/* start */
	S_HIGHEST_MESSAGE,
	S_HIGHEST_RECIPIENT,
	S_HIGHEST_FILE,
	S_RECORDED_HIGHEST,
	S_RECORD_HIGHEST,
	S_LIST_FILES,
	S_LIST_DELETING,
	S_COUNT_MESSAGES,
	S_COUNT_WAITING,
	S_COUNT_HELD,
	/* the delivery log */
	S_LOG_MESSAGE,
	S_LOG_RECIPIENT,
	S_LOG_RESULT,
	S_LOG_LIST,
	S_LOG_LIST_ID,
	S_LOG_LIST_TO,
	S_LOG_LIST_FROM,
	S_LOG_OLD,
	S_LOG_DELETE_MESSAGE,
	S_LOG_DELETE_RECIPIENTS,
	/* events */
	S_EVENT_HIGHEST,
	S_EVENT_INSERT,
	S_EVENT_COUNT,
	S_EVENT_PAGE,
	S_EVENT_PAGE_TROUBLE,
	S_EVENT_FIND,
	S_EVENT_FIND_TROUBLE,
	S_EVENT_DAYS,
	S_EVENT_HOURS,
	S_MESSAGE_HOURS,
	S_EVENT_BACKLOG,
	S_EVENT_PRUNE,
	S_EVENT_PRUNE_SERVER,
	S_EVENT_GAP,
	S_WEBHOOK_CURSOR,
	S_WEBHOOK_BEGIN,
	S_WEBHOOK_SET,
	S_WEBHOOK_DROP,
	/* housekeeping */
	S_PAGE_COUNT,
	S_FREE_PAGES,
	S_VACUUM,
	STATEMENTS
};

/* recipient.state: an action or result can only raise it, release alone lowers it */
enum recipient_state {
	STATE_WAITING = 0,
	STATE_HELD = 1,
	STATE_DELETING = 2 /* deleted by the operator while it was leased: goes when its result comes, or at the next start */
};

extern const char *const statement_sql[STATEMENTS];

#endif
