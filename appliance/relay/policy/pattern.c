#define PCRE2_CODE_UNIT_WIDTH 8

#include "appliance/relay/policy/pattern.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

struct pattern {
	pcre2_code *code;
	pcre2_match_data *data;
	pcre2_match_context *context;
};

struct pattern *pattern_new(const char *expression, struct err *err)
{
	struct pattern *pattern;
	pcre2_code *code;
	PCRE2_SIZE at;
	int error;

	if (strlen(expression) > PATTERN_MAX_BYTES) {
		err_set(err, ERR_LIMIT, "expression longer than %d bytes", PATTERN_MAX_BYTES);
		return NULL;
	}
	code = pcre2_compile((PCRE2_SPTR)expression, PCRE2_ZERO_TERMINATED, PCRE2_CASELESS, &error, &at, NULL);
	if (code == NULL) {
		PCRE2_UCHAR text[256];

		pcre2_get_error_message(error, text, sizeof text);
		err_set(err, ERR_INVALID, "expression \"%s\": %s at character %zu", expression, (const char *)text,
			(size_t)at + 1);
		return NULL;
	}
	pattern = mem_new(sizeof *pattern);
	pattern->code = code;
	pattern->data = pcre2_match_data_create(1, NULL); /* only whether it matches is asked */
	pattern->context = pcre2_match_context_create(NULL);
	pcre2_set_match_limit(pattern->context, PATTERN_MATCH_LIMIT);
	pcre2_set_depth_limit(pattern->context, PATTERN_MATCH_LIMIT);
	pcre2_set_heap_limit(pattern->context, PATTERN_HEAP_LIMIT_KIB);
	return pattern;
}

void pattern_free(struct pattern *pattern)
{
	if (pattern == NULL)
		return;
	pcre2_match_context_free(pattern->context);
	pcre2_match_data_free(pattern->data);
	pcre2_code_free(pattern->code);
	free(pattern);
}

enum pattern_result pattern_match(const struct pattern *pattern, struct bytes subject)
{
	const uint8_t *data = subject.data != NULL ? subject.data : (const uint8_t *)"";
	int result = pcre2_match(pattern->code, data, subject.len, 0, 0, pattern->data, pattern->context);

	if (result >= 0)
		return PATTERN_YES;
	return result == PCRE2_ERROR_NOMATCH ? PATTERN_NO : PATTERN_LIMIT;
}

#define PROBE_RUN 200

/* `aaaa…` and `aaaa…!`, and the same behind the beginning of an address. */
static enum pattern_result probe_with(const struct pattern *pattern, char c)
{
	char subject[PROBE_RUN + 4];

	memset(subject, c, PROBE_RUN);
	memcpy(subject + PROBE_RUN, "@\x01", 3);
	for (size_t len = PROBE_RUN; len <= PROBE_RUN + 2; len++)
		if (pattern_match(pattern, bytes_of(subject, len)) == PATTERN_LIMIT)
			return PATTERN_LIMIT;
	return PATTERN_NO;
}

enum pattern_result pattern_probe(const struct pattern *pattern, const char *expression)
{
	static const char always[] = "a0 .-@";
	bool seen[256] = {false};

	for (size_t i = 0; i < strlen(always) + strlen(expression); i++) {
		uint8_t c = (uint8_t)(i < strlen(always) ? always[i] : expression[i - strlen(always)]);

		if (!seen[c] && probe_with(pattern, (char)c) == PATTERN_LIMIT)
			return PATTERN_LIMIT;
		seen[c] = true;
	}
	return PATTERN_NO;
}
