/* NSS softokn. Its database is a file in the worker's own reach: there is nothing to be lost but the process. */
#include <stdlib.h>

#include "tests/matrix/matrix.h"
#include "tests/token/provisioning.h"
#include "tests/unit/test.h"

static const char *directory;

static void initialize_outside(void)
{
	char *pin = mem_format("%s/pin", directory);

	matrix_must(test_write_file(pin, bytes_text(MATRIX_PIN "\n")), pin);
	matrix_command(mem_format(
	    "cd %s && rm -f *.db && NSS_MAX_MP_PBE_ITERATION_COUNT=1 certutil -N -d sql:. -f pin >/dev/null", directory));
	free(pin);
}

int main(void)
{
	struct matrix_token token = {
	    .column = "NSS softokn 3.87", .so_pin = MATRIX_SO_PIN, .initialize_outside = initialize_outside};

	directory = test_directory();
	token.module = provisioning_module("../token/nss_module");
	/* Or each attribute read derives a key of 600,000 iterations: 25 signatures a second. */
	token.environment[0] = mem_string("NSS_MAX_MP_PBE_ITERATION_COUNT=1");
	token.environment[1] = mem_format("INKAN_NSS_DIRECTORY=%s", directory);
	token.writable[0] = mem_string(directory);
	return matrix_run(&token);
}
