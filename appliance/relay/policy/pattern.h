/* Regular expressions of the operator: PCRE2, caseless, octets, with match limits so that none can stall the relay. */
#ifndef INKAN_RELAY_POLICY_PATTERN_H
#define INKAN_RELAY_POLICY_PATTERN_H

#include "appliance/base/bytes.h"

#define PATTERN_MAX_BYTES 1024
#define PATTERN_MATCH_LIMIT 100000 /* backtracking points: pcre2_set_match_limit, pcre2_set_depth_limit */
#define PATTERN_HEAP_LIMIT_KIB 1024 /* pcre2_set_heap_limit */

struct pattern;

/* ERR_INVALID with PCRE2's message and the position. */
struct pattern *pattern_new(const char *expression, struct err *err);
void pattern_free(struct pattern *pattern);

enum pattern_result { PATTERN_NO, PATTERN_YES, PATTERN_LIMIT /* ran away: neither */ };
enum pattern_result pattern_match(const struct pattern *pattern, struct bytes subject);

/*
 * Tries the expression on runs of each character it names, which is what makes nested repetitions run away: PATTERN_LIMIT when
 * one did. An expression that passes may still run away on a text that nobody thought of; the match limits hold then.
 */
enum pattern_result pattern_probe(const struct pattern *pattern, const char *expression);

#endif
