#define PCRE2_CODE_UNIT_WIDTH 8

#include "appliance/relay/policy/pattern.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#define COMPILE_OPTIONS (PCRE2_CASELESS | PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_AUTO_CALLOUT)

struct pattern {
	pcre2_code *code;
	pcre2_match_data *data;
	pcre2_match_context *context;
};

struct steps {
	uint64_t left;
	PCRE2_SIZE at;
};

static int on_step(pcre2_callout_block *block, void *arg)
{
	struct steps *steps = arg;
	PCRE2_SIZE at = block->current_position;
	uint64_t passed = 1 + (at > steps->at ? at - steps->at : steps->at - at);

	steps->at = at;
	if (passed > steps->left)
		return PCRE2_ERROR_MATCHLIMIT;
	steps->left -= passed;
	return 0;
}

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
	code = pcre2_compile((PCRE2_SPTR)expression, PCRE2_ZERO_TERMINATED, COMPILE_OPTIONS, &error, &at, NULL);
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

enum pattern_result pattern_match(const struct pattern *pattern, struct bytes subject, uint64_t *budget)
{
	const uint8_t *data = subject.data != NULL ? subject.data : (const uint8_t *)"";
	uint64_t granted = PATTERN_FREE_STEPS * (uint64_t)subject.len;
	struct steps steps = {.left = *budget + granted};
	int result;

	if (*budget == 0)
		return PATTERN_LIMIT;
	pcre2_set_callout(pattern->context, on_step, &steps);
	result = pcre2_match(pattern->code, data, subject.len, 0, 0, pattern->data, pattern->context);
	if (steps.left < *budget)
		*budget = steps.left;
	if (result >= 0)
		return PATTERN_YES;
	if (result == PCRE2_ERROR_NOMATCH)
		return PATTERN_NO;
	*budget = 0;
	return PATTERN_LIMIT;
}

#define PROBE_RUN 200 /* characters */
#define CHARACTER_MAX_BYTES 4

/* `aaaa…` and `aaaa…!`, and the same behind the beginning of an address. */
static enum pattern_result probe_with(const struct pattern *pattern, struct bytes character)
{
	struct buf subject = {0};
	size_t run = PROBE_RUN * character.len;
	enum pattern_result result = PATTERN_NO;

	for (int i = 0; i < PROBE_RUN; i++)
		buf_put_bytes(&subject, character);
	buf_put_text(&subject, "@\x01");
	for (size_t len = run; len <= run + 2 && result != PATTERN_LIMIT; len++) {
		uint64_t budget = PATTERN_BUDGET_STEPS;

		result = pattern_match(pattern, bytes_slice(buf_bytes(&subject), 0, len), &budget);
	}
	buf_clear(&subject);
	return result;
}

/* Of an expression that has compiled, so it is UTF-8. */
static size_t character_length(uint8_t first)
{
	return first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : CHARACTER_MAX_BYTES;
}

static enum pattern_result probe_with_each(const struct pattern *pattern, struct bytes characters)
{
	size_t at = 0;

	while (at < characters.len) {
		size_t len = character_length(characters.data[at]);

		if (probe_with(pattern, bytes_slice(characters, at, at + len)) == PATTERN_LIMIT)
			return PATTERN_LIMIT;
		at += len;
	}
	return PATTERN_NO;
}

enum pattern_result pattern_probe(const struct pattern *pattern, const char *expression)
{
	if (probe_with_each(pattern, bytes_text("a0 .-@")) == PATTERN_LIMIT)
		return PATTERN_LIMIT;
	return probe_with_each(pattern, bytes_text(expression));
}
