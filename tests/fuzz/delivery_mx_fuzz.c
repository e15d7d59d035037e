/* Any octets as a name server's answer to an MX query: hosts by preference, names that can be looked up, or nothing. */
#include "appliance/relay/delivery/mx.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = size == 0 ? NULL : mem_copy(data, size); /* of just this size */
	struct mx_answer answer = {0};

	if (mx_parse(copy, (int)size, &answer) && answer.outcome == MX_FOUND) {
		require(answer.count > 0 && answer.count <= MX_HOSTS_MAX);
		for (size_t i = 0; i < answer.count; i++) {
			require(answer.hosts[i].name[0] != '\0');
			require(i == 0 || answer.hosts[i].preference >= answer.hosts[i - 1].preference);
		}
		mx_drop_self(&answer, answer.hosts[answer.count / 2].name);
		require(answer.count < MX_HOSTS_MAX);
	}
	free(copy);
	return 0;
}
