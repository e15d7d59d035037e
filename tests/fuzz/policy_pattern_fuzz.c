/*
 * Any expression on any subject, divided by the first line end: compiled or refused with one line, matched within the budget, and
 * the same with a budget that is not worn out. The probe of commit ends too.
 */
#include "appliance/relay/policy/pattern.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = size > 0 ? memchr(data, '\n', size) : NULL;
	size_t len = end != NULL ? (size_t)(end - data) : size;
	char *expression = bytes_string(bytes_of(data, len));
	struct bytes subject = bytes_slice(bytes_of(data, size), len + 1, size);
	struct err err = {0};
	struct pattern *pattern = pattern_new(expression, &err);
	uint64_t budget = PATTERN_BUDGET_STEPS;

	if (pattern == NULL) {
		require(err.text[0] != '\0' && strchr(err.text, '\n') == NULL);
	} else {
		enum pattern_result result = pattern_match(pattern, subject, &budget);

		require(budget <= PATTERN_BUDGET_STEPS && (result == PATTERN_LIMIT) == (budget == 0));
		if (result == PATTERN_LIMIT)
			require(pattern_match(pattern, bytes_text("a"), &budget) == PATTERN_LIMIT);
		(void)pattern_probe(pattern, expression);
		pattern_free(pattern);
	}
	free(expression);
	return 0;
}
