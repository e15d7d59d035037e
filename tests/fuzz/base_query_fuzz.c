/* The console's questions, the relay's answers and inkand's status: what is decoded is encoded again as itself. */
#include "appliance/base/control.h"
#include "appliance/base/query.h"
#include "tests/fuzz/fuzz.h"

FUZZ_CODEC(check_query, struct query, query_decode, query_encode, query_clear)
FUZZ_CODEC(check_rows, struct query_rows, query_rows_decode, query_rows_encode, query_rows_clear)
FUZZ_CODEC(check_status, struct supervisor_status, supervisor_status_decode, supervisor_status_encode, supervisor_status_clear)

static void check_limits(struct bytes in)
{
	struct msg msg = msg_of(in);
	struct query_rows rows = {0};

	if (!query_rows_decode(&msg, &rows, NULL))
		return;
	require(rows.n_columns <= QUERY_COLUMNS_MAX && (rows.n_columns == 0 || rows.n_cells % rows.n_columns == 0));
	for (size_t i = 0; i < rows.n_cells; i++)
		require(rows.cells[i] != NULL);
	query_rows_clear(&rows);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = bytes_of(data, size);

	check_query(in);
	check_rows(in);
	check_limits(in);
	check_status(in);
	return 0;
}
