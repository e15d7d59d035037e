/*
 * Regular expressions of the operator: PCRE2, caseless, in characters of UTF-8 (what is no UTF-8 matches nothing). The limits of
 * PCRE2 hold for one place where a match may begin; what bounds a whole search is the budget of steps.
 */
#ifndef INKAN_RELAY_POLICY_PATTERN_H
#define INKAN_RELAY_POLICY_PATTERN_H

#include "appliance/base/bytes.h"

#define PATTERN_MAX_BYTES 1024
#define PATTERN_MATCH_LIMIT 100000 /* backtracking points: pcre2_set_match_limit, pcre2_set_depth_limit */
#define PATTERN_HEAP_LIMIT_KIB 1024 /* pcre2_set_heap_limit */
#define PATTERN_FREE_STEPS 8 /* for each octet of a subject, so that no linear expression ever wears out a budget */
#define PATTERN_BUDGET_STEPS 2000000 /* some 15 ms of one core */

struct pattern;

/* ERR_INVALID with PCRE2's message and the position. */
struct pattern *pattern_new(const char *expression, struct err *err);
void pattern_free(struct pattern *pattern);

enum pattern_result { PATTERN_NO, PATTERN_YES, PATTERN_LIMIT /* ran away: neither */ };

/*
 * A step is an item of the expression tried, or an octet passed. *budget is what is left for all subjects of one message
 * (PATTERN_BUDGET_STEPS at first) and goes down; PATTERN_LIMIT when it is worn out, now and from then on.
 */
enum pattern_result pattern_match(const struct pattern *pattern, struct bytes subject, uint64_t *budget);

/*
 * Tries the expression on runs of each character it names, which is what makes nested repetitions run away: PATTERN_LIMIT when
 * one did. An expression that passes may still run away on a text that nobody thought of; the match limits hold then.
 */
enum pattern_result pattern_probe(const struct pattern *pattern, const char *expression);

#endif
